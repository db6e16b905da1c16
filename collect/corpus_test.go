package collect

import (
	"archive/tar"
	"compress/bzip2"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// unpackTree writes a captured sysfs tree, links included, below dir.
func unpackTree(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	for r := tar.NewReader(bzip2.NewReader(f)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		_, name, ok := strings.Cut(path.Clean(h.Name), "/") // the archive's own folder
		if !ok || strings.HasPrefix(name, "sys/devices/system/") || strings.HasPrefix(name, "sys/fs/") || strings.Contains(name, "/power/") {
			continue // tens of thousands of files that no source reads
		}
		if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeSymlink {
			continue
		}
		require.NoError(t, root.MkdirAll(path.Dir(name), 0o755))
		switch h.Typeflag {
		case tar.TypeReg:
			data, err := io.ReadAll(r)
			require.NoError(t, err)
			require.NoError(t, root.WriteFile(name, data, 0o644))
		case tar.TypeSymlink:
			_ = root.Symlink(h.Linkname, name)
		}
	}
}

// Trees that were captured from real servers keep their links and hold only a
// part of what a machine has.
func TestTreesOfRealServers(t *testing.T) {
	archives, _ := filepath.Glob("../../shared/corpus/hardware/sysfs/hwloc-linux/*.tar.bz2")
	if len(archives) == 0 {
		t.Skip("needs ../shared/corpus/hardware/sysfs")
	}
	functions := 0
	for _, a := range archives {
		t.Run(filepath.Base(a), func(t *testing.T) {
			dir := t.TempDir()
			unpackTree(t, a, dir)
			h, err := OpenTree(dir)
			require.NoError(t, err)
			w, err := Scan(t.Context(), h, Options{})
			require.NoError(t, err)
			b, err := w.Bundle()
			require.NoError(t, err)
			require.Empty(t, b.Check())
			for _, bdf := range b.Dir(pciDir) {
				functions++
				if !b.Has(pciDir + "/" + bdf + "/vendor") {
					continue
				}
				if _, linked := os.Readlink(filepath.Join(dir, pciDir, bdf)); linked == nil {
					require.Contains(t, b.Text(pciDir+"/"+bdf+"/path"), bdf)
				}
			}
			for _, x := range b.NotCollected() {
				require.NotEqual(t, evidence.TimedOut, x.Status, x.Path)
			}
		})
	}
	t.Logf("%d PCI functions in %d trees", functions, len(archives))
	require.Greater(t, functions, 100)
}
