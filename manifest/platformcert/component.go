package platformcert

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"
)

// Status is what a delta says about a part or a property.
type Status string

// The states of profile 1.1, 3.1.6 and 2.1; a base gives none.
const (
	Unchanged Status = ""
	Added     Status = "added"
	Modified  Status = "modified"
	Removed   Status = "removed"
)

var statuses = []Status{Added, Modified, Removed}

// Component is one part. Fields that the certificate does not have are empty;
// a profile 1.0 component has no class.
type Component struct {
	Registry    string // dotted, of the class
	Class       string // eight upper-case hexadecimal digits
	Maker       string
	Model       string
	Serial      string
	Revision    string
	PEN         string // private enterprise number of the maker, dotted
	Replaceable *bool  // by whoever uses the machine
	Addresses   []Address
	Certificate *Identifier // platform certificate of the part itself
	URI         *uri        // where to find it
	Status      Status
	PartNumber  string  // 2.1
	Location    string  // 2.1: slot or designator
	Traits      []Trait // 2.1: as they stand; what no field holds is here only

	set uint16 // tagged fields that are there, empty or not
	raw []byte // when it does not encode to the same bytes
	v11 bool   // 2.1: as one trait in the form of profile 1.1

	folds *folded
}

// Address is a network address of a part.
type Address struct {
	Kind string // dotted: 2.23.133.17.{1 Ethernet, 2 wireless, 3 Bluetooth}
	Text string
}

// uri is where more can be found, and the digest of what is there.
type uri struct {
	Text      string
	Algorithm string // of the digest, dotted
	Digest    []byte
	raw       []byte
}

// Property is a fact about the platform that the issuer gave a name.
type Property struct {
	Name, Value string
	Status      Status
	raw         []byte
}

// readComponent reads ComponentIdentifier of profile 1.0 (v 1) or 1.1 (v 2).
func readComponent(raw cryptobyte.String, v int) (Component, error) {
	var c Component
	s := inside(raw)
	if v == 1 && s.PeekASN1Tag(ctag.OCTET_STRING) {
		// Issuers followed a draft, in which a class had no registry.
		var value cryptobyte.String
		if !s.ReadASN1(&value, ctag.OCTET_STRING) || len(value) > 16 {
			return c, malformed("component class")
		}
		c.Class = strings.ToUpper(hex.EncodeToString(value))
	}
	if v >= 2 {
		var class cryptobyte.String
		if !s.ReadASN1(&class, ctag.SEQUENCE) {
			return c, malformed("component class")
		}
		var value cryptobyte.String
		var ok bool
		if c.Registry, ok = readOID(&class); !ok || !class.ReadASN1(&value, ctag.OCTET_STRING) || len(value) > 16 {
			return c, malformed("component class")
		}
		c.Class = strings.ToUpper(hex.EncodeToString(value))
	}
	var ok bool
	if c.Maker, _, ok = readText(&s); !ok {
		return c, malformed("component manufacturer")
	}
	if c.Model, _, ok = readText(&s); !ok {
		return c, malformed("component model")
	}
	for !s.Empty() {
		e, tag, ok := element(&s)
		if !ok {
			return c, malformed("a field of a component")
		}
		if err := c.readField(e, tag); err != nil {
			return c, err
		}
	}
	if !bytes.Equal(c.encode(v), raw) {
		c.raw = bytes.Clone(raw)
	}
	return c, nil
}

// readField reads one of the optional fields, which are implicitly tagged.
func (c *Component) readField(e cryptobyte.String, tag ctag.Tag) error {
	n := uint8(tag) & 0x1f
	body := inside(e)
	if tag != ctx(n) && tag != ctx(n).Constructed() || n > 7 {
		return malformed("a component's field of tag %#x", tag)
	}
	if c.set&(1<<n) != 0 {
		return malformed("a component's field [%d] is there twice", n)
	}
	c.set |= 1 << n
	switch n {
	case 0, 1:
		if len(body) > maxText {
			return malformed("a component's text of %d bytes", len(body))
		}
		*map[uint8]*string{0: &c.Serial, 1: &c.Revision}[n] = strings.ToValidUTF8(string(body), "�")
	case 2:
		o := cryptobyte.String(inTag(ctag.OBJECT_IDENTIFIER, e))
		c.PEN, _ = readOID(&o) // what is none is kept as it stands, and noted
	case 3:
		if len(body) != 1 {
			return malformed("a component's replaceable mark")
		}
		c.Replaceable = new(body[0] != 0)
	case 4:
		for !body.Empty() {
			a, err := readAddress(&body)
			if err != nil {
				return err
			}
			if c.Addresses = append(c.Addresses, a); len(c.Addresses) > maxTraits {
				return malformed("more than %d addresses", maxTraits)
			}
		}
	case 5:
		id, err := readIdentifier(e)
		if err != nil {
			return err
		}
		c.Certificate = &id
	case 6:
		u, err := readURI(e)
		if err != nil {
			return err
		}
		c.URI = u
	case 7:
		var err error
		c.Status, err = readStatus(body)
		return err
	}
	return nil
}

func readStatus(body []byte) (Status, error) {
	if len(body) != 1 || int(body[0]) >= len(statuses) {
		return "", malformed("status %x", body)
	}
	return statuses[body[0]], nil
}

func readAddress(s *cryptobyte.String) (Address, error) {
	var seq cryptobyte.String
	var a Address
	if !s.ReadASN1(&seq, ctag.SEQUENCE) {
		return a, malformed("address")
	}
	var ok bool
	if a.Kind, ok = readOID(&seq); !ok {
		return a, malformed("address type")
	}
	if a.Text, _, ok = readText(&seq); !ok {
		return a, malformed("address")
	}
	return a, nil
}

// readURI reads a URIReference, whatever its own tag.
func readURI(e cryptobyte.String) (*uri, error) {
	s := inside(e)
	u := &uri{}
	var ok bool
	if u.Text, _, ok = readText(&s); !ok {
		return nil, malformed("URI")
	}
	if !s.Empty() {
		var err error
		if u.Algorithm, _, err = readAlgorithm(&s); err != nil {
			return nil, err
		}
	}
	if !s.Empty() && !s.ReadASN1BitStringAsBytes(&u.Digest) {
		return nil, malformed("digest behind a URI")
	}
	if !bytes.Equal(u.encode(ctag.SEQUENCE), inTag(ctag.SEQUENCE, e)) {
		u.raw = bytes.Clone(e)
	}
	return u, nil
}

func (u *uri) encode(tag ctag.Tag) []byte {
	if u.raw != nil {
		return inTag(tag, u.raw)
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, tag, func(b *cryptobyte.Builder) {
			addText(b, ctag.IA5String, u.Text)
			if u.Algorithm != "" {
				under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(u.Algorithm)) })
				b.AddASN1BitString(u.Digest)
			}
		})
	})
}

// has reports whether an optional field is to be written.
func (c *Component) has(n uint8, filled bool) bool { return filled || c.set&(1<<n) != 0 }

// encode writes ComponentIdentifier; v is 1 or 2.
func (c *Component) encode(v int) []byte {
	if c.raw != nil {
		return c.raw
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			if v == 1 && c.Class != "" {
				b.AddASN1OctetString(classBytes(c.Class))
			}
			if v >= 2 {
				under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oid(c.Registry))
					b.AddASN1OctetString(classBytes(c.Class))
				})
			}
			addText(b, ctag.UTF8String, c.Maker)
			addText(b, ctag.UTF8String, c.Model)
			c.addFields(b, v)
		})
	})
}

func (c *Component) addFields(b *cryptobyte.Builder, v int) {
	if c.has(0, c.Serial != "") {
		addText(b, ctx(0), c.Serial)
	}
	if c.has(1, c.Revision != "") {
		addText(b, ctx(1), c.Revision)
	}
	if c.PEN != "" {
		addTag(b, ctx(2), build(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(c.PEN)) }))
	}
	if c.Replaceable != nil {
		under(b, ctx(3), func(b *cryptobyte.Builder) { b.AddUint8(map[bool]uint8{true: 0xff}[*c.Replaceable]) })
	}
	if c.has(4, len(c.Addresses) > 0) {
		under(b, ctx(4).Constructed(), func(b *cryptobyte.Builder) {
			for _, a := range c.Addresses {
				a.add(b)
			}
		})
	}
	if v < 2 {
		return
	}
	if c.Certificate != nil {
		b.AddBytes(c.Certificate.encode(ctx(5).Constructed()))
	}
	if c.URI != nil {
		b.AddBytes(c.URI.encode(ctx(6).Constructed()))
	}
	if c.Status != Unchanged {
		under(b, ctx(7), func(b *cryptobyte.Builder) { b.AddUint8(c.Status.number()) })
	}
}

func (a Address) add(b *cryptobyte.Builder) {
	under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid(a.Kind))
		addText(b, ctag.UTF8String, a.Text)
	})
}

func (s Status) number() uint8 {
	for i, v := range statuses {
		if v == s {
			return uint8(i)
		}
	}
	return 0
}

func classBytes(hexText string) []byte {
	b, err := hex.DecodeString(hexText)
	if err != nil {
		return nil
	}
	return b
}

func readProperty(raw cryptobyte.String) (Property, error) {
	var p Property
	s := inside(raw)
	var ok bool
	if p.Name, _, ok = readText(&s); !ok {
		return p, malformed("property name")
	}
	if p.Value, _, ok = readText(&s); !ok {
		return p, malformed("property value")
	}
	if !s.Empty() {
		var status cryptobyte.String
		var err error
		if !s.ReadASN1(&status, ctx(0)) {
			return p, malformed("property status")
		}
		if p.Status, err = readStatus(status); err != nil {
			return p, err
		}
	}
	if !bytes.Equal(p.encode(), raw) {
		p.raw = bytes.Clone(raw)
	}
	return p, nil
}

func (p Property) encode() []byte {
	if p.raw != nil {
		return p.raw
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			addText(b, ctag.UTF8String, p.Name)
			addText(b, ctag.UTF8String, p.Value)
			if p.Status != Unchanged {
				under(b, ctx(0), func(b *cryptobyte.Builder) { b.AddUint8(p.Status.number()) })
			}
		})
	})
}

// String names a part for people and for findings.
func (c *Component) String() string {
	words := []string{strings.TrimSpace(c.Maker), strings.TrimSpace(c.Model)}
	if s := strings.TrimSpace(c.Serial); s != "" {
		words = append(words, "serial "+s)
	}
	if c.Class != "" {
		words = append(words, fmt.Sprintf("(class %s:%s)", strings.TrimPrefix(c.Registry, tcg+"18.3."), c.Class))
	}
	return strings.Join(strings.Fields(strings.Join(words, " ")), " ")
}
