package ucp

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// seal sets the sum of a module.
func seal(b []byte) []byte {
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	var sum uint16
	for c := b; len(c) > 0; c = c[2:] {
		sum += binary.LittleEndian.Uint16(c)
	}
	binary.LittleEndian.PutUint16(b[8:], -sum)
	return b
}

func buildModule(tag string, packed, expanded int, data string) []byte {
	h := make([]byte, least)
	copy(h, tag)
	binary.LittleEndian.PutUint32(h[16:], uint32(packed))
	binary.LittleEndian.PutUint32(h[20:], uint32(expanded))
	return seal(append(h, data...))
}

func build(modules ...[]byte) []byte {
	h := make([]byte, header)
	copy(h, "@UAF")
	return seal(append(h, slices.Concat(modules...)...))
}

func TestModules(t *testing.T) {
	b := build(buildModule("@UII", 4, 4, "info"), buildModule("@ROM", 10, 90, "stream"), buildModule("@XYZ", 3, 3, "odd."))
	got, size, sum, err := Parse(append(b, "behind"...))
	require.NoError(t, err)
	require.True(t, sum)
	require.Equal(t, len(b), size)
	require.Len(t, got, 3)
	require.Equal(t, Module{"@UII", "utility identification", false, 0, []byte("info"), true}, got[0])
	require.Equal(t, "BIOS", got[1].Name)
	require.True(t, got[1].Packed)
	require.Equal(t, 90, got[1].Expanded)
	require.Equal(t, "stream", string(got[1].Data[8:]))
	require.Equal(t, "odd", string(got[2].Data))
	b[len(b)-1] ^= 1
	got, _, sum, err = Parse(b)
	require.NoError(t, err)
	require.False(t, sum)
	require.Equal(t, []bool{true, true, false}, []bool{got[0].Sum, got[1].Sum, got[2].Sum})
	b[header+4] = 1
	_, _, _, err = Parse(b)
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzParse(f *testing.F) {
	f.Add(build(buildModule("@UII", 4, 4, "info"), buildModule("@ROM", 10, 90, "stream")))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, size, _, err := Parse(b)
		if err == nil && size > len(b) {
			t.Fatal(size)
		}
	})
}
