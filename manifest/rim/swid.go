package rim

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/internal/xmltree"
)

const (
	swidSpace = "http://schema.standards.iso.org/iso/19770/-2/2015/schema.xsd"
	swidShort = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd"
	nistSpace = "http://csrc.nist.gov/ns/swid/2015-extensions/1.0"
	dsigSpace = "http://www.w3.org/2000/09/xmldsig#"
	xmlSpace  = "http://www.w3.org/XML/1998/namespace"
	typeSpace = "http://www.w3.org/2001/XMLSchema-instance"
)

// rimSpaces begins the namespaces of the TCG's attributes; several are in use.
const rimSpaces = "https://trustedcomputinggroup.org/"

// maxFiles bounds the lines of a payload.
const maxFiles = 10_000

// RIM is a base, supplemental or patch RIM as read.
type RIM struct {
	Name          string
	TagID         string
	TagVersion    string
	Version       string
	VersionScheme string
	Lang          string
	Corpus        bool
	Patch         bool
	Supplemental  bool
	Entities      []Entity
	Links         []Link
	Meta          map[string]string // attributes of the TCG and of NIST, by name in lower case
	Files         []File
	Measurements  []Measurement
	Lost          []string // what of the tag has no place here, in document order

	Verdict  Verdict   // of the signature; empty when it was not looked at
	SignedAt time.Time // what a signed time stamp states

	raw      []byte
	chain    []*x509.Certificate // leaf first, then all that may stand above it
	supports []support
}

// Entity is an organisation with its roles.
type Entity struct {
	Name, RegID, Role, Thumbprint string
}

func (e Entity) hasRole(role string) bool {
	for _, r := range strings.Fields(e.Role) {
		if strings.EqualFold(r, role) {
			return true
		}
	}
	return false
}

// Link is a relation to another document.
type Link struct {
	Rel, Href string
}

// File is a support RIM.
type File struct {
	Directory string
	Name      string
	Size      int64             // -1 when the tag does not say
	Digests   map[string][]byte // by algorithm: "sha256"
	Type      string            // supportRIMType
	Format    string            // supportRIMFormat: "TCG_EventLog_Assertion"
}

func (f File) pathInName() bool { return strings.ContainsAny(f.Name, `/\`) }

// Measurement is a value in the tag itself, as tags of devices have them.
type Measurement struct {
	Index  int
	Name   string
	Active bool
	Values []string // alternatives, hexadecimal
}

// hashSpaces are the namespaces by which a tag names the algorithm of a hash.
var hashSpaces = map[string]string{
	"http://www.w3.org/2000/09/xmldsig#sha1":        "sha1",
	"http://www.w3.org/2001/04/xmlenc#sha256":       "sha256",
	"http://www.w3.org/2001/04/xmldsig-more#sha384": "sha384",
	"http://www.w3.org/2001/04/xmlenc#sha384":       "sha384",
	"http://www.w3.org/2001/04/xmlenc#sha512":       "sha512",
}

var hashes = map[string]crypto.Hash{"sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}

// readTag reads the canonical form of a tag.
func readTag(raw, content []byte) (*RIM, error) {
	doc, err := xmltree.Parse(content, xmlLimits())
	if err != nil {
		return nil, fmt.Errorf("rim: %w", err)
	}
	n := doc.Root
	if !isSWID(n, "SoftwareIdentity") {
		return nil, fmt.Errorf("%w: the document is a <%.80s>, not a SoftwareIdentity", ErrMalformed, n.Name.Local)
	}
	r := &RIM{Meta: map[string]string{}, raw: raw}
	if err := r.identity(n); err != nil {
		return nil, err
	}
	for _, e := range n.Elements() {
		switch {
		case isSWID(e, "Entity"):
			r.entity(e)
		case isSWID(e, "Link"):
			r.link(e)
		case isSWID(e, "Meta"):
			err = r.meta(e)
		case isSWID(e, "Payload"):
			err = r.payload(e, "")
		case e.Is(dsigSpace, "Signature"):
		default:
			r.lose("element <%.80s>", e.Name.Local)
		}
		if err != nil {
			return nil, err
		}
	}
	if r.TagID == "" {
		return nil, fmt.Errorf("%w: it has no tagId", ErrMalformed)
	}
	return r, nil
}

// isSWID accepts elements without a namespace too, as tools write them below
// the first one.
func isSWID(n *xmltree.Node, local string) bool {
	return n.Is(swidShort, local) || n.Is(swidSpace, local) || n.Is("", local)
}

func (r *RIM) lose(format string, args ...any) {
	r.Lost = append(r.Lost, text(fmt.Sprintf(format, args...)))
}

func (r *RIM) identity(n *xmltree.Node) error {
	for _, a := range n.Attrs {
		var err error
		switch v := text(a.Value); {
		case a.Name.Space == xmlSpace && a.Name.Local == "lang":
			r.Lang = v
		case a.Name.Space != "":
			r.lose("attribute %.80s of SoftwareIdentity", a.Name.Local)
		case a.Name.Local == "name":
			r.Name = v
		case a.Name.Local == "tagId":
			r.TagID = v
		case a.Name.Local == "tagVersion":
			r.TagVersion = v
		case a.Name.Local == "version":
			r.Version = v
		case a.Name.Local == "versionScheme":
			r.VersionScheme = v
		case a.Name.Local == "corpus":
			r.Corpus, err = boolean(v)
		case a.Name.Local == "patch":
			r.Patch, err = boolean(v)
		case a.Name.Local == "supplemental":
			r.Supplemental, err = boolean(v)
		default:
			r.lose("attribute %.80s of SoftwareIdentity", a.Name.Local)
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrMalformed, a.Name.Local, err)
		}
	}
	if r.Patch && r.Supplemental {
		return fmt.Errorf("%w: it is a patch and a supplement", ErrMalformed)
	}
	return nil
}

// boolean reads an xs:boolean, in any case as tools write it.
func boolean(s string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(s)) {
	case "true", "1":
		return true, nil
	case "false", "0", "":
		return false, nil
	}
	return false, fmt.Errorf("%.20q is neither true nor false", s)
}

func (r *RIM) entity(n *xmltree.Node) {
	var e Entity
	for _, a := range n.Attrs {
		switch v := text(a.Value); a.Name.Local {
		case "name":
			e.Name = v
		case "regid":
			e.RegID = v
		case "role":
			e.Role = v
		case "thumbprint":
			e.Thumbprint = v
		default:
			r.lose("attribute %.80s of Entity", a.Name.Local)
		}
	}
	r.Entities = append(r.Entities, e)
}

func (r *RIM) link(n *xmltree.Node) {
	var l Link
	for _, a := range n.Attrs {
		switch v := text(a.Value); a.Name.Local {
		case "rel":
			l.Rel = v
		case "href":
			l.Href = v
		default:
			r.lose("attribute %.80s of Link", a.Name.Local)
		}
	}
	r.Links = append(r.Links, l)
}

// meta collects attributes by name in lower case: both spellings of
// "BindingSpec" are in use. One name in two spellings has no meaning.
func (r *RIM) meta(n *xmltree.Node) error {
	for _, a := range n.Attrs {
		if a.Name.Space != nistSpace && !strings.HasPrefix(a.Name.Space, rimSpaces) && a.Name.Space != "" {
			r.lose("attribute %.80s of Meta", a.Name.Local)
			continue
		}
		k := strings.ToLower(a.Name.Local)
		if _, twice := r.Meta[k]; twice {
			return fmt.Errorf("%w: %q stands twice in Meta", ErrMalformed, k)
		}
		r.Meta[k] = text(a.Value)
	}
	return nil
}

// payload reads a payload or a directory in it.
func (r *RIM) payload(n *xmltree.Node, dir string) error {
	for _, e := range n.Elements() {
		var err error
		switch {
		case isSWID(e, "Directory"):
			name, _ := e.Attr("", "name")
			err = r.payload(e, strings.TrimPrefix(dir+"/"+text(name), "/"))
		case isSWID(e, "File"):
			err = r.file(e, dir)
		case isSWID(e, "Resource"):
			err = r.resource(e)
		default:
			r.lose("element <%.80s> of the payload", e.Name.Local)
		}
		if err != nil {
			return err
		}
		if len(r.Files)+len(r.Measurements) > maxFiles {
			return fmt.Errorf("%w: more than %d lines in the payload", ErrMalformed, maxFiles)
		}
	}
	return nil
}

func (r *RIM) file(n *xmltree.Node, dir string) error {
	f := File{Directory: dir, Size: -1, Digests: map[string][]byte{}}
	for _, a := range n.Attrs {
		alg, hashed := hashSpaces[a.Name.Space]
		switch {
		case hashed && a.Name.Local == "hash":
			d, err := digest(a.Value, hashes[alg].Size())
			if err != nil {
				return fmt.Errorf("%w: %s of a file: %w", ErrMalformed, alg, err)
			}
			f.Digests[alg] = d
		case a.Name.Local == "name":
			f.Name = text(a.Value)
		case a.Name.Local == "size":
			v, err := strconv.ParseInt(strings.TrimSpace(a.Value), 10, 63)
			if err != nil || v < 0 {
				return fmt.Errorf("%w: size %.40q of a file", ErrMalformed, a.Value)
			}
			f.Size = v
		case strings.EqualFold(a.Name.Local, "supportRIMType"):
			f.Type = text(a.Value)
		case strings.EqualFold(a.Name.Local, "supportRIMFormat"):
			f.Format = text(a.Value)
		case a.Name.Space == typeSpace && a.Name.Local == "type":
		default:
			r.lose("attribute %.80s of File", a.Name.Local)
		}
	}
	if f.Name == "" {
		return fmt.Errorf("%w: a file without a name", ErrMalformed)
	}
	r.Files = append(r.Files, f)
	return nil
}

// digest reads a digest in hexadecimal, or in base64 as some tools write it.
func digest(s string, size int) ([]byte, error) {
	s = strings.TrimSpace(s)
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != size {
		if b, err = base64.StdEncoding.DecodeString(s); err != nil || len(b) != size {
			return nil, fmt.Errorf("%.140q is no digest of %d bytes", s, size)
		}
	}
	return b, nil
}

// resource reads a measurement as NVIDIA's tags have it: alternatives in
// attributes Hash0, Hash1 and so on.
func (r *RIM) resource(n *xmltree.Node) error {
	kind, _ := n.Attr("", "type")
	if !strings.EqualFold(kind, "Measurement") {
		r.lose("resource of type %.80q", kind)
		return nil
	}
	m := Measurement{Index: -1, Active: true}
	byNumber := map[int]string{}
	for _, a := range n.Attrs {
		name := strings.ToLower(a.Name.Local)
		number, isHash := strings.CutPrefix(name, "hash")
		switch i, err := strconv.Atoi(number); {
		case isHash && err == nil && i >= 0 && byNumber[i] == "":
			d, err := hex.DecodeString(strings.TrimPrefix(a.Value, "0x"))
			if err != nil || len(d) == 0 || len(d) > 64 {
				return fmt.Errorf("%w: %s of a measurement is %.140q", ErrMalformed, name, a.Value)
			}
			byNumber[i] = hex.EncodeToString(d)
		case name == "index":
			if m.Index, err = strconv.Atoi(a.Value); err != nil || m.Index < 0 {
				return fmt.Errorf("%w: index %.40q of a measurement", ErrMalformed, a.Value)
			}
		case name == "name":
			m.Name = text(a.Value)
		case name == "active":
			if m.Active, err = boolean(a.Value); err != nil {
				return fmt.Errorf("%w: active: %w", ErrMalformed, err)
			}
		case name == "type", name == "size", name == "alternatives":
		default:
			r.lose("attribute %.80s of a measurement", a.Name.Local)
		}
	}
	for i := range len(byNumber) {
		if v := byNumber[i]; v != "" {
			m.Values = append(m.Values, v)
		}
	}
	if len(m.Values) != len(byNumber) {
		return fmt.Errorf("%w: the hashes of measurement %d are not numbered from 0", ErrMalformed, m.Index)
	}
	r.Measurements = append(r.Measurements, m)
	return nil
}
