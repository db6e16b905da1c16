package cramfs

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/filetree"
)

// image is a file system with one file of nothing in the root, whose directory
// holds itself when loop is set.
func image(loop bool) []byte {
	b := make([]byte, headerLen+inodeLen+inodeLen+4)
	le := binary.LittleEndian
	le.PutUint32(b, magic)
	le.PutUint32(b[4:], uint32(len(b)))
	le.PutUint32(b[8:], hasChecksum)
	copy(b[16:], "Compressed ROMFS")
	root, file := b[headerLen:], b[headerLen+inodeLen:]
	le.PutUint16(root, filetree.Directory|0o755)
	root[4] = inodeLen + 4
	le.PutUint32(root[8:], (headerLen+inodeLen)/4<<6)
	le.PutUint16(file, filetree.Regular|0o644)
	if loop {
		copy(file, root[:8])
	}
	le.PutUint32(file[8:], (headerLen+inodeLen)/4<<6|1)
	copy(file[inodeLen:], "name")
	le.PutUint32(b[32:], 0)
	le.PutUint32(b[32:], crc32.ChecksumIEEE(b))
	return b
}

func TestFileAndChecksum(t *testing.T) {
	b := image(false)
	h, ok := ParseHeader(b)
	require.True(t, ok)
	require.False(t, h.Damaged)
	es, err := Parse(b, 100)
	require.NoError(t, err)
	require.Equal(t, "-0644 0:0 /name 0", es[1].String())
	b[70] ^= 1
	h, ok = ParseHeader(b)
	require.True(t, ok)
	require.True(t, h.Damaged)
	_, err = Parse(image(true), 100)
	require.ErrorIs(t, err, filetree.ErrMalformed)
}

func FuzzParse(f *testing.F) {
	f.Add(image(false))
	f.Add(image(true))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = Parse(b, 1<<20) })
}
