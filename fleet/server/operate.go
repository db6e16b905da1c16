package server

import (
	"context"
	"errors"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
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
		now, was := s.now(), h.State
		h.State, h.Since = fleet.Retired, now
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "retire", Subject: host, Detail: reason}); err != nil {
			return err
		}
		return errors.Join(tx.PutHost(h), tx.PutOpen(host, nil), tx.PutFeatures(host, fleet.Profile{}, nil), s.tell(tx, was, h, nil, true))
	})
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
	case x.Code == finding.ExceptionAbuse:
		return nil, refuse(Forbidden, "no exception covers %s", x.Code)
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

// Approve grants what another person asked for. When one of the two may be the other,
// it is granted, and each machine that it covers is in review for it (PO-003).
func (s *Server) Approve(ctx context.Context, by Who, id string) error {
	if !by.May(fleet.Approver) {
		return refuse(Forbidden, "an approver may grant an exception")
	}
	return s.Store.Update(ctx, func(tx fleet.Tx) error {
		all, err := tx.Exceptions(time.Time{})
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
			if x.OneBehind, err = oneBehind(tx, x.Asked, by.Name); err != nil {
				return err
			}
			detail := ""
			if x.OneBehind != "" {
				detail = x.OneBehind + " gave the other account its password"
			}
			if _, err := tx.Append(auditlog.Entry{At: x.ApprovedAt, Actor: by.Name, Action: "approve exception", Subject: id, Detail: detail}); err != nil {
				return err
			}
			return tx.PutException(x)
		}
		return refuse(Unknown, "the exception is not known here")
	})
}
