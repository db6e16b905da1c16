// Package cbfs reads coreboot's file system: files one behind the other, each
// with a header, on boundaries of 64 bytes (coreboot commonlib, cbfs_serialized.h).
//
// It proves which files lie where and what they claim to be; contents, which
// may be compressed, are not looked into.
package cbfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// File is one file, its header included.
type File struct {
	Offset, Length int
	Name           string
	Type           Type
}

// Type says what a file is for.
type Type uint32

// The types of room that no file takes.
const (
	null    Type = 0
	deleted Type = 0xffffffff
)

// String returns the name used in reports.
func (t Type) String() string {
	switch t {
	case null, deleted:
		return "empty"
	case 0x01:
		return "bootblock"
	case 0x02:
		return "CBFS header"
	case 0x10, 0x11:
		return "stage"
	case 0x20:
		return "payload"
	case 0x21:
		return "flat payload"
	case 0x30:
		return "option ROM"
	case 0x40:
		return "boot splash"
	case 0x50:
		return "raw"
	case 0x53:
		return "microcode"
	case 0x60:
		return "FSP"
	case 0xaa:
		return "CMOS default"
	case 0x1aa:
		return "CMOS layout"
	}
	return fmt.Sprintf("CBFS type 0x%x", uint32(t))
}

// Empty reports whether the file is room for others.
func (f File) Empty() bool { return f.Type == null || f.Type == deleted }

// Signature begins a file.
const Signature = "LARCHIVE"

const (
	header = 24
	align  = 64

	// MaxFiles bounds an area; real ones hold some dozen files.
	MaxFiles = 1 << 12
)

// Parse reads the files of an area that starts with one. Files do not overlap;
// it ends at the first that does not hold.
func Parse(b []byte) []File {
	var out []File
	for at := 0; at < len(b) && len(out) < MaxFiles; {
		f, ok := file(b, at)
		if !ok {
			break
		}
		out = append(out, f)
		at = (at + f.Length + align - 1) &^ (align - 1)
	}
	return out
}

func file(b []byte, at int) (File, bool) {
	if len(b)-at < header || string(b[at:at+8]) != Signature {
		return File{}, false
	}
	h := b[at:]
	length, offset := binary.BigEndian.Uint32(h[8:]), binary.BigEndian.Uint32(h[20:])
	if offset < header || uint64(offset)+uint64(length) > uint64(len(h)) {
		return File{}, false
	}
	f := File{Offset: at, Length: int(offset) + int(length), Type: Type(binary.BigEndian.Uint32(h[12:]))}
	name := h[header:offset]
	if i := bytes.IndexByte(name, 0); i >= 0 {
		name = name[:i]
	}
	f.Name = string(bytes.Map(func(r rune) rune {
		if r <= 0x20 || r > 0x7e {
			return '_'
		}
		return r
	}, name[:min(len(name), 128)]))
	return f, true
}
