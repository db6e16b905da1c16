package pciconf

import "fmt"

// Express is the PCI Express capability (PCIe 6.0, 7.5.3). Link and slot values
// describe the moment of reading.
type Express struct {
	Offset       int
	Version      uint8
	PortType     uint8 // 0 endpoint, 1 legacy endpoint, 4 root port, 5 upstream, 6 downstream, 7 to PCI, 8 from PCI, 9 integrated, 10 event collector
	MaxSpeed     uint8 // link capability: 1 is 2.5 GT/s, 2 is 5, 3 is 8, 4 is 16, 5 is 32, 6 is 64
	MaxWidth     uint8
	Speed, Width uint8 // link status, 0 when the link is down or has no meaning
	LinkActive   bool  // data link layer active, meaningful when LinkReports
	LinkReports  bool
	PortNumber   uint8
	Slot         *Slot // nil when the port has no slot
}

// Slot is the slot of a root or downstream port. Present without a device behind
// the port is remarkable; a device behind a port that is not Present is not:
// emulated ports leave the bit clear.
type Slot struct {
	Number                                  uint16 // physical slot number
	HotPlug, Surprise, Attention            bool   // hot-plug capable, surprise removal, attention button
	PowerController, PowerLED, AttentionLED bool   // present
	Present                                 bool   // presence detect state
	PresenceChanged, LinkChanged            bool
	PowerOff                                bool  // power controller control: the slot has no power
	PowerIndicator, AttentionIndicator      uint8 // 1 on, 2 blink, 3 off
}

// TypeName names a port type as the specification does.
func (e *Express) TypeName() string {
	names := []string{
		"endpoint", "legacy endpoint", "", "", "root port", "upstream port", "downstream port", "PCIe-to-PCI bridge",
		"PCI-to-PCIe bridge", "root complex integrated endpoint", "root complex event collector",
	}
	if int(e.PortType) < len(names) && names[e.PortType] != "" {
		return names[e.PortType]
	}
	return fmt.Sprintf("type %d", e.PortType)
}

func (r reader) express(o int) {
	if r.c.Express != nil {
		r.c.problem(o, "second PCI Express capability")
		return
	}
	flags := r.word(o + 2)
	e := &Express{Offset: o, Version: uint8(flags & 0x0f), PortType: uint8(flags >> 4 & 0x0f)}
	r.c.Express = e
	if o+0x14 > len(r.b) {
		return
	}
	link, status := r.dword(o+0x0c), r.word(o+0x12)
	e.MaxSpeed, e.MaxWidth, e.PortNumber = uint8(link&0x0f), uint8(link>>4&0x3f), uint8(link>>24)
	e.Speed, e.Width = uint8(status&0x0f), uint8(status>>4&0x3f)
	e.LinkReports, e.LinkActive = link&(1<<20) != 0, status&(1<<13) != 0
	if flags&0x100 == 0 || e.PortType != 4 && e.PortType != 6 || o+0x1c > len(r.b) {
		return
	}
	caps, control, state := r.dword(o+0x14), r.word(o+0x18), r.word(o+0x1a)
	e.Slot = &Slot{
		Number: uint16(caps >> 19), Attention: caps&1 != 0, PowerController: caps&2 != 0, AttentionLED: caps&8 != 0,
		PowerLED: caps&0x10 != 0, Surprise: caps&0x20 != 0, HotPlug: caps&0x40 != 0,
		Present: state&0x40 != 0, PresenceChanged: state&8 != 0, LinkChanged: state&0x100 != 0,
		PowerOff: caps&2 != 0 && control&0x400 != 0, AttentionIndicator: uint8(control >> 6 & 3), PowerIndicator: uint8(control >> 8 & 3),
	}
}

// describe fills in the version and the stable details of a standard
// capability, and what Config takes from it.
func (r reader) describe(c *Capability) {
	o := c.Offset
	switch c.ID {
	case 0x01: // power management
		c.Version = uint8(r.word(o+2) & 7)
	case 0x05: // MSI: vectors asked for, 64 bit, maskable
		c.Detail = fmt.Sprintf("%x", r.word(o+2)&0x018e)
	case 0x08: // HyperTransport
		c.Detail = fmt.Sprintf("type=%x", r.word(o+2)>>11)
	case 0x09: // vendor specific
		if o+3 <= len(r.b) {
			c.Detail = fmt.Sprintf("len=%d", r.b[o+2])
		}
	case 0x0d: // subsystem ids of a bridge
		if o+8 <= len(r.b) && r.c.HeaderType == 1 {
			r.c.SubsystemVendor, r.c.SubsystemID, r.c.SubsystemOffset = r.word(o+4), r.word(o+6), o+4
		}
	case 0x10:
		r.express(o)
		if r.c.Express != nil {
			c.Version, c.Detail = r.c.Express.Version, fmt.Sprintf("type=%x", r.c.Express.PortType)
		}
	case 0x11: // MSI-X: table size
		c.Detail = fmt.Sprintf("%d", r.word(o+2)&0x7ff+1)
	}
}

func (r reader) describeExtended(c *Capability) {
	o := c.Offset
	switch c.ID {
	case 0x01:
		r.c.AER = true
	case 0x03:
		r.c.DSN = uint64(r.dword(o+4)) | uint64(r.dword(o+8))<<32
	case 0x0b: // vendor specific: id, revision, length
		head := r.dword(o + 4)
		c.Detail = fmt.Sprintf("vsec=%04xr%d/%d", uint16(head), head>>16&0x0f, head>>20)
	case 0x0e:
		r.c.ARI = true
	case 0x10:
		r.sriov(o)
		if r.c.SRIOV != nil {
			c.Detail = fmt.Sprintf("vfs=%d", r.c.SRIOV.TotalVFs)
		}
	case 0x23: // designated vendor specific
		head := r.dword(o + 4)
		c.Detail = fmt.Sprintf("dvsec=%04x/%04xr%d/%d", uint16(head), r.word(o+8), head>>16&0x0f, head>>20)
	case 0x2e:
		r.c.DOE = true
	case 0x30:
		r.c.IDE = true
	}
}

func (r reader) sriov(o int) {
	if r.c.SRIOV != nil {
		r.c.problem(o, "second SR-IOV capability")
		return
	}
	if o+0x1c > len(r.b) {
		return
	}
	r.c.SRIOV = &SRIOV{
		Enabled: r.word(o+8)&1 != 0, InitialVFs: r.word(o + 0x0c), TotalVFs: r.word(o + 0x0e), NumVFs: r.word(o + 0x10),
		FirstOffset: r.word(o + 0x14), Stride: r.word(o + 0x16), VFDevice: r.word(o + 0x1a),
	}
}
