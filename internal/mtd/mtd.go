// Package mtd finds the parts of a management controller's flash by what they
// begin with: device trees and U-Boot images, squashfs and JFFS2 file systems,
// UBI, and the modules of AMI's MegaRAC.
//
// It proves that a header holds, by its own checksum where it has one, and says
// how far the part claims to reach. It does not look into file systems.
package mtd

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/crc32"
	"slices"
)

// Part is one part of the flash.
type Part struct {
	Kind           string // "fdt", "uimage", "squashfs", "jffs2", "ubi", "module"
	Name           string // what a module calls itself
	Offset, Length int
}

const (
	block = 4096 // parts begin on erase blocks, the smallest of which this is

	// MaxParts bounds a flash; real ones have about ten parts.
	MaxParts = 1 << 10
)

// Parse returns the parts in offset order. Parts do not overlap: one that
// begins inside another belongs to it. A file system that does not say how long
// it is reaches to the next part.
func Parse(b []byte) []Part {
	var out []Part
	for at := 0; at+64 <= len(b) && len(out) < MaxParts; at += block {
		if p, ok := part(b, at); ok {
			out = append(out, p)
		}
	}
	slices.SortStableFunc(out, func(x, y Part) int { return cmp.Or(cmp.Compare(x.Offset, y.Offset), cmp.Compare(y.Length, x.Length)) })
	return separate(out, len(b))
}

// separate drops parts that begin inside others and gives those of no length
// theirs.
func separate(parts []Part, size int) []Part {
	var out []Part
	end := 0
	for _, p := range parts {
		if n := len(out); n > 0 && out[n-1].Length == 0 {
			last := &out[n-1]
			if last.Kind == p.Kind {
				continue // the same file system goes on
			}
			last.Length = p.Offset - last.Offset
			end = p.Offset
		}
		if p.Offset < end {
			continue
		}
		out = append(out, p)
		end = p.Offset + p.Length
	}
	if n := len(out); n > 0 && out[n-1].Length == 0 {
		out[n-1].Length = size - out[n-1].Offset
	}
	return out
}

func part(b []byte, at int) (Part, bool) {
	h := b[at:]
	p := Part{Offset: at}
	var n uint64
	switch {
	case binary.BigEndian.Uint32(h) == 0xd00dfeed:
		// Devicetree Specification 0.4, 5.2: version 17, readable as 16.
		p.Kind, n = "fdt", uint64(binary.BigEndian.Uint32(h[4:]))
		if binary.BigEndian.Uint32(h[20:]) != 17 || n < 40 {
			return p, false
		}
	case binary.BigEndian.Uint32(h) == 0x27051956:
		p.Kind, n = "uimage", 64+uint64(binary.BigEndian.Uint32(h[12:]))
		head := bytes.Clone(h[:64])
		clear(head[4:8])
		if crc32.ChecksumIEEE(head) != binary.BigEndian.Uint32(h[4:]) {
			return p, false
		}
	case string(h[:4]) == "hsqs":
		p.Kind, n = "squashfs", binary.LittleEndian.Uint64(h[40:])
		if binary.LittleEndian.Uint16(h[28:]) != 4 || n < 96 {
			return p, false
		}
	case binary.LittleEndian.Uint16(h) == 0x1985:
		p.Kind = "jffs2"
		if jffs2CRC(h[:8]) != binary.LittleEndian.Uint32(h[8:]) {
			return p, false
		}
	case string(h[:4]) == "UBI#":
		p.Kind = "ubi"
		if ^crc32.ChecksumIEEE(h[:60]) != binary.BigEndian.Uint32(h[60:]) {
			return p, false
		}
	case string(h[:8]) == "$MODULE$":
		return module(h, len(b))
	default:
		return p, false
	}
	if n > uint64(len(h)) {
		return p, false
	}
	p.Length = int(n)
	return p, true
}

// jffs2CRC is the kernel's crc32 with a start of zero and no inversion.
func jffs2CRC(b []byte) uint32 { return ^crc32.Update(0xffffffff, crc32.IEEETable, b) }

// module reads a flash module header of version 1: where the module lies, how
// much room it has, and what it is called. Its bytes add up to zero.
func module(h []byte, size int) (Part, bool) {
	var sum byte
	for _, c := range h[:64] {
		sum += c
	}
	at, n := uint64(binary.LittleEndian.Uint32(h[16:])), uint64(binary.LittleEndian.Uint32(h[12:]))
	if h[8] != 1 || h[62] != 0xaa || h[63] != 0x55 || n == 0 || at+n > uint64(size) {
		return Part{}, false
	}
	name, _, _ := bytes.Cut(h[24:32], []byte{0})
	clean := bytes.Map(func(r rune) rune {
		if r <= 0x20 || r > 0x7e || r == '/' {
			return '_'
		}
		return r
	}, name)
	return Part{Kind: "module", Name: string(clean), Offset: int(at), Length: int(n)}, true
}
