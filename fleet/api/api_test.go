package api

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/internal/fixture"
)

// site is a server behind HTTP with one machine, one token of agents and people of
// each role.
type site struct {
	t      *testing.T
	url    string
	server *server.Server
	token  string
	people map[string]string // sessions by name
}

const password = "correct horse battery"

func newSite(t *testing.T) *site {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fleet.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	blobs, err := blob.OpenDirectory(t.TempDir())
	require.NoError(t, err)
	secret, err := auditlog.NewKey(rand.Reader, "fleet.example")
	require.NoError(t, err)
	key, err := auditlog.ReadKey(secret)
	require.NoError(t, err)
	s := &site{t: t, server: server.New(server.Config{Store: st, Blobs: blobs, Key: key}), people: map[string]string{}}
	mux := http.NewServeMux()
	New(mux, s.server, "test")
	web := httptest.NewServer(mux)
	t.Cleanup(web.Close)
	s.url = web.URL
	for name, role := range map[string]fleet.Role{"vera": fleet.Viewer, "otto": fleet.Operator, "anna": fleet.Approver, "axel": fleet.Approver} {
		require.NoError(t, s.server.AddPerson(t.Context(), "test", name, role, password))
		var out Session
		require.Equal(t, http.StatusOK, s.ask("", http.MethodPost, "/v1/login", Login{name, password}, &out))
		require.Equal(t, role, out.Role)
		s.people[name] = out.Session
	}
	s.token, err = s.server.AddToken(t.Context(), "test", "rack", time.Now().Add(time.Hour))
	require.NoError(t, err)
	attestation, err := blobs.Put(t.Context(), []byte(`{"verdict": "pass"}`))
	require.NoError(t, err)
	require.NoError(t, st.Update(t.Context(), func(tx fleet.Tx) error {
		if err := tx.PutResult(&fleet.Result{ID: "r-1", Host: "h1", Evidence: "e1", Blob: attestation}); err != nil {
			return err
		}
		return tx.PutHost(&fleet.Host{ID: "h1", Name: "node-1", Mode: fleet.ByAgent, State: fleet.Enrolled, Interval: 24 * time.Hour, NextDue: time.Now().Add(24 * time.Hour)})
	}))
	return s
}

// ask sends in as JSON, or as it is, and returns the status.
func (s *site) ask(who, method, path string, in, out any) int {
	s.t.Helper()
	var body io.Reader
	kind := "application/json"
	switch v := in.(type) {
	case nil:
	case []byte:
		body, kind = bytes.NewReader(v), "application/zip"
	case io.Reader:
		body, kind = v, "application/zip"
	default:
		raw, err := json.Marshal(in)
		require.NoError(s.t, err)
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, body)
	require.NoError(s.t, err)
	if in != nil {
		req.Header.Set("Content-Type", kind)
	}
	if who != "" {
		req.Header.Set("Authorization", "Bearer "+who)
	}
	res, err := http.DefaultClient.Do(req)
	require.NoError(s.t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(s.t, err)
	if out != nil && res.StatusCode < 300 {
		require.NoError(s.t, json.Unmarshal(raw, out), "%s", raw)
	}
	if out == nil && res.StatusCode >= 400 {
		s.t.Logf("%s %s: %d %s", method, path, res.StatusCode, raw)
	}
	return res.StatusCode
}

// exception is one that may be asked for.
func exception() fleet.Exception {
	return fleet.Exception{Code: finding.UnexpectedComponent, Subject: "pci:0000:01:00.0", Host: "h1", Reason: "a card under test", Expires: time.Now().Add(time.Hour)}
}

// asks are all that can be asked for, with something good to send.
func asks() map[string]any {
	return map[string]any{
		"GET /v1/counts": nil, "GET /v1/hosts": nil, "GET /v1/hosts/h1": nil, "GET /v1/hosts/h1/findings": nil, "GET /v1/hosts/h1/results": nil,
		"GET /v1/moved": nil, "GET /v1/outliers": nil, "GET /v1/profiles": nil, "GET /v1/documents/golden": nil, "GET /v1/log": nil,
		"POST /v1/hosts/h1/audit": nil, "POST /v1/hosts/h1/retire": map[string]string{"reason": "sold"}, "POST /v1/exceptions": exception(),
		"POST /v1/exceptions/x-1/approve": nil, "POST /v1/tokens": map[string]any{"name": "other", "expires": time.Now().Add(time.Hour)},
		"POST /v1/documents": json.RawMessage(`{"format": "nothing"}`),
		"GET /v1/findings":   nil, "GET /v1/results": nil, "GET /v1/results/r-1/attestation": nil, "GET /v1/exceptions": nil, "GET /v1/checkpoint": nil,
		"POST /v1/hosts": server.Controller{Address: "https://192.0.2.1"}, "POST /v1/hosts/h1/repin": map[string]string{"pin": ""}, "POST /v1/hosts/h1/challenge": map[string]int{"hours": 24},
		"POST /v1/inventory": []server.Record{{ID: "h1", Name: "node-1"}}, "POST /v1/documents/00/retire": nil,
		"GET /v1/accounts": nil, "POST /v1/accounts": Person{"nora", fleet.Viewer, password}, "POST /v1/accounts/token:rack/disable": nil, "POST /v1/accounts/otto/vouch": nil,
	}
}

func TestWhoMayDoWhat(t *testing.T) {
	s := newSite(t)
	for what, in := range asks() {
		method, path, _ := strings.Cut(what, " ")
		require.Equal(t, http.StatusUnauthorized, s.ask("", method, path, in, nil), "%s without a name", what)
		require.Equal(t, http.StatusUnauthorized, s.ask("assay-token.rack.wrong", method, path, in, nil), "%s with a wrong token", what)
		require.Equal(t, http.StatusForbidden, s.ask(s.token, method, path, in, nil), "%s with a token of agents", what)
		want := http.StatusForbidden
		if method == http.MethodGet && path != "/v1/accounts" {
			want = http.StatusOK
		}
		require.Equal(t, want, s.ask(s.people["vera"], method, path, in, nil), "%s as a viewer", what)
	}
	for _, path := range []string{"/v1/hosts/h1/audit", "/v1/hosts/h1/evidence?nonce=00", "/v1/enrolments"} {
		method := http.MethodPost
		if strings.HasSuffix(path, "audit") {
			method = http.MethodGet
		}
		require.Equal(t, http.StatusUnauthorized, s.ask("", method, path, nil, nil), path)
	}
	require.Equal(t, http.StatusUnauthorized, s.ask("", http.MethodPost, "/v1/login", Login{"vera", "not the password"}, nil))
	require.Equal(t, http.StatusUnauthorized, s.ask("", http.MethodPost, "/v1/login", Login{"token:rack", "not the password"}, nil))
	require.Equal(t, http.StatusOK, s.ask(s.people["otto"], http.MethodPost, "/v1/logout", nil, nil))
	require.Equal(t, http.StatusUnauthorized, s.ask(s.people["otto"], http.MethodGet, "/v1/counts", nil, nil), "a session ends when the person logs out")
	require.NoError(t, s.server.Disable(t.Context(), "test", "vera"))
	require.Equal(t, http.StatusUnauthorized, s.ask(s.people["vera"], http.MethodGet, "/v1/counts", nil, nil), "a session ends with its account")
}

// A page of another site makes a browser send its cookie: that reads, and changes
// nothing.
func TestCookieChangesNothing(t *testing.T) {
	s := newSite(t)
	for method, want := range map[string]int{http.MethodGet: http.StatusOK, http.MethodPost: http.StatusUnauthorized} {
		path := map[string]string{http.MethodGet: "/v1/counts", http.MethodPost: "/v1/hosts/h1/audit"}[method]
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
		require.NoError(t, err)
		req.AddCookie(&http.Cookie{Name: SessionCookie, Value: s.people["otto"]})
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, want, res.StatusCode, method)
	}
}

func TestTwoPeopleMakeAnException(t *testing.T) {
	s := newSite(t)
	var x fleet.Exception
	require.Equal(t, http.StatusOK, s.ask(s.people["anna"], http.MethodPost, "/v1/exceptions", exception(), &x))
	require.Equal(t, "anna", x.Asked)
	require.Empty(t, x.Approved)
	approve := "/v1/exceptions/" + x.ID + "/approve"
	require.Equal(t, http.StatusForbidden, s.ask(s.people["otto"], http.MethodPost, approve, nil, nil))
	require.Equal(t, http.StatusForbidden, s.ask(s.people["anna"], http.MethodPost, approve, nil, nil), "who asked does not grant")
	require.Equal(t, http.StatusOK, s.ask(s.people["axel"], http.MethodPost, approve, nil, nil))
	require.Equal(t, http.StatusConflict, s.ask(s.people["axel"], http.MethodPost, approve, nil, nil))
	forged := exception()
	forged.Asked, forged.Approved, forged.ApprovedAt = "otto", "axel", time.Now()
	require.Equal(t, http.StatusOK, s.ask(s.people["anna"], http.MethodPost, "/v1/exceptions", forged, &x))
	require.Equal(t, "anna", x.Asked, "what is sent does not say who sent it")
	require.Empty(t, x.Approved)
	late := exception()
	late.Expires = time.Now().AddDate(10, 0, 0)
	require.Equal(t, http.StatusUnprocessableEntity, s.ask(s.people["anna"], http.MethodPost, "/v1/exceptions", late, nil))
}

func TestWhatIsNotKnown(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"GET /v1/hosts/h9", "POST /v1/hosts/h9/audit", "POST /v1/exceptions/x-9/approve"} {
		method, path, _ := strings.Cut(path, " ")
		require.Equal(t, http.StatusNotFound, s.ask(s.people["anna"], method, path, nil, nil), path)
	}
	require.Equal(t, http.StatusNotFound, s.ask(s.token, http.MethodGet, "/v1/hosts/h9/audit", nil, nil))
	require.Equal(t, http.StatusNotFound, s.ask(s.token, http.MethodPost, "/v1/enrolments/00ff", tpm.Answer{Format: tpm.AnswerFormat, Name: "000b", Secret: []byte{1}}, nil))
}

func TestEvidenceIsWhatWasAskedFor(t *testing.T) {
	s := newSite(t)
	files, err := fixture.Machine(filepath.Join("..", ".."), "baseline")
	require.NoError(t, err)
	zip, err := fixture.Zip(files)
	require.NoError(t, err)
	send := func(nonce string, body any) int {
		return s.ask(s.token, http.MethodPost, "/v1/hosts/h1/evidence?nonce="+nonce, body, nil)
	}
	require.Equal(t, http.StatusConflict, send("00ff", zip), "nobody asked")
	require.Equal(t, http.StatusUnprocessableEntity, send("nothing", zip))
	require.Equal(t, http.StatusConflict, send("00ff", []byte("no zip")), "what nobody asked for is not looked at")
	require.Equal(t, http.StatusLengthRequired, send("00ff", io.LimitReader(zeros{}, MaxEvidence+1)))

	require.Equal(t, http.StatusOK, s.ask(s.people["otto"], http.MethodPost, "/v1/hosts/h1/audit", nil, nil))
	var n Next
	require.Equal(t, http.StatusOK, s.ask(s.token, http.MethodGet, "/v1/hosts/h1/audit", nil, &n))
	require.NotNil(t, n.Audit)
	require.Equal(t, http.StatusAccepted, send(n.Audit.Nonce, zip))
	require.Equal(t, http.StatusConflict, send(n.Audit.Nonce, zip), "a nonce is good once")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestAgentThatWaitsIsToldAtOnce(t *testing.T) {
	s := newSite(t)
	var idle Next
	require.Equal(t, http.StatusOK, s.ask(s.token, http.MethodGet, "/v1/hosts/h1/audit", nil, &idle))
	require.Nil(t, idle.Audit, "nothing is due")
	got := make(chan Next, 1)
	ctx, cancel := context.WithTimeout(t.Context(), look-time.Second) // before the server would look by itself
	defer cancel()
	go func() {
		var n Next
		s.ask(s.token, http.MethodGet, "/v1/hosts/h1/audit?wait=60", nil, &n)
		got <- n
	}()
	for asked := false; ; {
		select {
		case n := <-got:
			require.True(t, asked)
			require.NotNil(t, n.Audit)
			require.Len(t, n.Audit.Nonce, 64)
			return
		case <-ctx.Done():
			t.Fatal("the agent was not told")
		case <-time.After(100 * time.Millisecond):
			asked = true // as often as it takes the agent to wait
			require.Equal(t, http.StatusOK, s.ask(s.people["otto"], http.MethodPost, "/v1/hosts/h1/audit", nil, nil))
		}
	}
}

// H15: who asks without end is slowed down, and nobody else is.
func TestOneNameDoesNotTakeAll(t *testing.T) {
	l := newLimits(perSecond, burst)
	served := 0
	for range 1_000_000 {
		if !l.allow("who:vera") {
			break
		}
		served++
	}
	require.GreaterOrEqual(t, served, burst)
	require.Less(t, served, 1_000_000)
	require.True(t, l.allow("who:otto"))
}

func TestHealth(t *testing.T) {
	s := newSite(t)
	require.Equal(t, http.StatusOK, s.ask("", http.MethodGet, "/healthz", nil, nil))
	require.Equal(t, http.StatusOK, s.ask("", http.MethodGet, "/readyz", nil, nil))
	require.NoError(t, s.server.Store.Close())
	require.Equal(t, http.StatusServiceUnavailable, s.ask("", http.MethodGet, "/readyz", nil, nil))
}

func TestDescription(t *testing.T) {
	s := newSite(t)
	var doc struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	require.Equal(t, http.StatusOK, s.ask("", http.MethodGet, "/v1/openapi.json", nil, &doc))
	require.True(t, strings.HasPrefix(doc.OpenAPI, "3.1"), doc.OpenAPI)
	all := asks()
	for _, more := range []string{"POST /v1/login", "POST /v1/logout", "POST /v1/enrolments", "POST /v1/enrolments/h1", "GET /v1/hosts/h1/audit", "POST /v1/hosts/h1/evidence"} {
		all[more] = nil
	}
	n := 0
	for _, p := range doc.Paths {
		n += len(p)
	}
	require.Equal(t, len(all), n, "%v", slices.Sorted(maps.Keys(doc.Paths)))
	for what := range all {
		method, path, _ := strings.Cut(what, " ")
		if !strings.HasSuffix(path, "/golden") {
			path = strings.NewReplacer("otto", "{id}", "/h1", "/{id}", "/x-1", "/{id}", "/r-1", "/{id}", "/00/", "/{id}/", "/token:rack", "/{id}").Replace(path)
		} else {
			path = "/v1/documents/{id}"
		}
		require.Contains(t, doc.Paths[path], strings.ToLower(method), what)
	}
}

// Guessing a password is slow, whatever name is guessed for.
func TestGuessingIsSlow(t *testing.T) {
	s := newSite(t)
	last := 0
	for i := range loginBurst + 5 {
		last = s.ask("", http.MethodPost, "/v1/login", Login{fmt.Sprintf("name-%d", i), "not the password"}, nil)
	}
	require.Equal(t, http.StatusTooManyRequests, last)
}

// What names a machine in its path is about that machine, whatever else is sent.
func TestPathsNameMachines(t *testing.T) {
	s := newSite(t)
	var a Audit
	require.Equal(t, http.StatusOK, s.ask(s.people["otto"], http.MethodPost, "/v1/hosts/h1/challenge", map[string]int{"hours": 24}, &a))
	require.Len(t, a.Nonce, 64)
	require.Equal(t, http.StatusNotFound, s.ask(s.people["otto"], http.MethodPost, "/v1/hosts/h2/challenge", map[string]int{"hours": 24}, &a))
	var rs []fleet.Result
	require.Equal(t, http.StatusOK, s.ask(s.people["vera"], http.MethodGet, "/v1/hosts/h1/results?limit=5", nil, &rs))
	require.Len(t, rs, 1)
	require.Equal(t, http.StatusUnprocessableEntity, s.ask(s.people["otto"], http.MethodPost, "/v1/hosts/h1/repin", map[string]string{"pin": ""}, nil), "it has no controller")
	require.Equal(t, http.StatusOK, s.ask(s.people["otto"], http.MethodPost, "/v1/hosts/h1/retire", map[string]string{"reason": "sold"}, nil))
	var h fleet.Host
	require.Equal(t, http.StatusOK, s.ask(s.people["vera"], http.MethodGet, "/v1/hosts/h1", nil, &h))
	require.Equal(t, fleet.Retired, h.State)
	require.Equal(t, http.StatusUnprocessableEntity, s.ask(s.people["anna"], http.MethodPost, "/v1/accounts", Person{"nora", "king", password}, nil))
	require.Equal(t, http.StatusOK, s.ask(s.people["anna"], http.MethodPost, "/v1/accounts/token:rack/disable", nil, nil))
	require.Equal(t, http.StatusUnauthorized, s.ask(s.token, http.MethodGet, "/v1/hosts/h1/audit", nil, nil))
	require.Equal(t, http.StatusNotFound, s.ask(s.people["anna"], http.MethodPost, "/v1/accounts/server:sessions/disable", nil, nil))
	require.Equal(t, http.StatusConflict, s.ask(s.people["anna"], http.MethodPost, "/v1/accounts/anna/disable", nil, nil))
}
