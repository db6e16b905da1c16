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
	"strings"
)

// Part is one part of a capsule.
type Part struct {
	Name           string // "header", "fmp", "driver:0", "payload:0/authentication", "payload:0"
	Facts          string // what its header says, for people
	Payload        bool   // holds firmware
	Data           bool   // says more than where the firmware lies
	Offset, Length int
	Signed         int // of what signs: the bytes behind it that the signature is over
}

const (
	header    = 28
	fmpHeader = 8
	maxItems  = 64
)

// kinds are the capsules that are known by their GUID (UEFI 2.10, 23.3; UEFITool
// for those of vendors).
var kinds = map[string]string{
	managed:                                "FMP capsule",
	"3B6686BD-0D76-4030-B70E-B5519E2FC5A0": "capsule",
	"539182B9-ABB5-4391-B69A-E3A943F72FCC": "Intel capsule",
	"E20BAFD3-9914-4F4F-9537-3129E090EB3C": "Lenovo capsule",
	"25B5FE76-8243-4A5C-A9BD-7EE3246198B5": "Lenovo capsule",
	toshiba:                                "Toshiba capsule",
	aptioSigned:                            "AMI Aptio capsule, signed",
	aptio:                                  "AMI Aptio capsule, not signed",
}

const (
	managed     = "6DCBD5ED-E82D-4C44-BDA1-7194199AD92A" // Firmware Management Protocol
	toshiba     = "3BE07062-1D51-45D2-832B-F093257ED461"
	aptioSigned = "4A3CA68B-7723-48FB-803D-578CC1FEC44D"
	aptio       = "14EEBB90-890A-43DB-AED1-5D3C4588A418"
)

// Capsule header flags that are defined, beside the sixteen of the vendor (UEFI
// 2.10, 8.5.3).
const (
	flagPersist = 1 << 16
	flagsKnown  = 0x7ffff
)

// Parse divides a capsule at the start of b. Parts are in order and do not
// overlap; what no part claims lies between them.
func Parse(b []byte) ([]Part, bool) {
	if len(b) < header {
		return nil, false
	}
	id := guid(b)
	size, flags, total := uint64(binary.LittleEndian.Uint32(b[16:])), binary.LittleEndian.Uint32(b[20:]), uint64(binary.LittleEndian.Uint32(b[24:]))
	if id == toshiba { // which has the last two the other way round
		flags, total = uint32(total), uint64(flags)
	}
	if size < header || size > total || total > uint64(len(b)) {
		return nil, false
	}
	kind, known := kinds[id]
	if !known {
		if !ofClass(b, int(size), flags, total) {
			return nil, false
		}
		kind = "capsule for firmware class " + id
	}
	facts := fmt.Sprintf("%s, flags %08x", kind, flags)
	if id == managed {
		return managedParts(b[:total], int(size), []Part{{Name: "header", Facts: facts, Length: int(size)}})
	}
	parts := []Part{{Name: "header", Facts: facts, Length: int(size)}}
	if id == aptio || id == aptioSigned {
		if image := aptioImage(b, size, total); image > size {
			parts = append(parts, Part{Name: "authentication", Facts: "AMI's signature, not checked", Data: true, Offset: int(size), Length: int(image - size)})
			size = image
		}
	}
	if size < total {
		parts = append(parts, Part{Name: "payload:0", Payload: true, Offset: int(size), Length: int(total - size)})
	}
	return parts, true
}

// aptioImage is where the image begins in AMI's capsules: the header gives it,
// since a signature and a list of what it covers lie before it.
func aptioImage(b []byte, size, total uint64) uint64 {
	if len(b) < header+4 {
		return size
	}
	if image := uint64(binary.LittleEndian.Uint16(b[header:])); image >= size && image <= total {
		return image
	}
	return size
}

// ofClass recognises a capsule whose GUID is that of a system's firmware
// resource, which can be any: nothing but such a header says persist across a
// reset, ends where the file ends, and is zero behind its fields.
func ofClass(b []byte, size int, flags uint32, total uint64) bool {
	const most = 0x10000
	return total == uint64(len(b)) && size <= most && flags&flagPersist != 0 && flags&^flagsKnown == 0 &&
		!slices.ContainsFunc(b[header:size], func(c byte) bool { return c != 0 })
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
// signs it, the firmware with the header that edk2 puts before it, and the
// vendor's own bytes (UEFI 2.10, 23.3.2).
func payload(b []byte, at int, name string) []Part {
	sizes := map[uint32]int{1: 32, 2: 40, 3: 48}
	if len(b)-at < 32 {
		return nil
	}
	version := binary.LittleEndian.Uint32(b[at:])
	head := sizes[version]
	if head == 0 || len(b)-at < head {
		return nil
	}
	size, vendor := uint64(binary.LittleEndian.Uint32(b[at+24:])), uint64(binary.LittleEndian.Uint32(b[at+28:]))
	if size+vendor > uint64(len(b)-at-head) {
		return nil
	}
	parts := []Part{{Name: name + "/header", Facts: itemFacts(b[at:at+head], version), Offset: at, Length: head}}
	body := b[at+head : at+head+int(size)]
	skip, facts := authentication(body)
	needs := 0
	if version >= 3 && binary.LittleEndian.Uint64(b[at+40:])&withDependencies != 0 {
		needs = dependencies(body[skip:])
	}
	own, ownFacts := payloadHeader(body[skip+needs:])
	add := func(p Part, suffix string, start, length int) {
		if length > 0 {
			p.Name, p.Offset, p.Length = name+suffix, start, length
			parts = append(parts, p)
		}
	}
	add(Part{Facts: facts, Data: true, Signed: int(size) - skip}, "/authentication", at+head, skip)
	add(Part{Data: true}, "/dependencies", at+head+skip, needs)
	add(Part{Facts: ownFacts, Data: true}, "/version", at+head+skip+needs, own)
	add(Part{Payload: true}, "", at+head+skip+needs+own, int(size)-skip-needs-own)
	add(Part{Data: true}, "/vendor", at+head+int(size), int(vendor))
	return parts
}

// itemFacts are what EFI_FIRMWARE_MANAGEMENT_CAPSULE_IMAGE_HEADER says.
func itemFacts(h []byte, version uint32) string {
	facts := fmt.Sprintf("image type %s, index %d", guid(h[4:]), h[20])
	if version >= 2 {
		facts += fmt.Sprintf(", hardware instance %x", binary.LittleEndian.Uint64(h[32:]))
	}
	if version >= 3 {
		support := binary.LittleEndian.Uint64(h[40:])
		for i, s := range []string{"with authentication", "with dependencies"} {
			if support&(1<<i) != 0 {
				facts += ", " + s
			}
		}
	}
	return facts
}

// Signatures by the GUID of their certificate's type (UEFI 2.10, 32.2.4).
var signatures = map[string]string{
	"4AAFD29D-68DF-49EE-8AA9-347D375665A7": "PKCS#7",
	"A7717414-C616-4977-9420-844712A735BF": "RSA-2048 with SHA-256",
}

const signatureHeader = 8 + 8 + 16 // counter, WIN_CERTIFICATE, type

// authentication is the length of EFI_FIRMWARE_IMAGE_AUTHENTICATION at the start
// of a payload, 0 without one: a counter and a WIN_CERTIFICATE of type
// WIN_CERT_TYPE_EFI_GUID (UEFI 2.10, 23.1.2 and 32.2.4).
func authentication(b []byte) (length int, facts string) {
	if len(b) < signatureHeader || binary.LittleEndian.Uint16(b[12:]) != 0x0200 || binary.LittleEndian.Uint16(b[14:]) != 0x0ef1 {
		return 0, ""
	}
	n := uint64(binary.LittleEndian.Uint32(b[8:]))
	if n < 24 || n > uint64(len(b)-8) {
		return 0, ""
	}
	id := guid(b[16:])
	return 8 + int(n), cmp.Or(signatures[id], "signature of type "+id)
}

// Signature returns the PKCS#7 signature in a part that signs, and what is
// signed behind the firmware: the counter. ok is false for other signatures.
func Signature(part []byte) (pkcs7, counter []byte, ok bool) {
	n, facts := authentication(part)
	if n == 0 || n > len(part) || facts != "PKCS#7" {
		return nil, nil, false
	}
	return part[signatureHeader:n], part[:8], true
}

const withDependencies = 2 // CAPSULE_SUPPORT_DEPENDENCY

// dependencies is the length of an expression over the versions of other
// firmware, up to its end (UEFI 2.10, 23.2), 0 when it has none.
func dependencies(b []byte) int {
	const (
		pushGUID, pushVersion, version, lastOperator, end, length = 0x00, 0x01, 0x02, 0x0c, 0x0d, 0x0e
	)
	for at := 0; at < len(b); at++ {
		switch op := b[at]; {
		case op == end:
			return at + 1
		case op == pushGUID:
			at += 16
		case op == pushVersion, op == length:
			at += 4
		case op == version: // a text
			i := slices.Index(b[at:], 0)
			if i < 0 {
				return 0
			}
			at += i
		case op > lastOperator:
			return 0
		}
	}
	return 0
}

// payloadHeader is the length of the header that edk2's FmpDevicePkg keeps
// before the firmware, with its version and the lowest that it may be replaced
// by (FmpPayloadHeaderV1.h).
func payloadHeader(b []byte) (length int, facts string) {
	const least = 16
	if len(b) < least || string(b[:4]) != "MSS1" {
		return 0, ""
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n < least || uint64(n) > uint64(len(b)) {
		return 0, ""
	}
	return int(n), fmt.Sprintf("version %08x, lowest supported %08x", binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:]))
}

func guid(b []byte) string {
	return strings.ToUpper(fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]))
}
