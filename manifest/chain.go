package manifest

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
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
// still revoke; that they may lack newer entries is returned as stale.
func (t *Trust) revoked(certs []*x509.Certificate, now time.Time) (stale []string, by error) {
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
				if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
					return stale, fmt.Errorf("certificate of %s was revoked %s (%s)", nameOf(c), e.RevocationTime.UTC().Format(time.RFC3339), l.file)
				}
			}
		}
	}
	return stale, nil
}

// rights is what one signer may say about one manufacturer.
type rights struct {
	all       bool
	classes   map[string]bool
	deltaOnly bool
	threshold int
	reason    string // why there are none
}

func (r rights) any() bool { return r.all || len(r.classes) > 0 }

// has reports whether a right is held. "boot" stands for all its parts.
func (r rights) has(right string) bool {
	if r.all || r.classes[right] {
		return true
	}
	return (right == rightBootPlatform || right == rightBootSoftware) && r.classes[rightBoot]
}

// rightsOf looks up what the holder of a path may say about a manufacturer. A
// grant that names the signer replaces the default rule, so that it can narrow.
func (t *Trust) rightsOf(certs []*x509.Certificate, manufacturer string) rights {
	r := rights{classes: map[string]bool{}, deltaOnly: true, threshold: max(1, t.threshold)}
	named := false
	for _, g := range t.grants {
		if !g.Signer.selects(certs) {
			continue
		}
		named = true
		if !g.covers(certs[0], manufacturer) {
			r.reason = "no grant lets it speak for " + manufacturer
			continue
		}
		if err := g.purpose(certs[0]); err != nil {
			r.reason = err.Error()
			continue
		}
		r.deltaOnly = r.deltaOnly && g.DeltaOnly
		r.threshold = max(r.threshold, g.Threshold)
		if len(g.Classes) == 0 {
			r.all = true
		}
		for _, c := range g.Classes {
			r.classes[c] = true
		}
	}
	if named {
		return r
	}
	r.deltaOnly = false
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
	r.all = true
	return r
}

func (s signerRule) selects(certs []*x509.Certificate) bool {
	leaf, root := certs[0], certs[len(certs)-1]
	if s.Organization != "" && !slices.ContainsFunc(leaf.Subject.Organization, func(o string) bool { return sameOrganization(o, s.Organization) }) {
		return false
	}
	if s.SPKI != "" && !strings.EqualFold(s.SPKI, hexSum(leaf.RawSubjectPublicKeyInfo)) {
		return false
	}
	return s.Root == "" || strings.EqualFold(s.Root, hexSum(root.Raw))
}

func (g grant) covers(leaf *x509.Certificate, manufacturer string) bool {
	names := g.Manufacturers
	if len(names) == 0 {
		names = leaf.Subject.Organization
	}
	return slices.ContainsFunc(names, func(n string) bool { return n == "*" || sameOrganization(n, manufacturer) })
}

// purpose checks the key's purpose under a grant: what the grant names, else
// the default.
func (g grant) purpose(leaf *x509.Certificate) error {
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
