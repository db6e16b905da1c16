// Package xmldsig reads and makes XML signatures (W3C XML Signature 1.1) that
// envelop nothing and are part of what they sign: one signature, a child of the
// document element, over the whole document.
//
// It proves that a public key signed the canonical bytes in Content, and nothing
// about whose key that is. Whoever uses the document must read these bytes and
// not the file: what a signature does not cover is not in them. Everything that
// lets a document say one thing to the verifier and another to its reader is
// refused: a second signature, references to parts, transforms other than
// enveloped-signature and canonicalisation, ids that stand twice where a reference uses them.
package xmldsig

import (
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/xmltree"
)

// The reasons for which a signature is refused.
var (
	ErrUnsigned  = errors.New("no signature")
	ErrStructure = errors.New("signature refused")
	ErrAlgorithm = errors.New("algorithm not allowed")
	ErrDigest    = errors.New("digest of the signed document differs")
	ErrSignature = errors.New("signature value does not hold")
)

const (
	space        = "http://www.w3.org/2000/09/xmldsig#"
	space11      = "http://www.w3.org/2009/xmldsig11#"
	enveloped    = space + "enveloped-signature"
	exclusiveC14 = "http://www.w3.org/2001/10/xml-exc-c14n#"
	inclusiveC14 = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
	inclusive11  = "http://www.w3.org/2006/12/xml-c14n11"
)

// Bounds of a signature.
const (
	maxReferences = 4 // the document and time stamps
	maxTransforms = 4
	maxKeys       = 16 // of each kind of hint
)

// Signature is a signature whose references were checked: their digests are
// those that SignedInfo states. Verify says whether SignedInfo was signed.
type Signature struct {
	Content   []byte   // canonical form of the document without the signature
	Algorithm string   // last part of the name of the signature method
	Weak      []string // what a verifier should tell: broken hashes, forms that are not standard
	Keys      KeyInfo
	Extra     map[string][]byte // canonical form of what is signed beside the document, by id

	method     method
	signedInfo []byte
	value      []byte
}

// reader reads one document.
type reader struct {
	doc *xmltree.Document
	sig *xmltree.Node
	ids map[string][]*xmltree.Node
	out *Signature
}

// Read finds the signature of a document, checks its form and the digests of
// what it refers to.
func Read(doc *xmltree.Document) (*Signature, error) {
	r := &reader{doc: doc, ids: map[string][]*xmltree.Node{}, out: &Signature{Extra: map[string][]byte{}}}
	if err := r.find(); err != nil {
		return nil, err
	}
	parts := r.sig.Elements()
	if len(parts) < 2 || !parts[0].Is(space, "SignedInfo") || !parts[1].Is(space, "SignatureValue") {
		return nil, fmt.Errorf("%w: it does not begin with SignedInfo and SignatureValue", ErrStructure)
	}
	for i, p := range parts[2:] {
		if !p.Is(space, "Object") && (i > 0 || !p.Is(space, "KeyInfo")) {
			return nil, fmt.Errorf("%w: <%s> in a signature", ErrStructure, p.Name.Local)
		}
	}
	if err := r.signedInfo(parts[0]); err != nil {
		return nil, err
	}
	var err error
	if r.out.value, err = binary(parts[1]); err != nil {
		return nil, err
	}
	if len(parts) > 2 && parts[2].Is(space, "KeyInfo") {
		r.out.Keys, err = readKeyInfo(parts[2])
	}
	return r.out, err
}

// find looks for the one signature and collects ids.
func (r *reader) find() error {
	err := r.doc.Root.Walk(func(n *xmltree.Node) error {
		if n.Is(space, "Signature") {
			if r.sig != nil {
				return fmt.Errorf("%w: more than one signature", ErrStructure)
			}
			r.sig = n
		}
		for _, a := range n.Attrs {
			// Without a declaration any of these may be taken for an id.
			if strings.EqualFold(a.Name.Local, "id") {
				r.ids[a.Value] = append(r.ids[a.Value], n)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case r.sig == nil:
		return ErrUnsigned
	case r.sig.Parent != r.doc.Root:
		return fmt.Errorf("%w: it is not a child of the document element", ErrStructure)
	}
	return nil
}

// signedInfo checks SignedInfo: methods, then every reference.
func (r *reader) signedInfo(n *xmltree.Node) error {
	if err := onlyElements(n); err != nil {
		return err
	}
	parts := n.Elements()
	if len(parts) < 3 || !parts[0].Is(space, "CanonicalizationMethod") || !parts[1].Is(space, "SignatureMethod") {
		return fmt.Errorf("%w: SignedInfo does not begin with its methods", ErrStructure)
	}
	if len(parts) > 2+maxReferences {
		return fmt.Errorf("%w: %d references, at most %d", ErrStructure, len(parts)-2, maxReferences)
	}
	form, err := canonicalMethod(parts[0])
	if err != nil {
		return err
	}
	if r.out.method, err = signatureMethod(parts[1]); err != nil {
		return err
	}
	r.out.Algorithm = r.out.method.name
	if r.out.method.hash == crypto.SHA1 {
		r.out.weak("signature over SHA-1")
	}
	for _, p := range parts[2:] {
		if !p.Is(space, "Reference") {
			return fmt.Errorf("%w: <%s> in SignedInfo", ErrStructure, p.Name.Local)
		}
		if err := r.reference(p); err != nil {
			return err
		}
	}
	if r.out.Content == nil {
		return fmt.Errorf("%w: no reference covers the document", ErrStructure)
	}
	r.out.signedInfo, err = form.Element(n, nil)
	return err
}

func (s *Signature) weak(what string) {
	if !slices.Contains(s.Weak, what) {
		s.Weak = append(s.Weak, what)
	}
}

// onlyElements refuses what a reader might join with or cut out of the text of
// elements: comments and instructions inside of SignedInfo.
func onlyElements(n *xmltree.Node) error {
	return n.Walk(func(c *xmltree.Node) error {
		if c.Kind == xmltree.Comment || c.Kind == xmltree.Instruction {
			return fmt.Errorf("%w: offset %d: a comment or an instruction in SignedInfo", ErrStructure, c.Offset)
		}
		return nil
	})
}

// reference checks one reference: to the document, or to an object inside of
// the signature, as time stamps are.
func (r *reader) reference(n *xmltree.Node) error {
	uri, given := n.Attr("", "URI")
	if !given {
		return fmt.Errorf("%w: a reference without URI", ErrStructure)
	}
	named := r.ids[strings.TrimPrefix(uri, "#")]
	if uri != "" && len(named) > 1 {
		return fmt.Errorf("%w: the id of the reference %.80q stands twice", ErrStructure, uri)
	}
	var target *xmltree.Node
	if strings.HasPrefix(uri, "#") && len(named) == 1 {
		target = named[0]
	}
	whole := uri == "" || target == r.doc.Root
	switch {
	case whole && r.out.Content != nil:
		return fmt.Errorf("%w: more than one reference to the document", ErrStructure)
	case !whole && target == nil:
		return fmt.Errorf("%w: a reference to %.80q, which is not this document", ErrStructure, uri)
	case !whole && !r.inObject(target):
		return fmt.Errorf("%w: a reference to %.80q, a part of the document", ErrStructure, uri)
	}
	form, cut, want, h, err := r.parts(n)
	if err != nil {
		return err
	}
	if whole != cut {
		return fmt.Errorf("%w: the transform enveloped-signature belongs to the reference to the document, and to no other", ErrStructure)
	}
	form.Comments = false // references within a document leave them out (XML Signature 1.1, 4.4.3.3)
	var data []byte
	switch {
	case uri == "":
		data, err = form.Document(r.doc, r.sig)
	case whole:
		data, err = form.Element(target, r.sig)
	default:
		data, err = form.Element(target, nil)
	}
	if err != nil {
		return err
	}
	d := h.New()
	d.Write(data)
	if sum := d.Sum(nil); !slices.Equal(sum, want) {
		return fmt.Errorf("%w: reference %q states %x, it is %x", ErrDigest, uri, want, sum)
	}
	if whole {
		r.out.Content = data
	} else {
		r.out.Extra[strings.TrimPrefix(uri, "#")] = data
	}
	return nil
}

// inObject reports whether an element is in an object of the signature.
func (r *reader) inObject(n *xmltree.Node) bool {
	for ; n != nil && n.Parent != r.sig; n = n.Parent {
	}
	return n != nil && n.Is(space, "Object")
}

// parts reads what a reference consists of. The last canonicalisation counts,
// and there may be one.
func (r *reader) parts(n *xmltree.Node) (form xmltree.Method, cut bool, want []byte, h crypto.Hash, err error) {
	parts := n.Elements()
	if len(parts) > 0 && parts[0].Is(space, "Transforms") {
		if form, cut, err = transforms(parts[0]); err != nil {
			return form, cut, nil, 0, err
		}
		parts = parts[1:]
	}
	if len(parts) != 2 || !parts[0].Is(space, "DigestMethod") || !parts[1].Is(space, "DigestValue") {
		return form, cut, nil, 0, fmt.Errorf("%w: a reference without DigestMethod and DigestValue", ErrStructure)
	}
	name, _ := parts[0].Attr("", "Algorithm")
	h, ok := digestMethods[name]
	if !ok || len(parts[0].Elements()) > 0 {
		return form, cut, nil, 0, fmt.Errorf("%w: digest method %.80q", ErrAlgorithm, name)
	}
	if h == crypto.SHA1 {
		r.out.weak("digest with SHA-1")
	}
	want, err = binary(parts[1])
	return form, cut, want, h, err
}

func transforms(n *xmltree.Node) (form xmltree.Method, cut bool, err error) {
	list := n.Elements()
	if len(list) == 0 || len(list) > maxTransforms {
		return form, false, fmt.Errorf("%w: %d transforms", ErrStructure, len(list))
	}
	for i, t := range list {
		name, _ := t.Attr("", "Algorithm")
		switch {
		case !t.Is(space, "Transform"):
			return form, false, fmt.Errorf("%w: <%s> in Transforms", ErrStructure, t.Name.Local)
		case name == enveloped && i == 0 && len(t.Elements()) == 0:
			cut = true
		case i == len(list)-1:
			if form, err = canonicalMethod(t); err != nil {
				return form, false, fmt.Errorf("transform: %w", err)
			}
		default:
			return form, false, fmt.Errorf("%w: transform %.80q", ErrAlgorithm, name)
		}
	}
	return form, cut, nil
}

func canonicalMethod(n *xmltree.Node) (xmltree.Method, error) {
	name, _ := n.Attr("", "Algorithm")
	base, comments := strings.CutSuffix(name, "WithComments")
	if comments && base != exclusiveC14 {
		base, comments = strings.CutSuffix(base, "#")
	}
	m := xmltree.Method{Comments: comments}
	switch {
	case strings.HasSuffix(name, "WithComments") && !comments:
		return m, fmt.Errorf("%w: canonicalisation %.80q", ErrAlgorithm, name)
	case base == inclusiveC14:
	case base == inclusive11:
		m.Version11 = true
	case base == exclusiveC14:
		m.Exclusive = true
		return m, prefixes(n, &m)
	default:
		return m, fmt.Errorf("%w: canonicalisation %.80q", ErrAlgorithm, name)
	}
	if len(n.Elements()) > 0 {
		return m, fmt.Errorf("%w: parameters of %.80q", ErrStructure, name)
	}
	return m, nil
}

// prefixes reads the list of an exclusive canonicalisation.
func prefixes(n *xmltree.Node, m *xmltree.Method) error {
	for _, e := range n.Elements() {
		list, ok := e.Attr("", "PrefixList")
		if !e.Is(exclusiveC14, "InclusiveNamespaces") || !ok {
			return fmt.Errorf("%w: <%s> in a canonicalisation", ErrStructure, e.Name.Local)
		}
		for _, p := range strings.Fields(list) {
			if p == "#default" {
				p = ""
			}
			m.Prefixes = append(m.Prefixes, p)
		}
	}
	return nil
}

// binary reads an element in base64.
func binary(n *xmltree.Node) ([]byte, error) {
	s, err := n.Content()
	if err != nil {
		return nil, err
	}
	s = strings.Join(strings.Fields(s), "")
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || len(b) == 0 {
		return nil, fmt.Errorf("%w: offset %d: <%s> is not base64", ErrStructure, n.Offset, n.Name.Local)
	}
	return b, nil
}
