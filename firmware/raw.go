package firmware

import (
	"bytes"
	"fmt"

	"github.com/assay-hw/assay/internal/ffs"
	"github.com/assay-hw/assay/internal/fit"
	"github.com/assay-hw/assay/internal/oprom"
)

// raw looks for what bytes without a structure of their own may hold: option
// ROMs, microcode, and volumes, which vendors and those who hide something put
// there.
func (o *opener) raw(l *Leaf, prefix string, header, depth int) {
	if o.rom(l, header, depth) || o.microcode(l, header, depth) ||
		header == 0 && (o.archive(l, depth) || o.whole(l, prefix, depth) || o.flashMap(l, depth) || o.coreboot(l, depth)) {
		return
	}
	if !o.hasVolumes(l, header) {
		if header == 0 && (depth == 0 && l.Type == "" || l.isWhole()) && !o.controller(l, depth) {
			o.closed(l)
		}
		return
	}
	w := o.walker(l.content, prefix)
	w.loose = true
	w.add(l.Path+"/header", Header, header)
	w.volumes(l.Path+"/raw", len(l.content))
	o.adopt(l, w, l.Path, depth)
}

// hasVolumes reports whether there are volumes in a leaf.
func (o *opener) hasVolumes(l *Leaf, header int) bool {
	if !bytes.Contains(l.content, []byte(ffs.Signature)) || !o.spend(l.Path, len(l.content)) {
		return false
	}
	_, ok := nextVolume(l.content, header, true)
	return ok
}

// rom opens a PCI option ROM, which some boards keep for the devices on them.
// It is named after the device that its first image is for.
func (o *opener) rom(l *Leaf, header, depth int) bool {
	body := l.content[header:]
	if len(body) < 2 || body[0] != 0x55 || body[1] != 0xaa {
		return false
	}
	images, _ := oprom.Parse(body) // a broken tail is what is left over
	if len(images) == 0 {
		return false
	}
	w := o.walker(l.content, l.Path+"/")
	w.add(l.Path+"/header", Header, header)
	for _, im := range images {
		c := w.add(fmt.Sprintf("%s/rom:%04x:%04x:%s", l.Path, im.VendorID, im.DeviceID, im.CodeType), Code, header+im.Offset+im.Length)
		if c == nil || w.full {
			break
		}
		c.Type, c.Name = "option ROM", fmt.Sprintf("%s %04x:%04x", im.CodeType, im.VendorID, im.DeviceID)
		if im.PE != nil && o.spend(c.Path, len(im.PE)) {
			c.program = im.PE
		}
	}
	w.gap(l.Path+"/rom", len(l.content))
	o.adopt(l, w, l.Path, depth)
	return true
}

// microcode opens a run of microcode updates, as firmware keeps them for the
// processors that fit its socket. What lies between them is empty.
func (o *opener) microcode(l *Leaf, header, depth int) bool {
	if _, ok := fit.ParseUpdate(l.content[header:]); !ok || !o.spend(l.Path, len(l.content)) {
		return false
	}
	w := o.walker(l.content, l.Path+"/")
	w.add(l.Path+"/header", Header, header)
	last := l.Path + "/microcode"
	for w.pos < len(w.data) && !w.full {
		next := w.pos
		for next < len(w.data) && next-w.pos < updateAlign && (w.data[next] == 0xff || w.data[next] == 0) {
			next++
		}
		u, ok := fit.ParseUpdate(w.data[next:])
		if !ok {
			break
		}
		w.gap(last, next)
		c := w.add(fmt.Sprintf("%s/microcode:%X", l.Path, u.Processor), Code, next+u.Length)
		if c != nil && !w.full {
			c.Type, c.Name, last = "microcode", u.String(), c.Path
		}
	}
	w.gap(last, len(w.data))
	o.adopt(l, w, l.Path, depth)
	return true
}

const updateAlign = 4096 // updates begin on 16 bytes, 2 KiB or a page
