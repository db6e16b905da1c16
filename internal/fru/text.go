package fru

import (
	"encoding/hex"
	"strings"
	"unicode/utf16"
)

const bcdPlus = "0123456789 -.:,_"

// decode turns field bytes into text (section 13). The 8-bit type is Latin 1
// for English (language codes 0 and 25) and UTF-16 otherwise; a text that is
// plain ASCII is taken as such whatever the language says.
func (c *cursor) decode(kind uint8, raw []byte, offset int) string {
	switch kind {
	case 0:
		return hex.EncodeToString(raw)
	case 1:
		return BCDPlus(raw)
	case 2:
		return SixBit(raw)
	}
	if english := c.area.Language == 0 || c.area.Language == 25; !english && len(raw)%2 == 0 && !printable(raw) {
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = uint16(raw[2*i]) | uint16(raw[2*i+1])<<8
		}
		return string(utf16.Decode(units))
	}
	runes := make([]rune, len(raw))
	for i, x := range raw {
		runes[i] = rune(x)
		if x < 0x20 && x != 0 {
			c.v.problem(offset, "%s: control character 0x%02x in a text", c.name, x)
		}
	}
	return string(runes)
}

func printable(b []byte) bool {
	for _, x := range b {
		if x < 0x20 || x > 0x7e {
			return false
		}
	}
	return true
}

// BCDPlus unpacks two characters from a byte, high half first.
func BCDPlus(raw []byte) string {
	var s strings.Builder
	for _, x := range raw {
		s.WriteByte(bcdPlus[x>>4])
		s.WriteByte(bcdPlus[x&0x0f])
	}
	return s.String()
}

// SixBit unpacks four characters from three bytes, low bits first.
func SixBit(raw []byte) string {
	var s strings.Builder
	bits, n := uint32(0), 0
	for _, x := range raw {
		bits |= uint32(x) << n
		for n += 8; n >= 6; n -= 6 {
			s.WriteByte(byte(bits&0x3f) + 0x20)
			bits >>= 6
		}
	}
	return s.String()
}
