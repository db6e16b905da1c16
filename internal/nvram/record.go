package nvram

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// States and attributes of a "$VSS" record.
const (
	stateValid    = 0x7f // header written, and with old firmware the record too
	stateIntel    = 0xfc
	stateIntelOld = 0xf8

	attributeApple   = 1 << 31            // with a checksum of the data
	attributesSecure = 0x10 | 0x20 | 0x40 // authenticated, by time, append
)

// vss reads a record with one of four headers: the plain one, Apple's with a
// checksum, the one of authenticated variables, and Intel's, which gives only
// the length of all.
func vss(b []byte, at int) (Variable, bool) {
	const intelHeader, appleHeader = 28, 36
	if at+simpleHeader > len(b) || binary.LittleEndian.Uint16(b[at:]) != startID {
		return Variable{}, false
	}
	h := b[at:]
	state, attributes := h[2], binary.LittleEndian.Uint32(h[4:])
	names, size := binary.LittleEndian.Uint32(h[8:]), binary.LittleEndian.Uint32(h[12:])
	switch {
	case attributes&attributeApple != 0:
		v, ok := sized(h, appleHeader, names, size, h[16:])
		if !ok {
			return v, false
		}
		v.Live = live(state) && crc32.ChecksumIEEE(v.Data) == binary.LittleEndian.Uint32(h[32:])
		return v, true
	case attributes&attributesSecure != 0 || names == 0 && size == 0:
		v, ok := edk2(Authenticated, b, at)
		v.Live = live(state)
		return v, ok
	case state == stateIntel || state == stateIntelOld:
		if names < intelHeader || uint64(names) > uint64(len(h)) {
			return Variable{}, false
		}
		body := h[intelHeader:names:names]
		v := Variable{Length: int(names), GUID: guid(h[12:]), Name: wide(body), Attributes: attributes, Live: state == stateIntel}
		v.Data = body[min(len(body), 2*len(utf16units(body))+2):]
		return v, true
	}
	v, ok := sized(h, simpleHeader, names, size, h[16:])
	v.Live = live(state)
	return v, ok
}

func live(state byte) bool {
	return state == stateAdded || state == stateDeleting || state == stateValid
}

// sized is a record whose header gives the lengths of name and data.
func sized(h []byte, header int, names, size uint32, owner []byte) (Variable, bool) {
	if uint64(len(h)) < uint64(header)+uint64(names)+uint64(size) {
		return Variable{}, false
	}
	body := h[header:]
	end := uint64(names) + uint64(size)
	return Variable{
		Length: header + int(end), GUID: guid(owner), Name: wide(body[:names]), Attributes: binary.LittleEndian.Uint32(h[4:]),
		Data: body[names:end:end],
	}, true
}

// utf16units is the text up to its end mark, as it is stored.
func utf16units(b []byte) []uint16 {
	var out []uint16
	for ; len(b) >= 2; b = b[2:] {
		c := binary.LittleEndian.Uint16(b)
		if c == 0 {
			break
		}
		out = append(out, c)
	}
	return out
}

// Types of EVSA entries, of which there are two generations.
const (
	evsaTypeStore   = 0xec
	evsaTypeGUID    = 0xed
	evsaTypeGUIDOld = 0xe1
	evsaTypeName    = 0xee
	evsaTypeNameOld = 0xe2
	evsaTypeData    = 0xef
	evsaTypeDataOld = 0xe3
	evsaTypeDeleted = 0x83
	evsaExtended    = 1 << 28 // attribute: the length stands in the entry
)

// evsaSum reports whether an entry's checksum holds: it makes the sum of the
// bytes behind its type zero.
func evsaSum(b []byte) bool {
	sum := byte(0)
	for _, c := range b[1:] {
		sum += c
	}
	return sum == 0
}

// evsa reads Phoenix's store, where entries give numbers to GUIDs and names and
// others give data to numbers.
func evsa(b []byte) []Variable {
	const entry = 4
	guids, names := map[uint16]string{}, map[uint16]string{}
	var out []Variable
	var ids [][2]uint16 // of each variable's GUID and name
	for at := 0; at+entry <= len(b) && len(out) < MaxVariables; {
		size := int(binary.LittleEndian.Uint16(b[at+2:]))
		if size < entry+2 || size > len(b)-at {
			break
		}
		e := b[at : at+size]
		id, holds := binary.LittleEndian.Uint16(e[4:]), evsaSum(e)
		switch e[0] {
		case evsaTypeGUID, evsaTypeGUIDOld:
			if size >= 6+16 && holds {
				guids[id] = guid(e[6:])
			}
		case evsaTypeName, evsaTypeNameOld:
			if holds {
				names[id] = wide(e[6:])
			}
		default:
			v, ok := evsaData(b[at:], e, holds)
			if !ok {
				size = len(b) // no entry, or the room behind the last
				break
			}
			v.Offset, size = at, v.Length
			out, ids = append(out, v), append(ids, [2]uint16{id, binary.LittleEndian.Uint16(e[6:])})
		}
		at += size
	}
	for i, d := range ids {
		out[i].GUID, out[i].Name = guids[d[0]], names[d[1]]
	}
	return out
}

// evsaData reads an entry with data at the start of b; e is the entry as long as
// its header says, which is too short for large ones.
func evsaData(b, e []byte, holds bool) (Variable, bool) {
	const dataHeader, extendedHeader = 12, 16
	if e[0] != evsaTypeData && e[0] != evsaTypeDataOld && e[0] != evsaTypeDeleted || len(e) < dataHeader {
		return Variable{}, false
	}
	v := Variable{Length: len(e), Attributes: binary.LittleEndian.Uint32(e[8:]), Live: holds && e[0] != evsaTypeDeleted, Data: e[dataHeader:]}
	if v.Attributes&evsaExtended == 0 {
		return v, true
	}
	if len(b) < extendedHeader || uint64(binary.LittleEndian.Uint32(b[12:])) > uint64(len(b)-extendedHeader) {
		return Variable{}, false
	}
	v.Length = extendedHeader + int(binary.LittleEndian.Uint32(b[12:]))
	v.Data = b[extendedHeader:v.Length:v.Length]
	return v, true
}

// fsys reads Apple's store: a length, a name, a length, data, up to the name
// "EOF". The top bit of the first length marks what is not valid any more.
func fsys(b []byte) []Variable {
	var out []Variable
	for at := 0; at < len(b) && len(out) < MaxVariables; {
		n := int(b[at] & 0x7f)
		if n == 0 || at+1+n+2 > len(b) || bytes.Equal(b[at+1:at+1+n], []byte("EOF")) {
			break
		}
		size := int(binary.LittleEndian.Uint16(b[at+1+n:]))
		end := at + 1 + n + 2 + size
		if end > len(b) {
			break
		}
		out = append(out, Variable{Offset: at, Length: end - at, Name: string(b[at+1 : at+1+n]), Live: b[at]&0x80 == 0, Data: b[at+1+n+2 : end : end]})
		at = end
	}
	return out
}
