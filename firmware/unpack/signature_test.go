package unpack

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/smallstep/pkcs7"
	"github.com/stretchr/testify/require"
)

// huge claims to be an RSA key of very many bits, and signs with as many.
type huge struct{ *rsa.PublicKey }

func (h huge) Public() crypto.PublicKey { return h.PublicKey }

func (h huge) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return bytes.Repeat([]byte{1}, h.Size()), nil
}

// certified is a certificate for a key, by some issuer.
func certified(t *testing.T, key crypto.PublicKey) *x509.Certificate {
	t.Helper()
	by, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "anyone"}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key, by)
	require.NoError(t, err)
	c, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

// H09: a signature brings its own key, and checking it with one of a million
// bits would take hours; a signature with very many signers would hash the whole
// payload for each.
func TestH09HugeKey(t *testing.T) {
	n := new(big.Int).Lsh(big.NewInt(1), 1<<20)
	key := huge{&rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}}
	c := certified(t, key.PublicKey)
	s, err := pkcs7.NewSignedData([]byte("payload"))
	require.NoError(t, err)
	s.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	require.NoError(t, s.AddSigner(c, key, pkcs7.SignerInfoConfig{}))
	s.Detach()
	raw, err := s.Finish()
	require.NoError(t, err)
	_, wrong, err := verifyPKCS7(raw, []byte("payload"))
	require.NoError(t, err)
	require.Contains(t, wrong, "an RSA key of 1048577 bits, at most 8192")

	many, err := pkcs7.NewSignedData([]byte("payload"))
	require.NoError(t, err)
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	c = certified(t, &signer.PublicKey)
	many.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	for range maxSigners + 1 {
		require.NoError(t, many.AddSigner(c, signer, pkcs7.SignerInfoConfig{}))
	}
	many.Detach()
	raw, err = many.Finish()
	require.NoError(t, err)
	_, wrong, err = verifyPKCS7(raw, []byte("payload"))
	require.NoError(t, err)
	require.Contains(t, wrong, "17 signers, at most 16")
}
