// Package me reads the region of the flash that belongs to Intel's management
// engine (ME, CSME, SPS, TXE): its partition table, the layout and boot
// partitions that newer engines have around it, the directories of code
// partitions, and the manifest that states a version.
//
// It proves what the structures say and whether their own checksums hold. It
// verifies no signature and expands no module.
package me

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Kind says what the engine does with a part.
type Kind byte

// The kinds of parts.
const (
	Data    Kind = iota // read by the engine, written by tools and updates only
	Code                // executed by the engine
	Header              // tables
	Written             // the engine itself writes it in operation
)

// Part is one named run of bytes of the region.
type Part struct {
	Name     string    `json:"name"` // "FTPR"; "BP1/RBEP" in a boot partition
	Offset   int       `json:"offset"`
	Length   int       `json:"length"` // as claimed: parts may overlap or leave the region
	Kind     Kind      `json:"-"`
	Modules  []Module  `json:"modules,omitempty"`
	Table    int       `json:"-"` // length of the modules' directory
	Manifest *Manifest `json:"manifest,omitempty"`
}

// Module is one entry of a code partition's directory.
type Module struct {
	Name       string `json:"name"`
	Offset     int    `json:"offset"` // from the partition's start
	Length     int    `json:"length"` // of what it expands to, when it is compressed
	Compressed bool   `json:"compressed,omitempty"`
}

// Manifest is what a partition's manifest says of it.
type Manifest struct {
	Version string `json:"version"` // "15.0.35.2039"
	Date    string `json:"date"`    // YYYY-MM-DD
	SVN     uint32 `json:"svn"`     // security version, by which older firmware is refused
	Debug   bool   `json:"debug,omitempty"`
}

// Damage is a structure whose checksum does not hold.
type Damage struct {
	Name   string `json:"name"`
	Offset int    `json:"offset"`
	Length int    `json:"length"`
}

// Region is what the region says of itself.
type Region struct {
	Version string   `json:"version,omitempty"` // of the firmware
	Format  string   `json:"format"`            // of the partition table
	Tool    string   `json:"tool,omitempty"`    // version of Intel's tool that built the image
	Parts   []Part   `json:"parts"`             // in offset order
	Damaged []Damage `json:"damaged,omitempty"`
}

const (
	tableSignature = "$FPT"
	tableHeader    = 32
	tableEntry     = 32
	bypass         = 16 // instructions for the engine's ROM before the table

	// MaxEntries bounds every table here; real ones have one or two dozen entries.
	MaxEntries = 128
)

// Parse reads the region. It reports whether it has a partition table.
func Parse(b []byte) (Region, bool) {
	var r Region
	if r.table(b, 0) || r.layout(b) {
		r.state()
		return r, true
	}
	return Region{}, false
}

// state takes the firmware's version from the partition that the engine starts
// from, and puts the parts in order. FTUP is a name for what may be updated
// together: where that is one partition, it is called by its own name.
func (r *Region) state() {
	r.Parts = slices.DeleteFunc(r.Parts, func(p Part) bool {
		return p.Name == "FTUP" && slices.ContainsFunc(r.Parts, func(o Part) bool { return o.Name != p.Name && o.Offset == p.Offset && o.Length == p.Length })
	})
	for _, name := range []string{"FTPR", "RBEP", "FTPM", "CODE", "NFTP"} {
		for _, p := range r.Parts {
			if p.Name[strings.LastIndexByte(p.Name, '/')+1:] == name && p.Manifest != nil && r.Version == "" {
				r.Version = p.Manifest.Version
			}
		}
	}
	sort.SliceStable(r.Parts, func(i, j int) bool { return r.Parts[i].Offset < r.Parts[j].Offset })
}

// table reads the partition table ($FPT) of the part of the region that begins
// at start: at its beginning, or behind the ROM's bypass vector.
func (r *Region) table(b []byte, start int) bool {
	at := start
	if !has(b, at, tableSignature) {
		if at += bypass; !has(b, at, tableSignature) {
			return false
		}
	}
	if len(b)-at < tableHeader {
		return false
	}
	h := b[at:]
	n, version := word(h, 4), h[8]
	if n == 0 || n > MaxEntries || int(n)*tableEntry > len(h)-tableHeader || version != 0x10 && version != 0x20 && version != 0x21 {
		return false
	}
	end := tableHeader + int(n)*tableEntry
	r.Format = fmt.Sprintf("$FPT %d.%d", version>>4, version&0xf)
	if version >= 0x20 && half(h, 24) != 0 && half(h, 24) != 0xffff {
		r.Tool = fmt.Sprintf("%d.%d.%d.%d", half(h, 24), half(h, 26), half(h, 28), half(h, 30))
	}
	r.Parts = append(r.Parts, Part{Name: "FPT", Offset: start, Length: at + end - start, Kind: Header})
	if !tableHolds(b[start:], at-start, end) {
		r.Damaged = append(r.Damaged, Damage{"FPT", start, at + end - start})
	}
	for i := range int(n) {
		r.partition(b, start, h[tableHeader+i*tableEntry:])
	}
	return true
}

// tableHolds checks the table's checksum. Up to version 2.0 it is one byte, over
// the header with or without the bypass vector before it; since 2.1 it is a
// CRC-32 over header and entries (ME Analyzer, FPT_Header and FPT_Header_21).
func tableHolds(b []byte, at, end int) bool {
	h := b[at:]
	if h[8] < 0x21 {
		return sum8(h[:tableHeader]) == 0 || sum8(b[:at+tableHeader]) == 0
	}
	return crcHolds(h, 20, end) || crcHolds(h, 20, tableHeader)
}

// Types of partitions in the table's flags, bits 0 to 6.
const (
	typeCode  = 0
	typeNVRAM = 2
	typeEFFS  = 4
	typeROM   = 5
)

// written lists the partitions that the engine writes in operation: its file
// systems (D. Sklyarov, "Intel ME: Flash File System Explained", Black Hat
// Europe 2017), the log of its errors (LVFS, com.intel.ManagementEngine.FLOG),
// and what it keeps for waking up (intel_fw: IVBP, "IV + Bring Up cache", used
// in hibernation). The debug token (UTOK) is written by who unlocks the engine,
// and the settings of the board's maker (FITC, OEMP) by the maker: both are compared.
var written = []string{"MFS", "MFSB", "AFSP", "EFFS", "FLOG", "IVBP"}

// partition reads one entry of the table.
func (r *Region) partition(b []byte, start int, e []byte) {
	offset, length, flags := word(e, 8), word(e, 12), word(e, 28)
	if offset == 0 || offset == 0xffffffff || length == 0 || length == 0xffffffff || flags>>24 == 0xff {
		return // not in this image
	}
	p := Part{Name: text(e[:4]), Offset: start + int(offset), Length: int(length)}
	switch t := flags & 0x7f; {
	case slices.Contains(written, p.Name), t == typeNVRAM, t == typeEFFS:
		p.Kind = Written
	case t == typeCode, t == typeROM:
		p.Kind = Code
	}
	r.code(b, &p)
	r.Parts = append(r.Parts, p)
}

// has reports whether a text stands at a place.
func has(b []byte, at int, s string) bool {
	return at >= 0 && at <= len(b)-len(s) && string(b[at:at+len(s)]) == s
}

func word(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
func half(b []byte, at int) uint16 { return binary.LittleEndian.Uint16(b[at:]) }

func sum8(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}

// text is a name up to its end, with nothing in it that a path cannot hold.
func text(b []byte) string {
	s, _, _ := strings.Cut(string(b), "\x00")
	s = strings.Map(func(c rune) rune {
		if c <= 0x20 || c > 0x7e || c == '/' {
			return '_'
		}
		return c
	}, strings.TrimRight(s, " "))
	if s == "" {
		return "_"
	}
	return s
}
