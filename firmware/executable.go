package firmware

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// maxExecutables bounds how many headers are remembered for one leaf.
const maxExecutables = 256

// executables returns the sha256 of the headers of the executable images in b,
// sorted without repeats. The headers alone identify an image well enough to
// tell a new one, and need no trust in the lengths that follow.
func executables(b []byte) []string {
	var out []string
	eachExecutable(b, func(_, _ int, sum string) { out = append(out, sum) })
	slices.Sort(out)
	return slices.Compact(out)
}

// eachExecutable calls f for the first maxExecutables images in b.
func eachExecutable(b []byte, f func(at, length int, sum string)) {
	at := 0
	for range maxExecutables {
		n, length := nextExecutable(b[at:])
		if n < 0 {
			return
		}
		f(at+n, length, digest(b[at+n:at+n+length]))
		at += n + 2
	}
}

// Executable reports where in b the first PE or TE image begins, and how long its
// headers are; 0 is none.
func Executable(b []byte) (at, length int) { return nextExecutable(b) }

// nextExecutable finds the first PE or TE image in b and returns its offset
// and the length of its headers, or -1.
func nextExecutable(b []byte) (at, length int) {
	for at := 0; at+40 <= len(b); {
		i := bytes.IndexByte(b[at:], 'Z')
		if i < 0 {
			break
		}
		at += i
		if at > 0 && b[at-1] == 'M' {
			if n := peHeaders(b[at-1:]); n > 0 {
				return at - 1, n
			}
		}
		if at > 0 && b[at-1] == 'V' {
			if n := teHeaders(b[at-1:]); n > 0 {
				return at - 1, n
			}
		}
		at++
	}
	return -1, 0
}

// maxStub bounds the MS-DOS stub before a PE header, and so what is hashed.
const maxStub = 1 << 16

// peHeaders returns the length of a PE image's headers, 0 when b does not
// start with one: MS-DOS stub, signature, machine, sections that make sense.
func peHeaders(b []byte) int {
	if len(b) < 0x40 {
		return 0
	}
	pe := int64(binary.LittleEndian.Uint32(b[0x3c:]))
	if pe < 0x40 || pe > maxStub || pe+24 > int64(len(b)) || !bytes.HasPrefix(b[pe:], []byte("PE\x00\x00")) {
		return 0
	}
	c := b[pe+4:]
	sections, optional := int64(binary.LittleEndian.Uint16(c[2:])), int64(binary.LittleEndian.Uint16(c[16:]))
	end := pe + 24 + optional + 40*sections
	if !machineKnown(binary.LittleEndian.Uint16(c)) || sections == 0 || sections > 96 || optional < 28 || end > int64(len(b)) {
		return 0
	}
	if magic := binary.LittleEndian.Uint16(b[pe+24:]); magic != 0x10b && magic != 0x20b {
		return 0
	}
	return int(end)
}

// teHeaders is peHeaders for the terse form (UEFI PI 1.8, volume 1, 15).
func teHeaders(b []byte) int {
	if len(b) < 40 {
		return 0
	}
	sections, subsystem, stripped := int(b[4]), b[5], binary.LittleEndian.Uint16(b[6:])
	end := 40 + 40*sections
	if !machineKnown(binary.LittleEndian.Uint16(b[2:])) || sections == 0 || sections > 32 ||
		subsystem < 10 || subsystem > 13 || stripped < 40 || end > len(b) {
		return 0
	}
	return end
}

// machineKnown lists the processors that UEFI has bindings for.
func machineKnown(m uint16) bool {
	switch m {
	case 0x014c, 0x8664, 0x0200, 0x01c2, 0xaa64, 0x0ebc, 0x5032, 0x5064, 0x5128, 0x6232, 0x6264:
		return true
	}
	return false
}
