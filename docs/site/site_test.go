package site

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/docs"
)

func ours(t *testing.T) *Site {
	t.Helper()
	s, err := New(docs.Files, map[string]string{"commands": "# Commands\n\nassay verify\n"})
	require.NoError(t, err)
	return s
}

var (
	href   = regexp.MustCompile(`href="([^"]+)"`)
	anchor = regexp.MustCompile(`id="([^"]+)"`)
)

// Every link leads to a page, a schema or a heading that is there.
func TestLinksLeadSomewhere(t *testing.T) {
	files, err := ours(t).Build()
	require.NoError(t, err)
	for name, page := range files {
		if path.Ext(name) != ".html" {
			continue
		}
		for _, m := range href.FindAllStringSubmatch(string(page), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, fragment, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = path.Join(path.Dir(name), file)
			}
			to, ok := files[target]
			if !assert.True(t, ok, "%s: %s leads nowhere", name, m[1]) || fragment == "" {
				continue
			}
			ids := anchor.FindAllStringSubmatch(string(to), -1)
			assert.True(t, func() bool {
				for _, id := range ids {
					if id[1] == fragment {
						return true
					}
				}
				return false
			}(), "%s: %s has no such heading", name, m[1])
		}
	}
}

// A reader finds each page from the list: none is forgotten.
func TestEveryPageIsListed(t *testing.T) {
	for _, p := range ours(t).Pages {
		assert.NotEmpty(t, p.Section, "%s is in no section of the list", p.Name)
		assert.NotEqual(t, p.Name, p.Title, "%s has no heading", p.Name)
	}
}

// Names of pages in the text are links, since people follow them.
func TestNamesOfPagesAreLinks(t *testing.T) {
	s, err := New(fstest.MapFS{
		"a.md":                  {Data: []byte("# A\n\nSee `docs/howto/b.md`, `docs/formats/` and `docs/none.md`.\n")},
		"howto/b.md":            {Data: []byte("# B\n\n[back](../a.md#a) <script>alert(1)</script>\n")},
		"formats/README.md":     {Data: []byte("# Formats\n\n[schema](x.schema.json)\n")},
		"formats/x.schema.json": {Data: []byte("{}")},
	}, nil)
	require.NoError(t, err)
	files, err := s.Build()
	require.NoError(t, err)
	assert.Contains(t, string(files["a.html"]), `<a href="howto/b.html"><code>docs/howto/b.md</code></a>`)
	assert.Contains(t, string(files["a.html"]), `<a href="formats.html"><code>docs/formats/</code></a>`)
	assert.Contains(t, string(files["a.html"]), `<code>docs/none.md</code>`)
	assert.Contains(t, string(files["howto/b.html"]), `<a href="../a.html#a">back</a>`)
	assert.NotContains(t, string(files["howto/b.html"]), "<script>")
	assert.Contains(t, string(files["formats.html"]), `href="formats/x.schema.json"`)
}

func TestPageByName(t *testing.T) {
	s := ours(t)
	for ask, want := range map[string]string{"technician": "start/technician", "docs/trust.md": "trust", "guide-technician": "guide-technician", "formats/": "formats"} {
		p, err := s.Page(ask)
		if assert.NoError(t, err, ask) {
			assert.Equal(t, want, p.Name)
		}
	}
	_, err := s.Page("no such")
	assert.ErrorIs(t, err, ErrNoPage)
	assert.NotEmpty(t, s.Find("INCONCLUSIVE"))
	assert.Empty(t, s.Find("nowhere to be found at all"))
}

// What is served cannot run a script, and nothing but the site is served.
func TestHandler(t *testing.T) {
	h, err := ours(t).Handler()
	require.NoError(t, err)
	get := func(method, target string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(method, "http://127.0.0.1/", nil)
		r.URL.Path = target
		h.ServeHTTP(w, r)
		return w
	}
	for _, p := range []string{"/", "/start/technician.html", "/style.css", "/formats/result.schema.json"} {
		w := get(http.MethodGet, p)
		assert.Equal(t, http.StatusOK, w.Code, p)
		assert.Contains(t, w.Header().Get("Content-Security-Policy"), "default-src 'none'")
		assert.NotEmpty(t, w.Header().Get("Content-Type"))
	}
	for _, p := range []string{"/../../etc/passwd", "/docs.go", "/nothing.html", "/start/"} {
		assert.Equal(t, http.StatusNotFound, get(http.MethodGet, p).Code, p)
	}
	assert.Equal(t, http.StatusMethodNotAllowed, get(http.MethodPost, "/").Code)
}

// The site can be read from a directory, without a server.
func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "site")
	require.NoError(t, ours(t).Write(dir))
	raw, err := os.ReadFile(filepath.Join(dir, "howto", "receive-a-rack.html"))
	require.NoError(t, err)
	assert.Contains(t, string(raw), `href="../style.css"`)
}
