package server

import (
	"cmp"
	"slices"
	"sync"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/quirk"
)

// library keeps documents taken apart, by their digests. What is in it was not
// judged: signatures, signers and times are checked at each appraisal.
type library struct {
	mu    sync.Mutex
	books map[string]*book
	bytes int
	turn  uint64
}

type book struct {
	name   string
	raw    []byte
	golden *manifest.Decoded
	turn   uint64 // when it was last asked for
}

// maxLibrary bounds the bytes of documents that are kept; taken apart they need a
// few times as much.
const maxLibrary = 64 << 20

// all gives the documents of a kind that are in use and about one of several things,
// or about any.
func (l *library) all(r fleet.Reader, kind string, about ...string) ([]*book, error) {
	digests, err := r.InUse(kind, about...)
	if err != nil {
		return nil, err
	}
	var out []*book
	for _, digest := range digests {
		b, err := l.get(r, digest)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// get gives a document, from the store when it is not here.
func (l *library) get(r fleet.Reader, digest string) (*book, error) {
	l.mu.Lock()
	l.turn++
	b := l.books[digest]
	if b != nil {
		b.turn = l.turn
	}
	l.mu.Unlock()
	if b != nil {
		return b, nil
	}
	d, err := r.Document(digest)
	if err != nil {
		return nil, err
	}
	b = &book{name: d.Name, raw: d.Raw, golden: manifest.Decode(d.Raw)}
	l.put(digest, b)
	return b, nil
}

func (l *library) put(digest string, b *book) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.books == nil {
		l.books = map[string]*book{}
	}
	if l.books[digest] != nil {
		return // another job was faster
	}
	b.turn = l.turn
	l.books[digest] = b
	for l.bytes += len(b.raw); l.bytes > maxLibrary && len(l.books) > 1; {
		oldest := digest
		for k, v := range l.books {
			if cmp.Or(cmp.Compare(v.turn, l.books[oldest].turn), cmp.Compare(k, oldest)) < 0 {
				oldest = k
			}
		}
		l.bytes -= len(l.books[oldest].raw)
		delete(l.books, oldest)
	}
}

// references brings what a machine is held against. A manifest about another
// platform would only be refused by the appraisal, and is left out.
func (s *Server) references(r fleet.Reader, inv *bom.Inventory, known fleet.Chassis, c *assay.Case) error {
	golden, err := s.library.all(r, "golden", topics(inv, known)...)
	if err != nil {
		return err
	}
	for _, b := range golden {
		if concerns(b.golden, inv) {
			c.Decoded = append(c.Decoded, b.golden)
		}
	}
	bad, err := s.library.all(r, "known-bad")
	if err != nil {
		return err
	}
	for _, b := range bad {
		c.KnownBad = append(c.KnownBad, b.raw)
	}
	lists, err := s.library.all(r, "quirks")
	if len(lists) > 0 {
		var raws quirk.Lists
		for _, b := range lists {
			raws = append(raws, b.raw)
		}
		c.Quirks = raws
	}
	return err
}

// about is the key under which a document is found by what it is about.
func about(e manifest.Environment) string {
	if e.Manufacturer == manifest.AnyPlatform {
		return ""
	}
	return "model:" + e.Model + "\x01" + e.Serial
}

// topics are the keys of documents about a machine: of its model, and of itself. One
// that does not say what it is, is what it was enrolled as.
func topics(inv *bom.Inventory, known fleet.Chassis) []string {
	e := manifest.Environment{Model: known.Product, Serial: known.Serial}
	if id, ok := inv.Machine(); ok {
		e.Model, e.Serial = id.Model, id.Serial
	}
	own := about(e)
	e.Serial = ""
	return slices.Compact([]string{about(e), own})
}

// concerns reports whether a manifest could be about a machine, by what the machine
// says it is.
func concerns(d *manifest.Decoded, inv *bom.Inventory) bool {
	e, err := d.Environment()
	if err != nil || e.Manufacturer == manifest.AnyPlatform {
		return true // what is wrong with it, the appraisal says
	}
	id, ok := inv.Machine()
	return !ok || (e.Serial == "" || e.Serial == id.Serial) && e.Model == id.Model
}
