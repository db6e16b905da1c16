package platformcert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/manifest"
)

// chain is a base and how deltas to it are made.
type chain struct {
	t    *testing.T
	by   *authority
	base *Certificate
	ek   *ekcert.Certificate
}

func newChain(t *testing.T) *chain {
	c := &chain{t: t, by: newAuthority(t, "Maker Inc.", nil, nil), ek: endorsementKey(t, "TPM Maker", 0x77)}
	c.base = make1(t, sample(), c.by, Options{Profile: "1.1", EK: c.ek})
	return c
}

// delta makes a delta by hand: what FromManifest would not write.
func (c *chain) delta(by *authority, edit func(*Certificate)) *Certificate {
	c.t.Helper()
	m := sample()
	m.IssuedAt = issued.AddDate(0, 1, 0)
	d, _, err := FromManifest(m, Options{Profile: "1.1", Previous: []*Certificate{c.base}})
	require.NoError(c.t, err)
	d.Configuration.Components, d.Configuration.Properties = nil, nil
	edit(d)
	d.Extensions[1].Value = d.Platform.encodeName(false)
	require.NoError(c.t, d.Sign(by.key, by.cert))
	return d
}

func (c *chain) assemble(tr *Trust, may Authority, ds ...*Certificate) (*Build, []finding.Finding) {
	c.t.Helper()
	var vs []*Verified
	for _, d := range ds {
		vs = append(vs, verified(c.t, d, tr))
	}
	a, fs := Assemble(verified(c.t, c.base, tr), vs, may)
	require.NotNil(c.t, a)
	return a.Build(), fs
}

func part(serial string, s Status) Component {
	return Component{Registry: TCGRegistry, Class: "00060001", Maker: "Samsung", Model: "M393A4K40CB2", Serial: serial, Status: s}
}

func with(cs ...Component) func(*Certificate) {
	return func(d *Certificate) { d.Configuration.Components = cs }
}

func TestWhatADeltaMayNotSay(t *testing.T) {
	c := newChain(t)
	tr := trust(c.by)
	for name, tc := range map[string]struct {
		edit func(*Certificate)
		why  string
	}{
		"add what is there":        {with(part("1001", Added)), "is added and is there already"},
		"remove what is not there": {with(part("9", Removed)), "is removed: no such part is there"},
		"modify what is not there": {with(part("9", Modified)), "is modified: no such part is there"},
		"no status":                {with(part("9", Unchanged)), "has no status"},
		"several that fit":         {with(part("", Removed)), "2 parts fit"},
		"another model":            {func(d *Certificate) { d.Platform.Model = "R2" }, `the platform's model is "R2"`},
		"another manufacturer":     {func(d *Certificate) { d.Platform.Manufacturer = "Maker" }, "the platform's manufacturer"},
		"another machine":          {func(d *Certificate) { d.Platform.Serial = "S0002" }, "the platform's serial number"},
		"another base":             {func(d *Certificate) { d.Holder.Serial = c.ek.Serial }, "its holder is not the base"},
		"older than the base":      {func(d *Certificate) { d.NotBefore = issued.AddDate(0, 0, -1) }, "precedes"},
		"number of the base":       {func(d *Certificate) { d.Serial = c.base.Serial }, "its serial number is that of"},
		"property that is there": {func(d *Certificate) {
			d.Configuration.Properties = []Property{{Name: propertyID, Value: "x", Status: Added}}
		}, "it is added and is there already"},
		"version that goes back": {func(d *Certificate) {
			d.Configuration.Properties = []Property{{Name: propertyVersion, Value: "2", Status: Modified}}
		}, "version 2 does not follow 3"},
		"property that is not": {func(d *Certificate) {
			d.Configuration.Properties = []Property{{Name: "n", Value: "x", Status: Modified}}
		}, "is modified and is not there"},
	} {
		b, fs := c.assemble(tr, nil, c.delta(c.by, tc.edit))
		require.NotEmpty(t, fs, name)
		require.Equal(t, finding.ManifestDelta, fs[0].Code, name)
		require.Contains(t, fs[0].Why, tc.why, name)
		require.Empty(t, b.Deltas, name)
		require.Len(t, b.Components, len(c.base.Configuration.Components), "%s: nothing of it is applied", name)
	}
}

func TestEveryBadChangeIsNamed(t *testing.T) {
	c := newChain(t)
	_, fs := c.assemble(trust(c.by), nil, c.delta(c.by, with(part("1001", Added), part("8", Removed), part("9", Modified), part("10", Added))))
	require.Len(t, fs, 3)
	require.NotEqual(t, fs[0].Fingerprint, fs[1].Fingerprint)
}

func TestDeltasApplyInTheOrderOfIssue(t *testing.T) {
	c := newChain(t)
	tr := trust(c.by)
	first := c.delta(c.by, with(part("3001", Added)))
	second := c.delta(c.by, func(d *Certificate) {
		d.NotBefore = issued.AddDate(0, 2, 0)
		d.Configuration.Components = []Component{part("3001", Removed), part("3002", Added)}
	})
	b, fs := c.assemble(tr, nil, first, second)
	require.Empty(t, fs)
	require.Len(t, b.Deltas, 2)
	require.Len(t, b.Components, len(c.base.Configuration.Components)+1)
	b, fs = c.assemble(tr, nil, second, first)
	require.Len(t, fs, 1)
	require.Empty(t, b.Deltas, "the wrong order is refused")

	_, fs = c.assemble(tr, nil, first, first)
	require.Len(t, fs, 1)
	require.Contains(t, fs[0].Why, "its serial number is that of")

	a, fs := Assemble(verified(t, first, tr), nil, nil)
	require.Nil(t, a, "a delta is no base")
	require.Len(t, fs, 1)
}

// A part that was changed keeps its number and is found by it.
func TestModifiedPart(t *testing.T) {
	c := newChain(t)
	p := part("1001", Modified)
	p.Model, p.Revision = "M393A4K40CB2-CWE", "2"
	b, fs := c.assemble(trust(c.by), nil, c.delta(c.by, with(p)))
	require.Empty(t, fs)
	var found []Component
	for _, x := range b.Components {
		if x.Serial == "1001" {
			found = append(found, x)
		}
	}
	require.Len(t, found, 1)
	require.Equal(t, "M393A4K40CB2-CWE", found[0].Model)
	require.Equal(t, Unchanged, found[0].Status)
}

func TestWhoMayChangeWhat(t *testing.T) {
	c := newChain(t)
	other := newAuthority(t, "Integrator", nil, nil)
	tr := trust(c.by, other)
	d := c.delta(other, with(part("3001", Added)))
	_, fs := c.assemble(tr, nil, d)
	require.Len(t, fs, 1)
	require.Contains(t, fs[0].Why, "Integrator (Integrator attribute authority) did not issue the base")

	may := func(path []*ekcert.Certificate, manufacturer string, class bom.Class, delta bool) error {
		if manufacturer != "Maker Inc." || delta && class != bom.Memory {
			return errors.New("only memory")
		}
		return nil
	}
	b, fs := c.assemble(tr, may, d)
	require.Empty(t, fs)
	require.Len(t, b.Deltas, 1)
	drive := Component{Registry: TCGRegistry, Class: "00070002", Model: "PM9A3", Serial: "S64G", Status: Removed}
	b, fs = c.assemble(tr, may, c.delta(other, with(part("3001", Added), drive)))
	require.Len(t, fs, 1)
	require.Equal(t, "only memory", fs[0].Why)
	require.Empty(t, b.Deltas, "not even what it may")

	a, fs := Assemble(verified(t, c.base, tr), nil, func([]*ekcert.Certificate, string, bom.Class, bool) error { return errors.New("nobody") })
	require.Nil(t, a)
	require.Equal(t, finding.ManifestUntrustedSigner, fs[0].Code)
}

// A right to change memory is not one to change what is called memory, nor how
// complete the lines are.
func TestRightsAreThoseOfWhatIsChanged(t *testing.T) {
	c := newChain(t)
	other := newAuthority(t, "Integrator", nil, nil)
	tr := trust(c.by, other)
	memory := func(_ []*ekcert.Certificate, _ string, class bom.Class, delta bool) error {
		if delta && class != bom.Memory {
			return errors.New("only memory")
		}
		return nil
	}
	system := Component{Registry: TCGRegistry, Class: "00060001", Maker: "Maker Inc.", Model: "R1", Serial: "S0001", Status: Removed}
	for _, edit := range []func(*Certificate){
		with(system),
		with(Component{Registry: TCGRegistry, Class: "FFFF0000", Maker: "x", Model: "y", Status: Added}),
		func(d *Certificate) {
			d.Configuration.Properties = []Property{{Name: propertyClass + "memory", Value: "open", Status: Modified}}
		},
	} {
		b, fs := c.assemble(tr, memory, c.delta(other, edit))
		require.Len(t, fs, 1)
		require.Contains(t, fs[0].Why, "only memory")
		require.Empty(t, b.Deltas)
	}
	anything := func([]*ekcert.Certificate, string, bom.Class, bool) error { return nil }
	tpm := Component{Registry: TCGRegistry, Class: "00040009", Maker: "IFX", Model: "SLB9672", Status: Removed}
	_, fs := c.assemble(tr, anything, c.delta(other, with(tpm)))
	require.Len(t, fs, 1, "a TPM is for the base's issuer only")
	require.Contains(t, fs[0].Why, "did not issue the base")
}

// A delta of the most parts against a base of the most parts takes a moment.
func TestTheLargestDelta(t *testing.T) {
	c := newChain(t)
	m := sample()
	m.Components = nil
	for i := range 4000 {
		m.Components = append(m.Components, dimm(fmt.Sprintf("%06d", i)))
	}
	base := make1(t, m, c.by, Options{Profile: "1.1", EK: c.ek})
	c.base = base
	d := c.delta(c.by, func(d *Certificate) {
		d.Configuration.Properties = nil
		d.Configuration.Components = nil
		for i := range 4000 {
			d.Configuration.Components = append(d.Configuration.Components, part(fmt.Sprintf("%06d", 3999-i), Removed))
		}
	})
	b, fs := Draft(base, []*Certificate{d})
	require.Empty(t, fs)
	require.Empty(t, b.Components)
}

// The organisation's name helps only under the root that gave it.
func TestSameNameUnderAnotherRootMayNotChange(t *testing.T) {
	c := newChain(t)
	namesake := newAuthority(t, "Maker Inc.", nil, nil)
	_, fs := c.assemble(trust(c.by, namesake), nil, c.delta(namesake, with(part("3001", Added))))
	require.Len(t, fs, 1)
	require.Contains(t, fs[0].Why, "did not issue the base")
}

// The grants for manifests are those for platform certificates.
func TestTheTrustOfManifestsDecides(t *testing.T) {
	by, other, ek := newAuthority(t, "Maker Inc.", nil, nil), newAuthority(t, "Integrator", nil, nil), endorsementKey(t, "TPM Maker", 0x77)
	base := make1(t, sample(), by, Options{EK: ek})
	m := sample()
	m.IssuedAt = issued.AddDate(0, 1, 0)
	m.Components = append(m.Components, dimm("3001"))
	delta := make1(t, m, other, Options{EK: ek, Previous: []*Certificate{base}})
	assemble := func(grants string, base, delta *Certificate) (*Assembled, []finding.Finding) {
		dir := t.TempDir()
		for i, a := range []*authority{by, other} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, []string{"a.der", "b.der"}[i]), a.cert.Raw, 0o600))
		}
		if grants != "" {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "trust.yaml"), []byte(grants), 0o600))
		}
		mt, err := manifest.LoadTrust([]string{dir})
		require.NoError(t, err)
		var tr Trust
		may := tr.Import(mt)
		return Assemble(verified(t, base, &tr), []*Verified{verified(t, delta, &tr)}, may)
	}
	a, fs := assemble("", base, delta)
	require.Len(t, a.Build().Deltas, 0)
	require.Contains(t, fs[0].Why, "is not the manufacturer")
	const grant = `{grants: [{signer: {organization: Integrator}, manufacturers: [Maker Inc.], classes: [%s], deltaOnly: true}]}`
	a, fs = assemble(fmt.Sprintf(grant, "memory"), base, delta)
	require.Empty(t, fs)
	require.Len(t, a.Build().Deltas, 1)
	a, fs = assemble(fmt.Sprintf(grant, "storage"), base, delta)
	require.Len(t, a.Build().Deltas, 0)
	require.Contains(t, fs[0].Why, "may not speak about memory")
	foreign := make1(t, sample(), other, Options{EK: ek})
	a, fs = assemble(fmt.Sprintf(grant, "memory"), foreign, delta)
	require.Nil(t, a)
	require.Contains(t, fs[0].Why, "may only change")
	a, _ = assemble(`{threshold: 2}`, base, delta)
	require.Nil(t, a, "one signature is not two")
}

func TestProfileTwoNamesTheWholeChain(t *testing.T) {
	by, ek := newAuthority(t, "Maker Inc.", nil, nil), endorsementKey(t, "TPM Maker", 0x77)
	tr := trust(by)
	m := sample()
	base := make1(t, m, by, Options{EK: ek})
	next := func(previous ...*Certificate) *Certificate {
		n := sample()
		n.IssuedAt = issued.AddDate(0, len(previous), 0)
		n.Components = append(n.Components, dimm("300"+string(rune('0'+len(previous)))))
		return make1(t, n, by, Options{EK: ek, Previous: previous})
	}
	first := next(base)
	second := next(base, first)
	all := []*Verified{verified(t, first, tr), verified(t, second, tr)}
	a, fs := Assemble(verified(t, base, tr), all, nil)
	require.Empty(t, fs)
	require.Len(t, a.Build().Deltas, 2)
	_, fs = Assemble(verified(t, base, tr), all[1:], nil)
	require.Len(t, fs, 1)
	require.Contains(t, fs[0].Why, "it follows 2 certificates, and 1 are here")

	late := sample()
	late.IssuedAt = issued.AddDate(0, 1, 0)
	d, _, err := FromManifest(late, Options{EK: ek, Previous: []*Certificate{base}})
	require.NoError(t, err)
	d.NotAfter = ends.AddDate(0, 0, -1)
	require.NoError(t, d.Sign(by.key, by.cert))
	_, fs = Assemble(verified(t, base, tr), []*Verified{verified(t, d, tr)}, nil)
	require.Len(t, fs, 1)
	require.Equal(t, finding.Critical, fs[0].Severity)
	require.Contains(t, fs[0].Why, "notAfter")
}

func TestNoPlatformNoManifest(t *testing.T) {
	c := newChain(t)
	b, _ := Draft(c.base, nil)
	b.Platform.Model = ""
	_, _, err := Convert(b, ConvertOptions{})
	require.Error(t, err)
	b.Platform.Model = "R1"
	_, _, err = Convert(b, ConvertOptions{EK: endorsementKey(t, "TPM Maker", 0x78)})
	require.ErrorContains(t, err, "about another TPM")
	m, _, err := Convert(b, ConvertOptions{EK: c.ek})
	require.NoError(t, err)
	require.Len(t, m.Endorsements[0].SHA256, 64)
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	_, err = manifest.ReadUntrusted(raw)
	require.NoError(t, err)
}
