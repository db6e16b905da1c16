package spd

// ddr4 decodes JEDEC 21-C annex L, and the annexes of LPDDR3 and LPDDR4, which
// share its layout of addressing and manufacturing bytes.
func (m *Module) ddr4(b []byte) {
	low := m.Type != DDR4 && m.Type != DDR4E
	if low && b[126] == 0 && b[127] == 0 {
		// Memory that is soldered down has no EEPROM: firmware carries its SPD,
		// as a rule without checksums.
		m.problem(126, "no checksum is stored")
	} else {
		m.crc(b, 0, 126, 126)
	}
	m.ModuleType, m.Registered = moduleType(b[3]&0x0f, map[uint8]string{
		1: "RDIMM", 2: "UDIMM", 3: "SO-DIMM", 4: "LRDIMM", 5: "Mini-RDIMM", 6: "Mini-UDIMM", 7: "LP-DIMM",
		8: "72b-SO-RDIMM", 9: "72b-SO-UDIMM", 12: "16b-SO-DIMM", 13: "32b-SO-DIMM", 14: "non-DIMM",
	})
	m.ddr4Geometry(b, low)
	if len(b) < 256 {
		m.problem(128, "only %d bytes were read", len(b))
		return
	}
	if !low {
		m.crc(b, 128, 254, 254)
		m.Thermal = b[14]&0x80 != 0
		if m.Registered {
			m.chip(b, "rcd", 133, -1, 135)
		}
	}
	if len(b) < 384 {
		m.problem(320, "manufacturing block is beyond the %d bytes that were read", len(b))
		return
	}
	m.identity(b, 320, 322, 323, 325, 329, 349)
	m.ModuleRev = uint16(b[349])
	m.DRAM, m.Stepping = makerID(b, 350), b[352]
}

// dieMegabits is the density table of byte 4 in DDR4, extended in LPDDR4.
func dieMegabits(code uint8) uint64 {
	switch {
	case code <= 7:
		return 256 << code
	case code == 8:
		return 12 << 10
	case code == 9:
		return 24 << 10
	case code == 10:
		return 3 << 10
	case code == 11:
		return 6 << 10
	case code == 12:
		return 18 << 10
	}
	return 0
}

func (m *Module) ddr4Geometry(b []byte, low bool) {
	g := &m.Geometry
	if g.DieMegabits = dieMegabits(b[4] & 0x0f); g.DieMegabits == 0 {
		m.problem(4, "die capacity code %d is not defined", b[4]&0x0f)
	}
	g.BankBits = 2 + int(b[4]>>4&3) + int(b[4]>>6&3)
	g.RowBits, g.ColumnBits = 12+int(b[5]>>3&7), 9+int(b[5]&7)
	g.Ranks, g.DeviceWidth = 1+int(b[12]>>3&7), 4<<(b[12]&3)
	g.BusWidth, g.ECCWidth, g.Channels = 8<<(b[13]&3), 8*int(b[13]>>3&1), 1
	g.Asymmetric = b[12]&0x40 != 0
	if low {
		// Channels and dies are counted in another way in each annex: the module
		// size and the address width are not computed.
		*g = Geometry{DieMegabits: g.DieMegabits, Ranks: g.Ranks, DeviceWidth: g.DeviceWidth, BusWidth: g.BusWidth}
		return
	}
	g.Dies = 1
	if b[6]&0x80 != 0 && b[6]&3 == 2 { // 3DS: the dies are logical ranks
		g.Dies = 1 + int(b[6]>>4&7)
	}
	m.sizes()
}
