package iflash

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func build(tag, data string, padding int) []byte {
	h := make([]byte, header)
	copy(h, mark+tag)
	binary.LittleEndian.PutUint32(h[16:], uint32(len(data)+padding))
	binary.LittleEndian.PutUint32(h[20:], uint32(len(data)))
	return slices.Concat(h, []byte(data), make([]byte, padding))
}

func TestImages(t *testing.T) {
	b := slices.Concat([]byte("MZ program"), build("_BIOSIMG", "firmware", 3), build("_NEW_IMG", "x", 0), []byte("rest"))
	require.Equal(t, []Image{{"BIOSIMG", "BIOS", 10, 35, []byte("firmware")}, {"NEW_IMG", "", 45, 25, []byte("x")}}, Find(b))
	for _, at := range []int{10 + 19, 10 + 23} { // longer than the file, or than itself
		c := slices.Clone(b)
		c[at] = 0xff
		require.Len(t, Find(c), 1)
	}
	require.Empty(t, Find([]byte("program with the text $_IFLASH")))
}

func FuzzFind(f *testing.F) {
	f.Add(slices.Concat([]byte("MZ program"), build("_BIOSIMG", "firmware", 3), build("_NEW_IMG", "x", 0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := 0
		for _, i := range Find(b) {
			if i.Offset < end || i.Offset+i.Length > len(b) || len(i.Data) > i.Length {
				t.Fatal(i.Offset, i.Length)
			}
			end = i.Offset + i.Length
		}
	})
}
