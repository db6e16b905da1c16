package jffs2

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/filetree"
)

// node makes a node whose checksums hold.
func node(order binary.ByteOrder, kind uint16, body []byte) []byte {
	b := make([]byte, headLen, headLen+len(body))
	order.PutUint16(b, magic)
	order.PutUint16(b[2:], kind)
	order.PutUint32(b[4:], uint32(headLen+len(body)))
	order.PutUint32(b[8:], crc(b[:8]))
	b = append(b, body...)
	switch kind {
	case typeDirent:
		order.PutUint32(b[32:], crc(b[:32]))
		order.PutUint32(b[36:], crc(b[direntLen:]))
	case typeInode:
		order.PutUint32(b[60:], crc(b[inodeLen:]))
		order.PutUint32(b[64:], crc(b[:60]))
	}
	for len(b)%4 != 0 {
		b = append(b, 0xff)
	}
	return b
}

func name(order binary.ByteOrder, parent, version, inode uint32, name string) []byte {
	body := make([]byte, direntLen-headLen)
	order.PutUint32(body, parent)
	order.PutUint32(body[4:], version)
	order.PutUint32(body[8:], inode)
	body[16] = byte(len(name))
	return node(order, typeDirent, append(body, name...))
}

func contents(order binary.ByteOrder, inode, version uint32, mode uint16, size, offset int, data string) []byte {
	body := make([]byte, inodeLen-headLen)
	order.PutUint32(body, inode)
	order.PutUint32(body[4:], version)
	order.PutUint32(body[8:], uint32(mode))
	order.PutUint32(body[16:], uint32(size))
	order.PutUint32(body[32:], uint32(offset))
	order.PutUint32(body[36:], uint32(len(data)))
	order.PutUint32(body[40:], uint32(len(data)))
	return node(order, typeInode, append(body, data...))
}

func lines(t *testing.T, b []byte) []string {
	t.Helper()
	fs, err := Parse(b, 1000)
	require.NoError(t, err)
	var out []string
	for _, e := range fs.Entries[1:] {
		out = append(out, e.String()+" "+string(e.Content))
	}
	return out
}

func TestNewestVersionWins(t *testing.T) {
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		fs := slices.Concat(
			name(o, 1, 1, 2, "log"), name(o, 1, 2, 3, "gone"), name(o, 1, 1, 4, "moved"),
			contents(o, 2, 3, 0o100600, 6, 3, "NEW"), contents(o, 2, 1, 0o100644, 8, 0, "old file"), // written out of order
			contents(o, 3, 1, 0o100644, 1, 0, "x"), contents(o, 4, 1, 0o100644, 1, 0, "y"), contents(o, 5, 1, 0o100644, 1, 0, "z"),
		)
		require.Equal(t, []string{"-0644 0:0 /gone 1 x", "-0600 0:0 /log 6 oldNEW", "-0644 0:0 /moved 1 y"}, lines(t, fs))
		fs = append(fs, slices.Concat(name(o, 1, 3, 0, "gone"), name(o, 1, 4, 5, "moved"))...)
		require.Equal(t, []string{"-0600 0:0 /log 6 oldNEW", "-0644 0:0 /moved 1 z"}, lines(t, fs))
		cut := append(fs, slices.Concat(contents(o, 2, 4, 0o100600, 2, 0, ""), contents(o, 2, 5, 0o100600, 5, 4, "!"))...)
		require.Equal(t, "-0600 0:0 /log 5 ol\x00\x00!", lines(t, cut)[0])
	}
}

func TestNodesThatDoNotHoldDoNotCount(t *testing.T) {
	o := binary.LittleEndian
	whole := slices.Concat(name(o, 1, 1, 2, "file"), contents(o, 2, 1, 0o100644, 3, 0, "one"))
	newer := contents(o, 2, 2, 0o100644, 3, 0, "two")
	require.Equal(t, []string{"-0644 0:0 /file 3 two"}, lines(t, append(bytes.Clone(whole), newer...)))
	newer[inodeLen] ^= 1
	b := append(bytes.Clone(whole), newer...)
	require.Equal(t, []string{"-0644 0:0 /file 3 one"}, lines(t, b))
	fs, err := Parse(b, 1000)
	require.NoError(t, err)
	require.Equal(t, 1, fs.Damaged)
	obsolete := name(o, 1, 9, 0, "file")
	obsolete[3] &^= 0x20 // a flash that can clear bits marks nodes so
	require.Equal(t, []string{"-0644 0:0 /file 3 one"}, lines(t, append(bytes.Clone(whole), obsolete...)))
	require.Equal(t, []string{"-0644 0:0 /file 3 one"}, lines(t, append(obsolete, whole...)))
	require.Equal(t, []string{"-0644 0:0 /file 3 one"}, lines(t, append(bytes.Repeat([]byte{0xff}, 2*page), whole...)), "blocks that are erased")
}

func TestDirectoryInsideOfItself(t *testing.T) {
	o := binary.LittleEndian
	b := slices.Concat(name(o, 1, 1, 2, "a"), contents(o, 2, 1, 0o40755, 0, 0, ""), name(o, 2, 1, 1, "up"), contents(o, 1, 1, 0o40755, 0, 0, ""))
	_, err := Parse(b, 1000)
	require.ErrorIs(t, err, filetree.ErrMalformed)
}

// A size is a claim.
func TestFileOfNothing(t *testing.T) {
	o := binary.LittleEndian
	b := slices.Concat(name(o, 1, 1, 2, "a"), contents(o, 2, 1, 0o100644, 1<<31, 0, ""))
	_, err := Parse(b, 1<<20)
	require.ErrorIs(t, err, filetree.ErrLimit)
}

func FuzzParse(f *testing.F) {
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		f.Add(slices.Concat(name(o, 1, 1, 2, "file"), contents(o, 2, 1, 0o100644, 3, 0, "one"), name(o, 1, 2, 0, "file")))
	}
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Parse(b, 1<<20) })
}

func FuzzRTime(f *testing.F) {
	f.Add([]byte("a\x00b\x00a\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := expandRTime(b, 100); err == nil && len(out) != 100 {
			t.Fatal(len(out))
		}
	})
}
