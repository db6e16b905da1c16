// Package uki puts unified kernel images together: a UEFI stub with a kernel,
// its command line and its initial file system as sections of one PE file (UAPI
// Group, Unified Kernel Image specification).
package uki

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
)

// Section is one section of an image.
type Section struct {
	Name string // ".linux"; at most 8 bytes
	Data []byte
}

const sectionHeader = 40

// headers holds the offsets of the headers that change (Microsoft PE format).
type headers struct {
	file, optional, sections int
	count                    int
	fileAlign, align         uint32
	nextRaw, nextVirtual     uint32
	firstRaw                 uint32
	signed                   bool
}

func parse(b []byte) (*headers, error) {
	le := binary.LittleEndian
	if len(b) < 64 || string(b[:2]) != "MZ" {
		return nil, fmt.Errorf("offset 0: no PE image")
	}
	at := int64(le.Uint32(b[60:]))
	if at+24+112 > int64(len(b)) || string(b[at:at+4]) != "PE\x00\x00" {
		return nil, fmt.Errorf("offset 60: PE header at %d", at)
	}
	p := &headers{file: int(at) + 4, optional: int(at) + 24}
	p.count = int(le.Uint16(b[p.file+2:]))
	p.sections = p.optional + int(le.Uint16(b[p.file+16:]))
	p.align, p.fileAlign = le.Uint32(b[p.optional+32:]), le.Uint32(b[p.optional+36:])
	if le.Uint16(b[p.optional:]) != 0x20b || p.sections+p.count*sectionHeader > len(b) || p.count == 0 {
		return nil, fmt.Errorf("offset %d: no 64-bit PE image with sections", p.optional)
	}
	if sane := func(n uint32) bool { return n >= 16 && n <= 1<<16 && n&(n-1) == 0 }; !sane(p.align) || !sane(p.fileAlign) {
		return nil, fmt.Errorf("offset %d: alignments %d and %d", p.optional+32, p.align, p.fileAlign)
	}
	// The fifth data directory is the table of certificates.
	if dirs := le.Uint32(b[p.optional+108:]); dirs > 4 && p.optional+112+5*8 <= p.sections {
		p.signed = le.Uint32(b[p.optional+112+4*8+4:]) != 0
	}
	p.firstRaw = uint32(len(b))
	for i := range p.count {
		s := b[p.sections+i*sectionHeader:]
		size, va, raw, rawAt := le.Uint32(s[8:]), le.Uint32(s[12:]), le.Uint32(s[16:]), le.Uint32(s[20:])
		if uint64(rawAt)+uint64(raw) > uint64(len(b)) || uint64(va)+uint64(size) > 1<<31 {
			return nil, fmt.Errorf("offset %d: section %d lies outside the file", p.sections+i*sectionHeader, i)
		}
		p.nextVirtual = max(p.nextVirtual, va+max(size, raw))
		p.nextRaw = max(p.nextRaw, rawAt+raw)
		if raw > 0 {
			p.firstRaw = min(p.firstRaw, rawAt)
		}
	}
	return p, nil
}

func alignUp(n, to uint32) uint32 { return (n + to - 1) &^ (to - 1) }

// Assemble adds sections to a stub, in this order, behind its own.
func Assemble(stub []byte, add []Section) ([]byte, error) {
	p, err := parse(stub)
	if err != nil {
		return nil, fmt.Errorf("uki: stub: %w", err)
	}
	le := binary.LittleEndian
	if end := p.sections + (p.count+len(add))*sectionHeader; uint32(end) > min(p.firstRaw, p.nextRaw) {
		return nil, fmt.Errorf("uki: stub: its header has no room for %d more sections", len(add))
	}
	if p.signed {
		return nil, errors.New("uki: stub: it is signed; what is added would break the signature")
	}
	out := bytes.Clone(stub[:p.nextRaw])
	clear(out[p.file+8 : p.file+16]) // the symbols behind the sections are left out
	align := max(p.align, 4096)      // firmware that protects pages wants whole ones
	virtual := alignUp(p.nextVirtual, align)
	added := uint32(0)
	for i, s := range add {
		if len(s.Name) > 8 || len(s.Data) == 0 || uint64(virtual)+uint64(len(s.Data)) > 1<<31 {
			return nil, fmt.Errorf("uki: section %q of %d bytes", s.Name, len(s.Data))
		}
		out = append(out, make([]byte, alignUp(uint32(len(out)), p.fileAlign)-uint32(len(out)))...)
		h := out[p.sections+(p.count+i)*sectionHeader:][:sectionHeader]
		clear(h)
		copy(h, s.Name)
		raw := alignUp(uint32(len(s.Data)), p.fileAlign)
		le.PutUint32(h[8:], uint32(len(s.Data)))
		le.PutUint32(h[12:], virtual)
		le.PutUint32(h[16:], raw)
		le.PutUint32(h[20:], uint32(len(out)))
		le.PutUint32(h[36:], 0x40000040) // initialised data, readable
		out = append(out, s.Data...)
		out = append(out, make([]byte, raw-uint32(len(s.Data)))...)
		virtual = alignUp(virtual+uint32(len(s.Data)), align)
		added += raw
	}
	le.PutUint16(out[p.file+2:], uint16(p.count+len(add)))
	le.PutUint32(out[p.optional+8:], le.Uint32(out[p.optional+8:])+added)
	le.PutUint32(out[p.optional+56:], virtual)
	le.PutUint32(out[p.optional+64:], 0) // no checksum: UEFI checks none
	return out, nil
}

var loaderInfo = regexp.MustCompile(`#### LoaderInfo: systemd-stub ([0-9]+)[^#]{0,64}####`)

// StubVersion is the release of a systemd stub, from its .sdmagic section; 0
// when it does not say.
func StubVersion(stub []byte) int {
	n := 0
	if m := loaderInfo.FindSubmatch(stub); m != nil {
		for _, c := range m[1] {
			if n = n*10 + int(c-'0'); n > 1<<20 {
				return 0
			}
		}
	}
	return n
}
