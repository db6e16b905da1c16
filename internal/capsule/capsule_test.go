package capsule

import (
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func guidBytes(s string) []byte {
	b := []byte{}
	for i, p := range strings.Split(s, "-") {
		raw, _ := hex.DecodeString(p)
		if i < 3 {
			slices.Reverse(raw)
		}
		b = append(b, raw...)
	}
	return b
}

func capsule(guid string, body []byte) []byte {
	b := append(guidBytes(guid), make([]byte, 12)...)
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
	copy(cert[16:], guidBytes("4AAFD29D-68DF-49EE-8AA9-347D375665A7"))
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
		{Name: "header", Facts: "FMP capsule, flags 00000000", Length: 28},
		{Name: "fmp", Offset: 28, Length: 24},
		{Name: "driver:0", Payload: true, Offset: 52, Length: 8},
		{Name: "payload:0/header", Facts: "image type 00000000-0000-0000-0000-000000000000, index 0, hardware instance 0", Offset: 60, Length: 48},
		{Name: "payload:0/authentication", Facts: "PKCS#7", Data: true, Offset: 108, Length: 32, Signed: 8},
		{Name: "payload:0", Payload: true, Offset: 140, Length: 8},
		{Name: "payload:0/vendor", Data: true, Offset: 148, Length: 1},
	}, got)
	p7, counter, ok := Signature(b[108:140])
	require.True(t, ok)
	require.Empty(t, p7)
	require.Len(t, counter, 8)
}

// edk2 keeps versions before the firmware, behind what signs both.
func TestPayloadHeader(t *testing.T) {
	own := slices.Concat([]byte("MSS1"), []byte{16, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0})
	got, ok := Parse(capsule(managed, list("driver..", item(string(own)+"firmware", ""))))
	require.True(t, ok)
	require.Equal(t, Part{Name: "payload:0/version", Facts: "version 00000007, lowest supported 00000005", Data: true, Offset: 140, Length: 16}, got[5])
	require.Equal(t, Part{Name: "payload:0", Payload: true, Offset: 156, Length: 8}, got[6])
	require.Equal(t, 24, got[4].Signed)
	own[4] = 200 // longer than the payload
	got, _ = Parse(capsule(managed, list("driver..", item(string(own)+"firmware", ""))))
	require.Len(t, got, 6)
}

func TestDependencies(t *testing.T) {
	expression := slices.Concat([]byte{0}, make([]byte, 16), []byte{1, 9, 0, 0, 0, 2}, []byte("1.0\x00"), []byte{7, 0x0d})
	require.Equal(t, len(expression), dependencies(append(expression, "MSS1"...)))
	for _, b := range [][]byte{nil, {0}, {1, 2}, {2, 'x'}, {0x55}, {7, 7}} {
		require.Zero(t, dependencies(b))
	}
	b := capsule(managed, list("driver..", item(string(expression)+"firmware", "")))
	b[60+40] = 3 // authentication and dependencies
	got, ok := Parse(b)
	require.True(t, ok)
	require.Equal(t, Part{Name: "payload:0/dependencies", Data: true, Offset: 140, Length: len(expression)}, got[5])
}

func TestOtherCapsules(t *testing.T) {
	for guid := range kinds {
		if guid == managed {
			continue
		}
		b := capsule(guid, []byte("firmware"))
		if guid == toshiba {
			copy(b[20:], b[24:28])
			clear(b[24:28])
		}
		got, ok := Parse(b)
		require.True(t, ok, guid)
		require.Equal(t, Part{Name: "payload:0", Payload: true, Offset: 28, Length: 8}, got[1])
	}
	_, ok := Parse(capsule("01234567-0123-0123-0123-0123456789AB", []byte("firmware")))
	require.False(t, ok)
}

func TestAptioImageBeginsBehindItsSignature(t *testing.T) {
	b := capsule(aptioSigned, []byte("\x24\x00\x20\x00signfirmware"))
	got, ok := Parse(b)
	require.True(t, ok)
	require.Equal(t, Part{Name: "authentication", Facts: "AMI's signature, not checked", Data: true, Offset: 28, Length: 8}, got[1])
	require.Equal(t, Part{Name: "payload:0", Payload: true, Offset: 36, Length: 8}, got[2])
}

// Systems name their firmware by GUIDs of their own.
func TestCapsuleOfAFirmwareClass(t *testing.T) {
	b := capsule("01234567-0123-0123-0123-0123456789AB", []byte("firmware"))
	b[22] = 1
	got, ok := Parse(b)
	require.True(t, ok)
	require.Equal(t, "capsule for firmware class 01234567-0123-0123-0123-0123456789AB, flags 00010000", got[0].Facts)
	_, ok = Parse(append(b, 0))
	require.False(t, ok, "a file that goes on")
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
	f.Add(capsule(aptio, []byte("firmware")))
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
