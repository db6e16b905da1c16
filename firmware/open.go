package firmware

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/ffs"
)

// bounds limit what is done to take one image apart. They count work, not
// time, so that equal images always give equal leaves.
type bounds struct {
	depth    int // leaves inside leaves
	leaves   int
	expanded int // bytes that all streams together may expand to
	work     int // bytes hashed and expanded; parts inside parts are hashed again
}

// The largest server images have some thousand files and a handful of volumes
// inside each other. They expand to two or three times their size, builds for
// virtual machines to four times.
var defaultBounds = bounds{depth: 40, leaves: maxLeaves, expanded: 128 << 20, work: 1 << 30}

// boundsFor are the bounds of an image of n bytes: a large flash may hold two
// systems, each compressed to a third, and more than a crafted file of a few
// kilobytes.
func boundsFor(n int) bounds {
	b := defaultBounds
	b.expanded, b.work = min(max(b.expanded, 4*n), 2*b.expanded), min(max(b.work, 24*n), 2*b.work)
	return b
}

// opener takes the leaves of an image apart down to its sections.
type opener struct {
	names map[string]int
	left  bounds
	top   Leaf // the leaf of the image that is being opened
	found []problem
	noted map[finding.Code]bool

	decoders []Decoder
	readonly map[string]bool // paths in file systems that are not written to
}

// problem is something that opening a leaf met.
type problem struct {
	code           finding.Code
	path           string
	want, got, why string
	offset, length int64 // of the leaf in the image
}

// Open returns the leaves with everything that is inside of them: the sections
// of files, what compressed sections expand to, the volumes in those, variables.
// The leaves inside of one cover every byte of it, or of what it expands to,
// exactly once. What cannot be opened stays whole.
func (m *Image) Open() []Leaf {
	m.hashing.Do(func() { m.opened = withDigests(m.Parts()) })
	return m.opened
}

// Parts is Open without the digests that no comparison with a manifest needs:
// those of what a module is made of, and Authenticode's. Most bytes of an image
// are hashed once less for each.
func (m *Image) Parts() []Leaf {
	m.opening.Do(func() {
		o := &opener{names: m.names, left: m.bounds, noted: map[finding.Code]bool{}, decoders: m.decoders, readonly: map[string]bool{}}
		o.left.leaves -= len(m.Leaves)
		m.parts = slices.Clone(m.Leaves)
		for i := range m.parts {
			l := &m.parts[i]
			l.content = m.bytes(*l)
			o.top = *l
			o.open(l, l.Path, 0)
			if m.Progress != nil {
				m.Progress(l.Offset + l.Length)
			}
		}
		o.shadowed(m.parts)
		compared(m.parts)
		m.inside = o.findings(m)
	})
	return m.parts
}

// Inside returns what Open found about the image: limits that were met, bytes
// that could not be expanded or understood.
func (m *Image) Inside() []finding.Finding {
	m.Parts()
	return finding.Sort(slices.Concat(m.inside, m.signed()))
}

// met returns what Open met, without what signatures tell.
func (m *Image) met() []finding.Finding {
	m.Parts()
	return m.inside
}

func (o *opener) findings(m *Image) []finding.Finding {
	var out []finding.Finding
	for _, p := range o.found {
		f := finding.New(p.code, "firmware:"+m.Name+"/"+p.path)
		f.Want, f.Got, f.Why = p.want, p.got, p.why
		f.Sources = []finding.Source{finding.PartMemory}
		f.Basis = []finding.Basis{{Artifact: m.Artifact, SHA256: m.SHA256, Offset: p.offset, Length: p.length}}
		out = append(out, f)
	}
	return finding.Sort(out)
}

func (o *opener) problem(code finding.Code, path, want, got, why string) {
	if code == finding.InputLimit { // one of them stops everything of its kind
		if o.noted[code] {
			return
		}
		o.noted[code] = true
	}
	o.found = append(o.found, problem{code, path, want, got, why, o.top.Offset, o.top.Length})
}

// spend takes n bytes of work from the budget.
func (o *opener) spend(path string, n int) bool {
	if n > o.left.work {
		o.problem(finding.InputLimit, path, "an image that is taken apart within its budget", "more work", "the image has too much inside of it; the rest was hashed as one piece")
		return false
	}
	o.left.work -= n
	return true
}

// open takes one leaf apart. id is the path of the file that it belongs to:
// volumes inside are named after it, whatever sections lie between. It returns
// what the leaf's contents call themselves.
func (o *opener) open(l *Leaf, id string, depth int) (name string) {
	if depth > o.left.depth {
		o.problem(finding.InputLimit, l.Path, fmt.Sprintf("at most %d parts inside each other", o.left.depth), "more",
			"the image has parts nested deeper than any honest one; the rest was hashed as one piece")
		return ""
	}
	switch {
	case l.file != nil:
		o.file(l, depth)
	case l.section != nil:
		name = o.section(l, id, depth)
	case l.area != nil:
		o.openArea(l, depth)
	case l.part != nil && l.part.Body > 0:
		o.module(l, depth)
	case l.Type == typeVariables:
		o.variables(l)
	case l.Type == typeEngine && l.Kind == Code:
		o.engineModules(l, depth)
	case l.archive != nil:
		o.files(l, id, depth)
		o.opaque(l)
	case l.signed != nil:
		o.signature(l)
	case l.Type == "" && (l.Kind == Padding || l.Kind == Unknown || l.Kind == Free), l.Type == typePart, l.Type == typeContainer,
		l.packed && l.within == "" && (l.Kind == Unknown || l.Kind == Volatile):
		o.raw(l, l.Path+"/", 0, depth)
	}
	return name
}

func (o *opener) walker(b []byte, prefix string) *walker {
	return &walker{data: b, names: o.names, prefix: prefix, most: max(o.left.leaves, 2)}
}

// adopt makes the walker's leaves those inside of l and opens them.
func (o *opener) adopt(l *Leaf, w *walker, id string, depth int) (name string) {
	if w.full {
		o.problem(finding.InputLimit, l.Path, fmt.Sprintf("at most %d leaves", maxLeaves), "more", "the image has more parts than the limit; the rest was hashed as one piece")
	}
	for _, c := range w.claims {
		o.problem(c.code, c.path, c.want, c.got, c.why)
	}
	o.left.leaves -= len(w.leaves)
	l.Inside = w.leaves
	for i := range l.Inside {
		c := &l.Inside[i]
		c.content = w.body(i)
		n := o.open(c, id, depth+1)
		if name == "" {
			name = n
		}
		c.owed = (len(c.Inside) == 0 || c.file != nil || c.Encoding != "" || c.packed || c.Type == typePart) && o.spend(c.Path, len(c.content))
		if c.Kind == Volatile && c.Type != typeVariable {
			c.Executables = executables(c.content)
		}
	}
	return name
}

func (o *opener) file(l *Leaf, depth int) {
	f := l.file
	switch {
	case f.Type.HasSections():
		w := o.walker(l.content, l.Path+"/")
		w.add(l.Path+"/header", Header, f.Header)
		w.sections(l.Path, l.Kind)
		l.Name = o.adopt(l, w, l.Path, depth)
	case f.Type == ffs.Raw:
		o.raw(l, l.Path+"/", f.Header, depth)
	}
	if l.Name == "" {
		l.Name = ffs.NameOf(f.GUID)
	}
}

// sections adds one leaf per section from the current position to the end. What
// follows a section that does not hold is one leaf.
func (w *walker) sections(path string, kind Kind) {
	start, last := w.pos, path+"/header"
	for w.pos < len(w.data) && !w.full {
		next := start + (w.pos-start+ffs.SectionAlign-1)&^(ffs.SectionAlign-1)
		if next >= len(w.data) {
			break
		}
		w.gap(last, next)
		s, ok := ffs.ParseSection(w.data[next:])
		if !ok {
			break
		}
		l := w.add(path+"/"+s.Type.String(), kindOfSection(s.Type, kind), next+s.Length)
		if l != nil && !w.full {
			l.Type, l.section, last = s.Type.String(), &s, l.Path
		}
	}
	w.gap(last, len(w.data))
}

func kindOfSection(t ffs.SectionType, file Kind) Kind {
	switch t {
	case ffs.UserInterface, ffs.Version, ffs.DXEDepex, ffs.PEIDepex, ffs.MMDepex:
		return Data
	case ffs.RawSection, ffs.Subtype:
		return file
	}
	return Code
}

// section opens what a section holds and returns the name that it gives.
func (o *opener) section(l *Leaf, id string, depth int) (name string) {
	s := l.section
	body := l.content[s.Data:]
	switch s.Type {
	case ffs.UserInterface:
		name = plainName(efi.Text(body[:min(len(body), maxName)]))
	case ffs.PE32:
		if o.spend(l.Path, len(body)) {
			l.program = body
		}
	case ffs.RawSection, ffs.Subtype:
		o.raw(l, id+"/", s.Data, depth)
	case ffs.VolumeSection:
		w := o.walker(l.content, id+"/")
		w.add(l.Path+"/header", Header, s.Data)
		w.volumes(l.Path, len(w.data))
		o.adopt(l, w, id, depth)
	case ffs.Compression, ffs.GUIDDefined, ffs.Disposable:
		w := o.walker(l.content, id+"/")
		w.add(l.Path+"/header", Header, s.Data)
		if encodingOf(*s) == plain && o.decoder(s.GUID) == nil {
			w.sections(l.Path, l.Kind)
			return o.adopt(l, w, id, depth)
		}
		return o.encoded(l, w, id, depth)
	}
	return name
}

// plainName leaves of a name what a manifest may hold in any case.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, s)
}

// maxName bounds the text of a user interface section, in bytes of UTF-16.
const maxName = 256

// encoded opens a section whose contents have to be expanded: its header, the
// stream, and what lies behind the stream.
func (o *opener) encoded(l *Leaf, w *walker, id string, depth int) (name string) {
	stream := l.content[l.section.Data:]
	out, used, e, err := o.expand(l.Path, *l.section, stream)
	const tail = 16 // encoders leave a few bytes that no decoder reads
	if err != nil || len(stream)-used <= tail {
		used = len(stream)
	}
	w.add(l.Path+"/stream", Code, l.section.Data+used)
	w.gap(l.Path+"/stream", len(w.data))
	o.adopt(l, w, id, depth)
	if err != nil || len(out) == 0 {
		return ""
	}
	i := slices.IndexFunc(l.Inside, func(c Leaf) bool { return c.Kind == Code })
	if i < 0 {
		return ""
	}
	c := &l.Inside[i]
	c.Encoding, c.Expanded = string(e), int64(len(out))
	if want := l.section.Expanded; l.section.Type == ffs.Compression && int64(want) != c.Expanded {
		o.problem(finding.ParsersDisagree, l.Path, fmt.Sprintf("%d bytes", want), fmt.Sprintf("%d bytes", c.Expanded),
			"the section's header gives another length for its contents than the stream")
	}
	body := o.walker(out, id+"/")
	body.sections(l.Path, l.Kind)
	return o.adopt(c, body, id, depth+1)
}

// A stream may expand as an entry of a bundle may (evidence.Limits); what stays
// small bounds itself. Volumes of firmware expand ten to fifty times.
const (
	expansion   = 200
	smallStream = 8 << 20
)

// expand decodes a stream within the budget and reports why it could not.
func (o *opener) expand(path string, s ffs.Section, stream []byte) (out []byte, used int, found encoding, err error) {
	limit := o.limit(path, len(stream))
	if limit <= 0 {
		return nil, 0, unknown, ErrLimit
	}
	out, used, found, err = o.decode(s, stream, limit)
	o.left.expanded -= len(out)
	o.left.work -= len(stream) + len(out)
	if err != nil {
		o.notExpanded(err, path, len(stream), limit)
	}
	return out, used, found, err
}

// limit is to how many bytes a stream of n bytes may expand.
func (o *opener) limit(path string, n int) int {
	limit := min(o.left.expanded, o.left.work-n)
	limit = min(limit, max(smallStream, expansion*n))
	if limit <= 0 {
		o.spend(path, o.left.work+1)
	}
	return limit
}

// notExpanded says why a stream of n bytes stays as it is.
func (o *opener) notExpanded(err error, path string, n, limit int) {
	switch {
	case errors.Is(err, errNotKnown):
		o.problem(finding.BytesNotUnderstood, path, "a known encoding", fmt.Sprintf("%d bytes", n),
			"the contents are stored in a way that is not known here; they are compared as they stand")
	case tooLong(err):
		o.problem(finding.InputBomb, path, fmt.Sprintf("at most %d bytes", limit), "more", "the contents would expand beyond the limit; they were not expanded: "+err.Error())
	default:
		o.problem(finding.InputMalformed, path, "a stream that can be expanded", "malformed", "the contents cannot be expanded: "+err.Error())
	}
}
