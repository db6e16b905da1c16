package manifest

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// shop is a vendor, an integrator that may change memory, and their trust.
type shop struct {
	root               *holder
	vendor, integrator *holder
	trust              *Trust
}

func newShop(t testing.TB) *shop {
	root := newRoot(t, "root")
	s := &shop{root: root, vendor: root.issue(t), integrator: root.issue(t, by("Integrator GmbH")), trust: root.trust()}
	s.trust.grants = []grant{{Signer: signerRule{Organization: "Integrator"}, Manufacturers: []string{"Example Systems"}, Classes: []string{"memory", "pci", "tpm"}, DeltaOnly: true}}
	return s
}

// change returns a delta to a statement.
func change(base *Trusted, actor string, set func(*Manifest)) *Manifest {
	m := &Manifest{
		ID: base.manifest.ID, Version: base.manifest.Version + 1, IssuedAt: issued, Environment: base.manifest.Environment,
		Delta: &Delta{BaseDigest: base.Digest(), Actor: actor, Ticket: "RMA-17"},
	}
	if set != nil {
		set(m)
	}
	return m
}

func swapped(m *Manifest) {
	m.Components = []bom.Reference{{ID: "dimm-a1", Class: bom.Memory, Identity: bom.Identity{Maker: "Micron", PartNumber: "MTA18"}}}
}

func TestDeltaReplacesALine(t *testing.T) {
	s := newShop(t)
	base := opened(t, signed(t, sample(), s.vendor), s.trust)
	d := opened(t, signed(t, change(base, "Integrator", swapped), s.integrator), s.trust)
	got, fs := Apply(base, []*Trusted{d})
	require.Empty(t, fs)
	m := got.Manifest()
	require.Equal(t, "MTA18", m.Components[0].Identity.PartNumber)
	require.Len(t, m.Components, 3)
	require.Equal(t, int64(4), m.Version)
	require.Nil(t, m.Delta)

	g, fs := Combine(d, base)
	require.Empty(t, fs)
	o, _ := g.Origin("component:dimm-a1")
	require.Equal(t, Origin{ID: "example/r1", Version: 4, Actor: "Integrator", Ticket: "RMA-17"}, o)
	o, _ = g.Origin("component:nic")
	require.Empty(t, o.Ticket)
}

func TestDeltaTricks(t *testing.T) { // F21
	s := newShop(t)
	base := opened(t, signed(t, sample(), s.vendor), s.trust)
	delegated := sample()
	delegated.Authority = []Authority{{Signer: "Integrator", Classes: []string{"pci"}}}
	tests := map[string]struct {
		base  *Trusted
		h     *holder
		actor string
		set   func(*Manifest)
	}{
		"another base":          {base, s.integrator, "Integrator", func(m *Manifest) { m.Delta.BaseDigest = hexSum(nil) }},
		"the same version":      {base, s.integrator, "Integrator", func(m *Manifest) { m.Version-- }},
		"another lineage":       {base, s.integrator, "Integrator", func(m *Manifest) { m.ID = "example/r9" }},
		"another platform":      {base, s.integrator, "Integrator", func(m *Manifest) { m.Environment.Revision = "B" }},
		"another actor":         {base, s.integrator, "Example Systems", swapped},
		"removes the TPM line":  {base, s.integrator, "Integrator", func(m *Manifest) { m.Delta.Remove = []string{"tpm"} }},
		"replaces the TPM line": {base, s.integrator, "Integrator", func(m *Manifest) { m.Components = []bom.Reference{{ID: "tpm", Class: bom.TPM}} }},
		"turns it into memory":  {base, s.integrator, "Integrator", func(m *Manifest) { m.Components = []bom.Reference{{ID: "tpm", Class: bom.Memory}} }},
		"removes what is not":   {base, s.integrator, "Integrator", func(m *Manifest) { m.Delta.Remove = []string{"gpu"} }},
		"opens a class":         {base, s.integrator, "Integrator", func(m *Manifest) { m.Classes = map[bom.Class]bom.Closure{bom.PCI: bom.Open} }},
		"not delegated":         {opened(t, signed(t, delegated, s.vendor), s.trust), s.integrator, "Integrator", swapped},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			d := opened(t, signed(t, change(tt.base, tt.actor, tt.set), tt.h), s.trust)
			got, fs := Apply(tt.base, []*Trusted{d})
			require.Equal(t, []finding.Code{finding.ManifestDelta}, codes(fs))
			require.Equal(t, tt.base.Digest(), got.Digest(), "nothing of a refused change is used")
		})
	}
}

// Only the base's signer accepts contradictions, whatever else another may do.
func TestDeltaCannotSilenceFindings(t *testing.T) {
	s := newShop(t)
	base := opened(t, signed(t, sample(), s.vendor), s.trust)
	raw := signed(t, change(base, "Integrator", func(m *Manifest) { m.Known = []Known{{Code: finding.UnexpectedComponent, Subject: "pci:x"}} }), s.integrator)
	narrow := opened(t, raw, s.trust)
	require.Empty(t, narrow.Manifest().Known)
	s.trust.grants[0].Classes = nil
	_, fs := Apply(base, []*Trusted{opened(t, raw, s.trust)})
	require.Equal(t, []finding.Code{finding.ManifestDelta}, codes(fs))
}

func TestVendorMayChangeAnything(t *testing.T) {
	s := newShop(t)
	base := opened(t, signed(t, sample(), s.vendor), s.trust)
	d := opened(t, signed(t, change(base, maker, func(m *Manifest) {
		m.Delta.Remove = []string{"tpm"}
		m.Boot = []attest.Reference{{PCR: 0, Note: "new firmware"}}
		m.Endorsements = []attest.Endorsement{{Kind: "ek", SHA256: hexSum(nil)}}
		m.Classes = map[bom.Class]bom.Closure{bom.USB: bom.Closed}
		m.Firmware = sample().Firmware
		m.Firmware[0].Version = "1.3"
	}), s.root.issue(t)), s.trust)
	got, fs := Apply(base, []*Trusted{d})
	require.Empty(t, fs)
	m := got.Manifest()
	require.Len(t, m.Components, 2)
	require.Equal(t, []int{4, 0}, []int{m.Boot[0].PCR, m.Boot[1].PCR})
	require.Equal(t, hexSum(nil), m.Endorsements[0].SHA256)
	require.Equal(t, bom.Closed, m.Classes[bom.USB])
	require.Equal(t, "1.3", m.Firmware[0].Version)
}

// A chain applies whatever order its files are named in; two changes of one
// statement leave it undecided; a missing link stops the chain.
func TestDeltaChain(t *testing.T) {
	s := newShop(t)
	base := opened(t, signed(t, sample(), s.vendor), s.trust)
	first := opened(t, signed(t, change(base, "Integrator", swapped), s.integrator), s.trust)
	second := opened(t, signed(t, change(first, "Integrator", func(m *Manifest) { m.Delta.Remove = []string{"dimm-a1"} }), s.integrator), s.trust)
	fork := opened(t, signed(t, change(base, "Integrator", func(m *Manifest) { m.Delta.Remove = []string{"nic"} }), s.integrator), s.trust)
	for _, order := range [][]*Trusted{{first, second}, {second, first}, {second, first, second}} {
		got, fs := Apply(base, order)
		require.Empty(t, fs)
		require.Len(t, got.Manifest().Components, 2)
		require.Equal(t, int64(5), got.Manifest().Version)
	}
	_, fs := Apply(base, []*Trusted{first, fork})
	require.Equal(t, []finding.Code{finding.ManifestDelta}, codes(fs))
	_, fs = Combine(base, second)
	require.Equal(t, []finding.Code{finding.ManifestDelta}, codes(fs))
	g, fs := Combine(first)
	require.Nil(t, g, "a change is no manifest")
	require.Equal(t, []finding.Code{finding.ManifestDelta}, codes(fs))
}

func TestCombineVendorAndScanner(t *testing.T) {
	root := newRoot(t, "root")
	trust := root.trust()
	trust.grants = []grant{{Signer: signerRule{Organization: "Scanner"}, Manufacturers: []string{"*"}, Classes: []string{"boot:software"}}}
	vendor := opened(t, signed(t, sample(), root.issue(t)), trust)
	stick := &Manifest{
		ID: "scanner", Version: 1, IssuedAt: issued, Environment: Environment{Manufacturer: AnyPlatform, Model: "scanner"},
		Boot: []attest.Reference{{PCR: 0, Note: "not its to say"}, {PCR: 4, Note: "the stick"}, {PCR: 11, Note: "its kernel"}},
	}
	scanner, r := Open(signed(t, stick, root.issue(t, by("Scanner"))), trust, now)
	require.NotNil(t, scanner, "%v", r.Findings)
	g, fs := Combine(scanner, vendor)
	require.Empty(t, fs)
	notes := map[int]string{}
	for _, b := range g.Boot {
		notes[b.PCR] = b.Note
	}
	require.Equal(t, map[int]string{0: "", 4: "the stick", 11: "its kernel"}, notes)
	o, _ := g.Origin("pcr:4")
	require.Equal(t, "scanner", o.ID)
	o, _ = g.Origin("pcr:0")
	require.Equal(t, "example/r1", o.ID)
	require.Equal(t, "Example Systems", g.Environment.Manufacturer)
	require.Len(t, g.Components, 3)
	require.Equal(t, []Origin{{ID: "example/r1", Version: 3}, {ID: "scanner", Version: 1}}, g.Manifests)
}

func TestCombineConflicts(t *testing.T) {
	root := newRoot(t, "root")
	h, trust := root.issue(t), root.trust()
	open := func(set func(*Manifest)) *Trusted {
		m := sample()
		set(m)
		return opened(t, signed(t, m, h), trust)
	}
	first := open(func(m *Manifest) {})
	tests := map[string]struct {
		second *Trusted
		code   finding.Code
	}{
		"another part on one line":    {open(func(m *Manifest) { m.ID = "z"; m.Components[0].Identity.PartNumber = "X" }), finding.ManifestContradiction},
		"another closure":             {open(func(m *Manifest) { m.ID = "z"; m.Classes[bom.PCI] = bom.Open }), finding.ManifestContradiction},
		"another register value":      {open(func(m *Manifest) { m.ID = "z"; m.Boot[0].Note = "x" }), finding.ManifestContradiction},
		"another image":               {open(func(m *Manifest) { m.ID = "z"; m.Firmware[0].Version = "9" }), finding.ManifestContradiction},
		"another key":                 {open(func(m *Manifest) { m.ID = "z"; m.Endorsements[0].SHA256 = hexSum(nil) }), finding.ManifestContradiction},
		"one version, other contents": {open(func(m *Manifest) { m.Components[0].Identity.PartNumber = "X" }), finding.ManifestContradiction},
		"an older version":            {open(func(m *Manifest) { m.Version = 1 }), finding.ManifestRollback},
		"a superseded one":            {open(func(m *Manifest) { m.ID = "example/r0" }), finding.ManifestRollback},
		"another model":               {open(func(m *Manifest) { m.ID = "z"; m.Environment.Model = "R2" }), finding.ManifestWrongSubject},
		"another machine":             {open(func(m *Manifest) { m.ID = "z"; m.Environment.Serial = "S2" }), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			g, fs := Combine(first, tt.second)
			require.NotNil(t, g)
			if tt.code == "" {
				require.Empty(t, fs, "a model's manifest and one of its machines go together")
				require.Equal(t, "S2", g.Environment.Serial)
				return
			}
			require.Contains(t, codes(fs), tt.code)
			if name == "one version, other contents" {
				return // either may count; the finding is what matters
			}
			require.Equal(t, "M393A2K40BB1-CRC", g.Components[len(g.Components)-3].Identity.PartNumber)
		})
	}
	g, fs := Combine(first, first)
	require.Empty(t, fs)
	require.Len(t, g.Components, 3)
	g, fs = Combine()
	require.Nil(t, g)
	require.Empty(t, fs)
}

func TestCombineDoesNotDependOnOrder(t *testing.T) {
	root := newRoot(t, "root")
	h, trust := root.issue(t), root.trust()
	var all []*Trusted
	for i, id := range []string{"a", "b", "c", "example/r0"} {
		m := sample()
		m.ID, m.Components[0].Identity.PartNumber = id, id
		m.Boot[0].Note = id
		if i == 1 {
			m.Environment.Serial = "S1"
		}
		all = append(all, opened(t, signed(t, m, h), trust))
	}
	want, wantFound := Combine(all...)
	rapid.Check(t, func(t *rapid.T) {
		got, found := Combine(rapid.Permutation(all).Draw(t, "order")...)
		require.Equal(t, want, got)
		require.Equal(t, wantFound, found)
	})
}
