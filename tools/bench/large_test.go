package bench

import (
	"archive/zip"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
)

// heap is the most that the work of a function takes, in MiB.
func heap(do func()) float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before, most := m.HeapInuse, uint64(0)
	stop, wg := make(chan struct{}), sync.WaitGroup{}
	wg.Go(func() {
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	do()
	close(stop)
	wg.Wait()
	return float64(most-min(most, before)) / (1 << 20)
}

// BenchmarkLargeBundle opens a bundle of 512 MiB, eight images of 64 MiB; the floor
// hashes the file's bytes once.
func BenchmarkLargeBundle(b *testing.B) {
	file := filepath.Join(b.TempDir(), "large.evidence.zip")
	f, err := os.Create(file)
	require.NoError(b, err)
	z := zip.NewWriter(f)
	for i := range 8 {
		e, err := z.CreateHeader(&zip.FileHeader{Name: fmt.Sprintf("firmware/i%d.rom", i), Method: zip.Store})
		require.NoError(b, err)
		_, err = io.CopyN(e, rand.NewChaCha8([32]byte{byte(i)}), 64<<20)
		require.NoError(b, err)
	}
	require.NoError(b, z.Close())
	require.NoError(b, f.Close())
	const aim = 64 // MiB of heap
	b.Run("by=assay", func(b *testing.B) {
		b.SetBytes(512 << 20)
		most := 0.0
		for b.Loop() {
			most = max(most, heap(func() {
				e, err := evidence.Open(file, evidence.Limits{})
				require.NoError(b, err)
				require.NoError(b, e.Close())
			}))
		}
		b.ReportMetric(most, "peak-MiB")
		require.Less(b, most, float64(aim))
	})
	b.Run("by=floor", func(b *testing.B) {
		b.SetBytes(512 << 20)
		for b.Loop() {
			f, err := os.Open(file)
			require.NoError(b, err)
			_, err = io.Copy(sha256.New(), f)
			require.NoError(b, err)
			require.NoError(b, f.Close())
		}
	})
}

// BenchmarkPeak tells the most memory that one of each takes; what it takes per turn
// is in the other benchmarks.
func BenchmarkPeak(b *testing.B) {
	u := newFleet(b, false, true).unit(b, 0, 7)
	e := u.scan(b, 0)
	image := image(b, 64)
	for name, do := range map[string]func(){
		"appraisal":      func() { appraised(b, u, e) },
		"firmware=64MiB": func() { firmware.Parse("bios", image).Open() },
	} {
		b.Run("of="+name, func(b *testing.B) {
			most := 0.0
			for b.Loop() {
				most = max(most, heap(do))
			}
			b.ReportMetric(most, "peak-MiB")
		})
	}
}
