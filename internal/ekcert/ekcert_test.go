package ekcert

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
	own  *Certificate
}

func template(name string, ca bool) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
}

// issue makes a certificate under parent, or a self-signed one.
func issue(t *testing.T, tpl *x509.Certificate, parent *issuer, key crypto.Signer) *issuer {
	t.Helper()
	p, k := tpl, key
	if parent != nil {
		p, k = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, p, key.Public(), k)
	require.NoError(t, err)
	c, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	own, err := Parse(der)
	require.NoError(t, err)
	return &issuer{c, key, own}
}

func ecKey(t *testing.T) crypto.Signer {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

func TestChain(t *testing.T) {
	rk, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	root := issue(t, template("root", true), nil, rk)
	mid := issue(t, template("mid", true), root, ecKey(t))
	ekTemplate := template("", false)
	ekTemplate.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{2, 23, 133, 8, 1}}
	ekTemplate.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: []byte{0x30, 0}}}
	ek := issue(t, ekTemplate, mid, ecKey(t))
	require.True(t, ek.own.Has(UsageEK))
	require.False(t, ek.own.Has(UsagePlatform))
	require.Contains(t, ek.own.Tolerated, "critical subject alternative name")
	require.Equal(t, "ecc-p256", ek.own.KeyKind)

	ch, ok := Find(ek.own, []*Certificate{root.own}, []*Certificate{mid.own}, now)
	require.True(t, ok)
	require.Len(t, ch.Path, 3)
	require.Empty(t, ch.Notes)
	_, ok = Find(ek.own, []*Certificate{root.own}, nil, now)
	require.False(t, ok, "the intermediate is missing")
	_, ok = Find(ek.own, []*Certificate{ek.own}, nil, now)
	require.True(t, ok, "a pinned certificate is its own root")
	other := issue(t, template("root", true), nil, rk)
	_, ok = Find(ek.own, nil, []*Certificate{mid.own, other.own}, now)
	require.False(t, ok, "without roots nothing is trusted")
	ch, ok = Find(ek.own, []*Certificate{root.own}, []*Certificate{mid.own}, now.AddDate(5, 0, 0))
	require.True(t, ok)
	require.Contains(t, strings.Join(ch.Notes, " "), "expired", "age is told, not decided")
}

// An authority that may not issue, and one that only borrows the name.
func TestIssuerMustHaveSignedAndMayIssue(t *testing.T) {
	root := issue(t, template("root", true), nil, ecKey(t))
	leaf := issue(t, template("leaf", false), root, ecKey(t))
	below := issue(t, template("below", false), leaf, ecKey(t))
	_, ok := Find(below.own, []*Certificate{root.own}, []*Certificate{leaf.own}, now)
	require.False(t, ok, "an end certificate issues nothing")
	impostor := issue(t, template("root", true), nil, ecKey(t))
	_, ok = Find(leaf.own, []*Certificate{impostor.own}, nil, now)
	require.False(t, ok)
	loopA := issue(t, template("a", true), root, ecKey(t))
	_, ok = Find(loopA.own, []*Certificate{impostor.own}, []*Certificate{loopA.own, impostor.own, root.own}, now)
	require.False(t, ok)
}

func TestNVContents(t *testing.T) {
	ek := issue(t, template("ek", false), nil, ecKey(t))
	der := ek.own.DER
	for name, nv := range map[string][]byte{
		"header of seven bytes": append([]byte{0x10, 0x01, 0x00, 0x02, 0x03, 0x04, 0x05}, der...),
		"zero padding":          append(bytes.Clone(der), make([]byte, 500)...),
		"erased padding":        append(bytes.Clone(der), bytes.Repeat([]byte{0xff}, 500)...),
	} {
		c, err := Parse(nv)
		require.NoError(t, err, name)
		require.Equal(t, der, c.DER, name)
		require.NotEmpty(t, c.Tolerated, name)
	}
	for _, bad := range [][]byte{nil, {0x30, 0x82}, {0x30, 0x82, 0xff, 0xff, 1}, bytes.Repeat([]byte{0xff}, 100), der[:200]} {
		_, err := Parse(bad)
		require.ErrorIs(t, err, ErrMalformed)
	}
}

func TestKeyHashIsThatOfTheUsualForm(t *testing.T) {
	ek := issue(t, template("ek", false), nil, ecKey(t))
	require.Equal(t, KeyHash(ek.key.Public()), KeyHash(ek.own.Key))
	require.Len(t, KeyHash(ek.own.Key), 64)
	require.Empty(t, KeyHash(nil))
}

func TestParsePEM(t *testing.T) {
	b, err := os.ReadFile("../../attest/testdata/roots/root-ca.pem")
	require.NoError(t, err)
	cs, bad := ParsePEM(append(b, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"...))
	require.Len(t, cs, 1)
	require.Equal(t, 1, bad)
	require.True(t, cs[0].CA)
}

// Certificates as TPMs really hold them. crypto/x509 refuses four and fails to
// verify eleven of them.
func TestPublicSamples(t *testing.T) {
	const dir = "../../../shared/corpus/eventlogs/ekcerts"
	files, _ := filepath.Glob(dir + "/ek-samples/*")
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/eventlogs/ekcerts")
	}
	var roots []*Certificate
	for _, bundle := range []string{"bundle-loicsikidi/MIRROR.tpm-ca-certificates.pem", "bundle-loicsikidi/MIRROR.tpm-intermediate-ca-certificates.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, bundle))
		require.NoError(t, err)
		cs, bad := ParsePEM(b)
		require.Zero(t, bad, bundle)
		roots = append(roots, cs...)
	}
	stores, _ := filepath.Glob(dir + "/keylime-store/*.pem")
	for _, p := range stores {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		cs, bad := ParsePEM(b)
		require.Zero(t, bad, p)
		require.NotEmpty(t, cs, p)
	}
	strict, chained := 0, 0
	for _, p := range files {
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		cs, bad := ParsePEM(b)
		if len(cs) == 0 && bad == 0 {
			c, err := Parse(b)
			require.NoError(t, err, p)
			cs = append(cs, c)
		}
		require.Zero(t, bad, p)
		for _, c := range cs {
			require.NotNil(t, c.Key, p)
			if _, err := x509.ParseCertificate(c.DER); err == nil {
				strict++
			}
			if _, ok := Find(c, roots, nil, now); ok {
				chained++
			}
		}
	}
	t.Logf("%d samples read, crypto/x509 reads %d of the cut-out bytes, %d chain to the public bundle", len(files), strict, chained)
	require.Greater(t, chained, 3)
}

func FuzzParse(f *testing.F) {
	for _, p := range []string{"ek-0x01c00002.crt", "ek-0x01c00016.crt"} {
		b, err := os.ReadFile("../../attest/testdata/baseline/tpm/" + p)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err == nil && c == nil {
			t.Fatal("neither a certificate nor a reason")
		}
		if err == nil {
			c.SignedBy(c)
			KeyHash(c.Key)
		}
	})
}
