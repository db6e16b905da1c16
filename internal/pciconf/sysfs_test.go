package pciconf

import (
	"archive/tar"
	"compress/bzip2"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Configuration spaces out of sysfs trees of real hosts, 64 bytes each as a
// user without privilege reads them.
func TestRealHosts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "sysfs", "hwloc-linux", "*.tar.bz2"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/hardware/sysfs/hwloc-linux")
	}
	functions, problems := 0, 0
	for _, file := range files {
		f, err := os.Open(file)
		require.NoError(t, err)
		defer f.Close()
		r := tar.NewReader(bzip2.NewReader(f))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, file)
			if path.Base(h.Name) != "config" || h.Typeflag != tar.TypeReg || h.Size == 0 {
				continue
			}
			b, err := io.ReadAll(io.LimitReader(r, 1<<16))
			require.NoError(t, err)
			c, err := Parse(b)
			require.NoError(t, err, "%s %s", file, h.Name)
			functions++
			if len(c.Problems) > 0 {
				problems++
				t.Logf("%s %s: %v", filepath.Base(file), h.Name, c.Problems)
			}
		}
	}
	t.Logf("%d functions, %d with problems", functions, problems)
	require.Greater(t, functions, 200)
	require.Zero(t, problems)
}
