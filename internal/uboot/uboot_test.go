package uboot

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
)

func made(header, size int, variables string) []byte {
	b := make([]byte, size)
	copy(b[header:], variables)
	if header == 5 {
		b[4] = 1
	}
	binary.LittleEndian.PutUint32(b, crc32.ChecksumIEEE(b[header:]))
	return b
}

func TestEnvironment(t *testing.T) {
	for _, header := range []int{4, 5} {
		b := append(made(header, 0x3000, "bootcmd=run a=b\x00x=\x00"), bytes.Repeat([]byte{0xff}, 0x4000)...)
		e, ok := ParseEnvironment(b)
		require.True(t, ok)
		require.Equal(t, Environment{Size: 0x3000, Variables: []Variable{{"bootcmd", "run a=b"}, {"x", ""}}, newer: byte(header - 4)}, e)
		b[0x100] ^= 1
		_, ok = ParseEnvironment(b)
		require.False(t, ok)
	}
}

func image(kind byte, data []byte) []byte {
	b := append(make([]byte, HeaderLen), data...)
	be := binary.BigEndian
	be.PutUint32(b, 0x27051956)
	be.PutUint32(b[12:], uint32(len(data)))
	be.PutUint32(b[24:], crc32.ChecksumIEEE(data))
	b[30] = kind
	copy(b[32:], "name")
	be.PutUint32(b[4:], crc32.ChecksumIEEE(b[:HeaderLen]))
	return b
}

func TestImageOfSeveral(t *testing.T) {
	m, err := ParseImage(image(multi, []byte("\x00\x00\x00\x03\x00\x00\x00\x02\x00\x00\x00\x00one\x00tw")))
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("one"), []byte("tw")}, m.Parts)
	m, err = ParseImage(image(multi, []byte("\xff\xff\xff\xff\x00\x00\x00\x00")))
	require.NoError(t, err)
	require.Empty(t, m.Parts)
}

func FuzzParseImage(f *testing.F) {
	f.Add(image(multi, []byte("\x00\x00\x00\x03\x00\x00\x00\x02\x00\x00\x00\x00one\x00tw")))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = ParseImage(b)
		parts(b)
	})
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add(made(5, 0x1000, "bootcmd=run\x00"))
	f.Fuzz(func(_ *testing.T, b []byte) {
		ParseEnvironment(b)
		variables(b)
	})
}
