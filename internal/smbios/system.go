package smbios

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
)

// BIOS is structure type 0 (DSP0134 7.1).
type BIOS struct {
	Header
	Vendor, Version, ReleaseDate string
	ROMSize                      uint64 // bytes, 0 when not given
	Release                      string // "major.minor" of the BIOS, empty when not given
	EmbeddedController           string // "major.minor", empty when not given
	Virtual                      bool   // the table says that it describes a virtual machine
}

// System is structure type 1 (7.2). UUID is empty when the field is absent, all
// zero or all ones; RawUUID holds the bytes in that case too.
type System struct {
	Header
	Manufacturer, Product, Version, Serial, SKU, Family string
	UUID                                                string
	RawUUID                                             string
	WakeUp                                              uint8
}

// Baseboard is structure type 2 (7.3).
type Baseboard struct {
	Header
	Manufacturer, Product, Version, Serial, AssetTag, Location string
	BoardType                                                  uint8
	ChassisHandle                                              uint16
	Hosting, Replaceable                                       bool
	Contains                                                   []uint16
}

// Chassis is structure type 3 (7.4).
type Chassis struct {
	Header
	Manufacturer, Version, Serial, AssetTag, SKU string
	ChassisType                                  uint8 // without the lock bit
	Lock                                         bool
	Height                                       uint8 // rack units, 0 unspecified
}

// TypeName names the kind of chassis (7.4.1), "" for kinds it does not know.
func (c Chassis) TypeName() string {
	names := map[uint8]string{
		0x03: "desktop", 0x04: "low profile desktop", 0x05: "pizza box", 0x06: "mini tower", 0x07: "tower", 0x08: "portable", 0x09: "laptop",
		0x0a: "notebook", 0x0d: "all in one", 0x0e: "sub notebook", 0x11: "main server chassis", 0x17: "rack mount chassis", 0x18: "sealed-case PC",
		0x19: "multi-system chassis", 0x1c: "blade", 0x1d: "blade enclosure", 0x1f: "convertible", 0x22: "embedded PC", 0x23: "mini PC", 0x24: "stick PC",
	}
	return names[c.ChassisType]
}

// Processor is structure type 4 (7.5). Signature is the first dword of the ID
// field: on x86 the EAX value of CPUID leaf 1, on Arm SMCCC machines the SoC id
// or MIDR.
type Processor struct {
	Header
	Socket, Manufacturer, Version, Serial, AssetTag, PartNumber string
	SocketType                                                  string
	ID                                                          uint64
	Signature                                                   uint32
	Family                                                      uint16
	Populated, Enabled                                          bool
	MaxSpeed, CurrentSpeed                                      uint16 // MHz
	Cores, EnabledCores, Threads                                int    // 0 unknown
	Upgrade                                                     uint8
}

// Connector is structure type 8 (7.9).
type Connector struct {
	Header
	Internal, External         string
	InternalType, ExternalType uint8
	PortType                   uint8
}

// OEMStrings is structure type 11 (7.12).
type OEMStrings struct {
	Header
	Values []string
}

// TPM is structure type 43 (7.44). Vendor is the four-character id with
// padding removed and byte order repaired where the firmware swapped it.
type TPM struct {
	Header
	Vendor               string
	RawVendor            string // hex of the four bytes
	Major, Minor         uint8  // specification version
	Firmware1, Firmware2 uint32
	Description          string
	Characteristics      uint64
}

func decodeBIOS(f field) BIOS {
	b := BIOS{Header: f.Header, Vendor: f.text(0x04), Version: f.text(0x05), ReleaseDate: f.text(0x08)}
	if n := f.byte(0x09); f.has(0x09, 1) && n != 0xff {
		b.ROMSize = (uint64(n) + 1) << 16
	} else if f.has(0x18, 2) {
		ext := f.word(0x18)
		unit := uint64(1) << 20
		if ext>>14 == 1 {
			unit = 1 << 30
		}
		b.ROMSize = uint64(ext&0x3fff) * unit
	}
	b.Virtual = f.byte(0x13)&0x10 != 0
	b.Release = pair(f.byte(0x14), f.byte(0x15), f.has(0x14, 2))
	b.EmbeddedController = pair(f.byte(0x16), f.byte(0x17), f.has(0x16, 2))
	return b
}

func pair(major, minor uint8, present bool) string {
	if !present || major == 0xff && minor == 0xff {
		return ""
	}
	return fmt.Sprintf("%d.%d", major, minor)
}

func decodeSystem(f field) System {
	s := System{
		Header: f.Header, Manufacturer: f.text(0x04), Product: f.text(0x05), Version: f.text(0x06),
		Serial: f.text(0x07), WakeUp: f.byte(0x18), SKU: f.text(0x19), Family: f.text(0x1a),
	}
	if f.has(0x08, 16) {
		raw := f.s.Formatted[0x08:0x18]
		s.RawUUID = hex.EncodeToString(raw)
		s.UUID = f.uuid(raw)
	}
	return s
}

// uuid orders the first three fields little endian since 2.6 (DSP0134 7.2.1).
func (f field) uuid(raw []byte) string {
	zero, ones := true, true
	for _, x := range raw {
		zero = zero && x == 0
		ones = ones && x == 0xff
	}
	if zero || ones {
		return ""
	}
	u := append([]byte(nil), raw...)
	if !f.bigEndian {
		u[0], u[1], u[2], u[3] = u[3], u[2], u[1], u[0]
		u[4], u[5] = u[5], u[4]
		u[6], u[7] = u[7], u[6]
	}
	h := hex.EncodeToString(u)
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}

func decodeBaseboard(f field) Baseboard {
	b := Baseboard{
		Header: f.Header, Manufacturer: f.text(0x04), Product: f.text(0x05), Version: f.text(0x06),
		Serial: f.text(0x07), AssetTag: f.text(0x08), Location: f.text(0x0a),
		ChassisHandle: f.word(0x0b), BoardType: f.byte(0x0d),
		Hosting: f.byte(0x09)&1 != 0, Replaceable: f.byte(0x09)&8 != 0,
	}
	n := int(f.byte(0x0e))
	for i := range n {
		if !f.has(0x0f+2*i, 2) {
			f.problem(0x0e, "%d contained handles do not fit", n)
			break
		}
		b.Contains = append(b.Contains, f.word(0x0f+2*i))
	}
	return b
}

func decodeChassis(f field) Chassis {
	c := Chassis{
		Header: f.Header, Manufacturer: f.text(0x04), ChassisType: f.byte(0x05) & 0x7f, Lock: f.byte(0x05)&0x80 != 0,
		Version: f.text(0x06), Serial: f.text(0x07), AssetTag: f.text(0x08), Height: f.byte(0x11),
	}
	if f.has(0x13, 2) {
		c.SKU = f.text(0x15 + int(f.byte(0x13))*int(f.byte(0x14)))
	}
	return c
}

func decodeProcessor(f field) Processor {
	p := Processor{
		Header: f.Header, Socket: f.text(0x04), Manufacturer: f.text(0x07), Version: f.text(0x10),
		Serial: f.text(0x20), AssetTag: f.text(0x21), PartNumber: f.text(0x22), SocketType: f.text(0x32),
		ID: f.qword(0x08), Signature: f.dword(0x08), Family: uint16(f.byte(0x06)), Upgrade: f.byte(0x19),
		MaxSpeed: f.word(0x14), CurrentSpeed: f.word(0x16),
		Populated: f.byte(0x18)&0x40 != 0, Enabled: f.byte(0x18)&7 == 1,
		Cores: f.count(0x23, 0x2a), EnabledCores: f.count(0x24, 0x2c), Threads: f.count(0x25, 0x2e),
	}
	if p.Family == 0xfe {
		p.Family = f.word(0x28)
	}
	return p
}

// count reads a byte count that moves to a word field when it is 0xff.
func (f field) count(small, large int) int {
	n := int(f.byte(small))
	if n == 0xff && f.has(large, 2) {
		return int(f.word(large))
	}
	return n
}

func decodeConnector(f field) Connector {
	return Connector{
		Header: f.Header, Internal: f.text(0x04), InternalType: f.byte(0x05),
		External: f.text(0x06), ExternalType: f.byte(0x07), PortType: f.byte(0x08),
	}
}

func decodeOEMStrings(f field) OEMStrings {
	if n := int(f.byte(0x04)); n != len(f.s.Strings) {
		f.problem(0x04, "%d strings counted, %d stored", n, len(f.s.Strings))
	}
	return OEMStrings{Header: f.Header, Values: f.s.Strings}
}

func decodeTPM(f field) TPM {
	t := TPM{
		Header: f.Header, Major: f.byte(0x08), Minor: f.byte(0x09), Firmware1: f.dword(0x0a), Firmware2: f.dword(0x0e),
		Description: f.text(0x12), Characteristics: f.qword(0x13),
	}
	if f.has(0x04, 4) {
		raw := f.s.Formatted[0x04:0x08]
		t.RawVendor = hex.EncodeToString(raw)
		v := [4]byte(raw)
		if v[0] == 0 && v[3] != 0 {
			binary.BigEndian.PutUint32(v[:], binary.LittleEndian.Uint32(raw))
		}
		t.Vendor = strings.Trim(string(v[:]), "\x00 ")
	}
	return t
}
