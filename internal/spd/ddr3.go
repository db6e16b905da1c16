package spd

// ddr3 decodes JEDEC 21-C annex K.
func (m *Module) ddr3(b []byte) {
	end := 126
	if b[0]&0x80 != 0 {
		end = 117
	}
	m.crc(b, 0, end, 126)
	m.ModuleType, m.Registered = moduleType(b[3]&0x0f, map[uint8]string{
		1: "RDIMM", 2: "UDIMM", 3: "SO-DIMM", 4: "Micro-DIMM", 5: "Mini-RDIMM", 6: "Mini-UDIMM", 7: "Mini-CDIMM",
		8: "72b-SO-UDIMM", 9: "72b-SO-RDIMM", 10: "72b-SO-CDIMM", 11: "LRDIMM", 12: "16b-SO-DIMM", 13: "32b-SO-DIMM",
	})
	g := &m.Geometry
	if n := b[4] & 0x0f; n <= 6 {
		g.DieMegabits = 256 << n
	} else {
		m.problem(4, "die capacity code %d is not defined", n)
	}
	g.BankBits = 3 + int(b[4]>>4&7)
	g.RowBits, g.ColumnBits = 12+int(b[5]>>3&7), 9+int(b[5]&7)
	g.Ranks = 1 + int(b[7]>>3&7)
	if b[7]>>3&7 == 4 {
		g.Ranks = 8
	}
	g.DeviceWidth = 4 << (b[7] & 7 & 3)
	g.BusWidth, g.ECCWidth = 8<<(b[8]&3), 8*int(b[8]>>3&3)
	g.Dies, g.Channels = 1, 1
	m.sizes()
	m.Thermal = b[32]&0x80 != 0
	if m.Registered && len(b) > 67 {
		m.chip(b, "rcd", 65, -1, 67)
	}
	if len(b) < 176 {
		m.problem(117, "manufacturing block is beyond the %d bytes that were read", len(b))
		return
	}
	m.identity(b, 117, 119, 120, 122, 128, 146)
	m.ModuleRev = uint16(b[146])<<8 | uint16(b[147])
	m.DRAM = makerID(b, 148)
}

func moduleType(code uint8, names map[uint8]string) (name string, registered bool) {
	name = names[code]
	switch name {
	case "RDIMM", "LRDIMM", "MRDIMM", "Mini-RDIMM", "72b-SO-RDIMM":
		registered = true
	}
	return name, registered
}

// chip appends a part named by two maker bytes. typeAt and revAt are -1 where
// the format has no such byte; without a type byte a maker means installed.
func (m *Module) chip(b []byte, kind string, at, typeAt, revAt int) {
	c := Chip{Kind: kind, Maker: makerID(b, at), Offset: at}
	c.Installed = c.Maker.Code != 0
	if revAt >= 0 && revAt < len(b) {
		c.Revision = b[revAt]
	}
	if typeAt >= 0 && typeAt < len(b) {
		c.DeviceType, c.Installed = b[typeAt]&0x0f, b[typeAt]&0x80 != 0
	}
	if c.Installed || c.Maker.Code != 0 {
		m.Chips = append(m.Chips, c)
	}
}
