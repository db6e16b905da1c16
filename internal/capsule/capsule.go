// Package capsule divides an update capsule, the file in which vendors give
// out firmware (UEFI 2.10, 8.5.3 and 23.3): its headers, embedded drivers, and
// payloads with what signs them.
//
// It proves where the parts claim to lie. It verifies no signature.
package capsule

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// Part is one part of a capsule.
type Part struct {
	Name           string // "header", "fmp", "driver:0", "payload:0/authentication", "payload:0"
	Payload        bool   // holds firmware
	Offset, Length int
}

const (
	header    = 28
	fmpHeader = 8
	maxItems  = 64
)

// The capsules that are known by their GUID, in stored byte order.
const (
	plain     = "\xbd\x86\x66\x3b\x76\x0d\x30\x40\xb7\x0e\xb5\x51\x9e\x2f\xc5\xa0"
	amiSigned = "\x8b\xa6\x3c\x4a\x23\x77\xfb\x48\x80\x3d\x57\x8c\xc1\xfe\xc4\x4d"
	ami       = "\x90\xbb\xee\x14\x0a\x89\xdb\x43\xae\xd1\x5d\x3c\x45\x88\xa4\x18"
	intel     = "\xb9\x82\x91\x53\xb5\xab\x91\x43\xb6\x9a\xe3\xa9\x43\xf7\x2f\xcc"
	managed   = "\xed\xd5\xcb\x6d\x2d\xe8\x44\x4c\xbd\xa1\x71\x94\x19\x9a\xd9\x2a" // Firmware Management Protocol
)

// Parse divides a capsule at the start of b. Parts are in order and do not
// overlap; what no part claims lies between them.
func Parse(b []byte) ([]Part, bool) {
	if len(b) < header {
		return nil, false
	}
	size, total := uint64(binary.LittleEndian.Uint32(b[16:])), uint64(binary.LittleEndian.Uint32(b[24:]))
	if size < header || size > total || total > uint64(len(b)) {
		return nil, false
	}
	parts := []Part{{Name: "header", Length: int(size)}}
	switch string(b[:16]) {
	case managed:
		return managedParts(b[:total], int(size), parts)
	case plain, ami, amiSigned, intel:
		if size < total {
			parts = append(parts, Part{Name: "payload:0", Payload: true, Offset: int(size), Length: int(total - size)})
		}
		return parts, true
	}
	return nil, false
}

// managedParts follows the list of offsets behind the header (UEFI 2.10,
// 23.3.2).
func managedParts(b []byte, at int, parts []Part) ([]Part, bool) {
	if len(b)-at < fmpHeader || binary.LittleEndian.Uint32(b[at:]) != 1 {
		return nil, false
	}
	drivers, payloads := int(binary.LittleEndian.Uint16(b[at+4:])), int(binary.LittleEndian.Uint16(b[at+6:]))
	n := drivers + payloads
	if n > maxItems || len(b)-at < fmpHeader+8*n {
		return nil, false
	}
	parts = append(parts, Part{Name: "fmp", Offset: at, Length: fmpHeader + 8*n})
	starts := make([]int, n)
	for i := range n {
		offset := binary.LittleEndian.Uint64(b[at+fmpHeader+8*i:])
		if offset < uint64(fmpHeader+8*n) || offset >= uint64(len(b)-at) {
			return nil, false
		}
		starts[i] = at + int(offset)
	}
	for i, start := range starts {
		end := len(b) // of a driver, whose length nothing says
		for _, s := range starts {
			if s > start {
				end = min(end, s)
			}
		}
		if i < drivers {
			parts = append(parts, Part{Name: fmt.Sprintf("driver:%d", i), Payload: true, Offset: start, Length: end - start})
			continue
		}
		parts = append(parts, payload(b[:end], start, fmt.Sprintf("payload:%d", i-drivers))...)
	}
	slices.SortStableFunc(parts, func(x, y Part) int { return cmp.Compare(x.Offset, y.Offset) })
	for i := 1; i < len(parts); i++ {
		if parts[i].Offset < parts[i-1].Offset+parts[i-1].Length {
			return nil, false
		}
	}
	return parts, true
}

// payload divides one item: its header, which grew with its version, what
// signs it, the firmware, and the vendor's own bytes.
func payload(b []byte, at int, name string) []Part {
	sizes := map[uint32]int{1: 32, 2: 40, 3: 48}
	if len(b)-at < 32 {
		return nil
	}
	head := sizes[binary.LittleEndian.Uint32(b[at:])]
	if head == 0 || len(b)-at < head {
		return nil
	}
	size, vendor := uint64(binary.LittleEndian.Uint32(b[at+24:])), uint64(binary.LittleEndian.Uint32(b[at+28:]))
	if size+vendor > uint64(len(b)-at-head) {
		return nil
	}
	parts := []Part{{Name: name + "/header", Offset: at, Length: head}}
	body := b[at+head : at+head+int(size)]
	skip := authentication(body)
	add := func(suffix string, start, length int, firmware bool) {
		if length > 0 {
			parts = append(parts, Part{Name: name + suffix, Payload: firmware, Offset: start, Length: length})
		}
	}
	add("/authentication", at+head, skip, false)
	add("", at+head+skip, int(size)-skip, true)
	add("/vendor", at+head+int(size), int(vendor), false)
	return parts
}

// authentication is the length of EFI_FIRMWARE_IMAGE_AUTHENTICATION at the start
// of a payload, 0 without one: a counter and a WIN_CERTIFICATE of type
// WIN_CERT_TYPE_EFI_GUID (UEFI 2.10, 23.1.2 and 32.2.4).
func authentication(b []byte) int {
	if len(b) < 8+24 || binary.LittleEndian.Uint16(b[12:]) != 0x0200 || binary.LittleEndian.Uint16(b[14:]) != 0x0ef1 {
		return 0
	}
	n := uint64(binary.LittleEndian.Uint32(b[8:]))
	if n < 24 || n > uint64(len(b)-8) {
		return 0
	}
	return 8 + int(n)
}
