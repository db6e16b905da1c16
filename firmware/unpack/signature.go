package unpack

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/smallstep/pkcs7"

	"github.com/assay-hw/assay/firmware"
)

func pkcs7Signatures() firmware.Decoder {
	return firmware.Decoder{Name: "pkcs7", Verify: verifyPKCS7}
}

// verifyPKCS7 checks a signature over content with the certificates that it
// brings. Anyone can make one that holds: the name and the digest of the
// signer's certificate are for whoever knows the right ones.
func verifyPKCS7(signature, content []byte) (signer, wrong string, err error) {
	p, err := pkcs7.Parse(signature)
	switch {
	case err != nil:
		return "", "it cannot be read: " + err.Error(), nil
	case len(p.Content) > 0:
		return "", "it brings contents of its own", nil
	case len(p.Signers) == 0:
		return "", "it has no signer", nil
	case len(p.Signers) > maxSigners: // each hashes the whole content
		return "", fmt.Sprintf("it has %d signers, at most %d are checked", len(p.Signers), maxSigners), nil
	}
	if err := keysAreShort(p.Certificates); err != nil {
		return "", err.Error(), nil
	}
	p.Content = content
	if err := p.Verify(); errors.Is(err, pkcs7.ErrUnsupportedAlgorithm) {
		return "", "", err
	} else if err != nil {
		return "", err.Error(), nil
	}
	c := p.GetOnlySigner()
	if c == nil {
		return fmt.Sprintf("%d signers", len(p.Signers)), "", nil
	}
	sum := sha256.Sum256(c.Raw)
	return fmt.Sprintf("%s (certificate sha256:%x)", c.Subject, sum[:8]), "", nil
}

// Bounds on what a signature that anyone can make may cost.
const (
	maxSigners = 16
	maxRSABits = 8192
)

// keysAreShort refuses keys whose arithmetic takes seconds or hours (H09).
func keysAreShort(certs []*x509.Certificate) error {
	for _, c := range certs {
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
			return fmt.Errorf("it brings an RSA key of %d bits, at most %d are used", k.N.BitLen(), maxRSABits)
		}
	}
	return nil
}
