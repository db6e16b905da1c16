//go:build unix

package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet/sqlite"
)

// A directory is one process's alone, and whoever comes second is told which one.
func TestOneProcess(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "fleet.db"))
	require.NoError(t, err)
	_, err = sqlite.Open(t.Context(), filepath.Join(dir, "fleet.db"))
	require.ErrorContains(t, err, dir)
	require.ErrorContains(t, err, "another process works in this directory")
	require.NoError(t, s.Close())
	s, err = sqlite.Open(t.Context(), filepath.Join(dir, "fleet.db"))
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
