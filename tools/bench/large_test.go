package bench

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
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report/html"
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
			case <-stop: // what short work took is still there: nothing was collected
				runtime.ReadMemStats(&m)
				most = max(most, m.HeapInuse)
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

// BenchmarkPeak tells the most memory that one of each of the other benchmarks takes.
// A peak is sampled, of the heap as it is with what was not collected yet; what each
// takes per turn in all is in the benchmarks themselves.
func BenchmarkPeak(b *testing.B) {
	for _, p := range peaks(b) {
		b.Run("of="+p.of, func(b *testing.B) {
			most := 0.0
			for b.Loop() {
				most = max(most, heap(p.do))
			}
			b.ReportMetric(most, "peak-MiB")
		})
	}
}

type peak struct {
	of string
	do func()
}

func peaks(b *testing.B) []peak {
	f := newFleet(b, false, true)
	u := f.unit(b, 0, 7)
	e, golden := u.scan(b, 0), f.of(b, 0).golden
	written := writer(b, e)
	var packed bytes.Buffer
	require.NoError(b, written.WriteZip(&packed))
	result, sig := appraised(b, u, e), signatureOf(b, e)
	out := []peak{
		{"quote", func() { sig.verify() }},
		{"inventory", func() { bom.Read(e) }},
		{"appraisal", func() { appraised(b, u, e) }},
		{"manifest", func() { manifest.Open(golden, f.trust, then) }},
		{"bundle-read", func() { _, _ = evidence.OpenZip(packed.Bytes(), "bench", evidence.Limits{}) }},
		{"bundle-write", func() { _ = written.WriteZip(io.Discard) }},
		{"report-page", func() { _ = html.Write(io.Discard, result, nil) }},
	}
	for _, l := range eventLogs(b) {
		run, err := byAssay(l, l.banks()...)
		require.NoError(b, err)
		out = append(out, peak{"log-" + l.name, func() { _ = run() }})
	}
	for _, n := range []int{10_000, 100_000} {
		refs, inv := declared(n, "plain")
		out = append(out, peak{fmt.Sprintf("match-%d", n), func() { bom.Match(refs, map[bom.Class]bom.Closure{bom.PCI: bom.Closed}, inv) }})
	}
	for _, mib := range sizes {
		img := image(b, mib)
		out = append(out, peak{fmt.Sprintf("firmware-%dMiB", mib), func() { firmware.Parse("bios", img).Open() }})
	}
	return out
}
