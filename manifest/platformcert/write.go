package platformcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // RFC 5280, 4.2.1.2: a name of a key, not a protection
	"crypto/x509"
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assay-hw/assay/internal/ids"
)

func makerOf(vendor uint16) string { return ids.PCIVendor(vendor) }

// differences leaves what is not the same in the certificates before, with its
// status. A base and a rebase keep everything.
func (w *composer) differences() error {
	if w.c.Kind != DeltaKind {
		return nil
	}
	b, fs := Draft(w.opt.Previous[0], w.opt.Previous[1:])
	if b == nil || len(b.Deltas) != len(w.opt.Previous)-1 {
		return fmt.Errorf("the certificates before this one do not fit together: %s", fs[0].Why)
	}
	old := slices.Clone(b.Components)
	var changed []Component
	for _, c := range w.components {
		if i := slices.IndexFunc(old, func(o Component) bool { return o.equal(&c) }); i >= 0 {
			old = slices.Delete(old, i, i+1)
			continue
		}
		changed = append(changed, c)
	}
	for i := range changed {
		c := &changed[i]
		c.Status = Added
		if j := slices.IndexFunc(old, func(o Component) bool { return o.sameInstance(c) }); j >= 0 {
			c.Status = Modified
			old = slices.Delete(old, j, j+1)
		}
	}
	for _, o := range old {
		o = o.settled()
		o.Status, o.Traits, o.v11 = Removed, nil, false
		changed = append(changed, o)
	}
	// What goes is told first, so that a part that takes its place can come.
	slices.SortStableFunc(changed, func(a, b Component) int { return -int(a.Status.number()) + int(b.Status.number()) })
	w.components = changed
	w.propertyDifferences(b)
	return nil
}

func (w *composer) propertyDifferences(b *Build) {
	var out []Property
	for _, p := range w.props {
		i := slices.IndexFunc(b.Properties, func(o Property) bool { return o.Name == p.Name })
		switch {
		case i < 0:
			p.Status = Added
		case b.Properties[i].Value == p.Value:
			continue
		default:
			p.Status = Modified
		}
		out = append(out, p)
	}
	w.props = out
}

// equal compares what components say, whatever form they were read from.
func (c *Component) equal(o *Component) bool {
	return c.Registry == o.Registry && c.Class == o.Class && c.Maker == o.Maker && c.Model == o.Model && c.Serial == o.Serial &&
		c.Revision == o.Revision && c.PEN == o.PEN && c.PartNumber == o.PartNumber && c.Location == o.Location &&
		slices.Equal(c.Addresses, o.Addresses)
}

// write makes attributes and extensions out of the fields.
func (w *composer) write() {
	c := w.c
	version := 3
	if w.opt.Profile == "1.1" {
		version = 2
	}
	c.Configuration = &Configuration{Version: version, Components: w.components, Properties: w.props}
	sequence := func(f func(*cryptobyte.Builder)) []byte {
		return build(func(b *cryptobyte.Builder) { under(b, ctag.SEQUENCE, f) })
	}
	add := func(kind string, value []byte) {
		c.Attributes = append(c.Attributes, attribute{Type: kind, Values: [][]byte{value}})
	}
	purpose := map[Kind][2]string{
		Base: {purposeBaseAC, purposeBasePKC}, DeltaKind: {purposeDeltaAC, purposeDeltaPKC}, Rebase: {purposeRebaseAC, purposeRebasePKC},
	}[c.Kind][map[Form]int{AttributeForm: 0, PublicKeyForm: 1}[c.Form]]
	add(attrCredentialType, sequence(func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(purpose)) }))
	spec := map[string][3]int64{"1.1": {1, 1, 19}, "2.1": {2, 1, 0}}[w.opt.Profile]
	add(attrCredentialSpec, sequence(func(b *cryptobyte.Builder) {
		for _, n := range spec {
			b.AddASN1Int64(n)
		}
	}))
	if s := w.opt.Specs; s != nil && c.Kind != DeltaKind {
		add(attrPlatformSpec, sequence(func(b *cryptobyte.Builder) {
			under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
				for _, n := range s[:3] {
					b.AddASN1Int64(int64(n))
				}
			})
			b.AddASN1OctetString(s[3:])
		}))
	}
	if c.Kind != DeltaKind {
		add(attrTBBAssertions, sequence(func(*cryptobyte.Builder) {})) // nothing is claimed
	}
	add(c.Configuration.attribute(), c.Configuration.encode())
	if c.Previous != nil {
		add(attrPrevious, encodeTraitList(c.Previous))
	}
	if c.Anchors != nil {
		add(attrAnchors, encodeTraitList(c.Anchors))
	}
	w.extensions(purpose)
}

func (w *composer) extensions(purpose string) {
	c := w.c
	add := func(id string, critical bool, value []byte) {
		c.Extensions = append(c.Extensions, extension{ID: id, Critical: critical, Value: value})
	}
	add(extPolicies, false, build(addPolicies))
	add(extSubjectAltName, false, c.Platform.encodeName(w.opt.Profile == "2.1"))
	if c.Form != PublicKeyForm {
		return
	}
	spki, err := x509.MarshalPKIXPublicKey(w.opt.Key)
	if err != nil {
		return // Sign refuses a certificate without key
	}
	c.SPKI, c.Subject = spki, w.opt.Subject
	if len(c.Subject) == 0 {
		c.Subject = []byte{0x30, 0}
	}
	name := sha1.Sum(spki) //nolint:gosec // RFC 5280, 4.2.1.2
	add(extSubjectKeyID, false, build(func(b *cryptobyte.Builder) { b.AddASN1OctetString(name[:]) }))
	add(extConstraints, true, []byte{0x30, 0})
	add(extPurposes, false, build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oid(purpose)) })
	}))
	add(extSubjectDirectory, false, build(func(b *cryptobyte.Builder) { under(b, ctag.SEQUENCE, c.addAttributes) }))
	for i := range c.Extensions {
		// A certificate without subject is named by its alternative name (RFC
		// 5280, 4.2.1.6), but profile 2.1 does not let that be critical.
		c.Extensions[i].raw = nil
	}
}

// addPolicies writes the policy and the notice of the profiles.
func addPolicies(b *cryptobyte.Builder) {
	under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid(policyVerifiedPlatform))
			under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
				under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
					b.AddASN1ObjectIdentifier(oid(qualifierNotice))
					under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) { addText(b, ctag.UTF8String, "TCG Trusted Platform Endorsement") })
				})
			})
		})
	})
}

// signatureOf chooses the signature of a key: its AlgorithmIdentifier and hash.
func signatureOf(key crypto.PublicKey) (alg []byte, hash crypto.Hash, err error) {
	name, null := "", false
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return nil, 0, fmt.Errorf("an RSA key of %d bits is too short to sign with", k.N.BitLen())
		}
		name, hash, null = "1.2.840.113549.1.1.11", crypto.SHA256, true
	case *ecdsa.PublicKey:
		switch size := k.Curve.Params().BitSize; size {
		case 256:
			name, hash = "1.2.840.10045.4.3.2", crypto.SHA256
		case 384:
			name, hash = "1.2.840.10045.4.3.3", crypto.SHA384
		case 521:
			name, hash = "1.2.840.10045.4.3.4", crypto.SHA512
		default:
			return nil, 0, fmt.Errorf("no signature over a curve of %s bits", strconv.Itoa(size))
		}
	case ed25519.PublicKey:
		name = "1.3.101.112"
	default:
		return nil, 0, fmt.Errorf("a key of type %T does not sign certificates", key)
	}
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(oid(name))
			if null {
				b.AddASN1NULL()
			}
		})
	}), hash, nil
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
