package efficacy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
)

const plain = "id: A03\nname: a card\nlevel: L2\nexpect: fail\nfinding: HW-001 critical pci:0000:09\nincident: IC-02\n\n-- change --\nwrite proc/x \"a b\\n\"\n"

func TestParse(t *testing.T) {
	v, err := efficacy.Parse("a03.txtar", []byte(plain))
	require.NoError(t, err)
	require.Equal(t, "A03", v.ID)
	require.Equal(t, "baseline", v.Machine)
	require.Equal(t, assay.Machine, v.Scope)
	require.Equal(t, efficacy.L2, v.Level)
	require.Equal(t, []efficacy.Expected{{Code: finding.UnexpectedComponent, Severity: finding.Critical, Subject: "pci:0000:09"}}, v.Findings)
	require.Equal(t, []finding.Code{finding.IncidentSilentDMA}, v.Incidents)
}

// A typing error must not make a vector weaker.
func TestParseIsStrict(t *testing.T) {
	for want, edit := range map[string][2]string{
		"line 1: idd: unknown key":             {"id: A03", "idd: A03"},
		"line 3: level: \"L9\"":                {"level: L2", "level: L9"},
		"line 3: name: stands twice":           {"level: L2", "name: again\nlevel: L2"},
		"line 2: name: is empty":               {"name: a card", "name:"},
		"line 4: expect: \"failed\"":           {"expect: fail", "expect: failed"},
		"line 5: finding: unknown code":        {"HW-001", "HW-901"},
		"line 5: finding: severity \"grave\"":  {"critical", "grave"},
		"line 5: finding: subject is missing":  {" pci:0000:09", ""},
		"line 6: incident: unknown code":       {"IC-02", "IC-99"},
		"line 2: want key: value":              {"name: a card", "name a card"},
		"line 9: unknown verb \"wirte\"":       {"write", "wirte"},
		"line 9: usage: write PATH TEXT":       {" \"a b\\n\"", ""},
		"line 9: \"a b: no closed string":      {"\"a b\\n\"", "\"a b"},
		"line 9: tpm-age does not belong":      {"-- change --\nwrite proc/x \"a b\\n\"", "-- golden --\ntpm-age 1"},
		"-- change -- is missing":              {"write proc/x \"a b\\n\"", ""},
		"line 10: section change stands twice": {"\\n\"\n", "\\n\"\n-- change --\n"},
		"a failing verdict needs a finding":    {"finding: HW-001 critical pci:0000:09\n", ""},
		"a harmless change must not fail":      {"id: A03", "id: BN03"},
	} {
		require.Contains(t, plain, edit[0])
		_, err := efficacy.Parse("a03.txtar", []byte(strings.Replace(plain, edit[0], edit[1], 1)))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "a03.txtar: ")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(plain))
	files, err := filepath.Glob(filepath.Join(root, "testdata", "vectors", "*.txtar"))
	require.NoError(f, err)
	for _, n := range files[:min(20, len(files))] {
		b, err := os.ReadFile(n)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := efficacy.Parse("fuzz", b)
		if err == nil && v.ID == "" {
			t.Fatal("a vector without an id")
		}
	})
}

// The words that vectors may use are in the page beside them.
func TestLanguageIsDocumented(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "testdata", "vectors", "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(b), strings.Join(efficacy.Language(), "\n"), "run make matrix")
}
