package tdk

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func build(program string, files ...File) []byte {
	b := []byte(program)
	var list []byte
	for _, f := range files {
		e := make([]byte, entry)
		copy(e, f.Name)
		binary.LittleEndian.PutUint32(e[0x100:], uint32(len(b)))
		binary.LittleEndian.PutUint32(e[0x104:], uint32(len(f.Data)))
		if f.Compressed {
			e[0x108] = 1
		} else {
			binary.LittleEndian.PutUint32(e[0x108:], f.Unknown)
		}
		list = append(list, e...)
		b = append(b, f.Data...)
	}
	h := make([]byte, header+reserved)
	copy(h, mark)
	binary.LittleEndian.PutUint32(h[8:], uint32(len(h)+len(list)))
	binary.LittleEndian.PutUint32(h[12:], uint32(len(files)))
	return slices.Concat(b, h, list)
}

func TestFiles(t *testing.T) {
	want := []File{{"BIOS.BIN", false, 0, []byte("firmware")}, {"tool.exe", true, 0, []byte("packed")}, {"x", false, 7, []byte("?")}}
	b := build("MZ program with the text $PACK\x00\x00\x00 in it"+string(make([]byte, 600)), want...)
	got, bad, ok := Find(b)
	require.True(t, ok)
	require.Zero(t, bad)
	require.Equal(t, want, got)
	b[len(b)-entry+0x103] = 1
	got, bad, ok = Find(b)
	require.True(t, ok)
	require.Equal(t, 1, bad)
	require.Len(t, got, 2)
	b[len(b)-3*entry-reserved-header+12] = 9
	_, _, ok = Find(b)
	require.False(t, ok, "a length that does not follow from the number of files")
}

func FuzzFind(f *testing.F) {
	f.Add(build("MZ program", File{Name: "BIOS.BIN", Data: []byte("firmware")}, File{Name: "x", Compressed: true, Data: []byte("?")}))
	f.Fuzz(func(_ *testing.T, b []byte) { Find(b) })
}
