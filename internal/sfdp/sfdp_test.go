package sfdp

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// table is the layout of a chip of 128 Mbit with a basic table and one of its
// maker.
func table(density uint32) []byte {
	b := []byte{
		'S', 'F', 'D', 'P', 6, 1, 1, 0xff,
		0x00, 6, 1, 16, 0x30, 0, 0, 0xff,
		0xef, 0, 1, 2, 0x70, 0, 0, 0,
	}
	b = append(b, make([]byte, 0x78-len(b))...)
	binary.LittleEndian.PutUint32(b[0x34:], density)
	return b
}

func TestParse(t *testing.T) {
	p, err := Parse(table(0x07ffffff))
	require.NoError(t, err)
	require.Empty(t, p.Problems)
	require.EqualValues(t, 16<<20, p.Size)
	require.Equal(t, []Header{{ID: 0xff00, Major: 1, Minor: 6, Offset: 0x30, Length: 64}, {ID: 0x00ef, Major: 1, Offset: 0x70, Length: 8}}, p.Headers)
	p, err = Parse(table(1<<31 | 33))
	require.NoError(t, err)
	require.EqualValues(t, 1<<30, p.Size, "chips above 2 Gbit give the logarithm")
}

func TestWhatDoesNotFitIsTold(t *testing.T) {
	_, err := Parse([]byte("SFDP"))
	require.ErrorIs(t, err, ErrSignature)
	_, err = Parse(make([]byte, 64))
	require.ErrorIs(t, err, ErrSignature)
	for name, c := range map[string]struct {
		b    []byte
		what string
	}{
		"cut in the headers": {table(0)[:16], "2 parameter headers announced, 1 present"},
		"cut in a table":     {table(0)[:0x70], "table 00ef at 0x70 has 8 bytes, beyond the end"},
		"no such density":    {table(1<<31 | 99), "a density of 2^99 bits"},
	} {
		p, err := Parse(c.b)
		require.NoError(t, err, name)
		require.Equal(t, c.what, p.Problems[len(p.Problems)-1].What, name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(table(0x07ffffff))
	f.Add(table(1<<31 | 33))
	f.Add(table(0)[:20])
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(p.Headers), 256)
		require.LessOrEqual(t, len(p.Problems), maxProblems)
	})
}
