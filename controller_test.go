package assay_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/unpack"
)

// What a controller writes to and nobody can open does not prove the firmware:
// neither where decoders see that it is something else, nor in a program without
// them.
func TestWritablePartsThatWereNotOpenedProveNothing(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join("..", "shared", "corpus", "firmware", "bmc", "synthetic-openbmc-static-32M.static.mtd.xz"))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/bmc")
	}
	x, err := xz.NewReader(bytes.NewReader(raw))
	require.NoError(t, err)
	good, err := io.ReadAll(x)
	require.NoError(t, err)
	l := newLab(t, machine(t, "baseline"))
	d, _ := draftWith(t, machine(t, "baseline")["firmware/bios.rom"])
	d.Firmware = append(d.Firmware, firmware.DraftReferences(nil, []*firmware.Image{firmware.Parse("bmc", good, unpack.Decoders()...)})...)
	l.golden = signed(t, l, d)
	evil := bytes.Clone(good)
	copy(evil[0x1c00000:], bytes.Repeat([]byte("garbage "), 0x80000))
	strict, ok := assay.BuiltInPolicy("strict")
	require.True(t, ok)
	run := func(image []byte, decoders []firmware.Decoder) (*assay.Result, assay.Required) {
		c := l.caseOf(t, with(machine(t, "baseline"), func(f files) { f["firmware/bmc.rom"] = image }))
		c.Decoders, c.Policy = decoders, strict
		r, err := assay.Verify(c)
		require.NoError(t, err)
		i := slices.IndexFunc(r.Required, func(q assay.Required) bool { return q.What == assay.RequireFirmware })
		require.GreaterOrEqual(t, i, 0)
		return r, r.Required[i]
	}
	_, q := run(good, unpack.Decoders())
	require.True(t, q.Proved, q.Reason)
	r, q := run(evil, unpack.Decoders())
	require.False(t, q.Proved)
	require.Contains(t, q.Reason, "not opened")
	require.Equal(t, assay.Fail, r.Verdict)
	require.True(t, slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
		return f.Code == finding.BMCFirmwareDiffers && f.Subject == "firmware:bmc/image/rwfs"
	}))
	r, q = run(good, nil)
	require.False(t, q.Proved)
	require.Contains(t, q.Reason, "not opened")
	require.NotEqual(t, assay.Pass, r.Verdict)
}

// What is wrong with an image is to be looked for at its flash: the part that the
// manifest names for it, or else whichever it is.
func TestPlaceOfAnImage(t *testing.T) {
	base := machine(t, "baseline")
	image := append([]byte("U-Boot 2019.04 (lab)\x00"), base["firmware/bios.rom"][0x200000:0x240000]...)
	l := newLab(t, base)
	d, _ := draftWith(t, base["firmware/bios.rom"])
	d.Firmware = append(d.Firmware, firmware.DraftReferences(nil, []*firmware.Image{firmware.Parse("bmc", image)})...)
	place := func() finding.Location {
		l.golden = signed(t, l, d)
		r, err := assay.Verify(l.caseOf(t, with(base, func(f files) { f["firmware/bmc.rom"] = bytes.Replace(image, []byte("lab"), []byte("bad"), 1) })))
		require.NoError(t, err)
		i := slices.IndexFunc(r.Findings, func(f finding.Finding) bool { return f.Code == finding.BMCFirmwareDiffers })
		require.GreaterOrEqual(t, i, 0)
		return r.Findings[i].Location
	}
	require.Equal(t, finding.Location{Path: assay.FlashPath + "bmc"}, place())
	d.Components = append(d.Components, bom.Reference{ID: "bmc-flash", Class: bom.Electronic, Identity: bom.Identity{Maker: "Macronix", PartNumber: "MX25L25635F"}, Location: finding.Location{Designator: "U14"}, Verifiability: bom.PhysicalOnly})
	d.Firmware[len(d.Firmware)-1].Part = "bmc-flash"
	require.Equal(t, "U14", place().Designator)
}
