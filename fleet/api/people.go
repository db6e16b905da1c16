package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/server"
)

// register adds an operation of people with a role.
func register[I, O any](h huma.API, least fleet.Role, method, id, path, summary string, f func(context.Context, server.Who, *I) (O, error)) {
	_, raw := reflect.TypeFor[I]().FieldByName("RawBody") // bytes as they were signed, which f reads
	huma.Register(h, huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Security: bearer, MaxBodyBytes: 32 << 20, SkipValidateBody: raw, Tags: []string{string(least)}},
		func(ctx context.Context, in *I) (*body[O], error) {
			w := whoOf(ctx)
			if !w.May(least) {
				return nil, huma.Error403Forbidden("needs the role " + string(least))
			}
			out, err := f(ctx, w, in)
			if err != nil {
				return nil, problem(err)
			}
			return &body[O]{out}, nil
		})
}

// view answers from the store.
func view[O any](a *API, ctx context.Context, f func(fleet.Reader) (O, error)) (out O, err error) {
	err = a.server.Store.View(ctx, func(r fleet.Reader) (err error) {
		out, err = f(r)
		return err
	})
	return out, err
}

type none struct{}

// ByID names what is asked about. It is exported since huma fills in embedded
// structs only then.
type ByID struct {
	ID string `path:"id" maxLength:"64"`
}

// Page is a page of machines, and after which key the next one begins.
type Page struct {
	Hosts []fleet.Host `json:"hosts"`
	After string       `json:"after,omitempty"`
}

type hostsQuery struct {
	State   string `query:"state" maxLength:"20"`
	Site    string `query:"site" maxLength:"200"`
	Profile string `query:"profile" maxLength:"64"`
	Text    string `query:"text" maxLength:"200"`
	Sort    string `query:"sort" enum:"name,state,lastAttested,since"`
	After   string `query:"after" maxLength:"500"`
	Limit   int    `query:"limit" minimum:"0" maximum:"1000"`
}

func (a *API) readers(h huma.API) {
	get := http.MethodGet
	register(h, fleet.Viewer, get, "counts", "/v1/counts", "The fleet in figures", func(ctx context.Context, _ server.Who, _ *none) (fleet.Counts, error) {
		return view(a, ctx, fleet.Reader.Count)
	})
	register(h, fleet.Viewer, get, "hosts", "/v1/hosts", "List machines", func(ctx context.Context, _ server.Who, in *hostsQuery) (Page, error) {
		q := fleet.HostQuery{State: fleet.State(in.State), Site: in.Site, Profile: in.Profile, Text: in.Text, Sort: in.Sort, After: in.After, Limit: in.Limit}
		if q.Limit == 0 {
			q.Limit = 100
		}
		hs, err := view(a, ctx, func(r fleet.Reader) ([]fleet.Host, error) { return r.Hosts(q) })
		p := Page{Hosts: hs}
		if len(hs) == q.Limit {
			p.After = hs[len(hs)-1].Key(q.Sort)
		}
		return p, err
	})
	register(h, fleet.Viewer, get, "host", "/v1/hosts/{id}", "One machine", func(ctx context.Context, _ server.Who, in *ByID) (*fleet.Host, error) {
		return view(a, ctx, func(r fleet.Reader) (*fleet.Host, error) { return r.Host(in.ID) })
	})
	register(h, fleet.Viewer, get, "findings", "/v1/hosts/{id}/findings", "What stands against a machine", func(ctx context.Context, _ server.Who, in *ByID) ([]fleet.Open, error) {
		return view(a, ctx, func(r fleet.Reader) ([]fleet.Open, error) { return r.OpenFindings(fleet.FindingQuery{Host: in.ID}) })
	})
	register(h, fleet.Viewer, get, "results", "/v1/hosts/{id}/results", "The results of a machine, the newest first", func(ctx context.Context, _ server.Who, in *struct {
		ByID
		Before time.Time `query:"before"`
		Limit  int       `query:"limit" minimum:"0" maximum:"1000"`
	},
	) ([]fleet.Result, error) {
		return view(a, ctx, func(r fleet.Reader) ([]fleet.Result, error) { return r.Results(in.ID, in.Before, in.Limit) })
	})
	register(h, fleet.Viewer, get, "moved", "/v1/moved", "Results that changed something", func(ctx context.Context, _ server.Who, in *struct {
		Since time.Time `query:"since"`
	},
	) ([]fleet.Result, error) {
		return view(a, ctx, func(r fleet.Reader) ([]fleet.Result, error) { return r.Moved(in.Since, 1000) })
	})
	register(h, fleet.Viewer, get, "profiles", "/v1/profiles", "Kinds of machines", func(ctx context.Context, _ server.Who, _ *none) ([]fleet.Profile, error) {
		return view(a, ctx, func(r fleet.Reader) ([]fleet.Profile, error) { return r.Profiles("", 0) })
	})
	register(h, fleet.Viewer, get, "outliers", "/v1/outliers", "Machines that are unlike others of their board", func(ctx context.Context, _ server.Who, in *struct {
		Limit int `query:"limit" minimum:"0" maximum:"1000"`
	},
	) ([]server.Outlier, error) {
		return a.server.Outliers(ctx, in.Limit)
	})
	register(h, fleet.Viewer, get, "documents", "/v1/documents/{id}", "Documents in use: golden, known-bad, policy", func(ctx context.Context, _ server.Who, in *ByID) ([]fleet.Document, error) {
		return view(a, ctx, func(r fleet.Reader) ([]fleet.Document, error) { return r.Documents(in.ID) })
	})
	register(h, fleet.Viewer, get, "log", "/v1/log", "The audit log", func(ctx context.Context, _ server.Who, in *struct {
		After int64 `query:"after" minimum:"0"`
	},
	) ([]auditlog.Entry, error) {
		return view(a, ctx, func(r fleet.Reader) ([]auditlog.Entry, error) { return r.AuditLog(in.After, 1000) })
	})
}

// Login is a name and its password.
type Login struct {
	Name     string `json:"name" maxLength:"100"`
	Password string `json:"password" maxLength:"72"`
}

// Session is what a person sends as bearer from then on.
type Session struct {
	Session string     `json:"session"`
	Role    fleet.Role `json:"role"`
}

func (a *API) operators(h huma.API) {
	huma.Register(h, huma.Operation{OperationID: "login", Method: http.MethodPost, Path: "/v1/login", Summary: "Log in", MaxBodyBytes: 4096, Tags: []string{"people"}}, func(ctx context.Context, in *body[Login]) (*body[Session], error) {
		if !a.logins.allow("login:" + in.Body.Name) {
			return nil, huma.Error429TooManyRequests("too many logins of one name")
		}
		session, w, err := a.server.Login(ctx, in.Body.Name, in.Body.Password)
		if err != nil {
			return nil, problem(err)
		}
		return &body[Session]{Session{session, w.Role}}, nil
	})
	post := http.MethodPost
	register(h, fleet.Operator, post, "audit-now", "/v1/hosts/{id}/audit", "Ask a machine for evidence at once", func(ctx context.Context, w server.Who, in *ByID) (none, error) {
		return none{}, a.AuditNow(ctx, w, in.ID)
	})
	register(h, fleet.Operator, post, "retire", "/v1/hosts/{id}/retire", "Take a machine out of the fleet", func(ctx context.Context, w server.Who, in *struct {
		ByID
		Body struct {
			Reason string `json:"reason" maxLength:"1000"`
		}
	},
	) (none, error) {
		return none{}, a.server.Retire(ctx, w, in.ID, in.Body.Reason)
	})
	register(h, fleet.Operator, post, "add-document", "/v1/documents", "Add a signed manifest or list", func(ctx context.Context, w server.Who, in *struct {
		RawBody []byte `contentType:"application/json"`
	},
	) (*fleet.Document, error) {
		return a.server.AddDocument(ctx, w, in.RawBody)
	})
	register(h, fleet.Operator, post, "ask-exception", "/v1/exceptions", "Ask for an exception", func(ctx context.Context, w server.Who, in *body[fleet.Exception]) (*fleet.Exception, error) {
		return a.server.AskException(ctx, w, in.Body)
	})
	register(h, fleet.Approver, post, "approve", "/v1/exceptions/{id}/approve", "Grant what another person asked for", func(ctx context.Context, w server.Who, in *ByID) (none, error) {
		return none{}, a.server.Approve(ctx, w, in.ID)
	})
	register(h, fleet.Operator, post, "token", "/v1/tokens", "Make a token for agents", func(ctx context.Context, w server.Who, in *body[struct {
		Name    string    `json:"name" maxLength:"100"`
		Expires time.Time `json:"expires"`
	}]) (struct {
		Token string `json:"token"`
	}, error,
	) {
		token, err := a.server.AddToken(ctx, w.Name, in.Body.Name, in.Body.Expires)
		return struct {
			Token string `json:"token"`
		}{token}, err
	})
}
