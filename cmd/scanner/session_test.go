//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

func variable(text string) []byte {
	b := []byte{6, 0, 0, 0}
	for _, c := range append(utf16.Encode([]rune(text)), 0) {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	return b
}

func TestBootPartition(t *testing.T) {
	const id = "8F012638-374F-823D-8CF2-167F473E56B8"
	got, err := bootPartition(variable(id))
	require.NoError(t, err)
	require.Equal(t, "8f012638-374f-823d-8cf2-167f473e56b8", got)
	outlives := variable(id)
	outlives[0] |= nonVolatile
	for _, raw := range [][]byte{nil, {6, 0, 0, 0}, make([]byte, 4096), outlives} {
		_, err := bootPartition(raw)
		require.Error(t, err)
	}
}

func TestSettings(t *testing.T) {
	for name, c := range map[string]struct {
		text  string
		nonce []byte
		told  string
	}{
		"a nonce":          {`{"nonce":"0a0b","wait":"5m","name":"x"}`, []byte{10, 11}, ""},
		"none":             {`{}`, nil, ""},
		"no hexadecimal":   {`{"nonce":"xyz"}`, nil, "no hexadecimal"},
		"a nonce too long": {`{"nonce":"` + string(bytes.Repeat([]byte("00"), 65)) + `"}`, nil, "no hexadecimal"},
		"no JSON":          {`nonce = 1`, nil, "invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			s := &session{out: &out}
			s.readSettings([]byte(c.text))
			require.Equal(t, c.nonce, s.nonce())
			require.Contains(t, out.String(), c.told)
		})
	}
}

// What a device says must not steer the console.
func TestPrintable(t *testing.T) {
	require.Equal(t, "a?[31mb?c\u00fc", printable("a\x1b[31mb\u009bc\u00fc"))
}

func FuzzBootPartition(f *testing.F) {
	f.Add(variable("8F012638-374F-823D-8CF2-167F473E56B8"))
	f.Add([]byte{})
	f.Fuzz(func(_ *testing.T, raw []byte) { _, _ = bootPartition(raw) })
}
