package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/ticket"
)

const batch = 200

// schedule has controllers asked, and notices machines that did not come in time
// (FL-005). It works in batches, each a transaction of its own.
func (s *Server) schedule(ctx context.Context, _ fleet.Job) (func(fleet.Tx) error, error) {
	for _, some := range []func(context.Context) (int, error){s.askControllers, s.findLate} {
		for {
			if n, err := some(ctx); err != nil {
				return nil, err
			} else if n == 0 {
				break
			}
		}
	}
	return nil, nil
}

func (s *Server) findLate(ctx context.Context) (int, error) {
	n := 0
	err := s.Store.Update(ctx, func(tx fleet.Tx) error {
		now := s.now()
		late, err := tx.Due(now.Add(-s.Grace), now.Add(s.Interval), fleet.ByAgent, batch)
		if err != nil {
			return err
		}
		n = len(late)
		for i := range late {
			if err := s.silent(tx, &late[i], now); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

// silent marks a machine that was expected. Each missed time is told once, and the
// finding stands until evidence comes.
func (s *Server) silent(tx fleet.Tx, h *fleet.Host, now time.Time) error {
	x := finding.New(finding.AssetSilent, "fleet:host:"+h.ID)
	x.Confidence = finding.Strong
	x.Want, x.Got = "evidence every "+h.Interval.String(), "none"
	x.Why = "The machine did not answer in time. An agent that somebody stopped looks the same as a machine that is switched off."
	x.Seal()
	return s.stand(tx, h, x, fleet.Stale, now)
}

// stand adds a finding that no evidence brought, and the state that it means.
func (s *Server) stand(tx fleet.Tx, h *fleet.Host, x finding.Finding, state fleet.State, now time.Time) error {
	open, err := tx.OpenFindings(fleet.FindingQuery{Host: h.ID})
	if err != nil {
		return err
	}
	kept := []fleet.Open{{Host: h.ID, Finding: x, FirstSeen: now, LastSeen: now}}
	for _, o := range open {
		if o.Finding.Code != x.Code || o.Finding.Subject != x.Subject {
			kept = append(kept, o)
		} else {
			kept[0].FirstSeen = o.FirstSeen
		}
	}
	was := h.State
	if h.State != state {
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: "server", Action: string(state), Subject: h.ID, Detail: string(x.Code) + ", last attested " + h.LastAttested.Format(time.RFC3339)}); err != nil {
			return err
		}
		h.State, h.Since = state, now
	}
	h.Findings, h.Worst = weigh(kept)
	return errors.Join(tx.PutOpen(h.ID, kept), tx.PutHost(h), s.tell(tx, was, h, kept, false))
}

// policyOf is what a machine is judged by: a policy that somebody with the right to
// it signed, else the server's own. A signed policy that is there and does not
// hold any more is an error, and never a weaker one.
func (s *Server) policyOf(r fleet.Reader, h *fleet.Host, now time.Time) (*assay.Policy, error) {
	p, err := s.signedPolicy(r, h, now)
	if err == nil && p == nil {
		p, err = ownPolicy(h, s.Policy)
	}
	if err != nil {
		return nil, err
	}
	exceptions, err := r.Exceptions(now)
	if err != nil {
		return nil, err
	}
	for _, x := range exceptions {
		if x.InForce(h, now) {
			p.Waivers = append(p.Waivers, assay.Waiver{Code: x.Code, Subject: x.Subject, Reason: x.ID + ": " + x.Reason, Expires: x.Expires})
		}
	}
	return p, nil
}

func ownPolicy(h *fleet.Host, id string) (*assay.Policy, error) {
	if h.Mode == fleet.ByRedfish {
		return controllerPolicy(), nil
	}
	if h.Policy != "" {
		id = h.Policy
	}
	if p, ok := assay.BuiltInPolicy(id); ok {
		return p, nil
	}
	return nil, fmt.Errorf("policy %q is not known here", id)
}

// signedPolicy is the one for this machine, else for its kind, its site or all.
func (s *Server) signedPolicy(r fleet.Reader, h *fleet.Host, now time.Time) (*assay.Policy, error) {
	targets := []string{"host:" + h.ID, "profile:" + h.Profile, "all"}
	if h.Placed != "" { // where an agent says that it is does not choose its policy
		targets = slices.Insert(targets, 2, "site:"+h.Site)
	}
	docs, err := s.library.all(r, string(ticket.Policy), targets...)
	if err != nil {
		return nil, err
	}
	for _, target := range targets {
		for _, d := range docs {
			if d.name != target {
				continue
			}
			t, _, err := ticket.Open(d.raw, s.Trust, now)
			if err != nil {
				return nil, fmt.Errorf("the policy for %s: %w", target, err)
			}
			if t.Target() != target || t.Kind != ticket.Policy {
				return nil, fmt.Errorf("the policy for %s: the signed document is about %s", target, t.Target())
			}
			return assay.ParsePolicy([]byte(t.Policy))
		}
	}
	return nil, nil
}
