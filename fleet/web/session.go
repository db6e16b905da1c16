package web

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/server"
)

// signedIn finds who asks. Who is not known is sent to log in; GET / answers with
// the form itself.
func (p *pages) signedIn(ctx context.Context, w http.ResponseWriter, r *http.Request) (server.Who, bool) {
	err := server.ErrUnknown
	if c, missing := r.Cookie(api.SessionCookie); missing == nil {
		var who *server.Who
		if who, err = p.server.Session(ctx, c.Value); err == nil {
			return *who, true
		}
	}
	switch {
	case !errors.Is(err, server.ErrUnknown):
		p.fail(w, r, server.Who{}, err)
	case p.api.Allow("", r.RemoteAddr) != nil:
		p.fail(w, r, server.Who{}, api.ErrTooMany)
	case r.URL.Path == "/":
		p.form(w, r, http.StatusOK, loginForm{Next: "/"})
	default:
		to := "/login"
		if r.Method == http.MethodGet {
			to += "?next=" + url.QueryEscape(r.URL.RequestURI())
		}
		if r.Header.Get("HX-Request") != "" { // a script cannot follow to a whole page
			w.Header().Set("HX-Redirect", to)
			w.WriteHeader(http.StatusUnauthorized)
			break
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
	return server.Who{}, false
}

// loginForm is what the page for logging in shows.
type loginForm struct {
	Next, Name, Problem string
	Provider            string // where people of the organisation log in; "" when there is no provider
}

func (p *pages) form(w http.ResponseWriter, r *http.Request, status int, f loginForm) {
	f.Provider = p.provider()
	if err := p.write(w, status, "login", page{Title: "Log in", Now: p.server.Now().UTC(), Body: f}); err != nil {
		slog.ErrorContext(r.Context(), "page", "path", r.URL.Path, "error", err)
	}
}

// provider is the way in through a provider of identities, when the server has one.
func (p *pages) provider() string {
	const in = "/login/oidc"
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: in}}
	if _, pattern := p.mux.Handler(r); strings.HasSuffix(pattern, in) {
		return in
	}
	return ""
}

func (p *pages) loginPage(w http.ResponseWriter, r *http.Request) {
	p.form(w, r, http.StatusOK, loginForm{Next: local(r.URL.Query().Get("next"))})
}

func (p *pages) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		p.form(w, r, http.StatusUnprocessableEntity, loginForm{Next: "/", Problem: "The form could not be read."})
		return
	}
	f := loginForm{Next: local(r.PostFormValue("next")), Name: r.PostFormValue("name")}
	session, _, err := p.api.Login(r.Context(), r.RemoteAddr, f.Name, r.PostFormValue("password"))
	switch {
	case errors.Is(err, api.ErrTooMany):
		f.Problem = "Too many attempts. Wait a little."
		p.form(w, r, http.StatusTooManyRequests, f)
	case errors.Is(err, server.ErrUnknown):
		f.Problem = "The name or the password is not known here."
		p.form(w, r, http.StatusUnauthorized, f)
	case err != nil:
		p.fail(w, r, server.Who{}, err)
	default:
		http.SetCookie(w, cookie(r, session, 0))
		http.Redirect(w, r, f.Next, http.StatusSeeOther)
	}
}

// logout ends the person's sessions everywhere. Who has none is sent to log in like
// everybody.
func (p *pages) logout(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(api.SessionCookie); err == nil {
		who, err := p.server.Session(r.Context(), c.Value)
		if err == nil {
			err = p.server.Logout(r.Context(), *who)
		}
		if err != nil && !errors.Is(err, server.ErrUnknown) {
			p.fail(w, r, server.Who{}, err)
			return
		}
	}
	http.SetCookie(w, cookie(r, "", -1))
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

// cookie ends with the browser, or with the session's own time, which is in it.
func cookie(r *http.Request, value string, age int) *http.Cookie {
	return &http.Cookie{Name: api.SessionCookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode}
}

// local is a path of this server; what could lead elsewhere leads to the start.
func local(next string) string {
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" || len(next) > 1000 {
		return "/"
	}
	if !strings.HasPrefix(u.Path, "/") || strings.HasPrefix(u.Path, "//") || strings.ContainsAny(next, "\\\r\n\t") || strings.HasPrefix(u.Path, "/login") || strings.HasPrefix(u.Path, "/logout") {
		return "/"
	}
	return (&url.URL{Path: u.Path, RawQuery: u.RawQuery}).String()
}
