package assay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

func incidentCodes(r *assay.Result) []finding.Code {
	out := []finding.Code{}
	for _, i := range r.Incidents {
		out = append(out, i.Code)
	}
	return out
}

// Other firmware was measured than was read: nobody can say yet that the
// flash's code is another one, only that one of the two lies.
func TestMeasurementAgainstGoldenImageIsOneStory(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "fw-patched-dxe"), func(f files) { f["firmware/bios.rom"] = machine(t, "baseline")["firmware/bios.rom"] }))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Contains(t, incidentCodes(r), finding.IncidentDumpUnexplained)
	require.NotContains(t, incidentCodes(r), finding.IncidentFirmwareBehindVersion)
}

// A PCR 0 that its log does not explain may have been extended by anybody after
// the firmware: it is no measurement of other firmware.
func TestUnexplainedRegisterMeasuresNoFirmware(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "fw-patched-dxe"), func(f files) {
		f["firmware/bios.rom"], f[eventLogPath] = machine(t, "baseline")["firmware/bios.rom"], machine(t, "baseline")[eventLogPath]
	}))
	require.Equal(t, assay.Fail, r.Verdict)
	require.NotEmpty(t, find(r, finding.LogDoesNotReplay))
	require.NotContains(t, incidentCodes(r), finding.IncidentFirmwareBehindVersion)
	require.NotContains(t, incidentCodes(r), finding.IncidentDumpUnexplained)
}

// A replayed quote is well signed: that must not read as proof of this boot.
func TestReplayedQuoteProvesNothingNow(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, machine(t, "stale-nonce"))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Equal(t, "L2", r.Assurance.Level)
	require.NotContains(t, r.Assurance.Statement, "the TPM signed")
	for _, q := range r.Required {
		if q.What == assay.RequireQuote || q.What == assay.RequireLog {
			require.False(t, q.Proved, q.What)
			require.Contains(t, q.Reason, "nonce")
		}
	}
}
