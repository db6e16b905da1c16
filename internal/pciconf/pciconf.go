// Package pciconf reads PCI and PCI Express configuration space, vital product
// data, and the hexadecimal dumps that lspci prints of the former.
//
// It proves what a device answered on the bus when it was read. It does not
// prove which device that is: identifiers live in straps, EEPROMs or FPGA
// gateware and can be copied. Lists in a device's memory are hostile input:
// every walk has bounds and a visited set, and a loop is reported.
package pciconf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// ErrShort means fewer bytes than the 64 of a configuration header.
var ErrShort = errors.New("shorter than a configuration header of 64 bytes")

// Problem is one defect, at an offset from the start of the space.
type Problem struct {
	Offset int
	What   string
}

// Config is one decoded configuration space of 64 to 4096 bytes. What lies
// beyond Size was not read: a capability pointer that leads there is listed in
// Unread, not in Problems.
type Config struct {
	Size                            int
	Vendor, Device                  uint16
	SubsystemVendor, SubsystemID    uint16 // type 0: 0x2c; bridges: capability 0x0d; else zero
	SubsystemOffset                 int    // 0 when there is none
	Class                           uint32 // class, subclass and interface, 24 bits
	Revision                        uint8
	HeaderType                      uint8 // layout: 0 device, 1 bridge, 2 CardBus
	MultiFunction                   bool
	Command, Status                 uint16
	Primary, Secondary, Subordinate uint8 // bus numbers of a bridge
	BARs                            []BAR
	ROM                             uint32 // expansion ROM register, raw
	ROMOffset                       int    // 0 when the layout has none
	Capabilities                    []Capability
	Extended                        []Capability
	Unread                          []int // capability pointers beyond Size
	Express                         *Express
	DSN                             uint64 // device serial number, 0 when there is none
	AER, ARI, DOE, IDE              bool
	SRIOV                           *SRIOV
	Problems                        []Problem
}

// BAR is one base address register as stored. A 64-bit one takes two slots.
type BAR struct {
	Index        int
	Offset       int
	Raw          uint64
	IO           bool
	Wide         bool // 64 bit
	Prefetchable bool
}

// Capability is one entry of the capability list (ids below 0x100 from the
// standard list, in Extended from the extended list).
type Capability struct {
	ID      uint16
	Version uint8 // extended: from the header; standard: where the capability has one
	Offset  int
	Detail  string // stable, not volatile: "type=4", "vsec=0002r1", "dvsec=1e98/0000r1"
}

// SRIOV is the single root I/O virtualisation capability (PCIe 6.0, 9.3.3).
type SRIOV struct {
	InitialVFs, TotalVFs, NumVFs uint16
	FirstOffset, Stride          uint16
	VFDevice                     uint16
	Enabled                      bool
}

type reader struct {
	b []byte
	c *Config
}

// Parse decodes a configuration space. The error is ErrShort; all else that is
// wrong is in Problems.
func Parse(b []byte) (*Config, error) {
	if len(b) < 64 {
		return nil, fmt.Errorf("%w: %d bytes", ErrShort, len(b))
	}
	c := &Config{
		Size: len(b), Vendor: binary.LittleEndian.Uint16(b), Device: binary.LittleEndian.Uint16(b[2:]),
		Command: binary.LittleEndian.Uint16(b[4:]), Status: binary.LittleEndian.Uint16(b[6:]),
		Revision: b[8], Class: uint32(b[9]) | uint32(b[10])<<8 | uint32(b[11])<<16,
		HeaderType: b[0x0e] & 0x7f, MultiFunction: b[0x0e]&0x80 != 0,
	}
	if len(b) > 4096 {
		c.problem(4096, "%d bytes, a configuration space has at most 4096", len(b))
		b = b[:4096]
	}
	r := reader{b, c}
	if c.Vendor == 0xffff {
		c.problem(0, "vendor id is all ones: no device answered")
		return c, nil
	}
	r.header()
	if c.Status&0x10 != 0 {
		r.standard()
	}
	r.extended()
	return c, nil
}

func (c *Config) problem(offset int, format string, args ...any) {
	if len(c.Problems) < 64 {
		c.Problems = append(c.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

func (r reader) word(o int) uint16 {
	if o < 0 || o+2 > len(r.b) {
		return 0
	}
	return binary.LittleEndian.Uint16(r.b[o:])
}

func (r reader) dword(o int) uint32 {
	if o < 0 || o+4 > len(r.b) {
		return 0
	}
	return binary.LittleEndian.Uint32(r.b[o:])
}

// header decodes what depends on the layout (PCI 3.0, 6.1; PCI-to-PCI bridge
// 1.2, 3.2).
func (r reader) header() {
	c := r.c
	bars := 0
	switch c.HeaderType {
	case 0:
		bars, c.ROMOffset, c.SubsystemOffset = 6, 0x30, 0x2c
	case 1:
		bars, c.ROMOffset = 2, 0x38
	case 2:
		bars = 1
		if len(r.b) >= 0x44 {
			c.SubsystemOffset = 0x40
		}
	default:
		c.problem(0x0e, "header layout %d is not defined", c.HeaderType)
		return
	}
	if c.SubsystemOffset > 0 {
		c.SubsystemVendor, c.SubsystemID = r.word(c.SubsystemOffset), r.word(c.SubsystemOffset+2)
	}
	if c.ROMOffset > 0 {
		c.ROM = r.dword(c.ROMOffset)
	}
	if c.HeaderType > 0 {
		c.Primary, c.Secondary, c.Subordinate = r.b[0x18], r.b[0x19], r.b[0x1a]
		if c.Secondary != 0 && c.Subordinate < c.Secondary {
			c.problem(0x18, "subordinate bus %02x is below secondary bus %02x", c.Subordinate, c.Secondary)
		}
	}
	r.bars(bars)
}

func (r reader) bars(n int) {
	for i := 0; i < n; i++ {
		o := 0x10 + 4*i
		raw := r.dword(o)
		if raw == 0 {
			continue
		}
		bar := BAR{Index: i, Offset: o, Raw: uint64(raw), IO: raw&1 != 0}
		if !bar.IO {
			bar.Prefetchable = raw&8 != 0
			bar.Wide = raw>>1&3 == 2
		}
		if bar.Wide {
			if i+1 == n {
				r.c.problem(o, "BAR %d is 64 bit wide and has no upper half", i)
			} else {
				i++
				bar.Raw |= uint64(r.dword(o+4)) << 32
			}
		}
		r.c.BARs = append(r.c.BARs, bar)
	}
}

// standard walks the capability list (PCI 3.0, 6.7).
func (r reader) standard() {
	at := 0x34
	if r.c.HeaderType == 2 {
		at = 0x14
	}
	seen := [256]bool{}
	for o := int(r.b[at]) &^ 3; o != 0; o = int(r.b[at]) &^ 3 {
		switch {
		case o < 0x40:
			r.c.problem(at, "capability pointer 0x%02x points into the header", o)
			return
		case seen[o]:
			r.c.problem(at, "capability pointer 0x%02x closes a loop", o)
			return
		case o+2 > len(r.b):
			r.c.Unread = append(r.c.Unread, o)
			return
		}
		seen[o] = true
		if r.b[o] == 0xff {
			r.c.problem(o, "capability id is all ones")
			return
		}
		capability := Capability{ID: uint16(r.b[o]), Offset: o}
		r.describe(&capability)
		r.c.Capabilities = append(r.c.Capabilities, capability)
		at = o + 1
	}
}

// extended walks the extended list, which starts at 0x100 (PCIe 6.0, 7.6.3).
func (r reader) extended() {
	if len(r.b) < 0x104 {
		return
	}
	seen := [4096 / 4]bool{}
	for o, from := 0x100, 0x100; o != 0; {
		head := r.dword(o)
		if head == 0 && o == 0x100 || head == 0xffffffff && o == 0x100 {
			return // no extended capabilities, or a space that aliases nothing
		}
		if head == 0xffffffff {
			r.c.problem(o, "extended capability is all ones")
			return
		}
		seen[o/4] = true
		capability := Capability{ID: uint16(head), Version: uint8(head >> 16 & 0x0f), Offset: o}
		r.describeExtended(&capability)
		r.c.Extended = append(r.c.Extended, capability)
		from, o = o, int(head>>20)&^3
		switch {
		case o == 0:
		case o < 0x100:
			r.c.problem(from, "extended capability pointer 0x%03x points below 0x100", o)
			return
		case seen[o/4]:
			r.c.problem(from, "extended capability pointer 0x%03x closes a loop", o)
			return
		case o+4 > len(r.b):
			r.c.Unread = append(r.c.Unread, o)
			return
		}
	}
}

// Fingerprint lists the capabilities in order with their versions and stable
// details, without anything that changes while the device runs. Two devices of
// one model and firmware have equal fingerprints when equally many bytes of
// them were read; see Size.
func (c *Config) Fingerprint() string {
	out := make([]byte, 0, 256)
	list := func(all []Capability, width int) {
		for i, x := range all {
			if i > 0 {
				out = append(out, ',')
			}
			out = fmt.Appendf(out, "%0*x", width, x.ID)
			if x.Version > 0 {
				out = append(out, 'v')
				out = strconv.AppendUint(out, uint64(x.Version), 10)
			}
			if x.Detail != "" {
				out = append(out, '(')
				out = append(out, x.Detail...)
				out = append(out, ')')
			}
		}
	}
	list(c.Capabilities, 2)
	out = append(out, '|')
	list(c.Extended, 4)
	return string(out)
}
