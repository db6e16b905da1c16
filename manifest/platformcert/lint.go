package platformcert

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"
)

// checkForm notes what the profiles and DER do not allow, and Parse does.
func (c *Certificate) checkForm() {
	if !bytes.Equal(c.innerAlg, c.sigAlg) {
		c.keepNote("signature", "the algorithm inside of what is signed is another one than outside (RFC 5755, 4.2.4)")
	}
	if c.NotAfter.Before(c.NotBefore) {
		c.keepNote("validity", "ends before it begins")
	}
	if c.Kind == NoPlatform {
		return
	}
	if c.Form == AttributeForm {
		c.checkHolder()
	}
	c.checkNames()
	c.checkExtensions()
	c.checkAttributes()
	c.checkConfiguration()
}

func (c *Certificate) checkHolder() {
	h := &c.Holder
	switch {
	case h.Serial == nil:
		c.keepNote("holder", "names no certificate by issuer and serial number (profile 1.1, 3.2.2)")
	case h.Entity != nil || h.Object != nil:
		c.keepNote("holder", "has more than baseCertificateID (profile 2.1)")
	}
}

func (c *Certificate) checkNames() {
	x := c.extension(extSubjectAltName)
	if x == nil {
		c.keepNote("extension "+extSubjectAltName, "is missing: the platform has no name")
		return
	}
	if x.Critical {
		c.keepNote("extension "+extSubjectAltName, "is critical")
	}
	for _, f := range []struct{ what, value string }{
		{"manufacturer", c.Platform.Manufacturer}, {"model", c.Platform.Model}, {"version", c.Platform.Version},
	} {
		if f.value == "" {
			c.keepNote("platform", "%s is missing", f.what)
		}
	}
}

// criticalMay lists the extensions that are understood here: another one that
// is critical makes a certificate unusable (RFC 5280, 4.2).
var criticalMay = []string{
	extSubjectDirectory, extSubjectKeyID, extKeyUsage, extSubjectAltName, extConstraints, extCRLPoints, extPolicies,
	extAuthorityKeyID, extPurposes, extTargets, extNoRevocation, extAuthorityInfo,
}

func (c *Certificate) checkExtensions() {
	for _, x := range c.Extensions {
		switch {
		case x.ID == extTargets && !x.Critical:
			c.keepNote("extension "+x.ID, "is not critical (RFC 5755, 4.3.2)")
		case !contains(criticalMay, x.ID) && x.Critical:
			c.keepNote("extension "+x.ID, "is critical and not known")
		}
	}
	if c.extension(extAuthorityKeyID) == nil {
		c.keepNote("extension "+extAuthorityKeyID, "is missing (profile 1.1, 3.2)")
	}
	x := c.extension(extPolicies)
	if x == nil {
		c.keepNote("extension "+extPolicies, "is missing (profile 1.1, 3.2)")
		return
	}
	text, tag := notice(x.Value)
	switch {
	case text == "":
		c.keepNote("extension "+extPolicies, "has no user notice")
	case tag != ctag.UTF8String:
		c.keepNote("extension "+extPolicies, "user notice is no UTF8String")
	case text != "TCG Trusted Platform Endorsement":
		c.keepNote("extension "+extPolicies, "user notice is %q", clip(text))
	}
}

// notice finds the explicit text of the first user notice (RFC 5280, 4.2.1.4).
func notice(policies []byte) (text string, tag ctag.Tag) {
	v := cryptobyte.String(policies)
	var list, policy, qualifiers, q cryptobyte.String
	if !v.ReadASN1(&list, ctag.SEQUENCE) {
		return "", 0
	}
	for !list.Empty() && list.ReadASN1(&policy, ctag.SEQUENCE) {
		if _, ok := readOID(&policy); !ok || !policy.ReadASN1(&qualifiers, ctag.SEQUENCE) {
			continue
		}
		for !qualifiers.Empty() && qualifiers.ReadASN1(&q, ctag.SEQUENCE) {
			var user cryptobyte.String
			if id, ok := readOID(&q); !ok || id != qualifierNotice || !q.ReadASN1(&user, ctag.SEQUENCE) {
				continue
			}
			for !user.Empty() {
				if user.PeekASN1Tag(ctag.SEQUENCE) {
					_, _, _ = element(&user) // a reference to a notice
					continue
				}
				text, tag, ok := readText(&user)
				if !ok {
					break
				}
				return text, tag
			}
		}
	}
	return "", 0
}

func (c *Certificate) checkAttributes() {
	if c.Kind == Base && c.Profile == "1.1" && c.attribute(attrCredentialType) == nil {
		c.keepNote("attribute "+attrCredentialType, "is missing (profile 1.1, 3.1.1)")
	}
	if c.Kind != DeltaKind {
		for _, a := range []string{attrPlatformSpec, attrTBBAssertions} {
			if c.attribute(a) == nil {
				c.keepNote("attribute "+a, "is missing (profile 1.1, 3.1)")
			}
		}
	}
	if v := c.attribute(attrTBBAssertions); v != nil && writesDefault(v, 0) {
		c.keepNote("attribute "+attrTBBAssertions, "writes out a value that is the default, which DER does not")
	}
	if c.attribute(attrConfigURIv3) != nil {
		c.keepNote("attribute "+attrConfigURIv3, "stands where public tools write "+attrConfigURI)
	}
	if c.Profile == "2.1" && c.Kind != Base && len(c.Previous) == 0 {
		c.keepNote("attribute "+attrPrevious, "is missing: the certificates before this one are not named (profile 2.1)")
	}
}

// writesDefault looks for BOOLEAN FALSE, and for version 0, in assertions.
func writesDefault(der []byte, depth int) bool {
	s := cryptobyte.String(der)
	var body cryptobyte.String
	var tag ctag.Tag
	if !s.ReadAnyASN1(&body, &tag) {
		return false
	}
	switch {
	case tag == ctag.BOOLEAN || tag == ctag.INTEGER && depth == 1:
		return len(body) == 1 && body[0] == 0
	case tag&0x20 == 0 || depth > 4:
		return false
	}
	for !body.Empty() {
		e, _, ok := element(&body)
		if !ok {
			return false
		}
		if writesDefault(e, depth+1) {
			return true
		}
	}
	return false
}

func (c *Certificate) checkConfiguration() {
	f := c.Configuration
	if f == nil {
		return
	}
	where := "attribute " + f.attribute()
	if len(f.Components) == 0 {
		c.keepNote(where, "lists no component")
	}
	if f.raw != nil {
		c.keepNote(where, "is not as DER and the profile have it; its bytes are kept")
	}
	for i := range f.Components {
		c.checkComponent(fmt.Sprintf("%s component %d", where, i), &f.Components[i])
	}
	for i, p := range f.Properties {
		if c.Kind == DeltaKind && p.Status == Unchanged {
			c.keepNote(fmt.Sprintf("%s property %d", where, i), "has no status in a delta (profile 1.1, 3.1.6)")
		}
	}
}

func (c *Certificate) checkComponent(where string, p *Component) {
	if p.raw != nil {
		c.keepNote(where, "is not as DER and the profile have it; its bytes are kept")
	}
	switch {
	case c.Kind == DeltaKind && p.Status == Unchanged:
		c.keepNote(where, "has no status in a delta (profile 1.1, 3.1.6)")
	case c.Kind != DeltaKind && p.Status != Unchanged:
		c.keepNote(where, "has a status outside of a delta")
	}
	if c.Configuration.Version >= 2 && len(p.Class) != 8 {
		c.keepNote(where, "class %q is not of four bytes", p.Class)
	}
	if p.Maker == "" {
		c.keepNote(where, "has no manufacturer")
	}
	if p.v11 && p.Serial == "" {
		c.keepNote(where, "has no serial number, which its form must (profile 2.1)")
	}
	for _, t := range p.Traits {
		if t.bare {
			c.keepNote(where, "traits are not inside OCTET STRING (profile 2.1)")
			break
		}
	}
	for _, a := range p.Addresses {
		if plain := plainMAC(a.Text); len(plain) != 12 || plain != a.Text {
			c.keepNote(where, "address %q is not in upper-case hexadecimal without delimiters", clip(a.Text))
		}
	}
}

// plainMAC reads the six historic spellings of an address (profile 1.1 errata)
// into the one that there should be.
func plainMAC(s string) string {
	return strings.ToUpper(strings.NewReplacer(":", "", "-", "", ".", "", " ", "").Replace(s))
}

// Lint lists what a strict reader would refuse about a certificate and what of
// it is unusual, sorted. It does not look at the signature.
func (c *Certificate) Lint() []Note {
	out := slices.Clone(c.notes)
	slices.SortStableFunc(out, func(a, b Note) int { return cmp.Or(strings.Compare(a.Where, b.Where), strings.Compare(a.What, b.What)) })
	return slices.Compact(out)
}
