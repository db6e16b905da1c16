package drvinfo

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func info() []byte {
	b := make([]byte, Size)
	copy(b, []byte{3, 0, 0, 0}) // ETHTOOL_GDRVINFO
	copy(b[4:], "ixgbe")
	copy(b[36:], "6.1.0-21-amd64")
	copy(b[68:], "0x800003e7, 1.1876.0")
	copy(b[100:], "0000:01:00.0")
	return b
}

func TestParse(t *testing.T) {
	d, err := Parse(info())
	require.NoError(t, err)
	require.Equal(t, &Info{Driver: "ixgbe", Version: "6.1.0-21-amd64", Firmware: "0x800003e7, 1.1876.0", Bus: "0000:01:00.0"}, d)
}

func TestATextStaysInItsField(t *testing.T) {
	b := info()
	copy(b[68:], bytes.Repeat([]byte{'x'}, 32))
	b[101] = 0x1b
	d, err := Parse(b)
	require.NoError(t, err)
	require.Len(t, d.Firmware, TextLength)
	require.Equal(t, []Problem{{68, "a text without an end"}, {101, "the byte 1b in a text"}}, d.Problems)
	_, err = Parse(b[:Size-1])
	require.ErrorIs(t, err, ErrLength)
}

func FuzzParse(f *testing.F) {
	f.Add(info())
	f.Add(make([]byte, Size))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b)
		if err != nil {
			return
		}
		for _, s := range []string{d.Driver, d.Version, d.Firmware, d.Bus, d.ROM} {
			require.LessOrEqual(t, len(s), TextLength)
		}
		for _, p := range d.Problems {
			require.Less(t, p.Offset, Size)
		}
	})
}
