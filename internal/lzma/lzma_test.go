package lzma

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz/lzma"
	"pgregory.net/rapid"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

// compress writes a stream with another implementation.
func compress(t require.TestingT, c lzma.WriterConfig, b []byte) []byte {
	var buf bytes.Buffer
	w, err := c.NewWriter(&buf)
	require.NoError(t, err)
	_, err = w.Write(b)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return buf.Bytes()
}

// The streams were made by liblzma, which writes an end marker and no length.
func TestStreamsOfLiblzma(t *testing.T) {
	want := read(t, "x86-code.bin")
	for _, name := range []string{"alone-302.lzma", "alone-040.lzma", "alone-404.lzma", "alone-123.lzma"} {
		src := read(t, name)
		out, used, err := Decode(append(src[:len(src):len(src)], "behind"...), 1<<20)
		require.NoError(t, err, name)
		require.Equal(t, want, out, name)
		require.Equal(t, len(src), used, name)

		// With the length in the header, as firmware has it, and the marker still there.
		binary.LittleEndian.PutUint64(src[5:], uint64(len(want)))
		out, used, err = Decode(append(src[:len(src):len(src)], "behind"...), 1<<20)
		require.NoError(t, err, name)
		require.Equal(t, want, out, name)
		require.Equal(t, len(src), used, name)
	}
}

func TestWhatAnotherImplementationWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SliceOfN(rapid.Byte(), 0, 300)
		b := bytes.Repeat(part.Draw(t, "a"), rapid.IntRange(0, 20).Draw(t, "times"))
		b = append(b, part.Draw(t, "b")...)
		lc := rapid.IntRange(0, 4).Draw(t, "lc")
		c := lzma.WriterConfig{
			Properties:   &lzma.Properties{LC: lc, LP: rapid.IntRange(0, 4-lc).Draw(t, "lp"), PB: rapid.IntRange(0, 4).Draw(t, "pb")},
			SizeInHeader: len(b) > 0 && rapid.Bool().Draw(t, "size"), Size: int64(len(b)),
		}
		c.EOSMarker = !c.SizeInHeader
		src := compress(t, c, b)
		out, used, err := Decode(src, len(b))
		require.NoError(t, err)
		require.True(t, bytes.Equal(b, out))
		require.Equal(t, len(src), used)
		if len(b) > 0 {
			_, _, err = Decode(src, len(b)-1)
			require.ErrorIs(t, err, ErrLimit)
		}
	})
}

func TestLengthsAreClaims(t *testing.T) {
	src := compress(t, lzma.WriterConfig{SizeInHeader: true, Size: 5000}, make([]byte, 5000))
	for name, edit := range map[string]func([]byte){
		"properties":        func(b []byte) { b[0] = 225 },
		"first byte":        func(b []byte) { b[13] = 1 },
		"longer result":     func(b []byte) { binary.LittleEndian.PutUint64(b[5:], 1<<20) },
		"match from before": func(b []byte) { copy(b[14:], "\xff\xff\xff\xff") },
	} {
		b := bytes.Clone(src)
		edit(b)
		out, _, err := Decode(b, 1<<20)
		require.ErrorIs(t, err, ErrMalformed, name)
		require.Less(t, len(out), 1<<20, name)
	}
	b := bytes.Clone(src)
	copy(b[1:5], "\xff\xff\xff\xff") // a dictionary of 4 GiB costs nothing
	out, _, err := Decode(b, 1<<20)
	require.NoError(t, err)
	require.Len(t, out, 5000)
	_, _, err = Decode(src[:17], 1<<20)
	require.ErrorIs(t, err, ErrMalformed)
}

// The filter was applied by liblzma.
func TestX86Filter(t *testing.T) {
	b := read(t, "x86-filtered.bin")
	DecodeX86(b)
	require.Equal(t, read(t, "x86-code.bin"), b)
	for n := range 9 {
		DecodeX86(make([]byte, n))
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(read(f, "alone-302.lzma"))
	f.Add(read(f, "alone-123.lzma"))
	f.Add(compress(f, lzma.WriterConfig{SizeInHeader: true, Size: 3}, []byte("abc")))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, used, err := Decode(b, 1<<16)
		if len(out) > 1<<16 || used > len(b) {
			t.Fatalf("%d bytes, %d used of %d: %v", len(out), used, len(b), err)
		}
		DecodeX86(out)
	})
}

func BenchmarkDecode(b *testing.B) {
	src := bytes.Repeat(read(b, "x86-code.bin"), 500)
	for i := range src {
		if i%7 == 0 {
			src[i] += byte(i >> 10)
		}
	}
	stream := compress(b, lzma.WriterConfig{}, src)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, _, err := Decode(stream, len(src)); err != nil {
			b.Fatal(err)
		}
	}
}
