package firmware

import (
	"cmp"
	"encoding/binary"
	"slices"
)

// region is one range of a flash with an Intel descriptor.
type region struct {
	name       string
	start, end int
	kind       Kind
	volumes    bool
}

var regionNames = []string{"descriptor", "bios", "me", "gbe", "pdr", "devexp1", "bios2", "microcode", "ec", "devexp2", "ie", "10gbe0", "10gbe1", "reserved13", "reserved14", "ptt"}

// descriptorRegions reads the region table of an Intel flash descriptor, in
// offset order, or returns nil when there is none or its regions overlap or
// leave the image: such a map is not followed, and the image is one area.
func descriptorRegions(b []byte) []region {
	const signature = 0x0ff0a55a
	at := 0x10
	if len(b) < 0x1000 {
		return nil
	}
	if binary.LittleEndian.Uint32(b[at:]) != signature {
		if at = 0; binary.LittleEndian.Uint32(b) != signature {
			return nil
		}
	}
	table := int(binary.LittleEndian.Uint32(b[at+4:])>>16&0xff) << 4
	var out []region
	for i, name := range regionNames {
		p := table + 4*i
		if p+4 > 0x1000 {
			break
		}
		reg := binary.LittleEndian.Uint32(b[p:])
		start, end := int(reg&0x7fff)<<12, (int(reg>>16&0x7fff)+1)<<12
		if reg == 0xffffffff || end <= start || reg == 0 && i > 0 {
			continue
		}
		r := region{name: name, start: start, end: min(end, len(b)), kind: Unknown, volumes: i == 1 || i == 6}
		if i == 0 {
			r.kind = Header
		}
		if start >= len(b) || end > len(b) {
			return nil
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(x, y region) int { return cmp.Compare(x.start, y.start) })
	for i := 1; i < len(out); i++ {
		if out[i].start < out[i-1].end {
			return nil
		}
	}
	return out
}
