// Package mtd finds the parts of a management controller's flash by what they
// begin with: device trees and U-Boot images, squashfs, cramfs and JFFS2 file
// systems, UBI, U-Boot's environment, and the modules of AMI's MegaRAC. Where
// these lie as OpenBMC divides its flash, the parts that have no beginning of
// their own are known too.
//
// It proves that a header holds, by its own checksum where it has one, and says
// how far the part claims to reach. It does not look into file systems.
package mtd

import (
	"bytes"
	"encoding/binary"
	"sort"

	"github.com/assay-hw/assay/internal/cramfs"
	"github.com/assay-hw/assay/internal/jffs2"
	"github.com/assay-hw/assay/internal/ubi"
	"github.com/assay-hw/assay/internal/uboot"
)

// Part is one part of the flash.
type Part struct {
	Kind           string // "image", "fdt", "uimage", "squashfs", "cramfs", "jffs2", "ubi", "env", "rwfs", "module"
	Name           string // what a module calls itself
	Offset, Length int
	Writable       bool // the controller writes to it in operation

	Header, Body, BodyLength int    // of a module: where its header and its contents lie in it
	Damaged                  string // what does not hold
	Ambiguous                string // what the table of parts says twice
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
	f := &flash{b: b, environments: maxEnvironments, left: 4*len(b) + 1<<20}
	f.images()
	listed := len(f.parts)
	for at := 0; at+64 <= len(b) && len(f.parts) < MaxParts; at += block {
		if p, ok := f.part(at); ok {
			f.parts = append(f.parts, p)
		}
		if p, ok := f.alternate(at + block); ok {
			f.parts = append(f.parts, p)
		}
	}
	f.openBMC()
	ambiguous := ""
	for i := range f.parts[:min(listed, len(f.parts))] {
		if a := f.parts[i].Ambiguous; a != "" {
			ambiguous = a
		}
	}
	sort.SliceStable(f.parts, func(i, j int) bool { // not the generic form, which is long for long elements
		x, y := &f.parts[i], &f.parts[j]
		return x.Offset < y.Offset || x.Offset == y.Offset && x.Length > y.Length
	})
	out := separate(f.parts, b)
	for i := range out { // of two that lie on each other one is left
		if ambiguous != "" && out[i].Kind == "image" {
			out[i].Ambiguous = ambiguous
			break
		}
	}
	return out
}

// flash is what is being divided.
type flash struct {
	b            []byte
	parts        []Part
	ubiEnd       int
	left         int // bytes that may still be looked at more than once
	environments int // that may still be looked for, each over many bytes
}

const maxEnvironments = 64

// spend takes n bytes from the budget: headers may all claim the whole flash.
func (f *flash) spend(n int) bool {
	f.left -= n
	return f.left >= 0
}

// layout is how OpenBMC divides a flash of one size (Linux kernel,
// openbmc-flash-layout*.dtsi). Only the writable parts need it: they may be
// erased, and a file system that was erased begins nowhere.
type layout struct {
	size, environment, kernel, rofs, rwfs int
}

var layouts = [...]layout{
	{32 << 20, 0x60000, 0x80000, 0x4c0000, 0x1c00000},
	{64 << 20, 0xe0000, 0x100000, 0xa00000, 0x2a00000},
	{128 << 20, 0xe0000, 0x100000, 0xa00000, 0x6000000},
}

// openBMC adds the writable parts of a flash that is divided like OpenBMC's.
func (f *flash) openBMC() {
	for _, l := range layouts {
		if len(f.b) != l.size {
			continue
		}
		found := 0
		var kept []Part
		for i := range f.parts {
			p := &f.parts[i]
			if p.Offset == l.rofs && p.Kind == "squashfs" || p.Offset == l.kernel && (p.Kind == "fdt" || p.Kind == "uimage") {
				found++
			}
			if p.Offset < l.rwfs && (p.Kind != "env" || p.Offset < l.environment || p.Offset >= l.kernel) {
				kept = append(kept, *p)
			}
		}
		if found < 2 {
			continue
		}
		f.parts = kept
		f.parts = append(f.parts, Part{Kind: "rwfs", Offset: l.rwfs, Length: l.size - l.rwfs, Writable: true})
		room := f.b[l.environment:l.kernel]
		if uboot.Holds(room) || erased(room) { // else a boot loader that is longer
			f.parts = append(f.parts, Part{Kind: "env", Offset: l.environment, Length: len(room), Writable: true})
		}
	}
}

func erased(b []byte) bool { return len(bytes.Trim(b, "\xff")) == 0 }

// eraseBlock is the usual length of what a flash erases at once.
const eraseBlock = 64 << 10

// separate drops parts that begin inside others and gives those of no length
// theirs. A JFFS2 may have moved on: erased blocks before it are its own.
func separate(parts []Part, b []byte) []Part {
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
		if p.Kind == "jffs2" && p.Offset&^(eraseBlock-1) >= end {
			p.Offset &^= eraseBlock - 1
			for p.Offset-eraseBlock >= end && erased(b[p.Offset-eraseBlock:p.Offset]) {
				p.Offset -= eraseBlock
			}
		}
		out = append(out, p)
		end = p.Offset + p.Length
	}
	if n := len(out); n > 0 && out[n-1].Length == 0 {
		out[n-1].Length = len(b) - out[n-1].Offset
	}
	return out
}

func (f *flash) part(at int) (Part, bool) {
	h := f.b[at:]
	p := Part{Offset: at}
	var n uint64
	switch {
	case binary.BigEndian.Uint32(h) == 0xd00dfeed:
		// Devicetree Specification 0.4, 5.2: version 17, readable as 16.
		p.Kind, n = "fdt", uint64(binary.BigEndian.Uint32(h[4:]))
		if binary.BigEndian.Uint32(h[20:]) != 17 || n < 40 {
			return p, false
		}
		if n > uint64(len(h)) || !f.spend(int(n)) {
			return p, false
		}
		if bytes.Contains(h[:n], []byte("data-size\x00")) {
			return p, true // images lie behind the tree: it reaches to the next part
		}
	case uboot.BeginsImage(h):
		p.Kind, n = "uimage", uboot.HeaderLen+uint64(binary.BigEndian.Uint32(h[12:]))
	case string(h[:4]) == "hsqs":
		p.Kind, n = "squashfs", binary.LittleEndian.Uint64(h[40:])
		if binary.LittleEndian.Uint16(h[28:]) != 4 || n < 96 {
			return p, false
		}
	case cramfs.Begins(h):
		p.Kind, n = "cramfs", uint64(binary.LittleEndian.Uint32(h[4:]))
	case string(h[:8]) == "$MODULE$":
		return f.module(at)
	case ubi.Begins(h):
		if at < f.ubiEnd { // a block of the one before
			return p, false
		}
		p.Kind, p.Writable, p.Length = "ubi", true, ubi.Extent(h)
		f.ubiEnd = at + p.Length
		return p, true
	default:
		if _, ok := jffs2.Order(h); ok {
			p.Kind, p.Writable = "jffs2", true
			return p, true
		}
		return f.environment(at)
	}
	if n == 0 || n > uint64(len(h)) {
		return p, false
	}
	p.Length = int(n)
	return p, true
}

func (f *flash) environment(at int) (Part, bool) {
	h := f.b[at:]
	if f.environments == 0 || h[4] == 0xff || !bytes.Contains(h[:64], []byte("=")) {
		return Part{}, false
	}
	f.environments--
	n := uboot.EnvironmentSize(h)
	return Part{Kind: "env", Offset: at, Length: n, Writable: true}, n > 0
}
