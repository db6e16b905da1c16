package xmldsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"

	"github.com/assay-hw/assay/internal/xmltree"
)

// KeyInfo is what a signature says about its key. Nothing in it is signed: it
// helps to find the certificate, and proves nothing.
type KeyInfo struct {
	Certificates [][]byte           // DER
	Names        []string           // KeyName, in TCG documents the subject key id in hexadecimal
	Subjects     []string           // names of subjects, RFC 4514
	SubjectKeys  [][]byte           // subject key ids
	Values       []crypto.PublicKey // the key itself
}

func readKeyInfo(n *xmltree.Node) (KeyInfo, error) {
	var k KeyInfo
	for _, e := range n.Elements() {
		var err error
		switch {
		case e.Is(space, "KeyName"):
			err = k.name(e)
		case e.Is(space, "X509Data"):
			err = k.x509(e)
		case e.Is(space, "KeyValue"):
			err = k.value(e)
		}
		if err != nil {
			return k, err
		}
		if len(k.Certificates)+len(k.Names)+len(k.Subjects)+len(k.SubjectKeys)+len(k.Values) > maxKeys {
			return k, fmt.Errorf("%w: more than %d keys and certificates in KeyInfo", ErrStructure, maxKeys)
		}
	}
	return k, nil
}

func (k *KeyInfo) name(e *xmltree.Node) error {
	s, err := e.Content()
	k.Names = append(k.Names, strings.TrimSpace(s))
	return err
}

func (k *KeyInfo) x509(n *xmltree.Node) error {
	for _, e := range n.Elements() {
		switch {
		case e.Is(space, "X509Certificate"):
			b, err := binary(e)
			if err != nil {
				return err
			}
			k.Certificates = append(k.Certificates, b)
		case e.Is(space, "X509SKI"):
			b, err := binary(e)
			if err != nil {
				return err
			}
			k.SubjectKeys = append(k.SubjectKeys, b)
		case e.Is(space, "X509SubjectName"):
			s, err := e.Content()
			if err != nil {
				return err
			}
			k.Subjects = append(k.Subjects, strings.TrimSpace(s))
		}
		if len(k.Certificates)+len(k.SubjectKeys)+len(k.Subjects) > maxKeys {
			return fmt.Errorf("%w: more than %d certificates in X509Data", ErrStructure, maxKeys)
		}
	}
	return nil
}

// value reads an RSA key or one on a curve of NIST. Others are left out: they
// could not be used.
func (k *KeyInfo) value(n *xmltree.Node) error {
	for _, e := range n.Elements() {
		switch {
		case e.Is(space, "RSAKeyValue"):
			p := e.Elements()
			if len(p) != 2 || !p[0].Is(space, "Modulus") || !p[1].Is(space, "Exponent") {
				return fmt.Errorf("%w: RSAKeyValue", ErrStructure)
			}
			m, err := binary(p[0])
			if err != nil {
				return err
			}
			x, err := binary(p[1])
			if err != nil {
				return err
			}
			v := new(big.Int).SetBytes(x)
			if len(x) > 4 || v.Int64() < 3 || v.Int64() > 1<<31-1 || len(m) > maxRSA/8+1 {
				return fmt.Errorf("%w: RSAKeyValue", ErrAlgorithm)
			}
			k.Values = append(k.Values, &rsa.PublicKey{N: new(big.Int).SetBytes(m), E: int(v.Int64())})
		case e.Is(space11, "ECKeyValue"):
			if pub := curveKey(e); pub != nil {
				k.Values = append(k.Values, pub)
			}
		}
	}
	return nil
}

var curves = map[string]elliptic.Curve{
	"urn:oid:1.2.840.10045.3.1.7": elliptic.P256(), "urn:oid:1.3.132.0.34": elliptic.P384(), "urn:oid:1.3.132.0.35": elliptic.P521(),
}

func curveKey(n *xmltree.Node) crypto.PublicKey {
	p := n.Elements()
	if len(p) != 2 || !p[0].Is(space11, "NamedCurve") || !p[1].Is(space11, "PublicKey") {
		return nil
	}
	uri, _ := p[0].Attr("", "URI")
	point, err := binary(p[1])
	if err != nil || curves[uri] == nil {
		return nil
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curves[uri], point)
	if err != nil {
		return nil
	}
	return pub
}
