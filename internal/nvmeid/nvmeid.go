// Package nvmeid reads the Identify Controller data structure of an NVMe
// controller (NVM Express Base Specification 2.0c, 5.17.2.1 and figure 275).
//
// It proves what a controller said when it was asked. Every byte is the
// controller's own claim, and its firmware can say anything.
package nvmeid

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Size is the length of the structure.
const Size = 4096

// ErrLength means that the bytes are not one structure.
var ErrLength = errors.New("no Identify Controller data structure")

// Problem is one defect, at an offset from the first byte.
type Problem struct {
	Offset int
	What   string
}

// Controller is the part of the structure that names a controller. Texts are as
// stored, with the blanks that fill them up.
type Controller struct {
	Vendor          uint16   // VID: the PCI vendor
	SubsystemVendor uint16   // SSVID
	Serial          string   // SN
	Model           string   // MN
	Firmware        string   // FR
	OUI             uint32   // IEEE: 24 bits, 0 for none
	ID              uint16   // CNTLID
	Version         uint32   // VER, 0 before NVMe 1.2
	GUID            [16]byte // FGUID, zero for none
	NQN             string   // SUBNQN, without the bytes from the first NUL on
	Problems        []Problem
}

// Where the texts are, for findings that point at them.
const (
	SerialOffset, SerialLength     = 4, 20
	ModelOffset, ModelLength       = 24, 40
	FirmwareOffset, FirmwareLength = 64, 8

	guidOffset          = 112
	nqnOffset, nqnBytes = 768, 256
)

// Parse decodes one structure.
func Parse(b []byte) (*Controller, error) {
	if len(b) != Size {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrLength, len(b), Size)
	}
	c := &Controller{
		Vendor: binary.LittleEndian.Uint16(b), SubsystemVendor: binary.LittleEndian.Uint16(b[2:]),
		OUI: uint32(b[73]) | uint32(b[74])<<8 | uint32(b[75])<<16,
		ID:  binary.LittleEndian.Uint16(b[78:]), Version: binary.LittleEndian.Uint32(b[80:]),
	}
	copy(c.GUID[:], b[guidOffset:])
	c.Serial = c.text(b, "serial number", SerialOffset, SerialLength)
	c.Model = c.text(b, "model number", ModelOffset, ModelLength)
	c.Firmware = c.text(b, "firmware revision", FirmwareOffset, FirmwareLength)
	nqn := b[nqnOffset : nqnOffset+nqnBytes]
	for i, x := range nqn {
		if x == 0 {
			nqn = nqn[:i]
			break
		}
	}
	c.NQN = string(nqn)
	if c.Vendor == 0 || c.Vendor == 0xffff {
		c.problem(0, "vendor id %04x", c.Vendor)
	}
	return c, nil
}

// text takes an ASCII string (2.0c, 1.4.2); other bytes are a defect and kept,
// so that they differ from what they imitate.
func (c *Controller) text(b []byte, what string, offset, length int) string {
	s := b[offset : offset+length]
	for i, x := range s {
		if x < 0x20 || x > 0x7e {
			c.problem(offset+i, "%s has the byte %02x", what, x)
			break
		}
	}
	return string(s)
}

func (c *Controller) problem(offset int, format string, args ...any) {
	c.Problems = append(c.Problems, Problem{offset, fmt.Sprintf(format, args...)})
}
