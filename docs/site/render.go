package site

import (
	"bytes"
	_ "embed" // the page around each page
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed page.html
var pageSource string

//go:embed style.css
var style []byte

// listed is a section of the list of pages, as the template wants it.
type listed struct {
	Title string
	Pages []entry
}

type entry struct {
	Title, File string
	Here        bool
}

// list is the list of pages as one page shows it.
func (s *Site) list(from string) []listed {
	var out []listed
	for _, p := range s.Pages {
		if p.Section == "" {
			continue
		}
		if len(out) == 0 || out[len(out)-1].Title != p.Section {
			out = append(out, listed{Title: p.Section})
		}
		sec := &out[len(out)-1]
		sec.Pages = append(sec.Pages, entry{p.Title, relative(from, fileOf(p.Name)), p.Name == from})
	}
	return out
}

// Build makes the files of the site, by path.
func (s *Site) Build() (map[string][]byte, error) {
	t, err := template.New("page").Parse(pageSource)
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{"style.css": style}
	for _, p := range append(s.Pages, s.index()) {
		body, err := s.body(p)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		err = t.Execute(&b, map[string]any{
			"Title": p.Title, "Sections": s.list(p.Name), "Style": relative(p.Name, "style.css"), "Home": relative(p.Name, "index.html"),
			"Body": template.HTML(body), // of our own Markdown, in which goldmark passes no HTML through
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.Name, err)
		}
		out[fileOf(p.Name)] = b.Bytes()
	}
	return out, s.beside(out)
}

// beside adds what is no page: the schemas.
func (s *Site) beside(out map[string][]byte) error {
	return fs.WalkDir(s.files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(p) != ".json" {
			return err
		}
		raw, err := fs.ReadFile(s.files, p)
		out[p] = raw
		return err
	})
}

// index is the first page.
func (s *Site) index() Page {
	var b strings.Builder
	b.WriteString("# Assay\n\nAssay proves that a server is the server its vendor built. Five minutes for each of the three who use it, then pages by what you want to do.\n")
	last := ""
	for _, p := range s.Pages {
		if p.Section == "" {
			continue
		}
		if p.Section != last {
			fmt.Fprintf(&b, "\n## %s\n\n", p.Section)
			last = p.Section
		}
		fmt.Fprintf(&b, "- [%s](%s)\n", p.Title, p.file())
	}
	return Page{Name: "index", Title: "Assay", Source: b.String()}
}

// Write puts the site into a directory, which it makes.
func (s *Site) Write(dir string) error {
	files, err := s.Build()
	if err != nil {
		return err
	}
	for name, data := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Handler serves the site. It answers GET and HEAD, and no page can run a script.
func (s *Site) Handler() (http.Handler, error) {
	files, err := s.Build()
	if err != nil {
		return nil, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
		if name == "" {
			name = "index.html"
		}
		data, ok := files[name]
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		case !ok:
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json"}[path.Ext(name)])
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(data)
	}), nil
}
