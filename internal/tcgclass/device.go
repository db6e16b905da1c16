package tcgclass

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/assay-hw/assay/internal/nvmeid"
	"github.com/assay-hw/assay/internal/pciconf"
	"github.com/assay-hw/assay/internal/scsivpd"
	"github.com/assay-hw/assay/internal/smbios"
)

// FromSMBIOS makes the components of a structure table, in table order. Places
// that hold no part are left out.
func FromSMBIOS(t *smbios.Table) []Fields {
	var out []Fields
	for i := range t.Structures {
		if f, ok := fromStructure(&t.Structures[i]); ok {
			out = append(out, f)
		}
	}
	return out
}

func fromStructure(s *smbios.Structure) (Fields, bool) {
	at := func(o int) byte {
		if o < len(s.Formatted) {
			return s.Formatted[o]
		}
		return 0
	}
	text := func(o int) string {
		if n := int(at(o)); n > 0 && n <= len(s.Strings) {
			return s.Strings[n-1]
		}
		return ""
	}
	hexes := func(from, to int) string {
		if to > len(s.Formatted) {
			return ""
		}
		return strings.ToUpper(hex.EncodeToString(s.Formatted[from:to]))
	}
	f := Fields{Registry: SMBIOS}
	class := func(low ...byte) {
		v := []byte{0, s.Type, 0, 0}
		copy(v[4-len(low):], low)
		f.Class = strings.ToUpper(hex.EncodeToString(v))
	}
	switch s.Type {
	case 0x00:
		class(at(0x12), at(0x13))
		f.Maker, f.Model, f.Revision = text(0x04), text(0x05), hexes(0x14, 0x16)
	case 0x01:
		class()
		f.Maker, f.Model, f.Serial, f.Revision = text(0x04), text(0x05), text(0x07), text(0x06)
	case 0x02:
		class(at(0x0d))
		f.Maker, f.Model, f.Serial, f.Revision, f.Replaceable = text(0x04), text(0x05), text(0x07), text(0x06), new(at(0x09)&0x1c != 0)
	case 0x03:
		class(at(0x05))
		f.Maker, f.Model, f.Serial, f.Revision = text(0x04), hexes(0x05, 0x06), text(0x07), text(0x06)
	case 0x04:
		class(at(0x05))
		f.Maker, f.Model, f.Serial, f.Revision, f.Replaceable = text(0x07), hexes(0x06, 0x07), text(0x20), text(0x10), new(at(0x19) != 6)
		return f, at(0x18)&0x40 != 0 // CPU socket populated
	case 0x11:
		class(at(0x12))
		f.Maker, f.Model, f.Serial, f.Revision = text(0x17), text(0x1a), text(0x18), text(0x2b)
		return f, at(0x0c) != 0 || at(0x0d) != 0
	case 0x27:
		class()
		// The bit is printed as WORD & 0x0100 in the order of memory.
		f.Maker, f.Model, f.Serial, f.Revision, f.Replaceable = text(0x07), text(0x0a), text(0x08), text(0x0b), new(at(0x0e)&1 != 0)
	case 0x2b:
		class()
		f.Maker, f.Model, f.Revision = hexes(0x04, 0x08), hexes(0x08, 0x0a), hexes(0x0a, 0x12)
	default:
		return f, false
	}
	return f, true
}

// PCI is what the PCIe registry says about a function, taken apart. A part of a
// field that the device does not have is empty.
type PCI struct {
	Class                                    uint32 // class code, 24 bits
	Vendor, Device, SubVendor, Sub, Revision string // upper-case hexadecimal
	EUI64                                    string // device serial number capability
	VPDMaker, VPDPart, VPDSerial             string
}

// FromPCI reads a function's registers and vital product data, which may be
// missing.
func FromPCI(c *pciconf.Config, v *pciconf.VPD) PCI {
	p := PCI{
		Class: c.Class, Vendor: fmt.Sprintf("%04X", c.Vendor), Device: fmt.Sprintf("%04X", c.Device), Revision: fmt.Sprintf("%02X", c.Revision),
	}
	if c.HeaderType == 0 {
		p.SubVendor, p.Sub = fmt.Sprintf("%04X", c.SubsystemVendor), fmt.Sprintf("%04X", c.SubsystemID)
	}
	if c.DSN != 0 {
		p.EUI64 = fmt.Sprintf("%016X", c.DSN)
	}
	if v != nil {
		p.VPDMaker, p.VPDPart, p.VPDSerial = v.Field("MN"), v.Field("PN"), v.Field("SN")
	}
	return p
}

// Fields writes a function as the registry has it.
func (p PCI) Fields() Fields {
	f := Fields{
		Registry: PCIe, Class: hex32(p.Class & 0xffffff), Maker: p.Vendor + ":" + p.SubVendor + ":" + p.VPDMaker,
		Model: p.Device + ":" + p.Sub + ":" + p.VPDPart, Revision: p.Revision,
	}
	if p.EUI64 != "" || p.VPDSerial != "" {
		f.Serial = p.EUI64 + ":" + p.VPDSerial
	}
	return f
}

// ParsePCI reads the fields of the PCIe registry; ok is false when they are not
// of its form.
func ParsePCI(f Fields) (p PCI, ok bool) {
	m, d := strings.SplitN(f.Maker, ":", 3), strings.SplitN(f.Model, ":", 3)
	var class uint32
	if _, err := fmt.Sscanf(f.Class, "%08X", &class); err != nil || len(f.Class) != 8 || class>>24 != 0 || len(m) < 2 || len(d) < 2 || !hexDigits(m[0], 4) || !hexDigits(d[0], 4) {
		return p, false
	}
	if m[1] != "" && !hexDigits(m[1], 4) || d[1] != "" && !hexDigits(d[1], 4) {
		return p, false
	}
	p = PCI{Class: class, Vendor: strings.ToUpper(m[0]), SubVendor: strings.ToUpper(m[1]), Device: strings.ToUpper(d[0]), Sub: strings.ToUpper(d[1]), Revision: strings.ToUpper(f.Revision)}
	if len(m) == 3 {
		p.VPDMaker = m[2]
	}
	if len(d) == 3 {
		p.VPDPart = d[2]
	}
	if eui, serial, split := strings.Cut(f.Serial, ":"); split && (eui == "" || hexDigits(eui, 16)) {
		p.EUI64, p.VPDSerial = strings.ToUpper(eui), serial
	} else if f.Serial != "" {
		p.VPDSerial = f.Serial
	}
	return p, true
}

func hexDigits(s string, n int) bool {
	return len(s) == n && strings.Trim(strings.ToUpper(s), "0123456789ABCDEF") == ""
}

// Disk is what the storage registry says about a drive, taken apart.
type Disk struct {
	Protocol string // "ata", "scsi" or "nvme"
	Kind     uint32 // form factor, peripheral byte, or PCI class code
	Maker    string // OUI, T10 vendor, or VID:SSVID:OUI
	Model    string
	Serial   string // as people know it
	UniqueID string // world wide name, or FGUID
	NQN      string // of an NVMe subsystem
	Revision string // of the firmware
}

// FromATA reads the pages 03h and 05h of the identify device data log. The bytes
// of a page may be in the order of a device or of the specification's print.
func FromATA(page03, page05 []byte) (Disk, error) {
	if len(page03) < 0x48 || len(page05) < 0x58 {
		return Disk{}, fmt.Errorf("log pages of %d and %d bytes", len(page03), len(page05))
	}
	swapped := page03[0] != 0x80
	word := func(b []byte, o int) uint64 {
		if swapped {
			return binary.LittleEndian.Uint64(b[o:])
		}
		return binary.BigEndian.Uint64(b[o:])
	}
	text := func(b []byte) string {
		out := append([]byte(nil), b...)
		for i := 0; swapped && i+1 < len(out); i += 2 {
			out[i], out[i+1] = out[i+1], out[i]
		}
		return strings.TrimSpace(strings.TrimRight(string(out), "\x00"))
	}
	name := word(page03, 0x40)
	return Disk{
		Protocol: "ata", Kind: uint32(word(page03, 0x20) & 0xff), Maker: fmt.Sprintf("%06X", name>>36&0xffffff), Model: text(page05[0x30:0x58]),
		Serial: text(page05[0x08:0x1c]), UniqueID: fmt.Sprintf("%09X", name&0xfffffffff), Revision: text(page05[0x20:0x28]),
	}, nil
}

// FromSCSI reads standard inquiry data and the pages 80h and 83h, of which the
// last may be missing.
func FromSCSI(inquiry, page80, page83 []byte) (Disk, error) {
	if len(inquiry) < 36 {
		return Disk{}, fmt.Errorf("inquiry data of %d bytes", len(inquiry))
	}
	text := func(b []byte) string { return strings.TrimSpace(strings.TrimRight(string(b), "\x00")) }
	d := Disk{Protocol: "scsi", Kind: uint32(inquiry[0]), Maker: text(inquiry[8:16]), Model: text(inquiry[16:32]), Revision: text(inquiry[32:36])}
	if len(page80) > 0 {
		serial, err := scsivpd.ParseSerial(page80)
		if err != nil {
			return d, fmt.Errorf("page 80h: %w", err)
		}
		d.Serial = strings.TrimSpace(serial)
	}
	if len(page83) > 0 {
		all, err := scsivpd.ParseIdentification(page83)
		if err != nil {
			return d, fmt.Errorf("page 83h: %w", err)
		}
		for _, x := range all {
			if x.Type == scsivpd.NAA && !x.Text && x.Association == 0 && len(x.Value) > 1 {
				d.UniqueID = strings.ToUpper(x.Value[1:]) // without the digit that names the format
				break
			}
		}
	}
	return d, nil
}

// FromNVMe reads the identify controller structure; the class code is that of
// the controller's PCI function.
func FromNVMe(c *nvmeid.Controller, class uint32) Disk {
	d := Disk{
		Protocol: "nvme", Kind: class & 0xffffff, Model: strings.TrimSpace(c.Model), Serial: strings.TrimSpace(c.Serial), NQN: c.NQN, Revision: strings.TrimSpace(c.Firmware),
		Maker: fmt.Sprintf("%04X:%04X:%06X", c.Vendor, c.SubsystemVendor, c.OUI),
	}
	if c.GUID != [16]byte{} {
		d.UniqueID = strings.ToUpper(hex.EncodeToString(c.GUID[:]))
	}
	return d
}

// Fields writes a drive as the registry has it.
func (d Disk) Fields() Fields {
	f := Fields{Registry: Storage, Maker: d.Maker, Model: d.Model, Revision: d.Revision}
	switch d.Protocol {
	case "ata":
		f.Class, f.Serial = hex32(d.Kind&0xffffff), d.Serial+":"+d.UniqueID
	case "scsi":
		f.Class, f.Serial = hex32(1<<24|d.Kind&0xffffff), d.UniqueID+":"+d.Serial
	case "nvme":
		f.Class, f.Serial = hex32(2<<24|d.Kind&0xffffff), d.UniqueID+":"+d.Serial+":"+d.NQN
	}
	return f
}

// ParseDisk reads the fields of the storage registry; ok is false when they are
// not of its form. An NQN has colons of its own.
func ParseDisk(f Fields) (d Disk, ok bool) {
	var class uint32
	if _, err := fmt.Sscanf(f.Class, "%08X", &class); err != nil || len(f.Class) != 8 || class>>24 > 2 {
		return d, false
	}
	d = Disk{Protocol: []string{"ata", "scsi", "nvme"}[class>>24], Kind: class & 0xffffff, Maker: f.Maker, Model: f.Model, Revision: f.Revision}
	switch d.Protocol {
	case "ata":
		// A serial number could hold a colon, a world wide name cannot.
		if i := strings.LastIndexByte(f.Serial, ':'); i >= 0 {
			d.Serial, d.UniqueID = f.Serial[:i], f.Serial[i+1:]
		} else {
			d.Serial = f.Serial
		}
	case "scsi":
		id, serial, split := strings.Cut(f.Serial, ":")
		if d.UniqueID, d.Serial = id, serial; !split {
			d.UniqueID, d.Serial = "", f.Serial
		}
	case "nvme":
		parts := strings.SplitN(f.Serial, ":", 3)
		if len(parts) < 2 {
			d.Serial = f.Serial
			break
		}
		d.UniqueID, d.Serial = parts[0], parts[1]
		if len(parts) == 3 {
			d.NQN = parts[2]
		}
	}
	return d, true
}
