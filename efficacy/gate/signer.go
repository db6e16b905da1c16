package gate

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"github.com/assay-hw/assay/manifest"
)

// signer signs manifests of any maker: the drafts are of many, and the gate is
// about parts.
type signer struct {
	key   ed25519.PrivateKey
	chain []*x509.Certificate
	trust *manifest.Trust
}

const organization = "False Alarm Gate"

func newSigner(at time.Time) (*signer, error) {
	seed := sha256.Sum256([]byte(organization)) // the key protects nothing, and equal keys give equal results
	key := ed25519.NewKeyFromSeed(seed[:])
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}, CommonName: organization},
		NotBefore: at.AddDate(-1, 0, 0), NotAfter: at.AddDate(10, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	s := &signer{key: key, chain: []*x509.Certificate{c}, trust: &manifest.Trust{}}
	grants, err := json.Marshal(map[string]any{"threshold": 0, "grants": []any{map[string]any{
		"signer": map[string]string{"organization": organization, "spki": "", "root": ""}, "manufacturers": []string{"*"},
		"classes": nil, "deltaOnly": false, "extKeyUsage": nil, "threshold": 0,
	}}})
	if err != nil {
		return nil, fmt.Errorf("grants: %w", err)
	}
	return s, s.trust.Import(map[string][]byte{"trust.json": grants, "root-0000.der": der})
}

func (s *signer) sign(m *manifest.Manifest) ([]byte, error) {
	raw, err := manifest.Encode(m)
	if err != nil {
		return nil, fmt.Errorf("draft of %s: %w", m.ID, err)
	}
	return manifest.Sign(raw, s.key, s.chain)
}
