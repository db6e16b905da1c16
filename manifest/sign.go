package manifest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
)

// Sign signs a draft, or adds a signature to an envelope. The chain is leaf
// first and its leaf must hold the key. The draft's subject is computed anew
// from its environment, and a draft older than the certificate is issued when
// the certificate became valid; the bytes in an envelope are kept as they are.
func Sign(raw []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error) {
	if err := checkSigner(key, chain); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	m, err := ReadUntrusted(raw)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if !isEnvelope(raw) {
		for _, c := range chain {
			if c.NotBefore.After(m.IssuedAt) {
				m.IssuedAt = c.NotBefore
			}
		}
	}
	if err := validAt(chain[0], m.IssuedAt); err != nil {
		return nil, fmt.Errorf("sign: issuedAt is %s: %w; sign with a certificate that was valid then, or draft anew", m.IssuedAt.UTC().Format("2006-01-02T15:04:05Z"), err)
	}
	env := &envelope{PayloadType: payloadType}
	var payload []byte
	if isEnvelope(raw) {
		if env, payload, err = decodeEnvelope(raw); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
	} else {
		if payload, err = Encode(m); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		env.Payload = base64.StdEncoding.EncodeToString(payload)
	}
	leaf := base64.StdEncoding.EncodeToString(chain[0].Raw)
	if slices.ContainsFunc(env.Signatures, func(s signature) bool { return len(s.X5C) > 0 && s.X5C[0] == leaf }) {
		return nil, fmt.Errorf("sign: %s has signed this manifest already", nameOf(chain[0]))
	}
	if len(env.Signatures) >= maxSignatures {
		return nil, fmt.Errorf("sign: the envelope has %d signatures, which is the limit", maxSignatures)
	}
	if err := env.sign(payload, key, chain); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return env.encode()
}

// checkSigner refuses what Open would refuse, while the person who can mend it
// is still there.
func checkSigner(key crypto.Signer, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("no certificate: pass the chain of the signing key, leaf first")
	}
	if len(chain) > maxChain {
		return fmt.Errorf("chain of %d certificates, at most %d", len(chain), maxChain)
	}
	pub, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(chain[0].PublicKey) {
		return fmt.Errorf("the key does not belong to the first certificate (%s): pass its key, or the chain leaf first", nameOf(chain[0]))
	}
	for i, c := range chain {
		if err := checkKey(c.PublicKey); err != nil {
			return fmt.Errorf("certificate %d (%s): %w", i+1, nameOf(c), err)
		}
		if err := checkCertificateSignature(c); err != nil {
			return fmt.Errorf("certificate %d (%s): %w", i+1, nameOf(c), err)
		}
	}
	return mayDigitallySign(chain[0])
}

// makeSignature is the counterpart of verifySignature.
func makeSignature(key crypto.Signer, msg []byte) ([]byte, error) {
	switch k := key.Public().(type) {
	case ed25519.PublicKey:
		return key.Sign(rand.Reader, msg, crypto.Hash(0))
	case *ecdsa.PublicKey:
		d := ecdsaDigest(k.Curve, msg)
		h := crypto.SHA256
		if len(d) == crypto.SHA384.Size() {
			h = crypto.SHA384
		}
		return key.Sign(rand.Reader, d, h)
	case *rsa.PublicKey:
		d := sha256.Sum256(msg)
		return key.Sign(rand.Reader, d[:], pssOptions)
	}
	return nil, fmt.Errorf("%w: %T", errAlgorithm, key.Public())
}
