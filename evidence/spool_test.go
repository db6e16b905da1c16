package evidence_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// large writes a bundle of n images of a size, and small files between them.
func large(t testing.TB, n int, size int64) (file string, sums map[string][32]byte) {
	t.Helper()
	file, sums = filepath.Join(t.TempDir(), "large.evidence.zip"), map[string][32]byte{}
	f, err := os.Create(file)
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for i := range n {
		for name, length := range map[string]int64{fmt.Sprintf("firmware/i%d.rom", i): size, fmt.Sprintf("note/%d", i): 100} {
			e, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
			require.NoError(t, err)
			h := sha256.New()
			_, err = io.CopyN(io.MultiWriter(e, h), rand.NewChaCha8([32]byte{byte(i)}), length)
			require.NoError(t, err)
			sums[name] = [32]byte(h.Sum(nil))
		}
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
	return file, sums
}

func TestALargeBundleTakesLittleMemory(t *testing.T) {
	file, sums := large(t, 4, 24<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	b, err := evidence.Open(file, evidence.Limits{})
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8<<20), "all that was allocated for 96 MiB")
	for name, want := range sums {
		data, err := b.Read(name)
		require.NoError(t, err)
		require.Equal(t, want, sha256.Sum256(data), name)
		require.Equal(t, fmt.Sprintf("%x", want), b.SHA256(name))
	}
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	small, err := evidence.OpenZip(raw, "the same", evidence.Limits{})
	require.NoError(t, err)
	require.Equal(t, small.Digest(), b.Digest())
	require.NoError(t, b.Close())
	require.NoError(t, b.Close())
	require.NoError(t, small.Close())
}

// Where no file can be made, memory has to do.
func TestALargeBundleWithoutRoom(t *testing.T) {
	file, sums := large(t, 2, 12<<20)
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "not there"))
	b, err := evidence.Open(file, evidence.Limits{})
	require.NoError(t, err)
	for name, want := range sums {
		require.Equal(t, fmt.Sprintf("%x", want), b.SHA256(name))
	}
	require.NoError(t, b.Close())
}

func TestALargeBundleKeepsItsLimits(t *testing.T) {
	file, _ := large(t, 3, 9<<20)
	_, err := evidence.Open(file, evidence.Limits{BundleBytes: 25 << 20})
	require.ErrorContains(t, err, "bytes in the bundle")
	_, err = evidence.Open(file, evidence.Limits{ArtifactBytes: 8 << 20})
	require.ErrorContains(t, err, "bytes in one artefact")
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	at := bytes.Index(raw, []byte("firmware/i2.rom")) + 1<<20
	raw[at]++
	require.NoError(t, os.WriteFile(file, raw, 0o600))
	_, err = evidence.Open(file, evidence.Limits{})
	require.ErrorContains(t, err, "checksum", "an entry in the spool")
}
