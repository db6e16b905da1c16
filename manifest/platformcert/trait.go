package platformcert

import (
	"bytes"
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assay-hw/assay/internal/x500"
)

// Trait is one fact of profile 2.1 with its encoding, its category and the
// registry that its value is of.
type Trait struct {
	ID          string // how the value is encoded, dotted
	Category    string // what it is about, dotted
	Registry    string // dotted
	Description string
	URI         string
	Value       []byte      // DER
	Certificate *Identifier // of a certificate identifier

	bare bool // the value is not inside an OCTET STRING, as a public tool writes it
	raw  []byte
}

// readTraits reads the contents of a list of traits.
func readTraits(s cryptobyte.String) ([]Trait, error) {
	var out []Trait
	for !s.Empty() {
		if len(out) == maxTraits {
			return nil, malformed("more than %d traits", maxTraits)
		}
		var raw cryptobyte.String
		if !s.ReadASN1Element(&raw, ctag.SEQUENCE) {
			return nil, malformed("trait %d", len(out))
		}
		t, err := readTrait(raw)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func readTrait(raw cryptobyte.String) (Trait, error) {
	var t Trait
	s := inside(raw)
	for _, field := range []*string{&t.ID, &t.Category, &t.Registry} {
		var ok bool
		if *field, ok = readOID(&s); !ok {
			return t, malformed("trait identifiers")
		}
	}
	for n, field := range []*string{&t.Description, &t.URI} {
		if s.PeekASN1Tag(ctx(uint8(n))) {
			var text cryptobyte.String
			if !s.ReadASN1(&text, ctx(uint8(n))) || len(text) > maxText {
				return t, malformed("trait description")
			}
			*field = strings.ToValidUTF8(string(text), "�")
		}
	}
	value, tag, ok := element(&s)
	if !ok || !s.Empty() {
		return t, malformed("trait value")
	}
	t.Value, t.bare = value, true
	if body := inside(value); tag == ctag.OCTET_STRING && wraps(t.ID, body) {
		t.Value, t.bare = body, false
	}
	if t.ID == traitCertificateID {
		v := cryptobyte.String(t.Value)
		var seq cryptobyte.String
		if v.ReadASN1Element(&seq, ctag.SEQUENCE) {
			id, err := readIdentifier(seq)
			if err != nil {
				return t, err
			}
			t.Certificate = &id
		}
	}
	if !bytes.Equal(t.encode(), raw) {
		t.raw = bytes.Clone(raw)
	}
	return t, nil
}

// wraps reports whether an OCTET STRING holds the encoding of a value, and is
// not the value: a component class is itself an OCTET STRING, of four bytes.
func wraps(id string, body cryptobyte.String) bool {
	s := body
	_, tag, ok := element(&s)
	if !ok || !s.Empty() {
		return false
	}
	return id != traitClass || tag == ctag.OCTET_STRING
}

func (t *Trait) encode() []byte {
	if t.raw != nil {
		return t.raw
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, o := range []string{t.ID, t.Category, t.Registry} {
				b.AddASN1ObjectIdentifier(oid(o))
			}
			if t.Description != "" {
				addText(b, ctx(0), t.Description)
			}
			if t.URI != "" {
				addText(b, ctx(1), t.URI)
			}
			if t.bare {
				b.AddBytes(t.Value)
				return
			}
			b.AddASN1OctetString(t.Value)
		})
	})
}

// Text is the value of a trait that is a character string, an object
// identifier or a truth value; other values are hexadecimal.
func (t *Trait) Text() string {
	s := cryptobyte.String(t.Value)
	_, tag, ok := element(&s)
	s = t.Value
	switch {
	case ok && isText(tag):
		return x500.Text(t.Value)
	case ok && tag == ctag.OBJECT_IDENTIFIER:
		if o, ok := readOID(&s); ok {
			return o
		}
	case ok && tag == ctag.BOOLEAN:
		if body := inside(s); len(body) == 1 && body[0] != 0 {
			return "true"
		}
		return "false"
	}
	return hex.EncodeToString(t.Value)
}

// readTraitComponent reads a component of profile 2.1: one trait in the form of
// profile 1.1, or a list of traits.
func readTraitComponent(raw cryptobyte.String) (Component, error) {
	traits, err := readTraits(inside(raw))
	if err != nil {
		return Component{}, err
	}
	var c Component
	if len(traits) == 1 && traits[0].ID == traitComponentV11 {
		c, err = readComponent(traits[0].Value, 2)
		if err != nil {
			return c, err
		}
		c.v11 = true
	} else if err := c.fromTraits(traits); err != nil {
		return c, err
	}
	c.Traits = traits
	if len(traits) == 0 {
		return c, malformed("a component without traits")
	}
	return c, nil
}

func (c *Component) fromTraits(traits []Trait) error {
	texts := map[string]*string{
		categoryMaker: &c.Maker, categoryModel: &c.Model, categorySerial: &c.Serial, categoryRevision: &c.Revision,
		categoryPartNumber: &c.PartNumber, categoryLocation: &c.Location, categoryPEN: &c.PEN,
	}
	seen := map[string]bool{}
	for i := range traits {
		t := &traits[i]
		v := cryptobyte.String(t.Value)
		if t.ID == traitComponentV11 || seen[t.Category] && (texts[t.Category] != nil || t.Category == categoryClass || t.Category == categoryStatus) {
			return malformed("a component says the category %s twice, or in two forms", t.Category)
		}
		seen[t.Category] = true
		if field := texts[t.Category]; field != nil {
			*field = t.Text()
			continue
		}
		switch {
		case t.ID == traitClass && t.Category == categoryClass:
			var value cryptobyte.String
			if !v.ReadASN1(&value, ctag.OCTET_STRING) || len(value) > 16 {
				return malformed("component class")
			}
			c.Registry, c.Class = t.Registry, strings.ToUpper(hex.EncodeToString(value))
		case t.ID == traitStatus && t.Category == categoryStatus:
			status, err := readStatus(inside(v))
			if err != nil {
				return err
			}
			c.Status = status
		case t.ID == traitBoolean && t.Category == categoryReplaceable:
			c.Replaceable = new(t.Text() == "true")
		case t.ID == traitMAC && t.Category == categoryMAC:
			a, err := readAddress(&v)
			if err != nil {
				return err
			}
			c.Addresses = append(c.Addresses, a)
		case t.Certificate != nil && (t.Category == categoryPlatformCert || t.Category == categoryGenericCert):
			c.Certificate = t.Certificate
		}
	}
	return nil
}

// encodeTraits writes a component of profile 2.1.
func (c *Component) encodeTraits() []byte {
	if c.Traits == nil {
		c.Traits = c.makeTraits()
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { addTraits(b, c.Traits) })
	})
}

func addTraits(b *cryptobyte.Builder, ts []Trait) {
	for i := range ts {
		b.AddBytes(ts[i].encode())
	}
}

// encodeTraitList writes a list of traits.
func encodeTraitList(ts []Trait) []byte {
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { addTraits(b, ts) })
	})
}

func textTrait(category, text string) Trait {
	return Trait{ID: traitUTF8, Category: category, Registry: noRegistry, Value: build(func(b *cryptobyte.Builder) { addText(b, ctag.UTF8String, text) })}
}

// makeTraits turns the fields of a component into traits. Class, manufacturer
// and model have to be there (profile 2.1), so that they are even when empty.
func (c *Component) makeTraits() []Trait {
	class := build(func(b *cryptobyte.Builder) { b.AddASN1OctetString(classBytes(c.Class)) })
	out := []Trait{
		{ID: traitClass, Category: categoryClass, Registry: c.Registry, Value: class},
		textTrait(categoryMaker, c.Maker), textTrait(categoryModel, c.Model),
	}
	for _, f := range []struct{ category, text string }{
		{categorySerial, c.Serial}, {categoryRevision, c.Revision}, {categoryPartNumber, c.PartNumber}, {categoryLocation, c.Location},
	} {
		if f.text != "" {
			out = append(out, textTrait(f.category, f.text))
		}
	}
	if c.PEN != "" {
		v := build(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(c.PEN)) })
		out = append(out, Trait{ID: traitPEN, Category: categoryPEN, Registry: noRegistry, Value: v})
	}
	if c.Replaceable != nil {
		v := build(func(b *cryptobyte.Builder) { b.AddASN1Boolean(*c.Replaceable) })
		out = append(out, Trait{ID: traitBoolean, Category: categoryReplaceable, Registry: noRegistry, Value: v})
	}
	for _, a := range c.Addresses {
		out = append(out, Trait{ID: traitMAC, Category: categoryMAC, Registry: noRegistry, Value: build(a.add)})
	}
	if c.Certificate != nil {
		out = append(out, identifierTrait(categoryPlatformCert, *c.Certificate))
	}
	if c.Status != Unchanged {
		v := build(func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(c.Status.number())) })
		out = append(out, Trait{ID: traitStatus, Category: categoryStatus, Registry: noRegistry, Value: v})
	}
	return out
}

func identifierTrait(category string, id Identifier) Trait {
	return Trait{ID: traitCertificateID, Category: category, Registry: noRegistry, Value: id.encode(ctag.SEQUENCE), Certificate: &id}
}
