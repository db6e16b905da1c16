package gate_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy/gate"
	"github.com/assay-hw/assay/finding"
)

// The few files that are always there, with their attribution beside them.
const always = "testdata/dmidecode"

func measure(t *testing.T, dir string) *gate.Measurement {
	t.Helper()
	m, err := gate.Measure(os.DirFS(dir))
	require.NoError(t, err)
	for what, r := range map[string]gate.Rates{"self": m.Self, "same model": m.SameModel, "same board": m.SameBoard} {
		t.Logf("%s: %d groups, %d cases, verdicts %v, findings %v, false alarms %v", what, r.Groups, r.Cases, r.Verdicts, r.Findings, r.FalseAlarms)
		for _, c := range r.Listed {
			for _, f := range c.Findings {
				if f.FalseAlarm {
					t.Errorf("%s: %s against %s: false alarm %s %s %s: want %q, got %q", what, c.Unit, c.Reference, f.Code, f.Severity, f.Subject, f.Want, f.Got)
				}
			}
		}
	}
	return m
}

// The words of a manifest of one machine fit this very machine: nothing is found,
// but that nobody signed the text and, of a table that its firmware broke off, that
// it lists nothing completely.
func onlyUnsigned(t *testing.T, r gate.Rates) {
	t.Helper()
	for code := range r.Findings {
		require.Contains(t, []finding.Code{finding.EvidenceUnauthenticated, finding.ManifestPermissive}, code)
	}
	require.Zero(t, r.Verdicts[assay.Fail])
}

func TestNoFalseAlarmOnFilesOfThisRepository(t *testing.T) {
	m := measure(t, always)
	require.Equal(t, 12, m.Dumps)
	require.Zero(t, m.Nameless)
	onlyUnsigned(t, m.Self)
	require.Equal(t, map[assay.Verdict]int{assay.Pass: 12}, m.Self.Verdicts)
	require.Positive(t, m.SameModel.Cases)
}

// Real servers, 790 of them; with ASSAY_GATE_DUMPS those of another directory.
func TestNoFalseAlarmOnRealServers(t *testing.T) {
	dir := os.Getenv("ASSAY_GATE_DUMPS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "dmidecode")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs shared/corpus/hardware/dmidecode beside the checkout, or ASSAY_GATE_DUMPS")
	}
	m := measure(t, dir)
	onlyUnsigned(t, m.Self)
	require.Positive(t, m.SameModel.Cases)
	t.Logf("%d dumps, %d of them nameless", m.Dumps, m.Nameless)
}
