// Package usbdesc reads USB descriptors as the kernel's "descriptors" attribute
// holds them: the device descriptor, then every configuration with what belongs
// to it (USB 2.0 chapter 9, USB 3.2 chapter 9).
//
// It proves what a device said when it was enumerated. Every byte is the
// device's own claim and can be copied from another.
package usbdesc

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrNoDevice means that the bytes do not begin with a device descriptor.
var ErrNoDevice = errors.New("no USB device descriptor")

const (
	maxProblems   = 64
	maxInterfaces = 1024
	maxOther      = 4096
)

// Problem is one defect, at an offset from the first byte.
type Problem struct {
	Offset int
	What   string
}

// Device is a device with its configurations.
type Device struct {
	USB                        uint16 // BCD, 0x0200 is 2.0
	Class, Subclass, Protocol  uint8
	Vendor, Product            uint16
	Release                    uint16 // BCD bcdDevice
	Manufacturer, Name, Serial uint8  // string indices, 0 for none
	Configurations             []Configuration
	Problems                   []Problem
}

// Configuration is one configuration descriptor.
type Configuration struct {
	Offset     int
	Value      uint8
	Attributes uint8
	MaxPower   int // milliampere, in units of 2 mA as stored for USB 2
	Interfaces []Interface
}

// Interface is one alternate setting of an interface.
type Interface struct {
	Offset                    int
	Number, Alternate         uint8
	Class, Subclass, Protocol uint8
	Endpoints                 []Endpoint
	Other                     []Descriptor // class-specific and unknown ones
}

// Endpoint is one endpoint descriptor.
type Endpoint struct {
	Offset     int
	Address    uint8 // bit 7: into the host
	Attributes uint8
	MaxPacket  uint16
	Interval   uint8
}

// Descriptor is a descriptor that is kept as it is: 0x21 HID or DFU, 0x24 and
// 0x25 class-specific, 0x29 and 0x2a hub, 0x30 companion, and any other.
type Descriptor struct {
	Type   uint8
	Offset int
	Data   []byte // with length and type
}

// Parse decodes the descriptors of one device.
func Parse(b []byte) (*Device, error) {
	if len(b) < 18 || b[1] != 1 || b[0] < 18 {
		return nil, fmt.Errorf("%w: %d bytes", ErrNoDevice, len(b))
	}
	d := &Device{
		USB: binary.LittleEndian.Uint16(b[2:]), Class: b[4], Subclass: b[5], Protocol: b[6],
		Vendor: binary.LittleEndian.Uint16(b[8:]), Product: binary.LittleEndian.Uint16(b[10:]),
		Release: binary.LittleEndian.Uint16(b[12:]), Manufacturer: b[14], Name: b[15], Serial: b[16],
	}
	d.walk(b)
	if n := int(b[17]); n != len(d.Configurations) {
		d.problem(17, "%d configurations announced, %d present", n, len(d.Configurations))
	}
	return d, nil
}

func (d *Device) problem(offset int, format string, args ...any) {
	if len(d.Problems) < maxProblems {
		d.Problems = append(d.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

func (d *Device) walk(b []byte) {
	end, interfaces, others, announced := 0, 0, 0, 0
	for o := int(b[0]); o < len(b); {
		n := 0
		if o+2 <= len(b) {
			n = int(b[o])
		}
		if n < 2 || o+n > len(b) {
			d.problem(o, "descriptor of %d bytes, %d left", n, len(b)-o)
			return
		}
		x := b[o : o+n]
		switch {
		case x[1] == 2 && n >= 9:
			d.checkCount(announced)
			d.Configurations = append(d.Configurations, Configuration{Offset: o, Value: x[5], Attributes: x[7], MaxPower: 2 * int(x[8])})
			end, announced = o+int(binary.LittleEndian.Uint16(x[2:])), int(x[4])
			if end > len(b) || end < o+9 {
				d.problem(o, "configuration of %d bytes, %d left", end-o, len(b)-o)
			}
		case x[1] == 2 || x[1] == 4 && n < 9 || x[1] == 5 && n < 7:
			d.problem(o, "descriptor type %d has only %d bytes", x[1], n)
		case len(d.Configurations) == 0:
			d.problem(o, "descriptor type 0x%02x before the first configuration", x[1])
		case x[1] == 4:
			if interfaces++; interfaces > maxInterfaces {
				d.problem(o, "more than %d interfaces", maxInterfaces)
				return
			}
			c := d.last()
			c.Interfaces = append(c.Interfaces, Interface{Offset: o, Number: x[2], Alternate: x[3], Class: x[5], Subclass: x[6], Protocol: x[7]})
		default:
			if others++; others > maxOther {
				d.problem(o, "more than %d descriptors", maxOther)
				return
			}
			d.attach(x, o)
		}
		o += n
	}
	d.checkCount(announced)
}

func (d *Device) last() *Configuration { return &d.Configurations[len(d.Configurations)-1] }

// attach files an endpoint or another descriptor under the interface before it.
// Association descriptors come before their interfaces and belong to none.
func (d *Device) attach(x []byte, o int) {
	c := d.last()
	if len(c.Interfaces) == 0 {
		if x[1] == 5 {
			d.problem(o, "endpoint before the first interface")
		}
		return
	}
	i := &c.Interfaces[len(c.Interfaces)-1]
	if x[1] == 5 {
		i.Endpoints = append(i.Endpoints, Endpoint{o, x[2], x[3], binary.LittleEndian.Uint16(x[4:]), x[6]})
		return
	}
	i.Other = append(i.Other, Descriptor{x[1], o, x})
}

// checkCount compares the interfaces of the configuration that just ended with
// the number it announced; alternate settings count once.
func (d *Device) checkCount(announced int) {
	if len(d.Configurations) == 0 {
		return
	}
	c := d.last()
	seen := map[uint8]bool{}
	for _, i := range c.Interfaces {
		seen[i.Number] = true
	}
	if len(seen) != announced {
		d.problem(c.Offset, "%d interfaces announced, %d present", announced, len(seen))
	}
}

// ClassName names a device or interface class (USB-IF defined class codes), ""
// when it is not known.
func ClassName(class uint8) string {
	switch class {
	case 0x00:
		return "per interface"
	case 0x01:
		return "audio"
	case 0x02:
		return "communications"
	case 0x03:
		return "human interface"
	case 0x05:
		return "physical"
	case 0x06:
		return "image"
	case 0x07:
		return "printer"
	case 0x08:
		return "mass storage"
	case 0x09:
		return "hub"
	case 0x0a:
		return "communications data"
	case 0x0b:
		return "smart card"
	case 0x0e:
		return "video"
	case 0x10:
		return "audio/video"
	case 0x11:
		return "billboard"
	case 0xdc:
		return "diagnostic"
	case 0xe0:
		return "wireless"
	case 0xef:
		return "miscellaneous"
	case 0xfe:
		return "application specific"
	case 0xff:
		return "vendor specific"
	}
	return ""
}
