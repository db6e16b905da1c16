package assay_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/manifest"
)

// labNonce is the nonce that the recorded quotes were asked for.
const labNonce = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

// labTime is when the recorded machines were up.
var labTime = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// labVendor signs manifests as the maker of the recorded machine.
type labVendor struct {
	root  string // PEM file
	key   *ecdsa.PrivateKey
	chain []*x509.Certificate
}

func newVendor(t testing.TB, organization string) *labVendor {
	t.Helper()
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}, CommonName: "Test Root"},
		NotBefore: labTime.AddDate(-1, 0, 0), NotAfter: labTime.AddDate(10, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	require.NoError(t, err)
	ca, err = x509.ParseCertificate(caDER)
	require.NoError(t, err)
	v := &labVendor{}
	v.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{Organization: []string{organization}, CommonName: "Test Signer"},
		NotBefore: labTime.AddDate(-1, 0, 0), NotAfter: labTime.AddDate(5, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &v.key.PublicKey, caKey)
	require.NoError(t, err)
	leaf, err = x509.ParseCertificate(leafDER)
	require.NoError(t, err)
	v.chain = []*x509.Certificate{leaf}
	v.root = filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(v.root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600))
	return v
}

func (v *labVendor) trust(t testing.TB) *manifest.Trust {
	t.Helper()
	tr, err := manifest.LoadTrust([]string{v.root})
	require.NoError(t, err)
	return tr
}

// sign drafts a manifest from the files of known-good units, lets change edit
// it, and signs it.
func (v *labVendor) sign(t testing.TB, change func(*manifest.Manifest), units ...map[string][]byte) []byte {
	t.Helper()
	var bundles []*evidence.Bundle
	for _, u := range units {
		bundles = append(bundles, bundle(t, u))
	}
	m, _, err := assay.Draft(bundles, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	if change != nil {
		change(m)
	}
	return v.signManifest(t, m)
}

func (v *labVendor) signManifest(t testing.TB, m *manifest.Manifest) []byte {
	t.Helper()
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	signed, err := manifest.Sign(raw, v.key, v.chain)
	require.NoError(t, err)
	return signed
}

func bundle(t testing.TB, files map[string][]byte) *evidence.Bundle {
	t.Helper()
	b, err := evidence.FromFiles(files, "test", evidence.Limits{})
	require.NoError(t, err)
	return b
}

func machine(t testing.TB, name string) map[string][]byte {
	t.Helper()
	files, err := fixture.Machine(".", name)
	require.NoError(t, err)
	return files
}

// lab is a bench with one vendor, one trusted manifest and the roots of the
// recorded TPMs.
type lab struct {
	vendor *labVendor
	golden []byte
	roots  [][]byte
}

func newLab(t testing.TB, unit map[string][]byte) *lab {
	t.Helper()
	l := &lab{vendor: newVendor(t, "Assay Lab Computer Inc."), roots: tpmRoots(t, "testdata/tpm")}
	l.golden = l.vendor.sign(t, nil, unit)
	return l
}

func tpmRoots(t testing.TB, dir string) [][]byte {
	t.Helper()
	var out [][]byte
	for _, n := range []string{"root-ca.pem", "issuer-ca.pem"} {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		block, _ := pem.Decode(b)
		require.NotNil(t, block)
		out = append(out, block.Bytes)
	}
	return out
}

func (l *lab) caseOf(t testing.TB, files map[string][]byte) assay.Case {
	t.Helper()
	nonce, err := hex.DecodeString(labNonce)
	require.NoError(t, err)
	return assay.Case{
		Evidence: bundle(t, files), Golden: [][]byte{l.golden}, Trust: l.vendor.trust(t), EKRoots: l.roots, Nonce: nonce, Now: labTime.Add(time.Hour),
	}
}

func (l *lab) verify(t testing.TB, files map[string][]byte) *assay.Result {
	t.Helper()
	r, err := assay.Verify(l.caseOf(t, files))
	require.NoError(t, err)
	return r
}

// codesOf lists the codes of findings that count and of incidents.
func codesOf(r *assay.Result) []finding.Code {
	set := map[finding.Code]bool{}
	for _, f := range r.Findings {
		if f.Severity > finding.Info {
			set[f.Code] = true
		}
	}
	for _, i := range r.Incidents {
		set[i.Code] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// find returns the findings with a code, informational ones too.
func find(r *assay.Result, code finding.Code) []finding.Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f finding.Finding) bool { return f.Code != code })
}

func with(files map[string][]byte, change func(map[string][]byte)) map[string][]byte {
	out := maps.Clone(files)
	change(out)
	return out
}

func bundles(t testing.TB, units ...map[string][]byte) []*evidence.Bundle {
	t.Helper()
	var out []*evidence.Bundle
	for _, u := range units {
		out = append(out, bundle(t, u))
	}
	return out
}
