package spd

// ddr5 decodes JESD400-5: general section, common module section, registered
// module annex, manufacturing block.
func (m *Module) ddr5(b []byte) {
	m.ModuleType, m.Registered = moduleType(b[3]&0x0f, map[uint8]string{
		1: "RDIMM", 2: "UDIMM", 3: "SO-DIMM", 4: "LRDIMM", 5: "CUDIMM", 6: "CSO-DIMM", 7: "MRDIMM", 8: "CAMM2",
		10: "DDIMM", 11: "non-DIMM",
	})
	if len(b) < 512 {
		m.problem(128, "only %d bytes were read", len(b))
		return
	}
	m.crc(b, 0, 510, 510)
	m.ddr5Geometry(b)
	m.chip(b, "hub", 194, 196, 197)
	m.chip(b, "pmic0", 198, 200, 201)
	m.chip(b, "pmic1", 202, 204, 205)
	m.chip(b, "pmic2", 206, 208, 209)
	// One maker for both sensors; the type byte has an installed bit for each.
	m.chip(b, "ts0", 210, 212, 213)
	if b[212]&0x40 != 0 {
		m.Chips = append(m.Chips, Chip{Kind: "ts1", Maker: makerID(b, 210), DeviceType: b[212] & 0x0f, Revision: b[213], Installed: true, Offset: 210})
	}
	m.ddr5Annex(b)
	if len(b) < 640 {
		m.problem(512, "manufacturing block is beyond the %d bytes that were read", len(b))
		return
	}
	m.identity(b, 512, 514, 515, 517, 521, 551)
	m.ModuleRev = uint16(b[551])
	m.DRAM, m.Stepping = makerID(b, 552), b[554]
}

// ddr5Annex reads the chips that only some module types have (JESD400-5,
// bytes 240 and up).
func (m *Module) ddr5Annex(b []byte) {
	switch m.ModuleType {
	case "RDIMM", "MRDIMM":
		m.chip(b, "rcd", 240, 242, 243)
	case "LRDIMM":
		m.chip(b, "rcd", 240, 242, 243)
		m.chip(b, "data-buffer", 244, 246, 247)
	case "CUDIMM", "CSO-DIMM", "CAMM2":
		m.chip(b, "ckd", 240, 242, 243)
	}
}

func (m *Module) ddr5Geometry(b []byte) {
	g := &m.Geometry
	sizes := []uint64{0, 4, 8, 12, 16, 24, 32, 48, 64}
	if n := b[4] & 0x1f; int(n) < len(sizes) {
		g.DieMegabits = sizes[n] << 10
	} else {
		m.problem(4, "die capacity code %d is not defined", n)
	}
	g.Dies = []int{1, 2, 2, 4, 8, 16, 1, 1}[b[4]>>5]
	g.RowBits, g.ColumnBits = 16+int(b[5]&0x1f), 10+int(b[5]>>5)
	g.DeviceWidth = 4 << (b[6] >> 5 & 3)
	g.BankBits = int(b[7]>>5) + int(b[7]&7)
	g.Ranks = 1 + int(b[234]>>3&7)
	g.Asymmetric = b[234]&0x40 != 0
	g.BusWidth, g.ECCWidth, g.Channels = 8<<(b[235]&3), 4*int(b[235]>>3&3), 1<<(b[235]>>5&3)
	m.sizes()
}
