// Package sdr reads sensor data records as a management controller gives them
// (IPMI 2.0, 43), one after another. This is also what ipmitool writes with
// "sdr dump".
//
// It proves what the controller says of the devices on its buses. A device that
// the controller does not mention is not shown to be absent.
package sdr

import (
	"encoding/binary"
	"fmt"
	"unicode/utf16"

	"github.com/assay-hw/assay/internal/fru"
)

// The bounds of one repository.
const (
	maxRecords  = 4096
	maxProblems = 64
	header      = 5
)

// Problem is one defect, at an offset from the first byte.
type Problem struct {
	Offset int
	What   string
}

// Repository is a list of records, in the order that they came.
type Repository struct {
	Sensors  []Sensor
	Devices  []Device
	Others   int // records of other types
	Problems []Problem
}

// Sensor is a full or a compact sensor record (43.1, 43.2).
type Sensor struct {
	Offset, Length int
	Owner          uint8 // slave address or software id
	Number         uint8
	Type           uint8
	Entity         Entity
	Name           string
}

// Entity is the physical thing that a record is about (43.14): 10 is a power
// supply, 32 a memory device.
type Entity struct{ ID, Instance uint8 }

// Kind says which locator names a device.
type Kind uint8

// The kinds of locators, by their record type.
const (
	Generic    Kind = 0x10 // 43.7
	FRU        Kind = 0x11 // 43.8
	Controller Kind = 0x12 // 43.9
)

// String names a kind for people.
func (k Kind) String() string {
	switch k {
	case Generic:
		return "device"
	case FRU:
		return "inventory memory"
	case Controller:
		return "management controller"
	}
	return fmt.Sprintf("record type 0x%02x", uint8(k))
}

// Device is a device that a locator record names. Addresses are in the 8-bit
// form of the specification, with the lowest bit 0.
type Device struct {
	Offset, Length int
	Kind           Kind
	Address        uint8 // of the controller that gives access; of the controller itself
	Channel        uint8
	ID             uint8 // FRU: number of a logical inventory device, or slave address; Generic: slave address
	Logical        bool  // FRU: ID is the number for Read FRU Data at the controller
	Bus            uint8 // private bus behind the controller; 0 is the channel itself
	Type, Modifier uint8 // device type and modifier (43.12); not of a controller
	Entity         Entity
	Name           string
}

// Parse reads records until the bytes end. Broken records are told; it never
// fails.
func Parse(b []byte) *Repository {
	r := &Repository{}
	for o, n := 0, 0; o < len(b); n++ {
		if n == maxRecords {
			r.problem(o, "more than %d records", maxRecords)
			break
		}
		if len(b)-o < header {
			r.problem(o, "%d bytes are no record", len(b)-o)
			break
		}
		length := header + int(b[o+4])
		if length > len(b)-o {
			r.problem(o, "a record of %d bytes, %d left", length, len(b)-o)
			break
		}
		r.record(b[o:o+length], o)
		o += length
	}
	return r
}

func (r *Repository) problem(offset int, format string, args ...any) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{offset, fmt.Sprintf(format, args...)})
	}
}

// record sorts one record by its type. Offsets are those of the tables in
// chapter 43, which count from 1, less one.
func (r *Repository) record(b []byte, at int) {
	name := map[uint8]int{0x01: 47, 0x02: 31, 0x10: 15, 0x11: 15, 0x12: 15}
	kind := b[3]
	o, known := name[kind]
	switch {
	case !known:
		r.Others++
		return
	case len(b) <= o:
		r.problem(at, "a record of type 0x%02x has only %d bytes", kind, len(b))
		return
	}
	text := r.text(b, o, at)
	switch kind {
	case 0x01, 0x02:
		r.Sensors = append(r.Sensors, Sensor{
			Offset: at, Length: len(b), Owner: b[5], Number: b[7], Type: b[12], Entity: Entity{b[8], b[9]}, Name: text,
		})
		return
	}
	d := Device{Offset: at, Length: len(b), Kind: Kind(kind), Entity: Entity{b[12], b[13]}, Name: text}
	switch d.Kind {
	case Generic:
		// The channel's highest bit is the lowest of the access address.
		d.Address, d.ID, d.Channel, d.Bus = b[5]&0xfe, b[6]&0xfe, b[5]&1<<3|b[7]>>5, b[7]&7
		d.Type, d.Modifier = b[10], b[11]
	case FRU:
		d.Address, d.ID, d.Logical, d.Bus, d.Channel = b[5]&0xfe, b[6], b[7]&0x80 != 0, b[7]&7, b[8]>>4
		d.Type, d.Modifier = b[10], b[11]
	case Controller:
		d.Address, d.Channel = b[5]&0xfe, b[6]&0x0f
	}
	r.Devices = append(r.Devices, d)
}

// text decodes a type/length byte and what follows it (43.15).
func (r *Repository) text(b []byte, o, at int) string {
	n, raw := int(b[o]&0x1f), b[o+1:]
	if n > len(raw) {
		r.problem(at+o, "a text of %d bytes, %d left", n, len(raw))
		n = len(raw)
	}
	raw = raw[:n]
	switch b[o] >> 6 {
	case 0:
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = binary.LittleEndian.Uint16(raw[2*i:])
		}
		return string(utf16.Decode(units))
	case 1:
		return fru.BCDPlus(raw)
	case 2:
		return fru.SixBit(raw)
	}
	runes := make([]rune, len(raw)) // Latin 1
	for i, x := range raw {
		runes[i] = rune(x)
	}
	return string(runes)
}
