package spdm

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Chain is a certificate chain of a device, each certificate signed by the one
// before it. Only ParseChain and ParsePEM make one. It does not say whether its
// root is anybody's.
type Chain struct {
	certs []*x509.Certificate // root first
	hash  crypto.Hash         // with which the device names the root; 0 when it came without its header
	notes []string
}

// Bounds of a chain: more certificates than any device has, and keys that take
// long to check.
const (
	maxCertificates = 16
	maxRSABits      = 8192
)

// Object identifiers of the DMTF (DSP0274, "SPDM certificate requirements").
const (
	oidResponderAuth = "1.3.6.1.4.1.412.274.3"
	oidRequesterAuth = "1.3.6.1.4.1.412.274.4"
	oidSPDMExtension = "1.3.6.1.4.1.412.274.6"
)

// hardwareIdentity is id-DMTF-hardware-identity, 1.3.6.1.4.1.412.274.2, inside
// of the extension.
var hardwareIdentity = []byte{0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0x1c, 0x82, 0x12, 0x02}

// ParseChain reads the certificate chain of a slot as a device hands it out:
// its length, two reserved bytes, the hash of the root certificate, then the
// certificates in DER, the root or one under it first (DSP0274, "Certificate
// chain format"). A root that the chain leaves out may be given.
func ParseChain(b []byte, root ...*x509.Certificate) (*Chain, error) {
	if len(b) > maxChain {
		return nil, malformed(maxChain, "exceeds the limit of %d bytes", maxChain)
	}
	w := wire{b: b}
	n, err := w.uint16("length of the chain")
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, malformed(0, "a chain of %d bytes says that it has %d", len(b), n)
	}
	if _, err := w.take(2, "certificate chain"); err != nil {
		return nil, err
	}
	// The header does not name the hash. With which one the root is named
	// shows where the certificates begin.
	var why error
	for _, bit := range []uint32{1, 2, 4} {
		h := hashings[bit].hash
		at := w.at + h.Size()
		if at >= len(b) || b[at] != 0x30 {
			continue
		}
		certs, err := parseCertificates(b, at)
		if err != nil {
			why = err
			continue
		}
		if !bytes.Equal(digest(h, certs[0].Raw), b[w.at:at]) {
			for _, r := range root {
				if bytes.Equal(digest(h, r.Raw), b[w.at:at]) {
					return linked(append([]*x509.Certificate{r}, certs...), h)
				}
			}
			return nil, fmt.Errorf("offset %d: the root hash is not that of the first certificate: %w", w.at, ErrForged)
		}
		return linked(certs, h)
	}
	if why != nil {
		return nil, why
	}
	return nil, malformed(w.at, "no certificate behind a root hash")
}

// ParsePEM reads a chain as Redfish hands it out: certificates in PEM, root
// first or last, and no header of SPDM.
func ParsePEM(b []byte) (*Chain, error) {
	if len(b) > 4*maxChain {
		return nil, malformed(4*maxChain, "exceeds the limit of %d bytes", 4*maxChain)
	}
	var certs []*x509.Certificate
	for rest := b; ; {
		at := len(b) - len(rest)
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return nil, malformed(at, "a PEM block %q among certificates", block.Type)
		}
		c, err := parseCertificates(block.Bytes, 0)
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", at, err)
		}
		if certs = append(certs, c...); len(certs) > maxCertificates {
			return nil, malformed(at, "more than %d certificates", maxCertificates)
		}
	}
	if len(certs) == 0 {
		return nil, malformed(0, "no certificate")
	}
	if len(certs) > 1 && bytes.Equal(certs[0].RawIssuer, certs[1].RawSubject) && !bytes.Equal(certs[0].RawIssuer, certs[0].RawSubject) {
		slices.Reverse(certs)
	}
	return linked(certs, 0)
}

// parseCertificates reads certificates in DER, one behind the other.
func parseCertificates(b []byte, at int) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for at < len(b) {
		if len(out) == maxCertificates {
			return nil, malformed(at, "more than %d certificates", maxCertificates)
		}
		n, ok := derSize(b[at:])
		if !ok {
			return nil, malformed(at, "no certificate, or one that is cut off")
		}
		c, err := x509.ParseCertificate(b[at : at+n])
		if err != nil {
			return nil, malformed(at, "certificate %d: %v", len(out)+1, err)
		}
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
			return nil, malformed(at, "certificate %d has a key of %d bits", len(out)+1, k.N.BitLen())
		}
		out = append(out, c)
		at += n
	}
	if len(out) == 0 {
		return nil, malformed(at, "no certificate")
	}
	return out, nil
}

// derSize measures the sequence at the beginning of b.
func derSize(b []byte) (int, bool) {
	var n int
	switch {
	case len(b) < 2 || b[0] != 0x30:
		return 0, false
	case b[1] < 0x80:
		n = 2 + int(b[1])
	case b[1] == 0x81 && len(b) > 2:
		n = 3 + int(b[2])
	case b[1] == 0x82 && len(b) > 3:
		n = 4 + int(binary.BigEndian.Uint16(b[2:]))
	default:
		return 0, false
	}
	return n, n <= len(b)
}

// linked checks every signature of a chain, and that its leaf may sign for a
// responder. Dates are not checked here: most devices that issue certificates
// have no clock, and write 9999-12-31 for a certificate that does not end
// (RFC 5280, 4.1.2.5).
func linked(certs []*x509.Certificate, h crypto.Hash) (*Chain, error) {
	c := &Chain{certs: certs, hash: h}
	for i := 1; i < len(certs); i++ {
		above, below := certs[i-1], certs[i]
		if !bytes.Equal(below.RawIssuer, above.RawSubject) {
			return nil, fmt.Errorf("certificate %d names another issuer than certificate %d: %w", i+1, i, ErrForged)
		}
		if err := below.CheckSignatureFrom(above); err != nil {
			return nil, fmt.Errorf("certificate %d is not signed by certificate %d (%w): %w", i+1, i, err, ErrForged)
		}
	}
	leaf := c.leaf()
	usages := make([]string, 0, len(leaf.UnknownExtKeyUsage))
	for _, u := range leaf.UnknownExtKeyUsage {
		usages = append(usages, u.String())
	}
	switch {
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return nil, fmt.Errorf("the leaf certificate may not sign (key usage): %w", ErrForged)
	case leaf.BasicConstraintsValid && leaf.IsCA && len(certs) > 1:
		return nil, fmt.Errorf("the last certificate is an authority's and no leaf: %w", ErrForged)
	case slices.Contains(usages, oidRequesterAuth) && !slices.Contains(usages, oidResponderAuth):
		return nil, fmt.Errorf("the leaf certificate is for a requester, not for a responder: %w", ErrForged)
	}
	if leaf.KeyUsage == 0 {
		c.notes = append(c.notes, "the leaf certificate has no key usage")
	}
	return c, nil
}

func (c *Chain) leaf() *x509.Certificate { return c.certs[len(c.certs)-1] }

// Anchor is the SHA-256 of the chain's first certificate, the root.
func (c *Chain) Anchor() string { return hexSum(c.certs[0].Raw) }

// Keys are the SHA-256 of the public keys below the root, from top to leaf: one
// of them is the device's own. Which one depends on the model: with alias
// certificates the leaf's key changes with the firmware, and the device's is
// above it.
func (c *Chain) Keys() []string {
	var out []string
	for _, x := range c.certs[min(1, len(c.certs)-1):] {
		out = append(out, spki(x))
	}
	return out
}

// DeviceKey is the key by which to tell this device from another one of its
// model: that of the certificate which says that it is a hardware identity
// (DSP0274, "SPDM certificate requirements"), otherwise that of the leaf.
func (c *Chain) DeviceKey() string {
	for _, x := range c.certs[min(1, len(c.certs)-1):] {
		if slices.ContainsFunc(x.Extensions, func(e pkix.Extension) bool {
			return e.Id.String() == oidSPDMExtension && bytes.Contains(e.Value, hardwareIdentity)
		}) {
			return spki(x)
		}
	}
	return spki(c.leaf())
}

// rooted reports whether the first certificate is a root, so that its hash says
// whose device this is.
func (c *Chain) rooted() bool {
	return len(c.certs) > 1 && bytes.Equal(c.certs[0].RawIssuer, c.certs[0].RawSubject)
}

// Subject names the leaf, for people.
func (c *Chain) Subject() string { return c.leaf().Subject.String() }

// Dated says which certificates are not valid at a time. That is for people:
// it does not make a signature worth less.
func (c *Chain) Dated(now time.Time) []string {
	var out []string
	for i, x := range c.certs {
		if now.After(x.NotAfter) {
			out = append(out, fmt.Sprintf("certificate %d expired %s", i+1, x.NotAfter.UTC().Format(time.DateOnly)))
		}
		if now.Before(x.NotBefore) {
			out = append(out, fmt.Sprintf("certificate %d not valid before %s", i+1, x.NotBefore.UTC().Format(time.DateOnly)))
		}
	}
	return out
}

func hexSum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

func joined(s []string) string { return strings.Join(s, ", ") }
