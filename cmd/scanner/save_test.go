//go:build linux

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

func saved(t *testing.T, about string) *evidence.Writer {
	t.Helper()
	w := evidence.NewWriter(evidence.Index{CollectedAt: time.Unix(0, 0).UTC()}, evidence.Limits{})
	require.NoError(t, w.Add("proc/uptime", []byte(about), ""))
	return w
}

// Whoever names the file in the settings and scans a rack with one stick keeps
// every machine's evidence.
func TestEvidenceIsNeverReplaced(t *testing.T) {
	stick := t.TempDir()
	for _, want := range []string{"rack", "rack-2", "rack-3"} {
		name, err := saveIn(stick, "rack", saved(t, want), roomIn)
		require.NoError(t, err)
		require.Equal(t, "results/"+want+".evidence.zip", name)
	}
	for _, n := range []string{"rack", "rack-2", "rack-3"} {
		b, err := evidence.Open(filepath.Join(stick, "results", n+".evidence.zip"), evidence.Limits{})
		require.NoError(t, err)
		got, err := b.Read("proc/uptime")
		require.NoError(t, err)
		require.Equal(t, n, string(got))
	}
}

func TestAFullStickIsToldInNumbers(t *testing.T) {
	stick := t.TempDir()
	_, err := saveIn(stick, "x", saved(t, "x"), func(string) (int64, error) { return 100, nil })
	require.ErrorContains(t, err, "room for 0 KiB and the evidence needs 1 KiB; clear its folder results")
	left, err := os.ReadDir(filepath.Join(stick, "results"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestNamesOfEvidence(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct{ set, serial, want string }{
		"by serial number":        {"", "S1\n", "S1-20260102-030405"},
		"by the settings":         {"rack 4/unit 7", "S1", "rack-4-unit-7"},
		"a path":                  {"../../etc/passwd", "S1", "etc-passwd"},
		"nothing that can be one": {" .. ", "", "machine-20260102-030405"},
		"too long":                {strings.Repeat("n", 300), "S1", strings.Repeat("n", maxName)},
		"a serial too long":       {"", strings.Repeat("s", 60), "machine-20260102-030405"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &session{out: &bytes.Buffer{}, began: began, set: settings{Name: c.set}}
			got := s.evidenceName(c.serial)
			require.Equal(t, c.want, got)
			require.LessOrEqual(t, len(got), maxName)
		})
	}
}
