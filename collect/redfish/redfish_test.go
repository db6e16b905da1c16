package redfish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/evidence"
)

// controller serves documents by path over TLS on the loopback interface.
func controller(t *testing.T, docs map[string]string) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s: a scan only reads", r.Method, r.URL)
		}
		doc, ok := docs[strings.TrimSuffix(r.URL.Path, "/")]
		switch {
		case !ok:
			http.NotFound(w, r)
		case strings.HasPrefix(doc, "https://"):
			http.Redirect(w, r, doc, http.StatusFound)
		default:
			fmt.Fprint(w, doc)
		}
	}))
	s.Config.ErrorLog = nil
	t.Cleanup(s.Close)
	return s
}

// kept is one artefact of a scan.
type kept struct {
	data   []byte
	status evidence.Status
	reason string
}

// ask scans an empty machine with one controller; artefacts are named as below
// the controller's directory.
func ask(t *testing.T, c Controller) map[string]kept {
	t.Helper()
	return asked(t, t.Context(), c)
}

func asked(t *testing.T, ctx context.Context, c Controller) map[string]kept {
	t.Helper()
	x, err := Source(c)
	require.NoError(t, err)
	w, err := collect.Scan(ctx, collect.Captured(fstest.MapFS{}), collect.Options{Extra: []collect.Extra{x}})
	require.NoError(t, err)
	b, err := w.Bundle()
	require.NoError(t, err)
	require.Empty(t, b.Check())
	out := map[string]kept{}
	for _, a := range w.Artifacts() {
		if rest, ok := strings.CutPrefix(a.Path, Name+"/"); ok {
			_, rest, _ = strings.Cut(rest, "/")
			data, _ := b.Read(a.Path)
			out[rest] = kept{data, a.Status, a.Reason}
		}
	}
	return out
}

func pinOf(s *httptest.Server) string {
	sum := sha256.Sum256(s.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

func TestAControllersTreeIsKeptAsItCame(t *testing.T) {
	system := `{ "@odata.id": "/redfish/v1/Systems/1", "SerialNumber":"S",  "Memory": {"@odata.id":"/redfish/v1/Systems/1/Memory/"}, "Log": {"@odata.id": "/redfish/v1/Systems/1/LogServices"}}`
	s := controller(t, map[string]string{
		"/redfish/v1":                       `{"Systems":{"@odata.id":"/redfish/v1/Systems"},"AccountService":{"@odata.id":"/redfish/v1/AccountService"},"x":{"@odata.id":"/redfish/v1/Gone#/a"}}`,
		"/redfish/v1/Systems":               `{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}],"up":{"@odata.id":"/redfish/v1/Systems"}}`,
		"/redfish/v1/Systems/1":             system,
		"/redfish/v1/Systems/1/Memory":      `{}`,
		"/redfish/v1/AccountService":        `{"names":"of people"}`,
		"/redfish/v1/Systems/1/LogServices": `{}`,
	})
	var contact string
	got := ask(t, Controller{URL: s.URL, Contact: func(_, pin string) { contact = pin }})
	require.Equal(t, system, string(got["redfish/v1/Systems/1/index.json"].data), "byte for byte")
	require.Equal(t, evidence.Collected, got["redfish/v1/Systems/1/Memory/index.json"].status)
	require.Equal(t, evidence.Absent, got["redfish/v1/Gone/index.json"].status)
	require.NotContains(t, got, "redfish/v1/AccountService/index.json", "names of people are no part of a machine")
	require.NotContains(t, got, "redfish/v1/Systems/1/LogServices/index.json")
	require.Equal(t, pinOf(s), contact, "the first contact is remembered")
	require.Equal(t, s.Certificate().Raw, got["certificate.der"].data)
}

// Somebody sits between the scanner and the controller.
func TestAnotherCertificateIsAnotherController(t *testing.T) {
	s := controller(t, map[string]string{"/redfish/v1": `{}`})
	require.Equal(t, evidence.Collected, ask(t, Controller{URL: s.URL, Pin: pinOf(s)})["redfish/v1/index.json"].status)
	e := ask(t, Controller{URL: s.URL, Pin: strings.Repeat("00", 32)})["redfish/v1/index.json"]
	require.Equal(t, evidence.Failed, e.status)
	require.Contains(t, e.reason, "not the pinned")
}

// A controller that sends the scanner, and its password, somewhere else.
func TestNobodyIsSentElsewhere(t *testing.T) {
	asked := false
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	t.Cleanup(other.Close)
	s := controller(t, map[string]string{
		"/redfish/v1":   fmt.Sprintf(`{"a":{"@odata.id":"%[1]s/redfish/v1/x"},"b":{"@odata.id":"//%[2]s/redfish/v1/x"},"c":{"@odata.id":"/redfish/v1/../../x"},"d":{"@odata.id":"/redfish/v1/r"},"e":{"@odata.id":"/etc/passwd"},"f":{"@odata.id":7}}`, other.URL, strings.TrimPrefix(other.URL, "https://")),
		"/redfish/v1/r": other.URL + "/redfish/v1/x",
	})
	got := ask(t, Controller{URL: s.URL, User: "u", Password: "p"})
	require.False(t, asked)
	require.Len(t, got, 3)
	require.Contains(t, got["redfish/v1/r/index.json"].reason, "redirections are not followed")
}

func TestAnEndlessControllerIsCutOffAndSaysSo(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"n":{"@odata.id":"%s/x"},"m":{"@odata.id":"%s/y"}}`, strings.TrimSuffix(r.URL.Path, "/"), strings.TrimSuffix(r.URL.Path, "/"))
	}))
	t.Cleanup(s.Close)
	got := ask(t, Controller{URL: s.URL, resources: 50})
	require.LessOrEqual(t, len(got), 52)
	cut := false
	for _, e := range got {
		cut = cut || strings.Contains(e.reason, "more than 50 resources")
	}
	require.True(t, cut)

	huge := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			if _, err := w.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(huge.Close)
	e := ask(t, Controller{URL: huge.URL, bytes: 10 << 10})["redfish/v1/index.json"]
	require.Equal(t, evidence.Failed, e.status)
	require.Contains(t, e.reason, "limit of 10240 bytes")
}

func TestRefusalsAreTold(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "admin" || p != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprint(w, "{}")
	}))
	t.Cleanup(s.Close)
	require.Equal(t, evidence.Denied, ask(t, Controller{URL: s.URL})["redfish/v1/index.json"].status)
	require.Equal(t, evidence.Collected, ask(t, Controller{URL: s.URL + "/redfish/v1/", User: "admin", Password: "secret"})["redfish/v1/index.json"].status)
	for _, u := range []string{"http://x", "https://", "https://user:pw@x", "https://x/other", "https://x?y", "x", "https://%zz"} {
		_, err := Source(Controller{URL: u})
		require.Error(t, err, u)
	}
	for _, c := range []Controller{{URL: "https://x", Pin: "abcd"}, {URL: "https://x", User: "u"}, {URL: "https://x", Session: true}} {
		_, err := Source(c)
		require.Error(t, err)
	}
}

// A document that no client library would accept is kept like any other: what
// it means is for the verifier to say.
func TestDocumentsThatFitNoSchemaAreKept(t *testing.T) {
	root := `{"Name":7,"Links":"none","Systems":{"@odata.id":"/redfish/v1/Systems"}`
	s := controller(t, map[string]string{"/redfish/v1": root, "/redfish/v1/Systems": "\x00\xff no JSON"})
	got := ask(t, Controller{URL: s.URL})
	require.Equal(t, root, string(got["redfish/v1/index.json"].data))
	require.Equal(t, "\x00\xff no JSON", string(got["redfish/v1/Systems/index.json"].data))
}

// sessions is a controller that wants a session, and counts what is open.
func sessions(t *testing.T, location string, open *int) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method == http.MethodPost && r.URL.Path == sessionsPath:
			*open++
			w.Header().Set("X-Auth-Token", "token")
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusCreated)
		case r.Method == http.MethodDelete && r.URL.Path == sessionsPath+"/1":
			*open--
			w.WriteHeader(http.StatusNoContent)
		case r.Method != http.MethodGet:
			t.Errorf("%s %s", r.Method, r.URL)
		case r.Header.Get("X-Auth-Token") != "token" || r.Header.Get("Authorization") != "":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			fmt.Fprint(w, "{}")
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestASessionIsClosedAgain(t *testing.T) {
	open := 0
	for _, location := range []string{sessionsPath + "/1", "https://elsewhere.example" + sessionsPath + "/1"} {
		got := ask(t, Controller{URL: sessions(t, location, &open).URL, User: "u", Password: "p", Session: true})
		require.Equal(t, evidence.Collected, got["redfish/v1/index.json"].status, got["redfish/v1/index.json"].reason)
		require.Zero(t, open)
		require.NotContains(t, got, "session")
	}
	require.Equal(t, evidence.Denied, ask(t, Controller{URL: sessions(t, "", &open).URL, User: "u", Password: "p"})["redfish/v1/index.json"].status, "without a session nothing is sent but reads")
}

// A controller that names something else than a session as the one to delete.
func TestNothingButASessionIsDeleted(t *testing.T) {
	open := 0
	for _, location := range []string{"/redfish/v1/Systems/1", sessionsPath, sessionsPath + "/../../Systems/1", "", ":"} {
		got := ask(t, Controller{URL: sessions(t, location, &open).URL, User: "u", Password: "p", Session: true})
		require.Equal(t, evidence.Failed, got["session"].status, "%q: a session that stays open is told", location)
	}
}

// Sensors of a controller move all the time: a second pass says nothing.
func TestTwoPassesDoNotCompareControllers(t *testing.T) {
	n := 0
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		fmt.Fprintf(w, `{"Reading":%d}`, n)
	}))
	t.Cleanup(s.Close)
	x, err := Source(Controller{URL: s.URL})
	require.NoError(t, err)
	w, err := collect.Scan(t.Context(), collect.Captured(fstest.MapFS{}), collect.Options{Extra: []collect.Extra{x}, Passes: 2})
	require.NoError(t, err)
	require.Equal(t, 2, n)
	for _, a := range w.Artifacts() {
		require.False(t, strings.HasPrefix(a.Path, evidence.SecondPass), a.Path)
	}
}

func TestAControllerThatNeverAnswersIsLeft(t *testing.T) {
	forever := make(chan struct{})
	s := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-forever }))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(forever) })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	require.Equal(t, evidence.TimedOut, asked(t, ctx, Controller{URL: s.URL})["redfish/v1/index.json"].status)
}

// The published mock-ups of the standard's body, served as a controller does.
func TestPublishedTreesAreReadWhole(t *testing.T) {
	const corpus = "../../../shared/corpus/hardware/redfish"
	dirs, _ := filepath.Glob(corpus + "/*")
	if len(dirs) == 0 {
		t.Skip("needs ../shared/corpus/hardware/redfish")
	}
	read := 0
	for _, d := range dirs {
		if info, err := os.Stat(filepath.Join(d, "redfish", "v1")); err == nil && info.IsDir() {
			d = filepath.Join(d, "redfish", "v1")
		}
		if _, err := os.Stat(filepath.Join(d, "index.json")); err != nil {
			continue
		}
		s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/redfish/v1"), "/")
			b, err := os.ReadFile(filepath.Join(d, filepath.FromSlash(name), "index.json"))
			if err != nil {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write(b)
		}))
		got := ask(t, Controller{URL: s.URL})
		s.Close()
		for p, e := range got {
			require.Contains(t, []evidence.Status{evidence.Collected, evidence.Absent}, e.status, "%s: %s", p, e.reason)
			read++
		}
	}
	t.Logf("%d documents of %d trees", read, len(dirs))
	require.Greater(t, read, 100)
}

// FuzzLinks: whatever a controller writes, only clean paths below its own
// Redfish tree are followed.
func FuzzLinks(f *testing.F) {
	f.Add([]byte(`{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`))
	f.Add([]byte(`{"@odata.id":"https://elsewhere/redfish/v1"}`))
	f.Add([]byte(`{"@odata.id":"/redfish/v1/../../etc/passwd"}`))
	f.Add([]byte(`{"@odata.id":"/redfish/v1/..../Chassis"}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, l := range links(doc) {
			require.True(t, strings.HasPrefix(l, rootPath+"/"), l)
			// No element is "..", "." or empty; "...." is a plain name.
			require.True(t, fs.ValidPath(l[1:]), l)
		}
	})
}
