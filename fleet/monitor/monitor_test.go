package monitor

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/sqlite"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

type site struct {
	*Monitor
	t     *testing.T
	clock time.Time
	url   string
}

func newSite(t *testing.T) *site {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fleet.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	s := &site{t: t, clock: start}
	s.Monitor = New(st, "1.2.3", func() time.Time { return s.clock })
	web := httptest.NewServer(s.Handler())
	t.Cleanup(web.Close)
	s.url = web.URL
	return s
}

// get asks, and returns the status and the text.
func (s *site) get(path string) (int, string) {
	s.t.Helper()
	res, err := http.Get(s.url + path)
	require.NoError(s.t, err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	return res.StatusCode, string(b)
}

func (s *site) metrics() string {
	s.t.Helper()
	code, text := s.get("/metrics")
	require.Equal(s.t, http.StatusOK, code)
	return text
}

func (s *site) host(id string, state fleet.State) {
	s.t.Helper()
	require.NoError(s.t, s.Store().Update(s.t.Context(), func(tx fleet.Tx) error {
		return tx.PutHost(&fleet.Host{ID: id, Name: "node-" + id, Mode: fleet.ByAgent, State: state, LastAttested: start.Add(-time.Hour)})
	}))
}

func TestMachinesAreCounted(t *testing.T) {
	s := newSite(t)
	s.host("secret-id", fleet.Fail)
	s.host("h2", fleet.Pass)
	text := s.metrics()
	for _, want := range []string{
		`assay_machines{state="fail"} 1`, `assay_machines{state="pass"} 1`, `assay_machines{state="stale"} 0`, "assay_oldest_attestation_age_seconds 3600", "assay_store_up 1",
		`assay_build_info{goversion="go`, `version="1.2.3"} 1`, `assay_jobs{kind="appraise",status="waiting"} 0`, "go_goroutines", `assay_store_seconds_count{kind="update"} 2`,
	} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, "secret-id", "no machine is named")
	s.host("h3", fleet.Fail)
	require.Contains(t, s.metrics(), `assay_machines{state="fail"} 1`, "the store is not asked at each scrape")
	s.clock = s.clock.Add(fresh)
	require.Contains(t, s.metrics(), `assay_machines{state="fail"} 2`)
}

// A store that does not answer shows as that, and not as the figures of before.
func TestStoreThatIsDown(t *testing.T) {
	s := newSite(t)
	s.host("h1", fleet.Pass)
	code, _ := s.get("/readyz")
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, s.store.Close())
	s.clock = s.clock.Add(fresh)
	text := s.metrics()
	require.Contains(t, text, "assay_store_up 0")
	require.NotContains(t, text, "assay_machines{")
	code, said := s.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, said, "the store does not answer")
	code, _ = s.get("/healthz")
	require.Equal(t, http.StatusOK, code, "the process lives")
	require.Error(t, s.Store().View(t.Context(), func(fleet.Reader) error { return nil }))
	require.Contains(t, s.metrics(), `assay_store_errors_total{kind="view"}`)
}

// What is not there, and what the caller gave up, are no errors of the store.
func TestAnswersAreNoErrors(t *testing.T) {
	s := newSite(t)
	require.Error(t, s.Store().View(t.Context(), func(r fleet.Reader) error { _, err := r.Host("none"); return err }))
	require.Error(t, s.Store().Update(t.Context(), func(fleet.Tx) error { return context.Canceled }))
	require.NotContains(t, s.metrics(), "assay_store_errors_total{")
}

func TestReadinessEndsFirst(t *testing.T) {
	s := newSite(t)
	s.Stop()
	code, said := s.get("/readyz")
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, said, "told to end")
	code, _ = s.get("/healthz")
	require.Equal(t, http.StatusOK, code)
}

// work runs jobs of one kind until each was done or failed once.
func (s *site) work(h fleet.Handler, keys ...string) {
	s.t.Helper()
	require.NoError(s.t, s.Store().Update(s.t.Context(), func(tx fleet.Tx) error {
		for _, k := range keys {
			if err := tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: k, Tries: 1}); err != nil {
				return err
			}
		}
		return nil
	}))
	ctx, end := context.WithCancel(s.t.Context())
	left := len(keys)
	require.NoError(s.t, s.Store().Work(ctx, fleet.Workers{
		Parallel: 1,
		GiveUp:   func(fleet.Job, error) func(fleet.Tx) error { return nil },
		Handlers: map[fleet.Kind]fleet.Handler{fleet.Appraise: func(ctx context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
			if left--; left == 0 {
				end()
			}
			return h(ctx, j)
		}},
	}))
}

func TestAppraisalsAreCounted(t *testing.T) {
	s := newSite(t)
	s.work(func(_ context.Context, j fleet.Job) (func(fleet.Tx) error, error) {
		switch j.Key {
		case "bad":
			return nil, errors.New("the disk is full")
		case "worse":
			panic("one machine's evidence")
		}
		return func(tx fleet.Tx) error {
			return tx.PutResult(&fleet.Result{ID: j.Key, Host: "h1", Evidence: j.Key, At: start, Verdict: assay.Verdict(j.Key)})
		}, nil
	}, "pass", "fail", "bad", "worse")
	text := s.metrics()
	for _, want := range []string{
		`assay_appraisals_total{verdict="pass"} 1`, `assay_appraisals_total{verdict="fail"} 1`, `assay_jobs_total{kind="appraise",outcome="done"} 2`, `assay_jobs_total{kind="appraise",outcome="failed"} 2`,
		`assay_jobs_total{kind="appraise",outcome="given up"} 2`, `assay_job_seconds_count{kind="appraise"} 4`,
	} {
		require.Contains(t, text, want)
	}
}

// A process whose jobs all hang is not ready; one that is only busy is.
func TestJobsThatHang(t *testing.T) {
	s := newSite(t)
	var before, after int
	s.work(func(context.Context, fleet.Job) (func(fleet.Tx) error, error) {
		before, _ = s.get("/readyz")
		s.clock = s.clock.Add(time.Hour)
		after, _ = s.get("/readyz")
		return nil, nil
	}, "x")
	require.Equal(t, http.StatusOK, before)
	require.Equal(t, http.StatusServiceUnavailable, after)
	code, _ := s.get("/readyz")
	require.Equal(t, http.StatusOK, code, "it came to an end")
}

func TestRequestsAreCountedByRoute(t *testing.T) {
	s := newSite(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/hosts/{id}", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux.HandleFunc(evidenceRoute, func(w http.ResponseWriter, r *http.Request) {
		code := map[string]int{"good": http.StatusAccepted, "again": http.StatusConflict}[r.PathValue("id")]
		if code == 0 {
			code = http.StatusTeapot
		}
		w.WriteHeader(code)
	})
	web := httptest.NewServer(s.Count(mux))
	t.Cleanup(web.Close)
	for _, p := range []string{"/v1/hosts/a", "/v1/hosts/b", "/nothing/" + strings.Repeat("x", 100)} {
		res, err := http.Get(web.URL + p)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	for _, id := range []string{"good", "again", "odd"} {
		res, err := http.Post(web.URL+"/v1/hosts/"+id+"/evidence", "application/zip", strings.NewReader("x"))
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
	}
	text := s.metrics()
	for _, want := range []string{
		`assay_http_requests_total{code="200",route="GET /v1/hosts/{id}"} 2`, `assay_http_requests_total{code="404",route="none"} 1`, `assay_http_request_seconds_count{route="GET /v1/hosts/{id}"} 2`,
		`assay_evidence_total{outcome="accepted"} 1`, `assay_evidence_total{outcome="conflict"} 1`, `assay_evidence_total{outcome="error"} 1`,
	} {
		require.Contains(t, text, want)
	}
}

func TestAlertsAreCounted(t *testing.T) {
	s := newSite(t)
	s.Alert("duty", "sent")
	s.Alert("duty", "sent")
	require.Contains(t, s.metrics(), `assay_alerts_total{outcome="sent",sink="duty"} 2`)
}

// The rules that are shipped ask for figures that there are.
func TestRulesNameFiguresThatExist(t *testing.T) {
	s := newSite(t)
	rules := filepath.Join("..", "..", "deploy", "prometheus", "assay.rules.yml")
	raw, err := os.ReadFile(rules)
	require.NoError(t, err)
	descs := make(chan *prometheus.Desc, 1000)
	s.registry.Describe(descs)
	close(descs)
	known := map[string]bool{}
	for d := range descs {
		_, rest, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ := strings.Cut(rest, `"`)
		known[name] = true
	}
	names := regexp.MustCompile(`assay_[a-z_]+`).FindAllString(string(raw), -1)
	require.NotEmpty(t, names)
	for _, n := range names {
		require.True(t, known[n], "%s: there is no %s", rules, n)
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		return // the names are what a reader of the rules relies on most
	}
	out, err := exec.Command(promtool, "check", "rules", rules).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
