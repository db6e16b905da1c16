package unpack

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // a digest that metadata gives
	"crypto/sha1" //nolint:gosec // the same
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/cab"
	"github.com/assay-hw/assay/internal/jcat"
	"github.com/assay-hw/assay/internal/metainfo"
)

const (
	typeMember    = "file"
	typeFacts     = "listing"
	typeSignature = "signature"
)

func cabinets() firmware.Decoder {
	return firmware.Decoder{Name: "cabinet", Begins: cab.Begins, Open: openCabinet}
}

func openCabinet(b []byte, limit int) (firmware.Archive, error) {
	c, err := cab.Open(b, limit)
	if err != nil {
		return firmware.Archive{}, bounded(err, errors.Is(err, cab.ErrLimit))
	}
	a := firmware.Archive{Used: c.Size}
	for _, f := range c.Files {
		a.Files = append(a.Files, file(f.Name, f.Data))
	}
	for _, p := range c.Problems {
		n := firmware.Note{Code: finding.InputMalformed, Path: clean(p.Where), Want: "a cabinet that holds", Got: "another", Why: "the cabinet cannot be read completely: " + p.Why}
		switch p.What {
		case cab.Unsupported:
			n.Code, n.Want, n.Got = finding.BytesNotUnderstood, "a known compression", "another"
		case cab.Contradicted:
			n.Code, n.Want = finding.ParsersDisagree, "files side by side"
		}
		a.Notes = append(a.Notes, n)
	}
	vouch(&a)
	return a, nil
}

// bounded makes an error one of the opener's limit where it is that.
func bounded(err error, limit bool) error {
	if limit {
		return fmt.Errorf("%w: %w", firmware.ErrLimit, err)
	}
	return err
}

// clean is a name from an archive as a path inside of it.
func clean(name string) string {
	p := strings.TrimPrefix(path.Clean("/"+strings.ReplaceAll(name, `\`, "/")), "/")
	return p[:min(len(p), 200)]
}

// file is a file of an archive that is to be opened further, or that says
// something of the others.
func file(name string, data []byte) firmware.File {
	f := firmware.File{Path: clean(name), Kind: firmware.Unknown, Type: typeMember, Content: data}
	if f.Path == "" {
		f.Path = "unnamed"
	}
	switch ext := path.Ext(f.Path); {
	case ext == ".xml" || ext == ".txt" || ext == ".ini" || ext == ".inf" || ext == ".cat":
		f.Kind = firmware.Data
	case ext == ".jcat" || ext == ".asc" || ext == ".p7b" || ext == ".p7c" || ext == ".sig":
		f.Kind, f.Type, f.Name = firmware.Data, typeSignature, "not checked"
	}
	return f
}

// vouch holds the files of a cabinet against what others in it say of them: the
// checksums of metainfo, the digests of a catalogue. Both are as good as the
// cabinet; they show that it was put together as its maker meant.
func vouch(a *firmware.Archive) {
	var facts []firmware.File
	l := newLedger(a.Files)
	for i := range a.Files {
		f := &a.Files[i]
		switch {
		case strings.HasSuffix(f.Path, ".metainfo.xml"):
			c, err := metainfo.Parse(f.Content)
			if err != nil {
				a.Notes = append(a.Notes, firmware.Note{Code: finding.InputMalformed, Path: f.Path, Want: "metainfo of firmware", Got: "malformed", Why: "the cabinet's description cannot be read: " + err.Error()})
				continue
			}
			f.Name = summary(c)
			text := factsOf(c)
			facts = append(facts, firmware.File{Path: f.Path + "/facts", Kind: firmware.Header, Type: typeFacts, Name: c.ID, Content: text})
			a.Notes = append(a.Notes, checksums(l, f.Path, c)...)
		case path.Ext(f.Path) == ".jcat":
			items, err := jcat.Parse(f.Content)
			if err != nil {
				a.Notes = append(a.Notes, firmware.Note{Code: finding.InputMalformed, Path: f.Path, Want: "a catalogue of digests and signatures", Got: "malformed", Why: "the catalogue cannot be read: " + err.Error()})
				continue
			}
			signed, notes := catalogue(l, f.Path, items)
			f.Name = fmt.Sprintf("%d signatures, not checked", len(signed))
			facts, a.Notes = append(facts, signed...), append(a.Notes, notes...)
		}
	}
	a.Files = append(a.Files, facts...)
}

// summary is what a component is, in a line.
func summary(c metainfo.Component) string {
	s := c.ID
	if len(c.Releases) > 0 {
		s += " " + c.Releases[0].Version
	}
	if len(c.Provides) > 0 {
		s += " for " + strings.Join(c.Provides[:min(len(c.Provides), 4)], ", ")
	}
	if n := len(c.Provides) - 4; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

func factsOf(c metainfo.Component) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "component %s\nname %s\n", c.ID, c.Name)
	for _, g := range c.Provides {
		fmt.Fprintf(&b, "provides %s\n", g)
	}
	for _, q := range c.Requirements {
		fmt.Fprintf(&b, "requires %s\n", q)
	}
	for _, r := range c.Releases {
		fmt.Fprintf(&b, "release %s %s %s\n", r.Version, r.Timestamp, r.Urgency)
		for _, s := range r.Checksums {
			fmt.Fprintf(&b, "  %s %s:%s %s\n", s.Target, s.Type, s.Value, s.Filename)
		}
	}
	return b.Bytes()
}

// digestOf is a digest by its name, "" for one that is not known.
func digestOf(kind string, b []byte) string {
	switch kind {
	case "md5":
		s := md5.Sum(b) //nolint:gosec // a digest that metadata gives
		return hex.EncodeToString(s[:])
	case "sha1":
		s := sha1.Sum(b) //nolint:gosec // the same
		return hex.EncodeToString(s[:])
	case "sha256":
		s := sha256.Sum256(b)
		return hex.EncodeToString(s[:])
	case "sha384":
		s := sha512.Sum384(b)
		return hex.EncodeToString(s[:])
	case "sha512":
		s := sha512.Sum512(b)
		return hex.EncodeToString(s[:])
	}
	return ""
}

// ledger holds what was computed of the files of one archive: all that vouches
// for them shares what may be hashed.
type ledger struct {
	files        []firmware.File
	byPath, base map[string]int
	sums         map[string]string // by file and digest
	left         int
	told         bool
}

func newLedger(files []firmware.File) *ledger {
	l := &ledger{files: slices.Clone(files), byPath: map[string]int{}, base: map[string]int{}, sums: map[string]string{}, left: mostHashed}
	for i := len(files) - 1; i >= 0; i-- { // the first of a name counts
		l.byPath[files[i].Path], l.base[path.Base(files[i].Path)] = i, i
	}
	return l
}

// named finds the file that metadata means: by its path, or its last element.
func (l *ledger) named(name string) *firmware.File {
	name = clean(name)
	i, ok := l.byPath[name]
	if !ok {
		if i, ok = l.base[path.Base(name)]; !ok {
			return nil
		}
	}
	return &l.files[i]
}

// mostHashed bounds the bytes that one archive's metadata may have hashed: each
// digest that it gives goes over a whole file.
const mostHashed = 256 << 20

// digest computes a digest of a file once, and says when the budget is at its
// end; the digest is "" then, or when it is not known.
func (l *ledger) digest(kind string, f *firmware.File, at string) (string, []firmware.Note) {
	key := kind + " " + f.Path
	if sum, ok := l.sums[key]; ok {
		return sum, nil
	}
	if l.left -= len(f.Content); l.left < 0 {
		if l.told {
			return "", nil
		}
		l.told = true
		return "", []firmware.Note{{Code: finding.InputLimit, Path: at, Want: fmt.Sprintf("at most %d bytes to hash", mostHashed), Got: "more", Why: "the cabinet gives more digests than any honest one; the rest was not checked"}}
	}
	sum := digestOf(kind, f.Content)
	l.sums[key] = sum
	return sum, nil
}

// checksums holds the checksums of contents against the files. The first
// release that names a file is the one in the cabinet: older ones are told for
// their history.
func checksums(l *ledger, at string, c metainfo.Component) []firmware.Note {
	const usual = "firmware.bin" // what fwupd takes when no file is named
	var out []firmware.Note
	seen := map[string]string{}
	for _, r := range c.Releases {
		for _, s := range r.Checksums {
			name := s.Filename
			if name == "" {
				name = usual
			}
			f := l.named(name)
			if s.Target != "content" || f == nil || seen[f.Path] != "" && seen[f.Path] != r.Version {
				continue
			}
			seen[f.Path] = r.Version
			got, notes := l.digest(s.Type, f, at)
			out = append(out, notes...)
			if got != "" && got != s.Value {
				out = append(out, disagrees(f.Path, s.Type, s.Value, got, at))
			}
		}
	}
	if len(seen) == 0 && len(c.Releases) > 0 {
		out = append(out, firmware.Note{Code: finding.BytesNotUnderstood, Path: at, Want: "checksums of the contents", Got: "none", Why: "the cabinet's description has no checksum for a file in it"})
	}
	return out
}

func disagrees(file, kind, want, got, at string) firmware.Note {
	return firmware.Note{
		Code: finding.VendorSignatureInvalid, Path: file, Want: kind + ":" + want, Got: kind + ":" + got,
		Why: "the file is not the one that " + at + " in the same cabinet vouches for",
	}
}

// catalogue holds the digests of a catalogue against the files, and lists what
// signs them.
func catalogue(l *ledger, at string, items []jcat.Item) (signed []firmware.File, notes []firmware.Note) {
	for _, i := range items {
		f := l.named(i.ID)
		if f == nil {
			notes = append(notes, firmware.Note{Code: finding.InputMalformed, Path: at, Want: "items for files of the cabinet", Got: clean(i.ID), Why: "the catalogue vouches for a file that is not in the cabinet"})
			continue
		}
		for _, c := range i.Blobs {
			if !c.Kind.Digest() {
				name := c.Kind.String() + " over " + f.Path
				if c.Target != 0 {
					name = fmt.Sprintf("%s over the %s of %s", c.Kind, c.Target, f.Path)
				}
				signed = append(signed, firmware.File{Path: path.Join(at, f.Path, c.Kind.String()), Kind: firmware.Data, Type: typeSignature, Name: name + ", not checked", Content: c.Data})
				continue
			}
			got, more := l.digest(c.Kind.String(), f, at)
			notes = append(notes, more...)
			want := strings.ToLower(strings.TrimSpace(string(c.Data)))
			if got != "" && got != want {
				notes = append(notes, disagrees(f.Path, c.Kind.String(), want, got, at))
			}
		}
	}
	return signed, notes
}
