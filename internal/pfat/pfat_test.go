package pfat

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// Block is one block as the processor takes it.
func buildBlock(kind uint32, data string) []byte {
	h := make([]byte, blockHeader)
	copy(h[4:], "BOARD")
	script := slices.Concat([]byte{1, 0, 0, 0, 0, 0, 0, 0}, []byte{0x51, 0, 0, 0, 0x00, 0x00, 0x04, 0x00}, []byte{0xff, 0, 0, 0, 0, 0, 0, 0})
	binary.LittleEndian.PutUint32(h[0x1c:], uint32(len(script)))
	binary.LittleEndian.PutUint32(h[0x20:], uint32(len(data)))
	binary.LittleEndian.PutUint32(h[0x24:], 3)
	var signature []byte
	if kind > 0 {
		h[0x14] = 1
		signature = make([]byte, map[uint32]int{1: rsa2048, 2: rsa3072, 3: rsa3072, 9: 100}[kind])
		binary.LittleEndian.PutUint32(signature, kind)
	}
	return slices.Concat(h, script, []byte(data), signature)
}

func build(text string, blocks ...[]byte) []byte {
	b := make([]byte, header)
	copy(b[8:], "_AMIPFAT")
	b = append(b, title+text...)
	binary.LittleEndian.PutUint32(b, uint32(len(b)))
	return append(b, slices.Concat(blocks...)...)
}

func TestComponentsAreReassembled(t *testing.T) {
	b := build("II00010000\r\n1 0x0 2;image.bin\r\n0 /N 1;ec.bin\r\n", buildBlock(1, "first"), buildBlock(3, "second"), buildBlock(0, "ec"))
	got, err := Parse(append(b, "behind"...), 100)
	require.NoError(t, err)
	require.Empty(t, got.Problems)
	require.Equal(t, len(b), got.Size)
	require.Equal(t, []Component{{"image.bin", 2, 2, []byte("firstsecond")}, {"ec.bin", 1, 0, []byte("ec")}}, got.Components)
	block, err := ParseBlock(buildBlock(1, "x"))
	require.NoError(t, err)
	require.Equal(t, "BOARD", block.Platform)
	at, ok := block.Offset()
	require.True(t, ok)
	require.Equal(t, uint32(0x40000), at)
}

func TestWhatDoesNotHold(t *testing.T) {
	line := "\n1 0x0 2;image.bin\n"
	got, err := Parse(build(line, buildBlock(0, "first"), buildBlock(9, "unknown signature")), 100)
	require.NoError(t, err)
	require.Len(t, got.Problems, 1)
	require.Equal(t, "first", string(got.Components[0].Data))
	script := buildBlock(0, "x")
	script[blockHeader] = 7
	got, err = Parse(build(line, script), 100)
	require.NoError(t, err)
	require.Contains(t, got.Problems[0], "script")
	_, err = Parse(build(line, buildBlock(0, "first"), buildBlock(0, "second")), 8)
	require.ErrorIs(t, err, ErrLimit)
	for _, text := range []string{"", "\nno list\n", "\n1 0 many;x\n", "\n1 0 -1;x\n", "\n1 0 99999999;x\n"} {
		_, err = Parse(build(text), 100)
		require.ErrorIs(t, err, ErrMalformed, fmt.Sprintf("%q", text))
	}
	b := build(line)
	b[3] = 1
	_, err = Parse(b, 100)
	require.ErrorIs(t, err, ErrMalformed)
}

func FuzzParse(f *testing.F) {
	f.Add(build("II0000\n1 0x0 2;image.bin\n", buildBlock(1, "first"), buildBlock(0, "second")))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b, 1<<20)
		if err == nil && got.Size > len(b) {
			t.Fatal(got.Size)
		}
	})
}
