package smbios

// MemoryArray is structure type 16 (DSP0134 7.17).
type MemoryArray struct {
	Header
	Location        uint8
	Use             uint8 // 3 system memory
	ErrorCorrection uint8
	MaxCapacity     uint64 // bytes, 0 unknown
	Devices         int
}

// MemoryDevice is structure type 17 (7.18). The manufacturer ids are the words
// of the SPD: low byte continuation codes with parity, high byte the code; zero
// where the firmware gives none.
type MemoryDevice struct {
	Header
	ArrayHandle                                                      uint16
	Locator, Bank, Manufacturer, Serial, AssetTag, PartNumber        string
	FirmwareVersion                                                  string
	Installed                                                        bool
	Size                                                             uint64 // bytes, 0 none or unknown
	TotalWidth, DataWidth                                            uint16 // bits, 0 unknown
	FormFactor                                                       uint8
	MemoryType                                                       uint8
	TypeDetail                                                       uint16
	Rank                                                             uint8
	Speed, ConfiguredSpeed                                           uint32 // MT/s, 0 unknown
	ModuleManufacturerID, ModuleProductID                            uint16
	ControllerManufacturerID, ControllerProductID                    uint16
	PMICManufacturerID, PMICRevision, RCDManufacturerID, RCDRevision uint16
}

// MappedAddress is structure type 19 (7.20): an address range of a memory array.
type MappedAddress struct {
	Header
	Start, End  uint64 // bytes, inclusive
	ArrayHandle uint16
	Width       uint8
}

func decodeMemoryArray(f field) MemoryArray {
	a := MemoryArray{
		Header: f.Header, Location: f.byte(0x04), Use: f.byte(0x05), ErrorCorrection: f.byte(0x06), Devices: int(f.word(0x0d)),
	}
	if kib := f.dword(0x07); kib == 0x80000000 {
		a.MaxCapacity = f.qword(0x0f)
	} else {
		a.MaxCapacity = uint64(kib) << 10
	}
	return a
}

func decodeMemoryDevice(f field) MemoryDevice {
	d := MemoryDevice{
		Header: f.Header, ArrayHandle: f.word(0x04), TotalWidth: known(f.word(0x08)), DataWidth: known(f.word(0x0a)),
		FormFactor: f.byte(0x0e), Locator: f.text(0x10), Bank: f.text(0x11), MemoryType: f.byte(0x12), TypeDetail: f.word(0x13),
		Manufacturer: f.text(0x17), Serial: f.text(0x18), AssetTag: f.text(0x19), PartNumber: f.text(0x1a),
		Rank: f.byte(0x1b) & 0x0f, FirmwareVersion: f.text(0x2b),
		Speed:                f.speed(0x15, 0x54),
		ConfiguredSpeed:      f.speed(0x20, 0x58),
		ModuleManufacturerID: f.word(0x2c), ModuleProductID: f.word(0x2e),
		ControllerManufacturerID: f.word(0x30), ControllerProductID: f.word(0x32),
		PMICManufacturerID: f.word(0x5c), PMICRevision: f.word(0x5e), RCDManufacturerID: f.word(0x60), RCDRevision: f.word(0x62),
	}
	switch size := f.word(0x0c); {
	case size == 0:
	case size == 0xffff:
		d.Installed = true
	case size == 0x7fff && f.has(0x1c, 4):
		d.Installed, d.Size = true, uint64(f.dword(0x1c)&0x7fffffff)<<20
	case size&0x8000 != 0:
		d.Installed, d.Size = true, uint64(size&0x7fff)<<10
	default:
		d.Installed, d.Size = true, uint64(size)<<20
	}
	return d
}

// speed reads a word that moves to an extended dword when it is all ones.
func (f field) speed(small, large int) uint32 {
	n := f.word(small)
	if n == 0xffff && f.has(large, 4) {
		return f.dword(large) & 0x7fffffff
	}
	return uint32(known(n))
}

// known maps the word that means "unknown" to zero.
func known(n uint16) uint16 {
	if n == 0xffff {
		return 0
	}
	return n
}

func decodeMappedAddress(f field) MappedAddress {
	m := MappedAddress{Header: f.Header, ArrayHandle: f.word(0x0c), Width: f.byte(0x0e)}
	start, end := f.dword(0x04), f.dword(0x08)
	switch {
	case start == 0xffffffff && f.has(0x0f, 16):
		m.Start, m.End = f.qword(0x0f), f.qword(0x17)
	default:
		m.Start, m.End = uint64(start)<<10, uint64(end)<<10|0x3ff
	}
	if m.End < m.Start {
		f.problem(0x04, "range ends at 0x%x before its start 0x%x", m.End, m.Start)
	}
	return m
}

// TypeName names the memory type (7.18.2), "" for types it does not know.
func (d MemoryDevice) TypeName() string {
	names := map[uint8]string{
		0x03: "DRAM", 0x0f: "SDRAM", 0x12: "DDR", 0x13: "DDR2", 0x14: "DDR2 FB-DIMM", 0x18: "DDR3", 0x19: "FBD2", 0x1a: "DDR4",
		0x1b: "LPDDR", 0x1c: "LPDDR2", 0x1d: "LPDDR3", 0x1e: "LPDDR4", 0x1f: "Logical non-volatile device", 0x20: "HBM", 0x21: "HBM2",
		0x22: "DDR5", 0x23: "LPDDR5", 0x24: "HBM3",
	}
	return names[d.MemoryType]
}
