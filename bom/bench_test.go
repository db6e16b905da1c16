package bom_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// rack is a machine of n cards and the lines for them; every tenth card is
// exchanged, every hundredth is in another place.
func rack(n int) ([]bom.Reference, *bom.Inventory) {
	var refs []bom.Reference
	var parts []bom.Part
	for i := range n {
		model, at, serial := fmt.Sprintf("8086:%04x", i%64), fmt.Sprint(i), fmt.Sprintf("dsn:%08x", i)
		refs = append(refs, line(model, at, func(r *bom.Reference) { r.Class, r.Identity.Serial = bom.PCI, serial }))
		if i%10 == 0 {
			serial += "x"
		}
		if i%100 == 1 {
			at = fmt.Sprint(n + i)
		}
		parts = append(parts, card(model, at, func(p *bom.Part) { p.Class, p.Subject, p.Identity.Serial = bom.PCI, "pci:"+at, serial }))
	}
	return refs, whole(parts...)
}

// Ten times the parts cost about ten times the work, not a hundred times.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 1000, 10_000} {
		refs, inv := rack(n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				out := bom.Match(refs, map[bom.Class]bom.Closure{bom.PCI: bom.Closed}, inv)
				require.NotEmpty(b, out.Findings)
				for _, f := range out.Findings {
					require.Contains(b, []finding.Code{finding.InstanceReplaced, finding.ChangeRelocation, finding.TopologyDiffers}, f.Code)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/part")
		})
	}
}
