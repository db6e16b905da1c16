package jffs2

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
	fs, err := Parse(b, 1000, nil)
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
	fs, err := Parse(b, 1000, nil)
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
	fs, err := Parse(b, 1000, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a/up"}, fs.Twice)
	require.Len(t, fs.Entries, 2)
}

// A rename that was cut off leaves a directory under two names; what lies behind
// it is read all the same.
func TestDirectoryOfTwoNames(t *testing.T) {
	o := binary.LittleEndian
	b := slices.Concat(name(o, 1, 1, 2, "old"), contents(o, 2, 1, 0o40755, 0, 0, ""), name(o, 2, 1, 3, "file"), contents(o, 3, 1, 0o100644, 1, 0, "x"), name(o, 1, 2, 2, "new"))
	require.Equal(t, []string{"d0755 0:0 /old - ", "-0644 0:0 /old/file 1 x"}, lines(t, b))
	require.Equal(t, []string{"d0000 0:0 new -> /old "}, past(t, b))
}

// A size is a claim.
func TestFileOfNothing(t *testing.T) {
	o := binary.LittleEndian
	b := slices.Concat(name(o, 1, 1, 2, "a"), contents(o, 2, 1, 0o100644, 1<<31, 0, ""))
	fs, err := Parse(b, 1<<20, nil)
	require.NoError(t, err)
	require.Equal(t, int64(1<<31), fs.Entries[1].Size)
	require.Empty(t, fs.Entries[1].Content)
	hole := contents(o, 2, 2, 0o100644, 1<<31, 1<<30, "x")
	fs, err = Parse(append(b, hole...), 1<<20, nil)
	require.NoError(t, err)
	require.Equal(t, "it is nearly all holes", fs.Entries[1].Broken)
}

// past lists what is there besides of what is shown, without the digests.
func past(t *testing.T, b []byte) []string {
	t.Helper()
	fs, err := Parse(b, 1<<20, nil)
	require.NoError(t, err)
	out := []string{}
	for _, e := range fs.Past {
		e.Path = e.Path[:strings.LastIndexByte(e.Path, '~')]
		out = append(out, strings.Replace(e.String(), " /", " ", 1)+" "+string(e.Content))
	}
	return out
}

// What a kernel may see, but for one node that it does not read, is told.
func TestVersionsThatAreNotTheNewest(t *testing.T) {
	o := binary.LittleEndian
	b := slices.Concat(name(o, 1, 1, 2, "rc"), contents(o, 2, 1, 0o100755, 4, 0, "evil"))
	require.Empty(t, past(t, b), "what is shown")
	moved := append(bytes.Clone(b), contents(o, 2, 2, 0o100755, 4, 0, "evil")...)
	require.Empty(t, past(t, moved), "a node that was written anew")
	require.Empty(t, past(t, append(moved, contents(o, 2, 3, 0o100755, 9, 4, " more")...)), "a file that grew")
	other := []string{"-0755 0:0 rc 4 evil"}
	require.Equal(t, other, past(t, append(bytes.Clone(b), name(o, 1, 2, 0, "rc")...)), "removed")
	require.Equal(t, other, past(t, append(bytes.Clone(b), contents(o, 2, 2, 0o100755, 4, 0, "good")...)), "overwritten")
	require.Equal(t, other, past(t, append(bytes.Clone(b), contents(o, 2, 2, 0o100644, 4, 0, "evil")...)), "without the right to run")
	require.Equal(t, other, past(t, append(bytes.Clone(b), slices.Concat(name(o, 1, 2, 3, "rc"), contents(o, 3, 1, 0o100644, 4, 0, "good"))...)), "another file of the name")
	good := slices.Concat(name(o, 1, 1, 2, "rc"), contents(o, 2, 1, 0o100644, 4, 0, "good"))
	inside := contents(o, 9, 1, 0o100644, 1<<10, 0, string(append(bytes.Clone(b), make([]byte, 8)...)))
	require.Equal(t, other, past(t, append(bytes.Clone(good), inside...)), "in the data of another node")
	be := binary.BigEndian
	swapped := slices.Concat(name(be, 1, 1, 2, "rc"), contents(be, 2, 1, 0o100755, 4, 0, "evil"))
	require.Equal(t, other, past(t, append(bytes.Clone(good), swapped...)), "of the other byte order")
	require.Empty(t, past(t, slices.Concat(good, name(o, 1, 2, 3, "rc+"), contents(o, 3, 1, 0o100600, 4, 0, "good"), name(o, 1, 3, 0, "rc+"))), "as it was written, before it got its name")
}

// A kernel takes names from the summary at the end of a block.
func TestNamesOfASummary(t *testing.T) {
	o := binary.LittleEndian
	block := bytes.Repeat([]byte{0xff}, page)
	copy(block, slices.Concat(name(o, 1, 1, 2, "log"), contents(o, 2, 1, 0o100644, 4, 0, "evil")))
	entry := make([]byte, 24, 26)
	o.PutUint16(entry, typeDirent)
	o.PutUint32(entry[10:], 1)
	o.PutUint32(entry[18:], 2)
	entry[22] = 2
	const at = 2048
	sum := make([]byte, page-at)
	o.PutUint16(sum, magic)
	o.PutUint16(sum[2:], typeSummary)
	o.PutUint32(sum[4:], page-at)
	o.PutUint32(sum[8:], crc(sum[:8]))
	o.PutUint32(sum[12:], 1)
	o.PutUint32(sum[28:], crc(sum[:24]))
	copy(sum[sumLen:], append(entry, "rc"...))
	o.PutUint32(sum[len(sum)-8:], at)
	o.PutUint32(sum[len(sum)-4:], sumMagic)
	copy(block[at:], sum)
	require.Equal(t, []string{"-0644 0:0 rc 4 evil"}, past(t, block))
}

func FuzzParse(f *testing.F) {
	for _, o := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		f.Add(slices.Concat(name(o, 1, 1, 2, "file"), contents(o, 2, 1, 0o100644, 3, 0, "one"), name(o, 1, 2, 0, "file")))
	}
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Parse(b, 1<<20, nil) })
}

func FuzzRTime(f *testing.F) {
	f.Add([]byte("a\x00b\x00a\x02"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if out, err := expandRTime(b, 100); err == nil && len(out) != 100 {
			t.Fatal(len(out))
		}
	})
}
