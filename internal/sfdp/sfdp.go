// Package sfdp reads the Serial Flash Discoverable Parameters of a flash chip
// (JESD216F): what the chip says of its own geometry.
//
// It proves what a chip answered when its driver bound it. Chips of one JEDEC
// id may differ here: they are different parts.
package sfdp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrSignature means that the bytes do not begin with an SFDP header.
var ErrSignature = errors.New("no SFDP header")

// Problem is one defect, at an offset from the first byte.
type Problem struct {
	Offset int
	What   string
}

// Table is one set of parameters.
type Table struct {
	Major, Minor uint8
	Headers      []Header
	Size         uint64 // bytes of the chip, 0 where the basic table does not say
	Problems     []Problem
}

// Header names one parameter table (6.3).
type Header struct {
	ID           uint16 // 0xff00 is the basic table of JEDEC
	Major, Minor uint8
	Offset       int
	Length       int // bytes
}

const (
	headerBytes = 8
	basicID     = 0xff00
	maxProblems = 16
)

// Parse decodes headers and the density in the basic table (6.4.5).
func Parse(b []byte) (*Table, error) {
	if len(b) < headerBytes || string(b[:4]) != "SFDP" {
		return nil, fmt.Errorf("%w: %d bytes", ErrSignature, len(b))
	}
	t := &Table{Minor: b[4], Major: b[5]}
	count := int(b[6]) + 1
	for i := range count {
		o := headerBytes * (i + 1)
		if o+headerBytes > len(b) {
			t.problem(6, "%d parameter headers announced, %d present", count, i)
			break
		}
		h := Header{
			ID: uint16(b[o+7])<<8 | uint16(b[o]), Minor: b[o+1], Major: b[o+2], Length: 4 * int(b[o+3]),
			Offset: int(b[o+4]) | int(b[o+5])<<8 | int(b[o+6])<<16,
		}
		t.Headers = append(t.Headers, h)
		if h.Offset+h.Length > len(b) {
			t.problem(o, "table %04x at 0x%x has %d bytes, beyond the end", h.ID, h.Offset, h.Length)
		} else if h.ID == basicID && t.Size == 0 {
			t.density(b[h.Offset:h.Offset+h.Length], h.Offset)
		}
	}
	return t, nil
}

// density decodes the second word of the basic table: the highest bit number,
// or with the highest bit set, its logarithm.
func (t *Table) density(b []byte, at int) {
	if len(b) < 8 {
		t.problem(at, "a basic table of %d bytes", len(b))
		return
	}
	n := binary.LittleEndian.Uint32(b[4:])
	switch log := n &^ (1 << 31); {
	case n>>31 == 0:
		t.Size = (uint64(n) + 1) / 8
	case log >= 3 && log < 64:
		t.Size = 1 << (log - 3)
	default:
		t.problem(at+4, "a density of 2^%d bits", log)
	}
}

func (t *Table) problem(offset int, format string, args ...any) {
	if len(t.Problems) < maxProblems {
		t.Problems = append(t.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}
