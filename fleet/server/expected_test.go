package server

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

func TestClockMoved(t *testing.T) {
	before := &fleet.Clock{Millis: 1000 * hour, Resets: 10}
	for name, c := range map[string]struct {
		now     fleet.Clock
		against *finding.Finding
		want    []finding.Code
	}{
		"running on":               {fleet.Clock{Millis: 1001 * hour, Resets: 10}, nil, nil},
		"started again":            {fleet.Clock{Millis: 1001 * hour, Resets: 11}, nil, []finding.Code{finding.ChangeReboot}},
		"power was lost":           {fleet.Clock{Millis: 999 * hour, Resets: 11}, nil, []finding.Code{finding.ChangeReboot, finding.ChangeClock}},
		"another TPM":              {fleet.Clock{Millis: 500 * hour, Resets: 11}, &finding.Finding{}, nil},
		"counter over its end too": {fleet.Clock{Millis: 1001 * hour, Resets: 9}, nil, nil},
	} {
		var got []finding.Code
		for _, f := range clockMoved(before, &c.now, c.against, "default") {
			got = append(got, f.Code)
			require.Equal(t, finding.Info, f.Severity)
			require.Equal(t, "policy default", f.CoveredBy)
		}
		require.Equal(t, c.want, got, name)
	}
	require.Empty(t, clockMoved(nil, before, nil, "default"))
}

// F27: an approver who poisons the list of exceptions has to know what will be found.
func TestExceptionBeforeItsFinding(t *testing.T) {
	s := newSite(t)
	h := s.host()
	ask := func(subject string) *fleet.Exception {
		x, err := s.AskException(t.Context(), Who{"op", fleet.Operator}, fleet.Exception{
			Code: finding.UnexpectedComponent, Subject: subject, Host: h.ID, Reason: "known", Expires: s.clock.Add(24 * time.Hour),
		})
		require.NoError(t, err)
		require.NoError(t, s.Approve(t.Context(), Who{"boss", fleet.Approver}, x.ID))
		return x
	}
	codes := func(r *fleet.Result) (out []finding.Code) {
		for _, f := range r.Fleet {
			if f.Claim == finding.ClaimPolicy {
				out = append(out, f.Code)
			}
		}
		return out
	}
	ask("pci:0000:0b:00.0") // of a card that never comes
	_, r := s.audit(h.ID, "extra-nic-norom")
	require.Empty(t, codes(r))
	require.Empty(t, r.Incidents)

	ask("pci:0000:09:00.0") // after it was seen, as it should be
	s.clock = s.clock.Add(time.Hour)
	_, r = s.audit(h.ID, "extra-nic-norom")
	require.Empty(t, codes(r))

	other := newSite(t)
	s, h = other, other.host()
	ask("pci:0000:09:00.0") // before
	s.clock = s.clock.Add(time.Hour)
	now, r := s.audit(h.ID, "extra-nic-norom")
	require.Equal(t, []finding.Code{finding.ExceptionAbuse}, codes(r))
	require.NotEqual(t, fleet.Pass, now.State)
	require.Len(t, r.Incidents, 1)
	require.Equal(t, finding.IncidentPoisonedApproval, r.Incidents[0].Code)
	require.Equal(t, finding.High, r.Incidents[0].Severity)
	require.Greater(t, len(r.Incidents[0].Findings), 1)
}
