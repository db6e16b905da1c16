package server

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/ticket"
	"github.com/assay-hw/assay/knownbad"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/quirk"
)

// AddDocument takes a golden manifest, a list of known-bad firmware or quirks, or a
// ticket in. It has to be signed by somebody whom the server's trust lets speak: what is
// not is refused here already, and not only when machines are judged (G20).
func (s *Server) AddDocument(ctx context.Context, by Who, raw []byte) (*fleet.Document, error) {
	if !by.May(fleet.Operator) {
		return nil, refuse(Forbidden, "an operator may add a document")
	}
	now := s.now()
	sum := sha256.Sum256(raw)
	d := &fleet.Document{Digest: hex.EncodeToString(sum[:]), Added: now, By: by.Name, Raw: raw}
	t, err := s.read(d, now)
	if err != nil {
		return nil, err
	}
	return d, s.Store.Update(ctx, func(tx fleet.Tx) error {
		if err := supersede(tx, d, now); err != nil {
			return err
		}
		if _, err := tx.Append(auditlog.Entry{At: now, Actor: by.Name, Action: "add " + d.Kind, Subject: d.Digest, Detail: fmt.Sprintf("%s version %d", d.Name, d.Version)}); err != nil {
			return err
		}
		if t != nil && t.Kind == ticket.Place {
			if err := s.place(tx, t, d); err != nil {
				return err
			}
		}
		return tx.PutDocument(d)
	})
}

// read checks who signed a document and says what it is.
func (s *Server) read(d *fleet.Document, now time.Time) (*ticket.Ticket, error) {
	if ticket.IsTicket(d.Raw) {
		t, signers, err := ticket.Open(d.Raw, s.Trust, now)
		if err == nil {
			err = t.Usable(now)
		}
		if err != nil {
			return nil, refuse(Forbidden, "%v", err)
		}
		d.Kind, d.Name, d.Version, d.Signers, d.About = string(t.Kind), t.Target(), t.IssuedAt.Unix(), signers, t.Target()
		return t, nil
	}
	if l, rep, err := knownbad.Open(d.Raw, s.Trust, now); err == nil && l != nil {
		d.Kind, d.Name, d.Version, d.Signers = "known-bad", rep.ID, rep.Version, rep.Signers
		return nil, nil
	}
	if l, rep, err := quirk.Open(d.Raw, s.Trust, now); err == nil && l != nil {
		d.Kind, d.Name, d.Version, d.Signers = "quirks", rep.ID, rep.Version, rep.Signers
		return nil, nil
	} else if quirk.IsList(d.Raw) {
		return nil, refuse(Forbidden, "not a list of quirks that somebody trusted signed: %s", cmp.Or(reasons(rep.Findings), fmt.Sprint(err)))
	}
	m, rep := manifest.Open(d.Raw, s.Trust, now)
	if m == nil {
		return nil, refuse(Forbidden, "not a document that somebody trusted signed: %s", reasons(rep.Findings))
	}
	d.Kind, d.Name, d.Version, d.Signers, d.About = "golden", rep.ID, rep.Version, rep.Signers, about(m.Manifest().Environment)
	return nil, nil
}

// supersede refuses what is older than what is known, and takes out of use what a
// document replaces: an older one beside it would be a finding on each machine
// (MF-006). What a delta changes stays, since the delta needs it.
func supersede(tx fleet.Tx, d *fleet.Document, now time.Time) error {
	all, err := tx.Documents(d.Kind)
	if err != nil {
		return err
	}
	replaces, err := replaced(d)
	if err != nil {
		return err
	}
	for i := range all {
		o := &all[i]
		same := o.Name == d.Name
		switch {
		case o.Digest == d.Digest:
			continue
		case same && o.Version > d.Version:
			return refuse(Conflict, "%s: version %d of %s is here, and this is version %d", finding.ManifestRollback, o.Version, o.Name, d.Version)
		case same && o.Version == d.Version:
			return refuse(Conflict, "%s: another document for %s is here, of the same version %d", finding.ManifestContradiction, o.Name, o.Version)
		case replaces(o):
			o.Retired = now
			if err := tx.PutDocument(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// replaced says which documents of its kind one replaces: older versions of itself,
// and manifests of its own signer that it names.
func replaced(d *fleet.Document) (func(o *fleet.Document) bool, error) {
	older := func(o *fleet.Document) bool { return o.Name == d.Name }
	if d.Kind != "golden" {
		return older, nil
	}
	m, err := manifest.ReadUntrusted(d.Raw) // it was opened before
	if err != nil {
		return nil, refuse(Invalid, "%v", err)
	}
	if m.Delta != nil {
		return func(*fleet.Document) bool { return false }, nil
	}
	return func(o *fleet.Document) bool {
		mine := slices.ContainsFunc(o.Signers, func(s string) bool { return slices.Contains(d.Signers, s) })
		return older(o) || mine && slices.Contains(m.Supersedes, o.Name)
	}, nil
}

// place notes where a machine stands.
func (s *Server) place(tx fleet.Tx, t *ticket.Ticket, d *fleet.Document) error {
	h, err := tx.Host(t.Host)
	if err != nil {
		return found("the machine", err)
	}
	h.Site, h.Networks, h.Placed = t.Site, t.Networks, d.Digest
	return tx.PutHost(h)
}

// rebound gives the machine that a ticket binds to an identity which claims it,
// or nil: then the identity is an attempt (FL-004).
func (s *Server) rebound(tx fleet.Tx, i fleet.Identity, now time.Time) (*fleet.Host, error) {
	docs, err := tx.Documents(string(ticket.Rebind))
	if err != nil {
		return nil, err
	}
	for _, d := range docs {
		t, _, err := ticket.Open(d.Raw, s.Trust, now)
		if err != nil || t.Usable(now) != nil || t.Kind != ticket.Rebind || t.Identity.EKSHA256 != i.EKSHA256 || t.Identity.Chassis != i.Chassis {
			continue // it has ended, its signer was revoked, or it is about another one
		}
		h, err := tx.Host(t.Host)
		if errors.Is(err, fleet.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		free, err := unclaimed(tx, h, i)
		if err != nil {
			return nil, err
		}
		if free && h.State != fleet.Retired {
			return h, s.rebind(tx, h, i, d, now)
		}
	}
	return nil, nil
}

// unclaimed reports whether no other machine has what an identity consists of: a
// ticket changes one machine and takes nothing from another.
func unclaimed(tx fleet.Tx, h *fleet.Host, i fleet.Identity) (bool, error) {
	for _, f := range identityFacts(i) {
		all, err := tx.Sharing(f.Kind, f.Value, 20)
		if err != nil {
			return false, err
		}
		for _, o := range all {
			if o.Host != h.ID {
				return false, nil
			}
		}
	}
	return true, nil
}

// rebind makes a machine what a ticket says it is, once. It was attested as
// another one, so that it has to be judged anew.
func (s *Server) rebind(tx fleet.Tx, h *fleet.Host, i fleet.Identity, d fleet.Document, now time.Time) error {
	detail := fmt.Sprintf("ek %s to %s, %s %s to %s %s, by ticket %s", h.Identity.EKSHA256, i.EKSHA256, h.Identity.Product, h.Identity.Serial, i.Product, i.Serial, d.Digest)
	if _, err := tx.Append(auditlog.Entry{At: now, Actor: d.By, Action: "rebind", Subject: h.ID, Detail: detail}); err != nil {
		return err
	}
	h.Identity, h.State, h.Since, h.NextDue, h.LastAttested = i, fleet.Enrolled, now, now, time.Time{}
	h.Clock = nil
	d.Retired = now
	return errors.Join(tx.PutHost(h), tx.PutFacts(h.ID, identityFacts(i)), tx.PutDocument(&d))
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
