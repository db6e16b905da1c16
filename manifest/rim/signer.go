package rim

import (
	"bytes"
	"crypto"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/internal/xmldsig"
	"github.com/assay-hw/assay/internal/xmltree"
)

var errNoKey = errors.New("no certificate that the signature can be checked with: give that of the signer")

// maxCandidates bounds how many keys are tried.
const maxCandidates = 64

// verify checks the signature, and where it does not hold once more without the
// white space that pretty-printing adds.
func (o *opener) verify(all []*x509.Certificate) (*xmldsig.Signature, []*x509.Certificate, Verdict, error) {
	doc, err := xmltree.Parse(o.raw, xmlLimits())
	if err != nil {
		return nil, nil, Invalid, err
	}
	sig, chain, err := check(doc, all)
	switch {
	case err == nil:
		return sig, chain, Valid, nil
	case errors.Is(err, errNoKey):
		return nil, nil, Unverified, err
	case !errors.Is(err, xmldsig.ErrDigest) && !errors.Is(err, xmldsig.ErrSignature):
		return nil, nil, Invalid, err
	}
	if doc.StripSpace() {
		s, c, stripped := check(doc, all)
		if stripped == nil {
			return s, c, ValidNonstandard, nil
		}
		if errors.Is(stripped, errNoKey) {
			return nil, nil, Unverified, stripped
		}
	}
	return nil, nil, Invalid, err
}

// check verifies a signature with the certificates that may be the signer's,
// and, where there is none, with the key that the signature itself holds: then
// the chain is nil.
func check(doc *xmltree.Document, all []*x509.Certificate) (*xmldsig.Signature, []*x509.Certificate, error) {
	sig, err := xmldsig.Read(doc)
	if err != nil {
		return nil, nil, err
	}
	var inside []*x509.Certificate
	for _, der := range sig.Keys.Certificates {
		if c, err := x509.ParseCertificate(der); err == nil {
			inside = append(inside, c)
		}
	}
	all = slices.Concat(inside, all)
	err = errNoKey
	for _, c := range candidates(sig, all) {
		if e := sig.Verify(c.PublicKey); e == nil {
			rest := slices.DeleteFunc(slices.Clone(all), c.Equal)
			return sig, append([]*x509.Certificate{c}, rest[:min(len(rest), 31)]...), nil
		} else if !errors.Is(err, xmldsig.ErrSignature) {
			err = e
		}
	}
	for _, k := range sig.Keys.Values {
		if e := sig.Verify(k); e == nil {
			return sig, nil, nil
		} else if errors.Is(err, errNoKey) {
			err = e
		}
	}
	return nil, nil, err
}

// candidates puts the certificates that the signature hints at first. Hints are
// not signed, so that nothing is left out for want of one.
func candidates(sig *xmldsig.Signature, all []*x509.Certificate) []*x509.Certificate {
	var first, rest []*x509.Certificate
	for _, c := range all {
		if hinted(sig.Keys, c) {
			first = append(first, c)
		} else if !c.IsCA {
			rest = append(rest, c)
		}
	}
	first = append(first, rest...)
	return first[:min(len(first), maxCandidates)]
}

func hinted(k xmldsig.KeyInfo, c *x509.Certificate) bool {
	id := hex.EncodeToString(c.SubjectKeyId)
	for _, n := range k.Names {
		if id != "" && strings.EqualFold(strings.ReplaceAll(n, ":", ""), id) || n == c.Subject.String() || n != "" && n == c.Subject.CommonName {
			return true
		}
	}
	for _, s := range k.SubjectKeys {
		if len(s) > 0 && bytes.Equal(s, c.SubjectKeyId) {
			return true
		}
	}
	pub, ok := c.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && slices.ContainsFunc(k.Values, func(v crypto.PublicKey) bool { return pub.Equal(v) }) || slices.Contains(k.Subjects, c.Subject.String())
}

// stamped returns the time that a signed time stamp in the signature states
// (RFC 3339), or none. It is the signer's word.
func stamped(sig *xmldsig.Signature) time.Time {
	for _, b := range sig.Extra {
		doc, err := xmltree.Parse(b, xmlLimits())
		if err != nil {
			continue
		}
		var at time.Time
		_ = doc.Root.Walk(func(n *xmltree.Node) error {
			if n.Kind == xmltree.Element && n.Name.Local == "TimeStamp" {
				for _, a := range n.Attrs {
					if t, err := time.Parse(time.RFC3339, a.Value); err == nil && strings.EqualFold(a.Name.Local, "dateTime") && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999 {
						at = t.UTC()
					}
				}
			}
			return nil
		})
		if !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}

// signerName is how a signer is called in reports.
func signerName(c *x509.Certificate) string {
	org, cn := strings.Join(c.Subject.Organization, ", "), c.Subject.CommonName
	switch {
	case org == "":
		return cn
	case cn == "" || cn == org:
		return org
	}
	return fmt.Sprintf("%s (%s)", org, cn)
}

func isThumbprint(c *x509.Certificate, want string) bool {
	a, b, d := sha1.Sum(c.Raw), sha256.Sum256(c.Raw), sha512.Sum512(c.Raw)
	e := sha512.Sum384(c.Raw)
	for _, s := range [][]byte{a[:], b[:], e[:], d[:]} {
		if strings.EqualFold(hex.EncodeToString(s), strings.ReplaceAll(want, ":", "")) {
			return true
		}
	}
	return false
}
