package bom_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// A card that was exchanged for another of its model is one finding, although
// its port's address is another one too.
func TestExchangedCardIsToldOnce(t *testing.T) {
	const fn = "pci:0000:01:00.0"
	want := []bom.Reference{
		line("8086:10d3 1:2", "1", func(r *bom.Reference) { r.Class, r.Identity.Serial = bom.PCI, "dsn:01" }),
		line("network port", "1", func(r *bom.Reference) { r.Class, r.Identity.Serial = bom.Network, "02:00:00:00:00:01" }),
	}
	inv := whole(
		card("8086:10d3 1:2", "1", func(p *bom.Part) { p.Class, p.Subject, p.Identity.Serial = bom.PCI, fn, "dsn:99" }),
		card("network port", "1", func(p *bom.Part) {
			p.Class, p.Subject, p.Package, p.Identity.Serial = bom.Network, "network:0000:01:00.0", fn, "02:00:00:00:00:99"
		}),
	)
	out := bom.Match(want, map[bom.Class]bom.Closure{bom.PCI: bom.Closed, bom.Network: bom.Closed}, inv)
	require.Len(t, out.Findings, 1)
	f := out.Findings[0]
	require.Equal(t, finding.InstanceReplaced, f.Code)
	require.Equal(t, fn, f.Subject)
	require.Contains(t, f.Why, "02:00:00:00:00:99")
	require.Contains(t, out.NotChecked, bom.NotChecked{What: "serial number of network:0000:01:00.0", Reason: "sits on " + fn + ", which is reported with another serial number"})

	// Only the port's address: the port is told.
	inv.Parts[0].Identity.Serial = "dsn:01"
	fs := bom.Match(want, map[bom.Class]bom.Closure{bom.PCI: bom.Closed, bom.Network: bom.Closed}, inv).Findings
	require.Len(t, fs, 1)
	require.Equal(t, "network:0000:01:00.0", fs[0].Subject)
}

// A table of another length has another digest, too: that is one statement.
func TestTableOfAnotherLengthIsToldOnce(t *testing.T) {
	table := func(length, digest string) map[string]string {
		return map[string]string{"length": length, "digest": digest}
	}
	want := []bom.Reference{line("DSDT", "DSDT", func(r *bom.Reference) { r.Class, r.Attributes = bom.ACPI, table("100", "aa") })}
	match := func(length, digest string) []finding.Finding {
		inv := whole(card("DSDT", "DSDT", func(p *bom.Part) { p.Class, p.Attributes = bom.ACPI, table(length, digest) }))
		inv.Classes[bom.ACPI] = bom.Observation{Observed: true, Whole: true}
		return bom.Match(want, map[bom.Class]bom.Closure{bom.ACPI: bom.Closed}, inv).Findings
	}
	require.Empty(t, match("100", "aa"))
	require.Len(t, match("100", "bb"), 1)
	require.Len(t, match("120", "bb"), 1)
	require.Equal(t, "length=120", match("120", "bb")[0].Got)
}

// Which clients the system gave drivers is no difference in hardware: the same
// chip answers at the same address.
func TestBoundDriverIsNoOtherChip(t *testing.T) {
	client := func(model string) bom.Identity { return bom.Identity{Model: model} }
	const unbound = "answers, no driver bound"
	for _, c := range []struct {
		want, got string
		findings  int
	}{{unbound, "24c02", 0}, {"24c02", unbound, 0}, {"24c02", "24c02", 0}, {"24c02", "spd5118", 1}} {
		inv := whole(card("", "i2c/0-0054", func(p *bom.Part) { p.Class, p.Identity = bom.I2C, client(c.got) }))
		inv.Classes[bom.I2C] = bom.Observation{Observed: true, Whole: true}
		want := []bom.Reference{line("", "i2c/0-0054", func(r *bom.Reference) { r.Class, r.Identity = bom.I2C, client(c.want) })}
		require.Len(t, bom.Match(want, map[bom.Class]bom.Closure{bom.I2C: bom.Closed}, inv).Findings, c.findings, c)
	}
}

// A table that is gone must not be called an unexpected one.
func TestMissingTableIsCalledMissing(t *testing.T) {
	inv := whole()
	inv.Classes[bom.ACPI] = bom.Observation{Observed: true, Whole: true}
	want := []bom.Reference{line("TPM2", "TPM2", func(r *bom.Reference) { r.Class = bom.ACPI })}
	fs := bom.Match(want, map[bom.Class]bom.Closure{bom.ACPI: bom.Closed}, inv).Findings
	require.Len(t, fs, 1)
	require.Contains(t, fs[0].Title, "missing")
}
