package ear

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha256" // the hashes of the algorithms below
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"

	"github.com/go-jose/go-jose/v4"
)

// method is how a key signs (RFC 7518, 3.1; RFC 8037, 3.1).
type method struct {
	alg  string
	hash crypto.Hash // 0: the message is signed as it is
	size int         // ECDSA: bytes of r and of s (RFC 7518, 3.4)
	opts crypto.SignerOpts
}

func methodOf(public crypto.PublicKey) (method, error) {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return method{"ES256", crypto.SHA256, 32, crypto.SHA256}, nil
		case elliptic.P384():
			return method{"ES384", crypto.SHA384, 48, crypto.SHA384}, nil
		case elliptic.P521():
			return method{"ES512", crypto.SHA512, 66, crypto.SHA512}, nil
		}
		return method{}, errors.New("ear: no algorithm of JWS for this curve; use P-256 or P-384")
	case ed25519.PublicKey:
		return method{alg: "EdDSA", opts: crypto.Hash(0)}, nil
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return method{}, fmt.Errorf("ear: an RSA key of %d bits: want 2048 or more", k.N.BitLen()) // RFC 7518, 3.5
		}
		return method{alg: "PS256", hash: crypto.SHA256, opts: &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}}, nil
	}
	return method{}, fmt.Errorf("ear: a key of type %T cannot sign tokens", public)
}

// sign makes a JWS in the compact serialisation. Its header names the key by its
// thumbprint (RFC 7638).
func sign(payload []byte, key crypto.Signer) ([]byte, error) {
	m, err := methodOf(key.Public())
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKey{Key: key.Public()}
	thumb, err := public.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("ear: %w", err)
	}
	head, err := json.Marshal(struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"` // RFC 9782
		Kid string `json:"kid"`
	}{m.alg, "eat+jwt", base64.RawURLEncoding.EncodeToString(thumb)})
	if err != nil {
		return nil, fmt.Errorf("ear: %w", err)
	}
	input := append(encode(head), '.')
	input = append(input, encode(payload)...)
	sig, err := m.sign(input, key)
	if err != nil {
		return nil, fmt.Errorf("ear: %w", err)
	}
	return append(append(input, '.'), encode(sig)...), nil
}

func encode(b []byte) []byte { return base64.RawURLEncoding.AppendEncode(nil, b) }

func (m method) sign(input []byte, key crypto.Signer) ([]byte, error) {
	message := input
	if m.hash != 0 {
		h := m.hash.New()
		h.Write(input)
		message = h.Sum(nil)
	}
	random := io.Reader(rand.Reader)
	if _, ours := key.(*ecdsa.PrivateKey); ours {
		random = nil // RFC 6979: equal tokens have equal signatures
	}
	sig, err := key.Sign(random, message, m.opts)
	if err != nil || m.size == 0 {
		return sig, err
	}
	var rs struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &rs); err != nil || len(rest) > 0 || rs.R.Sign() <= 0 || rs.S.Sign() <= 0 || max(rs.R.BitLen(), rs.S.BitLen()) > 8*m.size {
		return nil, errors.New("the key's signature is not one of ECDSA")
	}
	out := make([]byte, 2*m.size)
	rs.R.FillBytes(out[:m.size])
	rs.S.FillBytes(out[m.size:])
	return out, nil
}
