package platformcert

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"
)

// readPublicKeyForm reads TBSCertificate (RFC 5280, 4.1). The attributes are in
// the extension for subject directory attributes (profile 2.1, 4.2).
func (c *Certificate) readPublicKeyForm(s cryptobyte.String) error {
	c.Form = PublicKeyForm
	var v cryptobyte.String
	if !s.ReadASN1(&v, ctx(0).Constructed()) {
		return malformed("no version")
	}
	if version, ok := readInt(&v); !ok || !version.IsInt64() || version.Int64() != 2 {
		return malformed("certificate of version %v, want 2 (v3)", version)
	}
	if err := c.readSerial(&s); err != nil {
		return err
	}
	var err error
	if _, c.innerAlg, err = readAlgorithm(&s); err != nil {
		return err
	}
	var issuer, subject, key cryptobyte.String
	if !s.ReadASN1Element(&issuer, ctag.SEQUENCE) {
		return malformed("no issuer")
	}
	c.Issuer = issuer
	if err := c.readSerialAndTime(&s); err != nil {
		return err
	}
	if !s.ReadASN1Element(&subject, ctag.SEQUENCE) || !s.ReadASN1Element(&key, ctag.SEQUENCE) {
		return malformed("no subject or key")
	}
	c.Subject, c.SPKI = subject, key
	for s.PeekASN1Tag(ctx(1)) || s.PeekASN1Tag(ctx(2)) {
		uid, _, ok := element(&s)
		if !ok {
			return malformed("unique identifier")
		}
		c.tail = append(c.tail, uid...)
	}
	var outer, list cryptobyte.String
	if !s.ReadASN1(&outer, ctx(3).Constructed()) || !outer.ReadASN1(&list, ctag.SEQUENCE) || !outer.Empty() || !s.Empty() {
		return malformed("extensions of a public-key certificate")
	}
	if err := c.readExtensions(list); err != nil {
		return err
	}
	if x := c.extension(extSubjectDirectory); x != nil {
		return c.readDirectoryAttributes(x)
	}
	return nil
}

func (c *Certificate) readDirectoryAttributes(x *extension) error {
	v := cryptobyte.String(x.Value)
	var list cryptobyte.String
	if !v.ReadASN1(&list, ctag.SEQUENCE) || !v.Empty() {
		return fmt.Errorf("extension %s: %w", x.ID, ErrMalformed)
	}
	if err := c.readAttributes(list); err != nil {
		return fmt.Errorf("extension %s: %w", x.ID, err)
	}
	return nil
}
