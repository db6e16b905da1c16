// Package scsivpd reads two vital product data pages of SCSI devices, and of
// ATA disks as the kernel translates them (SPC-5, 7.7): the unit serial number
// (80h) and the device identification (83h).
//
// It proves what a disk, or the controller in front of it, said. A RAID
// controller answers for disks of its own making.
package scsivpd

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// ErrPage means that the bytes are not the page that was asked for.
var ErrPage = errors.New("not this VPD page")

// Designator is one name of a logical unit, of a port or of a device.
type Designator struct {
	Offset, Length int // in the page
	Type           uint8
	Association    uint8 // 0 is the logical unit
	Text           bool  // Value is text as stored, otherwise hexadecimal
	Value          string
}

// Types of designators (7.7.6.1).
const (
	T10    = 1
	EUI64  = 2
	NAA    = 3
	maxIDs = 256
)

// body checks a page's header of four bytes and cuts it off. A length beyond
// the end is cut to what is there.
func body(b []byte, page byte) ([]byte, error) {
	if len(b) < 4 || b[1] != page {
		return nil, fmt.Errorf("%w: %d bytes, want page %02xh", ErrPage, len(b), page)
	}
	n := int(binary.BigEndian.Uint16(b[2:]))
	return b[4:min(len(b), 4+n)], nil
}

// ParseSerial reads page 80h: a text, often with blanks around it.
func ParseSerial(b []byte) (string, error) {
	s, err := body(b, 0x80)
	return string(s), err
}

// ParseIdentification reads page 83h. A designator that does not fit ends it.
func ParseIdentification(b []byte) ([]Designator, error) {
	rest, err := body(b, 0x83)
	if err != nil {
		return nil, err
	}
	var out []Designator
	for o := 4; len(rest) > 0; {
		if len(rest) < 4 || int(rest[3]) > len(rest)-4 || len(out) == maxIDs {
			return out, fmt.Errorf("offset %d: designator %d does not fit", o, len(out))
		}
		n := 4 + int(rest[3])
		d := Designator{Offset: o, Length: n, Type: rest[1] & 0x0f, Association: rest[1] >> 4 & 3, Text: rest[0]&0x0f != 1}
		d.Value = string(rest[4:n])
		if !d.Text {
			d.Value = hex.EncodeToString(rest[4:n])
		}
		out = append(out, d)
		o, rest = o+n, rest[n:]
	}
	return out, nil
}
