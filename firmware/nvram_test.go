package firmware

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

// vssVariable is a record of a "$VSS" store.
func vssVariable(name, data string) []byte {
	h := make([]byte, 32)
	copy(h, "\xaa\x55\x3f\x00\x07")
	text := []byte{}
	for _, c := range name + "\x00" {
		text = append(text, byte(c), 0)
	}
	binary.LittleEndian.PutUint32(h[8:], uint32(len(text)))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(data)))
	return slices.Concat(h, text, []byte(data))
}

// vssStore is a store of 0x400 bytes.
func vssStore(records ...[]byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 0x400)
	copy(b, "$VSS\x00\x04\x00\x00\x5a\xfe\x00\x00\x00\x00\x00\x00")
	copy(b[16:], slices.Concat(records...))
	return b
}

// vendorBoard is a volume of variables as vendors have it, with a map behind
// the store, and a volume of code.
func vendorBoard(store []byte) []byte {
	flashMap := append([]byte("_FLASH_MAP\x01\x00\x00\x00\x00\x00"), bytes.Repeat([]byte{7}, 36)...)
	return slices.Concat(
		buildVolume(string(ffs.SystemNVData), 0x1000, slices.Concat(store, []byte("more"), flashMap)),
		buildVolume(string(ffs.FileSystem2), 0x1000, driver(driverA, "first driver")),
	)
}

func TestVendorsVariables(t *testing.T) {
	image := vendorBoard(vssStore(vssVariable("Setup", "on"), vssVariable("Lang", "en")))
	m := Parse("bios", image)
	requirePartition(t, m)
	leaf := leafAt(t, m, string(ffs.SystemNVData)+"/vss/Setup-00000000-0000-0000-0000-000000000000")
	require.Equal(t, Volatile, leaf.Kind)
	require.Equal(t, typeVariable, leaf.Type)
	require.Equal(t, Data, leafAt(t, m, string(ffs.SystemNVData)+"/flashmap").Kind)
	require.Equal(t, Unknown, leafAt(t, m, string(ffs.SystemNVData)+"/vss+gap").Kind)

	refs := DraftReferences(nil, []*Image{m})
	code := slices.Clone(vssStore(vssVariable("Setup", "off"), vssVariable("Boot", string(peImage()))))
	between := slices.Clone(image)
	between[72+0x400+1] ^= 1
	for name, c := range map[string]struct {
		image []byte
		code  finding.Code
	}{
		"another setting":             {vendorBoard(vssStore(vssVariable("Setup", "off"))), ""},
		"an executable in a variable": {vendorBoard(code), finding.ForeignBytes},
		"bytes between the stores":    {between, finding.ForeignBytes},
	} {
		t.Run(name, func(t *testing.T) {
			got := Match(refs, []*Image{Parse("bios", c.image)}, nil)
			if c.code == "" {
				require.Empty(t, got.Findings)
				return
			}
			require.NotEmpty(t, got.Findings)
			require.Equal(t, c.code, got.Findings[0].Code)
		})
	}
}

// Nobody makes code volatile by writing the mark of a store before it: what may
// change is what the reference declares, and its place and length with it.
func TestCodeDoesNotBecomeVolatile(t *testing.T) {
	golden := slices.Concat(
		buildVolume(string(ffs.SystemNVData), 0x1000, slices.Concat(vssStore(vssVariable("Setup", "on")), bytes.Repeat([]byte("code that firmware calls"), 40))),
		buildVolume(string(ffs.FileSystem2), 0x1000, driver(driverA, "first driver")),
	)
	refs := DraftReferences(nil, []*Image{Parse("bios", golden)})
	require.Empty(t, Match(refs, []*Image{Parse("bios", golden)}, nil).Findings)
	attacks := map[string]func([]byte){
		"a second store over the bytes behind the first": func(b []byte) { copy(b[72+0x400:], vssStore()[:0x300]); b[72+0x400+5] = 3 },
		"the first store grows":                          func(b []byte) { b[72+5] = 7 },
		"a volume of code becomes one of variables": func(b []byte) {
			copy(b[0x1000:], buildVolume(string(ffs.SystemNVData), 0x1000, vssStore()))
		},
		"a store in the code's volume": func(b []byte) { copy(b[0x1000+72+24:], vssStore()[:0x100]) },
	}
	for name, attack := range attacks {
		t.Run(name, func(t *testing.T) {
			b := slices.Clone(golden)
			attack(b)
			require.NotEmpty(t, Match(refs, []*Image{Parse("bios", b)}, nil).Findings)
		})
	}
}

// Everything is asked everywhere whether it begins a store.
func TestLookingForStoresIsCheap(t *testing.T) {
	for _, mark := range []string{"$VSS\xff\xff\xff\x00\x5a000", "Fsys00000\xff\xff0", "_FDC\xff\xff\x0f\x00", "\xec0\xff\xffEVSA0000\xff\xff\x0f\x00", "\x2b\x29\x58\x9e"} {
		body := bytes.Repeat([]byte(mark), 7<<20/len(mark))
		Parse("bios", buildVolume(string(ffs.SystemNVData), 8<<20, body)).Open()
	}
}
