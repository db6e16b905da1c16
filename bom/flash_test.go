package bom_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// chip is the reference machine with the flash chip behind its host bridge.
func chip(t *testing.T, id string, change func([]byte)) *bom.Inventory {
	t.Helper()
	f := lab(t)
	b := make([]byte, 0x70)
	copy(b, "SFDP\x06\x01\x00\xff\x00\x06\x01\x10\x30\x00\x00\xff")
	binary.LittleEndian.PutUint32(b[0x34:], 0x07ffffff) // 16 MiB
	change(b)
	const dir = "sys/bus/spi/devices/spi0.0"
	f[dir+"/spi-nor/manufacturer"] = []byte("winbond\n")
	f[dir+"/spi-nor/jedec_id"], f[dir+"/spi-nor/sfdp"] = []byte(id+"\n"), b
	f["sys/class/mtd/mtd0/size"] = []byte("16777216\n")
	f["sys/class/mtd/mtd0/path"] = []byte("/sys/devices/pci0000:00/0000:00:1f.5/spi_master/spi0/spi0.0/mtd/mtd0\n")
	return read(t, f)
}

func same([]byte) {}

func TestAnotherFlashChip(t *testing.T) {
	inv := chip(t, "ef4018", same)
	p := part(t, inv, "flash:spi0.0")
	require.Equal(t, "ef4018", p.Identity.Model)
	require.Equal(t, "winbond", p.Identity.Name)
	require.Empty(t, findings(inv, finding.FlashPartDiffers))
	refs, closures := bom.Draft(inv, true)
	require.Equal(t, bom.Open, closures[bom.Flash], "a chip without a driver is on no list")

	told := func(inv *bom.Inventory) []finding.Finding {
		return slices.DeleteFunc(bom.Match(refs, closures, inv).Findings, func(f finding.Finding) bool { return f.Severity < finding.Low })
	}
	require.Empty(t, told(chip(t, "ef4018", same)))
	fs := told(chip(t, "c22018", same))
	require.Len(t, fs, 1)
	require.Equal(t, finding.FlashPartDiffers, fs[0].Code)
	require.Equal(t, finding.High, fs[0].Severity)
	fs = told(chip(t, "ef4018", func(b []byte) { b[0x40] = 1 }))
	require.Len(t, fs, 1)
	require.Equal(t, finding.FlashPartDiffers, fs[0].Code, "one id, another part")
	require.Equal(t, finding.Medium, fs[0].Severity)
	require.Empty(t, told(read(t, lab(t))), "evidence without flash chips is not missing them")
}

func TestAChipThatIsSmallerThanItsUse(t *testing.T) {
	fs := findings(chip(t, "ef4017", func(b []byte) { binary.LittleEndian.PutUint32(b[0x34:], 0x03ffffff) }), finding.FlashPartDiffers)
	require.Len(t, fs, 1)
	require.Equal(t, "at most 8388608 bytes", fs[0].Want)
	require.NotEmpty(t, findings(chip(t, "zz", func(b []byte) { b[0] = 0 }), finding.InputMalformed))
}
