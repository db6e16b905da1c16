package bench

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

// BenchmarkBundle opens a bundle that is one zip file in memory: names, limits, the
// index, the seal. The floor expands the entries and hashes each once.
func BenchmarkBundle(b *testing.B) {
	e := newFleet(b, false, false).unit(b, 0, 7).scan(b, 0)
	w := writer(b, e)
	var packed bytes.Buffer
	require.NoError(b, w.WriteZip(&packed))
	b.Run("by=assay", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x, err := evidence.OpenZip(packed.Bytes(), "bench", evidence.Limits{})
			if err != nil || x.Digest() != e.Digest() {
				b.Fatal(err)
			}
		}
	})
	b.Run("by=floor", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			z, err := zip.NewReader(bytes.NewReader(packed.Bytes()), int64(packed.Len()))
			if err != nil {
				b.Fatal(err)
			}
			for _, f := range z.File {
				r, err := f.Open()
				if err != nil {
					b.Fatal(err)
				}
				data, err := io.ReadAll(r)
				if err != nil {
					b.Fatal(err)
				}
				sha256.Sum256(data)
			}
		}
	})
	b.Run("by=write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := w.WriteZip(io.Discard); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// writer holds what a bundle holds, to be written again.
func writer(b *testing.B, e *evidence.Bundle) *evidence.Writer {
	w := evidence.NewWriter(*e.Index(), evidence.Limits{})
	for _, a := range e.Artifacts() {
		raw, err := e.Read(a.Path)
		require.NoError(b, err)
		require.NoError(b, w.Add(a.Path, raw, ""))
	}
	return w
}
