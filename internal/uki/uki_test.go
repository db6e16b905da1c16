package uki

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// stub makes a small 64-bit PE image with one section and symbols behind it.
func stub(room int) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0x200+room)
	copy(b, "MZ")
	le.PutUint32(b[60:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	le.PutUint16(b[0x44:], 0x8664)
	le.PutUint16(b[0x46:], 1)
	le.PutUint32(b[0x4c:], uint32(len(b)+0x200)) // symbols
	le.PutUint32(b[0x50:], 2)
	le.PutUint16(b[0x54:], 0xf0)
	o := b[0x58:]
	le.PutUint16(o, 0x20b)
	le.PutUint32(o[32:], 0x1000)
	le.PutUint32(o[36:], 0x200)
	le.PutUint32(o[60:], uint32(len(b)))
	le.PutUint32(o[108:], 16)
	s := b[0x58+0xf0:]
	copy(s, ".text")
	le.PutUint32(s[8:], 0x1f0)
	le.PutUint32(s[12:], 0x1000)
	le.PutUint32(s[16:], 0x200)
	le.PutUint32(s[20:], uint32(len(b)))
	b = append(b, bytes.Repeat([]byte{0xcc}, 0x200)...)
	return append(b, make([]byte, 36)...)
}

var parts = []Section{{".osrel", []byte("ID=assay\n")}, {".cmdline", []byte("quiet")}, {".linux", bytes.Repeat([]byte("k"), 5000)}, {".initrd", bytes.Repeat([]byte("i"), 700)}}

func TestSectionsAreReadBack(t *testing.T) {
	out, err := Assemble(stub(0x200), parts)
	require.NoError(t, err)
	require.Zero(t, len(out)%512)
	f, err := pe.NewFile(bytes.NewReader(out))
	require.NoError(t, err)
	require.Zero(t, f.NumberOfSymbols)
	end := uint32(0)
	for _, s := range f.Sections {
		require.GreaterOrEqual(t, s.VirtualAddress, end, "sections do not overlap in memory")
		end = s.VirtualAddress + s.VirtualSize
	}
	require.Equal(t, (end+0xfff)&^0xfff, f.OptionalHeader.(*pe.OptionalHeader64).SizeOfImage)
	for _, p := range parts {
		s := f.Section(p.Name)
		require.NotNil(t, s, p.Name)
		require.EqualValues(t, len(p.Data), s.VirtualSize)
		data, err := s.Data()
		require.NoError(t, err)
		require.Equal(t, p.Data, data[:len(p.Data)])
	}
}

func TestBadStubs(t *testing.T) {
	good := stub(0x200)
	signed := bytes.Clone(good)
	signed[0x58+112+4*8+4] = 1
	_, err := Assemble(signed, parts)
	require.ErrorContains(t, err, "signed")
	_, err = Assemble(stub(0), parts)
	require.ErrorContains(t, err, "room")
	for n := range 0x200 {
		_, err := Assemble(good[:n], parts)
		require.Error(t, err)
	}
	_, err = Assemble(good, []Section{{".toolongname", []byte{1}}})
	require.Error(t, err)
}

func TestStubVersion(t *testing.T) {
	require.Equal(t, 252, StubVersion([]byte("xx#### LoaderInfo: systemd-stub 252.39-1~deb12u2 ####\x00")))
	require.Zero(t, StubVersion([]byte("no stub")))
}

func FuzzAssemble(f *testing.F) {
	f.Add(stub(0x200), []byte("data"))
	f.Add(stub(0), []byte{1})
	huge := stub(0x200)
	binary.LittleEndian.PutUint32(huge[0x58+36:], 1<<31) // file alignment
	f.Add(huge, []byte("data"))
	nothing := stub(0x200)
	clear(nothing[0x58+0xf0+16 : 0x58+0xf0+24]) // a section without bytes
	f.Add(nothing, []byte("data"))
	f.Fuzz(func(t *testing.T, b, data []byte) {
		out, err := Assemble(b, []Section{{".linux", data}})
		if err == nil {
			require.GreaterOrEqual(t, len(out), len(data))
			StubVersion(out)
		}
	})
}
