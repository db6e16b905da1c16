package scsivpd

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func page(kind byte, body ...byte) []byte {
	return append([]byte{0, kind, byte(len(body) >> 8), byte(len(body))}, body...)
}

func identification() []byte {
	b := []byte{0x01, 0x03, 0, 8, 0x50, 0x00, 0xc5, 0x00, 0xa1, 0xb2, 0xc3, 0xd4} // NAA of the logical unit
	b = append(b, 0x61, 0x93, 0, 8, 0x50, 0x00, 0xc5, 0x00, 0xa1, 0xb2, 0xc3, 0xd5)
	b = append(append(b, 0x02, 0x01, 0, 12), "ATA     ST40"...)
	return page(0x83, b...)
}

func TestPages(t *testing.T) {
	s, err := ParseSerial(page(0x80, []byte("  ZA1234  ")...))
	require.NoError(t, err)
	require.Equal(t, "  ZA1234  ", s)
	ds, err := ParseIdentification(identification())
	require.NoError(t, err)
	require.Equal(t, []Designator{
		{Offset: 4, Length: 12, Type: NAA, Value: "5000c500a1b2c3d4"},
		{Offset: 16, Length: 12, Type: NAA, Association: 1, Value: "5000c500a1b2c3d5"},
		{Offset: 28, Length: 16, Type: T10, Text: true, Value: "ATA     ST40"},
	}, ds)
}

func TestLengthsAreClaims(t *testing.T) {
	for _, b := range [][]byte{nil, {0, 0x80}, page(0x83), page(0x00, 1, 2)} {
		_, err := ParseSerial(b)
		require.ErrorIs(t, err, ErrPage)
	}
	s, err := ParseSerial([]byte{0, 0x80, 0xff, 0xff, 'x'})
	require.NoError(t, err)
	require.Equal(t, "x", s)
	ds, err := ParseIdentification(identification()[:20])
	require.ErrorContains(t, err, "offset 16: designator 1 does not fit")
	require.Len(t, ds, 1)
}

func FuzzParse(f *testing.F) {
	f.Add(identification())
	f.Add(page(0x80, 'x'))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _ := ParseSerial(b)
		require.LessOrEqual(t, len(s), len(b))
		ds, _ := ParseIdentification(b)
		require.LessOrEqual(t, len(ds), maxIDs)
		for _, d := range ds {
			require.LessOrEqual(t, d.Offset+d.Length, len(b))
		}
	})
}
