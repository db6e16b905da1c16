package firmware

import (
	"encoding/binary"
	"strings"

	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/ffs"
	"github.com/assay-hw/assay/internal/nvram"
)

const (
	workHeader = 32 // EFI_FAULT_TOLERANT_WORKING_BLOCK_HEADER
	workAlign  = 0x1000

	guidWorkBlock ffs.GUID = "9E58292B-7C68-497D-A0CE-6500FD9F1B95"

	moreVariables ffs.GUID = "00504624-8A59-4EEB-BD0F-6B36E96128E0" // a vendor's second volume of variables

	typeVariables = "variables" // a leaf that holds variables
	typeVariable  = "variable"
)

// variableStore cuts a volume of variables the way edk2 lays it out: the
// store, room for a log, the fault-tolerant writer's work block, and the spare
// area that takes a copy of the store. Only what the firmware writes at run
// time is volatile; without a recognised structure nothing is.
func (w *walker) variableStore(v volume, end int) {
	format, size := nvram.ParseHeader(w.data[w.pos:end])
	if format == nvram.None {
		w.stores(v, "", end)
		return
	}
	stop := w.pos + size
	w.add(v.path+"/store/header", Header, w.pos+nvram.Header)
	if l := w.add(v.path+"/store", Volatile, stop); l != nil {
		l.Type, l.store = typeVariables, format
	}
	work, length, ok := w.workBlock(v, stop, end)
	if !ok {
		w.stores(v, v.path+"/store", end)
		return
	}
	w.gap(v.path+"/store", work)
	w.add(v.path+"/ftw", Volatile, work+length)
	w.add(v.path+"/spare", Volatile, end)
}

// stores cuts the structures that vendors keep in a volume of variables. What is
// between and behind them is compared, and so are maps, keys and the headers.
func (w *walker) stores(v volume, after string, end int) {
	base := w.pos
	for _, s := range nvram.Find(w.data[base:end]) {
		if after == "" {
			after = v.path + "/start"
		}
		w.gap(after, base+s.Offset)
		after = v.path + "/" + s.Name
		w.add(after+"/header", Header, base+s.Offset+s.Header)
		kind := Data
		if s.Volatile {
			kind = Volatile
		}
		l := w.add(after, kind, base+s.Offset+s.Length)
		if l == nil || w.full {
			return
		}
		after, l.Type = l.Path, s.Name
		if s.Format != nvram.None {
			l.Type, l.store = typeVariables, s.Format
		}
	}
	if after == "" {
		w.add(v.path+"/body", Unknown, end)
		return
	}
	w.gap(after, end)
}

// workBlock finds the fault-tolerant writer's block on a block boundary.
func (w *walker) workBlock(v volume, from, end int) (at, length int, ok bool) {
	for at := v.start + (from-v.start+workAlign-1)&^(workAlign-1); at+workHeader <= end; at += workAlign {
		if ffs.GUIDAt(w.data[at:]) != guidWorkBlock {
			continue
		}
		queue := binary.LittleEndian.Uint64(w.data[at+24:])
		if queue > uint64(end-at-workHeader) {
			return 0, 0, false
		}
		return at, workHeader + int(queue), true
	}
	return 0, 0, false
}

// variables lists what a store holds. All of it may change.
func (o *opener) variables(l *Leaf) {
	w := o.walker(l.content, "")
	for _, v := range nvram.Parse(l.store, l.content) {
		if w.full {
			break
		}
		w.add(l.Path+"+gap", Volatile, v.Offset)
		name := strings.ReplaceAll(efi.Printable(v.Name), "/", "%2F")
		if name == "" {
			name = "data"
		}
		if v.GUID != "" {
			name += "-" + v.GUID
		}
		if !v.Live {
			name += "+deleted"
		}
		if c := w.add(l.Path+"/"+name, Volatile, v.Offset+v.Length); c != nil {
			c.Type, c.Name = typeVariable, efi.Printable(v.Name)
		}
	}
	w.add(l.Path+"+free", Volatile, len(l.content))
	o.adopt(l, w, l.Path, 0)
}
