package corim

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

const corpusDir = "../../../shared/corpus/platformcerts"

func corpus(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(corpusDir, name))
	if os.IsNotExist(err) {
		t.Skip("needs ../shared/corpus/platformcerts/" + name)
	}
	require.NoError(t, err)
	return b
}

func certificates(t testing.TB, b []byte) []*x509.Certificate {
	t.Helper()
	var out []*x509.Certificate
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return out
		}
		c, err := x509.ParseCertificate(block.Bytes)
		require.NoError(t, err)
		out = append(out, c)
	}
}

func trusting(t testing.TB, roots ...*x509.Certificate) *manifest.Trust {
	t.Helper()
	files := map[string][]byte{"trust.json": []byte("{}")}
	for i, c := range roots {
		files[fmt.Sprintf("root-%04d.der", i)] = c.Raw
	}
	trust := &manifest.Trust{}
	require.NoError(t, trust.Import(files))
	return trust
}

var corpusNow = time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC)

func TestCorpusVectors(t *testing.T) {
	corpus(t, "index.json")
	var files []string
	for _, p := range []string{"veraison-corim/testcases/*.cbor", "rim-tool/veraison/*.cbor", "rim-tool/corim/*", "hirs-unit/HIRS_Utils/corim/*.cbor", "rim-tool/ms_cose_sign_tool/corim*", "rim-tool/cose/*"} {
		m, err := filepath.Glob(filepath.Join(corpusDir, p))
		require.NoError(t, err)
		files = append(files, m...)
	}
	count := map[string]int{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		c, err := ReadUntrusted(raw)
		if err != nil {
			t.Logf("%s: %v", filepath.Base(f), err)
			count["refused"]++
			continue
		}
		count["read"]++
		_, losses, err := Convert(c, Options{Environment: manifest.Environment{Manufacturer: "m", Model: "m"}})
		require.NoError(t, err, f)
		if strings.Contains(f, "good-corim.cbor") || strings.Contains(f, "comid-5.cbor") {
			t.Log(filepath.Base(f), losses)
		}
	}
	require.Equal(t, map[string]int{"read": 89, "refused": 6}, count)
}

func TestCorpusSigned(t *testing.T) {
	chain := certificates(t, corpus(t, "rim-tool/certs/COMP_OEM1_Cert_Chain_ecc_512_sha384.pem"))
	signer := certificates(t, corpus(t, "rim-tool/certs/COMP_OEM1_rim_signer_ecc_512_sha384.pem"))
	var root *x509.Certificate
	for _, c := range chain {
		if c.CheckSignatureFrom(c) == nil {
			root = c
		}
	}
	require.NotNil(t, root)
	given := append(signer, chain...)
	raw := corpus(t, "rim-tool/corim/corim_1.signed.corim.cose")
	c, report := Open(raw, trusting(t, root), given, corpusNow)
	require.NotNil(t, c, report.Findings)
	require.Equal(t, "ES384", report.Algorithm)
	require.Equal(t, "Test CoRIM 1", c.ID)
	bad := slices.Clone(raw)
	bad[len(bad)-1] ^= 1
	c, report = Open(bad, trusting(t, root), given, corpusNow)
	require.Nil(t, c)
	require.Equal(t, finding.ManifestBadSignature, report.Findings[0].Code)
	c, report = Open(raw, trusting(t, root), nil, corpusNow)
	require.Nil(t, c)
	require.Equal(t, finding.ManifestUntrustedSigner, report.Findings[0].Code)
	c, report = Open(raw, trusting(t, root), given, corpusNow.AddDate(1, 0, 0))
	require.Nil(t, c)
	require.Equal(t, finding.ManifestTime, report.Findings[0].Code)

	// The signature of another tool holds; the triples of its module are not a map.
	s, err := readSign1(corpus(t, "rim-tool/ms_cose_sign_tool/corim_embedded_1.corim.cose"))
	require.NoError(t, err)
	_, err = s.signedBy(nil)
	require.NoError(t, err)
	_, err = readCoRIM(s.payload)
	require.ErrorIs(t, err, ErrMalformed)
}

// Of the COSE working group's vectors, those that must fail do. The algorithm of
// the first that may pass is in no signed header, which a CoRIM's must be; that
// of the second is signed with data from elsewhere, and the third has no tag.
func TestCorpusCOSE(t *testing.T) {
	alice := certificates(t, corpus(t, "rim-tool/cosewg/alice.pem"))
	for name, want := range map[string]error{
		"sign-pass-01": errAlgorithm, "sign-pass-02": errSignature, "sign-pass-03": ErrUnsigned,
		"sign-fail-01": ErrMalformed, "sign-fail-02": errSignature, "sign-fail-03": errAlgorithm, "sign-fail-04": errAlgorithm,
	} {
		s, err := readSign1(corpus(t, "rim-tool/cosewg/"+name+".cose"))
		if err == nil {
			err = s.verify(alice[0].PublicKey)
		}
		require.ErrorIs(t, err, want, name)
	}
}
