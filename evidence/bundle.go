// Package evidence opens an evidence bundle: a tree of raw artefacts, as a
// directory or as the same tree in one zip file.
//
// It proves that the tree keeps the limits and naming rules of the format and
// it computes the digest that the TPM signs. It proves nothing about what the
// artefacts say, and an unsealed tree is only what some tool wrote down.
package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
)

// Format is the format name in evidence.json.
const Format = "assay.evidence/v1"

// SecondPass is the folder of what a second reading gave differently: the same
// paths below it.
const SecondPass = "pass2/"

// IndexName is the path of the index inside a bundle.
const IndexName = "evidence.json"

// Status says what became of an artefact that the collector looked for.
type Status string

// The statuses. Only a collected artefact has bytes; the others say why not.
const (
	Collected Status = "collected"
	Absent    Status = "absent"
	Denied    Status = "denied"
	Failed    Status = "failed"
	TimedOut  Status = "timeout"
)

// Artifact is one entry of the bundle.
type Artifact struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	Status Status `json:"status"`
	Reason string `json:"reason,omitempty"`
}

// Index is evidence.json: who collected what, when and how.
type Index struct {
	Format      string     `json:"format"`
	Collector   Collector  `json:"collector"`
	CollectedAt time.Time  `json:"collectedAt"`
	Nonce       string     `json:"nonce"`
	Machine     Machine    `json:"machine"`
	Mode        Mode       `json:"mode"`
	Artifacts   []Artifact `json:"artifacts"`
}

// Collector names the program that wrote a bundle.
type Collector struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Machine is the identity the collector copied from the firmware's tables; it
// is a label, not a proof.
type Machine struct {
	Manufacturer string `json:"manufacturer"`
	Product      string `json:"product"`
	Serial       string `json:"serial"`
	UUID         string `json:"uuid"`
}

// Mode says under which conditions the collector ran.
type Mode struct {
	Root     bool   `json:"root"`
	Virtual  string `json:"virtual"`
	Lockdown string `json:"lockdown"`
	Image    string `json:"image"`
}

// Bundle is an opened, limit-checked tree. Its contents are held in memory, or, of
// a large one that Open read, in a file that nobody else can reach, so that what was
// hashed is what every parser reads. It is safe for concurrent use.
type Bundle struct {
	mapped    []byte // of the file
	files     map[string][]byte
	artifacts []Artifact
	status    map[string]Artifact
	index     *Index
	head      []byte // of the index, canonical; of a tree without one the empty object

	// What follows from the artefacts' digests is made once, when the bundle is read.
	digest, settled [sha256.Size]byte
	differences     []finding.Finding
}

// Open reads a directory or a zip file. An error means that the tree is not
// what the format says or exceeds a limit; see LimitError and FormatError.
func Open(path string, limits Limits) (*Bundle, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	l := newLoader(path, limits)
	l.spools = canSpool
	b, err := open(path, info, l)
	if err != nil && l.spool != nil {
		l.spool.drop()
	}
	return b, err
}

// Close gives back what a large bundle takes beside memory. The bundle, and what
// was read from it, must not be used any more. A program that ends need not call it.
func (b *Bundle) Close() error {
	if len(b.mapped) == 0 {
		return nil
	}
	m := b.mapped
	b.mapped, b.files = nil, nil
	if err := unmap(m); err != nil {
		return fmt.Errorf("close evidence: %w", err)
	}
	return nil
}

func open(path string, info fs.FileInfo, l *loader) (*Bundle, error) {
	if info.IsDir() {
		return openTree(os.DirFS(path), l)
	}
	if !info.Mode().IsRegular() {
		return nil, &FormatError{File: path, Msg: "is neither a directory nor a zip file"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open evidence: %w", err)
	}
	defer f.Close()
	return openZip(f, info.Size(), l)
}

// OpenFS reads a tree from a file system; name is used in errors.
func OpenFS(fsys fs.FS, name string, limits Limits) (*Bundle, error) {
	return openTree(fsys, newLoader(name, limits))
}

// OpenZip reads a zip file held in memory; name is used in errors.
func OpenZip(b []byte, name string, limits Limits) (*Bundle, error) {
	return openZip(bytes.NewReader(b), int64(len(b)), newLoader(name, limits))
}

// FromFiles makes an unsealed bundle of files held in memory, by path; name is
// used in errors.
func FromFiles(files map[string][]byte, name string, limits Limits) (*Bundle, error) {
	l := newLoader(name, limits)
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if err := l.admit(p); err != nil {
			return nil, err
		}
		if err := l.add(p, int64(len(files[p])), -1, bytes.NewReader(files[p])); err != nil {
			return nil, err
		}
	}
	return l.bundle()
}

// Read returns the bytes of an artefact. The caller must not change them. The
// error wraps fs.ErrNotExist when the artefact was not collected.
func (b *Bundle) Read(name string) ([]byte, error) {
	data, ok := b.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "read", Path: name, Err: fs.ErrNotExist}
	}
	return data, nil
}

// Text returns an artefact as a string without surrounding white space and
// NUL bytes, the way sysfs attribute files are meant; absent gives "".
func (b *Bundle) Text(name string) string {
	return string(bytes.Trim(b.files[name], " \t\r\n\x00"))
}

// Attribute is Text of a file in a directory, for who reads many of them.
func (b *Bundle) Attribute(dir, name string) string {
	var room [160]byte
	path := append(append(append(room[:0], dir...), '/'), name...)
	return string(bytes.Trim(b.files[string(path)], " \t\r\n\x00"))
}

// Has reports whether the artefact was collected.
func (b *Bundle) Has(name string) bool {
	_, ok := b.files[name]
	return ok
}

// Glob returns the paths of collected artefacts, and of directories of them, that
// match the pattern of path.Match, sorted. A malformed pattern matches nothing.
func (b *Bundle) Glob(pattern string) []string {
	prefix := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		prefix = pattern[:i]
	}
	depth, last := strings.Count(pattern, "/"), ""
	var out []string
	for _, a := range b.under(prefix) {
		name, ok := ancestor(a.Path, depth)
		if !ok || name == last || !b.Has(a.Path) {
			continue
		}
		last = name
		if ok, err := path.Match(pattern, name); err != nil {
			return nil
		} else if ok {
			out = append(out, name)
		}
	}
	return out
}

// under lists the artefacts whose paths begin with prefix: one run of them, as
// they are sorted.
func (b *Bundle) under(prefix string) []Artifact {
	i, _ := slices.BinarySearchFunc(b.artifacts, prefix, func(a Artifact, p string) int { return strings.Compare(a.Path, p) })
	all := b.artifacts[i:]
	n := sort.Search(len(all), func(i int) bool { return !strings.HasPrefix(all[i].Path, prefix) })
	return all[:n]
}

// ancestor is the front of a path that has depth slashes.
func ancestor(name string, depth int) (string, bool) {
	end := 0
	for ; depth >= 0; depth-- {
		n := strings.IndexByte(name[end:], '/')
		if n < 0 {
			return name, depth == 0
		}
		end += n + 1
	}
	return name[:end-1], true
}

// Dir returns the names directly under a directory, sorted and without
// repeats: the way to list devices.
func (b *Bundle) Dir(dir string) []string {
	var names []string
	below := "" // what is below the name that was added last
	all := b.under(dir + "/")
	for i := range all {
		path := all[i].Path
		if below != "" && strings.HasPrefix(path, below) || !b.Has(path) {
			continue
		}
		name, _, inside := strings.Cut(path[len(dir)+1:], "/")
		names, below = append(names, name), ""
		if inside {
			below = path[:len(dir)+1+len(name)+1]
		}
	}
	if !slices.IsSorted(names) { // "a-b/x" comes before "a/x"
		slices.Sort(names)
	}
	return slices.Compact(names)
}

// Artifacts lists every entry in path order, those that could not be collected
// included. The index itself is not an artefact. The caller must not change the list.
func (b *Bundle) Artifacts() []Artifact { return slices.Clip(b.artifacts) }

// Artifact returns the entry for a path. A path that nobody looked for is
// reported as absent, with ok false.
func (b *Bundle) Artifact(name string) (a Artifact, ok bool) {
	a, ok = b.status[name]
	if !ok {
		return Artifact{Path: name, Status: Absent, Reason: "not in the bundle"}, false
	}
	return a, true
}

// Index returns the collector's index, or nil for an unsealed tree. The caller must
// not change its list.
func (b *Bundle) Index() *Index {
	if b.index == nil {
		return nil
	}
	c := *b.index
	c.Artifacts = slices.Clip(c.Artifacts)
	return &c
}

// CollectedAt is when the collector says that it began; ok is false for an unsealed
// tree.
func (b *Bundle) CollectedAt() (at time.Time, ok bool) {
	if b.index == nil {
		return time.Time{}, false
	}
	return b.index.CollectedAt, true
}

// SHA256 returns the digest of an artefact's bytes in hex, or "".
func (b *Bundle) SHA256(name string) string { return b.status[name].SHA256 }

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
