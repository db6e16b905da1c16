package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
)

var bearer = []map[string][]string{{"bearer": {}}}

// Enrolling is a challenge for the TPM of a machine that wants to be known.
type Enrolling struct {
	ID        string        `json:"id" doc:"where the answer goes"`
	Challenge tpm.Challenge `json:"challenge"`
}

// Enrolled says under which id a machine is known.
type Enrolled struct {
	Host     string `json:"host"`
	Name     string `json:"name"`
	Interval string `json:"interval" doc:"time between two audits, as 24h0m0s"`
}

// Audit asks a machine for evidence.
type Audit struct {
	Nonce    string    `json:"nonce" doc:"in hexadecimal: what the TPM has to sign"`
	Deadline time.Time `json:"deadline"`
}

// Received says that evidence is safe.
type Received struct {
	Evidence string `json:"evidence" doc:"digest under which it will be judged"`
}

type body[T any] struct{ Body T }

func (a *API) agents(h huma.API) {
	huma.Register(h, huma.Operation{OperationID: "enrol", Method: http.MethodPost, Path: "/v1/enrolments", Summary: "Ask to be enrolled", Security: bearer, MaxBodyBytes: 1 << 20, Tags: []string{"agents"}},
		func(ctx context.Context, in *body[server.Enrolment]) (*body[Enrolling], error) {
			id, c, err := a.server.Begin(ctx, in.Body, whoOf(ctx).Name)
			if err != nil {
				return nil, problem(err)
			}
			return &body[Enrolling]{Enrolling{hex.EncodeToString(id), *c}}, nil
		})
	huma.Register(h, huma.Operation{OperationID: "answer", Method: http.MethodPost, Path: "/v1/enrolments/{id}", Summary: "Answer the TPM's challenge", Security: bearer, MaxBodyBytes: 64 << 10, Tags: []string{"agents"}},
		func(ctx context.Context, in *struct {
			ID   string `path:"id" maxLength:"64"`
			Body tpm.Answer
		},
		) (*body[Enrolled], error) {
			id, err := hex.DecodeString(in.ID)
			if err != nil {
				return nil, huma.Error404NotFound("the enrolment is not known here")
			}
			host, err := a.server.Finish(ctx, id, in.Body)
			if err != nil {
				return nil, problem(err)
			}
			return &body[Enrolled]{Enrolled{host.ID, host.Name, host.Interval.String()}}, nil
		})
	huma.Register(h, huma.Operation{OperationID: "next", Method: http.MethodGet, Path: "/v1/hosts/{id}/audit", Summary: "Ask whether evidence is due, and wait for it", Security: bearer, Tags: []string{"agents"}}, a.next)
	huma.Register(h, huma.Operation{OperationID: sending, Method: http.MethodPost, Path: "/v1/hosts/{id}/evidence", Summary: "Send a bundle", Security: bearer, MaxBodyBytes: MaxEvidence, SkipValidateBody: true, BodyReadTimeout: 10 * time.Minute, DefaultStatus: http.StatusAccepted, Tags: []string{"agents"}},
		func(ctx context.Context, in *struct {
			ID      string `path:"id" maxLength:"64"`
			Nonce   string `query:"nonce" required:"true" maxLength:"128"`
			RawBody []byte `contentType:"application/zip"`
		},
		) (*body[Received], error) {
			nonce, err := hex.DecodeString(in.Nonce)
			if err != nil {
				return nil, huma.Error422UnprocessableEntity("nonce: not hexadecimal")
			}
			e, err := a.server.Intake(ctx, in.ID, nonce, in.RawBody, addressOf(ctx))
			if err != nil {
				return nil, problem(err)
			}
			return &body[Received]{Received{e.Digest}}, nil
		})
}

// Next is the answer to an agent: an audit, or when to ask again.
type Next struct {
	Audit *Audit    `json:"audit,omitempty"`
	Due   time.Time `json:"due" doc:"when evidence is expected"`
}

// look is how often another process is noticed to have asked for an audit.
const look = 15 * time.Second

// next waits until evidence is due, as long as the agent wants to.
func (a *API) next(ctx context.Context, in *struct {
	ID   string `path:"id" maxLength:"64"`
	Wait int    `query:"wait" minimum:"0" maximum:"300" doc:"seconds to wait for an audit"`
},
) (*body[Next], error) {
	until := time.Now().Add(time.Duration(in.Wait) * time.Second)
	for {
		called := a.wake.wait(in.ID)
		var h *fleet.Host
		err := a.server.Store.View(ctx, func(r fleet.Reader) (err error) {
			h, err = r.Host(in.ID)
			return err
		})
		if err != nil {
			return nil, problem(err)
		}
		if !h.NextDue.After(a.server.Now()) {
			if err := a.server.Room(ctx); err != nil {
				return nil, problem(err)
			}
			c, err := a.server.Nonce(ctx, in.ID)
			if err != nil {
				return nil, problem(err)
			}
			return &body[Next]{Next{&Audit{hex.EncodeToString(c.Nonce), c.Deadline}, h.NextDue}}, nil
		}
		left := min(time.Until(until), look, h.NextDue.Sub(a.server.Now()))
		if time.Now().After(until) {
			return &body[Next]{Next{Due: h.NextDue}}, nil
		}
		select {
		case <-called:
		case <-a.draining:
			return &body[Next]{Next{Due: h.NextDue}}, nil
		case <-time.After(max(left, 10*time.Millisecond)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
