package fdt

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// tree writes a tree of tokens; strings are "data\x00algo\x00value\x00".
func tree(tokens []byte) []byte {
	text := []byte("data\x00algo\x00value\x00")
	b := make([]byte, headerLen)
	be := binary.BigEndian
	be.PutUint32(b, magic)
	be.PutUint32(b[8:], headerLen)
	be.PutUint32(b[12:], uint32(headerLen+len(tokens)))
	be.PutUint32(b[20:], 17)
	be.PutUint32(b[32:], uint32(len(text)))
	be.PutUint32(b[36:], uint32(len(tokens)))
	b = append(append(b, tokens...), text...)
	be.PutUint32(b[4:], uint32(len(b)))
	return b
}

func begin(name string) []byte { return pad(append([]byte{0, 0, 0, beginNode}, name+"\x00"...)) }

func value(at byte, v string) []byte {
	return pad(append([]byte{0, 0, 0, property, 0, 0, 0, byte(len(v)), 0, 0, 0, at}, v...))
}

var over = []byte{0, 0, 0, endNode}

func images() []byte {
	return tree(slices.Concat(begin(""), begin("images"), begin("kernel"), value(0, "abc"), begin("hash"), value(5, "crc32\x00"),
		value(10, "\x35\x24\x41\xc2"), over, over, over, over, []byte{0, 0, 0, end}))
}

func TestImageWithHash(t *testing.T) {
	b := images()
	tr, err := Parse(b)
	require.NoError(t, err)
	n := tr.Root.Node("images").Node("kernel")
	data, err := tr.Data(n, b)
	require.NoError(t, err)
	require.Equal(t, "abc", string(data))
	require.Equal(t, "crc32", n.Node("hash").Text("algo"))
	for i := range len(b) {
		_, err := Parse(b[:i])
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestTreeThatIsTooDeep(t *testing.T) {
	_, err := Parse(tree(bytes.Repeat(begin("a"), 1000)))
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzParse(f *testing.F) {
	f.Add(images())
	f.Fuzz(func(_ *testing.T, b []byte) {
		tr, err := Parse(b)
		if err != nil {
			return
		}
		tr.Extent(b)
		for _, n := range tr.Root.Nodes {
			_, _ = tr.Data(n, b)
			n.Text("algo")
		}
	})
}
