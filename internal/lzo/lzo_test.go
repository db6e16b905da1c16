package lzo

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What the kernel documentation says of each instruction.
func TestInstructions(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
	}{
		{"literals at the start, end", "\x15abcd\x11\x00\x00", "abcd"},
		{"near match of three", "\x15abcd\x6c\x00\x11\x00\x00", "abcdabcd"[:4] + "abcd"},
		{"a run of literals behind none", "\x00\x01ABCDEFGHIJKLMNOPQRS\x11\x00\x00", "ABCDEFGHIJKLMNOPQRS"},
	} {
		out, used, err := Decode([]byte(c.in), 100)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, string(out), c.name)
		require.Equal(t, len(c.in), used, c.name)
		_, _, err = Decode([]byte(c.in), len(c.want)-1)
		require.ErrorIs(t, err, ErrLimit, c.name)
		for n := range len(c.in) {
			_, _, err = Decode([]byte(c.in[:n]), 100)
			require.ErrorIs(t, err, ErrMalformed, c.name)
		}
	}
	_, _, err := Decode([]byte("\x12a\x6c\x09\x11\x00\x00"), 100)
	require.ErrorContains(t, err, "before its start")
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("\x15abcd\x6c\x00\x11\x00\x00"))
	f.Add([]byte("\x00\x01ABCDEFGHIJKLMNOPQRS\x11\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, used, err := Decode(b, 1000)
		if err == nil && (len(out) > 1000 || used > len(b)) {
			t.Fatal(len(out), used)
		}
	})
}
