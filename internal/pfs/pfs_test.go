package pfs

import (
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func buildEntry(guid string, parts ...[]byte) []byte {
	h := make([]byte, 0x48)
	id, _ := hex.DecodeString(guid)
	slices.Reverse(id)
	copy(h, id)
	h[16] = 1
	copy(h[0x14:], "NNA ")
	copy(h[0x18:], []byte{1, 0, 26, 0, 26, 0})
	for i, p := range parts {
		binary.LittleEndian.PutUint32(h[0x28+4*i:], uint32(len(p)))
	}
	return append(h, slices.Concat(parts...)...)
}

func build(entries ...[]byte) []byte {
	payload := slices.Concat(entries...)
	h, f := make([]byte, header), make([]byte, footer)
	copy(h, "PFS.HDR.")
	h[8] = 1
	binary.LittleEndian.PutUint32(h[12:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(f, uint32(len(payload)))
	binary.LittleEndian.PutUint32(f[4:], ^crc32.ChecksumIEEE(payload))
	copy(f[8:], "PFS.FTR.")
	return slices.Concat(h, payload, f)
}

func buildSection(kind byte, stream []byte) []byte {
	h, f := make([]byte, sectionHead), make([]byte, sectionHead)
	binary.LittleEndian.PutUint32(h, uint32(len(stream)))
	h[4] = kind
	copy(h[5:], sectionMark)
	h[15] = xor(h)
	binary.LittleEndian.PutUint32(f, uint32(len(stream)))
	copy(f[4:], footerMark)
	f[15] = xor(f)
	return slices.Concat(h, stream, f)
}

// guarded is a block for BIOS Guard with its description.
func guarded(at, scriptAt uint32, data string) []byte {
	h := make([]byte, 0x30)
	copy(h[4:], "DELL")
	script := make([]byte, 24)
	script[0], script[16] = 1, 0xff
	binary.LittleEndian.PutUint32(script[12:], scriptAt)
	binary.LittleEndian.PutUint32(h[0x1c:], 24)
	binary.LittleEndian.PutUint32(h[0x20:], uint32(len(data)))
	meta := make([]byte, 0x19)
	binary.LittleEndian.PutUint32(meta, 0xff000000+at)
	binary.LittleEndian.PutUint32(meta[8:], at)
	binary.LittleEndian.PutUint32(meta[12:], uint32(len(data)))
	return buildEntry(one, slices.Concat(h, script, []byte(data)), []byte("signature"), meta)
}

const one = "00112233445566778899AABBCCDDEEFF"

func nameOf(guid, name string) []byte {
	id, _ := hex.DecodeString(guid)
	slices.Reverse(id)
	b := slices.Concat([]byte{1, 0, 0, 0}, id, []byte{2, 0, 3, 0, 0, 0, 0, 0}, []byte("NN  "), []byte{byte(len(name)), 0})
	for _, c := range name {
		b = append(b, byte(c), 0)
	}
	return append(b, 0, 0)
}

func TestVolume(t *testing.T) {
	b := build(
		buildEntry(one, []byte("bios"), []byte("signature"), []byte("about"), []byte("signs about")),
		buildEntry(one, []byte("again")),
		buildEntry(namesOne, slices.Concat(nameOf(one, "System BIOS"), nameOf(one, "Second"))),
	)
	v, err := Parse(append(b, "behind"...))
	require.NoError(t, err)
	require.Empty(t, v.Problems)
	require.Equal(t, len(b), v.Size)
	require.Len(t, v.Entries, 3)
	require.Equal(t, Entry{one, "System BIOS", "2.3", []byte("bios"), []byte("signature"), []byte("about"), []byte("signs about")}, v.Entries[0])
	require.Equal(t, "Second", v.Entries[1].Name)
	require.Equal(t, "1.26.1A", v.Entries[2].Version)
	require.False(t, v.Guarded())
}

func TestChecksumsAndLengths(t *testing.T) {
	good := build(buildEntry(one, []byte("bios")))
	for name, c := range map[string]struct {
		edit func([]byte)
		why  string
	}{
		"a bit of the data":    {func(b []byte) { b[header+0x48] ^= 1 }, "checksum"},
		"length in the footer": {func(b []byte) { b[len(b)-footer]++ }, "length"},
		"no footer":            {func(b []byte) { b[len(b)-1] = 0 }, "no footer"},
		"length of an entry":   {func(b []byte) { b[header+0x2b] = 0xff }, "checksum"},
	} {
		b := slices.Clone(good)
		c.edit(b)
		v, err := Parse(b)
		require.NoError(t, err)
		require.NotEmpty(t, v.Problems, name)
		require.Contains(t, v.Problems[0], c.why, name)
	}
	b := slices.Clone(good)
	b[15] = 1
	_, err := Parse(b)
	require.ErrorIs(t, err, ErrMalformed)
}

func TestSections(t *testing.T) {
	b := slices.Concat([]byte("MZ program"), buildSection(0xaa, []byte("stream one")), []byte("between"), buildSection(0xbb, []byte("stream two")), []byte(sectionMark))
	got := Sections(b)
	require.Len(t, got, 2)
	require.Equal(t, Section{"firmware", 10, 42, []byte("stream one")}, got[0])
	require.Equal(t, "utilities", got[1].Kind)
	require.Equal(t, "stream two", string(got[1].Stream))
	require.True(t, BeginsSection(b[10:]))
	for _, at := range []int{10, 14, 25, 10 + 16 + 10 + 3, 10 + 42 - 1} {
		broken := slices.Clone(b)
		broken[at] ^= 0x10
		require.Len(t, Sections(broken), 1, at)
	}
}

func TestBlocksBecomeAnImage(t *testing.T) {
	v, err := Parse(build(guarded(8, 8, "second"), guarded(0, 0, "first"), guarded(16, 24, "third")))
	require.NoError(t, err)
	require.True(t, v.Guarded())
	image, problems, err := v.Image(100)
	require.NoError(t, err)
	require.Equal(t, "first\xff\xff\xffsecond\xff\xffthird", string(image))
	require.Len(t, problems, 1)
	require.Contains(t, problems[0], "0x18")
	v, err = Parse(build(guarded(0xfffffff0, 0, "far away")))
	require.NoError(t, err)
	_, _, err = v.Image(1 << 20)
	require.ErrorIs(t, err, ErrLimit)
}

func FuzzParse(f *testing.F) {
	f.Add(build(buildEntry(one, []byte("bios"), []byte("s")), buildEntry(namesOne, nameOf(one, "System BIOS"))))
	f.Add(build(guarded(8, 8, "second"), guarded(0, 0, "first")))
	f.Add(slices.Concat([]byte("MZ"), buildSection(0xaa, []byte("stream"))))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Parse(b)
		if err == nil && v.Size > len(b) {
			t.Fatal(v.Size)
		}
		if image, _, err := v.Image(1 << 20); err == nil && len(image) > 1<<20 {
			t.Fatal(len(image))
		}
		end := 0
		for _, s := range Sections(b) {
			if s.Offset < end || s.Offset+s.Length > len(b) {
				t.Fatal(s.Offset, s.Length)
			}
			end = s.Offset + s.Length
		}
	})
}
