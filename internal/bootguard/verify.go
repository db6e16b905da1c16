package bootguard

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1" // digests in manifests
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"
)

// State is the outcome of a check.
type State string

// The outcomes. What is not checked is not bad: the reason says what is missing.
const (
	Holds      State = "holds"
	Fails      State = "does not hold"
	NotChecked State = "not checked"
)

// Check is an outcome with its reason.
type Check struct {
	State  State  `json:"state"`
	Reason string `json:"reason,omitempty"`
}

var holds = Check{State: Holds}

func fails(format string, a ...any) Check      { return Check{Fails, fmt.Sprintf(format, a...)} }
func notChecked(format string, a ...any) Check { return Check{NotChecked, fmt.Sprintf(format, a...)} }

// Hash returns the hash function of an algorithm, or zero.
func (a Algorithm) Hash() crypto.Hash {
	switch a {
	case SHA1:
		return crypto.SHA1
	case SHA256:
		return crypto.SHA256
	case SHA384:
		return crypto.SHA384
	case SHA512:
		return crypto.SHA512
	}
	return 0
}

func sum(h crypto.Hash, parts ...[]byte) []byte {
	w := h.New()
	for _, p := range parts {
		w.Write(p)
	}
	return w.Sum(nil)
}

func blank(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 && c != 0xff })
}

// Verify checks a manifest's signature with the key beside it.
func (s Signature) Verify() Check {
	h := s.Hash.Hash()
	switch {
	case blank(s.Data) || blank(s.Key.Data):
		return notChecked("the manifest is not signed")
	case h == 0:
		return notChecked("signature over %s", s.Hash)
	case s.Key.Algorithm == RSA && (s.Scheme == RSASSA || s.Scheme == RSAPSS):
		return s.rsa(h)
	case s.Key.Algorithm == ECC && s.Scheme == ECDSA:
		return s.ecdsa(h)
	}
	return notChecked("%s with a key for %s", s.Scheme, s.Key.Algorithm)
}

// reversed is a little-endian number as package math/big takes it.
func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// minBits is what the manifests' specification asks for at least; package rsa
// refuses less than half of it.
const minBits, maxBits = 2048, 8192

func (s Signature) rsa(h crypto.Hash) Check {
	e := binary.LittleEndian.Uint32(s.Key.Data)
	n := new(big.Int).SetBytes(reversed(s.Key.Data[4:]))
	if e < 2 || e > 1<<31-1 || n.BitLen() < minBits || n.BitLen() > maxBits || n.Bit(0) == 0 {
		return notChecked("the key of %d bits with exponent %d is not one that can be used", n.BitLen(), e)
	}
	key := &rsa.PublicKey{N: n, E: int(e)}
	d := sum(h, s.signed)
	var err error
	if s.Scheme == RSAPSS {
		err = rsa.VerifyPSS(key, h, d, s.Data, nil)
	} else {
		err = rsa.VerifyPKCS1v15(key, h, d, s.Data)
	}
	if err != nil {
		return fails("%s with %s and the key of %d bits beside it", s.Scheme, s.Hash, n.BitLen())
	}
	return holds
}

// ecdsa checks a signature on a NIST curve. There are no samples of it, so that
// only one that holds says anything.
func (s Signature) ecdsa(h crypto.Hash) Check {
	curve := map[int]elliptic.Curve{256: elliptic.P256(), 384: elliptic.P384()}[s.Key.Bits]
	half := s.Key.Bits / 8
	if curve == nil || len(s.Key.Data) != 2*half || len(s.Data) != 2*half {
		return notChecked("ECDSA with a key of %d bits", s.Key.Bits)
	}
	d := sum(h, s.signed)
	for _, order := range []func([]byte) []byte{reversed, func(b []byte) []byte { return b }} {
		point := slices.Concat([]byte{4}, order(s.Key.Data[:half]), order(s.Key.Data[half:]))
		key, err := ecdsa.ParseUncompressedPublicKey(curve, point)
		if err != nil {
			continue
		}
		r, v := new(big.Int).SetBytes(order(s.Data[:half])), new(big.Int).SetBytes(order(s.Data[half:]))
		if ecdsa.Verify(key, d, r, v) {
			return holds
		}
	}
	return notChecked("ECDSA in a form that is not known here")
}

// Allows checks that the manifest names the key that signed a boot policy.
func (m KeyManifest) Allows(p BootPolicy) Check {
	key := p.Key.Data
	if p.Key.Algorithm != RSA || blank(key) || len(key) < 4 {
		return notChecked("the boot policy has no RSA key")
	}
	checked := false
	for _, d := range m.Policy {
		h := d.Algorithm.Hash()
		if h == 0 || len(d.Value) != h.Size() || blank(d.Value) {
			continue
		}
		checked = true
		// The modulus alone is what the samples have.
		for _, form := range [][]byte{key[4:], key, slices.Concat(key[4:], key[:4])} {
			if bytes.Equal(sum(h, form), d.Value) {
				return holds
			}
		}
	}
	if !checked {
		return notChecked("the key manifest has no digest of a known kind for the boot policy's key")
	}
	return fails("the key manifest does not name the key that signed the boot policy")
}

// Verify checks the digests of a block over an image that ends at 4 GiB, and
// returns the segments that are not in the image.
func (e Block) Verify(image []byte) (c Check, outside []Segment) {
	var parts [][]byte
	start, total := int64(1)<<32-int64(len(image)), int64(0)
	for _, s := range e.Segments {
		if !s.Hashed {
			continue
		}
		at := int64(s.Base) - start
		if at < 0 || at+int64(s.Length) > int64(len(image)) {
			outside = append(outside, s)
			continue
		}
		parts = append(parts, image[at:at+int64(s.Length)])
		total += int64(s.Length)
	}
	if len(outside) > 0 {
		return notChecked("a segment is not in the image"), outside
	}
	switch {
	case len(parts) == 0:
		return notChecked("the boot policy names no segment"), nil
	case total > int64(len(image)): // costs more than any honest one
		return notChecked("the segments are longer than the image"), nil
	}
	checked, seen := false, map[Algorithm]bool{}
	for _, d := range e.Digests {
		h := d.Algorithm.Hash()
		if h == 0 || len(d.Value) != h.Size() || blank(d.Value) || seen[d.Algorithm] {
			continue
		}
		checked, seen[d.Algorithm] = true, true
		if !bytes.Equal(sum(h, parts...), d.Value) {
			return fails("the bytes of the initial boot block do not have the %s digest of the boot policy", d.Algorithm), nil
		}
	}
	if !checked {
		return notChecked("the boot policy has no digest of a known kind"), nil
	}
	return holds, nil
}

// Verify checks a module's signature with the key beside it. The first form is
// RSASSA without the name of the hash, the digest in reverse, as the modules of
// Intel show that the tests were held against. Newer forms are recognised when
// they hold in one of the usual ways, and not checked otherwise.
func (m Module) Verify() Check {
	if blank(m.modulus) || blank(m.Signature) {
		return notChecked("the module is not signed")
	}
	n, e := new(big.Int).SetBytes(reversed(m.modulus)), new(big.Int).SetBytes(reversed(m.exponent))
	if n.BitLen() < minBits-8 || n.Bit(0) == 0 || e.BitLen() < 2 || e.BitLen() > 31 {
		return notChecked("the key is not one that can be used")
	}
	plain := new(big.Int).Exp(new(big.Int).SetBytes(reversed(m.Signature)), e, n).FillBytes(make([]byte, len(m.modulus)))
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512} {
		if m.version == version0 && h != crypto.SHA256 {
			break
		}
		d := sum(h, m.head, m.body)
		if bytes.HasPrefix(plain, []byte{0, 1, 0xff}) && (padded(plain, reversed(d)) || padded(plain, d)) {
			return holds
		}
		if m.version == version0 || n.BitLen() < minBits {
			continue
		}
		key := &rsa.PublicKey{N: n, E: int(e.Int64())}
		if sig := reversed(m.Signature); rsa.VerifyPSS(key, h, d, sig, nil) == nil || rsa.VerifyPKCS1v15(key, h, d, sig) == nil {
			return holds
		}
	}
	if m.version == version0 {
		return fails("RSASSA with SHA-256 and the key of %d bits beside it", n.BitLen())
	}
	return notChecked("a signature of header version %s", m.Format)
}

// padded reports whether a block is 00 01 ff .. ff 00 and then a digest.
func padded(block, digest []byte) bool {
	at := len(block) - len(digest)
	if at < 11 || !bytes.Equal(block[at:], digest) || block[at-1] != 0 {
		return false
	}
	return !slices.ContainsFunc(block[2:at-1], func(c byte) bool { return c != 0xff })
}
