package manifest

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/finding"
)

func rerooted(m *Manifest) {
	r := sample().SPDM[0]
	r.Roots = []string{strings.Repeat("0a", 32)}
	m.SPDM = []spdm.Reference{r}
}

// What devices sign is firmware: who may speak for it may change it.
func TestDeviceLinesNeedTheRightOfFirmware(t *testing.T) {
	s := newShop(t)
	base := opened(t, signed(t, sample(), s.vendor), s.trust)
	g, fs := Combine(base)
	require.Empty(t, fs)
	require.Equal(t, sample().SPDM, g.SPDM)
	o, ok := g.Origin("spdm:gpu")
	require.True(t, ok)
	require.Equal(t, "example/r1", o.ID)

	own := opened(t, signed(t, change(base, "Example Systems", rerooted), s.vendor), s.trust)
	got, fs := Apply(base, []*Trusted{own})
	require.Empty(t, fs)
	require.Equal(t, strings.Repeat("0a", 32), got.Manifest().SPDM[0].Roots[0])
	require.Len(t, got.Manifest().SPDM, 1)

	raw := signed(t, change(base, "Integrator", rerooted), s.integrator)
	d, rep := Open(raw, s.trust, now)
	require.Empty(t, d.Manifest().SPDM, "the lines are left out")
	require.True(t, slices.ContainsFunc(rep.Findings, func(f finding.Finding) bool { return strings.HasSuffix(f.Subject, "/firmware") }), "%v", rep.Findings)
}

func TestLintOfDeviceLines(t *testing.T) {
	m := sample()
	require.Empty(t, Lint(m))
	m.SPDM = append(m.SPDM, m.SPDM[0])
	m.SPDM[1].Measurements = []spdm.Expected{{Index: 1, Any: true}}
	var codes []finding.Code
	for _, f := range Lint(m) {
		codes = append(codes, f.Code)
	}
	require.ElementsMatch(t, []finding.Code{finding.ManifestContradiction, finding.ManifestPermissive}, codes)
}
