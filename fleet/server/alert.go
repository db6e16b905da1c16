package server

import (
	"errors"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/alert"
	"github.com/assay-hw/assay/fleet/auditlog"
)

// tell has whoever should know told of what a machine is now, in the transaction
// that stores it.
func (s *Server) tell(tx fleet.Tx, was fleet.State, h *fleet.Host, open []fleet.Open, judged bool) error {
	return s.Alerts.Changed(tx, alert.Change{Was: was, Host: h, Open: open, Judged: judged, At: s.now()})
}

// refusedIdentity tells of somebody who wanted to be a machine that is known (FL-004).
func (s *Server) refusedIdentity(tx fleet.Tx, p pending, i fleet.Identity, conflict string) error {
	h := &fleet.Host{Name: p.Enrolment.Name, Site: p.Enrolment.Site, Identity: i}
	return s.Alerts.Refused(tx, h, string(finding.RebindAttempt)+": "+conflict, s.now())
}

// splicedEvidence notes and tells that a machine answered what another one was asked.
func (s *Server) splicedEvidence(tx fleet.Tx, asked, answered string) error {
	detail := string(finding.EvidenceSpliced) + ": the nonce of another machine, answered by " + answered
	if _, err := tx.Append(auditlog.Entry{At: s.now(), Actor: answered, Action: "evidence refused", Subject: asked, Detail: detail}); err != nil {
		return err
	}
	h, err := tx.Host(asked)
	if errors.Is(err, fleet.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.Alerts.Refused(tx, h, detail, s.now())
}
