package firmware

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/capsule"
	"github.com/assay-hw/assay/internal/ifd"
)

// typeContainer is the type of a leaf that is a whole file in which vendors give
// out firmware, or a payload of one: no part of it is looked for where it lies.
const typeContainer = "container"

// isContainer reports whether bytes begin as such a file does. Whether a decoder
// for it was brought makes no difference, so that an image has the same leaves
// everywhere. A flash begins with none of these.
func isContainer(b []byte) bool {
	if len(b) < 16 {
		return false
	}
	switch {
	case bytes.HasPrefix(b, []byte("MSCF\x00\x00\x00\x00")), // Microsoft cabinet
		bytes.HasPrefix(b, []byte("PK\x03\x04")), // zip
		bytes.HasPrefix(b, []byte("PFS.HDR.")),   // Dell
		bytes.HasPrefix(b, []byte("$_IFLASH")),   // Insyde
		bytes.HasPrefix(b[8:], []byte("_AMIPFAT")),
		(bytes.HasPrefix(b, []byte("@UAF")) || bytes.HasPrefix(b, []byte("@HPU"))) && len(b) > 16 && b[16] == '@':
		return true
	}
	return isProgram(b)
}

// isProgram reports whether bytes begin as a program for Windows, DOS or UEFI: a
// vendor's updater, with the firmware in it.
func isProgram(b []byte) bool {
	if len(b) < 0x40 || string(b[:2]) != "MZ" {
		return false
	}
	at := uint64(binary.LittleEndian.Uint32(b[0x3c:]))
	return at+4 <= uint64(len(b)) && string(b[at:at+4]) == "PE\x00\x00"
}

// isWhole reports whether a leaf is all of a file, so that what it begins with
// says what it is.
func (l *Leaf) isWhole() bool { return l.Type == typeContainer || l.packed }

// base is what the walker's bytes are called as a whole.
func (w *walker) base() string {
	if w.prefix == "" {
		return "image"
	}
	return strings.TrimSuffix(w.prefix, "/")
}

// capsule cuts what a vendor puts around an image that is not on a flash yet,
// up to the last payload, and returns what the rest is called after.
func (w *walker) capsule() string {
	parts, ok := capsule.Parse(w.data)
	if !ok {
		return w.base()
	}
	last := w.prefix + "capsule"
	for _, p := range parts {
		w.gap(last, p.Offset)
		last = w.prefix + "capsule/" + p.Name
		end := p.Offset + p.Length
		if p.Payload {
			w.payload(last, end)
			continue
		}
		kind := Header
		if p.Data {
			kind = Data
		}
		if l := w.add(last, kind, end); l != nil && !w.full {
			l.Name = p.Facts
			if p.Signed > 0 {
				l.Type, l.signed = typeSignature, w.data[end:end+p.Signed]
			}
		}
	}
	return last + "+rest"
}

// payload cuts a payload: into volumes, unless it is a container, or a whole
// flash, whose parts are found from its start.
func (w *walker) payload(name string, end int) {
	b := w.data[w.pos:end]
	_, flash := ifd.Parse(b)
	_, nested := capsule.Parse(b)
	if !flash && !nested && !isContainer(b) {
		w.volumes(name, end)
		return
	}
	if l := w.add(name, Code, end); l != nil && !w.full {
		l.Type = typeContainer
	}
}

// whole opens a leaf that is a capsule or a whole flash.
func (o *opener) whole(l *Leaf, prefix string, depth int) bool {
	if !l.isWhole() {
		return false
	}
	_, flash := ifd.Parse(l.content)
	if _, ok := capsule.Parse(l.content); !ok && !flash || !o.spend(l.Path, len(l.content)) {
		return false
	}
	w := o.walker(l.content, prefix)
	w.loose = true
	w.image()
	o.adopt(l, w, l.Path, depth)
	return true
}

// closed reports a container that nothing opened.
func (o *opener) closed(l *Leaf) {
	if l.Type != typeContainer || len(l.Inside) > 0 || o.decodes(l.content) {
		return
	}
	o.problem(finding.BytesNotUnderstood, l.Path, "a known container", fmt.Sprintf("%d bytes", len(l.content)),
		"this container has no decoder here; it is compared as it stands")
}

// opaque reports the files of an archive that nothing opened and that are not
// understood, together.
func (o *opener) opaque(l *Leaf) {
	var n, files int64
	for _, c := range l.Inside {
		if c.packed && c.Kind == Unknown && len(c.Inside) == 0 && !uniform(c.content) {
			n, files = n+c.Length, files+1
		}
	}
	if n > 0 {
		o.problem(finding.BytesNotUnderstood, l.Path, "0 bytes", fmt.Sprintf("%d bytes", n),
			fmt.Sprintf("%d bytes in %d files of this container have no structure known here; they are compared as a whole", n, files))
	}
}

// decodes reports whether a decoder was brought for what the bytes begin with.
func (o *opener) decodes(b []byte) bool {
	return slices.ContainsFunc(o.decoders, func(d Decoder) bool { return d.Begins != nil && d.Begins(b) })
}
