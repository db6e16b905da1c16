package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/knownbad"
	"github.com/assay-hw/assay/manifest"
)

// AuditNow asks a machine for evidence at once: its agent hears of it when it next
// asks, or at once when it waits.
func (s *Server) AuditNow(ctx context.Context, by Who, host string) error {
	if !by.May(fleet.Operator) {
		return refuse(Forbidden, "an operator may ask for an audit")
	}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		h, err := tx.Host(host)
		if err != nil {
			return found("the machine", err)
		}
		if h.State == fleet.Retired {
			return refuse(Conflict, "the machine was retired")
		}
		now := s.now()
		h.AuditNow = now
		if h.NextDue.After(now) {
			h.NextDue = now
		}
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "audit now", Subject: host}); err != nil {
			return err
		}
		return tx.PutHost(h)
	})
}

// Retire takes a machine out of the fleet. What it was stays, and its keys are
// never another machine's.
func (s *Server) Retire(ctx context.Context, by Who, host, reason string) error {
	if !by.May(fleet.Operator) {
		return refuse(Forbidden, "an operator may retire a machine")
	}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		h, err := tx.Host(host)
		if err != nil {
			return found("the machine", err)
		}
		now := s.now()
		h.State, h.Since = fleet.Retired, now
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "retire", Subject: host, Detail: reason}); err != nil {
			return err
		}
		return errors.Join(tx.PutHost(h), tx.PutOpen(host, nil), tx.PutFeatures(host, fleet.Profile{}, nil))
	})
}

// AddDocument takes a golden manifest or a list of known-bad firmware in. It has
// to be signed by somebody whom the server's trust lets speak: what is not is
// refused here already, and not only when machines are judged (G20).
func (s *Server) AddDocument(ctx context.Context, by Who, raw []byte) (*fleet.Document, error) {
	if !by.May(fleet.Operator) {
		return nil, refuse(Forbidden, "an operator may add a document")
	}
	now := s.now()
	sum := sha256.Sum256(raw)
	d := &fleet.Document{Digest: hex.EncodeToString(sum[:]), Added: now, By: by.Name, Raw: raw}
	if l, rep, err := knownbad.Open(raw, s.Trust, now); err == nil && l != nil {
		d.Kind, d.Name, d.Version, d.Signers = "known-bad", rep.ID, rep.Version, rep.Signers
	} else {
		m, rep := manifest.Open(raw, s.Trust, now)
		if m == nil {
			return nil, refuse(Forbidden, "not a manifest that somebody trusted signed: %s", reasons(rep.Findings))
		}
		d.Kind, d.Name, d.Version, d.Signers = "golden", rep.ID, rep.Version, rep.Signers
	}
	return d, s.Store.Update(ctx, func(tx fleet.Tx) error {
		all, err := tx.Documents(d.Kind)
		if err != nil {
			return err
		}
		for i := range all {
			if o := &all[i]; o.Name == d.Name && o.Version > d.Version {
				return refuse(Conflict, "%s: version %d of %s is here, and this is version %d", finding.ManifestRollback, o.Version, o.Name, d.Version)
			}
		}
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "add " + d.Kind, Subject: d.Digest, Detail: fmt.Sprintf("%s version %d", d.Name, d.Version)}); err != nil {
			return err
		}
		return tx.PutDocument(d)
	})
}

func reasons(fs []finding.Finding) string {
	out := "no reason given"
	for i, f := range fs {
		if i == 0 {
			out = ""
		}
		if i < 3 {
			out += fmt.Sprintf("%s %s; ", f.Code, f.Why)
		}
	}
	return out
}

// longest is how long an exception may be in force.
const longest = 180 * 24 * time.Hour

// AskException asks for a finding to be accepted for a while.
func (s *Server) AskException(ctx context.Context, by Who, x fleet.Exception) (*fleet.Exception, error) {
	now := s.now()
	_, known := finding.Lookup(x.Code)
	switch {
	case !by.May(fleet.Operator):
		return nil, refuse(Forbidden, "an operator may ask for an exception")
	case !known:
		return nil, refuse(Invalid, "unknown code %.20q", x.Code)
	case x.Subject == "" || x.Reason == "" || x.Host == "" && x.Profile == "":
		return nil, refuse(Invalid, "an exception names a subject, a reason, and a machine or a profile")
	case !x.Expires.After(now) || x.Expires.After(now.Add(longest)):
		return nil, refuse(Invalid, "an exception expires, in %d days at the latest", int(longest.Hours()/24))
	}
	id, err := s.id("x-")
	if err != nil {
		return nil, err
	}
	x.ID, x.Asked, x.AskedAt, x.Approved, x.ApprovedAt = id, by.Name, now, "", time.Time{}
	return &x, s.Store.Update(ctx, func(tx fleet.Tx) error {
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "ask exception", Subject: id, Detail: string(x.Code) + " " + x.Subject + ": " + x.Reason}); err != nil {
			return err
		}
		return tx.PutException(&x)
	})
}

// Approve grants what another person asked for.
func (s *Server) Approve(ctx context.Context, by Who, id string) error {
	if !by.May(fleet.Approver) {
		return refuse(Forbidden, "an approver may grant an exception")
	}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		all, err := tx.Exceptions()
		if err != nil {
			return err
		}
		for i := range all {
			x := &all[i]
			if x.ID != id {
				continue
			}
			switch {
			case x.Asked == by.Name:
				return refuse(Forbidden, "two people make an exception: who asked may not grant it")
			case x.Approved != "":
				return refuse(Conflict, "it was granted by %s", x.Approved)
			}
			x.Approved, x.ApprovedAt = by.Name, s.now()
			if _, err := tx.Append(auditlog.Entry{At: x.ApprovedAt, Actor: by.Name, Action: "approve exception", Subject: id}); err != nil {
				return err
			}
			return tx.PutException(x)
		}
		return refuse(Unknown, "the exception is not known here")
	})
}
