// Package ekcert reads endorsement key certificates as TPMs really hold them,
// and builds chains to the roots of TPM makers.
//
// crypto/x509 refuses many of them: serial numbers with leading zeroes or below
// zero, a critical subject alternative name that it does not know, keys under
// the RSAES-OAEP identifier, issuers that signed with SHA-1, padding and headers
// from the NV index. They are read here without those refusals, and what was
// tolerated is named. A chain proves that a maker's key vouched for the bytes;
// validity and weak hashes are reported, not decided.
package ekcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1" // old issuers
	"crypto/sha256"
	_ "crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/assay-hw/assay/internal/x500"
)

// ErrMalformed is wrapped by every refusal.
var ErrMalformed = errors.New("malformed certificate")

// MaxSize bounds a certificate; NV indexes hold at most a few KiB.
const MaxSize = 32 << 10

// Certificate is one X.509 certificate.
type Certificate struct {
	DER       []byte
	Issuer    []byte // DER of the name
	Subject   []byte
	NotBefore time.Time
	NotAfter  time.Time
	SPKI      []byte           // DER of the subject public key info, as it stands
	Key       crypto.PublicKey // *rsa.PublicKey, *ecdsa.PublicKey or nil
	KeyKind   string           // "rsa-2048", "ecc-p256", ...
	Usages    []string         // extended key usages, dotted
	CA        bool
	PathLen   int           // certificates that may follow below a CA, -1 for any number
	KeyUsage  x509.KeyUsage // 0 when the certificate does not say
	Serial    *big.Int
	KeyID     []byte   // subject key identifier
	Tolerated []string // what a strict reader would have refused

	issuer, subject string // the names, folded

	tbs       []byte
	sigAlg    pkix.AlgorithmIdentifier
	signature []byte
}

// The key usages of the TCG (TCG EK Credential Profile 2.5, 3.2.16).
const (
	UsageEK       = "2.23.133.8.1"
	UsagePlatform = "2.23.133.8.2"
)

type tbsCertificate struct {
	Raw        asn1.RawContent
	Version    int `asn1:"optional,explicit,default:0,tag:0"`
	Serial     asn1.RawValue
	SigAlg     asn1.RawValue
	Issuer     asn1.RawValue
	Validity   asn1.RawValue
	Subject    asn1.RawValue
	SPKI       asn1.RawValue
	IssuerUID  asn1.BitString   `asn1:"optional,tag:1"`
	SubjectUID asn1.BitString   `asn1:"optional,tag:2"`
	Extensions []pkix.Extension `asn1:"omitempty,optional,explicit,tag:3"`
}

type outer struct {
	TBS    asn1.RawValue
	SigAlg pkix.AlgorithmIdentifier
	Sig    asn1.BitString
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), ErrMalformed)
}

// Trim finds the certificate inside the contents of an NV index: behind a
// short header, before padding. It names what it cut off.
func Trim(nv []byte) (der []byte, tolerated []string, err error) {
	for at := range min(16, len(nv)) {
		b := nv[at:]
		if len(b) < 4 || b[0] != 0x30 || b[1] != 0x82 {
			continue
		}
		n := 4 + int(b[2])<<8 + int(b[3])
		if n > len(b) || n > MaxSize {
			continue
		}
		if at > 0 {
			tolerated = append(tolerated, fmt.Sprintf("header of %d bytes", at))
		}
		if pad := b[n:]; len(pad) > 0 {
			what := "padding"
			if len(bytes.Trim(pad, "\x00\xff")) > 0 {
				what = "other data"
			}
			tolerated = append(tolerated, fmt.Sprintf("%d bytes of %s behind the certificate", len(pad), what))
		}
		return b[:n:n], tolerated, nil
	}
	return nil, nil, malformed("no certificate in %d bytes", len(nv))
}

// Parse reads the certificate in the contents of an NV index or a DER file.
func Parse(nv []byte) (*Certificate, error) {
	der, tolerated, err := Trim(nv)
	if err != nil {
		return nil, err
	}
	var o outer
	if _, err := asn1.Unmarshal(der, &o); err != nil {
		return nil, malformed("certificate: %v", err)
	}
	var t tbsCertificate
	if _, err := asn1.Unmarshal(o.TBS.FullBytes, &t); err != nil {
		return nil, malformed("contents: %v", err)
	}
	c := &Certificate{
		DER: der, Issuer: t.Issuer.FullBytes, Subject: t.Subject.FullBytes, SPKI: t.SPKI.FullBytes, Tolerated: tolerated,
		tbs: o.TBS.FullBytes, sigAlg: o.SigAlg, signature: o.Sig.RightAlign(), PathLen: -1,
		issuer: x500.Folded(t.Issuer.FullBytes), subject: x500.Folded(t.Subject.FullBytes),
	}
	c.serial(t.Serial.Bytes)
	c.validity(t.Validity.FullBytes)
	c.extensions(t.Extensions)
	return c, c.key()
}

func (c *Certificate) tolerate(format string, args ...any) {
	c.Tolerated = append(c.Tolerated, fmt.Sprintf(format, args...))
}

func (c *Certificate) serial(b []byte) {
	c.Serial = new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		c.Serial.Sub(c.Serial, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	switch {
	case len(b) == 0:
		c.tolerate("empty serial number")
	case b[0]&0x80 != 0:
		c.tolerate("negative serial number")
	case len(b) > 1 && b[0] == 0 && b[1]&0x80 == 0:
		c.tolerate("serial number with leading zeroes")
	}
}

func (c *Certificate) validity(b []byte) {
	var v struct{ NotBefore, NotAfter time.Time }
	if _, err := asn1.Unmarshal(b, &v); err != nil {
		c.tolerate("unreadable validity")
		return
	}
	c.NotBefore, c.NotAfter = v.NotBefore, v.NotAfter
}

func (c *Certificate) extensions(xs []pkix.Extension) {
	for _, x := range xs {
		switch x.Id.String() {
		case "2.5.29.37":
			var ids []asn1.ObjectIdentifier
			if _, err := asn1.Unmarshal(x.Value, &ids); err != nil {
				c.tolerate("unreadable extended key usage")
				continue
			}
			for _, id := range ids {
				c.Usages = append(c.Usages, id.String())
			}
		case "2.5.29.19":
			var bc struct {
				CA  bool `asn1:"optional"`
				Len int  `asn1:"optional,default:-1"`
			}
			if _, err := asn1.Unmarshal(x.Value, &bc); err == nil {
				c.CA, c.PathLen = bc.CA, bc.Len
			}
		case "2.5.29.15":
			var bits asn1.BitString
			if _, err := asn1.Unmarshal(x.Value, &bits); err != nil {
				c.tolerate("unreadable key usage")
				continue
			}
			for i := range 9 {
				c.KeyUsage |= x509.KeyUsage(bits.At(i) << i)
			}
		case "2.5.29.14":
			if _, err := asn1.Unmarshal(x.Value, &c.KeyID); err != nil {
				c.tolerate("unreadable subject key identifier")
			}
		case "2.5.29.17":
			if x.Critical {
				c.tolerate("critical subject alternative name")
			}
		}
	}
}

const (
	oidRSA   = "1.2.840.113549.1.1.1"
	oidOAEP  = "1.2.840.113549.1.1.7"
	oidPSS   = "1.2.840.113549.1.1.10"
	oidECKey = "1.2.840.10045.2.1"
	oidEd    = "1.3.101.112"
)

func (c *Certificate) key() error {
	var s struct {
		Alg pkix.AlgorithmIdentifier
		Key asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.SPKI, &s); err != nil {
		return malformed("public key: %v", err)
	}
	b := s.Key.RightAlign()
	switch oid := s.Alg.Algorithm.String(); oid {
	case oidOAEP, oidRSA, oidPSS:
		if oid == oidOAEP {
			c.tolerate("key under the RSAES-OAEP identifier")
		}
		return c.rsaKey(b)
	case oidECKey:
		var curve asn1.ObjectIdentifier
		if _, err := asn1.Unmarshal(s.Alg.Parameters.FullBytes, &curve); err != nil {
			return malformed("curve: %v", err)
		}
		return c.ecKey(curve.String(), b)
	case oidEd:
		if len(b) != ed25519.PublicKeySize {
			return malformed("Ed25519 key of %d bytes", len(b))
		}
		c.Key, c.KeyKind = ed25519.PublicKey(b), "ed25519"
		return nil
	default:
		c.KeyKind = "oid-" + oid
		return nil
	}
}

func (c *Certificate) rsaKey(b []byte) error {
	var k struct {
		N *big.Int
		E int
	}
	if _, err := asn1.Unmarshal(b, &k); err != nil {
		return malformed("RSA key: %v", err)
	}
	if k.N.Sign() <= 0 || k.N.BitLen() < 1024 || k.N.BitLen() > 8192 || k.E < 3 || k.E&1 == 0 {
		return malformed("RSA key of %d bits, exponent %d", k.N.BitLen(), k.E)
	}
	c.Key, c.KeyKind = &rsa.PublicKey{N: k.N, E: k.E}, fmt.Sprintf("rsa-%d", k.N.BitLen())
	return nil
}

func (c *Certificate) ecKey(curve string, b []byte) error {
	var e elliptic.Curve
	switch curve {
	case "1.2.840.10045.3.1.7":
		e, c.KeyKind = elliptic.P256(), "ecc-p256"
	case "1.3.132.0.34":
		e, c.KeyKind = elliptic.P384(), "ecc-p384"
	case "1.3.132.0.35":
		e, c.KeyKind = elliptic.P521(), "ecc-p521"
	default:
		c.KeyKind = "ecc-" + curve
		return nil
	}
	k, err := ecdsa.ParseUncompressedPublicKey(e, b)
	if err != nil {
		return malformed("point is not on the curve")
	}
	c.Key = k
	return nil
}

// KeyHash identifies a key whatever identifier it stood under: SHA-256 of its
// SubjectPublicKeyInfo in the usual DER form.
func KeyHash(k crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(k)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Has reports whether the certificate names an extended key usage.
func (c *Certificate) Has(usage string) bool {
	for _, u := range c.Usages {
		if u == usage {
			return true
		}
	}
	return false
}

var signatureHashes = map[string]crypto.Hash{
	"1.3.14.3.2.29":        crypto.SHA1, // OIW
	"1.2.840.113549.1.1.5": crypto.SHA1, "1.2.840.113549.1.1.11": crypto.SHA256,
	"1.2.840.113549.1.1.12": crypto.SHA384, "1.2.840.113549.1.1.13": crypto.SHA512,
	"1.2.840.10045.4.1": crypto.SHA1, "1.2.840.10045.4.3.2": crypto.SHA256,
	"1.2.840.10045.4.3.3": crypto.SHA384, "1.2.840.10045.4.3.4": crypto.SHA512,
}

// SignedBy reports whether the issuer's key made the signature, and with
// which hash. The issuer is who the certificate names, whatever string types
// either of them wrote the name with.
func (c *Certificate) SignedBy(issuer *Certificate) (crypto.Hash, bool) {
	if !x500.Equal(c.Issuer, issuer.Subject) {
		return 0, false
	}
	h, err := Verify(issuer.Key, c.sigAlg, c.tbs, c.signature)
	return h, err == nil
}

// Signature is the value of the certificate's signature, by which some formats
// name a certificate.
func (c *Certificate) Signature() []byte { return c.signature }

// errSignature means that a signature is not that of the key.
var errSignature = errors.New("the signature is not that of the key")

// Verify checks a signature, and says which hash it is over. SHA-1 is not
// refused here: old issuers used it, and the caller has to say so.
func Verify(key crypto.PublicKey, alg pkix.AlgorithmIdentifier, signed, signature []byte) (crypto.Hash, error) {
	oid := alg.Algorithm.String()
	if k, ok := key.(ed25519.PublicKey); ok && oid == oidEd {
		if !ed25519.Verify(k, signed, signature) {
			return 0, errSignature
		}
		return crypto.SHA512, nil
	}
	h, pss := signatureHashes[oid], oid == oidPSS
	if pss {
		h = pssHash(alg.Parameters.FullBytes)
	}
	if h == 0 || !h.Available() {
		return 0, fmt.Errorf("signature algorithm %s is not known", oid)
	}
	d := h.New()
	d.Write(signed)
	sum := d.Sum(nil)
	ok := false
	switch k := key.(type) {
	case *rsa.PublicKey:
		if pss {
			ok = rsa.VerifyPSS(k, h, sum, signature, nil) == nil
		} else {
			ok = !strings.HasPrefix(oid, oidECDSA) && rsa.VerifyPKCS1v15(k, h, sum, signature) == nil
		}
	case *ecdsa.PublicKey:
		ok = strings.HasPrefix(oid, oidECDSA) && ecdsa.VerifyASN1(k, sum, signature)
	default:
		return 0, fmt.Errorf("a key of type %T does not make signatures of %s", key, oid)
	}
	if !ok {
		return h, errSignature
	}
	return h, nil
}

// oidECDSA begins the identifiers of ECDSA signatures.
const oidECDSA = "1.2.840.10045.4."

// pssHash reads the hash of RSASSA-PSS-params (RFC 4055, 3.1); its default is
// SHA-1.
func pssHash(params []byte) crypto.Hash {
	var p struct {
		Hash pkix.AlgorithmIdentifier `asn1:"optional,explicit,tag:0"`
		MGF  asn1.RawValue            `asn1:"optional,explicit,tag:1"`
		Salt int                      `asn1:"optional,explicit,tag:2,default:20"`
	}
	if _, err := asn1.Unmarshal(params, &p); err != nil {
		return 0
	}
	switch p.Hash.Algorithm.String() {
	case "", "1.3.14.3.2.26":
		return crypto.SHA1
	case "2.16.840.1.101.3.4.2.1":
		return crypto.SHA256
	case "2.16.840.1.101.3.4.2.2":
		return crypto.SHA384
	case "2.16.840.1.101.3.4.2.3":
		return crypto.SHA512
	}
	return 0
}

// Chain is a path from a certificate to a root, and what is weak about it.
type Chain struct {
	Path  []*Certificate
	Notes []string
}

const (
	maxDepth    = 6
	maxAttempts = 64 // signature checks per chain search
)

// Find builds a chain from c to one of the roots. Intermediates and roots are
// tried in the order given; expired links and SHA-1 are noted, not refused.
func Find(c *Certificate, roots, intermediates []*Certificate, now time.Time) (*Chain, bool) {
	s := search{roots: roots, mids: intermediates, left: maxAttempts}
	path, by := s.extend([]*Certificate{c}, nil)
	if path == nil {
		return nil, false
	}
	ch := &Chain{Path: path}
	for i, x := range path {
		if !x.NotAfter.IsZero() && now.After(x.NotAfter) {
			ch.Notes = append(ch.Notes, fmt.Sprintf("link %d expired %s", i, x.NotAfter.UTC().Format(time.DateOnly)))
		}
		if now.Before(x.NotBefore) {
			ch.Notes = append(ch.Notes, fmt.Sprintf("link %d not valid before %s", i, x.NotBefore.UTC().Format(time.DateOnly)))
		}
		if i < len(by) && by[i] == crypto.SHA1 {
			ch.Notes = append(ch.Notes, fmt.Sprintf("link %d is signed with SHA-1", i))
		}
	}
	return ch, true
}

type search struct {
	roots, mids []*Certificate
	left        int
}

// extend goes on from a path to a root. by are the hashes of the signatures that
// were verified along it, each once: they cost more than all the rest.
func (s *search) extend(path []*Certificate, by []crypto.Hash) ([]*Certificate, []crypto.Hash) {
	last := path[len(path)-1]
	for _, r := range s.roots {
		if bytes.Equal(r.DER, last.DER) {
			return path, by
		}
	}
	if len(path) > maxDepth {
		return nil, nil
	}
	for i, set := range [][]*Certificate{s.roots, s.mids} {
		for _, n := range set {
			if last.issuer != n.subject || i == 1 && !n.CA || contains(path, n) {
				continue
			}
			if s.left--; s.left < 0 {
				return nil, nil
			}
			h, ok := last.SignedBy(n)
			if !ok {
				continue
			}
			if found, hashes := s.extend(append(path[:len(path):len(path)], n), append(by[:len(by):len(by)], h)); found != nil {
				return found, hashes
			}
		}
	}
	return nil, nil
}

func contains(path []*Certificate, c *Certificate) bool {
	for _, p := range path {
		if bytes.Equal(p.DER, c.DER) {
			return true
		}
	}
	return false
}

// ParsePEM reads the certificates of a PEM bundle. Blocks that are not
// certificates are passed over; those that cannot be read are counted.
func ParsePEM(b []byte) (certs []*Certificate, unreadable int) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return certs, unreadable
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := Parse(block.Bytes)
		if err != nil {
			unreadable++
			continue
		}
		certs = append(certs, c)
	}
}
