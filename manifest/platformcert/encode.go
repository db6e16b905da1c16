package platformcert

import (
	"time"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"
)

func (a attribute) encode() []byte {
	if a.raw != nil {
		return a.raw
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid(a.Type))
			under(b, ctag.SET, func(b *cryptobyte.Builder) {
				for _, v := range a.Values {
					b.AddBytes(v)
				}
			})
		})
	})
}

func (x extension) encode() []byte {
	if x.raw != nil {
		return x.raw
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid(x.ID))
			if x.Critical {
				b.AddASN1Boolean(true)
			}
			b.AddASN1OctetString(x.Value)
		})
	})
}

// encodeIssuer makes a v2Form with one directory name (RFC 5755, 4.2.3).
func encodeIssuer(name []byte) []byte {
	return build(func(b *cryptobyte.Builder) {
		under(b, ctx(0).Constructed(), func(b *cryptobyte.Builder) { addGeneralNames(b, name) })
	})
}

// addGeneralNames adds GeneralNames with one directoryName, whose tag is
// explicit since a name is a choice.
func addGeneralNames(b *cryptobyte.Builder, name []byte) {
	under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
		under(b, ctx(4).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(name) })
	})
}

func (c *Certificate) encodeValidity() []byte {
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, t := range []time.Time{c.NotBefore, c.NotAfter} {
				t = t.UTC()
				if c.Form == PublicKeyForm && t.Year() >= 1950 && t.Year() < 2050 {
					b.AddASN1UTCTime(t) // RFC 5280, 4.1.2.5
					continue
				}
				b.AddASN1GeneralizedTime(t)
			}
		})
	})
}

// field adds a field as it was read, or else as it is written.
func (c *Certificate) field(b *cryptobyte.Builder, name string, encoded []byte) {
	if raw := c.verbatim[name]; raw != nil {
		encoded = raw
	}
	b.AddBytes(encoded)
}

// encodeTBS makes the bytes that are signed out of the fields. Of a parsed
// certificate they are the bytes that were read.
func (c *Certificate) encodeTBS() ([]byte, error) {
	b := cryptobyte.NewBuilder(nil)
	under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
		if c.Form == PublicKeyForm {
			c.addPublicKeyForm(b)
			return
		}
		b.AddASN1Int64(1)
		c.field(b, "holder", c.Holder.encode())
		c.field(b, "issuer", encodeIssuer(c.Issuer))
		b.AddBytes(c.innerAlg)
		c.field(b, "serial", build(func(b *cryptobyte.Builder) { b.AddASN1BigInt(c.Serial) }))
		c.field(b, "validity", c.encodeValidity())
		under(b, ctag.SEQUENCE, c.addAttributes)
		b.AddBytes(c.tail)
		if len(c.Extensions) > 0 {
			under(b, ctag.SEQUENCE, c.addExtensions)
		}
	})
	return b.Bytes()
}

func (c *Certificate) addPublicKeyForm(b *cryptobyte.Builder) {
	under(b, ctx(0).Constructed(), func(b *cryptobyte.Builder) { b.AddASN1Int64(2) })
	c.field(b, "serial", build(func(b *cryptobyte.Builder) { b.AddASN1BigInt(c.Serial) }))
	b.AddBytes(c.innerAlg)
	b.AddBytes(c.Issuer)
	c.field(b, "validity", c.encodeValidity())
	b.AddBytes(c.Subject)
	b.AddBytes(c.SPKI)
	b.AddBytes(c.tail)
	under(b, ctx(3).Constructed(), func(b *cryptobyte.Builder) { under(b, ctag.SEQUENCE, c.addExtensions) })
}

// addAttributes writes the attributes; the configuration out of its parts.
func (c *Certificate) addAttributes(b *cryptobyte.Builder) {
	done := false
	for _, a := range c.Attributes {
		if c.Configuration != nil && a.Type == c.Configuration.attribute() && a.raw == nil && len(a.Values) == 1 && !done {
			a.Values, done = [][]byte{c.Configuration.encode()}, true
		}
		b.AddBytes(a.encode())
	}
}

func (c *Certificate) addExtensions(b *cryptobyte.Builder) {
	for _, x := range c.Extensions {
		if x.ID == extSubjectDirectory && c.Form == PublicKeyForm && x.raw == nil {
			x.Value = build(func(b *cryptobyte.Builder) { under(b, ctag.SEQUENCE, c.addAttributes) })
		}
		b.AddBytes(x.encode())
	}
}

// Encode writes the certificate out of what was read. For every certificate
// that Parse accepts, the result is Raw.
func (c *Certificate) Encode() ([]byte, error) {
	tbs, err := c.encodeTBS()
	if err != nil {
		return nil, err
	}
	b := cryptobyte.NewBuilder(nil)
	under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(tbs)
		b.AddBytes(c.sigAlg)
		b.AddASN1BitString(c.signature)
	})
	return b.Bytes()
}
