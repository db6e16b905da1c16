// Package spd reads the serial presence detect EEPROM of a memory module: DDR3
// (JEDEC 21-C annex K), DDR4 (annex L), DDR5 (JESD400-5), and what LPDDR3 to
// LPDDR5 (annexes for soldered memory) share with them.
//
// It proves what is stored in the module's EEPROM. It does not prove what the
// module is: the EEPROM can be rewritten by anyone who can reach its bus or
// hold the module. The checksums find accidents, not intent, and in DDR4 and
// DDR5 they do not cover the manufacturer, part number and serial number; see
// Module.Uncovered.
package spd

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// ErrUnknown means that the bytes are too short or name no memory type that
// this package reads.
var ErrUnknown = errors.New("no known SPD")

// Problem is one defect, at an offset from the first byte of the EEPROM.
type Problem struct {
	Offset int
	What   string
}

// Type is the memory type, byte 2 of every SPD.
type Type uint8

// The memory types that are decoded. The LPDDR ones are decoded as far as they
// equal DDR4 or DDR5.
const (
	DDR3    Type = 0x0b
	DDR4    Type = 0x0c
	DDR4E   Type = 0x0e
	LPDDR3  Type = 0x0f
	LPDDR4  Type = 0x10
	LPDDR4X Type = 0x11
	DDR5    Type = 0x12
	LPDDR5  Type = 0x13
	LPDDR5X Type = 0x15
)

var typeNames = map[Type]string{
	0x01: "FPM", 0x02: "EDO", 0x04: "SDR", 0x07: "DDR", 0x08: "DDR2", 0x09: "DDR2 FB-DIMM", 0x0a: "DDR2 FB-DIMM probe",
	DDR3: "DDR3", DDR4: "DDR4", DDR4E: "DDR4E", LPDDR3: "LPDDR3", LPDDR4: "LPDDR4", LPDDR4X: "LPDDR4X",
	DDR5: "DDR5", LPDDR5: "LPDDR5", 0x14: "DDR5 NVDIMM-P", LPDDR5X: "LPDDR5X",
}

// String names the type, "type 0x.." when it is not known.
func (t Type) String() string {
	if n := typeNames[t]; n != "" {
		return n
	}
	return fmt.Sprintf("type 0x%02x", uint8(t))
}

// MakerID is a JEDEC manufacturer code as stored: continuation count and code,
// both with parity. Zero means that none is stored.
type MakerID struct {
	Bank, Code uint8
	Offset     int
}

// Chip is a part on the module that the SPD names.
type Chip struct {
	Kind       string // "rcd", "hub", "pmic0", "pmic1", "pmic2", "ts0", "ts1", "data-buffer", "ckd"
	Maker      MakerID
	DeviceType uint8 // low bits of the device type byte
	Revision   uint8 // as stored: major in the high half, minor in the low half
	Installed  bool  // the installed bit, or a maker where the format has no such bit
	Offset     int
}

// CRC is one checksum: where it is stored and what it covers.
type CRC struct {
	Offset           int
	Start, End       int // covered bytes, End is exclusive
	Stored, Computed uint16
}

// OK says whether the stored value is the computed one.
func (c CRC) OK() bool { return c.Stored == c.Computed }

// Span is a range of bytes, End exclusive.
type Span struct{ Start, End int }

// Geometry is how the DRAM chips are organised. Counts are of bits where the
// name says so. Zero means unknown.
type Geometry struct {
	DieMegabits     uint64 // capacity that the SPD states for one die
	RowBits         int
	ColumnBits      int
	BankBits        int // banks and bank groups together
	DeviceWidth     int // data lines of one chip
	Dies            int // dies in one package
	Ranks           int // package ranks, per channel in DDR5
	Channels        int // independent channels of the module
	BusWidth        int // data lines of one channel, without ECC
	ECCWidth        int // ECC lines of one channel
	AddressMegabits uint64
	Asymmetric      bool // ranks are not alike: sizes are not computed
}

// Consistent says whether the stated die capacity is what rows, columns, banks
// and width address. A die of 12, 24 or 48 gigabits uses three quarters of its
// rows. It is a fact about the bytes; it is true when one side is unknown.
func (g Geometry) Consistent() bool {
	if g.DieMegabits == 0 || g.AddressMegabits == 0 {
		return true
	}
	return g.DieMegabits == g.AddressMegabits || g.DieMegabits*4 == g.AddressMegabits*3
}

// Module is a decoded SPD. Offsets says where "maker", "date", "serial" and
// "part" are stored and, where the geometry contradicts itself, "geometry".
type Module struct {
	Type       Type
	Revision   string // of the SPD format, "1.1"
	ModuleType string // "RDIMM", "UDIMM", "SO-DIMM", ...
	Registered bool
	Size       uint64 // bytes of data, 0 when not computed
	Geometry   Geometry
	PartNumber string // without padding
	Serial     string // eight hexadecimal digits, empty when erased
	Year, Week int    // of manufacture, 0 when not given
	Location   uint8  // manufacturing location, the maker's own code
	ModuleRev  uint16
	Maker      MakerID // of the module
	DRAM       MakerID
	Stepping   uint8 // of the DRAM, DDR4 and DDR5
	Thermal    bool  // a temperature sensor is on the module (DDR3, DDR4)
	Chips      []Chip
	CRCs       []CRC
	Uncovered  []Span // bytes that no checksum covers
	Offsets    map[string]Span
	Problems   []Problem
}

// Parse decodes an SPD image. The error wraps ErrUnknown; a module with wrong
// checksums or impossible fields is returned with Problems.
func Parse(b []byte) (*Module, error) {
	if len(b) < 128 {
		return nil, fmt.Errorf("%w: %d bytes, at least 128 needed", ErrUnknown, len(b))
	}
	m := &Module{Type: Type(b[2]), Offsets: map[string]Span{}}
	m.Revision = fmt.Sprintf("%d.%d", b[1]>>4, b[1]&0x0f)
	switch m.Type {
	case DDR3:
		m.ddr3(b)
	case DDR4, DDR4E, LPDDR3, LPDDR4, LPDDR4X:
		m.ddr4(b)
	case DDR5:
		m.ddr5(b)
	case LPDDR5, LPDDR5X:
		if b[0]>>4&7 >= 3 && len(b) >= 1024 {
			m.ddr5(b)
		} else {
			m.ddr4(b)
		}
	default:
		return nil, fmt.Errorf("%w: %s", ErrUnknown, m.Type)
	}
	m.uncovered(len(b))
	if !m.Geometry.Consistent() {
		m.Offsets["geometry"] = Span{4, 6}
	}
	return m, nil
}

func (m *Module) problem(offset int, format string, args ...any) {
	if len(m.Problems) < 64 {
		m.Problems = append(m.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

// crc appends a checksum over b[start:end] stored at offset, low byte first.
func (m *Module) crc(b []byte, start, end, offset int) {
	if offset+2 > len(b) || end > len(b) {
		m.problem(offset, "checksum is beyond the %d bytes that were read", len(b))
		return
	}
	c := CRC{Offset: offset, Start: start, End: end, Stored: uint16(b[offset]) | uint16(b[offset+1])<<8, Computed: crc16(b[start:end])}
	if !c.OK() {
		m.problem(offset, "checksum over bytes %d to %d is 0x%04x, computed 0x%04x", start, end-1, c.Stored, c.Computed)
	}
	m.CRCs = append(m.CRCs, c)
}

// crc16 is the CRC of all SPDs: polynomial 0x1021, initial value 0 (annex L,
// byte 126).
func crc16(b []byte) uint16 {
	var crc uint16
	for _, x := range b {
		crc ^= uint16(x) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

func (m *Module) uncovered(size int) {
	at := 0
	for _, c := range m.CRCs {
		if c.Start > at {
			m.Uncovered = append(m.Uncovered, Span{at, c.Start})
		}
		at = max(at, c.End)
		if c.Offset == at {
			at += 2
		}
	}
	if at < size {
		m.Uncovered = append(m.Uncovered, Span{at, size})
	}
}

// identity reads the manufacturing block; every format has the same fields at
// other places.
func (m *Module) identity(b []byte, maker, location, date, serial, part, partEnd int) {
	if partEnd > len(b) {
		m.problem(maker, "manufacturing block is beyond the %d bytes that were read", len(b))
		return
	}
	m.Maker = makerID(b, maker)
	m.Location = b[location]
	m.Year, m.Week = m.date(b, date)
	if s := b[serial : serial+4]; !erased(s) {
		m.Serial = hex.EncodeToString(s)
	}
	m.PartNumber = m.text(b, part, partEnd)
	m.Offsets["maker"], m.Offsets["date"] = Span{maker, maker + 2}, Span{date, date + 2}
	m.Offsets["serial"], m.Offsets["part"] = Span{serial, serial + 4}, Span{part, partEnd}
}

func (m *Module) text(b []byte, start, end int) string {
	raw := b[start:end]
	for len(raw) > 0 && (raw[len(raw)-1] == 0 || raw[len(raw)-1] == 0xff) {
		raw = raw[:len(raw)-1]
	}
	s := strings.Trim(string(raw), " ")
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			m.problem(start, "part number holds the byte 0x%02x", s[i])
			break
		}
	}
	return s
}

// date decodes the BCD year and week.
func (m *Module) date(b []byte, at int) (year, week int) {
	y, w := b[at], b[at+1]
	if y == 0 && w == 0 || y == 0xff && w == 0xff {
		return 0, 0
	}
	year, week = bcd(y), bcd(w)
	if year < 0 || week < 1 || week > 53 {
		m.problem(at, "date %02x %02x is no year and week", y, w)
		return 0, 0
	}
	return 2000 + year, week
}

func bcd(x uint8) int {
	if x>>4 > 9 || x&0x0f > 9 {
		return -1
	}
	return int(x>>4)*10 + int(x&0x0f)
}

func erased(b []byte) bool {
	zero, ones := true, true
	for _, x := range b {
		zero = zero && x == 0
		ones = ones && x == 0xff
	}
	return zero || ones
}

func makerID(b []byte, o int) MakerID {
	if o+2 > len(b) || erased(b[o:o+2]) {
		return MakerID{Offset: o}
	}
	return MakerID{b[o], b[o+1], o}
}

// sizes computes what one module holds from its geometry.
func (m *Module) sizes() {
	g := &m.Geometry
	if bits := g.RowBits + g.ColumnBits + g.BankBits; bits >= 20 && bits < 50 && g.RowBits > 0 {
		g.AddressMegabits = uint64(1) << (bits - 20) * uint64(g.DeviceWidth)
	}
	if g.Asymmetric || g.DieMegabits == 0 || g.DeviceWidth == 0 || g.BusWidth < g.DeviceWidth {
		return
	}
	m.Size = g.DieMegabits << 20 / 8 * uint64(g.BusWidth/g.DeviceWidth) * uint64(g.Ranks*max(g.Dies, 1)*max(g.Channels, 1))
}
