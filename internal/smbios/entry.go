package smbios

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// EntryPoint is an SMBIOS 2.1 or 3.0 entry point, or the legacy "_DMI_" part
// of one (DSP0134 5.2).
type EntryPoint struct {
	Anchor       string // "_SM_", "_SM3_" or "_DMI_"
	Major        int
	Minor        int
	TableAddress uint64
	TableLength  int // exact for 2.x, a maximum for 3.x
	Structures   int // 0 where the entry point has no count
	Length       int
	ChecksumOK   bool
}

// parseEntryPoint returns nil when b does not begin with a known anchor or is
// too short for it.
func parseEntryPoint(b []byte) (*EntryPoint, []Problem) {
	switch {
	case bytes.HasPrefix(b, []byte("_SM3_")):
		return parseEntry3(b)
	case bytes.HasPrefix(b, []byte("_SM_")):
		return parseEntry2(b)
	case bytes.HasPrefix(b, []byte("_DMI_")):
		return parseEntryDMI(b)
	}
	return nil, []Problem{{0, "entry point: unknown anchor"}}
}

func parseEntry3(b []byte) (*EntryPoint, []Problem) {
	if len(b) < 0x18 {
		return nil, []Problem{{0, fmt.Sprintf("entry point: %d bytes, 24 needed", len(b))}}
	}
	ep := &EntryPoint{
		Anchor: "_SM3_", Major: int(b[7]), Minor: int(b[8]), Length: int(b[6]),
		TableAddress: binary.LittleEndian.Uint64(b[0x10:]),
		TableLength:  int(min(binary.LittleEndian.Uint32(b[0x0c:]), 1<<30)),
	}
	return ep, ep.check(b, 0x18)
}

func parseEntry2(b []byte) (*EntryPoint, []Problem) {
	if len(b) < 0x1f {
		return nil, []Problem{{0, fmt.Sprintf("entry point: %d bytes, 31 needed", len(b))}}
	}
	ep := &EntryPoint{Anchor: "_SM_", Length: int(b[5])}
	ep.Major, ep.Minor = knownVersion(int(b[6]), int(b[7]))
	ep.TableLength = int(binary.LittleEndian.Uint16(b[0x16:]))
	ep.TableAddress = uint64(binary.LittleEndian.Uint32(b[0x18:]))
	ep.Structures = int(binary.LittleEndian.Uint16(b[0x1c:]))
	// The 2.1 specification gave the length as 0x1e by mistake (DSP0134 5.2.1).
	if ep.Length == 0x1e {
		ep.Length = 0x1f
	}
	problems := ep.check(b, 0x1f)
	if !bytes.Equal(b[0x10:0x15], []byte("_DMI_")) {
		problems = append(problems, Problem{0x10, "entry point: intermediate anchor is not _DMI_"})
	}
	if sum(b[0x10:0x1f]) != 0 {
		ep.ChecksumOK = false
		problems = append(problems, Problem{0x15, "entry point: intermediate checksum is wrong"})
	}
	return ep, problems
}

func parseEntryDMI(b []byte) (*EntryPoint, []Problem) {
	if len(b) < 0x0f {
		return nil, []Problem{{0, fmt.Sprintf("entry point: %d bytes, 15 needed", len(b))}}
	}
	ep := &EntryPoint{
		Anchor: "_DMI_", Major: int(b[0x0e] >> 4), Minor: int(b[0x0e] & 0x0f), Length: 0x0f,
		TableLength:  int(binary.LittleEndian.Uint16(b[6:])),
		TableAddress: uint64(binary.LittleEndian.Uint32(b[8:])),
		Structures:   int(binary.LittleEndian.Uint16(b[0x0c:])),
	}
	return ep, ep.check(b, 0x0f)
}

// check verifies length and checksum and makes Length safe to slice with.
func (e *EntryPoint) check(b []byte, want int) []Problem {
	var problems []Problem
	if e.Length < want || e.Length > len(b) {
		problems = append(problems, Problem{0, fmt.Sprintf("entry point: length %d, want %d", e.Length, want)})
		e.Length = want
	}
	e.ChecksumOK = sum(b[:e.Length]) == 0
	if !e.ChecksumOK {
		problems = append(problems, Problem{0, "entry point: checksum is wrong"})
	}
	return problems
}

func sum(b []byte) uint8 {
	var s uint8
	for _, x := range b {
		s += x
	}
	return s
}

// knownVersion corrects versions that firmware is known to write wrongly.
func knownVersion(major, minor int) (int, int) {
	switch {
	case major == 2 && (minor == 31 || minor == 33):
		return 2, 3
	case major == 2 && minor == 51:
		return 2, 6
	}
	return major, minor
}

// Version returns the specification version that the table follows, from the
// entry point or, without one, a lower bound from the lengths of structures.
func (t *Table) Version() (major, minor int) {
	if t.EntryPoint != nil && t.EntryPoint.Major > 0 {
		return t.EntryPoint.Major, t.EntryPoint.Minor
	}
	at := func(ma, mi int) {
		if ma > major || ma == major && mi > minor {
			major, minor = ma, mi
		}
	}
	for _, s := range t.Structures {
		n := len(s.Formatted)
		switch s.Type {
		case 4:
			versionByLength(n, at, 0x1a, 2, 0, 0x20, 2, 1, 0x23, 2, 3, 0x28, 2, 5, 0x2a, 2, 6, 0x30, 3, 0, 0x32, 3, 6, 0x33, 3, 8)
		case 17:
			versionByLength(n, at, 0x15, 2, 1, 0x1b, 2, 3, 0x1c, 2, 6, 0x22, 2, 7, 0x28, 2, 8, 0x54, 3, 2, 0x5c, 3, 3, 0x64, 3, 7)
		case 43:
			at(3, 1)
		}
	}
	return major, minor
}

// versionByLength takes triples of least length, major, minor in rising order.
func versionByLength(n int, at func(int, int), steps ...int) {
	for i := 0; i+2 < len(steps); i += 3 {
		if n >= steps[i] {
			at(steps[i+1], steps[i+2])
		}
	}
}
