package xmldsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"

	"github.com/assay-hw/assay/internal/xmltree"
)

// Sign signs a document and returns it with the signature as the last child of
// its document element. The chain is leaf first and goes into the signature,
// with the leaf's subject key id as the name of the key.
func Sign(document []byte, key crypto.Signer, chain []*x509.Certificate, limits xmltree.Limits) ([]byte, error) {
	doc, err := xmltree.Parse(document, limits)
	if err != nil {
		return nil, err
	}
	if len(doc.Nodes) != 1 {
		return nil, fmt.Errorf("%w: something stands around the document element", ErrStructure)
	}
	uri, m, digest, err := methodFor(key.Public())
	if err != nil {
		return nil, err
	}
	var form xmltree.Method
	body, err := form.Document(doc, nil)
	if err != nil {
		return nil, err
	}
	sum := m.hash.New()
	sum.Write(body)
	var b strings.Builder
	fmt.Fprintf(&b, `<Signature xmlns="%s"><SignedInfo><CanonicalizationMethod Algorithm="%s"></CanonicalizationMethod><SignatureMethod Algorithm="%s"></SignatureMethod>`, space, inclusiveC14, uri)
	fmt.Fprintf(&b, `<Reference URI=""><Transforms><Transform Algorithm="%s"></Transform></Transforms><DigestMethod Algorithm="%s"></DigestMethod><DigestValue>%s</DigestValue></Reference></SignedInfo>`,
		enveloped, digest, base64.StdEncoding.EncodeToString(sum.Sum(nil)))
	const value = "<SignatureValue>"
	b.WriteString(value + "AA==</SignatureValue>" + keyInfo(chain) + "</Signature>")

	end := strings.LastIndex(string(body), "</")
	signed := string(body[:end]) + b.String() + string(body[end:])
	if doc, err = xmltree.Parse([]byte(signed), limits); err != nil {
		return nil, err
	}
	s, err := Read(doc)
	if err != nil {
		return nil, err
	}
	sig, err := s.make(key)
	if err != nil {
		return nil, err
	}
	at := strings.LastIndex(signed, value) + len(value)
	return []byte(signed[:at] + base64.StdEncoding.EncodeToString(sig) + signed[at+len("AA=="):]), nil
}

func keyInfo(chain []*x509.Certificate) string {
	if len(chain) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("<KeyInfo>")
	if id := chain[0].SubjectKeyId; len(id) > 0 {
		b.WriteString("<KeyName>" + hex.EncodeToString(id) + "</KeyName>")
	}
	b.WriteString("<X509Data>")
	for _, c := range chain {
		b.WriteString("<X509Certificate>" + base64.StdEncoding.EncodeToString(c.Raw) + "</X509Certificate>")
	}
	b.WriteString("</X509Data></KeyInfo>")
	return b.String()
}

// methodFor gives the method for a key: the hash has the strength of the key.
func methodFor(pub crypto.PublicKey) (uri string, m method, digest string, err error) {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		uri, digest = more+"rsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256"
		if k.N.BitLen() >= 3072 {
			uri, digest = more+"rsa-sha384", more+"sha384"
		}
		if n := k.N.BitLen(); n < okRSA || n > maxRSA {
			return "", m, "", fmt.Errorf("%w: RSA of %d bits", ErrAlgorithm, n)
		}
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			uri, digest = more+"ecdsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256"
		case elliptic.P384():
			uri, digest = more+"ecdsa-sha384", more+"sha384"
		case elliptic.P521():
			uri, digest = more+"ecdsa-sha512", "http://www.w3.org/2001/04/xmlenc#sha512"
		}
	}
	if uri == "" {
		return "", m, "", fmt.Errorf("%w: key of type %T", ErrAlgorithm, pub)
	}
	return uri, signatureMethods[uri], digest, nil
}

// make signs SignedInfo.
func (s *Signature) make(key crypto.Signer) ([]byte, error) {
	d := s.method.hash.New()
	d.Write(s.signedInfo)
	sig, err := key.Sign(rand.Reader, d.Sum(nil), s.method.hash)
	pub, isEC := key.Public().(*ecdsa.PublicKey)
	if err != nil || !isEC {
		return sig, err
	}
	var v struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(sig, &v); err != nil || len(rest) > 0 {
		return nil, fmt.Errorf("%w: the key gave no ECDSA signature", ErrSignature)
	}
	size := (pub.Curve.Params().BitSize + 7) / 8
	return append(v.R.FillBytes(make([]byte, size)), v.S.FillBytes(make([]byte, size))...), nil
}
