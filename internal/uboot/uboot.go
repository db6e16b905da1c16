// Package uboot reads what U-Boot keeps in flash: its environment (U-Boot,
// include/env_internal.h) and legacy images (include/image.h).
//
// It proves that the checksums hold.
package uboot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// Variable is one variable of an environment.
type Variable struct{ Name, Value string }

// Environment is a copy of U-Boot's variables.
type Environment struct {
	Offset    int // of the copy, for Copies
	Size      int // with its header, and the room behind the variables
	Variables []Variable
	More      bool // there are more variables than are read

	newer byte // where there are two copies: a counter, or that it is the valid one
}

// Has reports whether a variable is set.
func (e Environment) Has(name string) bool {
	return slices.ContainsFunc(e.Variables, func(v Variable) bool { return v.Name == name })
}

const (
	minEnvironment = 1 << 12
	maxEnvironment = 1 << 18
	maxVariables   = 1 << 13
	maxRoom        = 1 << 19 // for two copies
)

// ParseEnvironment reads an environment at the start of b.
func ParseEnvironment(b []byte) (Environment, bool) {
	size, header := environment(b)
	if size == 0 {
		return Environment{}, false
	}
	e := Environment{Size: size}
	if header == 5 {
		e.newer = b[4]
	}
	e.Variables, e.More = variables(b[header:size])
	return e, true
}

// Copies returns the environments in a range for them, the newest first. The
// first may be missing where saving it was cut off: then the second lies as far
// from the start as it is long. Where one lies at the start, those behind it are
// looked for at all places: how long a copy is the boot loader knows, and not its
// checksum.
func Copies(b []byte) []Environment {
	var out []Environment
	if !Holds(b) {
		return nil
	}
	room := b[:min(len(b), maxRoom)]
	at := 0
	for budget := 4 * maxRoom; at+minEnvironment <= len(room) && budget > 0; at += minEnvironment {
		if e, ok := ParseEnvironment(room[at:]); ok && (len(out) > 0 || at == 0 || at == e.Size) {
			e.Offset = at
			out = append(out, e)
		}
		if looksLikeVariable(room[at+4:]) || looksLikeVariable(room[at+5:]) {
			budget -= min(len(room)-at, maxEnvironment)
		}
	}
	slices.SortStableFunc(out, func(a, b Environment) int {
		if d := int8(b.newer - a.newer); d != 0 { // the counter comes round
			return int(d)
		}
		return a.Offset - b.Offset
	})
	return out
}

// EnvironmentSize is how long the environment at the start of b is, 0 when there
// is none. Its size stands nowhere: it is the one for which the checksum holds.
func EnvironmentSize(b []byte) int {
	size, _ := environment(b)
	return size
}

// Holds reports whether a range for environments has a copy, at its start or as
// far from it as it is long, if that is a power of two.
func Holds(b []byte) bool {
	if EnvironmentSize(b) > 0 {
		return true
	}
	for at := minEnvironment; at <= maxEnvironment && 2*at <= len(b); at *= 2 {
		if EnvironmentSize(b[at:2*at]) == at {
			return true
		}
	}
	return false
}

// environment finds an environment and how long its header is: where there are
// two copies, a byte that says which one is valid follows the checksum.
func environment(b []byte) (size, header int) {
	if len(b) < minEnvironment {
		return 0, 0
	}
	for _, header := range []int{4, 5} {
		if !looksLikeVariable(b[header:]) {
			continue
		}
		var sum uint32
		at := header
		for size := minEnvironment; size <= min(maxEnvironment, len(b)); size += minEnvironment {
			sum = crc32.Update(sum, crc32.IEEETable, b[at:size])
			at = size
			if sum == binary.LittleEndian.Uint32(b) || sum == binary.BigEndian.Uint32(b) {
				return size, header
			}
		}
	}
	return 0, 0
}

// looksLikeVariable keeps checksums from being computed over everything.
func looksLikeVariable(b []byte) bool {
	for i, c := range b[:min(len(b), 64)] {
		switch {
		case c == '=':
			return i > 0
		case c <= 0x20 || c > 0x7e:
			return false
		}
	}
	return false
}

func variables(b []byte) (out []Variable, more bool) {
	for len(b) > 0 && b[0] != 0 {
		if len(out) >= maxVariables {
			return out, true
		}
		entry, rest, _ := bytes.Cut(b, []byte{0})
		name, value, _ := bytes.Cut(entry, []byte("="))
		out = append(out, Variable{Name: string(name), Value: string(value)})
		b = rest
	}
	return out, false
}

// Image is a legacy image.
type Image struct {
	Name              string
	Load, Entry, Time uint32
	OS, Arch, Type    byte
	Compression       byte
	Data              []byte
	Parts             [][]byte // of an image of several
	Damaged           bool     // the checksum of the data does not hold
}

// HeaderLen is the length of an image's header.
const HeaderLen = 64

const multi = 4

// ErrMalformed is wrapped by errors of ParseImage.
var ErrMalformed = errors.New("malformed image")

// BeginsImage reports whether a header stands at the start of b that holds.
func BeginsImage(b []byte) bool {
	if len(b) < HeaderLen || binary.BigEndian.Uint32(b) != 0x27051956 {
		return false
	}
	head := bytes.Clone(b[:HeaderLen])
	clear(head[4:8])
	return crc32.ChecksumIEEE(head) == binary.BigEndian.Uint32(b[4:])
}

// ParseImage reads an image.
func ParseImage(b []byte) (Image, error) {
	if !BeginsImage(b) {
		return Image{}, fmt.Errorf("%w: header", ErrMalformed)
	}
	be := binary.BigEndian
	n := be.Uint32(b[12:])
	if uint64(n) > uint64(len(b)-HeaderLen) {
		return Image{}, fmt.Errorf("%w: it says %d bytes and has %d", ErrMalformed, n, len(b)-HeaderLen)
	}
	name, _, _ := bytes.Cut(b[32:64], []byte{0})
	m := Image{
		Name: string(name), Time: be.Uint32(b[8:]), Load: be.Uint32(b[16:]), Entry: be.Uint32(b[20:]),
		OS: b[28], Arch: b[29], Type: b[30], Compression: b[31], Data: b[HeaderLen : HeaderLen+int(n)],
	}
	m.Damaged = crc32.ChecksumIEEE(m.Data) != be.Uint32(b[24:])
	if m.Type == multi {
		m.Parts = parts(m.Data)
	}
	return m, nil
}

// parts are the images in one of several: their sizes up to a zero, then each on
// a word. Sizes that lead out give none.
func parts(b []byte) [][]byte {
	var sizes []uint32
	at := 0
	for ; ; at += 4 {
		if len(b)-at < 4 || len(sizes) > 64 {
			return nil
		}
		n := binary.BigEndian.Uint32(b[at:])
		if n == 0 {
			at += 4
			break
		}
		sizes = append(sizes, n)
	}
	var out [][]byte
	for _, n := range sizes {
		if uint64(n) > uint64(len(b)-at) {
			return nil
		}
		out = append(out, b[at:at+int(n)])
		at = min(at+int(n+3)&^3, len(b))
	}
	return out
}
