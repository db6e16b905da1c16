package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"riverqueue.com/riverui"
)

// Pages shows the jobs under a prefix, with River's own pages, to whomever the
// caller lets in. They only show: a job that is deleted would be evidence that
// nobody judges, and no log would tell. Of what a job works on only its key is
// shown, and of errors no address, which may have a secret in it.
//
// What counts the jobs begins with the first who looks, and ends with the context.
func (q *Queue[T]) Pages(ctx context.Context, prefix string) (http.Handler, error) {
	h, err := riverui.NewHandler(&riverui.HandlerOpts{Endpoints: riverui.NewEndpoints(q.inserter, nil), JobListHideArgsByDefault: true, Logger: silent, Prefix: prefix})
	if err != nil {
		return nil, fmt.Errorf("queue: pages: %w", err)
	}
	start := sync.OnceValue(func() error { return h.Start(ctx) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "jobs are shown here and not changed", http.StatusMethodNotAllowed)
			return
		}
		if err := start(); err != nil {
			http.Error(w, "the jobs cannot be counted", http.StatusInternalServerError)
			return
		}
		if !strings.HasPrefix(r.URL.Path, prefix+"/api/") {
			h.ServeHTTP(w, r)
			return
		}
		a := &answer{head: http.Header{}, status: http.StatusOK}
		h.ServeHTTP(a, r)
		a.send(w)
	}), nil
}

// maxAnswer bounds what is kept of an answer of River's.
const maxAnswer = 16 << 20

// answer keeps one to look at it before it is sent.
type answer struct {
	head   http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) Header() http.Header    { return a.head }
func (a *answer) WriteHeader(status int) { a.status = status }
func (a *answer) Write(b []byte) (int, error) {
	if a.body.Len()+len(b) > maxAnswer {
		return 0, errors.New("the answer is too large")
	}
	return a.body.Write(b)
}

func (a *answer) send(w http.ResponseWriter) {
	d := json.NewDecoder(&a.body)
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil { // what is no JSON is not known to be safe
		http.Error(w, http.StatusText(a.status), a.status)
		return
	}
	raw, err := json.Marshal(discreet(v))
	if err != nil {
		http.Error(w, "the answer cannot be shown", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(a.status)
	_, _ = w.Write(raw) // who asked may be gone
}

// address is where something was sent to. Tokens are in addresses of webhooks, and
// passwords in those of controllers.
var address = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s"']+`)

// discreet leaves out what a reader of jobs does not need.
func discreet(v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = discreet(v[i])
		}
	case map[string]any:
		for k, x := range v {
			switch k {
			case "args":
				v[k] = onlyKey(x)
			case "trace":
				v[k] = ""
			case "metadata":
				v[k] = map[string]any{}
			default:
				v[k] = discreet(x)
			}
		}
	case string:
		return address.ReplaceAllString(v, "$1...")
	}
	return v
}

func onlyKey(args any) string {
	text, _ := args.(string)
	var p struct {
		Key string `json:"key"`
	}
	if json.Unmarshal([]byte(text), &p) != nil {
		return "{}"
	}
	p.Key = address.ReplaceAllString(p.Key, "$1...")
	raw, err := json.Marshal(p)
	if err != nil {
		return "{}"
	}
	return string(raw)
}
