package firmware

import (
	"encoding/binary"
	"fmt"
	"path"

	"github.com/assay-hw/assay/internal/ifd"
	"github.com/assay-hw/assay/internal/me"
)

// typeEngine is the type of leaves that are parts of the management engine's
// region.
const typeEngine = "ME partition"

// region cuts a region of the flash that is not the host's: along its own map
// where it has one that is known here.
func (w *walker) region(r ifd.Region) {
	name := w.prefix + "region:" + r.Name
	var pieces []piece
	switch r.Name {
	case "me":
		pieces = w.engine(name, r)
	case "gbe":
		pieces = w.network(name, r)
	}
	if len(pieces) > 0 {
		w.silicon = pieces
		w.between(name, r.End)
		w.silicon = nil
		return
	}
	kind := Unknown
	switch r.Name {
	case "descriptor":
		kind = Header
	case "ec":
		kind = Code // the embedded controller runs from it
	}
	w.add(name, kind, r.End)
}

// engineAlone cuts an image that is the management engine's region without the
// rest of the flash.
func (w *walker) engineAlone() bool {
	r := ifd.Region{Name: "me", End: len(w.data)}
	pieces := w.engine(w.prefix+"region:me", r)
	if len(pieces) == 0 {
		return false
	}
	w.silicon = pieces
	w.between(w.prefix+"region:me", r.End)
	return true
}

// engine is the map of the management engine's region.
func (w *walker) engine(name string, r ifd.Region) []piece {
	m, ok := me.Parse(w.data[r.Start:r.End])
	if !ok {
		return nil
	}
	for _, d := range m.Damaged {
		w.damaged(name+"/"+d.Name, "a table of the management engine's region", r.Start+d.Offset, d.Length)
	}
	var pieces []piece
	for _, p := range m.Parts {
		x := piece{path: name + "/" + p.Name, kind: engineKind(p.Kind), typ: typeEngine, start: r.Start + p.Offset, end: r.Start + p.Offset + p.Length}
		if p.Manifest != nil {
			x.name = p.Manifest.Version
		}
		pieces = append(pieces, x)
	}
	pieces, bad := laid(pieces, r.Start, r.End)
	w.reject(bad, "the management engine's region")
	return pieces
}

// engineModules opens a code partition of the management engine along its
// directory. Of a compressed module only the next one says where it ends.
func (o *opener) engineModules(l *Leaf, depth int) {
	p, ok := me.ParsePartition(l.content)
	if !ok || !o.spend(l.Path, len(l.content)) {
		return
	}
	pieces := []piece{{path: l.Path + "/directory", kind: Header, typ: typePart, end: p.Table}}
	for _, m := range p.Modules {
		end := m.Offset + m.Length
		for _, n := range p.Modules {
			if n.Offset > m.Offset && (n.Offset < end || m.Compressed && end == m.Offset+m.Length) {
				end = n.Offset
			}
		}
		kind := Code
		if ext := path.Ext(m.Name); ext == ".man" || ext == ".met" {
			kind = Data
		}
		pieces = append(pieces, piece{path: l.Path + "/" + m.Name, kind: kind, typ: typePart, start: m.Offset, end: min(end, len(l.content))})
	}
	w := o.walker(l.content, l.Path+"/")
	w.silicon, _ = laid(pieces, 0, len(l.content))
	w.between(l.Path, len(l.content))
	o.adopt(l, w, l.Path, depth)
}

func engineKind(k me.Kind) Kind {
	switch k {
	case me.Code:
		return Code
	case me.Header:
		return Header
	case me.Written:
		return Volatile
	}
	return Data
}

// A network controller's region has two banks of 4 KiB. Of each, the first 64
// words have a sum that is known, and begin with the address, which is another on each
// board (Intel I218/I219 datasheet, "NVM map"; Linux, e1000e, nvm.c). Address and
// sum are no part of what a manifest for a model can declare.
const (
	bankSize = 0x1000
	sumWord  = 0x3f
	bankSum  = 0xbaba
	address  = 6
)

// network is the map of the network controller's region, or nil when the sum of
// no bank holds.
func (w *walker) network(name string, r ifd.Region) []piece {
	var pieces []piece
	known := false
	for i := range 2 {
		at := r.Start + i*bankSize
		if at+bankSize > r.End {
			break
		}
		var sum uint16
		for k := range sumWord + 1 {
			sum += binary.LittleEndian.Uint16(w.data[at+2*k:])
		}
		known = known || sum == bankSum
		add := func(part string, kind Kind, start, end int) {
			pieces = append(pieces, piece{path: fmt.Sprintf("%s/bank%d/%s", name, i, part), kind: kind, typ: "network controller", start: at + start, end: at + end})
		}
		add("address", Volatile, 0, address)
		add("settings", Data, address, 2*sumWord)
		add("sum", Volatile, 2*sumWord, 2*sumWord+2)
		add("more", Data, 2*sumWord+2, bankSize)
	}
	if !known {
		return nil
	}
	return pieces
}

// ManagementEngine returns what the region of Intel's management engine says of
// itself, with offsets from the region's start.
func (m *Image) ManagementEngine() (me.Region, bool) {
	d, ok := m.Descriptor()
	if !ok {
		return me.Parse(m.data) // the region alone
	}
	for _, r := range d.Regions {
		if r.Name == "me" && r.End <= len(m.data) {
			return me.Parse(m.data[r.Start:r.End])
		}
	}
	return me.Region{}, false
}
