// Package ifd reads an Intel flash descriptor: the first 4 KiB of a flash that
// say which range belongs to whom, who may write where, and how large the parts
// are (Intel SPI Programming Guide, "Descriptor Overview").
//
// It proves what the descriptor says. Whether the chipset enforces it is for
// its registers to say, and straps are not decoded.
package ifd

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// Size is the length of a descriptor.
const Size = 0x1000

const signature = 0x0ff0a55a

// Region is one range of the flash.
type Region struct {
	Name  string `json:"name"`
	Start int    `json:"start"`
	End   int    `json:"end"`
}

// HoldsBIOS reports whether the host's firmware lies in the region.
func (r Region) HoldsBIOS() bool { return r.Name == "bios" || r.Name == "bios2" }

// Master is who asks the flash controller for access, and the names of the
// regions that the descriptor grants it.
type Master struct {
	Name  string   `json:"name"`
	Read  []string `json:"read"`
	Write []string `json:"write"`
}

// Descriptor is what a descriptor says.
type Descriptor struct {
	Regions    []Region `json:"regions"` // in offset order
	Masters    []Master `json:"masters"`
	Components []int    `json:"components"` // bytes of each flash part; empty when the density is not known
}

var regionNames = [...]string{
	"descriptor", "bios", "me", "gbe", "pdr", "devexp1", "bios2", "microcode", "ec", "devexp2", "ie", "10gbe0", "10gbe1", "reserved13", "reserved14", "ptt",
}

var masterNames = [...]string{"bios", "me", "gbe", "devexp1", "ec"}

// Parse reads a descriptor at the start of a flash image. Regions are those
// that are in use, whatever their ranges are: they may overlap or leave the
// image.
func Parse(b []byte) (Descriptor, bool) {
	if len(b) < Size {
		return Descriptor{}, false
	}
	at := 0x10
	if binary.LittleEndian.Uint32(b[at:]) != signature {
		if at = 0; binary.LittleEndian.Uint32(b) != signature {
			return Descriptor{}, false
		}
	}
	b = b[:Size]
	map0, map1 := binary.LittleEndian.Uint32(b[at+4:]), binary.LittleEndian.Uint32(b[at+8:])
	var d Descriptor
	d.regions(b, int(map0>>16&0xff)<<4)
	first := d.components(b, int(map0&0xff)<<4, int(map0>>8&3)+1)
	d.masters(b, int(map1&0xff)<<4, first)
	return d, true
}

// regions reads FLREGn: base and limit in blocks of 4 KiB.
func (d *Descriptor) regions(b []byte, table int) {
	for i, name := range regionNames {
		p := table + 4*i
		if p+4 > len(b) {
			break
		}
		reg := binary.LittleEndian.Uint32(b[p:])
		start, end := int(reg&0x7fff)<<12, (int(reg>>16&0x7fff)+1)<<12
		if reg == 0xffffffff || end <= start || reg == 0 && i > 0 {
			continue
		}
		d.Regions = append(d.Regions, Region{Name: name, Start: start, End: end})
	}
	slices.SortStableFunc(d.Regions, func(x, y Region) int { return cmp.Compare(x.Start, y.Start) })
}

// components reads the densities in FLCOMP: 512 KiB and its doublings, in three
// bits for each part in the first version of the descriptor and in four since.
// The first version is told by its clock of 20 MHz for reading.
func (d *Descriptor) components(b []byte, at, n int) (first bool) {
	if at < 0x10 || at+4 > len(b) {
		return false
	}
	reg := binary.LittleEndian.Uint32(b[at:])
	first = reg>>17&7 == 0
	width := 4
	if first {
		width = 3
	}
	for i := range min(n, 2) {
		density := reg >> (width * i) & (1<<width - 1)
		if density > 7 {
			d.Components = nil
			break
		}
		d.Components = append(d.Components, 512<<10<<density)
	}
	return first
}

// masters reads FLMSTRn: which regions each master may read and write. Since
// the second version these are twelve bits each, before that eight.
func (d *Descriptor) masters(b []byte, table int, first bool) {
	if table < 0x10 {
		return
	}
	for i, name := range masterNames {
		p := table + 4*i
		if p+4 > len(b) || first && i > 2 {
			break
		}
		reg := binary.LittleEndian.Uint32(b[p:])
		m := Master{Name: name, Read: granted(reg >> 8 & 0xfff), Write: granted(reg >> 20)}
		if first {
			m.Read, m.Write = granted(reg>>16&0xff), granted(reg>>24)
		}
		if reg == 0 || reg == 0xffffffff && i > 2 {
			continue
		}
		d.Masters = append(d.Masters, m)
	}
}

func granted(bits uint32) []string {
	var out []string
	for i, name := range regionNames[:12] {
		if bits>>i&1 == 1 {
			out = append(out, name)
		}
	}
	return out
}
