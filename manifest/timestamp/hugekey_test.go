package timestamp

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"io"
	"math/big"
	"testing"

	digitorus "github.com/digitorus/timestamp"
	"github.com/stretchr/testify/require"
)

// long claims to be an RSA key of very many bits, and signs with as many.
type long struct{ *rsa.PublicKey }

func (l long) Public() crypto.PublicKey { return l.PublicKey }

func (l long) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return bytes.Repeat([]byte{1}, l.Size()), nil
}

// H09: a token brings its own key, and the library verifies with it as soon as it
// parses. A key is looked at before.
func TestH09HugeKey(t *testing.T) {
	w := newWorld(t)
	n := new(big.Int).Lsh(big.NewInt(1), 100_000)
	key := long{&rsa.PublicKey{N: n.SetBit(n, 0, 1), E: 65537}}
	c := *w.tsa.cert
	c.SignatureAlgorithm = 0
	der, err := x509.CreateCertificate(rand.Reader, &c, w.ca.cert, key.PublicKey, w.ca.key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	sum := sha256.Sum256(w.signature)
	stamp := digitorus.Timestamp{HashAlgorithm: crypto.SHA256, HashedMessage: sum[:], Time: signedAt, Policy: asn1.ObjectIdentifier{1, 2, 3}, AddTSACertificate: true}
	response, err := stamp.CreateResponseWithOpts(cert, key, crypto.SHA256)
	require.NoError(t, err)
	var r struct{ Status, Token asn1.RawValue }
	_, err = asn1.Unmarshal(response, &r)
	require.NoError(t, err)

	const want = "an RSA key of 100001 bits, the limit is 8192"
	_, _, err = New([]*x509.Certificate{w.ca.cert}, nil).Proven(r.Token.FullBytes, w.signature, later)
	require.ErrorContains(t, err, want)
	for _, form := range [][]byte{response, r.Token.FullBytes} {
		_, err = Token(form, nil)
		require.ErrorContains(t, err, want)
	}
}
