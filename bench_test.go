package assay_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
)

// The parts of a verdict, to be held against the whole in one run.
func BenchmarkVerify(b *testing.B) {
	l := newLab(b, machine(b, "baseline"))
	c := l.caseOf(b, machine(b, "baseline"))
	b.Run("whole", func(b *testing.B) {
		for b.Loop() {
			r, err := assay.Verify(c)
			require.NoError(b, err)
			require.Equal(b, assay.Pass, r.Verdict)
		}
	})
	b.Run("inventory", func(b *testing.B) {
		for b.Loop() {
			bom.Read(c.Evidence)
		}
	})
	b.Run("firmware", func(b *testing.B) {
		for b.Loop() {
			firmware.Read(c.Evidence)
		}
	})
	b.Run("manifest", func(b *testing.B) {
		for b.Loop() {
			manifest.Open(l.golden, c.Trust, c.Now)
		}
	})
}
