// Package amdfw reads what AMD's processors find in their flash before the
// reset vector: the embedded firmware structure (EFS), and the directories of
// the security processor (PSP) and of the host's firmware (BIOS) with their
// second levels, for the generations that public tools know.
//
// It proves what the structures say and whether the directories' checksums hold.
// It verifies no signature; entries may overlap, which is for the caller to see.
package amdfw

import (
	"encoding/binary"
	"fmt"
	"slices"
)

// Kind says what an entry is for.
type Kind byte

// The kinds of entries.
const (
	Unknown Kind = iota
	Code
	Data
	Written // the security processor or the firmware write it in operation
)

// Structure is an embedded firmware structure at its place.
type Structure struct {
	Offset    int  `json:"offset"`
	Length    int  `json:"length"`
	SecondGen bool `json:"secondGeneration"` // pointers are offsets in the flash
}

// Directory is one directory, in the order in which it was found.
type Directory struct {
	Name    string  `json:"name"` // "psp", "psp-l2", "bios", "bios-l2", "psp-combo", "bios-combo", "slot"
	Offset  int     `json:"offset"`
	Length  int     `json:"length"`
	Damaged bool    `json:"damaged,omitempty"` // the checksum does not hold
	For     string  `json:"for,omitempty"`     // the processors that a combo directory names it for
	Entries []Entry `json:"entries"`
}

// Entry is one entry of a directory.
type Entry struct {
	Type     byte    `json:"type"`
	Name     string  `json:"name"`
	Instance byte    `json:"instance,omitempty"`
	Program  byte    `json:"program,omitempty"` // told apart by model
	Offset   int     `json:"offset"`            // -1 when it is not in the flash
	Length   int     `json:"length"`
	Outside  bool    `json:"outside,omitempty"` // the entry leaves the flash
	Pointer  bool    `json:"pointer,omitempty"` // at another directory
	Kind     Kind    `json:"-"`
	Header   *Header `json:"header,omitempty"`
}

// Header is what the header of an entry's firmware ($PS1) says.
type Header struct {
	Version    string `json:"version"`
	Signed     bool   `json:"signed"`
	Encrypted  bool   `json:"encrypted"`
	Compressed bool   `json:"compressed"`
	Length     int    `json:"length"` // with header and signature
}

// Firmware is everything found in a flash.
type Firmware struct {
	Structures  []Structure `json:"structures"`
	Directories []Directory `json:"directories"`
}

const (
	magic         = 0x55aa55aa
	structureSize = 0x50
	step          = 0x20000 // where structures may be (coreboot, psp_integration.md) are multiples of it
	window        = 16 << 20

	// MaxDirectories and MaxEntries bound what is read. Flashes for several
	// generations have a dozen directories of some dozen entries.
	MaxDirectories = 64
	MaxEntries     = 256
)

// Parse finds the structures of a flash that ends at 4 GiB, or whose windows of
// 16 MiB each do, and follows them. A structure that points at no directory is
// none.
func Parse(flash []byte) (Firmware, bool) {
	p := &parser{flash: flash, seen: map[int]bool{}}
	for at := step; at+structureSize <= len(flash); at += step {
		if word(flash, at) == magic {
			p.structure(at)
		}
	}
	return p.out, len(p.out.Directories) > 0
}

type parser struct {
	flash []byte
	out   Firmware
	seen  map[int]bool
}

func word(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

// Pointers of the structure to directories (coreboot, amdfwtool.h): of the
// security processor for early and later devices, of the host's firmware by
// model, and the copy of the former.
var pointers = []int{0x14, 0x10, 0x18, 0x1c, 0x20, 0x28, 0x2c}

func (p *parser) structure(at int) {
	base, before := at/window*window, len(p.out.Directories)
	for _, o := range pointers {
		v := uint64(word(p.flash, at+o))
		if v == 0 || v >= 0xfffffffe {
			continue
		}
		for _, to := range p.places(v, base) {
			if p.directory(to, base, "", 0) {
				break
			}
		}
	}
	if len(p.out.Directories) > before {
		gen := word(p.flash, at+0x24)
		p.out.Structures = append(p.out.Structures, Structure{Offset: at, Length: structureSize, SecondGen: gen != 0xffffffff && gen&1 == 0})
	}
}

// places lists where an address may be meant to be: physical addresses are in
// the window of 16 MiB that ends at 4 GiB, of which a larger flash has several;
// anything else is an offset, from the window or from the flash's start.
func (p *parser) places(v uint64, base int) []int {
	if v >= 0xff000000 && v < 1<<32 {
		span := min(len(p.flash)-base, window)
		if at := int(v) - (1<<32 - span); at >= 0 {
			return []int{base + at}
		}
		return nil
	}
	if v >= uint64(len(p.flash)) {
		return nil
	}
	if base > 0 && v < window {
		return []int{base + int(v), int(v)}
	}
	return []int{int(v)}
}

// form is what the name of a directory says of its entries.
type form struct {
	name         string
	header, size int
}

var forms = map[string]form{
	"$PSP": {"psp", 16, 16}, "$PL2": {"psp-l2", 16, 16}, "$BHD": {"bios", 16, 24}, "$BL2": {"bios-l2", 16, 24},
	"2PSP": {"psp-combo", 32, 16}, "2BHD": {"bios-combo", 32, 16},
}

const maxDepth = 6

// directory reads a directory and those that it points at. It reports whether
// there is one.
func (p *parser) directory(at, base int, processors string, depth int) bool {
	if at < 0 || at > len(p.flash)-16 {
		return false
	}
	f, ok := forms[string(p.flash[at:at+4])]
	if !ok {
		return false
	}
	n := word(p.flash, at+8)
	length := f.header + int(n)*f.size
	if n > MaxEntries || length > len(p.flash)-at {
		return false
	}
	if p.seen[at] || depth > maxDepth || len(p.out.Directories) >= MaxDirectories {
		return true
	}
	p.seen[at] = true
	i := len(p.out.Directories)
	d := Directory{Name: f.name, Offset: at, Length: length, For: processors, Damaged: !sumHolds(p.flash[at : at+length])}
	p.out.Directories = append(p.out.Directories, d)
	r := place{parser: p, base: base, directory: at, mode: addressMode(word(p.flash, at+12)), depth: depth}
	for k := range int(n) {
		e := p.flash[at+f.header+k*f.size:]
		if f.header == 32 {
			r.combo(e)
			continue
		}
		if x, ok := r.entry(e, f.size == 24); ok {
			p.out.Directories[i].Entries = append(p.out.Directories[i].Entries, x)
		}
	}
	return true
}

// addressMode is how a directory's entries are addressed: in bits 29 and 30 of
// its last word, or 24 and 25 when bit 31 says so (PSPTool, directory.py).
func addressMode(info uint32) byte {
	if info>>31 == 1 {
		return byte(info >> 24 & 3)
	}
	return byte(info >> 29 & 3)
}

// sumHolds checks Fletcher's checksum of a directory. Its two halves are counted
// modulo 65535, in which tools write zero in two ways.
func sumHolds(d []byte) bool {
	var a, b uint32
	for i := 8; i+1 < len(d); i += 2 {
		a = (a + uint32(binary.LittleEndian.Uint16(d[i:]))) % 0xffff
		b = (b + a) % 0xffff
	}
	want := word(d, 4)
	return want&0xffff%0xffff == a && want>>16%0xffff == b
}

// place resolves the addresses of one directory.
type place struct {
	*parser
	base, directory int
	mode            byte
	depth           int
}

// combo follows an entry of a combo directory to the directory of a processor.
func (r place) combo(e []byte) {
	for _, to := range r.places(uint64(word(e, 8)), r.base) {
		if r.parser.directory(to, r.base, fmt.Sprintf("processor id %08X", word(e, 4)), r.depth+1) {
			return
		}
	}
}

// resolve lists the places that an entry's address may mean. It reports whether
// the address is of a kind that can be checked: slots have no known start.
func (r place) resolve(v uint64) (to []int, known bool) {
	mode := r.mode
	if mode >= 2 {
		mode = byte(v >> 62)
	}
	v &= 1<<62 - 1
	switch {
	case mode >= 2 && v < uint64(len(r.flash)):
		return []int{r.directory + int(v)}, mode == 2
	case mode >= 2:
		return nil, mode == 2
	}
	return r.places(v, r.base), true
}

// entry reads one entry. Values, and what is only in memory, are no entries of
// the flash.
func (r place) entry(b []byte, bios bool) (Entry, bool) {
	e := Entry{Type: b[0], Program: b[1], Instance: b[2] >> 3 & 0xf, Offset: -1, Length: int(word(b, 4))}
	if bios {
		e.Program, e.Instance = b[3]&7, b[2]>>4
	}
	e.Name, e.Kind = describe(e.Type, bios)
	v := binary.LittleEndian.Uint64(b[8:])
	at := v & (1<<62 - 1)
	if e.Type == fuses && !bios || e.Type == 0xff || at == 0 || at == 1<<62-1 || uint32(v) == 0xffffffff {
		return e, e.Type != 0xff
	}
	to, known := r.resolve(v)
	if slices.Contains(pointerTypes(bios), e.Type) {
		e.Pointer = true
		r.follow(to)
		return e, true
	}
	if e.Length == 0 || e.Length == 0xffffffff {
		return e, true
	}
	compressed := bios && b[2]>>3&1 == 1
	e.Outside = known && !compressed // its length here is not that in the flash
	for _, at := range to {
		if n, ok := r.extent(at, e.Length, compressed); ok {
			e.Offset, e.Length, e.Outside = at, n, false
			e.refine(r.flash[at:at+n], bios && b[2]>>2&1 == 1)
			break
		}
	}
	return e, true
}

// extent is how many bytes an entry has in the flash. Of one that is stored
// compressed, the directory has the length that it expands to; its own header
// has the length of the stream (PSPTool, file.py).
func (r place) extent(at, n int, compressed bool) (int, bool) {
	if compressed && at <= len(r.flash)-headerSize {
		if stream := int(word(r.flash, at+0x14)); stream > 0 && stream < n {
			n = headerSize + stream
		}
	}
	return n, at >= 0 && n <= len(r.flash)-at
}

// follow goes to a directory of the second level, directly or through the
// header of an image slot, which since Cezanne names the one for each processor
// (coreboot, amdfwtool.h: ish_directory_table).
func (r place) follow(to []int) {
	for _, at := range to {
		if r.parser.directory(at, r.base, "", r.depth+1) {
			return
		}
		if at < 0 || at > len(r.flash)-slotSize || len(r.out.Directories) >= MaxDirectories || r.seen[at] {
			continue
		}
		for _, second := range r.places(uint64(word(r.flash, at+16)), r.base) {
			before := len(r.out.Directories)
			if r.parser.directory(second, r.base, fmt.Sprintf("processor id %08X", word(r.flash, at+20)), r.depth+1) {
				if len(r.out.Directories) > before {
					r.seen[at] = true
					r.out.Directories = append(r.out.Directories, Directory{Name: "slot", Offset: at, Length: slotSize})
				}
				return
			}
		}
	}
}

const (
	slotSize   = 32
	headerSize = 0x100
)

// refine learns from what stands at an entry's place. A copy of memory training
// that the directory calls read-only is not written.
func (e *Entry) refine(b []byte, readOnly bool) {
	if e.Kind == Written && e.Type == savedTraining && readOnly {
		e.Kind = Data
	}
	if len(b) < headerSize {
		return
	}
	named := string(b[0x10:0x14]) == "$PS1"
	if !named && word(b, 0x10) != 5 { // firmware for training memory has a number there
		return
	}
	e.Header = &Header{
		Version: fmt.Sprintf("%02X.%02X.%02X.%02X", b[0x63], b[0x62], b[0x61], b[0x60]),
		Signed:  word(b, 0x30) != 0, Encrypted: word(b, 0x18) == 1, Compressed: word(b, 0x48) == 1, Length: int(word(b, 0x6c)),
	}
	if named {
		e.Kind = Code
	}
}

// Label is the entry's name, with its instance and program where there are
// several.
func (e Entry) Label() string {
	if e.Instance == 0 && e.Program == 0 {
		return e.Name
	}
	return fmt.Sprintf("%s.%x.%x", e.Name, e.Instance, e.Program)
}
