package evidence

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// maxNameBytes bounds one entry name; the longest real one is a device path
// under /sys well below it.
const maxNameBytes = 1024

// loader gathers entries under the limits, whatever they come from.
type loader struct {
	source string
	limits Limits
	files  map[string][]byte
	folded map[string]string // case-folded name to name
	total  int64
	seen   int

	// Beyond inMemory, what Open reads goes to a spool, made when it is first needed.
	spools  bool
	spool   *spool
	spooled map[string]span
	kept    int64
}

// roomError says that what a large bundle needs beside memory cannot be had.
type roomError struct{ err error }

func (e *roomError) Error() string {
	return fmt.Sprintf("room for a large bundle in %s: %v; TMPDIR names another directory", os.TempDir(), e.err)
}
func (e *roomError) Unwrap() error { return e.err }

// span is a place in a spool.
type span struct{ at, length int64 }

// inMemory is how much of a bundle's contents is kept in memory.
const inMemory = 16 << 20

func newLoader(source string, limits Limits) *loader {
	return &loader{source: source, limits: limits.orDefault(), files: map[string][]byte{}, folded: map[string]string{}}
}

// folded is a name as file systems compare it that ignore case: of the letters
// that are one letter, the least (Unicode simple case folding).
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			least = min(least, o)
		}
		return least
	}, name)
}

func (l *loader) where(name string) string { return l.source + ": " + fmt.Sprintf("%q", name) }

// admit checks a name and counts it. Directories count too: a zip of a hundred
// thousand empty directories is as much of a bomb as one of files.
func (l *loader) admit(name string) error {
	l.seen++
	if l.seen > l.limits.Entries {
		return &LimitError{File: l.source, Offset: -1, Limit: "entries", Max: int64(l.limits.Entries)}
	}
	if len(name) > maxNameBytes {
		return &LimitError{File: l.where(name[:64] + "..."), Offset: -1, Limit: "bytes in an entry name", Max: maxNameBytes}
	}
	if !utf8.ValidString(name) || strings.ContainsAny(name, "\\\x00\n\r") || !fs.ValidPath(name) || path.Clean(name) != name {
		return &FormatError{File: l.where(name), Msg: "entry name is not a clean relative UTF-8 path"}
	}
	return nil
}

// add reads one file's bytes. declared is the size the container claims, -1
// when it claims none; a claim that is not met means a container whose parts
// disagree, and such a bundle is refused.
func (l *loader) add(name string, declared, compressed int64, r io.Reader) error {
	if err := l.unique(name); err != nil {
		return err
	}
	if declared > l.limits.ArtifactBytes {
		return &LimitError{File: l.where(name), Offset: -1, Limit: "bytes in one artefact", Max: l.limits.ArtifactBytes}
	}
	allowed := min(l.limits.ArtifactBytes, l.limits.BundleBytes-l.total)
	if compressed >= 0 {
		allowed = min(allowed, max(smallEntry, compressed*l.limits.Expansion))
	}
	n, err := l.contents(name, io.LimitReader(r, allowed+1), min(declared, allowed))
	if _, room := errors.AsType[*roomError](err); room {
		return err // nothing is wrong with the bundle
	}
	if err != nil {
		return &FormatError{File: l.where(name), Offset: n, Msg: "cannot read entry", Err: err}
	}
	if n > allowed {
		return l.overrun(name, n, compressed)
	}
	if declared >= 0 && n != declared {
		return &FormatError{File: l.where(name), Offset: n, Msg: fmt.Sprintf("entry declares %d bytes and holds %d", declared, n)}
	}
	l.total += n
	return nil
}

// contents reads an entry to its end and keeps it, in memory or in the spool.
func (l *loader) contents(name string, r io.Reader, claimed int64) (int64, error) {
	room := inMemory - l.kept
	if !l.spools || claimed >= 0 && claimed <= room {
		data, err := readAll(r, claimed)
		l.files[name], l.kept = data, l.kept+int64(len(data))
		return int64(len(data)), err
	}
	if claimed > room {
		room = 0
	}
	room = min(room, 1<<20) // of what does not say how large it is
	head, err := readAll(io.LimitReader(r, max(0, room)), room)
	if err != nil {
		return int64(len(head)), err
	}
	if int64(len(head)) < room {
		l.files[name], l.kept = head, l.kept+int64(len(head))
		return int64(len(head)), nil
	}
	if l.spool == nil {
		if l.spool, err = newSpool(); err != nil { // memory has to do
			l.spools, l.spool = false, nil
			return l.contents(name, io.MultiReader(bytes.NewReader(head), r), claimed)
		}
		l.spooled = map[string]span{}
	}
	s := span{at: l.spool.size}
	s.length, err = l.spool.take(head, r)
	l.files[name], l.spooled[name] = nil, s
	return s.length, err
}

// unspool puts what the spool holds in its place.
func (l *loader) unspool() (mapped []byte, err error) {
	if l.spool == nil {
		return nil, nil
	}
	if mapped, err = l.spool.mapped(); err != nil {
		return nil, err
	}
	for name, s := range l.spooled {
		l.files[name] = mapped[s.at : s.at+s.length : s.at+s.length]
	}
	return mapped, nil
}

// readAll reads to the end. claimed is how much there should be, -1 when that is not
// known; memory for more than maxClaim is taken only as it comes.
func readAll(r io.Reader, claimed int64) ([]byte, error) {
	const maxClaim = 1 << 20
	b := make([]byte, min(max(0, claimed), maxClaim)+1) // one more, to see the end
	n, err := io.ReadFull(r, b)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return b[:n], nil
	case err != nil:
		return b[:n], err
	}
	rest, err := io.ReadAll(r)
	return append(b, rest...), err
}

// unique claims a name; two that differ in case only are refused.
func (l *loader) unique(name string) error {
	key := l.key(name)
	if other, dup := l.folded[key]; dup {
		return &FormatError{File: l.where(name), Msg: fmt.Sprintf("entry name repeats %q when case is ignored", other)}
	}
	l.folded[key] = name
	return nil
}

func (l *loader) key(name string) string {
	if strings.IndexFunc(name, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return strings.ToUpper(name) // the least letter of each; ASCII is in normal form
	}
	return folded(norm.NFC.String(name))
}

// store takes over bytes that are already in memory.
func (l *loader) store(name string, data []byte) error {
	if n := int64(len(data)); n > min(l.limits.ArtifactBytes, l.limits.BundleBytes-l.total) {
		return l.overrun(name, n, -1)
	}
	if err := l.unique(name); err != nil {
		return err
	}
	l.total += int64(len(data))
	l.files[name] = data
	return nil
}

// overrun names the limit that stopped the read.
func (l *loader) overrun(name string, n, compressed int64) error {
	e := &LimitError{File: l.where(name), Offset: n - 1, Limit: "bytes in one artefact", Max: l.limits.ArtifactBytes}
	switch {
	case n > l.limits.ArtifactBytes:
	case n > l.limits.BundleBytes-l.total:
		e.Limit, e.Max = "bytes in the bundle", l.limits.BundleBytes
	case compressed >= 0:
		e.Limit, e.Max = "times expansion of a zip entry", l.limits.Expansion
	}
	return e
}

func openTree(fsys fs.FS, l *loader) (*Bundle, error) {
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%s: %w", l.where(p), err)
		}
		if p == "." {
			return nil
		}
		if err := l.admit(p); err != nil {
			return err
		}
		if d.IsDir() {
			return nil
		}
		if !d.Type().IsRegular() {
			return &FormatError{File: l.where(p), Msg: "is a link or special file; a bundle holds plain files only"}
		}
		f, err := fsys.Open(p)
		if err != nil {
			return fmt.Errorf("%s: %w", l.where(p), err)
		}
		defer f.Close()
		return l.add(p, -1, -1, f)
	})
	if err != nil {
		return nil, err
	}
	return l.bundle()
}

func openZip(r io.ReaderAt, size int64, l *loader) (*Bundle, error) {
	zr, err := zip.NewReader(r, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, &FormatError{File: l.source, Msg: "is not a zip file", Err: err}
	}
	if len(zr.File) > l.limits.Entries {
		return nil, &LimitError{File: l.source, Offset: -1, Limit: "entries", Max: int64(l.limits.Entries)}
	}
	for _, f := range zr.File {
		if err := l.addZipEntry(f); err != nil {
			return nil, err
		}
	}
	return l.bundle()
}

func (l *loader) addZipEntry(f *zip.File) error {
	dir := strings.HasSuffix(f.Name, "/")
	if err := l.admit(strings.TrimSuffix(f.Name, "/")); err != nil {
		return err
	}
	mode := f.Mode()
	if dir != mode.IsDir() || (!dir && !mode.IsRegular()) {
		return &FormatError{File: l.where(f.Name), Msg: "is a link or special file; a bundle holds plain files only"}
	}
	if f.Flags&1 != 0 {
		return &FormatError{File: l.where(f.Name), Msg: "is encrypted"}
	}
	if f.UncompressedSize64 > 1<<62 || f.CompressedSize64 > 1<<62/uint64(l.limits.Expansion) {
		return &FormatError{File: l.where(f.Name), Msg: "declares an impossible size"}
	}
	if dir {
		if f.UncompressedSize64 != 0 {
			return &FormatError{File: l.where(f.Name), Msg: "is a directory with contents"}
		}
		return nil
	}
	r, err := f.Open()
	if err != nil {
		return &FormatError{File: l.where(f.Name), Msg: "cannot open entry", Err: err}
	}
	defer r.Close()
	return l.add(f.Name, int64(f.UncompressedSize64), int64(f.CompressedSize64), r)
}

// bundle turns what was gathered into a Bundle: the index is read and held
// against the files.
func (l *loader) bundle() (*Bundle, error) {
	mapped, err := l.unspool()
	if err != nil {
		return nil, err
	}
	b, err := l.read()
	if err != nil {
		return nil, errors.Join(err, (&Bundle{mapped: mapped}).Close())
	}
	b.mapped = mapped
	return b, nil
}

func (l *loader) read() (*Bundle, error) {
	b := &Bundle{files: l.files, status: make(map[string]Artifact, len(l.files)), head: []byte("{}")}
	if raw, ok := l.files[IndexName]; ok {
		ix, err := parseIndex(raw, l.source, l.limits)
		if err != nil {
			return nil, err
		}
		if b.head, err = canonicalHead(raw); err != nil {
			return nil, &FormatError{File: l.source + ": " + IndexName, Msg: "has no canonical form, so that no seal could cover it", Err: err}
		}
		b.index = ix
		for _, a := range ix.Artifacts {
			b.status[a.Path] = a
		}
	}
	if len(l.files) == 0 {
		return nil, &FormatError{File: l.source, Msg: "holds no artefacts"}
	}
	for name, data := range l.files {
		if name == IndexName {
			continue
		}
		a := b.status[name]
		a.Path, a.Status, a.SHA256, a.Size = name, Collected, hashOf(data), int64(len(data))
		b.status[name] = a
	}
	b.artifacts = make([]Artifact, 0, len(b.status))
	for _, p := range slices.Sorted(maps.Keys(b.status)) {
		b.artifacts = append(b.artifacts, b.status[p])
	}
	b.digest, b.settled, b.differences = b.seal(), b.settle(), b.check()
	return b, nil
}
