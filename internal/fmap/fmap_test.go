package fmap

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func flash(areas ...Area) []byte {
	b := make([]byte, header)
	copy(b, Signature)
	b[8] = 1
	binary.LittleEndian.PutUint16(b[54:], uint16(len(areas)))
	for _, a := range areas {
		e := make([]byte, entry)
		binary.LittleEndian.PutUint32(e, uint32(a.Offset))
		binary.LittleEndian.PutUint32(e[4:], uint32(a.Length))
		copy(e[8:40], a.Name)
		b = append(b, e...)
	}
	return b
}

func TestFind(t *testing.T) {
	want := []Area{{"BIOS", 0, 0x1000}, {"COREBOOT", 0x200, 0xe00}}
	got, ok := Find(append([]byte("xx__FMAP__not this one"), flash(want...)...))
	require.True(t, ok)
	require.Equal(t, want, got)
	got, ok = Find(flash(Area{"A b/c\x1b", 1, 2}))
	require.True(t, ok)
	require.Equal(t, "A_b_c_", got[0].Name)
	for name, b := range map[string][]byte{
		"cut off": flash(want...)[:header+entry], "no areas": flash(), "nothing": nil,
		"other version": append([]byte(Signature+"\x02"), make([]byte, 200)...),
	} {
		_, ok := Find(b)
		require.False(t, ok, name)
	}
}

// Maps of another project's tests.
func TestRecordedMaps(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "coreboot")
	b, err := os.ReadFile(filepath.Join(dir, "fiano-coreboot.rom"))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/coreboot/fiano-coreboot.rom")
	}
	got, ok := Find(b)
	require.True(t, ok)
	require.Equal(t, []Area{{"BIOS", 0, 0x40000}, {"FMAP", 0, 0x200}, {"COREBOOT", 0x200, 0x3fe00}}, got)
	b, err = os.ReadFile(filepath.Join(dir, "fiano-fmap-fake_test.flash"))
	require.NoError(t, err)
	got, ok = Find(b)
	require.True(t, ok)
	require.Equal(t, Area{"Area_Number_1", 0xdeadbeef, 0x11111111}, got[0])
}

func FuzzFind(f *testing.F) {
	f.Add(flash(Area{"BIOS", 0, 0x1000}))
	f.Fuzz(func(t *testing.T, b []byte) {
		areas, ok := Find(b)
		if ok != (len(areas) > 0) || len(areas) > MaxAreas {
			t.Fatalf("%d areas", len(areas))
		}
	})
}
