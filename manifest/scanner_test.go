package manifest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/finding"
)

func event(contents string) attest.EventReference {
	return attest.EventReference{Type: "EV_IPL", Digests: map[string][]string{"sha256": {hexSum([]byte(contents))}}}
}

func scannerSample() *Manifest {
	return &Manifest{
		ID: "scanner", Version: 1, IssuedAt: issued, Environment: Environment{Manufacturer: AnyPlatform, Model: "scanner"},
		Boot:    []attest.Reference{{PCR: 4, Events: []attest.EventReference{event("image")}}, {PCR: 9, Events: []attest.EventReference{event("initrd")}}},
		Scanner: &Scanner{Image: hexSum([]byte("image")), Disk: "00112233-4455-6677-8899-aabbccddeeff"},
	}
}

// A reference that pins nothing would attest anything.
func TestAScannersReferencePinsItsImage(t *testing.T) {
	require.NoError(t, scannerSample().checkValues())
	for name, spoil := range map[string]func(*Manifest){
		"about a platform":   func(m *Manifest) { m.Environment.Manufacturer = "Example Systems" },
		"no image":           func(m *Manifest) { m.Scanner.Image = "" },
		"disk in upper case": func(m *Manifest) { m.Scanner.Disk = strings.ToUpper(m.Scanner.Disk) },
		"no initial files":   func(m *Manifest) { m.Boot = m.Boot[:1] },
		"a register twice":   func(m *Manifest) { m.Boot = append(m.Boot, m.Boot[0]) },
		"a platform's register": func(m *Manifest) {
			m.Boot = append(m.Boot, attest.Reference{PCR: 7, Events: []attest.EventReference{event("x")}})
		},
		"any order":            func(m *Manifest) { m.Boot[1].Order = "any" },
		"only optional events": func(m *Manifest) { m.Boot[0].Events[0].Optional = true },
		"two allowed images":   func(m *Manifest) { m.Boot[0].Events[0].Digests["sha256"] = []string{hexSum(nil), hexSum([]byte{1})} },
		"values beside events": func(m *Manifest) { m.Boot[0].Digests = map[string][]string{"sha256": {hexSum(nil)}} },
		"a change": func(m *Manifest) {
			m.Delta = &Delta{BaseDigest: hexSum(nil), Actor: "x", Ticket: "1"}
		},
	} {
		m := scannerSample()
		spoil(m)
		require.Error(t, m.checkValues(), name)
	}
}

// The right to publish what a system measures is not the right to say who
// collected evidence, and a right to other lines is neither.
func TestDeclaringAScannerIsARightOfItsOwn(t *testing.T) {
	root := newRoot(t, "root")
	raw := signed(t, scannerSample(), root.issue(t, by("Scanner")))
	with := func(rights ...string) *Trusted {
		trust := root.trust()
		trust.grants = []grant{{Signer: signerRule{Organization: "Scanner"}, Manufacturers: []string{"*"}, Classes: rights}}
		tr, _ := Open(raw, trust, now)
		require.NotNil(t, tr, "%v", rights)
		return tr
	}
	for _, c := range []struct {
		rights        []string
		boot, scanner bool
	}{
		{[]string{"boot:software", "scanner"}, true, true},
		{nil, true, true},
		{[]string{"boot"}, true, false},
		{[]string{"boot:software"}, true, false},
		{[]string{"scanner"}, false, false},
		{[]string{"memory"}, false, false},
	} {
		m := with(c.rights...).Manifest()
		require.Equal(t, c.boot, len(m.Boot) > 0, "%v", c.rights)
		require.Equal(t, c.scanner, m.Scanner != nil, "%v", c.rights)
	}
	g, fs := Combine(with("boot:software", "scanner"))
	require.Empty(t, fs)
	require.Empty(t, g.Boot, "a scanner's registers stand apart")
	require.Len(t, g.Scanners, 1)
	require.Equal(t, "manifest scanner version 1", g.Scanners[0].Boot[0].Origin)
}

func TestAScannersReferenceIsNeverChanged(t *testing.T) {
	root := newRoot(t, "root")
	trust := root.trust()
	trust.grants = []grant{{Signer: signerRule{Organization: "Scanner"}, Manufacturers: []string{"*"}}}
	h := root.issue(t, by("Scanner"))
	base, _ := Open(signed(t, scannerSample(), h), trust, now)
	require.NotNil(t, base)
	change := scannerSample()
	change.Scanner, change.Version = nil, 2
	change.Boot = []attest.Reference{{PCR: 9, Events: []attest.EventReference{event("another")}}}
	change.Delta = &Delta{BaseDigest: base.digest, Actor: "Scanner", Ticket: "1"}
	delta, r := Open(signed(t, change, h), trust, now)
	require.NotNil(t, delta, "%v", r.Findings)
	got, fs := Apply(base, []*Trusted{delta})
	require.Equal(t, []finding.Code{finding.ManifestDelta}, codes(fs))
	require.Equal(t, base.digest, got.digest)
}
