package assay_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// realMachine loads the evidence of a real machine of the public corpus.
func realMachine(t *testing.T, name string) *evidence.Bundle {
	t.Helper()
	dir := filepath.Join("..", "shared", "corpus", "machines")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("needs shared/corpus/machines beside the checkout")
	}
	b, err := evidence.Open(filepath.Join(dir, name+".evidence.zip"), evidence.Limits{})
	require.NoError(t, err)
	return b
}

// held verifies one real machine against a manifest drafted from another.
func held(t *testing.T, from, against string) *assay.Result {
	t.Helper()
	unit := realMachine(t, from)
	m, _, err := assay.Draft([]*evidence.Bundle{unit}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	v := newVendor(t, m.Environment.Manufacturer)
	r, err := assay.Verify(assay.Case{Evidence: realMachine(t, against), Golden: [][]byte{v.signManifest(t, m)}, Trust: v.trust(t), Now: labTime})
	require.NoError(t, err)
	return r
}

// None of these captures has the public half of its attestation key, so that no
// quote can be verified: the best verdict is inconclusive, never pass.
func TestRealMachinesAgainstThemselves(t *testing.T) {
	for _, n := range []string{
		"DESKTOP-MIMU51J-EPP-ESET", "Haruhi", "IMN-DELL-WBCL-BootCtrs", "good-1", "r340", "x1carbon", "test-before", "test-update",
		"test-HP-EliteBook-830-G6-baseline", "test-HP-EliteBook-830-G6-add-mokx", "test-HP-EliteBook-830-G6-del-mokx",
	} {
		t.Run(n, func(t *testing.T) {
			r := held(t, n, n)
			for _, f := range r.Findings {
				require.LessOrEqual(t, f.Severity, finding.Low, "%s %s %s", f.Code, f.Subject, f.Why)
			}
			require.Equal(t, assay.Inconclusive, r.Verdict)
		})
	}
}

func TestRegisterExtendedAtRunTimeOnARealMachine(t *testing.T) {
	r := held(t, "good-1", "failed-1")
	require.Equal(t, assay.Fail, r.Verdict)
	hit := false
	for _, f := range r.Findings {
		hit = hit || f.Subject == "pcr:0" && f.Severity >= finding.High
	}
	require.True(t, hit, "the register that was extended is named")
}

func TestAddedRevocationVariableIsNamed(t *testing.T) {
	r := held(t, "test-HP-EliteBook-830-G6-baseline", "test-HP-EliteBook-830-G6-add-mokx")
	require.NotEqual(t, assay.Pass, r.Verdict)
	hit := false
	for _, f := range r.Findings {
		hit = hit || f.Subject == "pcr:14/MokListX"
	}
	require.True(t, hit)
}

// Whoever drafts from a machine that is not in order must hear of it before
// signing.
func TestDraftOfABadUnitSaysSo(t *testing.T) {
	_, notes, err := assay.Draft([]*evidence.Bundle{realMachine(t, "failed-1")}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	require.Contains(t, strings.Join(notes, "\n"), "NOT accepted, this unit may not be good: MB-001 pcr:0")

	files := machine(t, "eventlog-edited")
	_, notes, err = assay.Draft([]*evidence.Bundle{bundle(t, files)}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	require.Contains(t, strings.Join(notes, "\n"), "MB-001 pcr:2")
}
