package firmware

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

func bundleOf(t testing.TB, files map[string][]byte) *evidence.Bundle {
	t.Helper()
	b, err := evidence.FromFiles(files, "test", evidence.Limits{})
	require.NoError(t, err)
	return b
}

const lpc = "sys/bus/pci/devices/0000:00:1f.0/"

// chipset is a machine with a flash and an Intel LPC bridge whose BIOS control
// register has a value.
func chipset(control byte, image []byte) map[string][]byte {
	config := make([]byte, 256)
	config[0xdc] = control
	return map[string][]byte{
		lpc + "vendor": []byte("0x8086\n"), lpc + "device": []byte("0x2918\n"), lpc + "class": []byte("0x060100\n"), lpc + "config": config,
		"firmware/bios.rom": image,
	}
}

func TestLocksOfTheFlash(t *testing.T) {
	const (
		lock   = "firmware:bios/protection/bios-control:1f.0:lock-enable"
		smm    = "firmware:bios/protection/bios-control:1f.0:smm-write-protect"
		enable = "firmware:bios/protection/bios-control:1f.0:write-enable"
	)
	golden := chipset(0x22, board())
	golden["sys/bus/pci/devices/0000:04:00.2/rom_armor_enforced"] = []byte("1\n")
	refs := DraftReferences(nil, Read(bundleOf(t, golden)))
	require.Len(t, refs, 1)
	require.Len(t, refs[0].Protection, 4)
	tests := map[string]struct {
		edit       func(map[string][]byte)
		want       map[string]finding.Severity
		notChecked int
	}{
		"as declared":         {func(map[string][]byte) {}, map[string]finding.Severity{}, 0},
		"lock gone":           {func(f map[string][]byte) { f[lpc+"config"][0xdc] = 0x20 }, map[string]finding.Severity{lock: finding.High}, 0},
		"all open":            {func(f map[string][]byte) { f[lpc+"config"][0xdc] = 0x01 }, map[string]finding.Severity{lock: finding.High, smm: finding.High, enable: finding.High}, 0},
		"ROM armor off":       {func(f map[string][]byte) { f["sys/bus/pci/devices/0000:04:00.2/rom_armor_enforced"] = []byte("0\n") }, map[string]finding.Severity{"firmware:bios/protection/psp:rom-armor": finding.High}, 0},
		"registers not shown": {func(f map[string][]byte) { f[lpc+"config"] = f[lpc+"config"][:64] }, map[string]finding.Severity{}, 3},
		"image not read":      {func(f map[string][]byte) { delete(f, "firmware/bios.rom") }, map[string]finding.Severity{}, 1},
		"open without image":  {func(f map[string][]byte) { delete(f, "firmware/bios.rom"); f[lpc+"config"][0xdc] = 0x20 }, map[string]finding.Severity{lock: finding.High}, 1},
		"another maker's":     {func(f map[string][]byte) { f[lpc+"vendor"] = []byte("0x1022\n") }, map[string]finding.Severity{}, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			files := chipset(0x22, board())
			files["sys/bus/pci/devices/0000:04:00.2/rom_armor_enforced"] = []byte("1\n")
			tt.edit(files)
			c := Match(refs, Read(bundleOf(t, files)), nil)
			got := map[string]finding.Severity{}
			for _, f := range c.Findings {
				require.Equal(t, finding.WriteProtectionOpen, f.Code)
				got[f.Subject] = f.Severity
			}
			require.Equal(t, tt.want, got)
			require.Len(t, c.NotChecked, tt.notChecked)
		})
	}
	t.Run("closed further", func(t *testing.T) {
		c := Match(DraftReferences(nil, Read(bundleOf(t, chipset(0x00, board())))), Read(bundleOf(t, chipset(0x22, board()))), nil)
		require.Len(t, c.Findings, 2)
		for _, f := range c.Findings {
			require.Equal(t, finding.Info, f.Severity)
		}
	})
}

// The permissions of the descriptor are told as what they allow, besides the
// bytes that changed.
func TestDescriptorThatGrantsMore(t *testing.T) {
	const master = 0x80
	image := buildDescriptor(board())
	binary.LittleEndian.PutUint32(image[0x18:], master>>4)
	binary.LittleEndian.PutUint32(image[master:], 0x002fff00) // reads all, writes its own region
	golden := map[string][]byte{"firmware/bios.rom": image}
	refs := DraftReferences(nil, Read(bundleOf(t, golden)))
	opened := bytes.Clone(image)
	binary.LittleEndian.PutUint32(opened[master:], 0xffffffff)
	c := Match(refs, Read(bundleOf(t, map[string][]byte{"firmware/bios.rom": opened})), nil)
	codes := told(c.Findings)
	require.Equal(t, finding.WriteProtectionOpen, codes["firmware:bios/protection/descriptor:bios:write"])
	require.Equal(t, finding.ForeignBytes, codes["firmware:bios/region:descriptor"])
}

func TestTwoReadsOfOneFlash(t *testing.T) {
	image := board()
	other := func(edit func([]byte)) []byte {
		b := bytes.Clone(image)
		edit(b)
		return b
	}
	store := Parse("bios", image)
	var volatile, code Leaf
	for _, l := range store.Leaves {
		if l.Kind == Volatile && volatile.Path == "" {
			volatile = l
		}
		if l.Kind == Code && code.Path == "" {
			code = l
		}
	}
	require.NotEmpty(t, volatile.Path)
	second := func(b []byte) map[string][]byte {
		return map[string][]byte{"firmware/bios.rom": image, "pass2/firmware/bios.rom": b}
	}
	clip := func(b []byte) map[string][]byte {
		return map[string][]byte{
			"firmware/bios.rom": image, "firmware/clip.rom": b,
			"firmware/clip.json": []byte(`{"source":"external programmer","offset":0,"length":` + strconv.Itoa(len(b)) + `,"complete":true,"of":"bios"}`),
		}
	}
	tests := map[string]struct {
		files  map[string][]byte
		want   map[string]finding.Code
		unread int
	}{
		"equal":                  {second(image), map[string]finding.Code{}, 0},
		"code differs":           {second(other(func(b []byte) { b[code.Offset+30]++ })), map[string]finding.Code{"firmware:bios/" + code.Path: finding.ReadsDisagree}, 0},
		"a variable was written": {second(other(func(b []byte) { b[volatile.Offset+9] ^= 1 })), map[string]finding.Code{}, 0},
		"from a clip":            {clip(other(func(b []byte) { b[code.Offset+30]++ })), map[string]finding.Code{"firmware:bios/" + code.Path: finding.ReadsDisagree}, 0},
		"equal from a clip":      {clip(image), map[string]finding.Code{}, 0},
		"end of the flash only":  {clip(image[0x100:]), map[string]finding.Code{}, 2},
		"longer":                 {clip(append(bytes.Clone(image), 0)), map[string]finding.Code{"firmware:bios": finding.ReadsDisagree}, 1},
		"one read is blank":      {clip(other(func(b []byte) { copy(b[code.Offset:], bytes.Repeat([]byte{0xff}, int(code.Length))) })), map[string]finding.Code{}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			images := Read(bundleOf(t, tt.files))
			require.Equal(t, tt.want, told(imageNamed(images, "bios").Findings))
			c := Match(draft(image), images, nil)
			require.Len(t, c.NotChecked, tt.unread)
		})
	}
}
