package bootguard

import (
	"encoding/binary"
	"fmt"
)

// Module is the header of an authenticated code module (ACM).
type Module struct {
	Startup       bool   `json:"startup"` // started before the reset vector, not by an operating system
	Format        string `json:"format"`  // of the header
	Chipset       uint16 `json:"chipset"`
	Date          string `json:"date"` // YYYY-MM-DD
	TXTSVN        uint16 `json:"txtSvn"`
	SESVN         uint16 `json:"seSvn"`
	PreProduction bool   `json:"preProduction,omitempty"`
	Debug         bool   `json:"debug,omitempty"` // signed with a key for debugging
	Signature     []byte `json:"-"`               // as stored, which is as it is measured

	version           uint32
	modulus, exponent []byte // little endian
	head, body        []byte // what the signature is over
}

const (
	moduleHeader = 128
	version0     = 0x00000000
)

// ParseModule reads a module at the start of b (Intel TXT Software Development
// Guide, A.1). The first form of the header states the exponent of its key.
func ParseModule(b []byte) (Module, bool) {
	if len(b) < moduleHeader || binary.LittleEndian.Uint16(b) != 2 {
		return Module{}, false
	}
	word := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	head, size, key, scratch := uint64(word(4))*4, uint64(word(24))*4, uint64(word(120))*4, uint64(word(124))*4
	m := Module{version: word(8)}
	end := moduleHeader + 2*key
	if m.version == version0 {
		end += 4
	}
	if key < 64 || key > 1024 || head < end || head+scratch > size || size > uint64(len(b)) {
		return Module{}, false
	}
	d, flags := word(20), binary.LittleEndian.Uint16(b[14:])
	m.Startup = binary.LittleEndian.Uint16(b[2:]) == 1
	m.Format = fmt.Sprintf("%d.%d", m.version>>16, m.version&0xffff)
	m.Chipset, m.Date = binary.LittleEndian.Uint16(b[12:]), fmt.Sprintf("%04x-%02x-%02x", d>>16, d>>8&0xff, d&0xff)
	m.TXTSVN, m.SESVN = binary.LittleEndian.Uint16(b[28:]), binary.LittleEndian.Uint16(b[30:])
	m.PreProduction, m.Debug = flags>>14&1 == 1, flags>>15 == 1
	rest := b[moduleHeader:]
	m.modulus, rest = rest[:key], rest[key:]
	m.exponent = []byte{1, 0, 1, 0}
	if m.version == version0 {
		m.exponent, rest = rest[:4], rest[4:]
	}
	m.Signature = rest[:key]
	m.head, m.body = b[:moduleHeader], b[head+scratch:size]
	return m, true
}
