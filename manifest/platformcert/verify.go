package platformcert

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/x500"
	"github.com/assay-hw/assay/manifest"
)

// Trust is what a verifier gives: roots that it believes, certificates that may
// lead to them, and revocation lists. The zero value believes nobody.
type Trust struct {
	Roots, Intermediates []*ekcert.Certificate
	CRLs                 []*x509.RevocationList
}

// Add reads certificates and revocation lists out of a file, PEM or DER, and
// says how many it found. Certificates become roots or intermediates.
func (t *Trust) Add(file []byte, roots bool) (int, error) {
	if len(file) > maxFile {
		return 0, fmt.Errorf("offset %d: exceeds the limit of %d bytes", maxFile, maxFile)
	}
	list := &t.Intermediates
	if roots {
		list = &t.Roots
	}
	if len(file) > 0 && file[0] == 0x30 {
		if c, err := ekcert.Parse(file); err == nil {
			*list = append(*list, c)
			return 1, nil
		}
		l, err := x509.ParseRevocationList(file)
		if err != nil {
			return 0, fmt.Errorf("neither a certificate nor a revocation list: %w", err)
		}
		t.CRLs = append(t.CRLs, l)
		return 1, nil
	}
	found, unreadable := ekcert.ParsePEM(file)
	*list = append(*list, found...)
	n := len(found)
	for b := file; ; {
		label, body, end, ok := nextBlock(b)
		if !ok {
			break
		}
		if b = b[end:]; label != "X509 CRL" {
			continue
		}
		der, err := decode64(body)
		if err != nil {
			return n, fmt.Errorf("revocation list: %w", err)
		}
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			return n, fmt.Errorf("revocation list: %w", err)
		}
		t.CRLs = append(t.CRLs, l)
		n++
	}
	if n == 0 {
		return 0, fmt.Errorf("neither a certificate nor a revocation list (%d certificates cannot be read)", unreadable)
	}
	return n, nil
}

// Import adds the roots and revocation lists that may vouch for manifests, and
// returns the authority that their grants give: the same people may say the same
// things in either format.
func (t *Trust) Import(m *manifest.Trust) Authority {
	for _, r := range m.Roots() {
		if c, err := ekcert.Parse(r.Raw); err == nil {
			t.Roots = append(t.Roots, c)
		}
	}
	t.CRLs = append(t.CRLs, m.Lists()...)
	return func(path []*ekcert.Certificate, manufacturer string, class bom.Class, delta bool) error {
		var strict []*x509.Certificate
		for _, p := range path {
			c, err := x509.ParseCertificate(p.DER)
			if err != nil {
				return fmt.Errorf("the certificate of %s: %w", nameOf(p), err)
			}
			strict = append(strict, c)
		}
		if err := m.May(strict, manufacturer, string(class), delta); err != nil {
			return fmt.Errorf("%s: %w", nameOf(path[0]), err)
		}
		return nil
	}
}

func nextBlock(b []byte) (label string, body []byte, end int, ok bool) {
	at := bytes.Index(b, []byte("-----BEGIN "))
	if at < 0 {
		return "", nil, 0, false
	}
	label, body, end, ok = pemBlock(b[at:])
	return label, body, at + end, ok
}

// Cause says why a certificate is not believed.
type Cause string

// The causes.
const (
	NotSigned     Cause = "signature" // no key of the named issuer made the signature
	IssuerUnknown Cause = "issuer"    // nobody of that name is given
	PathUnknown   Cause = "path"      // the issuer leads to no root
	NotValidYet   Cause = "not-yet-valid"
	Expired       Cause = "expired"
	Revoked       Cause = "revoked"
	NotEntitled   Cause = "not-entitled" // the issuer's certificate does not allow this
	NotUsable     Cause = "not-usable"   // a critical part is not understood
)

// Refused is the error of Verify: why, and how far it came. A path that is there
// shows that the signature holds.
type Refused struct {
	Cause Cause
	Why   string
	Path  []*ekcert.Certificate
}

func (r *Refused) Error() string { return fmt.Sprintf("%s: %s", r.Cause, r.Why) }

// Verified is a certificate that a trusted issuer made. Only Verify makes one.
type Verified struct {
	c     *Certificate
	path  []*ekcert.Certificate
	notes []string
}

// Certificate returns what was verified.
func (v *Verified) Certificate() *Certificate { return v.c }

// Path lists the issuer first and the root last.
func (v *Verified) Path() []*ekcert.Certificate { return v.path }

// Notes lists what is weak about the proof: SHA-1, short keys, and revocation
// that no given list speaks about.
func (v *Verified) Notes() []string { return v.notes }

// Verify checks who made a certificate: that an issuer of the name that it gives
// signed it, that a path leads from that issuer to a root, that all of it is
// valid at a time and not revoked. Names are compared as RFC 5280, 7.1, says.
// Weak algorithms are noted, not refused. The error is a *Refused.
func (c *Certificate) Verify(t *Trust, at time.Time) (*Verified, error) {
	if len(c.tbs) == 0 || t == nil {
		return nil, &Refused{Cause: NotSigned, Why: "nothing is signed, or nobody is believed"}
	}
	if !bytes.Equal(c.innerAlg, c.sigAlg) {
		return nil, &Refused{Cause: NotSigned, Why: "the algorithm inside of what is signed is not the one outside"}
	}
	for _, x := range c.Extensions {
		if x.Critical && !contains(criticalMay, x.ID) {
			return nil, &Refused{Cause: NotUsable, Why: "the critical extension " + x.ID + " is not known"}
		}
	}
	issuers, err := c.issuers(t)
	if err != nil {
		return nil, err
	}
	var first *Refused
	for _, i := range issuers {
		v, refused := c.under(i, t, at)
		if refused == nil {
			return v, nil
		}
		if first == nil || first.Path == nil && refused.Path != nil {
			first = refused
		}
	}
	return nil, first
}

// issuers finds the given certificates of the issuer's name whose key made the
// signature.
func (c *Certificate) issuers(t *Trust) ([]*ekcert.Certificate, error) {
	var out []*ekcert.Certificate
	alg, err := parseAlgorithm(c.sigAlg)
	if err != nil {
		return nil, &Refused{Cause: NotSigned, Why: err.Error()}
	}
	named, why := 0, error(nil)
	for _, list := range [][]*ekcert.Certificate{t.Roots, t.Intermediates} {
		for _, i := range list {
			if !x500.Equal(c.Issuer, i.Subject) {
				continue
			}
			if named++; named > maxIssuers {
				break
			}
			if _, err := ekcert.Verify(i.Key, alg, c.tbs, c.signature); err != nil {
				why = err
				continue
			}
			out = append(out, i)
		}
	}
	switch {
	case named == 0:
		return nil, &Refused{Cause: IssuerUnknown, Why: "no certificate of " + x500.String(c.Issuer) + " was given"}
	case len(out) == 0:
		return nil, &Refused{Cause: NotSigned, Why: fmt.Sprintf("of %d certificates of %s none made the signature: %v", named, x500.String(c.Issuer), why)}
	}
	return out, nil
}

// maxIssuers bounds the signature checks that one name can cause.
const maxIssuers = 32

func parseAlgorithm(der []byte) (pkix.AlgorithmIdentifier, error) {
	var a pkix.AlgorithmIdentifier
	_, err := asn1.Unmarshal(der, &a)
	if err != nil {
		return a, fmt.Errorf("signature algorithm: %w", err)
	}
	return a, nil
}

// under verifies a certificate under one issuer whose key made its signature.
func (c *Certificate) under(issuer *ekcert.Certificate, t *Trust, at time.Time) (*Verified, *Refused) {
	path, refused := t.path(issuer, at)
	if refused != nil {
		return nil, refused
	}
	refuse := func(cause Cause, format string, args ...any) (*Verified, *Refused) {
		return nil, &Refused{Cause: cause, Why: fmt.Sprintf(format, args...), Path: path}
	}
	switch {
	case at.Before(c.NotBefore):
		return refuse(NotValidYet, "not valid before %s", c.NotBefore.Format(time.RFC3339))
	case at.After(c.NotAfter):
		return refuse(Expired, "expired %s", c.NotAfter.Format(time.RFC3339))
	}
	if why := c.mayIssue(issuer); why != "" {
		return refuse(NotEntitled, "%s: %s", nameOf(issuer), why)
	}
	v := &Verified{c: c, path: path, notes: c.weak(path)}
	revoked, notes := t.revoked(c, path, at)
	if revoked != "" {
		return refuse(Revoked, "%s", revoked)
	}
	v.notes = append(v.notes, notes...)
	return v, nil
}

// mayIssue reports why a certificate does not allow what it was used for. An
// attribute authority signs; the issuer of public keys is an authority (RFC
// 5755, 4.5, and RFC 5280, 4.2.1.9). Issuers of attribute certificates that are
// certification authorities are found in the field and are let pass.
func (c *Certificate) mayIssue(i *ekcert.Certificate) string {
	const signs = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageContentCommitment
	switch {
	case c.Form == PublicKeyForm && !i.CA:
		return "is no certification authority, and issued a public-key certificate"
	case c.Form == PublicKeyForm && i.KeyUsage != 0 && i.KeyUsage&x509.KeyUsageCertSign == 0,
		i.KeyUsage != 0 && i.KeyUsage&signs == 0:
		return "its key usage does not allow signatures"
	}
	return ""
}

// path leads from an issuer to a root, over certificates that are usable at the
// time; if there is none, one over others tells what is wrong with it.
func (t *Trust) path(issuer *ekcert.Certificate, at time.Time) ([]*ekcert.Certificate, *Refused) {
	if usable(issuer, at, false) == nil {
		if chain, ok := ekcert.Find(issuer, usableOf(t.Roots, at), usableOf(t.Intermediates, at), at); ok {
			if why := tooLong(chain.Path); why != "" {
				return nil, &Refused{Cause: NotEntitled, Why: why, Path: chain.Path}
			}
			return chain.Path, nil
		}
	}
	chain, ok := ekcert.Find(issuer, t.Roots, t.Intermediates, at)
	if !ok {
		return nil, &Refused{Cause: PathUnknown, Why: "no path leads from " + nameOf(issuer) + " to a root that was given"}
	}
	for i, c := range chain.Path {
		if r := usable(c, at, i > 0); r != nil {
			r.Path = chain.Path
			return nil, r
		}
	}
	return nil, &Refused{Cause: PathUnknown, Why: "no usable path leads from " + nameOf(issuer) + " to a root", Path: chain.Path}
}

func usableOf(list []*ekcert.Certificate, at time.Time) []*ekcert.Certificate {
	var out []*ekcert.Certificate
	for _, c := range list {
		if usable(c, at, false) == nil {
			out = append(out, c)
		}
	}
	return out
}

// usable tells why a certificate cannot be a link of a path.
func usable(c *ekcert.Certificate, at time.Time, authority bool) *Refused {
	switch {
	case at.Before(c.NotBefore):
		return &Refused{Cause: NotValidYet, Why: fmt.Sprintf("certificate of %s is not valid before %s", nameOf(c), c.NotBefore.Format(time.RFC3339))}
	case at.After(c.NotAfter):
		return &Refused{Cause: Expired, Why: fmt.Sprintf("certificate of %s expired %s", nameOf(c), c.NotAfter.Format(time.RFC3339))}
	case authority && !c.CA:
		return &Refused{Cause: NotEntitled, Why: nameOf(c) + " is no certification authority"}
	case authority && c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0:
		return &Refused{Cause: NotEntitled, Why: "the key usage of " + nameOf(c) + " does not allow certificates"}
	}
	return nil
}

// tooLong checks what authorities allow below them (RFC 5280, 4.2.1.9). The
// first certificate of a path may be no authority, the others have to be.
func tooLong(path []*ekcert.Certificate) string {
	for i, c := range path {
		if i == 0 {
			continue
		}
		if r := usable(c, c.NotBefore, true); r != nil {
			return r.Why
		}
		below := 0 // authorities between this one and the one that is no issuer of any
		for _, b := range path[:i] {
			if b.CA && !bytes.Equal(b.Issuer, b.Subject) {
				below++
			}
		}
		if c.PathLen >= 0 && below > c.PathLen {
			return fmt.Sprintf("%s allows %d authorities below it, and there are %d", nameOf(c), c.PathLen, below)
		}
	}
	return ""
}

// weak notes algorithms that are no longer good enough.
func (c *Certificate) weak(path []*ekcert.Certificate) []string {
	var out []string
	alg, _ := parseAlgorithm(c.sigAlg)
	if h, err := ekcert.Verify(path[0].Key, alg, c.tbs, c.signature); err == nil && h == crypto.SHA1 {
		out = append(out, "the certificate is signed with SHA-1")
	}
	for i, p := range path {
		if k, ok := p.Key.(*rsa.PublicKey); ok && k.N.BitLen() < 2048 {
			out = append(out, fmt.Sprintf("the key of %s has %d bits", nameOf(p), k.N.BitLen()))
		}
		if i+1 < len(path) {
			if h, ok := p.SignedBy(path[i+1]); ok && h == crypto.SHA1 {
				out = append(out, "the certificate of "+nameOf(p)+" is signed with SHA-1")
			}
		}
	}
	return out
}

// revoked looks the certificate and its path up in the given lists. A list that
// is out of date still revokes. What no list of its issuer speaks about is told.
func (t *Trust) revoked(c *Certificate, path []*ekcert.Certificate, at time.Time) (revoked string, notes []string) {
	type link struct {
		what   string
		id     subject
		issuer *ekcert.Certificate
	}
	links := []link{{"the platform certificate", subject{c.Issuer, c.Serial, nil}, path[0]}}
	for i, p := range path[:len(path)-1] {
		links = append(links, link{"the certificate of " + nameOf(p), subject{p.Issuer, p.Serial, nil}, path[i+1]})
	}
	for _, l := range links {
		known := false
		for _, list := range t.CRLs {
			if !x500.Equal(list.RawIssuer, l.id.issuer) {
				continue
			}
			if err := signedList(list, l.issuer); err != nil {
				notes = append(notes, fmt.Sprintf("a revocation list in the name of %s is not signed by it: %v", nameOf(l.issuer), err))
				continue
			}
			known = true
			if !list.NextUpdate.IsZero() && at.After(list.NextUpdate) {
				notes = append(notes, fmt.Sprintf("the revocation list of %s is out of date since %s", nameOf(l.issuer), list.NextUpdate.UTC().Format(time.RFC3339)))
			}
			for _, e := range list.RevokedCertificateEntries {
				if e.SerialNumber.Cmp(l.id.serial) == 0 {
					return fmt.Sprintf("%s was revoked %s", l.what, e.RevocationTime.UTC().Format(time.RFC3339)), notes
				}
			}
		}
		if !known {
			notes = append(notes, "no revocation list speaks about "+l.what)
		}
	}
	return "", notes
}

// signedList checks the signature of a revocation list with tolerant readers.
func signedList(l *x509.RevocationList, issuer *ekcert.Certificate) error {
	if issuer.KeyUsage != 0 && issuer.KeyUsage&x509.KeyUsageCRLSign == 0 {
		return errors.New("its key usage does not allow revocation lists")
	}
	s := cryptobyte.String(l.Raw)
	var outer, tbs cryptobyte.String
	if !s.ReadASN1(&outer, ctag.SEQUENCE) || !outer.ReadASN1Element(&tbs, ctag.SEQUENCE) {
		return errors.New("no list")
	}
	_, raw, err := readAlgorithm(&outer)
	if err != nil {
		return err
	}
	alg, err := parseAlgorithm(raw)
	if err != nil {
		return err
	}
	_, err = ekcert.Verify(issuer.Key, alg, l.RawTBSRevocationList, l.Signature)
	return err
}

// nameOf is how an issuer is called in reports.
func nameOf(c *ekcert.Certificate) string {
	n, err := x500.Parse(c.Subject)
	if err != nil {
		return "an issuer without a readable name"
	}
	org, cn := strings.Join(n.Organizations(), ", "), n.First("2.5.4.3")
	switch {
	case org == "" && cn == "":
		return n.String()
	case org == "":
		return cn
	case cn == "" || cn == org:
		return org
	}
	return org + " (" + cn + ")"
}
