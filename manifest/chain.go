package manifest

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	maxSignatures = 16
	maxChain      = 8
	maxCertBytes  = 16 << 10
)

// parseChain reads x5c. Bounds come first: a chain must not cost more than its
// verification is worth.
func parseChain(x5c []string) ([]*x509.Certificate, error) {
	if len(x5c) == 0 {
		return nil, errors.New("the signature carries no certificate")
	}
	if len(x5c) > maxChain {
		return nil, fmt.Errorf("%w: chain of %d certificates, at most %d", errAlgorithm, len(x5c), maxChain)
	}
	var out []*x509.Certificate
	for i, s := range x5c {
		if len(s) > maxCertBytes*4/3+4 {
			return nil, fmt.Errorf("%w: x5c[%d] exceeds %d bytes", errAlgorithm, i, maxCertBytes)
		}
		der, err := decode64(s)
		if err != nil {
			return nil, fmt.Errorf("x5c[%d]: %w", i, err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("x5c[%d]: %w", i, err)
		}
		if err := checkKey(c.PublicKey); err != nil {
			return nil, fmt.Errorf("x5c[%d]: %w", i, err)
		}
		if err := checkCertificateSignature(c); err != nil {
			return nil, fmt.Errorf("x5c[%d]: %w", i, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// path is a chain that ends in a trusted root. late is set when it is complete
// but not valid now.
type path struct {
	certs []*x509.Certificate
	late  error
}

// build finds a path from the leaf to a root. When there is none at the given
// time, one that was valid at some time of the leaf's life is returned with the
// reason, so that expired and unknown signers are told apart.
func (t *Trust) build(chain []*x509.Certificate, now time.Time) (path, error) {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	if t != nil {
		for _, r := range t.roots {
			roots.AddCert(r)
		}
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	leaf := chain[0]
	verify := func(at time.Time) ([]*x509.Certificate, error) {
		found, err := leaf.Verify(x509.VerifyOptions{
			Roots: roots, Intermediates: between, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
		})
		if err != nil {
			return nil, err
		}
		slices.SortStableFunc(found, comparePaths)
		return found[0], nil
	}
	certs, err := verify(now)
	if err == nil {
		return path{certs: certs}, nil
	}
	for _, at := range []time.Time{leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2), leaf.NotBefore, leaf.NotAfter} {
		if certs, e := verify(at); e == nil {
			return path{certs: certs, late: timeOf(certs, now, err)}, nil
		}
	}
	return path{}, err
}

// comparePaths prefers short paths, then those whose bytes sort first, so that
// a cross-signed leaf always gets the same path.
func comparePaths(a, b []*x509.Certificate) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	for i := range a {
		if c := bytes.Compare(a[i].Raw, b[i].Raw); c != 0 {
			return c
		}
	}
	return 0
}

// timeOf names the certificate of a path that is not valid at a time.
func timeOf(certs []*x509.Certificate, at time.Time, otherwise error) error {
	for _, c := range certs {
		if err := validAt(c, at); err != nil {
			return err
		}
	}
	return otherwise
}

func validAt(c *x509.Certificate, at time.Time) error {
	if at.Before(c.NotBefore) {
		return fmt.Errorf("certificate of %s is not valid before %s", nameOf(c), c.NotBefore.UTC().Format(time.RFC3339))
	}
	if at.After(c.NotAfter) {
		return fmt.Errorf("certificate of %s expired %s", nameOf(c), c.NotAfter.UTC().Format(time.RFC3339))
	}
	return nil
}

// nameOf is how a signer is called in reports.
func nameOf(c *x509.Certificate) string {
	org, cn := strings.Join(c.Subject.Organization, ", "), c.Subject.CommonName
	switch {
	case org == "":
		return cn
	case cn == "" || cn == org:
		return org
	}
	return org + " (" + cn + ")"
}

// revoked looks a path up in the revocation lists. Lists that are out of date
// still revoke; that they may lack newer entries is returned as stale. What was
// proved to be older than a revocation without any doubt about the key is not
// revoked by it; such revocations are returned as passed.
func (t *Trust) revoked(certs []*x509.Certificate, now, proved time.Time) (stale, passed []string, by error) {
	for i, c := range certs[:len(certs)-1] {
		issuer := certs[i+1]
		for _, l := range t.lists {
			if !bytes.Equal(l.RawIssuer, c.RawIssuer) {
				continue
			}
			if err := l.CheckSignatureFrom(issuer); err != nil {
				stale = append(stale, fmt.Sprintf("%s: not signed by the issuer of %s: %v", l.file, nameOf(c), err))
				continue
			}
			if !l.NextUpdate.IsZero() && now.After(l.NextUpdate) {
				stale = append(stale, fmt.Sprintf("%s: out of date since %s", l.file, l.NextUpdate.UTC().Format(time.RFC3339)))
			}
			for _, e := range l.RevokedCertificateEntries {
				if e.SerialNumber.Cmp(c.SerialNumber) != 0 {
					continue
				}
				what := fmt.Sprintf("certificate of %s was revoked %s (%s)", nameOf(c), e.RevocationTime.UTC().Format(time.RFC3339), l.file)
				if !spares(e, proved) {
					return stale, nil, errors.New(what)
				}
				passed = append(passed, what)
			}
		}
	}
	return stale, passed, nil
}

// harmless are the reasons for a revocation that say that nobody else had the
// key (RFC 5280, 5.3.1): affiliationChanged, superseded, cessationOfOperation,
// privilegeWithdrawn. Without a reason the key may have been stolen, and no time
// is early enough.
var harmless = []int{3, 4, 5, 9}

// invalidityDate says since when a key is in doubt (RFC 5280, 5.3.2).
const invalidityDate = "2.5.29.24"

// spares reports whether a revocation leaves what was signed before it.
func spares(e x509.RevocationListEntry, proved time.Time) bool {
	if proved.IsZero() || !proved.Before(e.RevocationTime) || !slices.Contains(harmless, e.ReasonCode) {
		return false
	}
	for _, x := range e.Extensions {
		if x.Id.String() != invalidityDate {
			continue
		}
		var since time.Time
		if rest, err := asn1.UnmarshalWithParams(x.Value, &since, "generalized"); err != nil || len(rest) > 0 || !proved.Before(since) {
			return false
		}
	}
	return true
}

// rights is what one signer may say about one manufacturer, and how many keys
// have to say it with this one.
type rights struct {
	all       int            // keys for anything at all; 0 when it may not say everything
	classes   map[string]int // keys for one class
	deltaOnly bool
	reason    string // why there are none
}

func (r rights) any() bool { return r.all > 0 || len(r.classes) > 0 }

// needs is how many keys have to agree, this one included, or 0 when the right
// is not held. "boot" stands for all its parts.
func (r rights) needs(right string) int {
	n := max(r.all, r.classes[right])
	if right == rightBootPlatform || right == rightBootSoftware {
		n = max(n, r.classes[rightBoot])
	}
	return n
}

// named are rights that stand for all that are held: the classes, and anything
// else.
func (r rights) named() map[string]int {
	out := maps.Clone(r.classes)
	if r.all > 0 {
		if out == nil {
			out = map[string]int{}
		}
		out["anything"] = r.all
	}
	return out
}

// fewest is how many keys have to agree about what asks for the fewest.
func (r rights) fewest() int {
	n := 0
	for _, k := range r.named() {
		if n == 0 || k < n {
			n = k
		}
	}
	return n
}

// voice is who signed: the holder of a path to a root, leaf first, or an
// identity that a Sigstore authority vouched for, and then the leaf alone.
type voice struct {
	certs    []*x509.Certificate
	identity *Identity
}

func (v voice) name() string {
	if v.identity != nil {
		return v.identity.Subject + " (" + v.identity.Issuer + ")"
	}
	return nameOf(v.certs[0])
}

// rightsOf looks up what a signer may say about a manufacturer. A grant that
// names the signer replaces the default rule, so that it can narrow.
func (t *Trust) rightsOf(v voice, manufacturer string) rights {
	r := rights{classes: map[string]int{}, deltaOnly: true}
	least, named := max(1, t.threshold), false
	for _, g := range t.grants {
		if !g.Signer.selects(v) {
			continue
		}
		named = true
		if !g.covers(v, manufacturer) {
			r.reason = "no grant lets it speak for " + manufacturer
			continue
		}
		if err := g.purpose(v); err != nil {
			r.reason = err.Error()
			continue
		}
		r.deltaOnly = r.deltaOnly && g.DeltaOnly
		if len(g.Classes) == 0 {
			r.all = max(r.all, least, g.Threshold)
		}
		for _, c := range g.Classes {
			r.classes[c] = max(r.classes[c], least, g.Threshold)
		}
	}
	if named {
		return r
	}
	r.deltaOnly = false
	if v.identity != nil {
		r.reason = "no grant names the identity " + v.name()
		return r
	}
	certs := v.certs
	if err := defaultPurpose(certs[0]); err != nil {
		r.reason = err.Error()
		return r
	}
	if manufacturer == AnyPlatform {
		r.reason = "only a grant lets a signer speak for every platform"
		return r
	}
	if !slices.ContainsFunc(certs[0].Subject.Organization, func(o string) bool { return sameOrganization(o, manufacturer) }) {
		r.reason = fmt.Sprintf("its organisation %q is not the manufacturer %q", strings.Join(certs[0].Subject.Organization, ", "), manufacturer)
		return r
	}
	r.all = least
	return r
}

func (s signerRule) selects(v voice) bool {
	if s.Identity != nil || v.identity != nil {
		return s.Identity != nil && v.identity != nil && *s.Identity == *v.identity
	}
	leaf, root := v.certs[0], v.certs[len(v.certs)-1]
	if s.Organization != "" && !slices.ContainsFunc(leaf.Subject.Organization, func(o string) bool { return sameOrganization(o, s.Organization) }) {
		return false
	}
	if s.SPKI != "" && !strings.EqualFold(s.SPKI, hexSum(leaf.RawSubjectPublicKeyInfo)) {
		return false
	}
	return s.Root == "" || strings.EqualFold(s.Root, hexSum(root.Raw))
}

func (g grant) covers(v voice, manufacturer string) bool {
	names := g.Manufacturers
	if len(names) == 0 && v.identity == nil {
		names = v.certs[0].Subject.Organization
	}
	return slices.ContainsFunc(names, func(n string) bool { return n == "*" || sameOrganization(n, manufacturer) })
}

// purpose checks the key's purpose under a grant: what the grant names, else
// the default. What the certificate of an identity is for, its authority says.
func (g grant) purpose(v voice) error {
	if v.identity != nil {
		return nil
	}
	leaf := v.certs[0]
	if len(g.ExtKeyUsage) == 0 {
		return defaultPurpose(leaf)
	}
	if err := mayDigitallySign(leaf); err != nil {
		return err
	}
	have := usagesOf(leaf)
	for _, u := range g.ExtKeyUsage {
		if o, err := keyUsageOID(u); err == nil && slices.Contains(have, o) {
			return nil
		}
	}
	return fmt.Errorf("its certificate has none of the purposes %s", strings.Join(g.ExtKeyUsage, ", "))
}

// defaultPurpose refuses keys that were certified for something else only. A
// key for code signing, or without a stated purpose, may sign manifests.
func defaultPurpose(leaf *x509.Certificate) error {
	if err := mayDigitallySign(leaf); err != nil {
		return err
	}
	have := usagesOf(leaf)
	if len(have) == 0 {
		return nil
	}
	if slices.ContainsFunc(have, func(o string) bool { return !slices.Contains(otherPurposes, o) }) {
		return nil
	}
	return errors.New("its certificate is for another purpose (TLS, mail, time stamps or OCSP) only")
}

var otherPurposes = []string{
	extKeyUsages["serverAuth"], extKeyUsages["clientAuth"], extKeyUsages["emailProtection"],
	extKeyUsages["timeStamping"], extKeyUsages["ocspSigning"],
}

func mayDigitallySign(leaf *x509.Certificate) error {
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return errors.New("its certificate's key usage does not allow digital signatures")
	}
	return nil
}

// usagesOf lists the extended key usages as dotted OIDs; crypto/x509 splits
// them into those it knows and the rest.
func usagesOf(c *x509.Certificate) []string {
	var out []string
	for _, u := range c.ExtKeyUsage {
		out = append(out, u.OID().String())
	}
	for _, o := range c.UnknownExtKeyUsage {
		out = append(out, o.String())
	}
	return out
}
