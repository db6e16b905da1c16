package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/swtpm"
)

var hookSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("a key of thirty-two bytes, or so"))

// told is a webhook's end: what it was told, each line once for each id.
type told struct {
	url string

	mu    sync.Mutex
	lines map[string]string // by webhook-id
	order []string
}

func newTold(t *testing.T) *told {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(hookSecret)
	require.NoError(t, err)
	r := &told{lines: map[string]string{}}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = wh.Verify(body, req.Header)
		}
		var p struct {
			Type string `json:"type"`
			Data struct {
				Title string `json:"title"`
			} `json:"data"`
		}
		if err == nil {
			err = json.Unmarshal(body, &p)
		}
		if err != nil {
			t.Errorf("webhook: %v", err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		id := req.Header.Get("webhook-id")
		if _, again := r.lines[id]; !again {
			r.order = append(r.order, id)
		}
		r.lines[id] = p.Type + " " + p.Data.Title
	}))
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

func (r *told) all() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.order {
		out = append(out, r.lines[id])
	}
	return out
}

// config is a file with one webhook.
func (r *told) config(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	secret, file := filepath.Join(dir, "secret"), filepath.Join(dir, "alerts.yaml")
	require.NoError(t, os.WriteFile(secret, []byte(hookSecret+"\n"), 0o600))
	text := fmt.Sprintf("sinks:\n- name: duty\n  webhook: {url: %q, secret: {file: %q}}\n  group: 0s\n", r.url, secret)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestFleetAlertsCheck(t *testing.T) {
	r := newTold(t)
	file := r.config(t)
	out, code := assayed(t, nil, "fleet", "alerts", "check", "--alerts", file)
	require.Zero(t, code, out)
	require.Contains(t, out, "nothing was sent")
	require.Empty(t, r.all())
	out, code = assayed(t, nil, "fleet", "alerts", "check", "--alerts", file, "--send")
	require.Zero(t, code, out)
	require.Contains(t, out, "duty: sent")
	require.Equal(t, []string{"assay.fleet.test test: alerts of this sink arrive"}, r.all())

	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	text := string(raw) + "- name: siem\n  syslog: {url: \"tcp://127.0.0.1:1\"}\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	out, code = assayed(t, nil, "fleet", "alerts", "check", "--alerts", file, "--send")
	require.Equal(t, 74, code, out)
	require.Contains(t, out, "duty: sent", "one that is down does not hide the others")
	require.Contains(t, out, "siem: failed")

	require.NoError(t, os.WriteFile(file, []byte(text+"  colour: red\n"), 0o600))
	out, code = assayed(t, nil, "fleet", "alerts", "check", "--alerts", file)
	require.Equal(t, 65, code, out)
	require.Contains(t, out, "line 7")
	out, code = assayed(t, nil, "fleet", "alerts", "check")
	require.Equal(t, 64, code, out)
}

// freeAddress is one that nobody listens on now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func fetched(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(b)
}

// become gives a unit the files of another recording of its kind, as when somebody
// takes a card out.
func (u *unit) become(recording string) {
	t := u.t
	files, err := fixture.Machine(filepath.Join("..", ".."), recording)
	require.NoError(t, err)
	maps.DeleteFunc(files, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "tpm/") || strings.Contains(p, "/ima/") || strings.HasPrefix(p, "firmware/")
	})
	renumber(t, files, u.n)
	entries, err := os.ReadDir(u.dir)
	require.NoError(t, err)
	for _, e := range entries {
		require.NoError(t, os.RemoveAll(filepath.Join(u.dir, e.Name())))
	}
	for p, data := range files {
		p = filepath.Join(u.dir, filepath.FromSlash(p))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, data, 0o600))
	}
}

// TestFleetAlerts has one of two machines tampered with: that is one alert, however
// often it is audited, and its end is told when the card is out again.
func TestFleetAlerts(t *testing.T) {
	if err := swtpm.Available(); err != nil {
		t.Skip(err)
	}
	dir, r, metrics := t.TempDir(), newTold(t), freeAddress(t)
	maker := swtpm.NewMaker(dir)
	units := []*unit{newUnit(t, maker, "baseline", 0), newUnit(t, maker, "baseline", 1)}
	keys, err := filepath.Abs(filepath.Join("..", "..", "testdata", "keys"))
	require.NoError(t, err)
	args := []string{"--tls", "--data", filepath.Join(dir, "fleet"), "--trust", filepath.Join(keys, "trust"), "--alerts", r.config(t), "--metrics", metrics, "--drain", "0s"}
	for i, f := range maker.Roots() {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		name := filepath.Join(dir, fmt.Sprintf("ek-root-%d.pem", i))
		require.NoError(t, os.WriteFile(name, raw, 0o600))
		args = append(args, "--ek-roots", name)
	}
	srv := serve(t, args...)
	session := login(t, srv)
	require.Equal(t, http.StatusOK, post(t, srv, session, "/v1/documents", goldenOf(t, dir, keys, units)))
	units[1].become("extra-nic-norom")
	token := agentToken(t, srv, session)
	reach := []string{"--server", srv.url, "--pin", srv.pin}
	send := func(u *unit) {
		t.Helper()
		out, code := assayed(t, []string{"ASSAY_TOKEN=" + token}, "fleet", "agent", "--once", "--root", u.dir, "--tpm", u.tpm.Address, "--state", u.home, "--quiet")
		require.Zero(t, code, out)
		require.Contains(t, out, "sent ")
	}
	for _, u := range units {
		out, code := assayed(t, []string{"ASSAY_TOKEN=" + token}, append([]string{"fleet", "enroll", "--root", u.dir, "--tpm", u.tpm.Address, "--state", u.home, "--name", fmt.Sprintf("node-%d", u.n)}, reach...)...)
		require.Zero(t, code, out)
		send(u)
	}
	var host fleet.Host
	settled := func(state fleet.State, audits int) {
		t.Helper()
		require.Eventually(t, func() bool {
			hs := hostsOf(t, srv, session)
			if i := slices.IndexFunc(hs, func(h fleet.Host) bool { return h.Name == "node-1" }); i >= 0 {
				host = hs[i]
			}
			return host.State == state && resultsOf(t, srv, session, host.ID) == audits
		}, 2*time.Minute, 300*time.Millisecond, "node-1 is %v\n%v", stateOf{&host}, against{t, srv, session, &host})
	}
	again := func() {
		t.Helper()
		require.Less(t, post(t, srv, session, "/v1/hosts/"+host.ID+"/audit", []byte("{}")), 300)
		send(units[1])
	}
	settled(fleet.Fail, 1)
	require.Eventually(t, func() bool { return len(r.all()) > 0 }, time.Minute, 100*time.Millisecond, "nobody was told")
	again()
	settled(fleet.Fail, 2)
	units[1].become("baseline")
	again()
	settled(fleet.Pass, 3)
	require.Eventually(t, func() bool { return len(r.all()) > 1 }, time.Minute, 100*time.Millisecond, "nobody was told of the end")
	lines := r.all()
	require.Len(t, lines, 2, "%v", lines)
	require.Contains(t, lines[0], "assay.fleet.worse node-1: fail, was enrolled: HW-001")
	require.Contains(t, lines[1], "assay.fleet.recovered node-1: pass again, was fail since")

	out, code := assayed(t, []string{"ASSAY_TOKEN=" + token}, append([]string{"fleet", "enroll", "--root", units[0].dir, "--tpm", units[1].tpm.Address, "--state", t.TempDir()}, reach...)...)
	require.NotZero(t, code, out)
	require.Eventually(t, func() bool { return len(r.all()) > 2 }, time.Minute, 100*time.Millisecond, "an attempt to take a machine's place was not told")
	require.Contains(t, r.all()[2], "FL-004")

	code, text := fetched(t, "http://"+metrics+"/metrics")
	require.Equal(t, http.StatusOK, code)
	for _, want := range []string{`assay_alerts_total{outcome="sent",sink="duty"} 3`, `assay_machines{state="pass"}`, `assay_appraisals_total{verdict="pass"} 2`, `assay_evidence_total{outcome="accepted"} 4`} {
		require.Contains(t, text, want)
	}
	require.NotContains(t, text, host.ID)
}

// stateOf and against are read when a test fails, and not before.
type stateOf struct{ host *fleet.Host }

func (s stateOf) String() string { return string(s.host.State) }

type against struct {
	t       *testing.T
	srv     *running
	session string
	host    *fleet.Host
}

func (a against) String() string { return findings(a.t, a.srv, a.session, a.host.ID) }

func hostsOf(t *testing.T, srv *running, session string) []fleet.Host {
	t.Helper()
	c, err := newTestClient(srv, session)
	require.NoError(t, err)
	var out struct{ Hosts []fleet.Host }
	require.NoError(t, c.Do(t.Context(), http.MethodGet, "/v1/hosts", nil, nil, &out))
	return out.Hosts
}

// resultsOf counts the audits of a machine.
func resultsOf(t *testing.T, srv *running, session, host string) int {
	t.Helper()
	c, err := newTestClient(srv, session)
	require.NoError(t, err)
	var out []fleet.Result
	require.NoError(t, c.Do(t.Context(), http.MethodGet, "/v1/hosts/"+host+"/results", nil, nil, &out))
	return len(out)
}

// TestServeEndsInOrder has a request under way when the server is told to end: it
// first says that it is not ready, and the request is answered all the same.
func TestServeEndsInOrder(t *testing.T) {
	keys, err := filepath.Abs(filepath.Join("..", "..", "testdata", "keys"))
	require.NoError(t, err)
	address := freeAddress(t)
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cmd := assayProgram(ctx, "fleet", "serve", "--listen", address, "--data", filepath.Join(t.TempDir(), "fleet"), "--trust", filepath.Join(keys, "trust"), "--drain", "5s")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	srv := &running{url: "http://" + address}
	for sc := bufio.NewScanner(out); !strings.Contains(sc.Text(), "serving on") && sc.Scan(); {
		if m := password.FindStringSubmatch(sc.Text()); m != nil {
			srv.password = m[1]
		}
	}
	ready := func(want int) func() bool {
		return func() bool { code, _ := fetched(t, srv.url+"/readyz"); return code == want }
	}
	require.Eventually(t, ready(http.StatusOK), time.Minute, 50*time.Millisecond)
	code, _ := fetched(t, srv.url+"/healthz")
	require.Equal(t, http.StatusOK, code)
	token := agentToken(t, srv, login(t, srv))

	const first, rest = "half of a bundle, ", "and the rest"
	body, write := io.Pipe()
	answered := make(chan int, 1)
	go func() {
		req, err := http.NewRequest(http.MethodPost, srv.url+"/v1/hosts/none/evidence?nonce=00", body)
		if err == nil {
			req.Header.Set("Authorization", "Bearer "+token)
			req.Header.Set("Content-Type", "application/zip")
			req.ContentLength = int64(len(first) + len(rest))
		}
		var res *http.Response
		if err == nil {
			res, err = http.DefaultClient.Do(req)
		}
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		defer res.Body.Close()
		answered <- res.StatusCode
	}()
	_, err = io.WriteString(write, first) // returns when the client has sent it
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.Eventually(t, ready(http.StatusServiceUnavailable), 5*time.Second, 20*time.Millisecond, "it does not say that it ends")
	code, _ = fetched(t, srv.url+"/healthz")
	require.Equal(t, http.StatusOK, code, "it lives, and serves")
	require.Eventually(t, ready(0), time.Minute, 50*time.Millisecond, "it accepts nothing new in the end")
	_, err = io.WriteString(write, rest)
	require.NoError(t, err)
	require.NoError(t, write.Close())
	require.Equal(t, http.StatusConflict, <-answered, "what was under way is answered: nobody asked for it")
	require.NoError(t, cmd.Wait())
}
