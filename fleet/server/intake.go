package server

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/blob"
)

// stored is a bundle in the blob store: its files by their digests. Its own digest
// is what evidence is known by.
type stored struct {
	Host  string `json:"host"`
	Nonce []byte `json:"nonce"`
	Files []file `json:"files"` // by path
}

type file struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

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
	digest, err := s.keep(ctx, stored{Host: host, Nonce: nonce}, b)
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
		h.LastSeen, h.NextDue, h.AuditNow, e.Asked = now, now.Add(h.Interval), time.Time{}, c.Issued
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

// keep stores what a bundle holds, and returns the digest of the list of it.
func (s *Server) keep(ctx context.Context, list stored, b *evidence.Bundle) (string, error) {
	for _, p := range files(b) {
		data, err := b.Read(p)
		if err != nil {
			return "", fmt.Errorf("evidence: %s: %w", p, err)
		}
		digest, err := s.Blobs.Put(ctx, data)
		if err != nil {
			return "", fmt.Errorf("evidence: %s: %w", p, err)
		}
		list.Files = append(list.Files, file{p, digest})
	}
	raw, err := json.Marshal(list)
	if err != nil {
		return "", fmt.Errorf("evidence: %w", err)
	}
	return s.Blobs.Put(ctx, raw)
}

// files are the paths of what a bundle holds, its index first.
func files(b *evidence.Bundle) []string {
	out := []string{}
	if b.Sealed() {
		out = append(out, evidence.IndexName)
	}
	for _, a := range b.Artifacts() {
		if b.Has(a.Path) {
			out = append(out, a.Path)
		}
	}
	return out
}

// Bundle reads evidence from the blob store.
func (s *Server) Bundle(ctx context.Context, digest string) (*evidence.Bundle, error) {
	raw, err := s.Blobs.Get(ctx, digest)
	if err != nil {
		return nil, err
	}
	var list stored
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&list); err != nil {
		return nil, fmt.Errorf("evidence %s: %w: %w", digest, blob.ErrDamaged, err)
	}
	content := make(map[string][]byte, len(list.Files))
	for _, f := range list.Files {
		if content[f.Path], err = s.Blobs.Get(ctx, f.SHA256); err != nil {
			return nil, fmt.Errorf("evidence %s: %s: %w", digest, f.Path, err)
		}
	}
	return evidence.FromFiles(content, "evidence "+digest[:12], s.Limits)
}
