// Package ucp reads AMI's utility configuration programs: modules with tags,
// of which some are packed with the compression of UEFI. The layout is what
// BIOSUtilities (platomav) found out; no document of AMI is public.
//
// It proves that the sums of the words of the file and of each module hold,
// which anyone can make.
package ucp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped when the bytes are no such file.
var ErrMalformed = errors.New("malformed UCP")

// Module is one part.
type Module struct {
	Tag      string // "@ROM", "@UII"
	Name     string // what the tag stands for, where that is known
	Packed   bool   // Data is a stream of UEFI's compression with its header
	Expanded int    // what a packed one expands to
	Data     []byte
	Sum      bool // the sum holds
}

const (
	header     = 16
	lengths    = 8
	least      = header + lengths
	maxModules = 1 << 10
)

// Tags by what they begin with.
var names = []struct{ tag, name string }{
	{"@ROM", "BIOS"},
	{"@R0", "BIOS"},
	{"@S0", "BIOS signature"},
	{"@DR", "Thunderbolt retimer"},
	{"@DS", "Thunderbolt retimer signature"},
	{"@EC", "embedded controller"},
	{"@ME", "management engine"},
	{"@UII", "utility identification"},
	{"@NAL", "list of names"},
	{"@AMI", "nested UCP"},
	{"@INS", "nested Insyde updater"},
	{"@CMD", "AFU command"},
	{"@DIS", "default command status"},
	{"@VER", "OEM version"},
}

// Begins reports whether b begins as such a file does.
func Begins(b []byte) bool {
	return len(b) > least && (string(b[:4]) == "@UAF" || string(b[:4]) == "@HPU") && b[header] == '@'
}

// Parse reads a file at the start of b. It returns its length and whether the
// sum over all of it holds.
func Parse(b []byte) (modules []Module, size int, sum bool, err error) {
	if !Begins(b) {
		return nil, 0, false, fmt.Errorf("%w: no header", ErrMalformed)
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if n < header+least || uint64(n) > uint64(len(b)) {
		return nil, 0, false, fmt.Errorf("%w: %d bytes, its header says %d", ErrMalformed, len(b), n)
	}
	b = b[:n]
	for at := header; len(b)-at >= least && b[at] == '@' && len(modules) < maxModules; {
		length := binary.LittleEndian.Uint32(b[at+4:])
		if length < least || uint64(length) > uint64(len(b)-at) {
			return modules, len(b), words(b), fmt.Errorf("%w: module %.4q of %d bytes at %d", ErrMalformed, b[at:at+4], length, at)
		}
		modules = append(modules, module(b[at:at+int(length)]))
		at += int(length)
	}
	return modules, len(b), words(b), nil
}

func module(b []byte) Module {
	m := Module{Tag: string(b[:4]), Sum: words(b)}
	for _, n := range names {
		if len(n.tag) <= len(m.Tag) && m.Tag[:len(n.tag)] == n.tag {
			m.Name = n.name
			break
		}
	}
	packed, expanded := binary.LittleEndian.Uint32(b[header:]), binary.LittleEndian.Uint32(b[header+4:])
	if m.Packed = packed != expanded; m.Packed {
		m.Data, m.Expanded = b[header:], int(expanded)
		return m
	}
	m.Data = b[least:]
	if uint64(expanded) < uint64(len(m.Data)) {
		m.Data = m.Data[:expanded]
	}
	return m
}

// words reports whether the sum of the words is zero.
func words(b []byte) bool {
	var sum uint16
	for ; len(b) >= 2; b = b[2:] {
		sum += binary.LittleEndian.Uint16(b)
	}
	if len(b) == 1 {
		sum += uint16(b[0])
	}
	return sum == 0
}
