package tpmwire

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// ErrSignature is returned when a signature does not hold under a key.
var ErrSignature = errors.New("signature does not verify")

// Signature is TPMT_SIGNATURE (TPM 2.0 Library Part 2, 11.3.4).
type Signature struct {
	Scheme Algorithm
	Hash   Algorithm
	RSA    []byte // RSASSA and RSAPSS
	R, S   []byte // ECDSA
}

// ParseSignature decodes a TPMT_SIGNATURE of scheme RSASSA, RSAPSS or ECDSA.
func ParseSignature(b []byte) (*Signature, error) {
	r := &reader{b: b}
	s := &Signature{Scheme: r.alg("scheme")}
	switch s.Scheme {
	case RSASSA, RSAPSS:
		s.Hash = r.alg("hash")
		s.RSA = r.sized("signature")
	case ECDSA:
		s.Hash = r.alg("hash")
		s.R, s.S = r.sized("r"), r.sized("s")
	default:
		if r.err == nil {
			r.fail("signature scheme %s", s.Scheme)
		}
	}
	if err := r.end("signature"); err != nil {
		return nil, err
	}
	return s, nil
}

// Verify checks the signature over a message. What kind of signature is
// acceptable comes from the key: its type, and its scheme when it has one. A
// SHA-1 signature never verifies.
func (s *Signature) Verify(p *Public, message []byte) error {
	if p == nil || p.Key == nil {
		return fmt.Errorf("no key: %w", ErrSignature)
	}
	if p.Scheme != Null && (p.Scheme != s.Scheme || p.SchemeHash != s.Hash) {
		return fmt.Errorf("scheme 0x%04x with %s, the key signs 0x%04x with %s: %w", uint16(s.Scheme), s.Hash, uint16(p.Scheme), p.SchemeHash, ErrSignature)
	}
	h := s.Hash.Hash()
	if s.Hash == SHA1 || h == 0 {
		return fmt.Errorf("hash %s is not accepted: %w", s.Hash, ErrSignature)
	}
	d := h.New()
	d.Write(message)
	sum := d.Sum(nil)
	ok := false
	switch k := p.Key.(type) {
	case *rsa.PublicKey:
		ok = s.verifyRSA(k, h, sum)
	case *ecdsa.PublicKey:
		ok = s.Scheme == ECDSA && ecdsa.Verify(k, sum, new(big.Int).SetBytes(s.R), new(big.Int).SetBytes(s.S))
	}
	if !ok {
		return ErrSignature
	}
	return nil
}

func (s *Signature) verifyRSA(k *rsa.PublicKey, h crypto.Hash, sum []byte) bool {
	switch s.Scheme {
	case RSASSA:
		return rsa.VerifyPKCS1v15(k, h, sum, s.RSA) == nil
	case RSAPSS:
		return rsa.VerifyPSS(k, h, sum, s.RSA, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
	}
	return false
}
