// Package timestamp reads RFC 3161 time stamps offline. A token proves that some
// bytes existed when a time stamping authority saw them, if the authority is
// believed: here bytes are signatures on golden manifests, so that a signature
// outlives the certificate of its signer. It proves nothing about who signed.
package timestamp

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" //nolint:gosec // ESSCertID of RFC 2634 names a certificate by it
	"crypto/sha256"
	_ "crypto/sha512" // hash algorithms of tokens
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/digitorus/pkcs7"
	"github.com/digitorus/timestamp"
	"github.com/sigstore/timestamp-authority/v2/pkg/verification"
)

// Verifier believes some authorities.
type Verifier struct {
	roots []*x509.Certificate
	lists []*x509.RevocationList
}

// New makes a verifier of the roots of authorities, and of revocation lists.
func New(roots []*x509.Certificate, lists []*x509.RevocationList) *Verifier {
	return &Verifier{roots, lists}
}

const (
	maxToken    = 64 << 10
	maxAccuracy = time.Hour // a vaguer clock proves nothing that a certificate needs
	minRSABits  = 2048
	maxRSABits  = 8192 // above, a signature takes seconds and more
)

// Proven returns the latest time at which the authority can have seen the bytes,
// its accuracy added, and its name. The authority's certificate must have been
// valid then and must be valid now: with the key of an old authority anybody can
// write any time.
func (v *Verifier) Proven(token, signed []byte, now time.Time) (at time.Time, by string, err error) {
	s, err := read(token)
	if err != nil {
		return time.Time{}, "", err
	}
	if len(v.roots) == 0 {
		return time.Time{}, "", errors.New("no root of a time stamping authority is known")
	}
	if err := s.covers(signed); err != nil {
		return time.Time{}, "", err
	}
	for _, t := range []time.Time{s.stamp.Time, now} {
		if err := s.verify(signed, v.roots, t); err != nil {
			return time.Time{}, "", fmt.Errorf("authority %s, checked at %s: %w", s.name(), t.UTC().Format(time.RFC3339), err)
		}
	}
	if err := v.revoked(s, now); err != nil {
		return time.Time{}, "", err
	}
	return s.stamp.Time.Add(s.stamp.Accuracy), s.name(), nil
}

// Check verifies a token over some bytes with the certificate that it carries,
// whoever that belongs to: it shows that the token is whole, not that it is
// true.
func Check(token, signed []byte) (at time.Time, by string, err error) {
	s, err := read(token)
	if err != nil {
		return time.Time{}, "", err
	}
	if err := s.covers(signed); err != nil {
		return time.Time{}, "", err
	}
	return s.stamp.Time, s.name(), s.verify(signed, []*x509.Certificate{s.signer}, s.stamp.Time)
}

// Request makes a query for bytes: SHA-256, with a nonce, asking for the
// authority's certificate.
func Request(signed []byte) ([]byte, error) {
	nonce := make([]byte, 16)
	if _, err := rand.Read(nonce); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(signed)
	r := timestamp.Request{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Certificates: true, Nonce: new(big.Int).SetBytes(nonce)}
	return r.Marshal()
}

// Token takes the token of a response (TimeStampResp), or a bare token, and
// checks it against the query when there is one.
func Token(response, query []byte) ([]byte, error) {
	if err := shape(response); err != nil {
		return nil, err
	}
	s, err := guarded(func() (*timestamp.Timestamp, error) {
		if err := keysAreShort(response); err != nil {
			return nil, err
		}
		if s, err := timestamp.Parse(response); err == nil {
			return s, nil
		}
		return timestamp.ParseResponse(response)
	})
	if err != nil {
		return nil, fmt.Errorf("response: %w", err)
	}
	if query == nil {
		return s.RawToken, nil
	}
	if err := shape(query); err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	q, err := guarded(func() (*timestamp.Request, error) { return timestamp.ParseRequest(query) })
	switch {
	case err != nil:
		return nil, fmt.Errorf("query: %w", err)
	case q.HashAlgorithm != s.HashAlgorithm || !bytes.Equal(q.HashedMessage, s.HashedMessage):
		return nil, errors.New("the response is over other bytes than the query")
	case q.Nonce != nil && (s.Nonce == nil || q.Nonce.Cmp(s.Nonce) != 0):
		return nil, errors.New("the response has another nonce than the query: it answers another one")
	}
	return s.RawToken, nil
}

// keysAreShort refuses a token, or a response with one, that brings a key whose
// arithmetic takes seconds and more (H09): the library verifies while it parses.
func keysAreShort(b []byte) error {
	m, err := pkcs7.Parse(b)
	if err != nil {
		var r struct{ Status, Token asn1.RawValue }
		if _, err := asn1.Unmarshal(b, &r); err != nil {
			return nil // no form that the library reads
		}
		if m, err = pkcs7.Parse(r.Token.FullBytes); err != nil {
			return nil
		}
	}
	for _, c := range m.Certificates {
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
			return fmt.Errorf("brings an RSA key of %d bits, the limit is %d", k.N.BitLen(), maxRSABits)
		}
	}
	return nil
}

// stamp is a token that was parsed.
type stamp struct {
	stamp    *timestamp.Timestamp
	message  *pkcs7.PKCS7
	signer   *x509.Certificate
	response []byte // the form that the library reads
}

func read(token []byte) (*stamp, error) {
	if err := shape(token); err != nil {
		return nil, err
	}
	s, err := guarded(func() (*stamp, error) {
		if err := keysAreShort(token); err != nil {
			return nil, err
		}
		t, err := timestamp.Parse(token)
		if err != nil {
			return nil, err
		}
		m, err := pkcs7.Parse(token)
		if err != nil {
			return nil, err
		}
		return &stamp{stamp: t, message: m, signer: m.GetOnlySigner()}, nil
	})
	if err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	if s.signer == nil {
		return nil, errors.New("token: does not carry the certificate of the one authority that signed it; ask with certReq")
	}
	if s.stamp.Accuracy < 0 || s.stamp.Accuracy > maxAccuracy {
		return nil, fmt.Errorf("token: its clock is right to %s only", s.stamp.Accuracy)
	}
	if err := s.attributes(); err != nil {
		return nil, fmt.Errorf("token: %w", err)
	}
	// PKIStatusInfo granted, then the token (RFC 3161, 2.4.2).
	s.response, err = asn1.Marshal(struct{ Status, Token asn1.RawValue }{
		asn1.RawValue{FullBytes: []byte{0x30, 3, 2, 1, 0}}, asn1.RawValue{FullBytes: token},
	})
	return s, err
}

var (
	contentType          = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 3}
	tstInfo              = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 1, 4}
	signingCertificate   = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 12}
	signingCertificateV2 = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 16, 2, 47}
)

// digests that an authority may sign with (RFC 8017, B.1; no SHA-1).
var digests = map[string]crypto.Hash{
	"2.16.840.1.101.3.4.2.1": crypto.SHA256, "2.16.840.1.101.3.4.2.2": crypto.SHA384, "2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// attributes checks what is signed beside the token: that it is one, and whose
// certificate is meant (RFC 3161, 2.4.2; RFC 5816, 2.2.1).
func (s *stamp) attributes() error {
	if _, ok := digests[s.message.Signers[0].DigestAlgorithm.Algorithm.String()]; !ok {
		return fmt.Errorf("signed with the digest %s, want SHA-2", s.message.Signers[0].DigestAlgorithm.Algorithm)
	}
	if k, ok := s.signer.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() < minRSABits {
		return fmt.Errorf("signed with RSA of %d bits, want %d", k.N.BitLen(), minRSABits)
	}
	var typ asn1.ObjectIdentifier
	if err := s.message.UnmarshalSignedAttribute(contentType, &typ); err != nil || !typ.Equal(tstInfo) {
		return errors.New("what was signed is no time stamp")
	}
	var v1, v2 struct {
		Certs []asn1.RawValue
		More  asn1.RawValue `asn1:"optional"`
	}
	if err := s.message.UnmarshalSignedAttribute(signingCertificateV2, &v2); err == nil && len(v2.Certs) > 0 {
		return s.named(v2.Certs[0].Bytes, crypto.SHA256)
	}
	if err := s.message.UnmarshalSignedAttribute(signingCertificate, &v1); err == nil && len(v1.Certs) > 0 {
		return s.named(v1.Certs[0].Bytes, crypto.SHA1)
	}
	return errors.New("does not say which certificate signed it (signingCertificate)")
}

// named compares an ESSCertID or ESSCertIDv2 with the signer's certificate. An
// algorithm stands before the hash when it is not the default.
func (s *stamp) named(b []byte, h crypto.Hash) error {
	var first, sum asn1.RawValue
	rest, err := asn1.Unmarshal(b, &first)
	if err == nil && first.Tag == asn1.TagSequence {
		var oid asn1.ObjectIdentifier
		if _, err = asn1.Unmarshal(first.Bytes, &oid); err == nil {
			if h = digests[oid.String()]; h == 0 {
				return fmt.Errorf("names its certificate by the digest %s", oid)
			}
			_, err = asn1.Unmarshal(rest, &sum)
		}
	} else {
		sum = first
	}
	if err != nil {
		return fmt.Errorf("signingCertificate: %w", err)
	}
	d := h.New()
	d.Write(s.signer.Raw)
	if !bytes.Equal(d.Sum(nil), sum.Bytes) {
		return errors.New("names another certificate than the one that it carries")
	}
	return nil
}

func (s *stamp) name() string {
	n := s.signer.Subject
	return strings.TrimSpace(strings.Join(append(n.Organization, n.CommonName), " "))
}

// covers tells of other bytes before anything else is wrong with a token.
func (s *stamp) covers(signed []byte) error {
	h := s.stamp.HashAlgorithm
	if h != crypto.SHA256 && h != crypto.SHA384 && h != crypto.SHA512 {
		return fmt.Errorf("the token is over a digest by %s, want SHA-2", h)
	}
	d := h.New()
	d.Write(signed)
	if !bytes.Equal(d.Sum(nil), s.stamp.HashedMessage) {
		return errors.New("the token is over other bytes")
	}
	return nil
}

func (s *stamp) verify(signed []byte, roots []*x509.Certificate, at time.Time) error {
	_, err := guarded(func() (*timestamp.Timestamp, error) {
		return verification.VerifyTimestampResponse(s.response, bytes.NewReader(signed), verification.VerifyOpts{Roots: roots, CurrentTime: at})
	})
	return err
}

// revoked refuses an authority that is in a revocation list, whatever the reason
// and the date: tokens can be dated back.
func (v *Verifier) revoked(s *stamp, now time.Time) error {
	roots, between := x509.NewCertPool(), x509.NewCertPool()
	for _, c := range v.roots {
		roots.AddCert(c)
	}
	for _, c := range s.message.Certificates {
		between.AddCert(c)
	}
	paths, err := s.signer.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping}})
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err = v.listed(path); err == nil {
			return nil
		}
	}
	return err
}

func (v *Verifier) listed(path []*x509.Certificate) error {
	for i, c := range path[:len(path)-1] {
		for _, l := range v.lists {
			if !bytes.Equal(l.RawIssuer, c.RawIssuer) || l.CheckSignatureFrom(path[i+1]) != nil {
				continue
			}
			for _, e := range l.RevokedCertificateEntries {
				if e.SerialNumber.Cmp(c.SerialNumber) == 0 {
					return fmt.Errorf("the certificate of the authority %s was revoked %s", c.Subject, e.RevocationTime.UTC().Format(time.RFC3339))
				}
			}
		}
	}
	return nil
}

// guarded turns a panic of the libraries into an error.
func guarded[T any](f func() (T, error)) (out T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed: %v", r)
		}
	}()
	return f()
}

// shape refuses what is no DER before the libraries, which convert BER and
// recurse, see it: lengths are definite, nesting is shallow, nothing trails.
func shape(b []byte) error {
	if len(b) > maxToken {
		return fmt.Errorf("%d bytes, the limit is %d", len(b), maxToken)
	}
	if len(b) == 0 {
		return errors.New("is empty")
	}
	return walk(b, 0, 0)
}

const maxDepth = 24

func walk(b []byte, offset, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("offset %d: nested more than %d deep", offset, maxDepth)
	}
	for len(b) > 0 {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(b, &v)
		if err != nil {
			return fmt.Errorf("offset %d: %w", offset, err)
		}
		if depth == 0 && len(rest) > 0 {
			return fmt.Errorf("offset %d: trailing data", offset+len(b)-len(rest))
		}
		if v.IsCompound {
			if err := walk(v.Bytes, offset+len(v.FullBytes)-len(v.Bytes), depth+1); err != nil {
				return err
			}
		}
		offset += len(b) - len(rest)
		b = rest
	}
	return nil
}
