package firmware

import (
	"errors"
	"fmt"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// Archive is what opening bytes that hold files gives: a file system, a
// cabinet, a vendor's update container.
type Archive struct {
	Files []File
	Used  int    // bytes that the archive takes; what follows is compared as it stands
	Notes []Note // what does not hold, or could not be read

	writable bool // it lies where firmware writes in operation
}

// File is one file of an archive. Its contents are inside of the archive's leaf
// in the order given, as if the archive expanded to them.
type File struct {
	Path    string // slash-separated, unique in the archive; what is not printable ASCII is replaced by the opener
	Kind    Kind   // Code for what runs, Volatile for what is written in operation, Data, Header for listings, Unknown for what is to be opened further
	Type    string // "file", "volume", "listing"
	Name    string // what its maker calls it, where that is more than the path
	Content []byte

	Rewritten bool // firmware writes it by itself: where it lies in a range that is written to, it may change unless it runs
}

// Note is a problem that opening an archive met; the files are what could be
// read all the same.
type Note struct {
	Code           finding.Code // InputMalformed, ParsersDisagree, BytesNotUnderstood, UnsignedFirmware...
	Path           string       // of the file, "" for the archive
	Want, Got, Why string
}

// ErrLimit is wrapped by decoders whose result would be longer than allowed.
var ErrLimit = errors.New("more than the limit")

const typeArchive = "archive"

// archive opens bytes that begin as one of the brought formats does: the
// archive, and what lies behind it.
func (o *opener) archive(l *Leaf, depth int) bool {
	d := o.opens(l.content)
	if d == nil {
		return false
	}
	a, ok := o.openArchive(l, *d, depth)
	if !ok {
		return false
	}
	kind := Code
	if a.writable = l.Kind == Volatile; a.writable {
		kind = Volatile
	}
	w := o.walker(l.content, l.Path+"/")
	if c := w.add(l.Path+"/"+d.Name, kind, a.Used); c != nil && !w.full {
		c.Type, c.Encoding, c.archive = typeArchive, d.Name, &a
	}
	if a.writable {
		w.add(l.Path+"/"+d.Name+"+gap", Volatile, len(l.content))
	} else {
		w.gap(l.Path+"/"+d.Name, len(l.content))
	}
	o.adopt(l, w, l.Path, depth)
	return true
}

// opens returns the decoder for bytes that begin as its format does, or nil.
func (o *opener) opens(b []byte) *Decoder {
	for i, d := range o.decoders {
		if d.Begins != nil && d.Begins(b) {
			return &o.decoders[i]
		}
	}
	return nil
}

func (o *opener) openArchive(l *Leaf, d Decoder, depth int) (a Archive, ok bool) {
	limit := o.limit(l.Path, len(l.content))
	if limit <= 0 {
		return a, false
	}
	a, err := d.Open(l.content, limit)
	n := 0
	for _, f := range a.Files {
		n += len(f.Content)
	}
	if err == nil && n > limit {
		err = fmt.Errorf("%w of %d bytes", ErrLimit, limit)
	}
	grown := min(n, limit)
	if depth == 0 { // blocks of the image in another order
		grown = max(0, grown-len(l.content))
	}
	o.left.expanded -= grown
	o.left.work -= len(l.content) + min(n, limit)
	if err == nil && len(a.Files) > o.left.leaves-2 {
		err = fmt.Errorf("%w of %d leaves", ErrLimit, maxLeaves)
	}
	if err != nil {
		o.notExpanded(err, l.Path, len(l.content), limit)
		return a, false
	}
	a.Used = max(1, min(a.Used, len(l.content)))
	return a, true
}

// files makes leaves of an archive's files. One that is empty is only in the
// listing.
func (o *opener) files(l *Leaf, id string, depth int) {
	a := l.archive
	for _, n := range a.Notes {
		o.problem(n.Code, strings.TrimSuffix(id+"/"+plainName(n.Path), "/"), n.Want, n.Got, n.Why)
	}
	w := o.walker(nil, id+"/")
	w.runs = [][]byte{}
	for _, f := range a.Files {
		if f.Type == NodeType && !a.writable {
			o.readonly[f.Path] = true
			continue // it is a line of the listing
		}
		kind := o.kindOf(f, a.writable)
		c := w.add(id+"/"+plainName(f.Path), kind, w.pos+len(f.Content))
		if c == nil {
			continue
		}
		w.runs = append(w.runs, f.Content)
		c.Type, c.Name, c.packed = f.Type, plainName(f.Name), true
		if a.writable && f.Type != typeVolumeFile {
			c.within = f.Path
			if kind != Volatile && f.Type != SupersededType && (f.Type != VariableType || kind != Code) {
				c.Type = typePersistent
			}
		}
	}
	l.Expanded = int64(w.pos)
	a.Files = nil
	o.adopt(l, w, id, depth)
}

// kindOf is the kind of a file: what its format says of it, unless the file is
// an archive itself or lies where firmware writes.
func (o *opener) kindOf(f File, writable bool) Kind {
	switch {
	case writable && f.Type != typeVolumeFile:
		return persistent(f)
	case writable:
		return f.Kind
	}
	o.readonly[f.Path] = true
	if f.Kind == Data && f.Type != typeListing && o.opens(f.Content) != nil {
		return Unknown
	}
	return f.Kind
}
