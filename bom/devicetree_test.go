package bom_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

const deviceTree = "sys/firmware/devicetree/base/"

func controllerTree() tree {
	return tree{
		deviceTree + "compatible":    []byte("aspeed,ast2600-evb\x00aspeed,ast2600\x00"),
		deviceTree + "model":         []byte("AST2600 EVB\x00"),
		deviceTree + "serial-number": []byte("EVB-0042\x00"),
	}
}

func TestABoardIsNamedByItsDeviceTree(t *testing.T) {
	inv := read(t, controllerTree())
	p := part(t, inv, "system")
	require.Equal(t, bom.Identity{Maker: "aspeed", Model: "ast2600-evb", Name: "AST2600 EVB", Serial: "EVB-0042"}, p.Identity)
	require.True(t, inv.Classes[bom.System].Observed)
	require.False(t, inv.Classes[bom.Baseboard].Observed, "a device tree names no board beside the system")
	require.False(t, inv.Classes[bom.Memory].Observed)
}

// Makers are written in either case: the names of POWER servers are in capitals.
func TestAMakerInCapitals(t *testing.T) {
	inv := read(t, tree{deviceTree + "compatible": []byte("IBM,9009-42A\x00ibm,powernv\x00")})
	require.Equal(t, bom.Identity{Maker: "IBM", Model: "9009-42A"}, part(t, inv, "system").Identity)
	require.Empty(t, inv.Findings)
}

func TestSMBIOSIsHeardBeforeADeviceTree(t *testing.T) {
	f := lab(t)
	for name, data := range controllerTree() {
		f[name] = data
	}
	require.Equal(t, part(t, read(t, lab(t)), "system").Identity, part(t, read(t, f), "system").Identity)
}

func TestADeviceTreeWithoutNames(t *testing.T) {
	for name, b := range map[string]string{"nothing": "", "only zeroes": "\x00\x00", "no maker": "evb\x00", "not text": "\xff\xfe,\x80\x00"} {
		t.Run(name, func(t *testing.T) {
			inv := read(t, tree{deviceTree + "compatible": []byte(b)})
			require.False(t, inv.Classes[bom.System].Observed)
			require.Len(t, findings(inv, finding.InputMalformed), 1)
		})
	}
}
