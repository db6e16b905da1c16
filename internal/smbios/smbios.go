// Package smbios reads the SMBIOS entry point and structure table (DMTF
// DSP0134) as the firmware left them in memory.
//
// It proves what the firmware says about the machine. It does not prove that
// the firmware tells the truth: every string in the table is written by
// firmware and can be rewritten by anyone who can write the flash.
//
// A damaged structure never hides the others. What is wrong is listed in
// Problems with its offset, and everything that can be read is returned.
package smbios

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// maxStructures bounds the memory a hostile table can claim. Real tables have
// a few hundred structures; handles are 16 bits wide.
const maxStructures = 8192

// maxProblems bounds the list of complaints about one table.
const maxProblems = 256

// ErrNoTable means that the bytes hold no SMBIOS structure at all.
var ErrNoTable = errors.New("no SMBIOS structure")

// Problem is one defect of a table. The offset counts from the first byte of
// the structure table, or of the entry point when What begins with "entry point".
type Problem struct {
	Offset int
	What   string
}

// Header places a structure in the table. Length covers the formatted area and
// the strings with their terminator. A Guessed structure follows a damaged one:
// where it begins was searched for, and it may be an accident of other bytes.
type Header struct {
	Type    uint8
	Handle  uint16
	Offset  int
	Length  int
	Guessed bool
}

// Structure is one structure as stored. Formatted includes the four header
// bytes; String n of the structure is Strings[n-1].
type Structure struct {
	Header
	Formatted []byte
	Strings   []string
}

// Table is a decoded structure table. Slices are in table order.
type Table struct {
	EntryPoint *EntryPoint // nil when the evidence has none
	Structures []Structure
	Problems   []Problem
	Trailing   int  // bytes behind the end-of-table structure
	Broken     bool // a structure's length leads nowhere, so that what stood behind it is not known to be all there
	Base       int  // where the table begins in a dump: add it to offsets; 0 for a bare table

	BIOS                  []BIOS
	Systems               []System
	Baseboards            []Baseboard
	Chassis               []Chassis
	Processors            []Processor
	Connectors            []Connector
	Slots                 []Slot
	Onboard               []OnboardDevice
	OEMStrings            []OEMStrings
	MemoryArrays          []MemoryArray
	MemoryDevices         []MemoryDevice
	MappedAddresses       []MappedAddress
	IPMIDevices           []IPMIDevice
	PowerSupplies         []PowerSupply
	ManagementControllers []ManagementController
	TPMs                  []TPM
}

// Parse decodes a structure table. entry is the entry point, or empty where
// the evidence has none; the version is then inferred from structure lengths.
// The error is ErrNoTable when not one structure can be read; the returned
// table still lists the problems.
func Parse(entry, table []byte) (*Table, error) {
	t := &Table{}
	if len(entry) > 0 {
		ep, problems := parseEntryPoint(entry)
		t.EntryPoint = ep
		t.Problems = append(t.Problems, problems...)
	}
	t.walk(table)
	t.checkCounts(len(table))
	t.decode()
	if len(t.Structures) == 0 {
		return t, ErrNoTable
	}
	return t, nil
}

// ParseDump decodes a file written by "dmidecode --dump-bin": the entry point
// at offset 0 and the table where the entry point says, as a rule 0x20. A file
// that does not begin with an entry point is read as a bare table.
func ParseDump(b []byte) (*Table, error) {
	ep, problems := parseEntryPoint(b)
	if ep == nil {
		return Parse(nil, b)
	}
	start := ep.TableAddress
	if start < uint64(ep.Length) || start >= uint64(len(b)) {
		problems = append(problems, Problem{0, fmt.Sprintf("entry point: table address 0x%x is outside the file of %d bytes", start, len(b))})
		start = min(0x20, uint64(len(b)))
	}
	table := b[start:]
	if ep.TableLength > 0 && ep.TableLength < len(table) {
		table = table[:ep.TableLength]
	}
	t, err := Parse(b[:ep.Length], table)
	t.Base = int(start)
	if len(problems) > 0 {
		t.Problems = append(problems[len(problems)-1:], t.Problems...)
	}
	return t, err
}

func (t *Table) problem(offset int, format string, args ...any) {
	if len(t.Problems) < maxProblems {
		t.Problems = append(t.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

// walk splits the table into structures (DSP0134 6.1).
func (t *Table) walk(b []byte) {
	guessed := false
	for o := 0; o < len(b); {
		if len(b)-o < 4 {
			t.problem(o, "%d bytes left, a structure header has 4", len(b)-o)
			return
		}
		if len(t.Structures) == maxStructures {
			t.problem(o, "more than %d structures, %d bytes not read", maxStructures, len(b)-o)
			return
		}
		length := int(b[o+1])
		if length < 4 {
			next := nextStructure(b, o+4)
			t.problem(o, "type %d: formatted length %d is below 4, %d bytes skipped", b[o], length, next-o)
			o, guessed, t.Broken = next, true, true
			continue
		}
		if length > len(b)-o {
			t.problem(o, "type %d: formatted length %d exceeds the %d bytes left", b[o], length, len(b)-o)
			return
		}
		s := Structure{Header: Header{Type: b[o], Handle: binary.LittleEndian.Uint16(b[o+2:]), Offset: o, Guessed: guessed}, Formatted: b[o : o+length]}
		next := nextStructure(b, o+length)
		s.Length = next - o
		s.Strings = t.strings(b[o+length:next], o+length)
		t.Structures = append(t.Structures, s)
		o = next
		if s.Type == 127 {
			t.Trailing = len(b) - o
			return
		}
	}
}

// nextStructure returns the offset behind the double NUL that ends the string
// set which starts at o.
func nextStructure(b []byte, o int) int {
	o = min(o, len(b))
	if i := bytes.Index(b[o:], []byte{0, 0}); i >= 0 {
		return o + i + 2
	}
	return len(b)
}

func (t *Table) strings(set []byte, offset int) []string {
	if len(set) < 2 || set[len(set)-1] != 0 || set[len(set)-2] != 0 {
		t.problem(offset, "string set is not terminated")
	} else {
		set = set[:len(set)-2]
	}
	if len(set) == 0 {
		return nil
	}
	out := make([]string, 0, min(255, bytes.Count(set, []byte{0})+1))
	for s := range strings.SplitSeq(string(set), "\x00") {
		if len(out) == 255 {
			t.problem(offset, "more than 255 strings in one structure")
			break
		}
		if s == "" {
			t.problem(offset, "empty string in a string set")
		}
		out = append(out, s)
	}
	return out
}

// checkCounts compares the table with what the entry point and the structures
// claim about it.
func (t *Table) checkCounts(length int) {
	handles := make(map[uint16]int, len(t.Structures))
	for i := range t.Structures {
		s := &t.Structures[i]
		if first, dup := handles[s.Handle]; dup {
			t.problem(s.Offset, "handle 0x%04x is already used at offset 0x%x", s.Handle, first)
			continue
		}
		handles[s.Handle] = s.Offset
	}
	ended := len(t.Structures) > 0 && t.Structures[len(t.Structures)-1].Type == 127
	ep := t.EntryPoint
	if ep == nil {
		if !ended && len(t.Structures) > 0 {
			t.problem(length, "no end-of-table structure")
		}
		return
	}
	if ep.Structures > 0 && ep.Structures != len(t.Structures) {
		t.problem(length, "%d structures, the entry point says %d", len(t.Structures), ep.Structures)
	}
	if !ended && len(t.Structures) > 0 && ep.Structures != len(t.Structures) {
		t.problem(length, "no end-of-table structure")
	}
	switch {
	case ep.Anchor == "_SM3_" && length > ep.TableLength:
		t.problem(length, "table has %d bytes, the entry point allows %d", length, ep.TableLength)
	case ep.Anchor != "_SM3_" && length != ep.TableLength:
		t.problem(length, "table has %d bytes, the entry point says %d", length, ep.TableLength)
	}
}
