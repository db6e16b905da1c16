package pciconf

import (
	"errors"
	"fmt"
)

// ErrNoVPD means that the bytes begin with no resource of vital product data.
var ErrNoVPD = errors.New("no vital product data")

// VPD is the vital product data of a device (PCI 3.0, appendix I).
type VPD struct {
	Name     string     // identifier string
	Fields   []VPDField // read-only fields, then read-write fields, as stored
	Checksum VPDChecksum
	Length   int // bytes up to and including the end tag
	Problems []Problem
}

// VPDField is one keyword: PN part number, EC engineering change, SN serial
// number, MN manufacturer, V0 to VZ vendor specific, Y0 and up system specific.
type VPDField struct {
	Keyword string
	Value   string // raw bytes
	Offset  int    // of the value
	Write   bool   // in the read-write area
}

// VPDChecksum is what the RV keyword says about everything before it.
type VPDChecksum uint8

// The states of the checksum.
const (
	VPDChecksumAbsent VPDChecksum = iota
	VPDChecksumGood
	VPDChecksumBad
)

// Field returns the first value of a keyword, without padding.
func (v *VPD) Field(keyword string) string {
	for _, f := range v.Fields {
		if f.Keyword == keyword {
			return trim(f.Value)
		}
	}
	return ""
}

func trim(s string) string {
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == 0) {
		s = s[:len(s)-1]
	}
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	return s
}

// ParseVPD decodes vital product data of at most 32 KiB, the reach of the
// capability's address register.
func ParseVPD(b []byte) (*VPD, error) {
	v := &VPD{}
	if len(b) > 1<<15 {
		v.problem(1<<15, "%d bytes, vital product data has at most 32768", len(b))
		b = b[:1<<15]
	}
	o := 0
	for o < len(b) {
		tag, size, head := resource(b[o:])
		switch {
		case head == 0:
			v.problem(o, "resource header is cut off")
			return v.done(o)
		case b[o]&0x80 == 0 && tag == 0x0f: // end tag
			v.Length = o + head + size
			return v.done(o)
		case b[o]&0x80 == 0, b[o] == 0xff:
			v.problem(o, "0x%02x is no resource of vital product data", b[o])
			return v.done(o)
		}
		end := o + head + size
		if end > len(b) {
			v.problem(o, "resource of %d bytes is cut off after %d", size, len(b)-o-head)
			end = len(b)
		}
		v.resource(b, tag, o+head, end)
		o = end
	}
	v.problem(o, "no end tag")
	return v.done(o)
}

func (v *VPD) done(o int) (*VPD, error) {
	if v.Name == "" && len(v.Fields) == 0 {
		return v, fmt.Errorf("%w: offset %d", ErrNoVPD, o)
	}
	return v, nil
}

func (v *VPD) problem(offset int, format string, args ...any) {
	if len(v.Problems) < 64 {
		v.Problems = append(v.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

// resource decodes a small or large resource header; head is 0 when it does not
// fit.
func resource(b []byte) (tag, size, head int) {
	if b[0]&0x80 == 0 {
		return int(b[0] >> 3), int(b[0] & 7), 1
	}
	if len(b) < 3 {
		return 0, 0, 0
	}
	return int(b[0] & 0x7f), int(b[1]) | int(b[2])<<8, 3
}

func (v *VPD) resource(b []byte, tag, o, end int) {
	switch tag {
	case 0x02:
		if v.Name == "" {
			v.Name = trim(string(b[o:end]))
		}
	case 0x10, 0x11:
		v.fields(b, o, end, tag == 0x11)
	default:
		v.problem(o, "unknown large resource 0x%02x of %d bytes", tag, end-o)
	}
}

func (v *VPD) fields(b []byte, o, end int, write bool) {
	for o < end {
		if end-o < 3 {
			v.problem(o, "%d bytes left, a keyword header has 3", end-o)
			return
		}
		keyword, size := string(b[o:o+2]), int(b[o+2])
		o += 3
		if size > end-o {
			v.problem(o-3, "keyword %q of %d bytes is cut off after %d", keyword, size, end-o)
			size = end - o
		}
		if len(v.Fields) == 1024 {
			v.problem(o-3, "more than 1024 keywords")
			return
		}
		v.Fields = append(v.Fields, VPDField{keyword, string(b[o : o+size]), o, write})
		if keyword == "RV" && !write && size > 0 && v.Checksum == VPDChecksumAbsent {
			v.Checksum = VPDChecksumBad
			if sum(b[:o+1]) == 0 {
				v.Checksum = VPDChecksumGood
			} else {
				v.problem(o, "checksum is wrong")
			}
		}
		o += size
	}
}

func sum(b []byte) uint8 {
	var s uint8
	for _, x := range b {
		s += x
	}
	return s
}
