package capsule

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func capsule(guid string, body []byte) []byte {
	b := append([]byte(guid), make([]byte, 12)...)
	binary.LittleEndian.PutUint32(b[16:], header)
	binary.LittleEndian.PutUint32(b[24:], uint32(header+len(body)))
	return append(b, body...)
}

// item is a payload of the third version with a signature.
func item(firmware, vendor string) []byte {
	cert := make([]byte, 8+24)
	binary.LittleEndian.PutUint32(cert[8:], 24)
	binary.LittleEndian.PutUint16(cert[12:], 0x0200)
	binary.LittleEndian.PutUint16(cert[14:], 0x0ef1)
	h := make([]byte, 48)
	binary.LittleEndian.PutUint32(h, 3)
	binary.LittleEndian.PutUint32(h[24:], uint32(len(cert)+len(firmware)))
	binary.LittleEndian.PutUint32(h[28:], uint32(len(vendor)))
	return slices.Concat(h, cert, []byte(firmware), []byte(vendor))
}

// list is the header in front of a driver and a payload.
func list(driver string, payload []byte) []byte {
	b := make([]byte, fmpHeader+16)
	binary.LittleEndian.PutUint32(b, 1)
	binary.LittleEndian.PutUint16(b[4:], 1)
	binary.LittleEndian.PutUint16(b[6:], 1)
	binary.LittleEndian.PutUint64(b[8:], 24)
	binary.LittleEndian.PutUint64(b[16:], uint64(24+len(driver)))
	return slices.Concat(b, []byte(driver), payload)
}

func TestManagedCapsule(t *testing.T) {
	b := capsule(managed, list("driver..", item("firmware", "v")))
	got, ok := Parse(append(b, "behind"...))
	require.True(t, ok)
	require.Equal(t, []Part{
		{"header", false, 0, 28},
		{"fmp", false, 28, 24},
		{"driver:0", true, 52, 8},
		{"payload:0/header", false, 60, 48},
		{"payload:0/authentication", false, 108, 32},
		{"payload:0", true, 140, 8},
		{"payload:0/vendor", false, 148, 1},
	}, got)
}

func TestOtherCapsules(t *testing.T) {
	for _, guid := range []string{plain, ami, amiSigned, intel} {
		got, ok := Parse(capsule(guid, []byte("firmware")))
		require.True(t, ok)
		require.Equal(t, Part{"payload:0", true, 28, 8}, got[1])
	}
	_, ok := Parse(capsule("0123456789abcdef", []byte("firmware")))
	require.False(t, ok)
}

func TestClaimsThatDoNotHold(t *testing.T) {
	for name, edit := range map[string]func([]byte){
		"longer than the file":  func(b []byte) { b[27] = 1 },
		"header longer than it": func(b []byte) { b[19] = 1 },
		"header too short":      func(b []byte) { b[16] = 27 },
		"item outside":          func(b []byte) { b[36+7] = 1 },
		"item in the list":      func(b []byte) { b[36] = 8 },
		"too many items":        func(b []byte) { b[33] = 1 },
		"other version":         func(b []byte) { b[28] = 2 },
	} {
		b := capsule(managed, list("driver..", item("firmware", "v")))
		edit(b)
		_, ok := Parse(b)
		require.False(t, ok, name)
	}
	b := capsule(managed, list("driver..", item("firmware", "v")))
	b[60] = 9 // a payload of a version that is not known stays whole
	got, ok := Parse(b)
	require.True(t, ok)
	require.Len(t, got, 3)
}

func FuzzParse(f *testing.F) {
	f.Add(capsule(managed, list("driver..", item("firmware", "v"))))
	f.Add(capsule(ami, []byte("firmware")))
	f.Fuzz(func(t *testing.T, b []byte) {
		parts, _ := Parse(b)
		end := 0
		for _, p := range parts {
			if p.Offset < end || p.Length <= 0 || p.Offset+p.Length > len(b) {
				t.Fatalf("part %v in %d bytes", p, len(b))
			}
			end = p.Offset + p.Length
		}
	})
}
