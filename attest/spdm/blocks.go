package spdm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
)

// Type says what a measurement is of (DSP0274, "DMTFSpecMeasurementValueType").
type Type int

// The types that are looked into; the others are only compared.
const (
	typeManifest   Type = 4
	typeDeviceMode Type = 5
	typeVersion    Type = 6
	typeSVN        Type = 7
)

var typeNames = []string{
	"immutable-rom", "mutable-firmware", "hardware-configuration", "firmware-configuration", "manifest",
	"device-mode", "version", "svn", "hash-extend", "informational", "structured-manifest",
}

// String gives the name that manifests use.
func (t Type) String() string {
	if t >= 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type-%d", int(t))
}

// The questions that Param2 of a request can ask beside one index.
const (
	askCount = 0
	askAll   = 0xff
)

// record reads the measurement record of one response and adds its blocks.
func (p *parser) record(a asked, r header) error {
	count, err := p.byte("number of blocks")
	if err != nil {
		return err
	}
	size, err := p.uint24("length of the measurement record")
	if err != nil {
		return err
	}
	at := p.at
	if _, err := p.take(size, "measurement record"); err != nil {
		return err
	}
	in := wire{b: p.b[:p.at], at: at}
	for range count {
		at := in.at
		b, err := p.t.suite.block(&in)
		if err != nil {
			return err
		}
		if a.param2 != askAll && a.param2 != askCount && b.Index != int(a.param2) {
			return malformed(at, "measurement %d answers a request for %d", b.Index, a.param2)
		}
		if err := p.t.add(at, b); err != nil {
			return err
		}
	}
	switch {
	case in.left() > 0:
		return malformed(in.at, "%d bytes behind the last block", in.left())
	case a.param2 == askCount && count > 0, a.param2 != askCount && a.param2 != askAll && count != 1, a.param2 == askAll && count == 0:
		return malformed(r.at+4, "%d blocks answer operation 0x%02x", count, a.param2)
	case a.param2 == askCount:
		p.total = int(r.param1)
	case a.param2 == askAll:
		p.t.complete = true
	}
	return nil
}

// block reads one measurement. Its sizes are stated twice and must agree; a
// value that is no bit stream must have the length of the negotiated hash.
func (s suite) block(in *wire) (Block, error) {
	at := in.at
	h, err := in.take(7, "measurement block")
	if err != nil {
		return Block{}, err
	}
	outer, inner := int(binary.LittleEndian.Uint16(h[2:])), int(binary.LittleEndian.Uint16(h[5:]))
	b := Block{Index: int(h[0]), Type: Type(h[4] & 0x7f), Raw: h[4]&0x80 != 0}
	switch {
	case h[0] == askCount || h[0] == askAll:
		return b, malformed(at, "measurement index %d", h[0])
	case h[1] != 1:
		return b, unsupported(at+1, "measurement specification 0x%02x, which is not DMTF's", h[1])
	case outer != inner+3:
		return b, malformed(at+5, "a value of %d bytes in a measurement of %d", inner, outer)
	}
	if n := s.measure.hash; !b.Raw && n != 0 && n.Size() != inner {
		return b, malformed(at+5, "a digest of %d bytes, %s has %d", inner, s.measure.name, n.Size())
	}
	b.Value, err = in.take(inner, "measurement value")
	return b, err
}

// add keeps blocks in the order of their indexes. An index that is measured
// twice must give one value: which one would be meant is undecided.
func (t *Transcript) add(at int, b Block) error {
	i, found := slices.BinarySearchFunc(t.blocks, b.Index, func(x Block, n int) int { return x.Index - n })
	if !found {
		t.blocks = slices.Insert(t.blocks, i, b)
		return nil
	}
	if o := t.blocks[i]; o.Type != b.Type || o.Raw != b.Raw || !bytes.Equal(o.Value, b.Value) {
		return malformed(at, "index %d is measured twice with different values", b.Index)
	}
	return nil
}

// svn reads a secure version number (DSP0274, "SVN"): up to eight bytes,
// little-endian.
func (b Block) svn() (uint64, bool) {
	if b.Type != typeSVN || !b.Raw || len(b.Value) == 0 || len(b.Value) > 8 {
		return 0, false
	}
	var v [8]byte
	copy(v[:], b.Value)
	return binary.LittleEndian.Uint64(v[:]), true
}

// mode is the state of a device (DSP0274, "Device mode field of a measurement
// block").
type mode struct{ operational, debug uint32 }

func (b Block) mode() (mode, bool) {
	if b.Type != typeDeviceMode || !b.Raw || len(b.Value) != 16 {
		return mode{}, false
	}
	return mode{binary.LittleEndian.Uint32(b.Value[4:]), binary.LittleEndian.Uint32(b.Value[12:])}, true
}

var operationalModes = []string{"manufacturing", "validation", "normal", "recovery", "returned for repair", "decommissioned"}

var debugModes = []string{
	"non-invasive debugging is active", "invasive debugging is active", "non-invasive debugging has been active since reset",
	"invasive debugging has been active since reset", "invasive debugging has been active since manufacturing",
}

const (
	normalMode  = 1 << 2
	debugActive = 1<<0 | 1<<1
)

// text names what is set in both fields, normal operation left out.
func (m mode) text() string {
	var out []string
	for i, s := range operationalModes {
		if m.operational&^normalMode&(1<<i) != 0 {
			out = append(out, s+" mode")
		}
	}
	if r := m.operational >> len(operationalModes); r != 0 {
		out = append(out, fmt.Sprintf("operational mode 0x%x", m.operational))
	}
	for i, s := range debugModes {
		if m.debug&(1<<i) != 0 {
			out = append(out, s)
		}
	}
	if r := m.debug >> len(debugModes); r != 0 {
		out = append(out, fmt.Sprintf("device mode 0x%x", m.debug))
	}
	return joined(out)
}
