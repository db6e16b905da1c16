// Package drvinfo reads struct ethtool_drvinfo of linux/ethtool.h: what a
// network driver says of itself and of the firmware of its device.
//
// It proves what a driver said. The firmware version is the device's own claim,
// put into words by the driver.
package drvinfo

import (
	"bytes"
	"errors"
	"fmt"
)

// Size is the length of the structure.
const Size = 196

// ErrLength means that the bytes are not one structure.
var ErrLength = errors.New("no ethtool_drvinfo")

// Where the texts are, for findings that point at them.
const (
	FirmwareOffset = 68
	BusOffset      = 100
	TextLength     = 32
)

// Problem is one defect, at an offset from the first byte.
type Problem struct {
	Offset int
	What   string
}

// Info holds the texts; empty where the driver says nothing.
type Info struct {
	Driver   string
	Version  string // of the driver; of the kernel, for drivers that come with it
	Firmware string
	Bus      string // address of the device
	ROM      string // version of the option ROM
	Problems []Problem
}

// Parse decodes one structure. The counts behind the texts are left alone.
func Parse(b []byte) (*Info, error) {
	if len(b) != Size {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrLength, len(b), Size)
	}
	d := &Info{}
	d.Driver = d.text(b, 4)
	d.Version = d.text(b, 36)
	d.Firmware = d.text(b, FirmwareOffset)
	d.Bus = d.text(b, BusOffset)
	d.ROM = d.text(b, 132)
	return d, nil
}

func (d *Info) text(b []byte, offset int) string {
	s, _, ended := bytes.Cut(b[offset:offset+TextLength], []byte{0})
	if !ended {
		d.Problems = append(d.Problems, Problem{offset, "a text without an end"})
	}
	for i, c := range s {
		if c < 0x20 || c > 0x7e {
			d.Problems = append(d.Problems, Problem{offset + i, fmt.Sprintf("the byte %02x in a text", c)})
			break
		}
	}
	return string(s)
}
