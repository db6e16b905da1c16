package server

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// statement is what a server signs of a result: what it decided, on what, and after
// which other one. The whole Attestation Result is in it by its digest.
func statement(r *fleet.Result) []byte {
	lines := []string{"assay fleet result v1", r.ID, r.Host, r.Evidence, r.At.UTC().Format(time.RFC3339Nano), string(r.State), string(r.Verdict), r.Level, r.Blob, r.Prev}
	for _, f := range r.Fleet {
		lines = append(lines, fmt.Sprintf("%s %s %s", f.Code, f.Severity, f.Fingerprint))
	}
	return []byte(strings.Join(lines, "\n"))
}

// seal signs a result that follows another one.
func (s *Server) seal(r *fleet.Result, prev string) (err error) {
	if r.Prev = prev; s.Key == nil {
		return nil
	}
	if r.Seal, err = s.Key.Sign(statement(r)); err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	return nil
}

// Unsealed says why a result is not what the server wrote, or "".
func Unsealed(public string, r *fleet.Result) string {
	switch {
	case len(r.Seal) == 0:
		return "it has no signature"
	case auditlog.Verify(public, statement(r), r.Seal) != nil:
		return "its signature does not fit"
	}
	return ""
}

// Checkpoint signs how far the audit log has come, to be kept elsewhere.
func (s *Server) Checkpoint(ctx context.Context) ([]byte, error) {
	if s.Key == nil {
		return nil, refuse(Conflict, "this server has no key to sign with")
	}
	c := auditlog.Checkpoint{At: s.now()}
	err := s.Store.View(ctx, func(r fleet.Reader) (err error) {
		c.Seq, c.Hash, err = r.AuditHead()
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.Key.Checkpoint(c)
}
