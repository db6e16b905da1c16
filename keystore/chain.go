package keystore

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// ReadChain reads a certificate chain from a PEM file, leaf first.
func ReadChain(name string) ([]*x509.Certificate, error) {
	b, err := readLimited(name, maxKeyBytes)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	var out []*x509.Certificate
	for rest := b; ; {
		var block *pem.Block
		at := len(b) - len(rest)
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %s: offset %d: %w", name, at, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("certificate %s: holds no certificate in PEM form", name)
	}
	return out, nil
}
