package api

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
)

// Findings is a page of what stands, and after which key the next one begins.
type Findings struct {
	Open  []fleet.Open `json:"open"`
	After string       `json:"after,omitempty"`
}

// Checkpoint says how far the audit log has come, signed by the server's key.
type Checkpoint struct {
	Note string `json:"note"`
	Key  string `json:"key" doc:"public form of the key: keep it elsewhere"`
}

func (a *API) exports(h huma.API) {
	get := http.MethodGet
	register(h, fleet.Viewer, get, "open", "/v1/findings", "What stands in the fleet, the worst first", func(ctx context.Context, _ server.Who, in *struct {
		Code    string `query:"code" maxLength:"10"`
		AtLeast string `query:"atLeast" enum:"info,low,medium,high,critical"`
		After   string `query:"after" maxLength:"500"`
		Limit   int    `query:"limit" minimum:"0" maximum:"1000"`
	},
	) (Findings, error) {
		q := fleet.FindingQuery{Code: in.Code, AtLeast: in.AtLeast, After: in.After, Limit: orMost(in.Limit)}
		open, err := view(a, ctx, func(r fleet.Reader) ([]fleet.Open, error) { return r.OpenFindings(q) })
		f := Findings{Open: open}
		if len(open) == q.Limit {
			f.After = open[len(open)-1].Key()
		}
		return f, err
	})
	register(h, fleet.Viewer, get, "history", "/v1/results", "All results in the order in which they came, after one", func(ctx context.Context, _ server.Who, in *struct {
		After time.Time `query:"after"`
		ID    string    `query:"id" maxLength:"64"`
		Limit int       `query:"limit" minimum:"0" maximum:"1000"`
	},
	) ([]fleet.Result, error) {
		return view(a, ctx, func(r fleet.Reader) ([]fleet.Result, error) { return r.History(in.After, in.ID, orMost(in.Limit)) })
	})
	register(h, fleet.Viewer, get, "attestation", "/v1/results/{id}/attestation", "The Attestation Result of a result, whole", func(ctx context.Context, _ server.Who, in *ByID) (json.RawMessage, error) {
		return a.server.Attestation(ctx, in.ID)
	})
	register(h, fleet.Viewer, get, "exceptions", "/v1/exceptions", "Exceptions, those that expire first first", func(ctx context.Context, _ server.Who, _ *none) ([]fleet.Exception, error) {
		return view(a, ctx, func(r fleet.Reader) ([]fleet.Exception, error) { return r.Exceptions(time.Time{}) })
	})
	register(h, fleet.Viewer, get, "checkpoint", "/v1/checkpoint", "How far the audit log has come, signed", func(ctx context.Context, _ server.Who, _ *none) (Checkpoint, error) {
		note, err := a.server.Checkpoint(ctx)
		if err != nil {
			return Checkpoint{}, err
		}
		return Checkpoint{string(note), a.server.Key.Public}, nil
	})
}

func orMost(n int) int {
	if n == 0 {
		return 1000
	}
	return n
}

func (a *API) managers(h huma.API) {
	post := http.MethodPost
	register(h, fleet.Operator, post, "enlist", "/v1/hosts", "Add a machine without an agent, by its management controller", func(ctx context.Context, w server.Who, in *body[server.Controller]) (*fleet.Host, error) {
		return a.server.Enlist(ctx, w, in.Body)
	})
	register(h, fleet.Operator, post, "repin", "/v1/hosts/{id}/repin", "Accept another certificate of a management controller", func(ctx context.Context, w server.Who, in *struct {
		ByID
		Body struct {
			Pin string `json:"pin" maxLength:"64" doc:"SHA-256 of the certificate; empty learns it at the next contact"`
		}
	},
	) (none, error) {
		return none{}, a.server.Repin(ctx, w, in.ID, in.Body.Pin)
	})
	register(h, fleet.Operator, post, "offline", "/v1/hosts/{id}/challenge", "Ask for evidence that a person brings", func(ctx context.Context, w server.Who, in *struct {
		ByID
		Body struct {
			Hours int `json:"hours" minimum:"1" maximum:"336" doc:"time to answer"`
		}
	},
	) (*Audit, error) {
		c, err := a.server.Offline(ctx, w, in.ID, time.Duration(in.Body.Hours)*time.Hour)
		if err != nil {
			return nil, err
		}
		return &Audit{hex.EncodeToString(c.Nonce), c.Deadline}, nil
	})
	register(h, fleet.Operator, post, "import", "/v1/inventory", "Give machines the names, sites and lots of an inventory", func(ctx context.Context, w server.Who, in *struct {
		Body []server.Record `maxItems:"10000"`
	},
	) ([]server.Imported, error) {
		return a.server.Import(ctx, w, in.Body)
	})
	register(h, fleet.Operator, post, "retire-document", "/v1/documents/{id}/retire", "Take a document out of use", func(ctx context.Context, w server.Who, in *ByID) (none, error) {
		return none{}, a.server.RetireDocument(ctx, w, in.ID)
	})
	register(h, fleet.Approver, http.MethodGet, "accounts", "/v1/accounts", "People and tokens", func(ctx context.Context, _ server.Who, _ *none) ([]fleet.Account, error) {
		return a.server.People(ctx)
	})
	register(h, fleet.Approver, post, "person", "/v1/accounts", "Add a person, or give one another role and password", func(ctx context.Context, w server.Who, in *body[Person]) (none, error) {
		return none{}, a.server.AddPerson(ctx, w.Name, in.Body.Name, in.Body.Role, in.Body.Password)
	})
	register(h, fleet.Approver, post, "vouch", "/v1/accounts/{id}/vouch", "Say that an account is in the hands of whom it names", func(ctx context.Context, w server.Who, in *struct {
		Name string `path:"id" maxLength:"110"`
	},
	) (none, error) {
		return none{}, a.server.Vouch(ctx, w, in.Name)
	})
	register(h, fleet.Viewer, post, "logout", "/v1/logout", "End all sessions of the person who asks", func(ctx context.Context, w server.Who, _ *none) (none, error) {
		return none{}, a.server.Logout(ctx, w)
	})
	register(h, fleet.Approver, post, "disable", "/v1/accounts/{id}/disable", "End an account or a token", func(ctx context.Context, w server.Who, in *struct {
		Name string `path:"id" maxLength:"110"`
	},
	) (none, error) {
		return none{}, a.server.Disable(ctx, w.Name, in.Name)
	})
}

// Person is an account to be made.
type Person struct {
	Name     string     `json:"name" maxLength:"100"`
	Role     fleet.Role `json:"role" enum:"viewer,operator,approver"`
	Password string     `json:"password" maxLength:"72"`
}
