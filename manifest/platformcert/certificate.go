package platformcert

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrMalformed is wrapped by every refusal to read.
var ErrMalformed = errors.New("malformed platform certificate")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrMalformed)
}

// Note is one thing about a certificate that a strict reader would refuse, or
// that a person should know.
type Note struct {
	Where string // "container", "holder", "attribute 2.23.133.2.19", "extension 2.5.29.17"
	What  string
}

// String is the note in one line.
func (n Note) String() string { return n.Where + ": " + n.What }

func note(where, format string, args ...any) Note {
	return Note{Where: where, What: fmt.Sprintf(format, args...)}
}

// Form is the kind of certificate that carries the statement.
type Form string

// The two forms; profiles before 2.0 know the first only.
const (
	AttributeForm Form = "attribute certificate"
	PublicKeyForm Form = "public-key certificate"
)

// Kind is what a certificate says about the one before it.
type Kind string

// A base lists all parts, a delta what changed, a rebase all parts anew. An
// attribute certificate about something else is of no kind.
const (
	NoPlatform Kind = ""
	Base       Kind = "base"
	DeltaKind  Kind = "delta"
	Rebase     Kind = "rebase"
)

// Certificate is one platform certificate, or another attribute certificate. A
// parsed one is read only: its signature is over the bytes that were read.
type Certificate struct {
	Raw  []byte // the whole DER form; nil before Sign
	Form Form
	Kind Kind

	Holder              Holder // of an attribute certificate
	Issuer              []byte // DER of the name
	Serial              *big.Int
	NotBefore, NotAfter time.Time
	Attributes          []attribute
	Extensions          []extension
	Subject, SPKI       []byte // of a public-key certificate: DER of name and key

	Platform      Platform       // what the alternative name says of the machine
	Configuration *Configuration // nil when there is none
	Profile       string         // "1.0", "1.1", "2.1": by what is used, not by what is claimed
	Previous      []Trait        // 2.1: the certificates before this one, oldest first
	Anchors       []Trait        // 2.1: other roots of trust

	tbs, sigAlg, signature []byte
	innerAlg               []byte // the algorithm identifier inside of what is signed
	verbatim               map[string][]byte
	directory              []attribute // of an attribute certificate's extension for a directory
	tail                   []byte      // fields that have no use here: unique identifiers
	notes                  []Note
}

// attribute is one attribute with its values as they stand.
type attribute struct {
	Type   string
	Values [][]byte
	raw    []byte // when it does not encode to the same bytes
}

// extension is one extension with its value as it stands.
type extension struct {
	ID       string
	Critical bool
	Value    []byte
	raw      []byte
}

// IsCertificate reports whether a file holds a platform certificate: whether
// Parse reads it and finds the platform in it.
func IsCertificate(b []byte) bool {
	c, err := Parse(b)
	return err == nil && c.Kind != NoPlatform
}

// Parse reads one certificate: DER, bare base64 or PEM of any label, behind any
// text. It accepts what issuers really write; Lint tells what that was.
func Parse(b []byte) (*Certificate, error) {
	der, notes, err := container(b)
	if err != nil {
		return nil, err
	}
	c := &Certificate{Raw: bytes.Clone(der), notes: notes, verbatim: map[string][]byte{}}
	whole := cryptobyte.String(c.Raw)
	var outer, tbs cryptobyte.String
	if !whole.ReadASN1(&outer, ctag.SEQUENCE) || !outer.ReadASN1Element(&tbs, ctag.SEQUENCE) {
		return nil, malformed("no signed part")
	}
	c.tbs = tbs
	if _, c.sigAlg, err = readAlgorithm(&outer); err != nil {
		return nil, fmt.Errorf("outer signature: %w", err)
	}
	if !outer.ReadASN1BitStringAsBytes(&c.signature) || !outer.Empty() {
		return nil, malformed("no signature")
	}
	body := inside(tbs)
	if body.PeekASN1Tag(ctx(0).Constructed()) {
		err = c.readPublicKeyForm(body)
	} else {
		err = c.readAttributeForm(body)
	}
	if err != nil {
		return nil, err
	}
	if err := c.interpret(); err != nil {
		return nil, err
	}
	c.checkForm()
	return c, nil
}

// readAttributeForm reads AttributeCertificateInfo (RFC 5755, 4.1).
func (c *Certificate) readAttributeForm(s cryptobyte.String) error {
	c.Form = AttributeForm
	version, ok := readInt(&s)
	if !ok || !version.IsInt64() || version.Int64() != 1 {
		return malformed("attribute certificate of version %v, want 1 (v2)", version)
	}
	var holder cryptobyte.String
	if !s.ReadASN1Element(&holder, ctag.SEQUENCE) {
		return malformed("no holder")
	}
	if err := c.Holder.read(holder); err != nil {
		return fmt.Errorf("holder: %w", err)
	}
	c.keep("holder", holder, c.Holder.encode())
	if err := c.readIssuer(&s); err != nil {
		return fmt.Errorf("issuer: %w", err)
	}
	var err error
	if _, c.innerAlg, err = readAlgorithm(&s); err != nil {
		return err
	}
	if err := c.readSerialAndTime(&s); err != nil {
		return err
	}
	var attributes cryptobyte.String
	if !s.ReadASN1(&attributes, ctag.SEQUENCE) {
		return malformed("no attributes")
	}
	if err := c.readAttributes(attributes); err != nil {
		return err
	}
	if s.PeekASN1Tag(ctag.BIT_STRING) {
		uid, _, ok := element(&s)
		if !ok {
			return malformed("issuer unique identifier")
		}
		c.tail = uid
	}
	if !s.Empty() {
		var list cryptobyte.String
		if !s.ReadASN1(&list, ctag.SEQUENCE) {
			return malformed("extensions are no sequence")
		}
		if err := c.readExtensions(list); err != nil {
			return err
		}
		if list.Empty() {
			c.keepNote("extensions", "an empty list")
		}
	}
	if !s.Empty() {
		return malformed("%d bytes behind the last field", len(s))
	}
	return nil
}

// readIssuer reads AttCertIssuer: a v2Form with one directory name, or the bare
// names of version 1.
func (c *Certificate) readIssuer(s *cryptobyte.String) error {
	raw, tag, ok := element(s)
	if !ok {
		return malformed("no issuer")
	}
	form := inside(raw)
	var names cryptobyte.String
	switch {
	case tag == ctag.SEQUENCE:
		names = form
		c.notes = append(c.notes, note("issuer", "the v1 form, which RFC 5755, 4.2.3, forbids"))
	case tag == ctx(0).Constructed():
		if !form.ReadASN1(&names, ctag.SEQUENCE) {
			return malformed("v2Form without issuerName")
		}
		if !form.Empty() {
			c.notes = append(c.notes, note("issuer", "more than issuerName, which RFC 5755, 4.2.3, forbids"))
		}
	default:
		return malformed("a field of tag %#x", tag)
	}
	name, err := directoryName(names)
	if err != nil {
		return err
	}
	c.Issuer = name
	c.keep("issuer", raw, encodeIssuer(name))
	return nil
}

func (c *Certificate) readSerialAndTime(s *cryptobyte.String) error {
	var err error
	if c.Form == AttributeForm {
		if err = c.readSerial(s); err != nil {
			return err
		}
	}
	var raw cryptobyte.String
	if !s.ReadASN1Element(&raw, ctag.SEQUENCE) {
		return malformed("no validity")
	}
	times := inside(raw)
	if c.NotBefore, err = readTime(&times); err != nil {
		return fmt.Errorf("notBefore: %w", err)
	}
	if c.NotAfter, err = readTime(&times); err != nil {
		return fmt.Errorf("notAfter: %w", err)
	}
	c.keep("validity", raw, c.encodeValidity())
	return nil
}

func (c *Certificate) readSerial(s *cryptobyte.String) error {
	var raw cryptobyte.String
	if !s.ReadASN1Element(&raw, ctag.INTEGER) || len(inside(raw)) == 0 || len(raw) > 64 {
		return malformed("serial number")
	}
	c.Serial = bytesInt(inside(raw))
	c.keep("serial", raw, build(func(b *cryptobyte.Builder) { b.AddASN1BigInt(c.Serial) }))
	switch {
	case c.Serial.Sign() <= 0:
		c.notes = append(c.notes, note("serial", "is not positive (RFC 5755, 4.2.5)"))
	case len(inside(raw)) > 20:
		c.notes = append(c.notes, note("serial", "is longer than 20 bytes (RFC 5755, 4.2.5)"))
	}
	return nil
}

// readAttributes reads a list of attributes; only their form is looked at here.
func (c *Certificate) readAttributes(s cryptobyte.String) error {
	for !s.Empty() {
		if len(c.Attributes) == maxAttributes {
			return malformed("more than %d attributes", maxAttributes)
		}
		var raw, set cryptobyte.String
		if !s.ReadASN1Element(&raw, ctag.SEQUENCE) {
			return malformed("attribute %d", len(c.Attributes))
		}
		body := inside(raw)
		kind, ok := readOID(&body)
		if !ok || !body.ReadASN1(&set, ctag.SET) {
			return malformed("attribute %d", len(c.Attributes))
		}
		a := attribute{Type: kind}
		for !set.Empty() {
			v, _, ok := element(&set)
			if !ok || len(a.Values) == maxValues {
				return malformed("attribute %s: value %d", kind, len(a.Values))
			}
			a.Values = append(a.Values, v)
		}
		if enc := a.encode(); !bytes.Equal(enc, raw) {
			a.raw = raw
			c.keepNote("attribute "+kind, "is not as DER has it")
		}
		c.Attributes = append(c.Attributes, a)
	}
	return nil
}

func (c *Certificate) readExtensions(s cryptobyte.String) error {
	for !s.Empty() {
		if len(c.Extensions) == maxExtensions {
			return malformed("more than %d extensions", maxExtensions)
		}
		var raw, value cryptobyte.String
		if !s.ReadASN1Element(&raw, ctag.SEQUENCE) {
			return malformed("extension %d", len(c.Extensions))
		}
		body := inside(raw)
		var x extension
		var ok bool
		if x.ID, ok = readOID(&body); !ok {
			return malformed("extension %d", len(c.Extensions))
		}
		if body.PeekASN1Tag(ctag.BOOLEAN) {
			var critical cryptobyte.String
			if !body.ReadASN1(&critical, ctag.BOOLEAN) || len(critical) != 1 {
				return malformed("extension %s", x.ID)
			}
			x.Critical = critical[0] != 0
		}
		if !body.ReadASN1(&value, ctag.OCTET_STRING) || !body.Empty() {
			return malformed("extension %s", x.ID)
		}
		x.Value = value
		if enc := x.encode(); !bytes.Equal(enc, raw) {
			x.raw = raw
			c.keepNote("extension "+x.ID, "is not as DER has it: a default that is written out")
		}
		for _, o := range c.Extensions {
			if o.ID == x.ID {
				c.notes = append(c.notes, note("extension "+x.ID, "is there twice (RFC 5280, 4.2)"))
			}
		}
		c.Extensions = append(c.Extensions, x)
	}
	return nil
}

// keep remembers the bytes of a field that would be written in another way.
func (c *Certificate) keep(field string, raw, encoded []byte) {
	if !bytes.Equal(raw, encoded) {
		c.verbatim[field] = bytes.Clone(raw)
		c.keepNote(field, "is not as DER and the profile have it; its bytes are kept")
	}
}

func (c *Certificate) keepNote(where, format string, args ...any) {
	c.notes = append(c.notes, note(where, format, args...))
}

// attribute returns the first value of an attribute, nil for none.
func (c *Certificate) attribute(kind string) []byte {
	for _, list := range [][]attribute{c.Attributes, c.directory} {
		for _, a := range list {
			if a.Type == kind && len(a.Values) > 0 {
				return a.Values[0]
			}
		}
	}
	return nil
}

// extension returns an extension, nil for none.
func (c *Certificate) extension(id string) *extension {
	for i := range c.Extensions {
		if c.Extensions[i].ID == id {
			return &c.Extensions[i]
		}
	}
	return nil
}

// PEM is the certificate as a PEM block of its form.
func (c *Certificate) PEM() []byte {
	label := pemLabels[0]
	if c.Form == PublicKeyForm {
		label = pemLabels[1]
	}
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: c.Raw})
}
