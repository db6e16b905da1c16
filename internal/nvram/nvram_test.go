package nvram

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const owner = "61DFE48B-CA93-D211-AA0D-00E098032B8C"

func ownerBytes() []byte {
	b, _ := hex.DecodeString(strings.ReplaceAll(owner, "-", ""))
	return b
}

func utf16le(s string) []byte {
	var b []byte
	for _, c := range s + "\x00" {
		b = append(b, byte(c), byte(c>>8))
	}
	return b
}

// record is one variable of an edk2 store, aligned to four bytes.
func record(f Format, state byte, name, data string) []byte {
	n := simpleHeader
	if f == Authenticated {
		n = authHeader
	}
	h := make([]byte, n)
	binary.LittleEndian.PutUint16(h, startID)
	h[2], h[4] = state, 7
	binary.LittleEndian.PutUint32(h[n-24:], uint32(len(utf16le(name))))
	binary.LittleEndian.PutUint32(h[n-20:], uint32(len(data)))
	copy(h[n-16:], ownerBytes())
	b := slices.Concat(h, utf16le(name), []byte(data))
	for len(b)%4 != 0 {
		b = append(b, 0xff)
	}
	return b
}

func TestStores(t *testing.T) {
	for name, f := range map[string]Format{"simple": Simple, "authenticated": Authenticated} {
		t.Run(name, func(t *testing.T) {
			b := slices.Concat(record(f, 0x3f, "Boot0000", "entry"), record(f, 0x3c, "Boot0000", "old"), bytes.Repeat([]byte{0xff}, 40))
			got := Parse(f, b)
			require.Len(t, got, 2)
			require.Equal(t, "Boot0000", got[0].Name)
			require.Equal(t, "8BE4DF61-93CA-11D2-AA0D-00E098032B8C", got[0].GUID)
			require.Equal(t, "entry", string(got[0].Data))
			require.Equal(t, uint32(7), got[0].Attributes)
			require.True(t, got[0].Live)
			require.False(t, got[1].Live)
			require.Equal(t, len(record(f, 0x3f, "Boot0000", "entry")), got[1].Offset)
			binary.LittleEndian.PutUint32(b[len(b)-40-len(record(f, 0x3c, "Boot0000", "old"))+16:], 0xfffffff0)
			require.NotPanics(t, func() { Parse(f, b) })
		})
	}
}

func TestLengthsAreClaims(t *testing.T) {
	b := record(Simple, 0x3f, "A", "data")
	binary.LittleEndian.PutUint32(b[8:], 0xffffffff)
	binary.LittleEndian.PutUint32(b[12:], 0xffffffff)
	require.Empty(t, Parse(Simple, b))
}

func TestNVAR(t *testing.T) {
	nvar := func(attributes byte, body []byte) []byte {
		n := nvarHeader + len(body)
		return slices.Concat([]byte("NVAR"), []byte{byte(n), byte(n >> 8), 0xff, 0xff, 0xff, attributes}, body)
	}
	b := slices.Concat(
		nvar(nvarValid|nvarASCII, []byte("\x03Setup\x00data")),
		nvar(nvarValid|nvarGUID, slices.Concat(ownerBytes(), utf16le("Lang"), []byte("en"))),
		nvar(nvarDataOnly, []byte("newer")),
		bytes.Repeat([]byte{0xff}, 20),
	)
	got := Parse(NVAR, b)
	require.Len(t, got, 3)
	require.Equal(t, []string{"Setup", "Lang", ""}, []string{got[0].Name, got[1].Name, got[2].Name})
	require.Equal(t, []string{"guid-3", "8BE4DF61-93CA-11D2-AA0D-00E098032B8C", ""}, []string{got[0].GUID, got[1].GUID, got[2].GUID})
	require.Equal(t, []string{"data", "en", "newer"}, []string{string(got[0].Data), string(got[1].Data), string(got[2].Data)})
	require.Equal(t, []bool{true, true, false}, []bool{got[0].Live, got[1].Live, got[2].Live})
	binary.LittleEndian.PutUint16(b[4:], 3)
	require.Empty(t, Parse(NVAR, b), "a record shorter than its header")
}

func TestHeader(t *testing.T) {
	b := make([]byte, 100)
	copy(b, "\x78\x2c\xf3\xaa\x7b\x94\x9a\x43\xa1\x80\x2e\x14\x4e\xc3\x77\x92")
	binary.LittleEndian.PutUint32(b[16:], 100)
	f, n := ParseHeader(b)
	require.Equal(t, Authenticated, f)
	require.Equal(t, 100, n)
	binary.LittleEndian.PutUint32(b[16:], 101)
	f, _ = ParseHeader(b)
	require.Equal(t, None, f)
}

func FuzzParse(f *testing.F) {
	f.Add(record(Simple, 0x3f, "A", "data"), 1)
	f.Add(record(Authenticated, 0x3f, "A", "data"), 2)
	f.Add([]byte("NVAR\x10\x00\xff\xff\xff\x82\x00Setup\x00"), 3)
	f.Fuzz(func(t *testing.T, b []byte, format int) {
		ParseHeader(b)
		end := 0
		for _, v := range Parse(Format(format%7), b) {
			if v.Offset < end || v.Length <= 0 || v.Offset+v.Length > len(b) {
				t.Fatalf("record at %d of %d bytes", v.Offset, v.Length)
			}
			end = v.Offset + v.Length
		}
	})
}
