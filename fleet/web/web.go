// Package web shows a fleet to people: pages that are made on the server, with one
// style sheet, one script that only swaps a list, and nothing from elsewhere. It
// judges nothing; whatever is not a pass looks like none.
//
// Every text that came from evidence is hostile. Templates escape it, report.Plain
// takes away what turns or hides text, and what a page forgot is found when it is
// written (clean).
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/report/html"
)

//go:embed templates/*.tmpl
var templates embed.FS

//go:embed assets
var assets embed.FS

const (
	// patience bounds the work for one page.
	patience = 20 * time.Second
	// readers bounds how many bundles are read for pages at the same time; each may
	// need as much memory as an appraisal.
	readers = 2
	// maxForm bounds what a form may send.
	maxForm = 64 << 10
)

// pages serves the pages of one fleet.
type pages struct {
	server  *server.Server
	api     *api.API
	version string
	mux     *http.ServeMux
	assets  map[string]asset
	bodies  map[string]*template.Template
	reading chan struct{}
	jobs    bool
}

// Handle registers the pages on the mux of an API. What runs beside them ends with
// the context.
func Handle(ctx context.Context, mux *http.ServeMux, s *server.Server, a *api.API, version string) error {
	p := &pages{server: s, api: a, version: version, mux: mux, reading: make(chan struct{}, readers)}
	var err error
	if p.assets, err = loadAssets(); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	if p.bodies, err = p.parse(); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	if err := p.handleJobs(ctx, mux); err != nil {
		return fmt.Errorf("pages: %w", err)
	}
	p.register(mux)
	return nil
}

func (p *pages) register(mux *http.ServeMux) {
	same := http.NewCrossOriginProtection()
	on := func(pattern string, h http.Handler) { mux.Handle(pattern, same.Handler(p.secured(h))) }
	on("GET /assets/{hash}/{name}", http.HandlerFunc(p.serveAsset))
	on("GET /login", http.HandlerFunc(p.loginPage))
	on("POST /login", http.HandlerFunc(p.login))
	on("POST /logout", http.HandlerFunc(p.logout))
	for pattern, f := range map[string]func(*request) error{
		"/{$}": p.overview, "/moved": p.moved, "/machines": p.machines, "/machines/{id}": p.machine,
		"/results/{id}": p.result, "/results/{id}/parts": p.parts, "/results/{id}/boot": p.boot, "/results/{id}/firmware": p.firmware,
		"/results/{id}/evidence.zip": p.evidence, "/results/{id}/result.json": p.resultJSON,
		"/cohorts": p.cohorts, "/cohorts/{id}": p.cohort, "/goldens": p.goldens, "/goldens/compare": p.compare, "/goldens/{digest}/document.json": p.document,
		"/exceptions": p.exceptions, "/log": p.log,
	} {
		on("GET "+pattern, p.guarded(fleet.Viewer, f))
	}
	for pattern, f := range map[string]func(*request) error{
		"/machines/{id}/audit": p.auditNow, "/machines/{id}/retire": p.retire, "/exceptions": p.askException,
	} {
		on("POST "+pattern, p.guarded(fleet.Operator, f))
	}
	on("POST /exceptions/{id}/approve", p.guarded(fleet.Approver, p.approve))
}

func (p *pages) parse() (map[string]*template.Template, error) {
	base, err := html.Pieces(nil)
	if err != nil {
		return nil, err
	}
	if base, err = base.Funcs(p.functions()).ParseFS(templates, "templates/layout.tmpl", "templates/parts.tmpl"); err != nil {
		return nil, err
	}
	names, err := fs.Glob(templates, "templates/*.page.tmpl")
	if err != nil {
		return nil, err
	}
	out := map[string]*template.Template{}
	for _, name := range names {
		t, err := base.Clone()
		if err == nil {
			t, err = t.ParseFS(templates, name)
		}
		if err != nil {
			return nil, err
		}
		out[name[len("templates/"):len(name)-len(".page.tmpl")]] = t
	}
	return out, nil
}

// request is one request of a person who may ask.
type request struct {
	w   http.ResponseWriter
	r   *http.Request
	ctx context.Context
	who server.Who
	now time.Time
}

// page is what every template gets.
type page struct {
	Title string
	Nav   string // which entry of the navigation it belongs to
	Who   server.Who
	Now   time.Time
	Said  string // what became of a form
	Body  any
	Jobs  bool
}

// At is a time as pages tell it.
func (p page) At(t time.Time) moment { return moment{t, p.Now} }

// May reports whether the reader may do what needs a role.
func (p page) May(role string) bool { return p.Who.May(fleet.Role(role)) }

// show writes a page of the signed-in.
func (p *pages) show(q *request, name, nav, title string, body any) error {
	return p.write(q.w, http.StatusOK, name, page{Title: title, Nav: nav, Who: q.who, Now: q.now, Said: said[q.r.URL.Query().Get("done")], Body: body, Jobs: p.jobs})
}

// said are the texts after a form; a link names one of them and nothing else.
var said = map[string]string{
	"audit":    "The machine was asked for evidence. A new verdict follows when it answers.",
	"retire":   "The machine was retired.",
	"asked":    "The exception was asked for. Another person has to approve it.",
	"approved": "The exception is in force.",
}

func (p *pages) write(w http.ResponseWriter, status int, name string, v page) error {
	t := p.bodies[name]
	if t == nil {
		return fmt.Errorf("no page %q", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, "page", v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(clean(b.Bytes())) // who asked may be gone
	return nil
}

// guarded lets those in who have a role; others log in first.
func (p *pages) guarded(least fleet.Role, f func(*request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		who, ok := p.signedIn(ctx, w, r)
		if !ok {
			return
		}
		q := &request{w: w, r: r, ctx: ctx, who: who, now: p.server.Now().UTC()}
		err := p.api.Allow(who.Name, "")
		switch {
		case err != nil:
		case !who.May(least):
			err = &server.Refusal{Reason: "This needs the role " + string(least) + ".", Status: server.Forbidden}
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			err = f(q)
		}
		if err != nil {
			p.fail(w, r, who, err)
		}
	})
}

// fail tells of an error. What is no refusal is for the server's log.
func (p *pages) fail(w http.ResponseWriter, r *http.Request, who server.Who, err error) {
	status, text := http.StatusInternalServerError, "The server could not do it; its log says why."
	var refused *server.Refusal
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &refused):
		text = refused.Reason
		status = map[server.Status]int{server.Invalid: http.StatusUnprocessableEntity, server.Forbidden: http.StatusForbidden, server.Unknown: http.StatusNotFound, server.Conflict: http.StatusConflict}[refused.Status]
	case errors.As(err, &large):
		status, text = http.StatusRequestEntityTooLarge, "The form holds too much."
	case errors.Is(err, fleet.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		status, text = http.StatusNotFound, "This is not known here."
	case errors.Is(err, api.ErrTooMany):
		status, text = http.StatusTooManyRequests, "Too many requests. Wait a little."
	case errors.Is(err, blob.ErrDamaged):
		text = "What is stored is not what was stored: somebody changed it, or the disk did. Nothing of it is shown."
	case errors.Is(err, context.DeadlineExceeded):
		status, text = http.StatusServiceUnavailable, "It took too long. Ask for less, or try again."
	}
	if status == http.StatusInternalServerError {
		slog.ErrorContext(r.Context(), "page", "path", r.URL.Path, "error", err)
	}
	if err := p.write(w, status, "error", page{Title: http.StatusText(status), Who: who, Now: p.server.Now().UTC(), Body: text, Jobs: p.jobs}); err != nil {
		slog.ErrorContext(r.Context(), "page", "path", r.URL.Path, "error", err)
	}
}

// policy of what a browser may load for a page: from here, and nothing that is
// written into the page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

func (p *pages) secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for k, v := range map[string]string{
			"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
			"Permissions-Policy": "camera=(), geolocation=(), microphone=(), usb=()",
		} {
			w.Header().Set(k, v)
		}
		h.ServeHTTP(w, r)
	})
}

// view reads from one state of the store.
func (p *pages) view(q *request, f func(fleet.Reader) error) error {
	return p.server.Store.View(q.ctx, f)
}
