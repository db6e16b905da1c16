// Package pfs reads what Dell ships firmware in: sections of compressed data in
// a program for Windows, and in them volumes of entries, each with its payload,
// its description and what signs both. The layout is what BIOSUtilities
// (platomav) found out; no document of Dell is public.
//
// It proves that checksums hold where the format has them. No signature is
// verified.
package pfs

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"unicode/utf16"
)

// ErrMalformed is wrapped when the bytes are no volume.
var ErrMalformed = errors.New("malformed PFS")

// Section is one compressed run in a program.
type Section struct {
	Kind   string // "firmware", "utilities"
	Offset int
	Length int    // with header and footer
	Stream []byte // zlib
}

const (
	sectionMark = "\xee\xaa\x76\x1b\xec\xbb\x20\xf1\xe6\x51"
	footerMark  = "\xee\xaa\xee\x8f\x49\x1b\xe8\xae\x14\x37\x90"
	sectionHead = 16 // length, kind, mark, checksum
	markAt      = 5
	maxSections = 64
)

// BeginsSection reports whether b begins with a section.
func BeginsSection(b []byte) bool {
	_, ok := section(b, 0)
	return ok
}

// Sections finds the sections in b, in order. Sections inside of others are part
// of these.
func Sections(b []byte) []Section {
	var out []Section
	for at := 0; len(out) < maxSections; {
		i := bytes.Index(b[at:], []byte(sectionMark))
		if i < 0 {
			break
		}
		s, ok := section(b, at+i-markAt)
		if !ok || len(out) > 0 && s.Offset < out[len(out)-1].Offset+out[len(out)-1].Length {
			at += i + 1
			continue
		}
		out = append(out, s)
		at = s.Offset + s.Length
	}
	return out
}

// section reads a section at an offset: header and footer give the same length,
// and each has an XOR over its bytes.
func section(b []byte, at int) (Section, bool) {
	if at < 0 || len(b)-at < 2*sectionHead || string(b[at+markAt:at+markAt+len(sectionMark)]) != sectionMark {
		return Section{}, false
	}
	head := b[at : at+sectionHead]
	n := uint64(binary.LittleEndian.Uint32(head))
	if n == 0 || n > uint64(len(b)-at-2*sectionHead) || xor(head) != 0 {
		return Section{}, false
	}
	foot := b[at+sectionHead+int(n):][:sectionHead]
	if uint64(binary.LittleEndian.Uint32(foot)) != n || string(foot[4:15]) != footerMark || xor(foot) != 0 {
		return Section{}, false
	}
	s := Section{Kind: fmt.Sprintf("section-%02x", head[4]), Offset: at, Length: 2*sectionHead + int(n), Stream: b[at+sectionHead : at+sectionHead+int(n)]}
	switch head[4] {
	case 0xaa:
		s.Kind = "firmware"
	case 0xbb:
		s.Kind = "utilities"
	}
	return s, true
}

// xor over a header with its checksum is zero.
func xor(b []byte) (sum byte) {
	for _, c := range b {
		sum ^= c
	}
	return sum
}

// Volume is a list of entries between a header and a footer.
type Volume struct {
	Entries  []Entry
	Size     int
	Problems []string
}

// Entry is one part of the firmware.
type Entry struct {
	GUID              string // of 32 digits, as BIOSUtilities writes it
	Name, Version     string
	Data              []byte
	Signature         []byte // of the data
	Metadata          []byte
	MetadataSignature []byte
}

const (
	header     = 16
	footer     = 16
	entryBase  = 0x38
	maxEntries = 1 << 12
)

// Begins reports whether b begins with a volume.
func Begins(b []byte) bool { return len(b) >= header && string(b[:8]) == "PFS.HDR." }

// Parse reads a volume at the start of b.
func Parse(b []byte) (Volume, error) {
	if !Begins(b) {
		return Volume{}, fmt.Errorf("%w: no header", ErrMalformed)
	}
	n := uint64(binary.LittleEndian.Uint32(b[12:]))
	if n > uint64(len(b)-header) {
		return Volume{}, fmt.Errorf("%w: payload of %d bytes in %d", ErrMalformed, n, len(b))
	}
	payload := b[header : header+int(n)]
	v := Volume{Size: header + int(n)}
	v.footer(b[v.Size:], payload)
	for at := 0; at < len(payload); {
		e, size, err := entry(payload[at:])
		if err != nil || len(v.Entries) == maxEntries {
			v.Problems = append(v.Problems, fmt.Sprintf("entry %d: %v", len(v.Entries)+1, err))
			break
		}
		v.Entries = append(v.Entries, e)
		at += size
	}
	v.names()
	return v, nil
}

// footer holds the payload against the length and the CRC behind it, which is
// the usual one without the last complement.
func (v *Volume) footer(b, payload []byte) {
	switch {
	case len(b) < footer || string(b[8:16]) != "PFS.FTR.":
		v.Problems = append(v.Problems, "no footer")
		return
	case uint64(binary.LittleEndian.Uint32(b)) != uint64(len(payload)):
		v.Problems = append(v.Problems, "the footer gives another length than the header")
	case binary.LittleEndian.Uint32(b[4:]) != ^crc32.ChecksumIEEE(payload):
		v.Problems = append(v.Problems, "the checksum of the payload does not hold")
	}
	v.Size += footer
}

func entry(b []byte) (Entry, int, error) {
	if len(b) < entryBase {
		return Entry{}, 0, fmt.Errorf("%w: header cut off", ErrMalformed)
	}
	at := uint64(0x58)
	switch version := binary.LittleEndian.Uint32(b[16:]); version {
	case 1:
		at = 0x48
	case 2:
	default:
		return Entry{}, 0, fmt.Errorf("%w: header version %d", ErrMalformed, version)
	}
	e := Entry{GUID: guid(b), Version: version(b[0x18:0x20], b[0x14:0x18])}
	for i, part := range []*[]byte{&e.Data, &e.Signature, &e.Metadata, &e.MetadataSignature} {
		n := uint64(binary.LittleEndian.Uint32(b[0x28+4*i:]))
		if at+n > uint64(len(b)) {
			return Entry{}, 0, fmt.Errorf("%w: %d bytes at %d of %d", ErrMalformed, n, at, len(b))
		}
		*part = b[at : at+n : at+n]
		at += n
	}
	return e, int(at), nil
}

// Entries that say what the others are called.
const (
	namesOne = "E0717CE3A9BB25824B9F0DC8FD041960"
	namesTwo = "B033CB16EC9B45A14055F80E4D583FD3"
)

var known = map[string]string{
	namesOne: "filename information", namesTwo: "filename information",
	"6F1D619A22A6CB924FD4DA68233AE3FB": "model information", "D086AFEE3ADBAEA94D5CED583C880BB7": "signature information",
	"900FAE60437F3AB14055F456AC9FDA84": "nested PFS",
}

// names gives entries the names and versions that another entry lists: GUID,
// version, length, text, two bytes.
func (v *Volume) names() {
	i := slices.IndexFunc(v.Entries, func(e Entry) bool { return e.GUID == namesOne || e.GUID == namesTwo })
	for j := range v.Entries {
		v.Entries[j].Name = known[v.Entries[j].GUID]
	}
	if i < 0 {
		return
	}
	const fixed = 20 + 14
	used := map[int]bool{}
	for b := v.Entries[i].Data; len(b) >= fixed && binary.LittleEndian.Uint32(b) == 1; {
		n := 2 * int(binary.LittleEndian.Uint16(b[32:]))
		if len(b) < fixed+n {
			v.Problems = append(v.Problems, "the list of names is cut off")
			return
		}
		id := guid(b[4:])
		for j := range v.Entries { // several of one GUID are named in order
			if v.Entries[j].GUID == id && !used[j] {
				used[j] = true
				v.Entries[j].Name, v.Entries[j].Version = text(b[fixed:fixed+n]), version(b[20:28], b[28:32])
				break
			}
		}
		b = b[min(len(b), fixed+n+2):]
	}
}

// guid is the 16 bytes as one little-endian number.
func guid(b []byte) string {
	r := bytes.Clone(b[:16])
	slices.Reverse(r)
	return strings.ToUpper(hex.EncodeToString(r))
}

func text(b []byte) string {
	var u []uint16
	for ; len(b) >= 2 && len(u) < 256; b = b[2:] {
		u = append(u, binary.LittleEndian.Uint16(b))
	}
	return strings.Trim(string(utf16.Decode(u)), " \x00")
}

// version writes four numbers, of which each has a letter that says how.
func version(fields, types []byte) string {
	var out []string
	for i, t := range types {
		f := binary.LittleEndian.Uint16(fields[2*i:])
		switch t {
		case 0, ' ':
		case 'N':
			out = append(out, fmt.Sprintf("%d", f))
		default:
			out = append(out, fmt.Sprintf("%X", f))
		}
	}
	return strings.Join(out, ".")
}
