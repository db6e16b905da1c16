package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/firmware"
)

// Names in an image are its maker's, or an attacker's.
func TestNamesOfExtractedFiles(t *testing.T) {
	for in, want := range map[string]string{
		"V/F/pe32":              "V/F/pe32",
		"image/../../etc/x":     "image/_/_/etc/x",
		"/etc/passwd":           "_/etc/passwd",
		"a/./..b/.hidden":       "a/_/b/hidden",
		"region:me+gap#2":       "region_me+gap#2",
		"name\x00with\nall\\of": "name_with_all_of",
	} {
		require.Equal(t, want, safePath(in))
		require.True(t, fs.ValidPath(safePath(in)), in)
	}
	require.Len(t, safePath(string(make([]byte, 5000))), maxSegment)
}

// Parts whose names become the same are all written.
func TestExtractedFilesDoNotOverwriteEachOther(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "parts")
	n, err := extract([]firmware.Leaf{{Path: "a b"}, {Path: "a_b"}, {Path: "a:b"}}, dir)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
}
