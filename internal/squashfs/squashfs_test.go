package squashfs

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/filetree"
)

var seed = append([]byte("hsqs\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x01\x00\x11\x00\x00\x00\x01\x00\x04\x00\x00\x00"), make([]byte, 200)...)

func stored1(b []byte, limit int) ([]byte, error) {
	if len(b) > limit {
		return b[:limit+1], nil
	}
	return b, nil
}

// image is a file system whose metadata are stored as they are, with one
// directory of the names that are given. All names stand for the root again
// when loop is set.
func image(loop bool, names ...string) []byte {
	le := binary.LittleEndian
	var dir []byte
	dir = le.AppendUint32(dir, uint32(len(names)-1))
	dir = le.AppendUint32(dir, 0)
	dir = le.AppendUint32(dir, 1)
	for _, n := range names {
		in := uint16(32)
		if loop {
			in = 0
		}
		dir = le.AppendUint16(dir, in)
		dir = append(dir, 0, 0, 1, 0)
		dir = le.AppendUint16(dir, uint16(len(n)-1))
		dir = append(dir, n...)
	}
	inodes := make([]byte, 32+20)
	le.PutUint16(inodes, dirInode)
	le.PutUint16(inodes[2:], 0o755)
	le.PutUint16(inodes[16+8:], uint16(len(dir)+3))
	le.PutUint16(inodes[32:], fifoInode)
	le.PutUint16(inodes[34:], 0o600)
	meta := func(b []byte) []byte { return append(le.AppendUint16(nil, uint16(len(b))|0x8000), b...) }
	b := make([]byte, headerLen)
	copy(b, "hsqs")
	le.PutUint32(b[12:], 1<<17)
	le.PutUint16(b[20:], uint16(Gzip))
	le.PutUint16(b[22:], 17)
	le.PutUint16(b[26:], 1)
	le.PutUint16(b[28:], 4)
	put := func(at int, part []byte) {
		le.PutUint64(b[at:], uint64(len(b)))
		b = append(b, part...)
	}
	put(64, meta(inodes))
	put(72, meta(dir))
	ids := uint64(len(b))
	b = append(b, meta(make([]byte, 4))...)
	put(48, le.AppendUint64(nil, ids))
	le.PutUint64(b[40:], uint64(len(b)))
	return b
}

func TestNamesOfADirectory(t *testing.T) {
	es, err := Parse(image(false, "a", "pipe"), stored1, 100)
	require.NoError(t, err)
	require.Len(t, es, 3)
	require.Equal(t, "p0600 0:0 /pipe -", es[2].String())
	for _, bad := range []string{"..", ".", "a/b", "a\x00"} {
		_, err := Parse(image(false, bad), stored1, 100)
		require.ErrorIs(t, err, filetree.ErrMalformed, bad)
	}
}

func TestDirectoryInsideOfItself(t *testing.T) {
	es, err := Parse(image(true, "loop"), stored1, 100)
	require.ErrorIs(t, err, filetree.ErrMalformed)
	require.Len(t, es, 1, "what was read is told all the same")
}

func TestEveryCutImageIsAnError(t *testing.T) {
	b := image(false, "a", "pipe")
	for n := range len(b) {
		_, err := Parse(b[:n], stored1, 100)
		require.Error(t, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(image(false, "a", "pipe"))
	f.Add(image(true, "loop"))
	f.Add(seed)
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Parse(b, stored1, 1<<20) })
}
