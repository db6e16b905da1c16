package xmldsig

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/xmltree"
)

const plain = `<r xmlns="urn:r" xmlns:u="urn:unused" xml:lang="en" Id="root"><v a="1">text &amp; more</v></r>`

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, bits)
	require.NoError(t, err)
	return k
}

func ecKey(t testing.TB, c elliptic.Curve) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	require.NoError(t, err)
	return k
}

func selfSigned(t testing.TB, k crypto.Signer) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "signer"}, SubjectKeyId: []byte{1, 2, 3},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return c
}

func signed(t testing.TB, doc string, k crypto.Signer) string {
	t.Helper()
	b, err := Sign([]byte(doc), k, []*x509.Certificate{selfSigned(t, k)}, xmltree.DefaultLimits())
	require.NoError(t, err)
	return string(b)
}

// verify reads and verifies a document.
func verify(doc string, key crypto.PublicKey) (*Signature, error) {
	d, err := xmltree.Parse([]byte(doc), xmltree.DefaultLimits())
	if err != nil {
		return nil, err
	}
	s, err := Read(d)
	if err != nil {
		return nil, err
	}
	return s, s.Verify(key)
}

func TestSignAndVerify(t *testing.T) {
	for name, k := range map[string]crypto.Signer{
		"rsa-sha256": rsaKey(t, 2048), "rsa-sha384": rsaKey(t, 3072),
		"ecdsa-sha256": ecKey(t, elliptic.P256()), "ecdsa-sha384": ecKey(t, elliptic.P384()), "ecdsa-sha512": ecKey(t, elliptic.P521()),
	} {
		doc := signed(t, plain, k)
		s, err := verify(doc, k.Public())
		require.NoError(t, err, name)
		require.Equal(t, name, s.Algorithm)
		require.Empty(t, s.Weak)
		require.Equal(t, `<r xmlns="urn:r" xmlns:u="urn:unused" Id="root" xml:lang="en"><v a="1">text &amp; more</v></r>`, string(s.Content))
		require.Len(t, s.Keys.Certificates, 1)
		require.Equal(t, []string{"010203"}, s.Keys.Names)

		_, err = verify(strings.Replace(doc, "more", "less", 1), k.Public())
		require.ErrorIs(t, err, ErrDigest)
		_, err = verify(strings.Replace(doc, `xml:lang="en"`, `xml:lang="fr"`, 1), k.Public())
		require.ErrorIs(t, err, ErrDigest)
		_, err = verify(doc, ecKey(t, elliptic.P256()).Public())
		require.Error(t, err)
		mine(t, doc, k)
	}
}

// mine has xmlsec1 verify what Sign wrote.
func mine(t *testing.T, doc string, k crypto.Signer) {
	t.Helper()
	sec, err := exec.LookPath("xmlsec1")
	if err != nil {
		t.Log("not checked with xmlsec1, which is not installed")
		return
	}
	dir := t.TempDir()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pub.pem"), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "doc.xml"), []byte(doc), 0o600))
	out, err := exec.Command(sec, "--verify", "--pubkey-pem", filepath.Join(dir, "pub.pem"), "--enabled-key-data", "raw-x509-cert,rsa,ecdsa,key-name", filepath.Join(dir, "doc.xml")).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

// What xmlsec1 signs, with every method that is allowed, is verified.
func TestVerifiesXmlsec(t *testing.T) {
	sec, err := exec.LookPath("xmlsec1")
	if err != nil {
		t.Skip("needs xmlsec1")
	}
	rsaK, ecK := rsaKey(t, 2048), ecKey(t, elliptic.P384())
	for _, c14n := range []string{inclusiveC14, inclusiveC14 + "#WithComments", inclusive11, inclusive11 + "#WithComments", exclusiveC14, exclusiveC14 + "WithComments"} {
		for method, k := range map[string]crypto.Signer{
			space + "rsa-sha1": rsaK, more + "rsa-sha512": rsaK, more + "ecdsa-sha384": ecK,
		} {
			for _, transform := range []string{"", inclusiveC14 + "#WithComments", exclusiveC14, inclusive11} {
				tmpl := template(c14n, method, transform)
				dir := t.TempDir()
				der, err := x509.MarshalPKCS8PrivateKey(k)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600))
				require.NoError(t, os.WriteFile(filepath.Join(dir, "doc.xml"), []byte(tmpl), 0o600))
				out, err := exec.Command(sec, "--sign", "--privkey-pem", filepath.Join(dir, "key.pem"), filepath.Join(dir, "doc.xml")).Output()
				if err != nil {
					t.Fatalf("xmlsec1 does not sign %s %s %s", c14n, method, transform)
				}
				s, err := verify(string(out), k.Public())
				require.NoError(t, err, "%s %s %s\n%s", c14n, method, transform, out)
				require.Equal(t, strings.HasSuffix(method, "sha1"), len(s.Weak) > 0)
			}
		}
	}
}

func template(c14n, method, transform string) string {
	if transform != "" {
		transform = `<Transform Algorithm="` + transform + `"/>`
	}
	return `<?xml version="1.0" encoding="UTF-8"?>
<?style sheet?>
<p:r xmlns:p="urn:r" xmlns:u="urn:unused" xml:lang="en" xml:space="default"><!-- a comment --><v b="2" a="1" u:c="&quot;&#10;">text &amp; more</v>
  <m xmlns="urn:m">&#13;</m>
  <ds:Signature xmlns:ds="` + space + `" xmlns="` + space + `"><ds:SignedInfo>
    <CanonicalizationMethod Algorithm="` + c14n + `"/><SignatureMethod Algorithm="` + method + `"/>
    <Reference URI=""><Transforms><Transform Algorithm="` + enveloped + `"/>` + transform + `</Transforms><DigestMethod Algorithm="http://www.w3.org/2001/04/xmlenc#sha256"/><DigestValue></DigestValue></Reference>
  </ds:SignedInfo><SignatureValue></SignatureValue></ds:Signature>
</p:r><!-- end -->
`
}

// resign signs SignedInfo of a document as it stands, with its digests made
// right: what an attacker who has a key of his own could do, and nobody else.
func resign(t *testing.T, doc string, k crypto.Signer) string {
	t.Helper()
	d, err := xmltree.Parse([]byte(doc), xmltree.DefaultLimits())
	require.NoError(t, err)
	s, err := Read(d)
	require.NoError(t, err)
	v, err := s.make(k)
	require.NoError(t, err)
	from := strings.Index(doc, "<SignatureValue>") + len("<SignatureValue>")
	to := strings.Index(doc, "</SignatureValue>")
	return doc[:from] + base64.StdEncoding.EncodeToString(v) + doc[to:]
}

// A signature must not be worth anything in another document, nor cover less
// than is read.
func TestWrappingIsRefused(t *testing.T) {
	k := rsaKey(t, 2048)
	doc := signed(t, plain, k)
	sig := doc[strings.Index(doc, "<Signature "):strings.LastIndex(doc, "</r>")]
	evil := `<r xmlns="urn:r" xmlns:u="urn:unused" xml:lang="en"><v a="1">evil</v>`
	byID := strings.Replace(doc, `URI=""`, `URI="#root"`, 1)
	idSig := byID[strings.Index(byID, "<Signature "):strings.LastIndex(byID, "</r>")]
	for name, c := range map[string]struct {
		doc  string
		want error
	}{
		"the signature moved to another document": {evil + sig + "</r>", ErrDigest},
		"the signed document in an object":        {evil + strings.Replace(sig, "</Signature>", "<Object>"+plain+"</Object></Signature>", 1) + "</r>", ErrDigest},
		"the signed document beside, by id":       {evil + idSig + plain + "</r>", ErrStructure},
		"the id twice":                            {strings.Replace(evil, "<r ", `<r Id="root" `, 1) + idSig + plain + "</r>", ErrStructure},
		"a second signature":                      {strings.Replace(doc, "</r>", sig+"</r>", 1), ErrStructure},
		"a signature in an object":                {strings.Replace(doc, "</Signature>", "<Object>"+sig+"</Object></Signature>", 1), ErrStructure},
		"the signature deeper":                    {strings.Replace(strings.Replace(doc, "<Signature ", "<w><Signature ", 1), "</Signature>", "</Signature></w>", 1), ErrStructure},
		"a reference to a part": {
			strings.Replace(strings.Replace(doc, `URI=""`, `URI="#p"`, 1), `<v a="1">`, `<v a="1" Id="p">`, 1), ErrStructure,
		},
		"an XPointer":                     {strings.Replace(doc, `URI=""`, `URI="#xpointer(/)"`, 1), ErrStructure},
		"a reference to elsewhere":        {strings.Replace(doc, `URI=""`, `URI="http://example.com/"`, 1), ErrStructure},
		"a reference without URI":         {strings.Replace(doc, ` URI=""`, ``, 1), ErrStructure},
		"XPath":                           {strings.Replace(doc, enveloped, "http://www.w3.org/TR/1999/REC-xpath-19991116", 1), ErrAlgorithm},
		"XSLT":                            {strings.Replace(doc, enveloped, "http://www.w3.org/TR/1999/REC-xslt-19991116", 1), ErrAlgorithm},
		"no enveloped-signature":          {strings.Replace(doc, enveloped, inclusiveC14, 1), ErrStructure},
		"HMAC":                            {strings.Replace(doc, more+"rsa-sha256", space+"hmac-sha1", 1), ErrAlgorithm},
		"HMAC of one bit":                 {strings.Replace(doc, "</SignatureMethod>", "<HMACOutputLength>1</HMACOutputLength></SignatureMethod>", 1), ErrAlgorithm},
		"MD5":                             {strings.Replace(doc, "http://www.w3.org/2001/04/xmlenc#sha256", more+"md5", 1), ErrAlgorithm},
		"a comment in the digest":         {strings.Replace(doc, "<DigestValue>", "<DigestValue><!-- x -->", 1), ErrStructure},
		"no signature":                    {plain, ErrUnsigned},
		"a document around the signature": {`<x xmlns="urn:x">` + doc + `</x>`, ErrStructure},
		"no reference":                    {doc[:strings.Index(doc, "<Reference")] + doc[strings.Index(doc, "</SignedInfo>"):], ErrStructure},
	} {
		_, err := verify(c.doc, k.Public())
		require.ErrorIs(t, err, c.want, "%s: %s", name, c.doc)
	}
	// A reference by the id of the document element is as good as an empty one.
	d := resign(t, byID, k)
	_, err := verify(d, k.Public())
	require.NoError(t, err)
}

// A comment added inside of a text does not cut it.
func TestContentIsWhatWasSigned(t *testing.T) {
	k := ecKey(t, elliptic.P256())
	s, err := verify(strings.Replace(signed(t, plain, k), "more", "mo<!-- x -->re", 1), k.Public())
	require.NoError(t, err)
	require.Contains(t, string(s.Content), "text &amp; more")
}

func TestVerifiesPSS(t *testing.T) {
	k := rsaKey(t, 2048)
	doc := strings.Replace(signed(t, plain, k), more+"rsa-sha256", pssSpace+"sha256-rsa-MGF1", 1)
	d, err := xmltree.Parse([]byte(doc), xmltree.DefaultLimits())
	require.NoError(t, err)
	s, err := Read(d)
	require.NoError(t, err)
	require.ErrorIs(t, s.Verify(k.Public()), ErrSignature)
	h := s.method.hash.New()
	h.Write(s.signedInfo)
	s.value, err = k.Sign(rand.Reader, h.Sum(nil), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: s.method.hash})
	require.NoError(t, err)
	require.NoError(t, s.Verify(k.Public()))
	require.ErrorIs(t, s.Verify(ecKey(t, elliptic.P256()).Public()), ErrAlgorithm)
}

// Forms that are accepted and told.
func TestWeakFormsAreTold(t *testing.T) {
	k := ecKey(t, elliptic.P256())
	doc := signed(t, plain, k)
	d, err := xmltree.Parse([]byte(doc), xmltree.DefaultLimits())
	require.NoError(t, err)
	s, err := Read(d)
	require.NoError(t, err)
	h := s.method.hash.New()
	h.Write(s.signedInfo)
	der, err := k.Sign(rand.Reader, h.Sum(nil), s.method.hash)
	require.NoError(t, err)
	s.value = der
	require.NoError(t, s.Verify(k.Public()))
	require.Contains(t, fmt.Sprint(s.Weak), "DER")

	sum := sha1.Sum([]byte(string(s.Content)))
	from, to := strings.Index(doc, "<DigestValue>")+len("<DigestValue>"), strings.Index(doc, "</DigestValue>")
	old := strings.Replace(doc[:from]+base64.StdEncoding.EncodeToString(sum[:])+doc[to:], "http://www.w3.org/2001/04/xmlenc#sha256", space+"sha1", 1)
	s, err = verify(resign(t, old, k), k.Public())
	require.NoError(t, err)
	require.Equal(t, []string{"digest with SHA-1"}, s.Weak)
}

// A document of another kind that a chip maker signed; its attributes named ID
// are data, and stand several times.
func TestCorpusPlatformData(t *testing.T) {
	const dir = "../../../shared/corpus/platformcerts/guard-oss/"
	raw, err := os.ReadFile(dir + "intel-tsc-J101WYR1/LENOVO_DCG_126062_J101WYR1_DPD__J101WYR1_DPD_INTC_Platform_Data.xml")
	if err != nil {
		t.Skip("needs ../shared/corpus/platformcerts")
	}
	der, err := os.ReadFile(dir + "TSC_IssuingCALENOVO_DCG.cer")
	require.NoError(t, err)
	if block, _ := pem.Decode(der); block != nil {
		der = block.Bytes
	}
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	s, err := verify(string(raw), c.PublicKey)
	require.NoError(t, err)
	require.NotEmpty(t, s.Keys.Subjects)
}

func FuzzParseSignature(f *testing.F) {
	rsaK, ecK := rsaKey(f, 2048), ecKey(f, elliptic.P256())
	for _, k := range []crypto.Signer{rsaK, ecK} {
		doc := signed(f, plain, k)
		f.Add([]byte(doc))
		f.Add([]byte(strings.Replace(doc, "</Signature>", `<Object><t Id="TST" xmlns="urn:t">2020</t></Object></Signature>`, 1)))
	}
	f.Add([]byte(template(exclusiveC14, more+"rsa-sha256", inclusive11)))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := xmltree.Parse(b, xmltree.DefaultLimits())
		if err != nil {
			return
		}
		s, err := Read(d)
		if err != nil {
			return
		}
		if s.Verify(rsaK.Public()) != nil && s.Verify(ecK.Public()) != nil {
			return
		}
		require.Contains(t, string(s.Content), "text &amp; more")
	})
}
