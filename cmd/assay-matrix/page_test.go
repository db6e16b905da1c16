package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/efficacy"
)

const root = "../.."

// docs/efficacy.md is what the command writes, and what it says is what the
// project promises: at no level an attack that passes without a word, but for known
// gaps, and no false alarm.
func TestPageIsGenerated(t *testing.T) {
	p, err := measure(root)
	require.NoError(t, err)
	have, err := os.ReadFile(filepath.Join(root, "docs", "efficacy.md"))
	require.NoError(t, err)
	require.Equal(t, p.text(), string(have), "run make matrix")
	for _, v := range p.matrix.Vectors {
		for l, o := range p.matrix.Outcomes[v.File] {
			require.NotEqual(t, efficacy.FalseAlarm, o.Class, "%s at %s: %s", v.File, l, o.Why)
			if v.Gap == "" {
				require.NotEqual(t, efficacy.Missed, o.Class, "%s at %s: %s", v.File, l, o.Why)
			}
		}
	}
}

// Whatever stands in a list of what is tested elsewhere is there.
func TestElsewhereExists(t *testing.T) {
	all, err := efficacy.Catalogue(root)
	require.NoError(t, err)
	require.Len(t, all, 165+49)
	for _, s := range all {
		if s.Test == "" {
			continue
		}
		file, test, ok := strings.Cut(s.Test, ":")
		require.True(t, ok, s.Test)
		b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		require.NoError(t, err)
		require.Contains(t, string(b), "func "+test+"(", s.ID)
	}
}
