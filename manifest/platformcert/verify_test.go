package platformcert

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/ekcert"
)

func cause(t *testing.T, c *Certificate, tr *Trust, at time.Time) Cause {
	t.Helper()
	v, err := c.Verify(tr, at)
	if err == nil {
		require.NotNil(t, v)
		return ""
	}
	require.Nil(t, v)
	var r *Refused
	require.True(t, errors.As(err, &r))
	require.NotEmpty(t, r.Why)
	return r.Cause
}

func TestWhyACertificateIsNotBelieved(t *testing.T) {
	root := newAuthority(t, "Root", nil, nil)
	mid := newAuthority(t, "Maker Inc.", root, nil)
	ek := endorsementKey(t, "TPM Maker", 0x77)
	c := make1(t, sample(), mid, Options{EK: ek})
	tr := &Trust{Roots: []*ekcert.Certificate{root.own}, Intermediates: []*ekcert.Certificate{mid.own}}
	require.Equal(t, Cause(""), cause(t, c, tr, now))
	require.Equal(t, Cause(""), cause(t, c, trust(mid), now), "an issuer can itself be a root")
	require.Equal(t, NotValidYet, cause(t, c, tr, issued.AddDate(0, 0, -1)))
	require.Equal(t, Expired, cause(t, c, tr, ends.AddDate(0, 0, 1)))
	require.Equal(t, IssuerUnknown, cause(t, c, trust(root), now))
	require.Equal(t, PathUnknown, cause(t, c, &Trust{Intermediates: tr.Intermediates}, now))
	require.Equal(t, NotSigned, cause(t, c, nil, now))

	same := newAuthority(t, "Maker Inc.", root, nil)
	require.Equal(t, NotSigned, cause(t, c, &Trust{Roots: tr.Roots, Intermediates: []*ekcert.Certificate{same.own}}, now), "the name alone signs nothing")

	raw := bytes.Clone(c.Raw)
	i := bytes.Index(raw, []byte("Samsung"))
	raw[i] = 's'
	edited, err := Parse(raw)
	require.NoError(t, err)
	require.Equal(t, NotSigned, cause(t, edited, tr, now))

	unsigned, _, err := FromManifest(sample(), Options{EK: ek})
	require.NoError(t, err)
	require.Equal(t, NotSigned, cause(t, unsigned, tr, now))
}

func TestWhoMayIssue(t *testing.T) {
	root := newAuthority(t, "Root", nil, func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	leaf := newAuthority(t, "Leaf", root, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	below := newAuthority(t, "Below", newAuthority(t, "Mid", root, nil), nil)
	encipher := newAuthority(t, "Encipher", root, func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageKeyEncipherment })
	ended := newAuthority(t, "Ended", root, func(c *x509.Certificate) { c.NotAfter = issued.AddDate(0, 1, 0) })
	ek := endorsementKey(t, "TPM Maker", 0x77)
	for _, tc := range []struct {
		by   *authority
		opt  Options
		want Cause
	}{
		{leaf, Options{EK: ek}, ""},
		{leaf, Options{Form: PublicKeyForm, Key: ek.Key}, NotEntitled},
		{encipher, Options{EK: ek}, NotEntitled},
		{ended, Options{EK: ek}, Expired},
		{below, Options{EK: ek}, PathUnknown},
	} {
		c := make1(t, sample(), tc.by, tc.opt)
		tr := &Trust{Roots: []*ekcert.Certificate{root.own}, Intermediates: []*ekcert.Certificate{tc.by.own}}
		require.Equal(t, tc.want, cause(t, c, tr, now))
	}
	mid := newAuthority(t, "Mid 2", root, nil)
	deep := newAuthority(t, "Deep", mid, nil)
	c := make1(t, sample(), deep, Options{EK: ek})
	tr := &Trust{Roots: []*ekcert.Certificate{root.own}, Intermediates: []*ekcert.Certificate{mid.own, deep.own}}
	require.Equal(t, NotEntitled, cause(t, c, tr, now), "the root allows no authority below it but one")
}

func list(t *testing.T, by *authority, next time.Time, numbers ...*big.Int) *x509.RevocationList {
	t.Helper()
	tpl := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: issued, NextUpdate: next}
	for _, n := range numbers {
		tpl.RevokedCertificateEntries = append(tpl.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: n, RevocationTime: issued})
	}
	der, err := x509.CreateRevocationList(rand.Reader, tpl, by.cert, by.key)
	require.NoError(t, err)
	l, err := x509.ParseRevocationList(der)
	require.NoError(t, err)
	return l
}

func TestRevocation(t *testing.T) {
	root := newAuthority(t, "Root", nil, nil)
	mid := newAuthority(t, "Maker Inc.", root, nil)
	c := make1(t, sample(), mid, Options{EK: endorsementKey(t, "TPM Maker", 0x77)})
	tr := func(ls ...*x509.RevocationList) *Trust {
		return &Trust{Roots: []*ekcert.Certificate{root.own}, Intermediates: []*ekcert.Certificate{mid.own}, CRLs: ls}
	}
	require.Equal(t, Revoked, cause(t, c, tr(list(t, mid, ends, c.Serial)), now))
	require.Equal(t, Revoked, cause(t, c, tr(list(t, root, ends, mid.cert.SerialNumber)), now))
	require.Equal(t, Revoked, cause(t, c, tr(list(t, mid, issued.AddDate(0, 0, 1), c.Serial)), now), "an old list still revokes")
	require.Equal(t, Cause(""), cause(t, c, tr(list(t, mid, ends, big.NewInt(1)), list(t, root, ends, c.Serial)), now), "the number is that of another issuer's certificate")

	v := verified(t, c, tr())
	require.Equal(t, []string{"no revocation list speaks about the platform certificate", "no revocation list speaks about the certificate of Maker Inc. (Maker Inc. attribute authority)"}, v.Notes())
	require.Empty(t, verified(t, c, tr(list(t, mid, ends), list(t, root, ends))).Notes())
	forged := newAuthority(t, "Maker Inc.", nil, nil)
	v = verified(t, c, tr(list(t, forged, ends, c.Serial)))
	require.Contains(t, v.Notes()[0], "is not signed by it")
	require.Contains(t, verified(t, c, tr(list(t, mid, issued.AddDate(0, 0, 1)))).Notes()[0], "out of date")
}

func TestWeakAlgorithmsAreTold(t *testing.T) {
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	root := newAuthority(t, "Root", nil, nil, k)
	mid := newAuthority(t, "Maker Inc.", root, nil)
	c := make1(t, sample(), mid, Options{EK: endorsementKey(t, "TPM Maker", 0x77)})
	v := verified(t, c, &Trust{Roots: []*ekcert.Certificate{root.own}, Intermediates: []*ekcert.Certificate{mid.own}})
	require.Contains(t, v.Notes(), "the key of Root (Root attribute authority) has 1024 bits")
	short, _, err := FromManifest(sample(), Options{EK: endorsementKey(t, "TPM Maker", 0x77)})
	require.NoError(t, err)
	require.ErrorContains(t, short.Sign(k, root.cert), "too short")
}

func TestTrustFiles(t *testing.T) {
	root, mid := newAuthority(t, "Root", nil, nil), newAuthority(t, "Mid", nil, nil)
	bundle := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw}), pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: list(t, root, ends).Raw})...)
	var tr Trust
	n, err := tr.Add(bundle, true)
	require.NoError(t, err)
	require.Equal(t, 2, n)
	n, err = tr.Add(mid.cert.Raw, false)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = tr.Add(list(t, mid, ends).Raw, false)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Len(t, tr.Roots, 1)
	require.Len(t, tr.Intermediates, 1)
	require.Len(t, tr.CRLs, 2)
	_, err = tr.Add([]byte("nothing"), true)
	require.Error(t, err)
}

// Issuer, serial number and digest: each alone is that of others too.
func TestBoundToOneCertificate(t *testing.T) {
	by, ek := newAuthority(t, "Maker Inc.", nil, nil), endorsementKey(t, "TPM Maker", 1)
	otherIssuer, otherNumber := endorsementKey(t, "Other TPM Maker", 1), endorsementKey(t, "TPM Maker", 2)
	twin := endorsementKey(t, "TPM Maker", 1) // same issuer and number, another key and signature
	ac := make1(t, sample(), by, Options{Profile: "1.1", EK: ek})
	bound(t, ac, ek)
	unbound(t, ac, otherIssuer, "the serial number is that, but the issuer is")
	unbound(t, ac, otherNumber, "its serial number is 2, not 1")
	pkc := make1(t, sample(), by, Options{Form: PublicKeyForm, EK: ek, Key: ek.Key})
	bound(t, pkc, ek)
	unbound(t, pkc, twin, "the digest is over another signature")
	unbound(t, pkc, otherIssuer, "issuer")
	none := make1(t, sample(), by, Options{Form: PublicKeyForm, Key: ek.Key})
	unbound(t, none, ek, "no endorsement key certificate is named")

	h := Holder{Object: &objectDigest{Type: 0, Algorithm: oidSHA256}}
	h.Object.Digest, _ = digestOf(oidSHA256, ek.SPKI)
	c := &Certificate{Form: AttributeForm, Holder: h}
	bound(t, c, ek)
	unbound(t, c, twin, "digest is over another object")
	c.Holder = Holder{Entity: ek.Subject}
	unbound(t, c, ek, "a name alone proves no TPM")
}
