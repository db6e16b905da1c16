package collect

import (
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

	"github.com/stretchr/testify/require"

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

func ask(t *testing.T, r Redfish) map[string]entry {
	t.Helper()
	o := Options{Redfish: []Redfish{r}}
	require.NoError(t, o.Check())
	task := newTask(t.Context(), Captured(fstest.MapFS{}), &o)
	redfish(task)
	out := map[string]entry{}
	for _, e := range task.finish(false) {
		_, rest, _ := strings.Cut(e.path, "/")
		_, rest, _ = strings.Cut(rest, "/")
		out[rest] = e
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
	got := ask(t, Redfish{URL: s.URL, Contact: func(_, pin string) { contact = pin }})
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
	require.Equal(t, evidence.Collected, ask(t, Redfish{URL: s.URL, Pin: pinOf(s)})["redfish/v1/index.json"].status)
	e := ask(t, Redfish{URL: s.URL, Pin: strings.Repeat("00", 32)})["redfish/v1/index.json"]
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
	got := ask(t, Redfish{URL: s.URL, User: "u", Password: "p"})
	require.False(t, asked)
	require.Len(t, got, 3)
	require.Contains(t, got["redfish/v1/r/index.json"].reason, "redirections are not followed")
}

func TestAnEndlessControllerIsCutOffAndSaysSo(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"n":{"@odata.id":"%s/x"},"m":{"@odata.id":"%s/y"}}`, strings.TrimSuffix(r.URL.Path, "/"), strings.TrimSuffix(r.URL.Path, "/"))
	}))
	t.Cleanup(s.Close)
	got := ask(t, Redfish{URL: s.URL, resources: 50})
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
	e := ask(t, Redfish{URL: huge.URL, bytes: 10 << 10})["redfish/v1/index.json"]
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
	require.Equal(t, evidence.Denied, ask(t, Redfish{URL: s.URL})["redfish/v1/index.json"].status)
	require.Equal(t, evidence.Collected, ask(t, Redfish{URL: s.URL + "/redfish/v1/", User: "admin", Password: "secret"})["redfish/v1/index.json"].status)
	for _, u := range []string{"http://x", "https://", "https://user:pw@x", "https://x/other", "https://x?y", "x", "https://%zz"} {
		o := Options{Redfish: []Redfish{{URL: u}}}
		require.Error(t, o.Check(), u)
	}
	o := Options{Redfish: []Redfish{{URL: "https://x", Pin: "abcd"}}}
	require.Error(t, o.Check())
}

// The published mock-ups of the standard's body, served as a controller does.
func TestPublishedTreesAreReadWhole(t *testing.T) {
	const corpus = "../../shared/corpus/hardware/redfish"
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
		got := ask(t, Redfish{URL: s.URL})
		s.Close()
		w := evidence.NewWriter(evidence.Index{}, evidence.Limits{})
		for p, e := range got {
			require.Contains(t, []evidence.Status{evidence.Collected, evidence.Absent}, e.status, "%s: %s", p, e.reason)
			e.path = "redfish/host/" + p
			require.NoError(t, fillOne(w, e))
			read++
		}
		b, err := w.Bundle()
		require.NoError(t, err, d)
		require.Empty(t, b.Check())
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
			require.True(t, strings.HasPrefix(l, redfishRoot+"/"), l)
			// No element is "..", "." or empty; "...." is a plain name.
			require.True(t, fs.ValidPath(l[1:]), l)
		}
	})
}
