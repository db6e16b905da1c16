// Package fru reads IPMI field replaceable unit inventory (IPMI Platform
// Management FRU Information Storage Definition 1.0, revision 1.3).
//
// It proves what is stored in an inventory EEPROM. Few of them are write
// protected, and the checksums find accidents only: a writer recomputes them.
package fru

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// ErrNoHeader means that no common header can be read.
var ErrNoHeader = errors.New("no FRU common header")

const (
	maxProblems = 128
	maxRecords  = 256
	maxFields   = 256
)

// Problem is one defect, at an offset from the first byte of the image.
type Problem struct {
	Offset int
	What   string
}

// Field is one type/length field, decoded to text. Binary is set for the
// binary type, whose Text is hexadecimal.
type Field struct {
	Text   string
	Binary bool
	Raw    []byte
	Offset int // of the type/length byte
	Length int // of type/length byte and data
}

// Area is what the three areas share.
type Area struct {
	Offset, Length int
	ChecksumOK     bool
	Language       uint8
	Custom         []Field // vendor fields behind the defined ones
}

// Chassis is the chassis info area (section 10).
type Chassis struct {
	Area
	Type               uint8
	PartNumber, Serial Field
}

// Board is the board info area (section 11). Made is zero when not given.
type Board struct {
	Area
	Made                                              time.Time
	Manufacturer, Product, Serial, PartNumber, FileID Field
}

// Product is the product info area (section 12).
type Product struct {
	Area
	Manufacturer, Name, PartNumber, Version, Serial, AssetTag, FileID Field
}

// Record is one multirecord (section 16). Data excludes the header.
type Record struct {
	Type           uint8
	Version        uint8
	Offset, Length int // header and data
	HeaderOK       bool
	ChecksumOK     bool
	Data           []byte
	Manufacturer   uint32       // IANA number of OEM records, types 0xc0 and up, else 0
	PowerSupply    *PowerSupply // type 0
}

// PowerSupply is the power supply information record (section 18.1).
type PowerSupply struct {
	Capacity, PeakVA int // watts, volt-amperes; 0 not given
	HotSwap          bool
}

// Inventory is a decoded image. An area that is absent is nil.
type Inventory struct {
	Internal []byte // internal use area, without its format byte
	Chassis  *Chassis
	Board    *Board
	Product  *Product
	Records  []Record
	HeaderOK bool // checksum of the common header
	Problems []Problem
}

// Parse decodes an image. The error wraps ErrNoHeader when the format version
// is not 1 or the image has fewer than eight bytes. Every damaged part is
// listed in Problems and the others are returned.
func Parse(b []byte) (*Inventory, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("%w: %d bytes", ErrNoHeader, len(b))
	}
	if b[0]&0x0f != 1 {
		return nil, fmt.Errorf("%w: format version %d", ErrNoHeader, b[0]&0x0f)
	}
	v := &Inventory{HeaderOK: sum(b[:8]) == 0}
	if !v.HeaderOK {
		v.problem(0, "common header: checksum is wrong")
	}
	if b[6] != 0 {
		v.problem(6, "common header: pad byte is 0x%02x", b[6])
	}
	v.internal(b)
	if p := v.area(b, "chassis area", int(b[2])*8); p != nil {
		v.chassis(p)
	}
	if p := v.area(b, "board area", int(b[3])*8); p != nil {
		v.board(p)
	}
	if p := v.area(b, "product area", int(b[4])*8); p != nil {
		v.product(p)
	}
	if o := int(b[5]) * 8; o > 0 {
		v.records(b, o)
	}
	v.overlaps()
	return v, nil
}

func (v *Inventory) problem(offset int, format string, args ...any) {
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

func sum(b []byte) uint8 {
	var s uint8
	for _, x := range b {
		s += x
	}
	return s
}

// internal keeps the internal use area, which runs to the next area: its format
// is the board's own.
func (v *Inventory) internal(b []byte) {
	o := int(b[1]) * 8
	if o == 0 {
		return
	}
	if o >= len(b) {
		v.problem(1, "internal use area at %d is beyond the %d bytes", o, len(b))
		return
	}
	end := len(b)
	for _, x := range b[2:6] {
		if next := int(x) * 8; next > o && next < end {
			end = next
		}
	}
	v.Internal = b[min(o+1, end):end]
}

// area checks an area's header and returns a cursor behind it, nil when there
// is no area to read.
func (v *Inventory) area(b []byte, name string, o int) *cursor {
	if o == 0 {
		return nil
	}
	if o+3 > len(b) {
		v.problem(o, "%s: starts beyond the %d bytes", name, len(b))
		return nil
	}
	if b[o]&0x0f != 1 {
		v.problem(o, "%s: format version %d", name, b[o]&0x0f)
		return nil
	}
	length := int(b[o+1]) * 8
	a := Area{Offset: o, Length: length, Language: b[o+2]}
	end := o + length - 1 // the checksum is no field
	switch {
	case length < 8:
		v.problem(o+1, "%s: length %d", name, length)
		return nil
	case o+length > len(b):
		v.problem(o+1, "%s: length %d, %d bytes left", name, length, len(b)-o)
		a.Length = len(b) - o
		end = len(b)
	default:
		a.ChecksumOK = sum(b[o:o+length]) == 0
		if !a.ChecksumOK {
			v.problem(o+length-1, "%s: checksum is wrong", name)
		}
	}
	return &cursor{v: v, b: b, name: name, area: a, at: o + 3, end: end}
}

// cursor reads type/length fields one after the other.
type cursor struct {
	v       *Inventory
	b       []byte
	name    string
	area    Area
	at, end int
	done    bool
}

func (v *Inventory) chassis(c *cursor) {
	x := &Chassis{Type: c.area.Language}
	c.area.Language = 0
	x.PartNumber, x.Serial = c.field(), c.field()
	x.Area = c.rest()
	v.Chassis = x
}

func (v *Inventory) board(c *cursor) {
	x := &Board{}
	if c.at+3 <= c.end {
		if m := int(c.b[c.at]) | int(c.b[c.at+1])<<8 | int(c.b[c.at+2])<<16; m != 0 && m != 0xffffff {
			x.Made = time.Date(1996, time.January, 1, 0, m, 0, 0, time.UTC)
		}
	}
	c.at += 3
	x.Manufacturer, x.Product, x.Serial, x.PartNumber, x.FileID = c.field(), c.field(), c.field(), c.field(), c.field()
	x.Area = c.rest()
	v.Board = x
}

func (v *Inventory) product(c *cursor) {
	x := &Product{}
	x.Manufacturer, x.Name, x.PartNumber, x.Version = c.field(), c.field(), c.field(), c.field()
	x.Serial, x.AssetTag, x.FileID = c.field(), c.field(), c.field()
	x.Area = c.rest()
	v.Product = x
}

// field reads the next field; behind the end marker 0xC1 or the end of the
// area, fields are empty.
func (c *cursor) field() Field {
	if c.done {
		return Field{}
	}
	if c.at >= c.end {
		c.v.problem(c.at, "%s: no end marker", c.name)
		c.done = true
		return Field{}
	}
	head := c.b[c.at]
	if head == 0xc1 {
		c.done = true
		for i, x := range c.b[c.at+1 : c.end] {
			if x != 0 {
				c.v.problem(c.at+1+i, "%s: bytes behind the end mark", c.name)
				break
			}
		}
		return Field{}
	}
	n := int(head & 0x3f)
	f := Field{Offset: c.at, Binary: head>>6 == 0}
	if c.at+1+n > c.end {
		c.v.problem(c.at, "%s: field of %d bytes, %d left", c.name, n, c.end-c.at-1)
		n = c.end - c.at - 1
		c.done = true
	}
	f.Raw, f.Length = c.b[c.at+1:c.at+1+n], 1+n
	f.Text = c.decode(head>>6, f.Raw, f.Offset)
	c.at += 1 + n
	return f
}

func (c *cursor) rest() Area {
	for !c.done && len(c.area.Custom) < maxFields {
		if f := c.field(); f.Length > 0 && !(c.done && f.Raw == nil) {
			c.area.Custom = append(c.area.Custom, f)
		}
	}
	return c.area
}

// overlaps reports areas that share bytes: one of them lies.
func (v *Inventory) overlaps() {
	type span struct {
		name       string
		start, end int
	}
	var spans []span
	add := func(name string, a Area) { spans = append(spans, span{name, a.Offset, a.Offset + a.Length}) }
	if v.Chassis != nil {
		add("chassis area", v.Chassis.Area)
	}
	if v.Board != nil {
		add("board area", v.Board.Area)
	}
	if v.Product != nil {
		add("product area", v.Product.Area)
	}
	for _, r := range v.Records {
		spans = append(spans, span{"multirecord", r.Offset, r.Offset + r.Length})
	}
	for i, x := range spans {
		for _, y := range spans[:i] {
			if x.start < y.end && y.start < x.end {
				v.problem(x.start, "%s overlaps the %s at %d", x.name, y.name, y.start)
			}
		}
	}
}

// records walks the multirecord area (section 16.1).
func (v *Inventory) records(b []byte, o int) {
	for len(v.Records) < maxRecords {
		if o+5 > len(b) {
			v.problem(o, "multirecord: header is beyond the %d bytes", len(b))
			return
		}
		r := Record{Type: b[o], Version: b[o+1] & 0x0f, Offset: o, Length: 5 + int(b[o+2]), HeaderOK: sum(b[o:o+5]) == 0}
		if !r.HeaderOK {
			// Type and length cannot be trusted: what follows cannot be found.
			v.problem(o, "multirecord: header checksum is wrong, the rest is not read")
			return
		}
		if r.Version != 2 {
			// Erased bytes have a valid header checksum but not this version.
			v.problem(o, "multirecord: format version %d, the list has no end mark", r.Version)
			return
		}
		if o+r.Length > len(b) {
			v.problem(o, "multirecord: %d bytes of data, %d left", r.Length-5, len(b)-o-5)
			r.Length = len(b) - o
		}
		r.Data = b[o+5 : o+r.Length]
		r.ChecksumOK = sum(r.Data)+b[o+3] == 0
		if !r.ChecksumOK {
			v.problem(o+3, "multirecord: type 0x%02x: data checksum is wrong", r.Type)
		}
		r.decode()
		v.Records = append(v.Records, r)
		if b[o+1]&0x80 != 0 {
			return
		}
		o += r.Length
	}
	v.problem(o, "more than %d multirecords", maxRecords)
}

func (r *Record) decode() {
	switch {
	case r.Type == 0 && len(r.Data) >= 24:
		p := &PowerSupply{Capacity: int(binary.LittleEndian.Uint16(r.Data) & 0x0fff)}
		if n := binary.LittleEndian.Uint16(r.Data[2:]); n != 0xffff {
			p.PeakVA = int(n)
		}
		p.HotSwap = r.Data[17]&0x08 != 0
		r.PowerSupply = p
	case r.Type >= 0xc0 && len(r.Data) >= 3:
		r.Manufacturer = uint32(r.Data[0]) | uint32(r.Data[1])<<8 | uint32(r.Data[2])<<16
	}
}
