package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// Enrolment is what a machine says of itself when it wants to be known. Only the
// keys prove anything, and only when the TPM has opened the challenge.
type Enrolment struct {
	Name         string        `json:"name"`
	Site         string        `json:"site"`
	Lot          string        `json:"lot"`
	Chassis      fleet.Chassis `json:"chassis"`
	EK           []byte        `json:"ek"`           // TPM2B_PUBLIC
	AK           []byte        `json:"ak"`           // TPM2B_PUBLIC
	Certificates [][]byte      `json:"certificates"` // of the endorsement key, and of issuers, DER
}

// pending is an enrolment while the TPM works on the challenge. What was checked
// is what is stored: the answer brings nothing but the secret.
type pending struct {
	Enrolment Enrolment     `json:"enrolment"`
	Challenge tpm.Challenge `json:"challenge"`
	By        string        `json:"by"`
}

// Begin checks an endorsement key's certificates and asks its TPM to prove that
// the attestation key is beside it. by is who allowed it: an operator, or the
// name of a token.
func (s *Server) Begin(ctx context.Context, e Enrolment, by string) (id []byte, c *tpm.Challenge, err error) {
	now := s.now()
	if err := s.mayEnrol(ctx, by, now); err != nil {
		return nil, nil, err
	}
	if err := tpm.Certified(e.EK, e.Certificates, s.EKRoots, s.EKBelow, now); err != nil {
		return nil, nil, refuse(Forbidden, "%v; give the maker's certificates with --ek-roots when they are known to be good", err)
	}
	full, err := tpm.NewChallenge(e.EK, e.AK, s.Random)
	if err != nil {
		return nil, nil, refuse(Invalid, "%v", err)
	}
	e.Certificates = nil // they were checked
	data, err := json.Marshal(pending{e, *full, by})
	if err != nil {
		return nil, nil, fmt.Errorf("enrolment: %w", err)
	}
	id = make([]byte, 32)
	if _, err := io.ReadFull(s.Random, id); err != nil {
		return nil, nil, fmt.Errorf("enrolment: %w", err)
	}
	err = s.Store.Update(ctx, func(tx fleet.Tx) error {
		if err := s.spendEnrolment(tx, by, now); err != nil {
			return err
		}
		return tx.PutChallenge(fleet.Challenge{Nonce: id, Issued: now, Deadline: now.Add(s.Answer), Data: data})
	})
	if err != nil {
		return nil, nil, err
	}
	out := *full
	out.SHA256 = "" // nothing that helps without the TPM
	return id, &out, nil
}

// Finish enrols the machine whose TPM opened the challenge. A machine that is
// known already, with the same keys, is what it was.
func (s *Server) Finish(ctx context.Context, id []byte, a tpm.Answer) (*fleet.Host, error) {
	var h *fleet.Host
	var refused error
	err := s.Store.Update(ctx, func(tx fleet.Tx) error {
		refused = nil
		c, err := tx.TakeChallenge(id)
		if err != nil {
			return found("the enrolment", err)
		}
		h, refused, err = s.finish(tx, c, &a)
		return err // a refusal is kept in the log, so it is no error of the transaction
	})
	if err != nil {
		return nil, err
	}
	return h, refused
}

func (s *Server) finish(tx fleet.Tx, c *fleet.Challenge, a *tpm.Answer) (h *fleet.Host, refused, err error) {
	now := s.now()
	var p pending
	if c.Host != "" || json.Unmarshal(c.Data, &p) != nil {
		return nil, refuse(Unknown, "the enrolment is not known here"), nil
	}
	if now.After(c.Deadline) {
		return nil, refuse(Conflict, "the answer came after %s; begin again", c.Deadline.Format(time.RFC3339)), nil
	}
	e, err := p.Challenge.Check(a, now)
	if errors.Is(err, tpm.ErrNotActivated) {
		_, err = tx.Append(auditlog.Entry{At: now, Actor: p.By, Action: "enrolment refused", Subject: p.Enrolment.Name, Detail: "the TPM did not open the challenge"})
		return nil, refuse(Forbidden, "the TPM did not open the challenge (%s)", finding.KeyNotResident), err
	}
	if err != nil {
		return nil, refuse(Invalid, "%v", err), nil
	}
	identity := fleet.Identity{EKSHA256: e.EKSHA256, EKKind: e.EKKind, AKName: e.AKName, AK: e.AK, Chassis: p.Enrolment.Chassis}
	h, conflict, err := s.bind(tx, identity)
	if err != nil || h != nil {
		return h, nil, err
	}
	if conflict != "" {
		if h, err = s.rebound(tx, identity, now); err != nil || h != nil {
			return h, nil, err
		}
		_, err = tx.Append(auditlog.Entry{At: now, Actor: p.By, Action: "enrolment refused", Subject: p.Enrolment.Name, Detail: string(finding.RebindAttempt) + ": " + conflict})
		err = errors.Join(err, s.refusedIdentity(tx, p, identity, conflict))
		return nil, refuse(Conflict, "%s: %s. A machine is bound anew by a signed ticket (assay fleet ticket rebind); if nobody changed it, look at who asks. The TPM that asks has the endorsement key %s.", finding.RebindAttempt, conflict, identity.EKSHA256), err
	}
	return s.create(tx, identity, p, now)
}

func (s *Server) create(tx fleet.Tx, identity fleet.Identity, p pending, now time.Time) (*fleet.Host, error, error) {
	id, err := s.id("h-")
	if err != nil {
		return nil, nil, err
	}
	h := &fleet.Host{
		ID: id, Name: p.Enrolment.Name, Site: p.Enrolment.Site, Lot: p.Enrolment.Lot, Mode: fleet.ByAgent, Identity: identity,
		Interval: s.Interval, NextDue: now, EnrolledAt: now, LastSeen: now, State: fleet.Enrolled, Since: now,
	}
	if h.Name == "" {
		h.Name = strings.TrimSpace(identity.Manufacturer + " " + identity.Serial)
	}
	if err := tx.PutHost(h); err != nil {
		return nil, nil, err
	}
	if err := tx.PutFacts(h.ID, identityFacts(identity)); err != nil {
		return nil, nil, err
	}
	_, err = tx.Append(auditlog.Entry{At: now, Actor: p.By, Action: "enrol", Subject: h.ID, Detail: "ek " + identity.EKSHA256 + ", " + identity.Manufacturer + " " + identity.Product + " " + identity.Serial})
	return h, nil, err
}

// bind finds the machine that an identity is of, or what it conflicts with. The
// key, the attestation key and the chassis are one: another combination is
// another machine, or somebody who would like to be one (FL-004).
func (s *Server) bind(tx fleet.Tx, i fleet.Identity) (h *fleet.Host, conflict string, err error) {
	h, err = tx.HostByEK(i.EKSHA256)
	switch {
	case err == nil && h.State == fleet.Retired:
		return nil, "this TPM belongs to a machine that was retired", nil
	case err == nil && h.Identity.AKName != i.AKName:
		return nil, "this TPM is known with another attestation key", nil
	case err == nil && h.Identity.Chassis != i.Chassis:
		return nil, fmt.Sprintf("this TPM is known in %s %s", h.Identity.Product, h.Identity.Serial), nil
	case err == nil:
		return h, "", nil
	case !errors.Is(err, fleet.ErrNotFound):
		return nil, "", err
	}
	for _, f := range chassisFacts(i.Chassis) {
		others, err := tx.Sharing(f.Kind, f.Value, 1)
		if err != nil {
			return nil, "", err
		}
		if len(others) > 0 {
			return nil, fmt.Sprintf("the %s %s belongs to %s, which has another TPM", f.Kind, f.Value, others[0].Host), nil
		}
	}
	return nil, "", nil
}

// Nonce asks a machine for evidence.
func (s *Server) Nonce(ctx context.Context, host string) (*fleet.Challenge, error) {
	return s.challenge(ctx, host, s.Answer)
}

func (s *Server) challenge(ctx context.Context, host string, answer time.Duration) (*fleet.Challenge, error) {
	now := s.now()
	c := fleet.Challenge{Nonce: make([]byte, 32), Host: host, Issued: now, Deadline: now.Add(answer)}
	if _, err := io.ReadFull(s.Random, c.Nonce); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	err := s.Store.Update(ctx, func(tx fleet.Tx) error {
		h, err := tx.Host(host)
		if err != nil {
			return found("the machine", err)
		}
		if h.State == fleet.Retired {
			return refuse(Forbidden, "the machine was retired")
		}
		h.LastSeen = now
		if err := tx.PutHost(h); err != nil {
			return err
		}
		return tx.PutChallenge(c)
	})
	if err != nil {
		return nil, err
	}
	return &c, nil
}

// identityFacts are what only this machine may have, from its enrolment.
func identityFacts(i fleet.Identity) []fleet.Fact {
	out := chassisFacts(i.Chassis)
	for kind, v := range map[string]string{"ek": i.EKSHA256, "ak": i.AKName} {
		if v != "" {
			out = append(out, fleet.Fact{Kind: kind, Value: v})
		}
	}
	return out
}
