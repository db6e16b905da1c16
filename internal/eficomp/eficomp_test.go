package eficomp

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

// The streams were made by edk2's own encoders.
func TestStreamsOfTheReferenceEncoders(t *testing.T) {
	plain := read(t, "plain.bin")
	one := make([]byte, 1000)
	for i := range one {
		one[i] = 'a'
	}
	tests := map[string]struct {
		v    Variant
		want []byte
	}{
		"efi.bin": {EFI, plain}, "tiano.bin": {Tiano, plain},
		"one-efi.bin": {EFI, one}, "one-tiano.bin": {Tiano, one},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			src := read(t, name)
			out, used, err := Decode(append(src[:len(src):len(src)], "behind"...), tt.v, 1<<20)
			require.NoError(t, err)
			require.Equal(t, tt.want, out)
			require.Equal(t, 8+int(binary.LittleEndian.Uint32(src)), used)
		})
	}
}

func TestWrongVariantIsNotTheSame(t *testing.T) {
	for name, v := range map[string]Variant{"efi.bin": Tiano, "tiano.bin": EFI} {
		out, _, err := Decode(read(t, name), v, 1<<20)
		require.False(t, err == nil && string(out) == string(read(t, "plain.bin")), name)
	}
}

func TestLengthsAreClaims(t *testing.T) {
	src := read(t, "efi.bin")
	_, _, err := Decode(src, EFI, 100)
	require.ErrorIs(t, err, ErrLimit)
	require.Contains(t, err.Error(), "claims")

	short := append([]byte{}, src...)
	binary.LittleEndian.PutUint32(short, uint32(len(src)))
	_, _, err = Decode(short, EFI, 1<<20)
	require.ErrorIs(t, err, ErrMalformed, "a stream longer than its bytes")

	long := append([]byte{}, src...)
	binary.LittleEndian.PutUint32(long[4:], 1<<24)
	out, _, err := Decode(long, EFI, 1<<24)
	require.ErrorIs(t, err, ErrMalformed, "a result longer than the stream")
	require.Less(t, len(out), 1<<20)

	_, _, err = Decode(src[:7], EFI, 1<<20)
	require.ErrorIs(t, err, ErrMalformed)
}

func TestCodesThatAreNotComplete(t *testing.T) {
	for name, lengths := range map[string][]byte{"too few": {1, 2}, "too many": {1, 1, 1}, "none": {0, 0}, "too long": {17}} {
		_, err := newCode(lengths)
		require.ErrorIs(t, err, ErrMalformed, name)
	}
	c, err := newCode([]byte{2, 0, 1, 2})
	require.NoError(t, err)
	b := bits{in: []byte{0b0_10_11_000}}
	require.Equal(t, []int{2, 0, 3}, []int{c.read(&b), c.read(&b), c.read(&b)})
}

func TestAnyBytesGiveAnAnswer(t *testing.T) {
	src := read(t, "tiano.bin")
	rapid.Check(t, func(t *rapid.T) {
		b := append([]byte{}, src...)
		for range rapid.IntRange(1, 5).Draw(t, "edits") {
			b[rapid.IntRange(4, 200).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		out, _, err := Decode(b, Tiano, 1<<20)
		require.LessOrEqual(t, len(out), 1<<20)
		if err == nil {
			require.Len(t, out, int(binary.LittleEndian.Uint32(b[4:])))
		}
	})
}

func FuzzDecode(f *testing.F) {
	for _, name := range []string{"efi.bin", "tiano.bin", "one-efi.bin"} {
		f.Add(read(f, name), true)
		f.Add(read(f, name), false)
	}
	f.Fuzz(func(t *testing.T, b []byte, large bool) {
		v := EFI
		if large {
			v = Tiano
		}
		out, used, err := Decode(b, v, 1<<16)
		if len(out) > 1<<16 || used > len(b) {
			t.Fatalf("%d bytes, %d used of %d: %v", len(out), used, len(b), err)
		}
	})
}
