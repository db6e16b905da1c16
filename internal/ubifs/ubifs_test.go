package ubifs

import (
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"github.com/stretchr/testify/require"
)

var le = binary.LittleEndian

// image puts nodes behind each other in blocks of 4 KiB; a node knows where it
// lies, so that an index can lead to it.
type image struct {
	b   []byte
	seq uint64
}

func (m *image) add(kind byte, body []byte) (at int) {
	b := make([]byte, headLen, headLen+len(body))
	b = append(b, body...)
	m.seq++
	le.PutUint32(b, magic)
	le.PutUint64(b[8:], m.seq)
	le.PutUint32(b[16:], uint32(len(b)))
	b[20] = kind
	le.PutUint32(b[4:], ^crc32.ChecksumIEEE(b[8:]))
	at = len(m.b)
	m.b = append(m.b, b...)
	for len(m.b)%8 != 0 {
		m.b = append(m.b, 0xff)
	}
	return at
}

func (m *image) super() {
	body := make([]byte, 4096-headLen)
	le.PutUint32(body[12:], 4096)
	m.add(superType, body)
}

func (m *image) inode(number uint32, mode uint32, size int) int {
	body := make([]byte, 160-headLen)
	le.PutUint32(body, number)
	le.PutUint64(body[24:], uint64(size))
	le.PutUint32(body[80:], mode)
	return m.add(inodeType, body)
}

func (m *image) data(number uint32, s string) int {
	body := make([]byte, 24, 24+len(s))
	le.PutUint32(body, number)
	le.PutUint32(body[4:], 1<<29)
	le.PutUint32(body[16:], uint32(len(s)))
	return m.add(dataType, append(body, s...))
}

func (m *image) name(parent, number uint32, s string) int {
	body := make([]byte, 32, 32+len(s))
	le.PutUint32(body, parent)
	le.PutUint64(body[16:], uint64(number))
	le.PutUint16(body[26:], uint16(len(s)))
	return m.add(direntType, append(body, s...))
}

// commit writes an index that leads to nodes.
func (m *image) commit(leaves ...int) {
	m.add(commitType, make([]byte, 8))
	body := make([]byte, 4, 4+20*len(leaves))
	le.PutUint16(body, uint16(len(leaves)))
	for _, at := range leaves {
		c := make([]byte, 20)
		le.PutUint32(c[4:], uint32(at))
		body = append(body, c...)
	}
	root := m.add(indexType, body)
	master := make([]byte, 512-headLen)
	le.PutUint32(master[28:], uint32(root))
	m.add(masterType, master)
}

func none(Compression, []byte, int) ([]byte, error) { return nil, io.ErrUnexpectedEOF }

func lines(t *testing.T, b []byte) []string {
	t.Helper()
	fs, err := Parse(b, none, 10000, nil)
	require.NoError(t, err)
	var out []string
	for _, e := range fs.Entries[1:] {
		out = append(out, e.String()+" "+string(e.Content))
	}
	return out
}

// A file that was removed before the commit is only in nodes that no index leads
// to; what came after the commit counts.
func TestIndexAndJournal(t *testing.T) {
	m := &image{}
	m.super()
	m.name(1, 9, "removed")
	m.inode(9, 0o100644, 1)
	m.commit(m.name(1, 2, "file"), m.inode(2, 0o100644, 3), m.data(2, "one"), m.name(1, 3, "going"), m.inode(3, 0o100644, 0))
	require.Equal(t, []string{"-0644 0:0 /file 3 one", "-0644 0:0 /going 0 "}, lines(t, m.b))
	m.data(2, "two")
	m.name(1, 0, "going")
	require.Equal(t, []string{"-0644 0:0 /file 3 two"}, lines(t, m.b))
	cut := make([]byte, 56-headLen)
	le.PutUint32(cut, 2)
	le.PutUint64(cut[24:], 1)
	m.add(truncType, cut)
	m.inode(2, 0o100644, 2)
	require.Equal(t, []string{"-0644 0:0 /file 2 t\x00"}, lines(t, m.b))
}

func TestWithoutIndexAllNodesCount(t *testing.T) {
	m := &image{}
	m.super()
	m.name(1, 9, "removed")
	m.inode(9, 0o100644, 0)
	fs, err := Parse(m.b, none, 1000, nil)
	require.NoError(t, err)
	require.Contains(t, fs.Scanned, "no master node")
	require.Len(t, fs.Entries, 2)
}

func TestIndexThatLeadsInCircles(t *testing.T) {
	m := &image{}
	m.super()
	m.commit(len(m.b) + 32) // the commit node before the index has 32 bytes
	fs, err := Parse(m.b, none, 1000, nil)
	require.NoError(t, err)
	require.Contains(t, fs.Scanned, "loop")
}

func FuzzParse(f *testing.F) {
	m := &image{}
	m.super()
	m.commit(m.name(1, 2, "file"), m.inode(2, 0o100644, 3), m.data(2, "one"))
	f.Add(m.b)
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = Parse(b, none, 1<<20, nil)
		r := &reader{b: b, leb: 4096, inodes: map[uint64]*inode{}, dirs: map[uint64]map[string]dirent{}}
		for at := 0; at+headLen <= len(b); at += 8 { // nodes of any bytes: checksums do not hold what they say
			r.take(node{b: b[at:], kind: b[at]})
		}
	})
}
