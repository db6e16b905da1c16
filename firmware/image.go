// Package firmware takes flash images apart into leaves and compares them with
// the leaves that a manifest declares.
//
// It proves that every byte of an image belongs to exactly one leaf and that
// each leaf outside the declared-volatile ranges has the declared bytes; what
// measured boot never hashes (the reset vector, free space, padding) is
// compared like code. It does not prove that the image is what the machine
// runs: that is as good as the way it was read. What compressed parts hold is
// taken apart to name what differs; the compressed bytes themselves are compared
// in any case, so that nothing depends on a decoder.
package firmware

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
	"github.com/assay-hw/assay/internal/fit"
	"github.com/assay-hw/assay/internal/ifd"
	"github.com/assay-hw/assay/internal/mtd"
	"github.com/assay-hw/assay/internal/nvram"
	"github.com/assay-hw/assay/internal/strictjson"
)

// Kind says what the bytes of a leaf are for.
type Kind string

// The kinds of leaves. Only volatile bytes may change without a finding.
const (
	Code     Kind = "code"     // executed, or holds what is executed
	Data     Kind = "data"     // read by code
	Header   Kind = "header"   // volume, store and descriptor headers
	Padding  Kind = "padding"  // between other leaves
	Free     Kind = "free"     // room for more files
	Volatile Kind = "volatile" // variable stores and their work areas
	Unknown  Kind = "unknown"  // not understood, still compared
)

// Leaf is one run of bytes of an image with an identity that does not depend
// on where it lies.
type Leaf struct {
	Path        string   `json:"path"` // "VOLUME-GUID/FILE-GUID"; what has no name is named after its predecessor
	Kind        Kind     `json:"kind"`
	Offset      int64    `json:"offset"`
	Length      int64    `json:"length"`
	SHA256      string   `json:"sha256,omitempty"`      // absent in references for volatile leaves
	Executables []string `json:"executables,omitempty"` // sha256 of each executable's headers found in volatile bytes

	Type         string `json:"type,omitempty"`         // what the part is: "volume", "DXE driver", "pe32", "variable"
	Name         string `json:"name,omitempty"`         // what its maker or the specification calls it
	Authenticode string `json:"authenticode,omitempty"` // sha256 digest of a PE image as firmware computes it
	Encoding     string `json:"encoding,omitempty"`     // Inside is what the bytes expand to, not the bytes
	Expanded     int64  `json:"expanded,omitempty"`     // how many bytes that is
	Inside       []Leaf `json:"inside,omitempty"`       // parts, with offsets from this leaf's start or that of what it expands to

	content []byte
	file    *ffs.File
	section *ffs.Section
	store   nvram.Format
	area    *area
	archive *Archive // to be opened into its files
	packed  bool     // a file of an archive
	signed  []byte   // what a signature is over
	within  string   // its path in a file system that is written to
	part    *mtd.Part
	owed    bool   // its digest is made when it is needed
	program []byte // whose Authenticode digest is made when it is needed
}

// Image is one flash image as read. Leaves are in offset order and cover every
// byte exactly once.
type Image struct {
	Name       string            `json:"name"`             // "bios", "bmc"
	Artifact   string            `json:"artifact"`         // path in the evidence
	SHA256     string            `json:"sha256,omitempty"` // of all bytes
	Size       int64             `json:"size"`
	Reason     string            `json:"reason,omitempty"` // why the image cannot be compared; empty when it is complete
	Leaves     []Leaf            `json:"leaves"`
	Protection []Protection      `json:"protection,omitempty"` // locks against writing it that the evidence shows
	Findings   []finding.Finding `json:"findings,omitempty"`   // what reading found: malformed side file, limits, bytes not understood

	Progress func(done int64) `json:"-"` // told, while the image is opened, how many of its bytes are done

	readOf   string            // name of the image that this is another read of
	claimed  []finding.Finding // what the bytes say of themselves and cannot be true
	unread   []NotChecked      // what another read of the flash leaves open
	data     []byte
	names    map[string]int
	bounds   bounds
	decoders []Decoder

	opening sync.Once
	parts   []Leaf
	inside  []finding.Finding
	hashing sync.Once
	opened  []Leaf // the parts, every one with its digests
	stable  sync.Once
	sum     string // StableSHA256
}

// maxLeaves bounds one image; the largest server images have a few thousand
// files outside compressed volumes.
const maxLeaves = 1 << 16

// Read takes apart every firmware/*.rom of a bundle, in path order. Images that
// the collector could not read are returned too, with the reason.
func Read(b *evidence.Bundle, decoders ...Decoder) []*Image {
	var out []*Image
	for _, a := range b.Artifacts() {
		name, ok := strings.CutPrefix(a.Path, "firmware/")
		if !ok || path.Ext(name) != ".rom" || strings.Contains(name, "/") {
			continue
		}
		name = strings.TrimSuffix(name, ".rom")
		data, err := b.Read(a.Path)
		if err != nil {
			out = append(out, &Image{Name: name, Artifact: a.Path, Reason: notRead(a)})
			continue
		}
		m := parse(name, data, a.SHA256, decoders)
		m.Artifact = a.Path
		m.sideFile(b, strings.TrimSuffix(a.Path, ".rom")+".json")
		m.Findings = slices.DeleteFunc(m.Observed(), m.isClaim)
		out = append(out, m)
	}
	for _, m := range out {
		m.checkRereads(b, out)
	}
	return withProtection(b, out)
}

// isClaim reports whether a finding is about what the image says of itself.
// Match tells these where the image is not the declared one: a quirk of a board
// that its reference has too is no alarm on every unit.
func (m *Image) isClaim(f finding.Finding) bool {
	return slices.ContainsFunc(m.claimed, func(c finding.Finding) bool { return c.Fingerprint == f.Fingerprint })
}

// withProtection adds the locks of the host's flash. They show without the
// image too, which a locked-down kernel does not let anyone read.
func withProtection(b *evidence.Bundle, images []*Image) []*Image {
	m := imageNamed(images, hostFirmware)
	m.Protection = protections(b, m)
	if len(m.Protection) > 0 && !slices.Contains(images, m) {
		images = append(images, m)
	}
	return images
}

func notRead(a evidence.Artifact) string {
	if a.Reason == "" {
		return string(a.Status)
	}
	return string(a.Status) + ": " + a.Reason
}

// origin is firmware/<name>.json: where an image was read from.
type origin struct {
	Source   string `json:"source"`
	Offset   int64  `json:"offset"`
	Length   int64  `json:"length"`
	Complete bool   `json:"complete"`
	Of       string `json:"of"` // another read of the flash whose image has this name
}

// sideFile learns whether the read was complete. An image without a side file
// came from another tool; its size then has to speak for it.
func (m *Image) sideFile(b *evidence.Bundle, name string) {
	raw, err := b.Read(name)
	if err != nil {
		return
	}
	var o origin
	if err := strictjson.Decode(raw, &o, strictjson.AllowUnknown); err != nil {
		f := finding.New(finding.InputMalformed, "artifact:"+name)
		f.Want, f.Got = "JSON with source, offset, length, complete", "malformed"
		f.Why = "the file beside the firmware image cannot be read: " + err.Error()
		f.Basis = []finding.Basis{{Artifact: name, SHA256: b.SHA256(name), Offset: strictjson.Offset(err), Length: int64(len(raw))}}
		m.Findings = append(m.Findings, f)
		m.Reason = "whether the read was complete is not known: " + name + " is malformed"
		return
	}
	m.readOf = o.Of
	switch {
	case !o.Complete:
		m.Reason = "the read was not complete"
	case o.Length != m.Size:
		m.Reason = fmt.Sprintf("the read has %d bytes, %s says %d", m.Size, name, o.Length)
	}
}

// Parse takes one image apart. It accepts any bytes: what has no known
// structure becomes one unknown leaf. What compressed parts hold is only looked
// at when it is asked for.
func Parse(name string, data []byte, decoders ...Decoder) *Image {
	return parse(name, data, digest(data), decoders)
}

// parse is Parse of data whose digest is known.
func parse(name string, data []byte, sum string, decoders []Decoder) *Image {
	m := &Image{Name: name, Artifact: "firmware/" + name + ".rom", Size: int64(len(data)), SHA256: sum, data: data, bounds: boundsFor(len(data)), decoders: decoders}
	w := &walker{data: data, names: map[string]int{}, most: maxLeaves}
	w.image()
	m.Leaves, m.names = w.leaves, w.names
	for i := range m.Leaves {
		l := &m.Leaves[i]
		body := m.bytes(*l)
		l.SHA256 = digest(body)
		if l.Kind == Volatile {
			l.Executables = executables(body)
		}
	}
	if w.full {
		f := finding.New(finding.InputLimit, "firmware:"+name)
		f.Want, f.Got = fmt.Sprintf("at most %d leaves", maxLeaves), "more"
		f.Why = "the image has more parts than the limit; the rest was hashed as one piece"
		m.Findings = append(m.Findings, f)
	}
	for _, c := range w.claims {
		f := finding.New(c.code, "firmware:"+name+"/"+c.path)
		f.Want, f.Got, f.Why = c.want, c.got, c.why
		f.Sources = []finding.Source{finding.PartMemory}
		f.Basis = []finding.Basis{{Artifact: m.Artifact, SHA256: m.SHA256, Offset: int64(c.offset), Length: int64(c.length)}}
		m.claimed = append(m.claimed, f)
	}
	return m
}

// Bytes returns the image, which must not be changed.
func (m *Image) Bytes() []byte { return m.data }

// Variables returns the variables of the stores that edk2 keeps, in order, and
// how many such stores there are.
func (m *Image) Variables() (vars []nvram.Variable, stores int) {
	for _, l := range m.Leaves {
		if l.Type == typeVariables && (l.store == nvram.Authenticated || l.store == nvram.Simple) {
			stores++
			vars = append(vars, nvram.Parse(l.store, m.bytes(l))...)
		}
	}
	return vars, stores
}

func (m *Image) bytes(l Leaf) []byte { return m.data[l.Offset : l.Offset+l.Length] }

// Observed returns the image's findings with one more, when there are bytes
// whose structure is not known: how many were compared as a whole.
func (m *Image) Observed() []finding.Finding {
	var n, leaves int64
	first := int64(-1)
	for _, l := range m.Leaves {
		if l.Kind == Unknown {
			n, leaves = n+l.Length, leaves+1
			if first < 0 {
				first = l.Offset
			}
		}
	}
	if n == 0 {
		return slices.Concat(m.Findings, m.claimed)
	}
	f := finding.New(finding.BytesNotUnderstood, "firmware:"+m.Name)
	f.Want, f.Got = "0 bytes", fmt.Sprintf("%d bytes", n)
	f.Why = fmt.Sprintf("%d of %d bytes in %d places have no structure known here; they are compared as a whole", n, m.Size, leaves)
	f.Sources = []finding.Source{finding.PartMemory}
	f.Basis = []finding.Basis{{Artifact: m.Artifact, SHA256: m.SHA256, Offset: first, Length: n}}
	return append(slices.Concat(m.Findings, m.claimed), f)
}

// Descriptor returns the Intel flash descriptor that the image begins with.
func (m *Image) Descriptor() (ifd.Descriptor, bool) { return ifd.Parse(m.data) }

// FIT returns Intel's firmware interface table: what the processor finds before
// the reset vector. The region of the host's firmware ends at 4 GiB.
func (m *Image) FIT() (fit.Table, bool) { return fit.Parse(m.mapped()) }

// StableSHA256 is the digest of the image without its volatile ranges: SHA-256
// over every other leaf in offset order, each as its offset and length (two
// big-endian 64-bit numbers) followed by its bytes.
func (m *Image) StableSHA256() string {
	m.stable.Do(func() { m.sum = m.withoutVolatile() })
	return m.sum
}

func (m *Image) withoutVolatile() string {
	h := sha256.New()
	var at [16]byte
	for _, l := range m.Leaves {
		if l.Kind == Volatile {
			continue
		}
		binary.BigEndian.PutUint64(at[:8], uint64(l.Offset))
		binary.BigEndian.PutUint64(at[8:], uint64(l.Length))
		h.Write(at[:])
		h.Write(m.bytes(l))
	}
	return hex.EncodeToString(h.Sum(nil))
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
