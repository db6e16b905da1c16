// Package nvram reads the variables that firmware keeps in its flash: the store
// of edk2, with and without authentication, AMI's NVAR records, and the stores
// that UEFITool knows of Intel, Apple, Insyde and Phoenix.
//
// It proves which records lie where and what they say. Whether firmware uses a
// record is told by its state, which the platform may overwrite at run time.
package nvram

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf16"
)

// Format is how a store writes its variables.
type Format int

// The formats that are read.
const (
	None          Format = iota
	Simple               // edk2 VARIABLE_HEADER
	Authenticated        // edk2 AUTHENTICATED_VARIABLE_HEADER
	NVAR                 // AMI
	VSS                  // "$VSS", and "$SVS" and "$NSS" of Apple; each record has one of four headers
	EVSA                 // Phoenix
	Fsys                 // Apple, "Fsys" and "Gaid"
)

// Variable is one record. Data aliases the parsed bytes.
type Variable struct {
	Offset, Length int // of the whole record
	GUID           string
	Name           string
	Attributes     uint32
	Live           bool // not deleted and completely written
	Data           []byte
}

// MaxVariables bounds a store; real ones hold some hundred records.
const MaxVariables = 1 << 14

// Header is the length of an edk2 store's header.
const Header = 28

// The GUIDs of stores as they are stored: edk2's DDCF3616 and AAF32C78, and
// DDCF3617, which UEFITool calls VSS2.
const (
	guidSimple        = "\x16\x36\xcf\xdd\x75\x32\x64\x41\x98\xb6\xfe\x85\x70\x7f\xfe\x7d"
	guidVSS2          = "\x17\x36\xcf\xdd\x75\x32\x64\x41\x98\xb6\xfe\x85\x70\x7f\xfe\x7d"
	guidAuthenticated = "\x78\x2c\xf3\xaa\x7b\x94\x9a\x43\xa1\x80\x2e\x14\x4e\xc3\x77\x92"
)

// ParseHeader recognises an edk2 store and returns its format and the length
// that it claims, with the header (edk2 VariableFormat.h, VARIABLE_STORE_HEADER).
func ParseHeader(b []byte) (Format, int) {
	if len(b) < Header {
		return None, 0
	}
	size := int64(binary.LittleEndian.Uint32(b[16:]))
	if size < Header || size > int64(len(b)) {
		return None, 0
	}
	switch string(b[:16]) {
	case guidSimple, guidVSS2:
		return Simple, int(size)
	case guidAuthenticated:
		return Authenticated, int(size)
	}
	return None, 0
}

// Parse reads the records of a store, which starts behind its header. Records
// lie in order and do not overlap; it ends at the first that does not hold.
func Parse(f Format, b []byte) []Variable {
	var out []Variable
	switch f {
	case EVSA:
		return evsa(b)
	case Fsys:
		return fsys(b)
	}
	for at := 0; len(out) < MaxVariables; {
		read := ami
		switch f {
		case VSS:
			read = vss
		case Simple, Authenticated:
			at = (at + 3) &^ 3 // HEADER_ALIGN
			read = func(b []byte, at int) (Variable, bool) { return edk2(f, b, at) }
		}
		v, ok := read(b, at)
		if !ok {
			break
		}
		v.Offset = at
		out = append(out, v)
		at += v.Length
	}
	return out
}

const (
	startID       = 0x55aa
	simpleHeader  = 32
	authHeader    = 60
	stateAdded    = 0x3f // header valid and variable added
	stateDeleting = 0x3e // being replaced: still the one in use until the new one is added
)

func edk2(f Format, b []byte, at int) (Variable, bool) {
	header := simpleHeader
	if f == Authenticated {
		header = authHeader
	}
	if at+header > len(b) || binary.LittleEndian.Uint16(b[at:]) != startID {
		return Variable{}, false
	}
	h := b[at : at+header]
	names := uint64(binary.LittleEndian.Uint32(h[header-24:]))
	size := uint64(binary.LittleEndian.Uint32(h[header-20:]))
	if names+size > uint64(len(b)-at-header) {
		return Variable{}, false
	}
	body := b[at+header:]
	return Variable{
		Length: header + int(names+size), GUID: guid(h[header-16:]), Name: wide(body[:names]),
		Attributes: binary.LittleEndian.Uint32(h[4:]), Live: h[2] == stateAdded || h[2] == stateDeleting,
		Data: body[names : names+size : names+size],
	}, true
}

// Attributes of an NVAR record.
const (
	nvarHeader   = 10
	nvarASCII    = 0x02
	nvarGUID     = 0x04 // the GUID stands in the record, else its number in the store's table
	nvarDataOnly = 0x08 // a newer value of the record that links to it
	nvarValid    = 0x80
)

func ami(b []byte, at int) (Variable, bool) {
	if at+nvarHeader > len(b) || string(b[at:at+4]) != "NVAR" {
		return Variable{}, false
	}
	size := int(binary.LittleEndian.Uint16(b[at+4:]))
	if size < nvarHeader || size > len(b)-at {
		return Variable{}, false
	}
	attributes := b[at+9]
	v := Variable{Length: size, Attributes: uint32(attributes), Live: attributes&nvarValid != 0}
	body := b[at+nvarHeader : at+size : at+size]
	switch {
	case attributes&nvarDataOnly != 0:
		v.Data = body
		return v, true
	case attributes&nvarGUID != 0 && len(body) >= 16:
		v.GUID, body = guid(body), body[16:]
	case attributes&nvarGUID == 0 && len(body) > 0:
		v.GUID, body = fmt.Sprintf("guid-%d", body[0]), body[1:]
	}
	if attributes&nvarASCII != 0 {
		if i := bytes.IndexByte(body, 0); i >= 0 {
			v.Name, body = string(body[:i]), body[i+1:]
		}
	} else {
		for i := 0; i+1 < len(body); i += 2 {
			if body[i] == 0 && body[i+1] == 0 {
				v.Name, body = wide(body[:i]), body[i+2:]
				break
			}
		}
	}
	v.Data = body
	return v, true
}

func guid(b []byte) string {
	return fmt.Sprintf("%08X-%04X-%04X-%04X-%012X", binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint16(b[4:]),
		binary.LittleEndian.Uint16(b[6:]), b[8:10], b[10:16])
}

// wide decodes UTF-16 up to its end mark.
func wide(b []byte) string {
	u := make([]uint16, 0, len(b)/2)
	for ; len(b) >= 2; b = b[2:] {
		c := binary.LittleEndian.Uint16(b)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}
