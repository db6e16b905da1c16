package finding_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
)

var update = flag.Bool("update", false, "rewrite files that are made from the code")

// docs/findings.md is the page that a code in a report leads to; it is made
// from the catalogue so that the two cannot drift apart.
func TestDocsListEveryCode(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Finding codes\n\nCodes are stable: they are never renumbered and never reused. The severity is the default; a rule or a\npolicy may set another. This page is made from the catalogue in `finding/catalogue.go` by `make docs`;\n`assay explain CODE` prints the same.\n")
	for _, e := range finding.Catalogue() {
		fmt.Fprintf(&b, "\n## %s %s\n\n%s\n\n- Title: %s\n- Default severity: %s\n- Claim: %s\n- What to do: %s\n- What would disprove it: %s\n", e.Code, e.Name, e.Meaning, e.Title, e.Severity, e.Claim, e.Action, e.Disproof)
		if len(e.Attack) > 0 {
			fmt.Fprintf(&b, "- MITRE ATT&CK: %s\n", strings.Join(e.Attack, ", "))
		}
		if len(e.EMB3D) > 0 {
			fmt.Fprintf(&b, "- MITRE EMB3D: %s\n", strings.Join(e.EMB3D, ", "))
		}
	}
	const path = "../docs/findings.md"
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, b.String(), string(got), "run make docs")
}

func TestCatalogueIsSound(t *testing.T) {
	seen := map[finding.Code]bool{}
	disproofs := map[string]finding.Code{}
	names := map[string]bool{}
	for _, e := range finding.Catalogue() {
		require.False(t, seen[e.Code], "%s stands twice", e.Code)
		require.False(t, names[e.Name], "%s stands twice", e.Name)
		seen[e.Code], names[e.Name] = true, true
		require.NotEmpty(t, e.Name, e.Code)
		require.NotEmpty(t, e.Title, e.Code)
		require.NotEmpty(t, e.Meaning, e.Code)
		require.NotEmpty(t, e.Action, e.Code)
		require.NotEmpty(t, e.Claim, e.Code)
		d := e.Disproof
		require.NotEmpty(t, d, "%s: say what would disprove it in disproof.go", e.Code)
		if !e.Code.Incident() && !strings.HasPrefix(d, "Nothing to disprove") {
			require.Empty(t, disproofs[d], "%s and %s", e.Code, disproofs[d])
			disproofs[d] = e.Code
		}
	}
	for _, c := range []finding.Code{"HW-001", "HW-016", "ID-001", "FW-012", "MB-011", "TP-011", "MF-017", "EV-009", "FL-007", "IN-005", "CH-012", "LM-003", "IC-23"} {
		require.True(t, seen[c], "%s is missing", c)
	}
}

// The ids of other people's catalogues, as they were checked when codes were named.
// A row of several codes is what they have together.
func TestIdsOfOtherCatalogues(t *testing.T) {
	raw, err := os.ReadFile("testdata/ids.tsv")
	require.NoError(t, err)
	told := map[finding.Code]bool{}
	for _, line := range strings.Split(strings.TrimRight(string(raw), "\n"), "\n")[1:] {
		cells := strings.Split(line, "\t")
		require.Len(t, cells, 3, line)
		attack, emb3d := map[string]bool{}, map[string]bool{}
		for _, c := range strings.Fields(cells[0]) {
			e, ok := finding.Explain(finding.Code(c))
			require.True(t, ok, c)
			told[e.Code] = true
			for _, id := range e.Attack {
				attack[id] = true
			}
			for _, id := range e.EMB3D {
				emb3d[id] = true
			}
		}
		require.ElementsMatch(t, strings.Fields(cells[1]), slices.Collect(maps.Keys(attack)), cells[0])
		require.ElementsMatch(t, strings.Fields(cells[2]), slices.Collect(maps.Keys(emb3d)), cells[0])
	}
	for _, e := range finding.Catalogue() {
		require.True(t, told[e.Code] || e.Code.Incident() || e.Code == finding.InstanceReplaced, "%s has no row", e.Code)
	}
}

func TestFindingsSortWorstFirstAndFingerprintByContent(t *testing.T) {
	low := finding.New(finding.PlaceholderIdentity, "b")
	crit := finding.New(finding.UnexpectedComponent, "z")
	same := finding.New(finding.UnexpectedComponent, "z")
	other := finding.New(finding.UnexpectedComponent, "z")
	other.Got = "x"
	fs := finding.Sort([]finding.Finding{low, other, crit, same})
	require.Len(t, fs, 3, "an exact repeat is one finding")
	require.Equal(t, finding.UnexpectedComponent, fs[0].Code)
	require.Equal(t, finding.PlaceholderIdentity, fs[2].Code)
	require.NotEqual(t, fs[0].Fingerprint, fs[1].Fingerprint)
	again := finding.Sort([]finding.Finding{same})
	require.Equal(t, fs[0].Fingerprint, again[0].Fingerprint)
}

func TestSeverityAndConfidenceRoundTrip(t *testing.T) {
	for s := finding.Info; s <= finding.Critical; s++ {
		b, err := s.MarshalText()
		require.NoError(t, err)
		var back finding.Severity
		require.NoError(t, back.UnmarshalText(b))
		require.Equal(t, s, back)
	}
	var s finding.Severity
	require.Error(t, s.UnmarshalText([]byte("fatal")))
	var c finding.Confidence
	require.Error(t, c.UnmarshalText([]byte("sure")))
	require.NoError(t, c.UnmarshalText([]byte("proven")))
	require.Equal(t, finding.Proven, c)
	_, err := finding.Severity(9).MarshalText()
	require.Error(t, err)
}
