// Package authenticode computes the digest of a PE image the way firmware does
// before it starts the image: checksum, certificate table and the table's
// directory entry are left out.
//
// It proves only which bytes were hashed. It verifies no signature, and it does
// not say whether the image is one that firmware would load.
package authenticode

import (
	"cmp"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"slices"
)

// ErrMalformed is wrapped by every refusal: the headers do not describe the
// bytes that follow them.
var ErrMalformed = errors.New("malformed PE image")

const (
	fileHeaderSize    = 20
	sectionHeaderSize = 40
	checksumOffset    = 64 // in the optional header, PE32 and PE32+ alike
	certificateEntry  = 4  // index of the certificate table in the data directories
	maxSections       = 4096
)

type layout struct {
	checksum     int // offset of CheckSum
	certDir      int // offset of the certificate table's directory entry, or 0
	certSize     uint32
	headersEnd   int
	sections     []section
	hashedOfFile int // SizeOfHeaders and all raw section data
}

type section struct{ off, size uint32 }

// Digest returns the Authenticode digest of a PE image.
//
// The order is that of Windows Authenticode Portable Executable Signature
// Format 1.0, "Calculating the PE image hash", with firmware's reading of it
// (edk2 DxeTpm2MeasureBootLib): sections by their file offset, then everything
// behind them that is not the certificate table. Nothing is padded: an image
// whose length is not a multiple of eight is hashed as it stands.
func Digest(pe []byte, h crypto.Hash) ([]byte, error) {
	if !h.Available() {
		return nil, fmt.Errorf("authenticode: hash %d is not linked in", uint(h))
	}
	l, err := parse(pe)
	if err != nil {
		return nil, err
	}
	d := h.New()
	l.write(d, pe)
	return d.Sum(nil), nil
}

func (l *layout) write(d hash.Hash, pe []byte) {
	d.Write(pe[:l.checksum])
	at := l.checksum + 4
	if l.certDir > 0 {
		d.Write(pe[at:l.certDir])
		at = l.certDir + 8
	}
	d.Write(pe[at:l.headersEnd])
	for _, s := range l.sections {
		d.Write(pe[s.off : s.off+s.size])
	}
	if end := len(pe) - int(l.certSize); l.hashedOfFile < end {
		d.Write(pe[l.hashedOfFile:end])
	}
}

func malformed(at int, format string, args ...any) error {
	return fmt.Errorf("authenticode: offset %d: %s: %w", at, fmt.Sprintf(format, args...), ErrMalformed)
}

func parse(pe []byte) (*layout, error) {
	if uint64(len(pe)) > 1<<31-1 {
		return nil, malformed(0, "image of %d bytes", len(pe))
	}
	coff := 0
	if len(pe) >= 64 && pe[0] == 'M' && pe[1] == 'Z' {
		v := binary.LittleEndian.Uint32(pe[60:])
		if uint64(v) > uint64(len(pe)) {
			return nil, malformed(60, "PE header at %d beyond the image of %d bytes", v, len(pe))
		}
		coff = int(v)
	}
	if len(pe)-coff < 4+fileHeaderSize || string(pe[coff:coff+4]) != "PE\x00\x00" {
		return nil, malformed(coff, "no PE signature")
	}
	file := pe[coff+4:]
	count := int(binary.LittleEndian.Uint16(file[2:]))
	optSize := int(binary.LittleEndian.Uint16(file[16:]))
	opt := coff + 4 + fileHeaderSize
	if count > maxSections {
		return nil, malformed(coff+6, "%d sections, limit %d", count, maxSections)
	}
	if len(pe)-opt < optSize {
		return nil, malformed(opt, "optional header of %d bytes beyond the image", optSize)
	}
	l := &layout{checksum: opt + checksumOffset}
	if err := l.optional(pe, opt, optSize); err != nil {
		return nil, err
	}
	return l, l.table(pe, opt+optSize, count)
}

// optional reads the optional header: how long the headers are and where the
// certificate table stands (PE and COFF specification, "Optional Header").
func (l *layout) optional(pe []byte, opt, size int) error {
	if size < checksumOffset+4 {
		return malformed(opt, "optional header of %d bytes", size)
	}
	b := pe[opt : opt+size]
	var dirs int
	switch magic := binary.LittleEndian.Uint16(b); magic {
	case 0x10b:
		dirs = 96
	case 0x20b:
		dirs = 112
	default:
		return malformed(opt, "optional header magic 0x%x", magic)
	}
	if size < dirs {
		return malformed(opt, "optional header of %d bytes", size)
	}
	end := binary.LittleEndian.Uint32(b[60:])
	if uint64(end) > uint64(len(pe)) {
		return malformed(opt+60, "headers of %d bytes, image of %d", end, len(pe))
	}
	l.headersEnd = int(end)
	entry := dirs + 8*certificateEntry
	if binary.LittleEndian.Uint32(b[dirs-4:]) > certificateEntry && size >= entry+8 {
		l.certDir = opt + entry
		l.certSize = binary.LittleEndian.Uint32(b[entry+4:])
	}
	if last := max(l.checksum+4, l.certDir+8); l.headersEnd < last {
		return malformed(opt+60, "headers of %d bytes end inside the optional header", end)
	}
	if uint64(l.certSize) > uint64(len(pe)) {
		return malformed(l.certDir+4, "certificate table of %d bytes, image of %d", l.certSize, len(pe))
	}
	return nil
}

// table reads the section headers. Sections may overlap in no image that a
// linker writes; what they add up to is bounded so that a crafted table cannot
// make the hash run over the file thousands of times.
func (l *layout) table(pe []byte, at, count int) error {
	if (len(pe)-at)/sectionHeaderSize < count {
		return malformed(at, "%d section headers beyond the image", count)
	}
	total := uint64(l.headersEnd)
	for i := range count {
		h := pe[at+i*sectionHeaderSize:]
		s := section{size: binary.LittleEndian.Uint32(h[16:]), off: binary.LittleEndian.Uint32(h[20:])}
		if s.size == 0 {
			continue
		}
		if uint64(s.off)+uint64(s.size) > uint64(len(pe)) {
			return malformed(at+i*sectionHeaderSize, "section %d at %d of %d bytes beyond the image", i, s.off, s.size)
		}
		total += uint64(s.size)
		l.sections = append(l.sections, s)
	}
	if total > 2*uint64(len(pe)) {
		return malformed(at, "sections add up to %d bytes, image of %d", total, len(pe))
	}
	slices.SortStableFunc(l.sections, func(a, b section) int { return cmp.Compare(a.off, b.off) })
	l.hashedOfFile = int(total)
	return nil
}
