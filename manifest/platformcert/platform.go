package platformcert

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assay-hw/assay/internal/x500"
)

// Platform is how the machine is called: in the subject alternative name, as a
// directory name (profiles 1.x) or as traits (2.1).
type Platform struct {
	Manufacturer, Model, Version, Serial string
	ManufacturerID                       string // private enterprise number, dotted
}

// interpret finds what the attributes and extensions say.
func (c *Certificate) interpret() error {
	for version, kind := range []string{attrConfigV1, attrConfigV2, attrConfigV3} {
		v := c.attribute(kind)
		if v == nil {
			continue
		}
		if c.Configuration != nil {
			return malformed("two versions of the platform configuration: which one holds is undecided")
		}
		f, err := readConfiguration(v, version+1)
		if err != nil {
			return fmt.Errorf("platform configuration: %w", err)
		}
		c.Configuration = f
	}
	if x := c.extension(extSubjectDirectory); x != nil && c.Form == AttributeForm {
		// TCPA-era issuers put attributes there (TCG credential profiles 1.0).
		old := &Certificate{}
		if err := old.readDirectoryAttributes(x); err != nil {
			return err
		}
		c.directory = old.Attributes
		c.keepNote("extension "+x.ID, "holds attributes beside those of the certificate")
	}
	if err := c.unambiguous(); err != nil {
		return err
	}
	if err := c.readPlatform(); err != nil {
		return fmt.Errorf("subject alternative name: %w", err)
	}
	for kind, list := range map[string]*[]Trait{attrPrevious: &c.Previous, attrAnchors: &c.Anchors} {
		v := cryptobyte.String(c.attribute(kind))
		var seq cryptobyte.String
		if v == nil {
			continue
		}
		if !v.ReadASN1(&seq, ctag.SEQUENCE) {
			return malformed("attribute %s: no list of traits", kind)
		}
		var err error
		if *list, err = readTraits(seq); err != nil {
			return fmt.Errorf("attribute %s: %w", kind, err)
		}
	}
	c.Kind = c.kind()
	c.Profile = c.profile()
	return nil
}

// unambiguous refuses a second value where only one can be meant: two readers
// would take one each.
func (c *Certificate) unambiguous() error {
	seen := map[string]bool{}
	for _, a := range c.Attributes {
		switch a.Type {
		case attrConfigV1, attrConfigV2, attrConfigV3, attrCredentialType, attrPrevious, attrAnchors:
			if seen[a.Type] || len(a.Values) != 1 {
				return malformed("attribute %s does not have one value", a.Type)
			}
			seen[a.Type] = true
		}
	}
	n := 0
	for _, x := range c.Extensions {
		if x.ID == extSubjectAltName || x.ID == extPurposes || x.ID == extSubjectDirectory {
			if seen[x.ID] {
				return malformed("extension %s is there twice", x.ID)
			}
			seen[x.ID] = true
			n++
		}
	}
	return nil
}

// kind decides by the credential type, in a public-key certificate by its
// purposes too. Profile 1.0 had no type: what names a platform is a base.
func (c *Certificate) kind() Kind {
	kinds := map[string]Kind{
		purposeBaseAC: Base, purposeBasePKC: Base, purposeDeltaAC: DeltaKind, purposeDeltaPKC: DeltaKind,
		purposeRebaseAC: Rebase, purposeRebasePKC: Rebase,
	}
	if v := cryptobyte.String(c.attribute(attrCredentialType)); v != nil {
		var seq cryptobyte.String
		if v.ReadASN1(&seq, ctag.SEQUENCE) {
			if o, ok := readOID(&seq); ok && kinds[o] != NoPlatform {
				return kinds[o]
			}
		}
	}
	for _, o := range c.purposes() {
		if k := kinds[o]; k != NoPlatform {
			return k
		}
	}
	if c.Form == AttributeForm && (c.Platform != Platform{} || c.Configuration != nil || c.attribute(attrPlatformSpec) != nil || c.attribute(attrTBBAssertions) != nil) {
		return Base
	}
	return NoPlatform
}

// purposes lists the extended key usages.
func (c *Certificate) purposes() []string {
	x := c.extension(extPurposes)
	if x == nil {
		return nil
	}
	v := cryptobyte.String(x.Value)
	var seq cryptobyte.String
	var out []string
	if !v.ReadASN1(&seq, ctag.SEQUENCE) {
		return nil
	}
	for !seq.Empty() && len(out) < maxTraits {
		o, ok := readOID(&seq)
		if !ok {
			return out
		}
		out = append(out, o)
	}
	return out
}

func (c *Certificate) profile() string {
	switch {
	case c.Kind == NoPlatform:
		return ""
	case c.Form == PublicKeyForm, c.Configuration != nil && c.Configuration.Version == 3, c.Previous != nil, c.Anchors != nil:
		return "2.1"
	case c.Configuration != nil && c.Configuration.Version == 2, c.attribute(attrCredentialType) != nil:
		return "1.1"
	}
	return "1.0"
}

// readPlatform reads the subject alternative name.
func (c *Certificate) readPlatform() error {
	x := c.extension(extSubjectAltName)
	if x == nil {
		return nil
	}
	v := cryptobyte.String(x.Value)
	var names cryptobyte.String
	if !v.ReadASN1(&names, ctag.SEQUENCE) {
		return malformed("no names")
	}
	if names.PeekASN1Tag(ctag.SET) {
		// TCPA-era issuers wrote a name where a list of names belongs.
		name, err := x500.Parse(x.Value)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		if err := c.Platform.fromName(name); err != nil {
			return err
		}
		c.keepNote("extension "+x.ID, "is a name, not a list of names")
		return nil
	}
	for !names.Empty() {
		e, tag, ok := element(&names)
		if !ok {
			return malformed("names")
		}
		switch tag {
		case ctx(4).Constructed():
			name, err := x500.Parse(inside(e))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrMalformed, err)
			}
			if err := c.Platform.fromName(name); err != nil {
				return err
			}
		case ctx(0).Constructed():
			if err := c.Platform.fromOther(inside(e)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *Platform) fromName(n x500.Name) error {
	fields := map[string]*string{
		nameManufacturer: &p.Manufacturer, nameOldManufacturer: &p.Manufacturer, nameModel: &p.Model, nameOldModel: &p.Model,
		nameVersion: &p.Version, nameOldVersion: &p.Version, nameSerial: &p.Serial, nameOldSerial: &p.Serial,
	}
	for _, set := range n {
		for _, v := range set {
			if v.Type == nameManufacturerID {
				p.ManufacturerID = manufacturerID(v.Text)
			}
			if err := once(fields[v.Type], v.Text); err != nil {
				return err
			}
		}
	}
	return nil
}

// once fills a field that no other value filled: of two names of one platform
// two readers would take one each.
func once(field *string, text string) error {
	if field == nil {
		return nil
	}
	if *field != "" && *field != text {
		return malformed("the platform is called %q and %q", clip(*field), clip(text))
	}
	*field = text
	return nil
}

// manufacturerID reads ManufacturerId out of a name's value, which is no
// string: SEQUENCE { OID }, or the OID itself.
func manufacturerID(text string) string {
	v := cryptobyte.String(classBytes(text[min(1, len(text)):]))
	if v.PeekASN1Tag(ctag.SEQUENCE) {
		v = inside(v)
	}
	if o, ok := readOID(&v); ok {
		return o
	}
	return ""
}

// fromOther reads an otherName; other ones than the platform identifier are
// passed over.
func (p *Platform) fromOther(s cryptobyte.String) error {
	kind, ok := readOID(&s)
	if !ok || kind != namePlatformID {
		return nil
	}
	var outer, seq cryptobyte.String
	if !s.ReadASN1(&outer, ctx(0).Constructed()) || !outer.ReadASN1(&seq, ctag.SEQUENCE) {
		return malformed("platform identifier")
	}
	traits, err := readTraits(seq)
	if err != nil {
		return err
	}
	fields := map[string]*string{
		categoryPlatformMaker: &p.Manufacturer, categoryPlatformModel: &p.Model, categoryPlatformVersion: &p.Version,
		categoryPlatformSerial: &p.Serial, categoryPlatformMakerID: &p.ManufacturerID,
	}
	for i := range traits {
		if err := once(fields[traits[i].Category], traits[i].Text()); err != nil {
			return err
		}
	}
	return nil
}

// encodeName makes the alternative name: a directory name, or for profile 2.1
// an otherName with traits.
func (p Platform) encodeName(traits bool) []byte {
	fields := []struct{ name, category, text string }{
		{nameManufacturer, categoryPlatformMaker, p.Manufacturer},
		{nameModel, categoryPlatformModel, p.Model},
		{nameVersion, categoryPlatformVersion, p.Version},
		{nameSerial, categoryPlatformSerial, p.Serial},
	}
	if !traits {
		return build(func(b *cryptobyte.Builder) {
			addGeneralNames(b, build(func(b *cryptobyte.Builder) {
				under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
					for _, f := range fields {
						if f.text != "" {
							addRDN(b, f.name, f.text)
						}
					}
				})
			}))
		})
	}
	var ts []Trait
	for _, f := range fields {
		if f.text != "" || f.category != categoryPlatformSerial {
			ts = append(ts, textTrait(f.category, f.text))
		}
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			under(b, ctx(0).Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oid(namePlatformID))
				under(b, ctx(0).Constructed(), func(b *cryptobyte.Builder) { b.AddBytes(encodeTraitList(ts)) })
			})
		})
	})
}

func addRDN(b *cryptobyte.Builder, kind, text string) {
	under(b, ctag.SET, func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid(kind))
			addText(b, ctag.UTF8String, text)
		})
	})
}
