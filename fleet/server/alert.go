package server

import (
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/alert"
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
