package smbios

import (
	"encoding/binary"
	"fmt"
)

// Address is a PCI address that a structure gives for a device or slot.
type Address struct {
	Segment  uint16
	Bus      uint8
	Device   uint8
	Function uint8
}

// String renders the address as sysfs does: "0000:3b:00.0".
func (a Address) String() string {
	return fmt.Sprintf("%04x:%02x:%02x.%d", a.Segment, a.Bus, a.Device, a.Function)
}

// Slot is structure type 9 (DSP0134 7.10). Address is nil where the firmware
// gives none or one of the values that stand for none.
type Slot struct {
	Header
	Designation string
	SlotType    uint8
	BusWidth    uint8
	InUse       bool
	Usage       uint8 // 3 available, 4 in use, 5 unavailable
	ID          uint16
	HotPlug     bool
	Address     *Address
	Peers       []Address
}

// OnboardDevice is structure type 41, or one entry of the older type 10
// (7.42, 7.11), which has neither instance nor address.
type OnboardDevice struct {
	Header
	Designation string
	DeviceType  uint8 // without the enable bit
	Enabled     bool
	Instance    uint8
	Address     *Address
}

// IPMIDevice is structure type 38 (7.39).
type IPMIDevice struct {
	Header
	Interface   uint8  // 1 KCS, 2 SMIC, 3 BT, 4 SSIF
	Revision    string // IPMI version
	I2CAddress  uint8
	BaseAddress uint64
}

// PowerSupply is structure type 39 (7.40).
type PowerSupply struct {
	Header
	Location, Name, Manufacturer, Serial, AssetTag, Model, Revision string
	MaxPower                                                        int // watts, 0 unknown
	Group                                                           uint8
	Present, HotReplaceable, Unplugged                              bool
}

// ManagementController is structure type 42, a host interface of the management
// controller (7.43, DSP0270). DeviceIDs is "vvvv:pppp" of the USB or PCI
// device behind a network host interface, empty when not given.
type ManagementController struct {
	Header
	Interface  uint8
	DeviceType uint8
	DeviceIDs  string
	Protocols  []uint8
}

// pciAddress drops the values that firmware writes for "no address".
func (f field) pciAddress(segment, bus, devfn int) *Address {
	if !f.has(segment, 2) || !f.has(bus, 1) || !f.has(devfn, 1) {
		return nil
	}
	return address(f.word(segment), f.byte(bus), f.byte(devfn))
}

func address(segment uint16, bus, devfn uint8) *Address {
	switch {
	case bus == 0xff && (devfn == 0xff || devfn == 0), segment == 0xffff:
		return nil
	case segment == 0 && bus == 0 && devfn == 0:
		return nil
	}
	return &Address{segment, bus, devfn >> 3, devfn & 7}
}

func decodeSlot(f field) Slot {
	s := Slot{
		Header: f.Header, Designation: f.text(0x04), SlotType: f.byte(0x05), BusWidth: f.byte(0x06),
		Usage: f.byte(0x07), InUse: f.byte(0x07) == 4, ID: f.word(0x09), HotPlug: f.byte(0x0c)&2 != 0,
		Address: f.pciAddress(0x0d, 0x0f, 0x10),
	}
	n := int(f.byte(0x12))
	for i := range n {
		o := 0x13 + 5*i
		if !f.has(o, 5) {
			f.problem(0x12, "%d peer groups do not fit", n)
			break
		}
		if a := address(f.word(o), f.byte(o+2), f.byte(o+3)); a != nil {
			s.Peers = append(s.Peers, *a)
		}
	}
	return s
}

func decodeOnboard(f field) OnboardDevice {
	return OnboardDevice{
		Header: f.Header, Designation: f.text(0x04), DeviceType: f.byte(0x05) & 0x7f, Enabled: f.byte(0x05)&0x80 != 0,
		Instance: f.byte(0x06), Address: f.pciAddress(0x07, 0x09, 0x0a),
	}
}

func decodeOldOnboard(f field) []OnboardDevice {
	var out []OnboardDevice
	for o := 4; f.has(o, 2); o += 2 {
		out = append(out, OnboardDevice{
			Header: f.Header, DeviceType: f.byte(o) & 0x7f, Enabled: f.byte(o)&0x80 != 0, Designation: f.text(o + 1),
		})
	}
	return out
}

func decodeIPMI(f field) IPMIDevice {
	d := IPMIDevice{Header: f.Header, Interface: f.byte(0x04), I2CAddress: f.byte(0x06) >> 1, BaseAddress: f.qword(0x08)}
	if r := f.byte(0x05); r != 0 {
		d.Revision = fmt.Sprintf("%d.%d", r>>4, r&0x0f)
	}
	return d
}

func decodePowerSupply(f field) PowerSupply {
	p := PowerSupply{
		Header: f.Header, Group: f.byte(0x04), Location: f.text(0x05), Name: f.text(0x06), Manufacturer: f.text(0x07),
		Serial: f.text(0x08), AssetTag: f.text(0x09), Model: f.text(0x0a), Revision: f.text(0x0b),
	}
	if w := f.word(0x0c); w != 0x8000 {
		p.MaxPower = int(w)
	}
	c := f.word(0x0e)
	p.HotReplaceable, p.Present, p.Unplugged = c&1 != 0, c&2 != 0, c&4 != 0
	return p
}

func decodeManagementController(f field) ManagementController {
	m := ManagementController{Header: f.Header, Interface: f.byte(0x04)}
	n := int(f.byte(0x05))
	if !f.has(0x06, n) {
		f.problem(0x05, "interface data of %d bytes does not fit", n)
		return m
	}
	data := f.s.Formatted[0x06 : 0x06+n]
	if m.Interface == 0x40 && n > 0 {
		m.DeviceType = data[0]
		m.DeviceIDs = hostInterfaceIDs(data)
	}
	o := 0x07 + n
	for range int(f.byte(0x06 + n)) {
		size := int(f.byte(o + 1))
		if !f.has(o, 2+size) {
			f.problem(0x06+n, "protocol records do not fit")
			break
		}
		m.Protocols = append(m.Protocols, f.byte(o))
		o += 2 + size
	}
	return m
}

// hostInterfaceIDs reads the device descriptor of a network host interface
// (DSP0270 8.3): USB and PCI, in the first version and in the second, which has
// a length byte before the ids.
func hostInterfaceIDs(data []byte) string {
	at := 1
	if data[0] == 4 || data[0] == 5 {
		at = 2
	}
	if data[0] < 2 || data[0] > 5 || len(data) < at+4 {
		return ""
	}
	return fmt.Sprintf("%04x:%04x", binary.LittleEndian.Uint16(data[at:]), binary.LittleEndian.Uint16(data[at+2:]))
}
