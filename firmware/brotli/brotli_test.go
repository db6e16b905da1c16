package brotli

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/andybalholm/brotli"
	"github.com/stretchr/testify/require"
)

// section is a stream behind the header of edk2, which claims a length.
func section(t require.TestingT, b []byte, claim int) []byte {
	var buf bytes.Buffer
	w := brotli.NewWriter(&buf)
	_, err := w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	h := binary.LittleEndian.AppendUint64(nil, uint64(claim))
	return append(binary.LittleEndian.AppendUint64(h, 1<<20), buf.Bytes()...)
}

func TestDecode(t *testing.T) {
	text := bytes.Repeat([]byte("firmware volume "), 1000)
	src := section(t, text, len(text))
	out, used, err := Decode(src, 1<<20)
	require.NoError(t, err)
	require.Equal(t, text, out)
	require.LessOrEqual(t, used, len(src))

	_, _, err = Decode(section(t, text, 5), 1<<20)
	require.ErrorContains(t, err, "header says 5 bytes, the stream has 16000")
	_, _, err = Decode(src[:40], 1<<20)
	require.ErrorContains(t, err, "brotli: after")
	_, _, err = Decode(src[:15], 1<<20)
	require.ErrorContains(t, err, "too few")
}

// A bomb is cut one byte behind the limit.
func TestBomb(t *testing.T) {
	src := section(t, make([]byte, 64<<20), 64<<20)
	require.Less(t, len(src), 1000)
	out, _, err := Decode(src, 1<<20)
	require.NoError(t, err)
	require.Len(t, out, 1<<20+1)
}

func FuzzDecode(f *testing.F) {
	f.Add(section(f, []byte("firmware"), 8))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, used, _ := Decode(b, 1<<16)
		if len(out) > 1<<16+1 || used > len(b) {
			t.Fatalf("%d bytes, %d used of %d", len(out), used, len(b))
		}
	})
}
