package server

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/manifest"
)

const (
	batch      = 200
	keepResult = 400 * 24 * time.Hour
)

// schedule notices machines that did not come in time (FL-005), however their
// evidence should come. It works in batches, each a transaction of its own.
func (s *Server) schedule(ctx context.Context, _ fleet.Job) (func(fleet.Tx) error, error) {
	for {
		n := 0
		err := s.Store.Update(ctx, func(tx fleet.Tx) error {
			now := s.now()
			late, err := tx.Due(now.Add(-s.Grace), now.Add(s.Interval), fleet.ByAgent, batch)
			if err != nil {
				return err
			}
			others, err := tx.Due(now.Add(-s.Grace), now.Add(s.Interval), fleet.ByRedfish, batch)
			if err != nil {
				return err
			}
			late = append(late, others...)
			n = len(late)
			for i := range late {
				if err := s.silent(tx, &late[i], now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || n == 0 {
			return nil, err
		}
	}
}

// silent marks a machine that was expected. Each missed time is told once, and the
// finding stands until evidence comes.
func (s *Server) silent(tx fleet.Tx, h *fleet.Host, now time.Time) error {
	open, err := tx.OpenFindings(fleet.FindingQuery{Host: h.ID})
	if err != nil {
		return err
	}
	x := finding.New(finding.AssetSilent, "fleet:host:"+h.ID)
	x.Confidence = finding.Strong
	x.Want, x.Got = "evidence every "+h.Interval.String(), "none"
	x.Why = "The machine did not answer in time. An agent that somebody stopped looks the same as a machine that is switched off."
	x.Seal()
	kept := []fleet.Open{{Host: h.ID, Finding: x, FirstSeen: now, LastSeen: now}}
	for _, o := range open {
		if o.Finding.Code != finding.AssetSilent {
			kept = append(kept, o)
		} else {
			kept[0].FirstSeen = o.FirstSeen
		}
	}
	if h.State != fleet.Stale {
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: "server", Action: "stale", Subject: h.ID, Detail: "last attested " + h.LastAttested.Format(time.RFC3339)}); err != nil {
			return err
		}
		h.State, h.Since = fleet.Stale, now
	}
	h.Findings, h.Worst = weigh(kept)
	return errors.Join(tx.PutOpen(h.ID, kept), tx.PutHost(h))
}

func (s *Server) prune(context.Context, fleet.Job) (func(fleet.Tx) error, error) {
	return func(tx fleet.Tx) error {
		_, err := tx.Prune(s.now().Add(-keepResult))
		return err
	}, nil
}

// policyOf is what a machine is judged by: a signed policy of the server, or a
// built-in one. A policy that is not there is an error, never a weaker one.
func policyOf(r fleet.Reader, h *fleet.Host, now time.Time) (*assay.Policy, error) {
	p, err := namedPolicy(r, h.Policy)
	if err != nil {
		return nil, err
	}
	exceptions, err := r.Exceptions()
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

func namedPolicy(r fleet.Reader, id string) (*assay.Policy, error) {
	if id == "" {
		id = "default"
	}
	if p, ok := assay.BuiltInPolicy(id); ok {
		return p, nil
	}
	docs, err := r.Documents("policy")
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		if d.Name == id {
			return assay.ParsePolicy(d.Raw)
		}
	}
	return nil, fmt.Errorf("policy %q is not known here", id)
}

// about reports whether a manifest could be about a machine: by what the machine
// says it is. One that is about another platform would only be refused by the
// appraisal.
func about(d fleet.Document, inv *bom.Inventory) bool {
	m, err := manifest.ReadUntrusted(d.Raw)
	if err != nil {
		return true // the appraisal says what is wrong with it
	}
	if m.Environment.Manufacturer == manifest.AnyPlatform {
		return true
	}
	for i := range inv.Parts {
		if p := &inv.Parts[i]; p.Class == bom.System {
			serial := m.Environment.Serial
			return (serial == "" || serial == p.Identity.Serial) && m.Environment.Model == p.Identity.Model
		}
	}
	return true
}
