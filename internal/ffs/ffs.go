// Package ffs reads the headers of UEFI firmware volumes, of the files in them
// and of the sections in those (UEFI Platform Initialization 1.8, volume 3).
//
// A header is returned only when it holds: its checksum, and every length
// inside the bytes that are there. It proves where things claim to lie, not
// that firmware would load them.
package ffs

import (
	"encoding/binary"
	"fmt"
)

// GUID is an EFI_GUID as the PI specification prints it, in upper case.
type GUID string

// The GUIDs that decide how bytes are read.
const (
	FileSystem1     GUID = "7A9354D9-0468-444A-81CE-0BF617D890DF"
	FileSystem2     GUID = "8C8CE578-8A3D-4F1C-9935-896185C32DD3"
	FileSystem3     GUID = "5473C07A-3DCB-4DCA-BD6F-1E9689E7349A"
	FileSystemApple GUID = "04ADEEAD-61FF-4D31-B6BA-64F8BF901F5A"
	SystemNVData    GUID = "FFF12B8D-7696-4C8B-A985-2747075B4F50"
	NVARFile        GUID = "CEF5B9A3-476D-497F-9FDC-E98143E0422C" // AMI's variables in a file
)

// GUIDAt prints the first 16 bytes, which must be there.
func GUIDAt(b []byte) GUID {
	return GUID(fmt.Sprintf("%08X-%04X-%04X-%04X-%012X", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16]))
}

// Volume is one EFI_FIRMWARE_VOLUME_HEADER (volume 3, 3.2.1).
type Volume struct {
	FileSystem GUID
	Name       GUID // of the extended header, empty without one
	Length     int
	Header     int  // bytes of the header with its block map
	Extended   int  // offset of the extended header, 0 without one
	Erased     byte // what free space holds
	Damaged    bool // the header's checksum does not hold
}

// SignatureAt is where a volume's signature stands behind its start.
const SignatureAt = 40

// Signature begins a volume, SignatureAt bytes into it.
const Signature = "_FVH"

const (
	volumeHeaderMin   = 56 + 8 // fixed part and the block map's end
	volumeHeaderMax   = 512    // room for 56 runs of blocks; a signature is found often, so this bounds the work
	volumeExtendedMin = 20
	erasePolarity     = 1 << 11 // EFI_FVB_ERASE_POLARITY
)

// ParseVolume checks a header at the start of b: sizes, block map and checksum
// must all hold, since the signature also occurs inside code.
func ParseVolume(b []byte) (Volume, bool) {
	v, ok := ParseDamaged(b)
	return v, ok && !v.Damaged
}

// ParseDamaged is ParseVolume for a header whose checksum may be wrong, which
// not all firmware looks at. The files of a volume with a wrong one are taken
// as damaged too.
func ParseDamaged(b []byte) (Volume, bool) {
	if len(b) < volumeHeaderMin || string(b[SignatureAt:SignatureAt+4]) != Signature {
		return Volume{}, false
	}
	length := binary.LittleEndian.Uint64(b[32:])
	header := int(binary.LittleEndian.Uint16(b[48:]))
	revision := b[55]
	if header < volumeHeaderMin || header > volumeHeaderMax || header%2 != 0 || revision < 1 || revision > 2 ||
		length < uint64(header) || length > uint64(len(b)) {
		return Volume{}, false
	}
	if !blockMapHolds(b[56:header], length) {
		return Volume{}, false
	}
	v := Volume{FileSystem: GUIDAt(b[16:]), Length: int(length), Header: header, Damaged: sum16(b[:header]) != 0}
	if binary.LittleEndian.Uint32(b[44:])&erasePolarity != 0 {
		v.Erased = 0xff
	}
	if ext := int(binary.LittleEndian.Uint16(b[52:])); revision == 2 && ext >= header && ext+volumeExtendedMin <= v.Length {
		v.Extended, v.Name = ext, GUIDAt(b[ext:])
	}
	return v, true
}

// HasFiles reports whether the volume holds files in a layout known here.
func (v Volume) HasFiles() bool {
	switch v.FileSystem {
	case FileSystem1, FileSystem2, FileSystem3, FileSystemApple:
		return true
	}
	return false
}

// blockMapHolds checks that the block map ends inside the header and adds up
// to the volume's length.
func blockMapHolds(b []byte, length uint64) bool {
	var sum uint64
	for ; len(b) >= 8; b = b[8:] {
		n, size := uint64(binary.LittleEndian.Uint32(b)), uint64(binary.LittleEndian.Uint32(b[4:]))
		if n == 0 && size == 0 {
			return sum == length
		}
		if sum += n * size; sum > length {
			return false
		}
	}
	return false
}

func sum16(b []byte) (s uint16) {
	for ; len(b) >= 2; b = b[2:] {
		s += binary.LittleEndian.Uint16(b)
	}
	return s
}

// FileType is EFI_FV_FILETYPE (volume 3, 2.1.4.1).
type FileType byte

// The file types that are told apart here.
const (
	Raw         FileType = 0x01
	Freeform    FileType = 0x02
	SecCore     FileType = 0x03
	VolumeImage FileType = 0x0b
	LastKnown   FileType = 0x0f
	Pad         FileType = 0xf0
)

var fileTypes = [...]string{
	"", "raw", "freeform", "SEC core", "PEI core", "DXE core", "PEIM", "DXE driver", "combined PEIM/DXE driver", "application",
	"MM driver", "volume image", "combined MM/DXE driver", "MM core", "MM standalone driver", "MM standalone core",
}

// String returns the name used in reports.
func (t FileType) String() string {
	switch {
	case t == Pad:
		return "pad"
	case t >= Raw && t <= LastKnown:
		return fileTypes[t]
	}
	return fmt.Sprintf("file type 0x%02x", byte(t))
}

// HasSections reports whether a file of this type is made of sections. Raw and
// pad files are not, and of unknown types it cannot be said.
func (t FileType) HasSections() bool { return t >= Freeform && t <= LastKnown }

// File is one EFI_FFS_FILE_HEADER with the length that it claims.
type File struct {
	GUID   GUID
	Type   FileType
	Header int
	Length int // with the header
}

// FileHeader is the size of a file's shorter header.
const FileHeader = 24

const (
	fileHeaderLarge = 32
	fileLarge       = 1 << 0 // FFS_ATTRIB_LARGE_FILE, of the third file system only
)

// ParseFile checks a file header at the start of b, which goes on to the end
// of the volume. The checksum leaves out the state and the body's checksum
// (volume 3, 3.2.3).
func (v Volume) ParseFile(b []byte) (File, bool) {
	if len(b) < FileHeader {
		return File{}, false
	}
	f := File{GUID: GUIDAt(b), Type: FileType(b[18]), Header: FileHeader, Length: size24(b[20:])}
	if v.FileSystem == FileSystem3 && b[19]&fileLarge != 0 {
		if len(b) < fileHeaderLarge {
			return File{}, false
		}
		n := binary.LittleEndian.Uint64(b[24:])
		if n > uint64(len(b)) {
			return File{}, false
		}
		f.Header, f.Length = fileHeaderLarge, int(n)
	}
	if f.Length < f.Header || f.Length > len(b) {
		return File{}, false
	}
	var sum byte
	for i, c := range b[:f.Header] {
		if i != 17 && i != 23 {
			sum += c
		}
	}
	known := f.Type == Pad || f.Type >= Raw && f.Type <= LastKnown
	return f, sum == 0 || v.Damaged && known
}

func size24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
