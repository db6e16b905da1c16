package server

import (
	"context"
	"errors"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// Intake takes a bundle in that answers a challenge: it is safe when Intake
// returns, and will be judged once. That the TPM signed the nonce is for the
// appraisal to say, so that an old bundle is a finding and no error of transport;
// here the nonce is that of a challenge to this machine, which is still open. from
// is the address that it came from, "" when it is not known.
func (s *Server) Intake(ctx context.Context, host string, nonce, zip []byte, from string) (*fleet.Evidence, error) {
	now := s.now()
	b, err := evidence.OpenZip(zip, "evidence", s.Limits)
	if err != nil {
		return nil, refuse(Invalid, "%v", err)
	}
	digest, err := s.keep(ctx, host, nonce, b)
	if err != nil {
		return nil, err
	}
	e := &fleet.Evidence{Digest: digest, Host: host, Received: now, From: from, Nonce: nonce, Size: int64(len(zip)), Blob: digest, Status: fleet.Accepted}
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
			_, err = tx.Append(auditlog.Entry{At: now, Actor: host, Action: "evidence refused", Subject: c.Host, Detail: "EV-002: the nonce of another machine"})
			return err
		case now.After(c.Deadline):
			refused = refuse(Conflict, "the answer came after the deadline; ask again")
			return nil
		}
		h, err := tx.Host(host)
		if err != nil {
			return found("the machine", err)
		}
		h.LastSeen, e.Asked = now, c.Issued
		if err := tx.PutHost(h); err != nil {
			return err
		}
		if err := tx.PutEvidence(e); err != nil {
			return err
		}
		return tx.Enqueue(fleet.Job{Kind: fleet.Appraise, Key: digest})
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
