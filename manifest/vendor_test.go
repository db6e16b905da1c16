package manifest

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// A manifest converted from another format is trusted for what its signer may
// say, and for no more.
func TestAcceptKeepsTheSignersAuthority(t *testing.T) {
	root := newRoot(t, "root")
	maker, other := root.issue(t), root.issue(t, by("Somebody Else Ltd"))
	boot := root.trust()
	boot.grants = []grant{{Signer: signerRule{Organization: "Somebody Else"}, Manufacturers: []string{"Example Systems"}, Classes: []string{"boot:platform"}}}
	for name, c := range map[string]struct {
		trust *Trust
		chain []*x509.Certificate
		at    time.Time
		want  finding.Code // "" when it is trusted
	}{
		"the maker":          {root.trust(), maker.chain, now, ""},
		"another maker":      {root.trust(), other.chain, now, finding.ManifestUntrustedSigner},
		"another root":       {newRoot(t, "x").trust(), maker.chain, now, finding.ManifestUntrustedSigner},
		"nobody is trusted":  {nil, maker.chain, now, finding.ManifestUntrustedSigner},
		"no certificate":     {root.trust(), nil, now, finding.ManifestUntrustedSigner},
		"after its validity": {root.trust(), maker.chain, now.AddDate(20, 0, 0), finding.ManifestTime},
	} {
		got, report := c.trust.Accept(sample(), []byte("document"), c.chain, c.at)
		if c.want == "" {
			require.NotNil(t, got, "%s: %v", name, report.Findings)
			require.Equal(t, StatusTrusted, report.Status)
			require.Equal(t, hexSum([]byte("document")), got.Digest())
			require.Equal(t, sample().sorted(), got.Manifest().sorted())
			continue
		}
		require.Nil(t, got, name)
		require.Contains(t, codes(report.Findings), c.want, name)
	}

	got, report := boot.Accept(sample(), []byte("document"), other.chain, now)
	require.NotNil(t, got, report.Findings)
	require.Empty(t, got.Manifest().Components)
	for _, r := range got.Manifest().Boot {
		require.False(t, r.OfSoftware())
	}
	require.Contains(t, codes(report.Findings), finding.ManifestUntrustedSigner)
}

// What has no meaning is refused although its signer is trusted.
func TestAcceptChecksValues(t *testing.T) {
	h := newRoot(t, "root").issue(t)
	for name, change := range map[string]func(*Manifest){
		"version":      func(m *Manifest) { m.Version = 0 },
		"class":        func(m *Manifest) { m.Components = []bom.Reference{{ID: "x", Class: "gizmo"}} },
		"any platform": func(m *Manifest) { m.Environment.Manufacturer = AnyPlatform },
	} {
		m := sample()
		change(m)
		got, report := h.trust().Accept(m, nil, h.chain, now)
		require.Nil(t, got, name)
		require.Equal(t, []finding.Code{finding.ManifestAmbiguous}, codes(report.Findings), name)
	}
}
