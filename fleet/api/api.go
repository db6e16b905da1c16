// Package api speaks HTTP for a fleet's server: JSON, versioned by the path, with
// a description in OpenAPI 3.1 that is made from this code (/v1/openapi.json).
package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
)

// API is a fleet's server behind HTTP.
type API struct {
	server *server.Server
	limits *limits
	logins *limits
	bytes  *bytesLimits
	wake   *wake

	Ready func(ctx context.Context) error // why not; nil asks the store alone

	drained  sync.Once
	draining chan struct{}
}

// MaxEvidence bounds a bundle that is sent, in bytes.
const MaxEvidence = 256 << 20

// New registers the API on a mux.
func New(mux *http.ServeMux, s *server.Server, version string) *API {
	a := &API{
		server: s, limits: newLimits(perSecond, burst), logins: newLimits(loginsPerSecond, loginBurst), bytes: newBytesLimits(), wake: &wake{waiting: map[string][]chan struct{}{}},
		draining: make(chan struct{}),
	}
	cfg := huma.DefaultConfig("Assay fleet", version)
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "/v1/openapi", "", "/v1/schemas"
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer"}}
	h := humago.New(mux, cfg)
	h.UseMiddleware(a.authenticate(h))
	a.agents(h)
	a.readers(h)
	a.operators(h)
	a.exports(h)
	a.managers(h)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }) // the process lives; it serves when its store is open
	mux.HandleFunc("GET /readyz", a.readiness)
	return a
}

// readiness answers 200 while the server can do what it is asked.
func (a *API) readiness(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	ready := a.Ready
	if ready == nil {
		ready = a.answers
	}
	if err := ready(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// answers asks the store for something that costs nothing.
func (a *API) answers(ctx context.Context) error {
	err := a.server.Store.View(ctx, func(rd fleet.Reader) error {
		_, err := rd.Account("nobody")
		return err
	})
	if err != nil && !errors.Is(err, fleet.ErrNotFound) {
		return errors.New("the store does not answer")
	}
	return nil
}

// Drain has agents that wait for an audit go and ask again elsewhere, so that no
// request is left that takes long.
func (a *API) Drain() { a.drained.Do(func() { close(a.draining) }) }

type (
	whoKey     struct{}
	addressKey struct{}
)

// SessionCookie is the cookie of a person who logged in.
const SessionCookie = "assay_session"

// authenticate finds out who asks, and counts what each asks for.
func (a *API) authenticate(h huma.API) func(huma.Context, func(huma.Context)) {
	return func(c huma.Context, next func(huma.Context)) {
		if c.Operation().Path == "/v1/login" && !a.logins.allow("address:"+remote(c.RemoteAddr())) {
			_ = huma.WriteErr(h, c, http.StatusTooManyRequests, "too many logins from one address")
			return
		}
		if strings.HasPrefix(c.Operation().Path, "/v1/open") || strings.HasPrefix(c.Operation().Path, "/v1/login") || strings.HasPrefix(c.Operation().Path, "/v1/schemas") {
			next(c)
			return
		}
		w, err := a.who(c)
		switch {
		case errors.Is(err, server.ErrUnknown):
			if !a.limits.allow("address:" + remote(c.RemoteAddr())) {
				_ = huma.WriteErr(h, c, http.StatusTooManyRequests, "too many requests without a name")
				return
			}
			_ = huma.WriteErr(h, c, http.StatusUnauthorized, "who asks is not known here: send a token, or log in")
		case err != nil:
			_ = huma.WriteErr(h, c, http.StatusServiceUnavailable, "the store does not answer")
		case !a.limits.allow("who:" + w.Name):
			c.SetHeader("Retry-After", "1")
			_ = huma.WriteErr(h, c, http.StatusTooManyRequests, "too many requests of one name")
		case c.Operation().OperationID == sending:
			a.bytes.pass(h, c, w.Name, func() {
				next(huma.WithValue(huma.WithValue(c, addressKey{}, remote(c.RemoteAddr())), whoKey{}, *w))
			})
		default:
			next(huma.WithValue(huma.WithValue(c, addressKey{}, remote(c.RemoteAddr())), whoKey{}, *w))
		}
	}
}

func (a *API) who(c huma.Context) (*server.Who, error) {
	if token, ok := strings.CutPrefix(c.Header("Authorization"), "Bearer "); ok {
		if w, err := a.server.Token(c.Context(), token); !errors.Is(err, server.ErrUnknown) {
			return w, err
		}
		return a.server.Session(c.Context(), token)
	}
	cookie, err := huma.ReadCookie(c, SessionCookie)
	if err != nil || c.Method() != http.MethodGet {
		return nil, server.ErrUnknown // a page may read with a cookie; what changes something goes through the pages' own forms
	}
	return a.server.Session(c.Context(), cookie.Value)
}

func whoOf(ctx context.Context) server.Who {
	w, _ := ctx.Value(whoKey{}).(server.Who)
	return w
}

func addressOf(ctx context.Context) string {
	a, _ := ctx.Value(addressKey{}).(string)
	return a
}

// remote is the address of whoever asks, without the port.
func remote(addr string) string {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		return host
	}
	return addr
}

// problem turns an error of the server into an answer. What is no refusal is not
// told to whoever asks.
func problem(err error) error {
	var r *server.Refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		out := error(huma.NewError(map[server.Status]int{
			server.Invalid: http.StatusUnprocessableEntity, server.Forbidden: http.StatusForbidden, server.Unknown: http.StatusNotFound, server.Conflict: http.StatusConflict,
			server.TooMany: http.StatusTooManyRequests, server.Busy: http.StatusServiceUnavailable,
		}[r.Status], r.Reason))
		if r.Retry > 0 {
			out = huma.ErrorWithHeaders(out, http.Header{"Retry-After": {strconv.Itoa(int(math.Ceil(r.Retry.Seconds())))}})
		}
		return out
	case errors.Is(err, fleet.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return huma.Error404NotFound("not known here")
	case errors.Is(err, server.ErrUnknown):
		return huma.Error401Unauthorized("the name or the password is not known here")
	}
	return huma.Error500InternalServerError("the server could not do it; its log says why")
}

// wake tells agents that wait for an audit to come at once.
type wake struct {
	mu      sync.Mutex
	waiting map[string][]chan struct{}
}

func (w *wake) wait(host string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{})
	w.waiting[host] = append(w.waiting[host], c)
	return c
}

func (w *wake) call(host string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.waiting[host] {
		close(c)
	}
	delete(w.waiting, host)
}
