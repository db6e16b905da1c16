package platformcert

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/x500"
)

// Identifier names a certificate: by issuer and serial number, by a digest over
// its signature, or by both (profile 1.1, 3.1.5; RFC 5755, 4.2.2).
type Identifier struct {
	Issuer    []byte // DER of the name
	Serial    *big.Int
	Algorithm string // of the digest, dotted
	Digest    []byte // over the signature value
	raw       []byte // when it does not encode to the same bytes
}

// String names the certificate for people.
func (i Identifier) String() string {
	s := ""
	if i.Serial != nil {
		s = fmt.Sprintf("serial %x of %s", i.Serial, x500.String(i.Issuer))
	}
	if len(i.Digest) > 0 {
		if s != "" {
			s += ", "
		}
		s += "signature digest " + hex.EncodeToString(i.Digest)
	}
	if s == "" {
		return "nobody"
	}
	return s
}

// Holder is whom an attribute certificate is about.
type Holder struct {
	Identifier        // baseCertificateID
	Entity     []byte // DER of entityName's directory name, nil for none
	Object     *objectDigest
}

// objectDigest is the digest of a key or certificate (RFC 5755, 4.2.2).
type objectDigest struct {
	Type      int64 // 0 public key, 1 certificate, 2 other
	Algorithm string
	Digest    []byte
	raw       []byte
}

// read takes the holder apart. A field of an unknown tag is an error: it could
// name somebody else.
func (h *Holder) read(raw cryptobyte.String) error {
	s, seen := inside(raw), map[ctag.Tag]bool{}
	for !s.Empty() {
		e, tag, ok := element(&s)
		if !ok || seen[tag] {
			return malformed("a field, or one that is there twice")
		}
		seen[tag] = true
		switch tag {
		case ctx(0).Constructed():
			if err := h.readIssuerSerial(inside(e)); err != nil {
				return err
			}
		case ctx(1).Constructed():
			name, err := directoryName(inside(e))
			if err != nil {
				return err
			}
			h.Entity = name
		case ctx(2).Constructed():
			if err := h.readObject(e); err != nil {
				return err
			}
		default:
			return malformed("a field of tag %#x", tag)
		}
	}
	return nil
}

// readIssuerSerial reads the contents of an IssuerSerial.
func (i *Identifier) readIssuerSerial(s cryptobyte.String) error {
	var names cryptobyte.String
	if !s.ReadASN1(&names, ctag.SEQUENCE) {
		return malformed("issuer and serial number")
	}
	var err error
	if i.Issuer, err = directoryName(names); err != nil {
		return err
	}
	var ok bool
	if i.Serial, ok = readInt(&s); !ok {
		return malformed("serial number")
	}
	return nil
}

// readObject reads ObjectDigestInfo, implicitly tagged.
func (h *Holder) readObject(e cryptobyte.String) error {
	s := inside(e)
	o := &objectDigest{raw: bytes.Clone(e)}
	kind := 0
	if !s.ReadASN1Enum(&kind) {
		return malformed("object digest")
	}
	o.Type = int64(kind)
	if s.PeekASN1Tag(ctag.OBJECT_IDENTIFIER) {
		if _, ok := readOID(&s); !ok {
			return malformed("object digest: type")
		}
	}
	var err error
	if o.Algorithm, _, err = readAlgorithm(&s); err != nil {
		return err
	}
	if !s.ReadASN1BitStringAsBytes(&o.Digest) {
		return malformed("object digest: value")
	}
	h.Object = o
	return nil
}

func (h *Holder) encode() []byte {
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			if h.Serial != nil {
				under(b, ctx(0).Constructed(), h.addIssuerSerial)
			}
			if h.Entity != nil {
				under(b, ctx(1).Constructed(), func(b *cryptobyte.Builder) {
					under(b, ctx(4).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(h.Entity) })
				})
			}
			if o := h.Object; o != nil {
				o.add(b)
			}
		})
	})
}

func (o *objectDigest) add(b *cryptobyte.Builder) {
	if o.raw != nil {
		b.AddBytes(o.raw)
		return
	}
	under(b, ctx(2).Constructed(), func(b *cryptobyte.Builder) {
		b.AddASN1Enum(o.Type)
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(o.Algorithm)) })
		b.AddASN1BitString(o.Digest)
	})
}

func (i *Identifier) addIssuerSerial(b *cryptobyte.Builder) {
	addGeneralNames(b, i.Issuer)
	b.AddASN1BigInt(i.Serial)
}

// readIdentifier reads a CertificateIdentifier: its fields are implicitly
// tagged. tagged fields of one tag may hold the digest or, in the form of
// profile 1.1, the two inside a sequence.
func readIdentifier(raw cryptobyte.String) (Identifier, error) {
	var i Identifier
	s := inside(raw)
	for !s.Empty() {
		e, tag, ok := element(&s)
		if !ok || tag == ctx(0).Constructed() && i.Digest != nil || tag == ctx(1).Constructed() && i.Serial != nil {
			return i, malformed("certificate identifier")
		}
		body := inside(e)
		switch tag {
		case ctx(0).Constructed():
			var err error
			if i.Algorithm, _, err = readAlgorithm(&body); err != nil {
				return i, err
			}
			var digest cryptobyte.String
			if !body.ReadASN1(&digest, ctag.OCTET_STRING) {
				return i, malformed("certificate identifier: digest")
			}
			i.Digest = digest
		case ctx(1).Constructed():
			if err := i.readIssuerSerial(body); err != nil {
				return i, err
			}
		default:
			return i, malformed("certificate identifier: a field of tag %#x", tag)
		}
	}
	if enc := i.encode(ctag.SEQUENCE); !bytes.Equal(enc, inTag(ctag.SEQUENCE, raw)) {
		i.raw = bytes.Clone(raw)
	}
	return i, nil
}

// inTag gives an element another tag.
func inTag(tag ctag.Tag, raw cryptobyte.String) []byte {
	return build(func(b *cryptobyte.Builder) { addTag(b, tag, raw) })
}

func (i *Identifier) encode(tag ctag.Tag) []byte {
	if i.raw != nil {
		return inTag(tag, i.raw)
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, tag, func(b *cryptobyte.Builder) {
			if len(i.Digest) > 0 {
				under(b, ctx(0).Constructed(), func(b *cryptobyte.Builder) {
					under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(i.Algorithm)) })
					b.AddASN1OctetString(i.Digest)
				})
			}
			if i.Serial != nil {
				under(b, ctx(1).Constructed(), i.addIssuerSerial)
			}
		})
	})
}

// directoryName finds the directory name in the contents of GeneralNames.
func directoryName(names cryptobyte.String) ([]byte, error) {
	for !names.Empty() {
		e, tag, ok := element(&names)
		if !ok {
			return nil, malformed("names")
		}
		if tag != ctx(4).Constructed() {
			continue
		}
		name := inside(e)
		if _, err := x500.Parse(name); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		return bytes.Clone(name), nil
	}
	return nil, malformed("no directory name")
}

var digestHashes = map[string]crypto.Hash{
	"1.3.14.3.2.26": crypto.SHA1, "2.16.840.1.101.3.4.2.1": crypto.SHA256, "2.16.840.1.101.3.4.2.2": crypto.SHA384, "2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

const oidSHA256 = "2.16.840.1.101.3.4.2.1"

func digestOf(algorithm string, b []byte) ([]byte, error) {
	h := digestHashes[algorithm]
	if h == 0 || !h.Available() {
		return nil, fmt.Errorf("digest algorithm %s is not known", algorithm)
	}
	d := h.New()
	d.Write(b)
	return d.Sum(nil), nil
}

// subject is what a certificate is called by.
type subject struct {
	issuer    []byte
	serial    *big.Int
	signature []byte
}

// is compares an identifier with a certificate: everything that it says has to
// hold. An identifier that says nothing names nobody.
func (i *Identifier) is(s subject) error { return i.isUnder(s, x500.Equal) }

// isUnder does that with a comparison of names.
func (i *Identifier) isUnder(s subject, equal func(a, b []byte) bool) error {
	if i.Serial == nil && len(i.Digest) == 0 {
		return errors.New("no certificate is named")
	}
	if i.Serial != nil {
		switch sameIssuer, sameSerial := equal(i.Issuer, s.issuer), i.Serial.Cmp(s.serial) == 0; {
		case !sameIssuer && sameSerial:
			return fmt.Errorf("the serial number is that, but the issuer is %s, not %s", x500.String(s.issuer), x500.String(i.Issuer))
		case !sameIssuer:
			return fmt.Errorf("it was issued by %s, not by %s", x500.String(s.issuer), x500.String(i.Issuer))
		case !sameSerial:
			return fmt.Errorf("its serial number is %x, not %x", s.serial, i.Serial)
		}
	}
	if len(i.Digest) > 0 {
		sum, err := digestOf(i.Algorithm, s.signature)
		if err != nil {
			return err
		}
		if !bytes.Equal(sum, i.Digest) {
			return errors.New("the digest is over another signature")
		}
	}
	return nil
}

// Bound reports whether a platform certificate is about the TPM of an
// endorsement key certificate: whether its holder, or a cryptographic anchor for
// endorsement keys of profile 2.1, names that certificate, and otherwise the
// reason. Issuer and serial number must both be those, and every digest that is
// given must hold. Tolerated lists what a strict comparison would have refused.
func (c *Certificate) Bound(ek *ekcert.Certificate) (tolerated []string, err error) {
	s := subject{ek.Issuer, ek.Serial, ek.Signature()}
	err = c.boundUnder(ek, s, x500.Equal)
	if err == nil {
		return nil, nil
	}
	if c.boundUnder(ek, s, x500.SameValues) == nil {
		return []string{"the issuer's name has the same values in another grouping: " + x500.String(ek.Issuer)}, nil
	}
	return nil, err
}

func (c *Certificate) boundUnder(ek *ekcert.Certificate, s subject, equal func(a, b []byte) bool) error {
	if c.Form == AttributeForm {
		return c.Holder.names(ek, s, equal)
	}
	err := errors.New("no endorsement key certificate is named")
	for _, t := range c.Anchors {
		if t.Category != categoryEK || t.Certificate == nil {
			continue
		}
		if err = t.Certificate.isUnder(s, equal); err == nil {
			return nil
		}
	}
	return fmt.Errorf("the platform certificate is about another TPM: %w", err)
}

func (h *Holder) names(ek *ekcert.Certificate, s subject, equal func(a, b []byte) bool) error {
	if h.Serial == nil && h.Object == nil {
		return errors.New("the holder is no certificate: a name alone proves no TPM")
	}
	if h.Serial != nil {
		if err := h.isUnder(s, equal); err != nil {
			return fmt.Errorf("the platform certificate is about another TPM: %w", err)
		}
	}
	o := h.Object
	if o == nil {
		return nil
	}
	what := map[int64][]byte{0: ek.SPKI, 1: ek.DER}[o.Type]
	if what == nil {
		return fmt.Errorf("the holder's digest is over an object of type %d, which is not known", o.Type)
	}
	sum, err := digestOf(o.Algorithm, what)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum, o.Digest) {
		return errors.New("the platform certificate is about another TPM: the holder's digest is over another object")
	}
	return nil
}
