package firmware

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

// holdsFiles reports whether a leaf has files of nested volumes inside, or the
// areas and parts of a flash.
func (l Leaf) holdsFiles() bool {
	return l.Type == typeCBFS || slices.ContainsFunc(l.Inside, func(c Leaf) bool {
		return c.Type == typeVolume || c.Type == typeArea || c.Type == typePart || c.archive != nil || c.holdsFiles()
	})
}

// Module reports whether a leaf is compared as one: it has no parts, or they
// are the sections of one file.
func (l Leaf) Module() bool { return len(l.Inside) == 0 || l.file != nil && !l.holdsFiles() }

// Content returns the leaf's bytes, which must not be changed. Only leaves from
// Open have them.
func (l Leaf) Content() []byte { return l.content }

// IsFile reports whether a leaf is a file of a firmware volume.
func (l Leaf) IsFile() bool { return l.file != nil }

// Expansion returns what the leaf's bytes expand to, or nil. Only leaves from
// Open have it.
func (l Leaf) Expansion() []byte {
	b := make([]byte, 0, l.Expanded)
	for _, c := range l.Inside {
		b = append(b, c.content...)
	}
	return b
}

// eachModule calls f for the modules in a leaf, in order.
func (l Leaf) eachModule(f func(Leaf)) {
	if l.Module() {
		f(l)
		return
	}
	for _, c := range l.Inside {
		c.eachModule(f)
	}
}

// eachPart calls f for the modules in a leaf and for the archives whose files
// those are: room inside of a file system belongs to no file.
func (l Leaf) eachPart(f func(Leaf)) {
	if l.archive != nil && !l.archive.writable && len(l.Inside) > 0 {
		f(l)
	}
	if l.Module() {
		f(l)
		return
	}
	for _, c := range l.Inside {
		c.eachPart(f)
	}
}

// follows reports whether a leaf differs whenever one of those beside it does:
// the listing of files, and the archive that they are in.
func (l Leaf) follows() bool { return l.Type == typeListing || l.Type == typeArchive }

// Surrounds reports whether a leaf is only what is around others: the headers
// of files and sections, which hold their length, and room that is empty. It
// changes when they do.
func (l Leaf) Surrounds() bool {
	switch l.Kind {
	case Header:
		return l.Type != typeVolume && strings.Contains(l.Path, "/")
	case Padding, Free:
		return l.content == nil || emptyRoom(l.content)
	case Volatile:
		return l.Type == "" && l.content != nil && uniform(l.content) // between variables
	}
	return false
}

// emptyRoom reports whether bytes are erased, or a pad file of erased bytes as
// the tools write it: its header holds nothing but its length.
func emptyRoom(b []byte) bool {
	if len(b) > ffs.FileHeader && ffs.FileType(b[18]) == ffs.Pad && allAre(b[:16], 0xff) {
		b = b[ffs.FileHeader:]
	}
	return uniform(b)
}

// declaredInside lists what a manifest declares of the inside of an opened
// leaf: the files of nested volumes and everything beside them that is not
// empty. Sections of a file belong to it. Of a range that is written to in
// operation it is what may not change there.
func (l Leaf) declaredInside() []Leaf {
	if !l.holdsFiles() || l.Kind == Volatile && !l.mustOpen() {
		return nil
	}
	var out []Leaf
	l.eachPart(func(c Leaf) {
		if !c.Surrounds() && !c.silent() {
			out = append(out, c.declared())
		}
	})
	return out
}

// mustOpen reports whether a volatile leaf is to be compared by what is in it: a
// part of a controller's flash, or one of which a manifest declares anything.
func (l Leaf) mustOpen() bool { return l.Type == typePart || len(l.Inside) > 0 }

// declared is a leaf as a manifest has it.
func (l Leaf) declared() Leaf {
	d := Leaf{Path: l.Path, Kind: l.Kind, Offset: l.Offset, Length: l.Length, SHA256: l.SHA256, Executables: l.Executables, Type: l.Type, Name: l.Name}
	if l.Kind == Volatile {
		d.SHA256 = ""
	}
	if (l.Type == typePart || l.Type == typeVolumeFile) && l.Kind == Volatile && l.content != nil {
		d.Encoding = formatOf(l, l.content)
	}
	return d
}

// inside compares what a leaf of the image holds with what is declared of it,
// and names the modules that differ. It reports whether it found any: the bytes
// differ in any case, and when nothing inside explains that, the leaf does.
func (k *comparer) inside(want, l Leaf) bool {
	if len(want.Inside) == 0 {
		return false
	}
	opened := k.open(l)
	if !opened.holdsFiles() {
		return false
	}
	return k.parts(want, opened)
}

// open opens one leaf of the image; what kept it closed is told too.
func (k *comparer) open(l Leaf) Leaf {
	i := slices.IndexFunc(k.got.Leaves, func(o Leaf) bool { return o.Path == l.Path })
	k.opened = append(k.opened, l.Offset)
	return k.got.Parts()[i]
}

// parts compares the parts in an opened leaf both ways.
func (k *comparer) parts(want, l Leaf) bool {
	declared := map[string]Leaf{}
	for _, w := range want.Inside {
		declared[w.Path] = w
	}
	before, known := len(k.found), versionsOf(want.Inside)
	seen := map[string]bool{}
	var later, streams []func() // what only follows from another difference, unless there is none
	l.eachPart(func(c Leaf) {
		seen[c.Path] = true
		w, ok := declared[c.Path]
		var f func()
		switch {
		case ok && strings.EqualFold(w.SHA256, c.SHA256) && w.Length == c.Length, ok && w.Kind == Volatile && c.Kind == Volatile && sameExecutables(w, c) && k.closed(w, c), known.known(c):
			return
		case ok:
			if w.Name != "" {
				c.Name = w.Name // the image may call itself anything
			}
			f = func() {
				k.reportInside(worse(w, c), c.Path, leafValue(w), "sha256:"+c.SHA256, fmt.Sprintf("%s has other bytes than declared", describe(c)), c, l)
			}
		case !c.Surrounds() && !c.silent():
			f = func() {
				k.coverage.Unexpected++
				k.reportInside(codeFor(c.Kind), c.Path, "nothing", "sha256:"+c.SHA256, fmt.Sprintf("the image has a %s that the manifest does not declare", describe(c)), c, l)
			}
		default:
			return
		}
		switch in := path.Dir(c.Path) + "/"; c.Type {
		case typeListing:
			later = append(later, k.unlessFound(in, before, f))
		case typeArchive:
			streams = append(streams, k.unlessFound(in, before, f))
		default:
			f()
		}
	})
	k.missing(want, l, seen, false)
	for _, f := range append(later, streams...) {
		f()
	}
	return len(k.found) > before
}

// missing reports declared parts that were not seen. A file in a range that is
// written to may be removed, and all of a range may be erased: that is a reset
// to defaults, which are in ranges that are compared. A variable of the boot
// loader that is run may not: where there are variables the defaults do not count.
func (k *comparer) missing(want, l Leaf, seen map[string]bool, erased bool) {
	for _, w := range want.Inside {
		if !seen[w.Path] && !w.Surrounds() && w.Type != typePersistent && w.Type != SupersededType && !w.follows() && !(erased && w.Type == VariableType) {
			k.reportInside(codeFor(w.Kind), w.Path, leafValue(w), "missing", fmt.Sprintf("the image has no %s at this place of its structure", describe(w)), w, l)
		}
	}
}

// unlessFound makes a report wait for what else is found below a path.
func (k *comparer) unlessFound(prefix string, before int, f func()) func() {
	prefix = "firmware:" + k.got.Name + "/" + prefix
	return func() {
		if !slices.ContainsFunc(k.found[before:], func(o finding.Finding) bool { return strings.HasPrefix(o.Subject, prefix) }) {
			f()
		}
	}
}

// written compares what may not change in a range that is written to in
// operation. What cannot be opened is where an implant would be: a program without
// decoders for it says that it did not look, one with them that nothing of what
// was declared is there.
func (k *comparer) written(want, l Leaf) {
	if !want.mustOpen() && !l.mustOpen() {
		return
	}
	decodes := slices.ContainsFunc(k.got.decoders, func(d Decoder) bool { return d.Begins != nil })
	opened := l
	if decodes {
		opened = k.open(l)
	}
	format := formatOf(opened, k.got.bytes(l))
	switch {
	case decodes && format != "" && format != formatErased && understood(want, l, format), l.Type != typePart && opened.holdsFiles():
		k.parts(want, opened)
		return
	case format == formatErased:
		k.missing(want, l, nil, true)
		return
	case decodes && (want.Encoding != "" || len(want.Inside) > 0):
		k.report(finding.ForeignBytes, l.Path, cmp.Or(want.Encoding, "what was declared"), cmp.Or(format, "bytes that cannot be read"),
			"a range that the firmware writes to holds something else than it did; accounts, keys and programs there cannot be compared", l.Offset, l.Length)
		f := &k.found[len(k.found)-1]
		f.Severity = finding.High // what was not seen may be honest
		k.persistent = append(k.persistent, f.Subject)
	}
	k.coverage.Unopened++
	reason := "what is in it is not understood; accounts, keys and programs there were not compared"
	if !decodes {
		reason = "this program has no decoders for what is in it; accounts, keys and programs there were not compared"
	}
	k.notChecked = append(k.notChecked, NotChecked{What: "firmware:" + k.got.Name + "/" + l.Path, Reason: reason})
}

// closed reports whether a volume may stay unopened. One that was erased when it
// was declared may not hold what nobody can read.
func (k *comparer) closed(want, l Leaf) bool {
	if l.Type != typeVolumeFile || formatOf(l, l.content) == formatErased {
		return true
	}
	k.coverage.Unopened++
	return want.Encoding != formatErased
}

// formatErased is the format of a range in which nothing was written.
const formatErased = "erased"

// formatOf is what a range that is written to holds: the name of the decoder
// that opened it, or "" when none did.
func formatOf(l Leaf, b []byte) string {
	if uniform(b) {
		return formatErased
	}
	if l.archive != nil {
		return l.Encoding
	}
	found := ""
	for _, c := range l.Inside {
		switch f := formatOf(c, c.content); {
		case f != "" && f != formatErased:
			return f
		case f == formatErased && c.Type == typePart: // behind the header of a module
			found = f
		}
	}
	return found
}

// understood reports whether a range holds what was declared of it, or what is
// written first to one that was erased.
func understood(want, l Leaf, format string) bool {
	switch {
	case want.Encoding != "" && want.Encoding != formatErased:
		return want.Encoding == format
	case strings.HasPrefix(last(l.Path), "env"):
		return format == "environment"
	}
	return format != "environment" && format != "tar" || l.Type != typePart
}

func sameExecutables(want, got Leaf) bool {
	return !slices.ContainsFunc(got.Executables, func(sum string) bool { return !slices.Contains(want.Executables, sum) })
}

// reportInside reports a difference inside of the leaf outer, whose bytes are
// the evidence.
func (k *comparer) reportInside(code finding.Code, path, want, got, why string, l, outer Leaf) {
	if l.Kind != Code && l.content != nil {
		if at, n := nextExecutable(l.content); n > 0 {
			why += fmt.Sprintf(", with an executable image at its offset 0x%x", at)
		}
	}
	k.report(code, path, want, got, why+"; it is inside of "+describe(outer), outer.Offset, outer.Length)
	if l.Type == typePersistent || l.Type == SupersededType || l.Type == VariableType {
		k.persistent = append(k.persistent, k.found[len(k.found)-1].Subject)
	}
}

func worse(a, b Leaf) finding.Code {
	if b.Kind == Code {
		return codeFor(Code)
	}
	return codeFor(a.Kind)
}

// describe says what a leaf is: its type, its name and what it is called after.
func describe(l Leaf) string {
	what := l.Type
	if what == "" {
		what = string(l.Kind)
	}
	if l.Name != "" {
		what += " " + l.Name
	}
	return what + " (" + last(l.Path) + ")"
}

func last(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
