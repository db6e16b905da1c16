package evidence

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/assay-hw/assay/internal/outfile"
)

// Writer gathers what a collector read and writes it as a bundle that Open
// accepts under the same limits. It is not safe for concurrent use.
//
// The quote comes last: everything else is added first, Digest gives what the
// TPM has to sign, and the artefacts outside the seal are added after it.
type Writer struct {
	head  Index
	load  *loader
	notes map[string]Artifact
	plain bool
}

// NewWriter starts a bundle. The index's artefact list is ignored; it is made
// from what is added.
func NewWriter(head Index, limits Limits) *Writer {
	head.Format = Format
	head.CollectedAt = head.CollectedAt.UTC().Truncate(time.Second)
	head.Artifacts = nil
	m := &head.Machine
	for _, s := range []*string{&m.Manufacturer, &m.Product, &m.Serial, &m.UUID, &head.Mode.Virtual, &head.Mode.Lockdown, &head.Mode.Image} {
		*s = readable(*s)
	}
	w := &Writer{head: head, load: newLoader("evidence", limits), notes: map[string]Artifact{}}
	w.load.seen = 1 // the index is an entry too
	return w
}

// Unsealed leaves evidence.json out, for a tree that another tool captured
// and whose quote, if it has one, was made without a seal.
func (w *Writer) Unsealed() { w.plain = true }

// readable makes a text one that the strict reader of the index takes:
// machines and drivers put anything into their names.
func readable(s string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return '?'
		}
		return r
	}, s))
}

// Add stores an artefact that was read; reason may say what is special about
// it. An error means that the format cannot hold it: the name, the size or the
// number of entries is against its rules. The writer keeps data.
func (w *Writer) Add(path string, data []byte, reason string) error {
	if _, again := w.load.files[path]; again {
		w.drop(path)
	}
	if path == IndexName {
		return &FormatError{File: path, Msg: "is written by the writer"}
	}
	if err := w.admit(path); err != nil {
		return err
	}
	reason = readable(reason)
	if err := w.load.store(path, data); err != nil {
		return err
	}
	w.load.total += lineBytes(path, reason)
	w.notes[path] = Artifact{Path: path, SHA256: hashOf(data), Size: int64(len(data)), Status: Collected, Reason: reason}
	return nil
}

// Note records an artefact that was looked for and not read.
func (w *Writer) Note(path string, s Status, reason string) error {
	if s == Collected {
		return &FormatError{File: path, Msg: "a collected artefact has bytes"}
	}
	if _, read := w.load.files[path]; read {
		w.drop(path)
	}
	if path == IndexName {
		return &FormatError{File: path, Msg: "is written by the writer"}
	}
	if err := w.admit(path); err != nil {
		return err
	}
	reason = readable(reason)
	w.load.total += lineBytes(path, reason)
	w.notes[path] = Artifact{Path: path, Status: s, Reason: reason}
	return nil
}

// lineBytes bounds what an artefact adds to the index, which counts against
// the limit of the bundle as well. JSON may write one byte as six.
func lineBytes(path, reason string) int64 { return int64(256 + 6*(len(path)+len(reason))) }

// admit also refuses names that the index could not hold as they are.
func (w *Writer) admit(path string) error {
	if path != readable(path) {
		return &FormatError{File: path, Msg: "entry name has characters that the index cannot hold"}
	}
	return w.load.admit(path)
}

func (w *Writer) drop(path string) {
	w.load.total -= int64(len(w.load.files[path]))
	delete(w.load.files, path)
	delete(w.load.folded, w.load.key(path))
	delete(w.notes, path)
}

// Artifacts lists what was added and noted, in path order.
func (w *Writer) Artifacts() []Artifact {
	out := slices.Collect(maps.Values(w.notes))
	slices.SortStableFunc(out, func(x, y Artifact) int { return strings.Compare(x.Path, y.Path) })
	return out
}

// Bundle gives what was added so far as an opened bundle, the same that
// opening the written file gives.
func (w *Writer) Bundle() (*Bundle, error) {
	l := *w.load
	l.files = maps.Clone(w.load.files)
	if !w.plain {
		raw, err := w.rawIndex()
		if err != nil {
			return nil, err
		}
		l.files[IndexName] = raw
	}
	return l.bundle()
}

// Digest is D of the seal over what was added so far; what lies outside the
// seal does not change it.
func (w *Writer) Digest() ([sha256.Size]byte, error) {
	b, err := w.Bundle()
	if err != nil {
		return [sha256.Size]byte{}, err
	}
	return b.Digest(), nil
}

func (w *Writer) rawIndex() ([]byte, error) {
	ix := w.head
	ix.Artifacts = w.Artifacts()
	if ix.Artifacts == nil {
		ix.Artifacts = []Artifact{}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(ix); err != nil {
		return nil, fmt.Errorf("write %s: %w", IndexName, err)
	}
	return b.Bytes(), nil
}

// WriteZip writes the bundle as one zip file: the index first, then the
// artefacts in path order, without times, so that equal bundles are equal
// files.
func (w *Writer) WriteZip(to io.Writer) error {
	p, err := newPacker(to, w.load.limits.Expansion)
	if err != nil {
		return err
	}
	if !w.plain {
		raw, err := w.rawIndex()
		if err != nil {
			return err
		}
		if err := p.entry(IndexName, raw); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.load.files)) {
		if err := p.entry(name, w.load.files[name]); err != nil {
			return err
		}
	}
	if err := p.zip.Close(); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

// packer writes entries; one compressor does all of them, since one takes most of
// a megabyte.
type packer struct {
	zip       *zip.Writer
	deflate   *flate.Writer
	packed    bytes.Buffer
	expansion int64
}

func newPacker(to io.Writer, expansion int64) (*packer, error) {
	p := &packer{zip: zip.NewWriter(to), expansion: expansion}
	var err error
	if p.deflate, err = flate.NewWriter(&p.packed, flate.DefaultCompression); err != nil {
		return nil, fmt.Errorf("write bundle: %w", err)
	}
	return p, nil
}

// entry compresses an entry unless it would then look like a bomb: an erased flash
// chip shrinks by more than the format allows.
func (p *packer) entry(name string, data []byte) error {
	p.packed.Reset()
	p.deflate.Reset(&p.packed)
	if _, err := p.deflate.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := p.deflate.Close(); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	body := p.packed.Bytes()
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(data), UncompressedSize64: uint64(len(data)), CompressedSize64: uint64(len(body))}
	if len(body) >= len(data) || int64(len(data)) > max(smallEntry, int64(len(body))*p.expansion) {
		h.Method, h.CompressedSize64, body = zip.Store, uint64(len(data)), data
	}
	e, err := p.zip.CreateRaw(h)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if _, err := e.Write(body); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// Save writes the bundle to a file in one step: a reader sees the whole bundle
// or none. Only the owner may read it, since it names serial numbers. A link is
// followed, and a device or pipe is written to, never replaced.
func (w *Writer) Save(path string) error {
	if err := outfile.Write(path, 0o600, w.WriteZip); err != nil {
		return fmt.Errorf("save evidence %s: %w", path, err)
	}
	return nil
}
