package ffs

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// header returns the least volume of a file system, with its checksum right.
func header(fs []byte, length int) []byte {
	b := bytes.Repeat([]byte{0xff}, length)
	clear(b[:72])
	copy(b[16:], fs)
	binary.LittleEndian.PutUint64(b[32:], uint64(length))
	copy(b[40:], "_FVH")
	binary.LittleEndian.PutUint32(b[44:], erasePolarity)
	binary.LittleEndian.PutUint16(b[48:], 72)
	b[55] = 2
	binary.LittleEndian.PutUint32(b[56:], 1)
	binary.LittleEndian.PutUint32(b[60:], uint32(length))
	binary.LittleEndian.PutUint16(b[50:], -sum16(b[:72]))
	return b
}

var (
	fs2 = []byte("\x78\xe5\x8c\x8c\x3d\x8a\x1c\x4f\x99\x35\x89\x61\x85\xc3\x2d\xd3")
	fs3 = []byte("\x7a\xc0\x73\x54\xcb\x3d\xca\x4d\xbd\x6f\x1e\x96\x89\xe7\x34\x9a")
)

func TestVolume(t *testing.T) {
	v, ok := ParseVolume(header(fs2, 0x200))
	require.True(t, ok)
	require.Equal(t, Volume{FileSystem: FileSystem2, Length: 0x200, Header: 72, Erased: 0xff}, v)
	require.True(t, v.HasFiles())
	_, ok = ParseVolume(header(fs2, 0x200)[:0x1ff])
	require.False(t, ok, "longer than its bytes")
	b := header(fs2, 0x200)
	b[45] = 0
	_, ok = ParseVolume(b)
	require.False(t, ok, "checksum")
}

// A large file is one of the third file system only; in the second, firmware
// reads the attribute as something else (UEFI PI 1.8, volume 3, 3.2.3).
func TestLargeFile(t *testing.T) {
	f := make([]byte, 64)
	f[18], f[19] = byte(Freeform), fileLarge
	binary.LittleEndian.PutUint64(f[24:], 40)
	var sum byte
	for _, c := range f[:32] {
		sum += c
	}
	f[16] = -sum
	v3, _ := ParseVolume(header(fs3, 0x200))
	got, ok := v3.ParseFile(f)
	require.True(t, ok)
	require.Equal(t, 40, got.Length)
	require.Equal(t, 32, got.Header)
	v2, _ := ParseVolume(header(fs2, 0x200))
	_, ok = v2.ParseFile(f)
	require.False(t, ok)
	binary.LittleEndian.PutUint64(f[24:], 1<<60)
	_, ok = v3.ParseFile(f)
	require.False(t, ok, "longer than any volume")
}

func TestSections(t *testing.T) {
	guid := strings.Repeat("g", 16)
	tests := map[string]struct {
		b    string
		want Section
	}{
		"plain":       {"\x06\x00\x00\x10ab", Section{Type: PE32, Length: 6, Data: 4}},
		"extended":    {"\xff\xff\xff\x19\x0a\x00\x00\x00ab", Section{Type: RawSection, Length: 10, Data: 8}},
		"compression": {"\x0a\x00\x00\x01\x10\x00\x00\x00\x01x", Section{Type: Compression, Length: 10, Data: 9, Expanded: 16, Method: 1}},
		"guided": {"\x1a\x00\x00\x02" + guid + "\x18\x00\x01\x00ab", Section{
			Type: GUIDDefined, Length: 26, Data: 24, GUID: GUIDAt([]byte(guid)), Attributes: ProcessingRequired,
		}},
		"subtype": {"\x15\x00\x00\x18" + guid + "x", Section{Type: Subtype, Length: 21, Data: 20, GUID: GUIDAt([]byte(guid))}},
		"version": {"\x08\x00\x00\x14\x01\x00\x31\x00", Section{Type: Version, Length: 8, Data: 6}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, ok := ParseSection([]byte(tt.b + "behind"))
			require.True(t, ok)
			require.Equal(t, tt.want, got)
			_, ok = ParseSection([]byte(tt.b[:len(tt.b)-1]))
			require.False(t, ok)
		})
	}
	for name, b := range map[string]string{
		"shorter than its header": "\x03\x00\x00\x10abcd",
		"no length":               "\x00\x00\x00\x19abcd",
		"extended too short":      "\xff\xff\xff\x19\x07\x00\x00\x00",
		"data behind the section": "\x18\x00\x00\x02" + guid + "\x19\x00\x01\x00ab",
		"data inside the header":  "\x1a\x00\x00\x02" + guid + "\x08\x00\x01\x00ab",
		"version without number":  "\x05\x00\x00\x14\x01",
	} {
		_, ok := ParseSection([]byte(b))
		require.False(t, ok, name)
	}
}

func TestNames(t *testing.T) {
	require.Equal(t, "DXEFV", NameOf("7CB8BDC9-F8EB-4F34-AAEA-3EE4AF6516A1"))
	require.Empty(t, NameOf("00000000-0000-0000-0000-000000000000"))
	require.Empty(t, NameOf("DXEFV"))
	require.Equal(t, "file type 0x42", FileType(0x42).String())
	require.Equal(t, "section-0x42", SectionType(0x42).String())
	for i := range 256 {
		require.NotEmpty(t, FileType(i).String())
		require.NotEmpty(t, SectionType(i).String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(header(fs3, 0x100))
	f.Add([]byte("\x1a\x00\x00\x02" + strings.Repeat("g", 16) + "\x18\x00\x01\x00ab"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, ok := ParseVolume(b)
		if ok && (v.Length > len(b) || v.Header > v.Length) {
			t.Fatalf("volume of %d bytes in %d", v.Length, len(b))
		}
		if f, ok := v.ParseFile(b); ok && (f.Length > len(b) || f.Header > f.Length) {
			t.Fatalf("file of %d bytes in %d", f.Length, len(b))
		}
		if s, ok := ParseSection(b); ok && (s.Length > len(b) || s.Data > s.Length || s.Data < 4) {
			t.Fatalf("section of %d bytes in %d", s.Length, len(b))
		}
	})
}
