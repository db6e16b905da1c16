package bench

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

func appraised(b testing.TB, u *unit, e *evidence.Bundle) *assay.Result {
	r, err := assay.Verify(u.ask(e, 0))
	require.NoError(b, err)
	return r
}

// BenchmarkManifest opens a signed manifest: the signature over its exact bytes, the
// chain, the strict reading, and what its signer may say. The floor has
// encoding/json read the statement, and does nothing else with it.
func BenchmarkManifest(b *testing.B) {
	f := newFleet(b, false, false)
	golden := f.of(b, 0).golden
	b.Run("by=assay", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(golden)))
		for b.Loop() {
			if t, _ := manifest.Open(golden, f.trust, then); t == nil {
				b.Fatal("not trusted")
			}
		}
	})
	b.Run("by=json", func(b *testing.B) {
		b.ReportAllocs()
		b.SetBytes(int64(len(golden)))
		for b.Loop() {
			var envelope struct{ Payload string }
			require.NoError(b, json.Unmarshal(golden, &envelope))
			payload, err := base64.StdEncoding.DecodeString(envelope.Payload)
			require.NoError(b, err)
			var statement struct{ Predicate manifest.Manifest }
			require.NoError(b, json.Unmarshal(payload, &statement))
		}
	})
}

// BenchmarkReport writes a result in each form; the floor is encoding/json.
func BenchmarkReport(b *testing.B) {
	u := newFleet(b, false, true).unit(b, 0, 7)
	r := appraised(b, u, u.scan(b, 0))
	for name, write := range map[string]func() error{
		"json":          func() error { return report.JSON(io.Discard, r) },
		"text":          func() error { return report.Text(io.Discard, r, report.Style{}) },
		"html":          func() error { return html.Write(io.Discard, r, nil) },
		"encoding-json": func() error { return json.NewEncoder(io.Discard).Encode(r) },
	} {
		b.Run("by="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := write(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
