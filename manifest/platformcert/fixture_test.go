package platformcert

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/manifest"
)

var (
	issued = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	ends   = time.Date(2031, 3, 1, 0, 0, 0, 0, time.UTC)
	now    = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
)

// authority is an issuer with its key.
type authority struct {
	cert *x509.Certificate
	own  *ekcert.Certificate
	key  crypto.Signer
}

var serials int64 = 100

func newAuthority(t testing.TB, org string, parent *authority, change func(*x509.Certificate), keys ...crypto.Signer) *authority {
	t.Helper()
	serials++
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(serials), Subject: pkix.Name{Organization: []string{org}, CommonName: org + " attribute authority"},
		NotBefore: issued.AddDate(-1, 0, 0), NotAfter: ends, IsCA: true, BasicConstraintsValid: true, MaxPathLen: -1,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign, SubjectKeyId: []byte{1, byte(serials)},
	}
	if change != nil {
		change(tpl)
	}
	a := &authority{}
	if len(keys) > 0 {
		a.key = keys[0]
	} else {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		require.NoError(t, err)
		a.key = k
	}
	up, key := tpl, a.key
	if parent != nil {
		up, key = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, up, a.key.Public(), key)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(der)
	require.NoError(t, err)
	a.own, err = ekcert.Parse(der)
	require.NoError(t, err)
	return a
}

func trust(as ...*authority) *Trust {
	t := &Trust{}
	for _, a := range as {
		t.Roots = append(t.Roots, a.own)
	}
	return t
}

// endorsementKey is a certificate of a TPM.
func endorsementKey(t testing.TB, maker string, number int64) *ekcert.Certificate {
	return newAuthority(t, maker, nil, func(c *x509.Certificate) { c.IsCA, c.SerialNumber = false, big.NewInt(number) }).own
}

func dimm(serial string) bom.Reference {
	return bom.Reference{ID: "m-" + serial, Class: bom.Memory, Identity: bom.Identity{Maker: "Samsung", PartNumber: "M393A4K40CB2", Serial: serial}, Location: finding.Location{Designator: "A1"}}
}

// sample is a manifest that a 2.1 certificate can nearly hold.
func sample() *manifest.Manifest {
	return &manifest.Manifest{
		ID: "maker-r1", Version: 3, IssuedAt: issued, NotAfter: ends,
		Environment: manifest.Environment{Manufacturer: "Maker Inc.", Model: "R1", Revision: "A", Serial: "S0001"},
		Components: []bom.Reference{
			{ID: "system-1", Class: bom.System, Identity: bom.Identity{Maker: "Maker Inc.", Model: "R1", Serial: "S0001"}},
			{ID: "baseboard-1", Class: bom.Baseboard, Identity: bom.Identity{Maker: "Maker Inc.", Model: "MB-1", Serial: "B77", Revision: "1.02"}},
			{ID: "processor-1", Class: bom.Processor, Identity: bom.Identity{Maker: "Intel", Model: "Intel(R) Xeon(R) Gold 6338"}, Quantity: 2},
			dimm("1001"), dimm("1002"),
			{ID: "pci-1", Class: bom.PCI, Identity: bom.Identity{Maker: makerOf(0x8086), Model: "8086:10d3 15d9:1533", Revision: "03", Serial: "dsn:0025900000000001", MakerIDs: []string{"pci:8086"}}, Attributes: map[string]string{"classCode": "020000"}},
			{ID: "network-1", Class: bom.Network, Identity: bom.Identity{Model: portModel, Serial: "00:25:90:00:00:01"}},
			{ID: "storage-1", Class: bom.Storage, Identity: bom.Identity{Model: "PM9A3", Serial: "S64G", Firmware: "GDC5602Q"}},
			{ID: "tpm-1", Class: bom.TPM, Identity: bom.Identity{Maker: "IFX", Model: "SLB9672"}, Security: true},
			{ID: "firmware-1", Class: bom.Firmware, Identity: bom.Identity{Maker: "AMI", Model: "BIOS", Firmware: "1.5.3"}},
		},
		Classes: map[bom.Class]bom.Closure{
			bom.Memory: bom.Closed, bom.Processor: bom.Closed, bom.USB: bom.NoneThere, bom.PCI: bom.Open, bom.Network: bom.Open, bom.System: bom.Closed,
			bom.Baseboard: bom.Closed, bom.Storage: bom.Closed, bom.TPM: bom.Closed, bom.Firmware: bom.Closed,
		},
	}
}

func make1(t testing.TB, m *manifest.Manifest, by *authority, opt Options) *Certificate {
	t.Helper()
	c, _, err := FromManifest(m, opt)
	require.NoError(t, err)
	require.NoError(t, c.Sign(by.key, by.cert))
	return c
}

func verified(t testing.TB, c *Certificate, tr *Trust) *Verified {
	t.Helper()
	v, err := c.Verify(tr, now)
	require.NoError(t, err)
	return v
}

func signers(t testing.TB) map[string]crypto.Signer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return map[string]crypto.Signer{"rsa": r, "p384": p384, "ed25519": ed}
}

func bound(t testing.TB, c *Certificate, ek *ekcert.Certificate) {
	t.Helper()
	tolerated, err := c.Bound(ek)
	require.NoError(t, err)
	require.Empty(t, tolerated)
}

func unbound(t testing.TB, c *Certificate, ek *ekcert.Certificate, why string) {
	t.Helper()
	_, err := c.Bound(ek)
	require.ErrorContains(t, err, why)
}
