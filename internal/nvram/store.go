package nvram

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/assay-hw/assay/internal/ffs"
)

// Store is one structure of a volume of variables.
type Store struct {
	Name           string // "vss", "svs", "nss", "vss2", "fdc", "ftw", "evsa", "fsys", "gaid", "flashmap", "cmdb", "slic-key", "slic-marker"
	Offset, Length int
	Header         int    // bytes before the records
	Format         Format // of the records, None when there are none
	Volatile       bool   // written in operation behind the header
}

// maxStores bounds a volume; real ones hold a handful. A mark that is no store
// may cost a checksum over what it claims, so that these are counted too.
const (
	maxStores = 64
	maxTries  = 1 << 10
)

// Find finds the structures in a volume's body, in order and side by side (the
// layouts are those that UEFITool knows). A mark alone makes no store: lengths
// have to fit, checksums to hold where there are any, and a store without one
// has to begin with a record or to be empty.
func Find(b []byte) []Store {
	const align = 4
	var out []Store
	tries := 0
	for at := 0; at+align <= len(b) && len(out) < maxStores && tries < maxTries; {
		s, ok := store(b[at:])
		if !ok {
			if s.Name != "" {
				tries++
			}
			at += align
			continue
		}
		s.Offset = at
		out = append(out, s)
		at += (s.Length + align - 1) &^ (align - 1)
	}
	return out
}

// store reads the structure that begins with b. An empty one may be as short
// as Apple's, of 15 bytes, and be the last of its volume.
func store(b []byte) (Store, bool) {
	const short, least = fsysHeader + 4, 28
	if len(b) < short {
		return Store{}, false
	}
	switch string(b[:4]) {
	case "$VSS":
		return vssStore(b, "vss")
	case "$SVS":
		return vssStore(b, "svs")
	case "$NSS":
		return vssStore(b, "nss")
	case "_FDC":
		return fdcStore(b)
	case "Fsys":
		return fsysStore(b, "fsys")
	case "Gaid":
		return fsysStore(b, "gaid")
	case "_FLA":
		return flashMap(b)
	case "CMDB":
		const size = 0x100
		return Store{Name: "cmdb", Length: size}, binary.LittleEndian.Uint32(b[4:]) == 12 && len(b) >= size
	}
	if string(b[4:8]) == "EVSA" {
		return evsaStore(b)
	}
	if len(b) < least {
		return Store{}, false
	}
	switch {
	case string(b[16:20]) == "RSA1" && binary.LittleEndian.Uint64(b) == 0x9c<<32 && len(b) >= 0x9c:
		return Store{Name: "slic-key", Length: 0x9c}, true
	case binary.LittleEndian.Uint64(b) == 0xb6<<32|1 && len(b) >= 0xb6 && string(b[26:34]) == "WINDOWS ":
		return Store{Name: "slic-marker", Length: 0xb6}, true
	}
	switch binary.LittleEndian.Uint32(b) {
	case 0x9e58292b, 0xfff12b8d:
		return ftwStore(b)
	case 0xddcf3616, 0xddcf3617, 0xaaf32c78:
		f, size := ParseHeader(b)
		s := Store{Name: "vss2", Length: size, Header: Header, Format: f, Volatile: true}
		return s, f != None && b[20] == formatted && begins(b[Header:size])
	}
	return Store{}, false
}

// formatted is the state of a store that can be used.
const formatted = 0x5a

// begins reports whether records begin here, or nothing was written yet.
func begins(b []byte) bool {
	if len(b) >= simpleHeader && binary.LittleEndian.Uint16(b) == startID {
		return true
	}
	for _, c := range b {
		if c != 0xff {
			return false
		}
	}
	return len(b) > 0
}

const vssHeader = 16

func vssStore(b []byte, name string) (Store, bool) {
	size := uint64(binary.LittleEndian.Uint32(b[4:]))
	if size <= vssHeader || size > uint64(len(b)) || b[8] != formatted {
		return Store{}, false
	}
	return Store{Name: name, Length: int(size), Header: vssHeader, Format: VSS, Volatile: true}, begins(b[vssHeader:size])
}

// fdcStore reads Insyde's area with a volume of its own, of which the store
// takes all.
func fdcStore(b []byte) (Store, bool) {
	const fdcHeader = 8
	size := uint64(binary.LittleEndian.Uint32(b[4:]))
	if size <= fdcHeader || size > uint64(len(b)) {
		return Store{}, false
	}
	v, ok := ffs.ParseVolume(b[fdcHeader:size])
	if !ok || v.Length-v.Header < Header {
		return Store{Name: "fdc"}, false
	}
	s := Store{Name: "fdc", Length: fdcHeader + v.Length, Volatile: true}
	inner := b[fdcHeader+v.Header : s.Length]
	switch f, _ := ParseHeader(inner); {
	case string(inner[:4]) == "$VSS" && inner[8] == formatted:
		s.Header, s.Format = fdcHeader+v.Header+vssHeader, VSS
	case f != None && inner[20] == formatted:
		s.Header, s.Format = fdcHeader+v.Header+Header, f
	default:
		return Store{}, false
	}
	return s, begins(b[s.Header:s.Length])
}

// The marks of the fault-tolerant writer's block: edk2's 9E58292B in two
// spellings, and in old firmware the volume's GUID FFF12B8D.
const (
	guidWork    = "\x2b\x29\x58\x9e\x68\x7c\x7d\x49\xa0\xce\x65\x00\xfd\x9f\x1b\x95"
	guidOldWork = "\x2b\x29\x58\x9e\x68\x7c\x7d\x49\x0a\xce\x65\x00\xfd\x9f\x1b\x95"
	guidVolume  = "\x8d\x2b\xf1\xff\x96\x76\x8b\x4c\xa9\x85\x27\x47\x07\x5b\x4f\x50"
)

// ftwStore reads a block, whose length has 32 or 64 bits.
func ftwStore(b []byte) (Store, bool) {
	if g := string(b[:16]); g != guidWork && g != guidOldWork && g != guidVolume {
		return Store{}, false
	}
	queue, header := uint64(binary.LittleEndian.Uint32(b[24:])), uint64(28)
	if queue%16 != 4 {
		if header = 32; uint64(len(b)) < header {
			return Store{}, false
		}
		queue = binary.LittleEndian.Uint64(b[24:])
	}
	if queue == 0 || uint64(len(b)) < header || queue > uint64(len(b))-header {
		return Store{}, false
	}
	h := append([]byte(nil), b[:header]...)
	copy(h[16:], "\xff\xff\xff\xff\xff") // checksum and state as they were when it was made
	if crc32.ChecksumIEEE(h) != binary.LittleEndian.Uint32(b[16:]) {
		return Store{}, false
	}
	return Store{Name: "ftw", Length: int(header + queue), Header: 0, Volatile: true}, true
}

const evsaHeader = 20

func evsaStore(b []byte) (Store, bool) {
	if len(b) < evsaHeader {
		return Store{}, false
	}
	head, size := uint64(binary.LittleEndian.Uint16(b[2:])), uint64(binary.LittleEndian.Uint32(b[12:]))
	if b[0] != evsaTypeStore || head < evsaHeader || head > 4*evsaHeader || size <= head || size > uint64(len(b)) || !evsaSum(b[:head]) {
		return Store{}, false
	}
	return Store{Name: "evsa", Length: int(size), Header: int(head), Format: EVSA, Volatile: true}, true
}

const fsysHeader = 11

func fsysStore(b []byte, name string) (Store, bool) {
	size := int(binary.LittleEndian.Uint16(b[9:]))
	if size < fsysHeader+4 || size > len(b) || crc32.ChecksumIEEE(b[:size-4]) != binary.LittleEndian.Uint32(b[size-4:]) {
		return Store{Name: name}, false
	}
	return Store{Name: name, Length: size, Header: fsysHeader, Format: Fsys, Volatile: true}, true
}

// flashMap is Phoenix's: a header and entries of 36 bytes.
func flashMap(b []byte) (Store, bool) {
	const header, entry = 16, 36
	n := int(binary.LittleEndian.Uint16(b[10:]))
	size := header + n*entry
	return Store{Name: "flashmap", Length: size}, string(b[:10]) == "_FLASH_MAP" && n > 0 && size <= len(b)
}
