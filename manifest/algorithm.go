package manifest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
)

// Bounds on RSA moduli: below, factoring; above, denial by slow verification.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

var errAlgorithm = errors.New("algorithm not allowed")

// checkKey allows the kinds of keys that may appear anywhere in a chain.
func checkKey(pub crypto.PublicKey) error {
	switch k := pub.(type) {
	case ed25519.PublicKey:
		return nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() || k.Curve == elliptic.P384() {
			return nil
		}
		return fmt.Errorf("%w: ECDSA over %s, want P-256 or P-384", errAlgorithm, k.Curve.Params().Name)
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSABits || n > maxRSABits {
			return fmt.Errorf("%w: RSA of %d bits, want %d to %d", errAlgorithm, n, minRSABits, maxRSABits)
		}
		return nil
	}
	return fmt.Errorf("%w: key of type %T, want Ed25519, ECDSA or RSA", errAlgorithm, pub)
}

// checkCertificateSignature refuses certificates signed with broken hashes.
func checkCertificateSignature(c *x509.Certificate) error {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return nil
	}
	return fmt.Errorf("%w: certificate signed with %s", errAlgorithm, c.SignatureAlgorithm)
}

var errSignature = errors.New("signature does not hold")

// verifySignature checks sig over msg. The key alone decides the algorithm:
// Ed25519; ECDSA with the hash of the curve's size; RSA-PSS with SHA-256.
func verifySignature(pub crypto.PublicKey, msg, sig []byte) error {
	if err := checkKey(pub); err != nil {
		return err
	}
	switch k := pub.(type) {
	case ed25519.PublicKey:
		if ed25519.Verify(k, msg, sig) {
			return nil
		}
	case *ecdsa.PublicKey:
		if ecdsa.VerifyASN1(k, ecdsaDigest(k.Curve, msg), sig) {
			return nil
		}
	case *rsa.PublicKey:
		d := sha256.Sum256(msg)
		if rsa.VerifyPSS(k, crypto.SHA256, d[:], sig, pssOptions) == nil {
			return nil
		}
		if rsa.VerifyPKCS1v15(k, crypto.SHA256, d[:], sig) == nil {
			return fmt.Errorf("%w: RSA PKCS #1 v1.5 signature, want RSA-PSS", errAlgorithm)
		}
	}
	return errSignature
}

var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

func ecdsaDigest(c elliptic.Curve, msg []byte) []byte {
	if c == elliptic.P384() {
		d := sha512.Sum384(msg)
		return d[:]
	}
	d := sha256.Sum256(msg)
	return d[:]
}
