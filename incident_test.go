package assay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
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

func incidentOf(r *assay.Result, code finding.Code) *assay.Incident {
	for i := range r.Incidents {
		if r.Incidents[i].Code == code {
			return &r.Incidents[i]
		}
	}
	return nil
}

// The flash holds a patched driver in a volume that the firmware measures, and
// the TPM signed the digest of the declared one: that is no change hidden where
// nobody looks, it is a contradiction.
func TestPatchedImageAgainstGoldenMeasurementIsAContradiction(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "baseline"), func(f files) { f["firmware/bios.rom"] = machine(t, "fw-patched-dxe")["firmware/bios.rom"] }))
	require.Equal(t, assay.Fail, r.Verdict)
	in := incidentOf(r, finding.IncidentDumpUnexplained)
	require.NotNil(t, in)
	require.Contains(t, in.Narrative, "B95E9FDA-26DE-48D2-8807-1F9107AC5E3A")
	require.NotContains(t, incidentCodes(r), finding.IncidentUnmeasuredCode)
}

// A patched driver that was measured as it is contradicts nothing.
func TestPatchedImageExplainsItsMeasurement(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, machine(t, "fw-patched-dxe"))
	require.NotContains(t, incidentCodes(r), finding.IncidentDumpUnexplained)
	require.NotContains(t, incidentCodes(r), finding.IncidentUnmeasuredCode)
	require.Contains(t, incidentCodes(r), finding.IncidentFirmwareBehindVersion)
}

// The volume of the reset vector is measured by nothing.
func TestChangedResetVectorIsUnmeasuredCode(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, machine(t, "fw-patched-sec"))
	in := incidentOf(r, finding.IncidentUnmeasuredCode)
	require.NotNil(t, in)
	require.Contains(t, in.Narrative, "DF1CCEF6-F301-4A63-9661-FC6030DCC880")
	require.NotContains(t, incidentCodes(r), finding.IncidentDumpUnexplained)
}

// A draft says which part of the image an expected event is over.
func TestDraftTiesEventsToTheImage(t *testing.T) {
	d, _, err := assay.Draft([]*evidence.Bundle{bundle(t, machine(t, "baseline"))}, assay.DraftOptions{Scope: assay.Machine, Now: labTime})
	require.NoError(t, err)
	var derived []string
	for _, r := range d.Boot {
		for _, e := range r.Events {
			if r.PCR == 0 && e.Derived != "" && e.Derived != "separator" {
				derived = append(derived, e.Derived)
			}
		}
	}
	require.Equal(t, []string{"firmware:bios/48DB5E17-707C-472D-91CD-1613E7EF51B0/9E21FD93-9C72-4C15-8C4B-E77F1DB2D792/7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1"}, derived)
}
