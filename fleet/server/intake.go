package server

import (
	"context"
	"errors"
	"time"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
)

// Intake takes a bundle in that answers a challenge: it is safe when Intake
// returns, and will be judged once. That the TPM signed the nonce is for the
// appraisal to say, so that an old bundle is a finding and no error of transport;
// here the nonce is that of a challenge to this machine, which is still open. from
// is the address that it came from, "" when it is not known.
func (s *Server) Intake(ctx context.Context, host string, nonce, zip []byte, from string) (*fleet.Evidence, error) {
	now := s.now()
	if err := s.Room(ctx); err != nil {
		return nil, err
	}
	e := &fleet.Evidence{Host: host, Received: now, From: from, Nonce: nonce, Size: int64(len(zip)), Status: fleet.Accepted}
	asked, err := s.asked(ctx, host, nonce, now)
	if err != nil {
		return nil, err
	}
	if asked { // nothing is looked at, and nothing kept, that nobody asked for
		if e.Digest, err = s.unpackZip(ctx, host, nonce, zip); err != nil {
			return nil, err
		}
		e.Blob = e.Digest
	}
	var refused error
	err = s.Store.Update(ctx, func(tx fleet.Tx) error {
		refused = nil
		c, err := tx.TakeChallenge(nonce)
		if errors.Is(err, fleet.ErrNotFound) {
			refused = refuse(Conflict, "the nonce is none that the server waits for: it was used, or nobody asked")
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case c.Host != host:
			refused = refuse(Forbidden, "the nonce was given to another machine")
			return s.splicedEvidence(tx, c.Host, host)
		case now.After(c.Deadline):
			refused = refuse(Conflict, "the answer came after the deadline; ask again")
			return nil
		case !asked:
			return errors.New("evidence: the challenge appeared while it was answered")
		}
		return answered(tx, e, c)
	})
	if errors.Is(err, fleet.ErrExists) {
		return nil, refuse(Conflict, "this evidence was taken in before")
	}
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return e, nil
}

// answered takes the evidence of a machine in, which is not asked again before its
// time.
func answered(tx fleet.Tx, e *fleet.Evidence, c *fleet.Challenge) error {
	h, err := tx.Host(e.Host)
	if err != nil {
		return found("the machine", err)
	}
	h.LastSeen, h.NextDue, h.AuditNow, e.Asked = e.Received, e.Received.Add(h.Interval), time.Time{}, c.Issued
	if err := tx.PutHost(h); err != nil {
		return err
	}
	if err := tx.PutEvidence(e); err != nil {
		return err
	}
	return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: e.Digest})
}

// asked reports whether a challenge waits for this machine. The transaction that
// takes it decides; until then nobody's bytes cost anything.
func (s *Server) asked(ctx context.Context, host string, nonce []byte, now time.Time) (yes bool, err error) {
	err = s.Store.View(ctx, func(r fleet.Reader) error {
		c, err := r.Challenge(nonce)
		if errors.Is(err, fleet.ErrNotFound) {
			return nil
		}
		yes = err == nil && c.Host == host && !now.After(c.Deadline)
		return err
	})
	return yes, err
}

func (s *Server) unpackZip(ctx context.Context, host string, nonce, zip []byte) (string, error) {
	b, err := evidence.OpenZip(zip, "evidence", s.Limits)
	if err != nil {
		return "", refuse(Invalid, "%v", err)
	}
	return s.keep(ctx, host, nonce, b)
}
