package cbfs

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func entry(name string, t Type, data string) []byte {
	b := make([]byte, header)
	copy(b, Signature)
	name += "\x00"
	binary.BigEndian.PutUint32(b[8:], uint32(len(data)))
	binary.BigEndian.PutUint32(b[12:], uint32(t))
	binary.BigEndian.PutUint32(b[20:], uint32(header+len(name)))
	b = append(b, name+data...)
	for len(b)%align != 0 {
		b = append(b, 0xff)
	}
	return b
}

func TestFiles(t *testing.T) {
	b := append(entry("fallback/romstage", 0x10, "code"), entry("", deleted, "room")...)
	got := Parse(append(b, "LARCHIVE and no more"...))
	require.Equal(t, []File{
		{Offset: 0, Length: header + 18 + 4, Name: "fallback/romstage", Type: 0x10}, {Offset: 64, Length: header + 1 + 4, Type: deleted},
	}, got)
	require.False(t, got[0].Empty())
	require.True(t, got[1].Empty())
	binary.BigEndian.PutUint32(b[8:], 0xffffffff)
	require.Empty(t, Parse(b), "a length is a claim")
	b = entry("x", 0x50, "")
	binary.BigEndian.PutUint32(b[20:], 8)
	require.Empty(t, Parse(b), "contents inside the header")
}

// The files that coreboot's own tool lists.
func TestRecordedImage(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "coreboot", "fiano-coreboot.rom"))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/coreboot/fiano-coreboot.rom")
	}
	var names []string
	for _, f := range Parse(b[0x200:]) {
		names = append(names, f.Type.String()+" "+f.Name)
	}
	require.Equal(t, []string{
		"CBFS header cbfs_master_header", "stage fallback/romstage", "stage fallback/ramstage", "raw config", "raw revision", "CMOS layout cmos_layout.bin",
		"raw fallback/dsdt.aml", "payload fallback/payload", "empty ", "raw compression_test1", "raw compression_test2", "empty ", "bootblock bootblock",
	}, names)
}

func FuzzParse(f *testing.F) {
	f.Add(append(entry("a", 0x50, "data"), entry("", deleted, "")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := 0
		for _, c := range Parse(b) {
			if c.Offset < end || c.Length < header || c.Offset+c.Length > len(b) {
				t.Fatalf("file at %d of %d bytes in %d", c.Offset, c.Length, len(b))
			}
			end = c.Offset + c.Length
		}
	})
}
