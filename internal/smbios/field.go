package smbios

import (
	"encoding/binary"
	"fmt"
)

// field reads fields of one structure; a field behind the formatted area is
// absent and reads as zero (DSP0134 6.1.2).
type field struct {
	Header
	t         *Table
	s         *Structure
	bigEndian bool // UUIDs, before 2.6
}

func (f field) has(o, n int) bool { return o >= 0 && n >= 0 && o+n <= len(f.s.Formatted) }

func (f field) byte(o int) uint8 {
	if !f.has(o, 1) {
		return 0
	}
	return f.s.Formatted[o]
}

func (f field) word(o int) uint16 {
	if !f.has(o, 2) {
		return 0
	}
	return binary.LittleEndian.Uint16(f.s.Formatted[o:])
}

func (f field) dword(o int) uint32 {
	if !f.has(o, 4) {
		return 0
	}
	return binary.LittleEndian.Uint32(f.s.Formatted[o:])
}

func (f field) qword(o int) uint64 {
	if !f.has(o, 8) {
		return 0
	}
	return binary.LittleEndian.Uint64(f.s.Formatted[o:])
}

// text resolves the string index at o. A bad index reads as no string and is
// reported; the index itself stays in Formatted.
func (f field) text(o int) string {
	n := int(f.byte(o))
	if n == 0 {
		return ""
	}
	if n > len(f.s.Strings) {
		f.problem(o, "string index %d, the structure has %d strings", n, len(f.s.Strings))
		return ""
	}
	return f.s.Strings[n-1]
}

func (f field) problem(o int, format string, args ...any) {
	f.t.problem(f.Offset+o, "type %d handle 0x%04x: %s", f.Type, f.Handle, fmt.Sprintf(format, args...))
}

// required is the shortest formatted area that makes a type useful, by the
// oldest version of the specification that defines it.
func required(kind uint8) int {
	switch kind {
	case 0:
		return 0x12
	case 1, 2:
		return 0x08
	case 3:
		return 0x09
	case 4:
		return 0x1a
	case 8, 38:
		return 0x09
	case 9:
		return 0x0c
	case 16, 19:
		return 0x0f
	case 17:
		return 0x15
	case 39:
		return 0x10
	case 41:
		return 0x0b
	case 43:
		return 0x1b
	}
	return 4
}

// decode fills the typed slices. A structure that is shorter than its type
// demands is reported and decoded as far as it goes.
func (t *Table) decode() {
	major, minor := t.Version()
	old := major == 1 || major == 2 && minor < 6
	for i := range t.Structures {
		s := &t.Structures[i]
		f := field{Header: s.Header, t: t, s: s, bigEndian: old}
		if n := required(s.Type); len(s.Formatted) < n {
			f.problem(1, "formatted length %d, at least %d needed", len(s.Formatted), n)
		}
		switch s.Type {
		case 0:
			t.BIOS = append(t.BIOS, decodeBIOS(f))
		case 1:
			t.Systems = append(t.Systems, decodeSystem(f))
		case 2:
			t.Baseboards = append(t.Baseboards, decodeBaseboard(f))
		case 3:
			t.Chassis = append(t.Chassis, decodeChassis(f))
		case 4:
			t.Processors = append(t.Processors, decodeProcessor(f))
		case 8:
			t.Connectors = append(t.Connectors, decodeConnector(f))
		case 9:
			t.Slots = append(t.Slots, decodeSlot(f))
		case 10:
			t.Onboard = append(t.Onboard, decodeOldOnboard(f)...)
		case 11:
			t.OEMStrings = append(t.OEMStrings, decodeOEMStrings(f))
		case 16:
			t.MemoryArrays = append(t.MemoryArrays, decodeMemoryArray(f))
		case 17:
			t.MemoryDevices = append(t.MemoryDevices, decodeMemoryDevice(f))
		case 19:
			t.MappedAddresses = append(t.MappedAddresses, decodeMappedAddress(f))
		case 38:
			t.IPMIDevices = append(t.IPMIDevices, decodeIPMI(f))
		case 39:
			t.PowerSupplies = append(t.PowerSupplies, decodePowerSupply(f))
		case 41:
			t.Onboard = append(t.Onboard, decodeOnboard(f))
		case 42:
			t.ManagementControllers = append(t.ManagementControllers, decodeManagementController(f))
		case 43:
			t.TPMs = append(t.TPMs, decodeTPM(f))
		}
	}
}
