package xmldsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha1"   // flagged, not refused: old documents have nothing else
	_ "crypto/sha256" // digest
	_ "crypto/sha512" // digest
	"fmt"
	"math/big"
	"strings"

	"github.com/assay-hw/assay/internal/xmltree"
)

const more = "http://www.w3.org/2001/04/xmldsig-more#"

var digestMethods = map[string]crypto.Hash{
	space + "sha1": crypto.SHA1,
	"http://www.w3.org/2001/04/xmlenc#sha256": crypto.SHA256,
	more + "sha384": crypto.SHA384,
	"http://www.w3.org/2001/04/xmlenc#sha384": crypto.SHA384, // defined nowhere, and in use
	"http://www.w3.org/2001/04/xmlenc#sha512": crypto.SHA512,
}

type scheme uint8

const (
	pkcs1 scheme = iota
	pss
	ec
)

// method is a signature method.
type method struct {
	name   string
	scheme scheme
	hash   crypto.Hash
}

const pssSpace = "http://www.w3.org/2007/05/xmldsig-more#"

var signatureMethods = map[string]method{
	space + "rsa-sha1":           {"rsa-sha1", pkcs1, crypto.SHA1},
	more + "rsa-sha256":          {"rsa-sha256", pkcs1, crypto.SHA256},
	more + "rsa-sha384":          {"rsa-sha384", pkcs1, crypto.SHA384},
	more + "rsa-sha512":          {"rsa-sha512", pkcs1, crypto.SHA512},
	pssSpace + "sha256-rsa-MGF1": {"sha256-rsa-MGF1", pss, crypto.SHA256},
	pssSpace + "sha384-rsa-MGF1": {"sha384-rsa-MGF1", pss, crypto.SHA384},
	pssSpace + "sha512-rsa-MGF1": {"sha512-rsa-MGF1", pss, crypto.SHA512},
	more + "ecdsa-sha1":          {"ecdsa-sha1", ec, crypto.SHA1},
	more + "ecdsa-sha256":        {"ecdsa-sha256", ec, crypto.SHA256},
	more + "ecdsa-sha384":        {"ecdsa-sha384", ec, crypto.SHA384},
	more + "ecdsa-sha512":        {"ecdsa-sha512", ec, crypto.SHA512},
}

func signatureMethod(n *xmltree.Node) (method, error) {
	name, _ := n.Attr("", "Algorithm")
	m, ok := signatureMethods[name]
	if !ok {
		return m, fmt.Errorf("%w: signature method %.80q", ErrAlgorithm, name)
	}
	if len(n.Elements()) > 0 { // a shorter HMAC, parameters of PSS
		return m, fmt.Errorf("%w: parameters of %.80q", ErrAlgorithm, name)
	}
	return m, nil
}

// Bounds on RSA moduli: below, factoring; above, denial by slow verification.
const (
	minRSA = 1024
	okRSA  = 2048
	maxRSA = 8192
)

// Verify checks the signature with a key. The method in the document must be one
// of the key's kind.
func (s *Signature) Verify(key crypto.PublicKey) error {
	d := s.method.hash.New()
	d.Write(s.signedInfo)
	sum := d.Sum(nil)
	switch k := key.(type) {
	case *rsa.PublicKey:
		if s.method.scheme == ec {
			break
		}
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("%w: RSA of %d bits", ErrAlgorithm, n)
		} else if n < okRSA {
			s.weak(fmt.Sprintf("RSA of %d bits", n))
		}
		var err error
		if s.method.scheme == pss {
			err = rsa.VerifyPSS(k, s.method.hash, sum, s.value, &rsa.PSSOptions{SaltLength: s.method.hash.Size(), Hash: s.method.hash})
		} else {
			err = rsa.VerifyPKCS1v15(k, s.method.hash, sum, s.value)
		}
		if err != nil {
			return ErrSignature
		}
		return nil
	case *ecdsa.PublicKey:
		if s.method.scheme != ec {
			break
		}
		return s.verifyECDSA(k, sum)
	}
	return fmt.Errorf("%w: %s with a key of type %s", ErrAlgorithm, s.method.name, strings.TrimPrefix(fmt.Sprintf("%T", key), "*"))
}

// verifyECDSA takes r and s one behind the other, as the standard has it (XML
// Signature 1.1, 6.4.3), and DER, which some write.
func (s *Signature) verifyECDSA(k *ecdsa.PublicKey, sum []byte) error {
	switch k.Curve {
	case elliptic.P256(), elliptic.P384(), elliptic.P521():
	default:
		return fmt.Errorf("%w: ECDSA over %s", ErrAlgorithm, k.Curve.Params().Name)
	}
	size := (k.Curve.Params().BitSize + 7) / 8
	if len(s.value) == 2*size {
		r, v := new(big.Int).SetBytes(s.value[:size]), new(big.Int).SetBytes(s.value[size:])
		if ecdsa.Verify(k, sum, r, v) {
			return nil
		}
	}
	if ecdsa.VerifyASN1(k, sum, s.value) {
		s.weak("ECDSA signature in DER, not the form of the standard")
		return nil
	}
	return ErrSignature
}
