package ubi

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// peb makes an erase block of 4 KiB with the headers given and data behind.
func peb(volume, number uint32, kind byte, seq uint64, data string) []byte {
	b := bytes.Repeat([]byte{0xff}, 4096)
	be := binary.BigEndian
	clear(b[:128])
	copy(b, "UBI#\x01")
	be.PutUint32(b[16:], 64)
	be.PutUint32(b[20:], 128)
	be.PutUint32(b[60:], crc(b[:60]))
	v := b[64:128]
	copy(v, "UBI!\x01")
	v[5] = kind
	be.PutUint32(v[8:], volume)
	be.PutUint32(v[12:], number)
	be.PutUint32(v[20:], uint32(len(data)))
	be.PutUint32(v[24:], 1)
	be.PutUint32(v[32:], crc([]byte(data)))
	be.PutUint64(v[40:], seq)
	be.PutUint32(v[60:], crc(v[:60]))
	copy(b[128:], data)
	return b
}

func layout(names ...string) []byte {
	b := make([]byte, 0, 4096)
	for i := range (4096 - 128) / recordLen {
		r := make([]byte, recordLen)
		if i < len(names) {
			binary.BigEndian.PutUint32(r, 1)
			r[12] = staticType
			binary.BigEndian.PutUint16(r[14:], uint16(len(names[i])))
			copy(r[16:], names[i])
		}
		binary.BigEndian.PutUint32(r[168:], crc(r[:168]))
		b = append(b, r...)
	}
	return peb(layoutID, 0, 1, 1, string(b))
}

func free() []byte {
	b := peb(0, 0, 1, 0, "")
	for i := range b[64:128] {
		b[64+i] = 0xff
	}
	return b
}

func TestNewerBlockWins(t *testing.T) {
	m, err := Parse(slices.Concat(layout("kernel"), peb(0, 0, staticType, 7, "new"), free(), peb(0, 0, staticType, 5, "old")), 1<<20)
	require.NoError(t, err)
	require.Empty(t, m.Damaged)
	require.Empty(t, m.Unused)
	require.Equal(t, []Volume{{Name: "kernel", Static: true, Content: []byte("new")}}, m.Volumes)
	require.True(t, bytes.HasPrefix(m.Superseded, []byte("old")))
}

// A block that was being moved when power went counts only when it is whole.
func TestCopyThatDidNotArrive(t *testing.T) {
	copied := peb(0, 0, staticType, 7, "new")
	copied[64+6] = 1
	binary.BigEndian.PutUint32(copied[124:], crc(copied[64:124]))
	for _, want := range []string{"new", "old"} {
		m, err := Parse(slices.Concat(layout("kernel"), copied, peb(0, 0, staticType, 5, "old")), 1<<20)
		require.NoError(t, err)
		require.Equal(t, want, string(m.Volumes[0].Content))
		copied[128] ^= 1
	}
}

// Where nothing belongs, bytes are named wherever they lie.
func TestBytesInNoVolume(t *testing.T) {
	base := slices.Concat(layout("kernel"), peb(0, 0, staticType, 7, "kernel"), free())
	for what, at := range map[string]int{"behind the data of a static volume": 4096 + 200, "in a free block": 8192 + 300} {
		b := bytes.Clone(base)
		copy(b[at:], "implant")
		m, err := Parse(b, 1<<20)
		require.NoError(t, err)
		require.Contains(t, string(m.Unused), "implant", what)
		require.Equal(t, "kernel", string(m.Volumes[0].Content))
	}
	m, err := Parse(append(bytes.Clone(base), bytes.Repeat([]byte("implant!"), 512)...), 1<<20)
	require.NoError(t, err)
	require.Contains(t, string(m.Unused), "implant")
}

func TestVolumeThatDoesNotHold(t *testing.T) {
	b := slices.Concat(layout("kernel"), peb(0, 0, staticType, 7, "kernel"))
	b[4096+128] ^= 1
	m, err := Parse(b, 1<<20)
	require.NoError(t, err)
	require.Contains(t, m.Volumes[0].Damaged, "checksum")
	_, err = Parse(slices.Concat(peb(0, 60000, 1, 1, "far")), 1<<20)
	require.ErrorIs(t, err, ErrLimit)
}

func TestExtent(t *testing.T) {
	b := slices.Concat(free(), free())
	require.Equal(t, 8192, Extent(append(bytes.Clone(b), "something else"...)))
	require.Equal(t, 3*8192, Extent(append(bytes.Clone(b), bytes.Repeat([]byte{0xff}, 2*8192)...)))
}

func FuzzParse(f *testing.F) {
	f.Add(slices.Concat(layout("kernel"), peb(0, 0, staticType, 7, "new"), free(), peb(0, 0, staticType, 5, "old")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := Parse(b, 1<<20); err == nil && m.Blocks > len(b) {
			t.Fatal(m.Blocks)
		}
		Extent(b)
	})
}
