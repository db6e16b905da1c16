package assay_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
)

// draftWith drafts a manifest of the baseline machine with a vendor's file and
// signs it.
func draftWith(t *testing.T, file []byte) (*manifest.Manifest, []string) {
	t.Helper()
	m := firmware.Parse("update", file)
	d, notes, err := assay.Draft([]*evidence.Bundle{bundle(t, machine(t, "baseline"))}, assay.DraftOptions{
		Scope: assay.Machine, Now: labTime, Firmware: []firmware.VendorFile{{Version: "2.0", Image: m}},
	})
	require.NoError(t, err)
	return d, notes
}

func signed(t *testing.T, l *lab, m *manifest.Manifest) []byte {
	t.Helper()
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	out, err := manifest.Sign(raw, l.vendor.key, l.vendor.chain)
	require.NoError(t, err)
	return out
}

// A firmware update that the manifest covers raises no alarm: its modules are
// declared, and the digest that the machine will measure is predicted from the
// vendor's file.
func TestCoveredFirmwareUpdateIsSilent(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	update := machine(t, "fw-patched-dxe")["firmware/bios.rom"]
	for name, file := range map[string][]byte{"the whole flash": update, "without the variables": update[0x84000:]} {
		t.Run(name, func(t *testing.T) {
			d, _ := draftWith(t, file)
			require.Len(t, d.Firmware, 2)
			l.golden = signed(t, l, d)
			require.Equal(t, assay.Pass, l.verify(t, machine(t, "baseline")).Verdict, "the version that it had")
			r := l.verify(t, machine(t, "fw-patched-dxe"))
			require.Equal(t, assay.Pass, r.Verdict, "%v", codesOf(r))
			r = l.verify(t, machine(t, "fw-patched-sec"))
			require.Equal(t, assay.Fail, r.Verdict)
			require.Contains(t, codesOf(r), finding.CodeRegionDiffers)
		})
	}
}

// What a vendor's file does not hold is listed, and can hide nothing that a
// reference of the whole flash shows.
func TestPartialReferenceIsNoLicence(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	image := machine(t, "baseline")["firmware/bios.rom"]
	at := bytes.Index(image, bytes.Repeat([]byte{0xff}, 4096)) // room in the volume of variables, outside of the update
	require.Less(t, at, 0x84000)
	hidden := bytes.Clone(image)
	copy(hidden[0x41000-0x800:], "something in the room behind the variables")
	d, notes := draftWith(t, image[0x84000:])
	require.Contains(t, notes[1], "not all of it")
	l.golden = signed(t, l, d)
	r := l.verify(t, with(machine(t, "baseline"), func(f files) { f["firmware/bios.rom"] = hidden }))
	require.Contains(t, codesOf(r), finding.ForeignBytes)

	d.Firmware = d.Firmware[1:]
	require.True(t, d.Firmware[0].Partial)
	d.Firmware[0].Version = ""
	l.golden = signed(t, l, d)
	r = l.verify(t, machine(t, "baseline"))
	require.Equal(t, assay.Pass, r.Verdict)
	found := false
	for _, n := range r.NotChecked {
		found = found || n.What == "firmware:bios"
	}
	require.True(t, found, "what is outside of the update is listed")
	patched := bytes.Clone(image)
	patched[0x84000+0x100] ^= 1
	r = l.verify(t, with(machine(t, "baseline"), func(f files) { f["firmware/bios.rom"] = patched }))
	require.Equal(t, assay.Fail, r.Verdict)
}

// An update of the version that the unit has covers no tampering beside it.
func TestUpdateOfTheSameVersionIsNoLicence(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	d, _ := draftWith(t, machine(t, "baseline")["firmware/bios.rom"][0x84000:0x3cc000])
	require.True(t, d.Firmware[1].Partial)
	d.Firmware[1].Version = d.Firmware[0].Version
	l.golden = signed(t, l, d)
	require.Equal(t, assay.Pass, l.verify(t, machine(t, "baseline")).Verdict)
	r := l.verify(t, machine(t, "fw-patched-sec"))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Contains(t, codesOf(r), finding.CodeRegionDiffers)
}

// A side file says of the image that it is something else.
func TestSideFileHidesNoImage(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	r := l.verify(t, with(machine(t, "fw-patched-sec"), func(f files) {
		f["firmware/bios.json"] = fmt.Appendf(nil, `{"source":"x","offset":0,"length":%d,"complete":true,"of":"programmer"}`, len(f["firmware/bios.rom"]))
	}))
	require.Equal(t, assay.Fail, r.Verdict)
	require.Contains(t, codesOf(r), finding.CodeRegionDiffers)
}
