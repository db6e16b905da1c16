//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Anybody can write to the stick: what cannot be read is named, and the rest is
// compared.
func TestOneBadManifestDoesNotCostTheVerdict(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	write("a.json", []byte("a"))
	write("b.json", nil)
	require.NoError(t, os.Truncate(filepath.Join(dir, "b.json"), maxManifest+1))
	write("c.json", []byte("c"))
	write("._c.json", []byte("what another system leaves"))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	var out bytes.Buffer
	s := &session{out: &out}
	require.Equal(t, [][]byte{[]byte("a"), []byte("c")}, s.readAll(filepath.Join(dir, "nowhere"), dir))
	require.Contains(t, out.String(), "b.json: has more than")
	require.NotContains(t, out.String(), "nowhere", "a folder that is not there holds no manifest")
	require.Empty(t, s.readAll(filepath.Join(dir, "a.json")))
	require.Contains(t, out.String(), "left out: "+filepath.Join(dir, "a.json"), "a folder that cannot be listed is named")
}

func TestAFolderOfManifestsIsBounded(t *testing.T) {
	dir := t.TempDir()
	for i := range maxManifests + 3 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.json", i)), []byte("x"), 0o600))
	}
	var out bytes.Buffer
	require.Len(t, (&session{out: &out}).readAll(dir), maxManifests)
	require.Contains(t, out.String(), "left out: 3 files")
}
