package unpack

import (
	"crypto/sha256"
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
func verifyPKCS7(signature, content []byte) (signer string, err error) {
	p, err := pkcs7.Parse(signature)
	if err != nil {
		return "", fmt.Errorf("it cannot be read: %w", err)
	}
	if len(p.Content) > 0 {
		return "", errors.New("it brings contents of its own")
	}
	if len(p.Signers) == 0 {
		return "", errors.New("it has no signer")
	}
	p.Content = content
	if err := p.Verify(); err != nil {
		if errors.Is(err, pkcs7.ErrUnsupportedAlgorithm) {
			return "", fmt.Errorf("%w: %w", firmware.ErrNotVerifiable, err)
		}
		return "", err
	}
	c := p.GetOnlySigner()
	if c == nil {
		return fmt.Sprintf("%d signers", len(p.Signers)), nil
	}
	sum := sha256.Sum256(c.Raw)
	return fmt.Sprintf("%s (certificate sha256:%x)", c.Subject, sum[:8]), nil
}
