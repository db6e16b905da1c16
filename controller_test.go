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
