package ffs

import (
	"encoding/binary"
	"fmt"
)

// SectionType is EFI_SECTION_TYPE (volume 3, 2.1.5.1).
type SectionType byte

// The section types that are told apart here.
const (
	Compression   SectionType = 0x01
	GUIDDefined   SectionType = 0x02
	Disposable    SectionType = 0x03
	PE32          SectionType = 0x10
	PIC           SectionType = 0x11
	TE            SectionType = 0x12
	DXEDepex      SectionType = 0x13
	Version       SectionType = 0x14
	UserInterface SectionType = 0x15
	Compatibility SectionType = 0x16
	VolumeSection SectionType = 0x17
	Subtype       SectionType = 0x18 // freeform with a GUID
	RawSection    SectionType = 0x19
	PEIDepex      SectionType = 0x1b
	MMDepex       SectionType = 0x1c
)

// String returns the name used in reports and in the names of leaves.
func (t SectionType) String() string {
	switch t {
	case Compression:
		return "compression"
	case GUIDDefined:
		return "guided"
	case Disposable:
		return "disposable"
	case PE32:
		return "pe32"
	case PIC:
		return "pic"
	case TE:
		return "te"
	case DXEDepex:
		return "dxe-depex"
	case Version:
		return "version"
	case UserInterface:
		return "ui"
	case Compatibility:
		return "compat16"
	case VolumeSection:
		return "volume-image"
	case Subtype:
		return "subtype"
	case RawSection:
		return "raw"
	case PEIDepex:
		return "pei-depex"
	case MMDepex:
		return "mm-depex"
	}
	return fmt.Sprintf("section-0x%02x", byte(t))
}

// The methods of an EFI_COMPRESSION_SECTION (volume 3, 3.2.5.2).
const (
	NotCompressed      = 0
	StandardCompressed = 1
	CustomCompressed   = 2 // LZMA, in firmware of the Intel framework
)

// ProcessingRequired of a GUID-defined section says that its contents are not
// there as they stand (volume 3, 3.2.5.7).
const ProcessingRequired = 1 << 0

// Section is one section header with the length that it claims.
type Section struct {
	Type       SectionType
	Length     int    // with the header
	Data       int    // where its contents start
	GUID       GUID   // of a GUID-defined and a freeform section
	Attributes uint16 // of a GUID-defined section
	Method     byte   // of a compression section
	Expanded   uint32 // length that a compression section claims for its contents
}

const (
	sectionHeader         = 4
	sectionHeaderExtended = 8
	sectionSizeExtended   = 0xffffff
)

// SectionAlign is the alignment of sections in a file.
const SectionAlign = 4

// ParseSection checks a section header at the start of b (volume 3, 3.2.5.1).
func ParseSection(b []byte) (Section, bool) {
	if len(b) < sectionHeader {
		return Section{}, false
	}
	s := Section{Type: SectionType(b[3]), Length: size24(b), Data: sectionHeader}
	if s.Length == sectionSizeExtended {
		if len(b) < sectionHeaderExtended {
			return Section{}, false
		}
		n := binary.LittleEndian.Uint32(b[4:])
		if uint64(n) > uint64(len(b)) {
			return Section{}, false
		}
		s.Length, s.Data = int(n), sectionHeaderExtended
	}
	if s.Length < s.Data || s.Length > len(b) {
		return Section{}, false
	}
	return s, s.special(b[:s.Length])
}

// special reads what the header of some types adds.
func (s *Section) special(b []byte) bool {
	h := b[s.Data:]
	switch s.Type {
	case Compression:
		if len(h) < 5 {
			return false
		}
		s.Expanded, s.Method = binary.LittleEndian.Uint32(h), h[4]
		s.Data += 5
	case GUIDDefined:
		if len(h) < 20 {
			return false
		}
		s.GUID, s.Attributes = GUIDAt(h), binary.LittleEndian.Uint16(h[18:])
		data := int(binary.LittleEndian.Uint16(h[16:]))
		if data < s.Data+20 || data > len(b) {
			return false
		}
		s.Data = data
	case Subtype:
		if len(h) < 16 {
			return false
		}
		s.GUID = GUIDAt(h)
		s.Data += 16
	case Version:
		if len(h) < 2 {
			return false
		}
		s.Data += 2 // build number
	}
	return true
}
