package server

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// hour is an hour of a TPM's clock.
const hour = uint64(time.Hour / time.Millisecond)

// IC-09: a TPM's counters only grow. What an honest machine does, power cuts and
// reboots among it, is no finding.
func TestClockOrder(t *testing.T) {
	last := &fleet.Evidence{Received: labTime}
	next := &fleet.Evidence{Asked: labTime.Add(23 * time.Hour), Received: labTime.Add(24 * time.Hour)}
	before := &fleet.Clock{Millis: 1000 * hour, Resets: 10, Restarts: 3}
	for name, c := range map[string]struct {
		now  fleet.Clock
		want finding.Severity
	}{
		"a day later":                         {fleet.Clock{Millis: 1024 * hour, Resets: 10, Restarts: 3}, 0},
		"a suspend":                           {fleet.Clock{Millis: 1010 * hour, Resets: 10, Restarts: 4}, 0},
		"a reboot":                            {fleet.Clock{Millis: 1020 * hour, Resets: 11}, 0},
		"switched off meanwhile":              {fleet.Clock{Millis: 1000*hour + 1, Resets: 11}, 0},
		"power cut: the clock was not saved":  {fleet.Clock{Millis: 999 * hour, Resets: 11}, 0},
		"another one: fewer resets":           {fleet.Clock{Millis: 1001 * hour, Resets: 9}, finding.Critical},
		"another one: the clock behind":       {fleet.Clock{Millis: 999 * hour, Resets: 10, Restarts: 3}, finding.Critical},
		"another one: fewer restarts":         {fleet.Clock{Millis: 1001 * hour, Resets: 10, Restarts: 2}, finding.Critical},
		"another one: reset, far behind":      {fleet.Clock{Millis: 500 * hour, Resets: 11}, finding.Critical},
		"cleared, and on since":               {fleet.Clock{Millis: 20 * hour, Resets: 1}, finding.Medium},
		"cleared longer ago than that: never": {fleet.Clock{Millis: 25 * hour, Resets: 1}, finding.Critical},
	} {
		x := clockOrder(before, &c.now, next, last)
		if c.want == 0 {
			require.Nil(t, x, name)
			continue
		}
		require.NotNil(t, x, name)
		require.Equal(t, c.want, x.Severity, name)
		require.Len(t, cloned([]finding.Finding{*x}), 1, name)
	}
	high := &fleet.Clock{Millis: 1000 * hour, Resets: 1<<32 - 1, Restarts: 1<<32 - 1} // as a TPM hides them
	require.Nil(t, clockOrder(high, &fleet.Clock{Millis: 1001 * hour, Resets: 0, Restarts: 1 << 31}, next, last))
	require.NotNil(t, clockOrder(&fleet.Clock{Millis: 1000 * hour}, high, next, last))
	behind := fleet.Clock{Millis: 999 * hour, Resets: 10}
	require.Nil(t, clockOrder(before, &behind, &fleet.Evidence{Asked: labTime.Add(-time.Minute), Received: next.Received}, last), "asked before the other came: the order of the quotes is not known")
	require.Nil(t, clockOrder(nil, &behind, next, last))
}

// G08: copies of one TPM's state that answer in turn give themselves away. The
// recordings are such copies: each starts from one saved state.
func TestG08ClonedTPM(t *testing.T) {
	s := newSite(t)
	s.host()
	h, _ := s.audit("h1", "baseline")
	require.Equal(t, fleet.Pass, h.State)
	s.clock = s.clock.Add(5 * time.Minute) // less than the other's clock has counted
	h, r := s.audit("h1", "missing-dimm")
	require.Equal(t, fleet.Fail, h.State)
	require.Len(t, r.Incidents, 1)
	require.Equal(t, finding.IncidentClone, r.Incidents[0].Code)
	require.Equal(t, finding.Critical, r.Incidents[0].Severity)

	s.clock = s.clock.Add(24 * time.Hour)
	h, _ = s.audit("h1", "baseline-reboot")
	require.Equal(t, fleet.Fail, h.State, "good evidence of one of them does not end it")
	x, err := s.AskException(t.Context(), Who{"otto", fleet.Operator}, fleet.Exception{Code: finding.DuplicateIdentity, Subject: clockSubject, Host: "h1", Reason: "the copy was found and switched off", Expires: s.clock.Add(48 * time.Hour)})
	require.NoError(t, err)
	require.NoError(t, s.Approve(t.Context(), Who{"anna", fleet.Approver}, x.ID))
	s.clock = s.clock.Add(time.Hour)
	h, _ = s.audit("h1", "baseline-reboot")
	require.Equal(t, fleet.Pass, h.State)
	s.clock = s.clock.Add(96 * time.Hour)
	h, r = s.audit("h1", "baseline-reboot")
	require.Equal(t, fleet.Pass, h.State, "what was accepted does not come back with the exception's end: %+v", r.Fleet)
}

// G09: a machine that answers from another place than where it stands.
func TestG09Moved(t *testing.T) {
	s := newSite(t)
	s.host()
	s.from = "192.0.2.17"
	h, _ := s.audit("h1", "baseline")
	require.Equal(t, []string{"192.0.2.0/24"}, h.Networks)
	s.clock, s.from = s.clock.Add(24*time.Hour), "192.0.2.99"
	_, r := s.audit("h1", "baseline-reboot")
	require.Len(t, r.Fleet, 1, "another address of the same network is no move")
	require.Equal(t, finding.ChangeReboot, r.Fleet[0].Code, "it was started again, as its name says")
	s.clock, s.from = s.clock.Add(24*time.Hour), "198.51.100.4"
	h, r = s.audit("h1", "baseline-reboot")
	require.Equal(t, finding.AssetMoved, r.Fleet[0].Code)
	require.Equal(t, fleet.Pass, h.State, "where it was seen first is a hint, and no more")

	s.clock = s.clock.Add(time.Hour)
	s.give(s.ticket("place", map[string]any{"host": "h1", "site": "north", "networks": []string{"198.51.100.0/24", "2001:db8:1::/64"}}))
	s.clock, s.from = s.clock.Add(24*time.Hour), "2001:db8:1::7"
	h, r = s.audit("h1", "baseline-reboot")
	require.Empty(t, r.Fleet)
	require.Equal(t, "north", h.Site)
	s.clock, s.from = s.clock.Add(24*time.Hour), "192.0.2.17"
	h, r = s.audit("h1", "baseline-reboot")
	require.Equal(t, finding.Medium, r.Fleet[0].Severity)
	require.Equal(t, fleet.Review, h.State)
}

// G19: one cause on many machines is told as one.
func TestG19CorrelatedDrift(t *testing.T) {
	s := newSite(t)
	x := finding.New(finding.UnexpectedComponent, "pci:0000:00:05.0")
	x.Seal()
	s.update(func(tx fleet.Tx) error {
		for i := range 6 {
			h := &fleet.Host{ID: fmt.Sprintf("h%d", i), Name: "n", Mode: fleet.ByAgent, Profile: "board", State: fleet.Fail, NextDue: s.clock}
			at := s.clock.Add(time.Duration(i) * time.Hour)
			if err := tx.PutHost(h); err != nil {
				return err
			}
			if err := tx.PutOpen(h.ID, []fleet.Open{{Host: h.ID, Finding: x, FirstSeen: at, LastSeen: at}}); err != nil {
				return err
			}
		}
		out, err := correlated(tx, &fleet.Host{ID: "h0", Profile: "board"}, nil, []finding.Finding{x}, s.clock)
		require.NoError(t, err)
		require.Len(t, out, 1)
		require.Equal(t, finding.CorrelatedDrift, out[0].Code)
		require.Contains(t, out[0].Why, "on 5 or more other machines")
		for name, h := range map[string]*fleet.Host{"another board": {ID: "x", Profile: "other"}} {
			out, err = correlated(tx, h, nil, []finding.Finding{x}, s.clock)
			require.NoError(t, err)
			require.Empty(t, out, name)
		}
		out, err = correlated(tx, &fleet.Host{ID: "h0", Profile: "board"}, nil, []finding.Finding{x}, s.clock.Add(10*24*time.Hour))
		require.NoError(t, err)
		require.Empty(t, out, "long after the others")
		return nil
	})
}
