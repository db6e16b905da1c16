package manifest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

func TestSampleIsClean(t *testing.T) {
	require.Empty(t, Lint(sample()))
}

func TestConfusableText(t *testing.T) { // F18, F19
	tests := map[string]struct {
		set     func(*Manifest)
		subject string
	}{
		"digit for a letter":      {func(m *Manifest) { m.Components[0].Identity.Maker = "Micr0n" }, "component/dimm-a1/maker"},
		"Cyrillic letter":         {func(m *Manifest) { m.Components[0].Identity.Maker = "Mi\u0441ron" }, "component/dimm-a1/maker"},
		"all Cyrillic":            {func(m *Manifest) { m.Components[0].Identity.Brand = "\u0410\u041c\u0406" }, "component/dimm-a1/brand"},
		"l for I":                 {func(m *Manifest) { m.Environment.Manufacturer = "lntel" }, "environment/manufacturer"},
		"rn for m":                {func(m *Manifest) { m.Components[0].Identity.Maker = "Sarnsung" }, "component/dimm-a1/maker"},
		"direction override":      {func(m *Manifest) { m.Environment.Model = "R1\u202e" }, "environment/model"},
		"zero-width space":        {func(m *Manifest) { m.Components[0].Identity.PartNumber = "M393\u200b" }, "component/dimm-a1/partNumber"},
		"no-break space":          {func(m *Manifest) { m.Components[0].Identity.Serial = "1\u00a02" }, "component/dimm-a1/serial"},
		"trailing space":          {func(m *Manifest) { m.Environment.Serial = "S1 " }, "environment/serial"},
		"new line":                {func(m *Manifest) { m.Components[0].Identity.Model = "a\nb" }, "component/dimm-a1/model"},
		"private-use character":   {func(m *Manifest) { m.ID = "a\ue000" }, "id"},
		"Greek in a part number":  {func(m *Manifest) { m.Components[1].Identity.PartNumber = "\u0391BC" }, "component/nic/partNumber"},
		"alternate":               {func(m *Manifest) { m.Components[1].Alternates = []bom.Identity{{Maker: "1ntel"}} }, "component/nic/alternate/maker"},
		"line id":                 {func(m *Manifest) { m.Components[1].ID = "nic\ufeff" }, "component/nic\ufeff/id"},
		"actor":                   {func(m *Manifest) { m.Delta = &Delta{Actor: "De11"} }, "delta/actor"},
		"delegate":                {func(m *Manifest) { m.Authority = []Authority{{Signer: "Sup\u0435rmicro"}} }, "authority"},
		"revision with variation": {func(m *Manifest) { m.Environment.Revision = "A\ufe0f" }, "environment/revision"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := sample()
			tt.set(m)
			fs := Lint(m)
			require.NotEmpty(t, fs)
			require.Equal(t, finding.ManifestConfusable, fs[0].Code)
			require.Equal(t, "manifest:"+m.ID+"/"+tt.subject, fs[0].Subject)
			require.NotContains(t, fs[0].Got, "\u202e", "the deceiving text is shown escaped")
		})
	}
}

func TestHonestNamesAreNotSuspected(t *testing.T) {
	for _, s := range []string{
		"Intel", "INTEL", "Intel(R) Corporation", "Samsung", "SK hynix", "Dell Inc.", "Super Micro Computer, Inc.", "Supermicro", "QEMU", "Debian",
		"3Com", "A-DATA Technology", "Würth Elektronik", "Красная заря", "富士通", "IBM", "HP", "Hewlett-Packard", "Phison", "Adata", "H3C", "M2",
	} {
		require.Empty(t, suspicious(s), s)
		require.Empty(t, imitates(s), s)
	}
}

func TestPermissiveManifest(t *testing.T) { // F22
	for name, set := range map[string]func(*Manifest){
		"line without identity": func(m *Manifest) { m.Components[1].Identity = bom.Identity{} },
		"level class":           func(m *Manifest) { m.Components[1].Level = "class" },
		"nothing closed":        func(m *Manifest) { m.Classes = map[bom.Class]bom.Closure{bom.PCI: bom.Open} },
		"no classes":            func(m *Manifest) { m.Classes = nil },
	} {
		m := sample()
		set(m)
		require.Equal(t, []finding.Code{finding.ManifestPermissive}, codes(Lint(m)), name)
	}
	m := sample()
	m.Components[1].Identity, m.Components[1].Verifiability = bom.Identity{}, "physical-only"
	require.Empty(t, Lint(m), "what no scan can see needs no identity")
}

func TestSelfContradiction(t *testing.T) {
	for name, set := range map[string]func(*Manifest){
		"one id twice":      func(m *Manifest) { m.Components[1].ID = "dimm-a1" },
		"line in absent":    func(m *Manifest) { m.Classes[bom.PCI] = bom.NoneThere },
		"supersedes itself": func(m *Manifest) { m.Supersedes = []string{m.ID} },
		"ends before it":    func(m *Manifest) { m.NotAfter = m.IssuedAt.AddDate(0, 0, -1) },
		"register twice":    func(m *Manifest) { m.Boot[1].PCR = 0 },
		"event of no part":  func(m *Manifest) { m.Boot[1].Events[0].Component = "gpu" },
		"leaf outside":      func(m *Manifest) { m.Firmware[0].Leaves[0].Length = 17 },
		"leaves overlap": func(m *Manifest) {
			m.Firmware[0].Leaves = append(m.Firmware[0].Leaves, firmware.Leaf{Path: "b", Offset: 8, Length: 8})
		},
		"leaf twice": func(m *Manifest) {
			l := m.Firmware[0].Leaves[0]
			l.Offset, l.Length = 16, 0
			m.Firmware[0].Leaves = append(m.Firmware[0].Leaves, l)
		},
		"leaf inside twice": func(m *Manifest) {
			m.Firmware[0].Leaves[0].Inside = []firmware.Leaf{{Path: "image/a"}, {Path: "image/a"}}
		},
		"removed and set too": func(m *Manifest) { m.Delta = &Delta{Actor: "x", Remove: []string{"nic"}} },
	} {
		m := sample()
		set(m)
		require.Equal(t, []finding.Code{finding.ManifestContradiction}, codes(Lint(m)), name)
	}
	m := sample()
	m.Boot = append(m.Boot, attest.Reference{PCR: 0, Digests: map[string][]string{"sha256": {strings.Repeat("ef", 32)}}})
	require.Contains(t, Lint(m)[0].Why, "no value of bank sha256 meets both")
}

// A quantity is a number of parts that the verifier has to look for.
func TestQuantitiesAreBounded(t *testing.T) {
	m := sample()
	m.Components[0].Quantity = maxQuantity
	require.NoError(t, m.checkValues())
	m.Components[0].Quantity = maxQuantity + 1
	require.ErrorContains(t, m.checkValues(), "quantity")
	m.Components = nil
	for i := range 30 {
		m.Components = append(m.Components, bom.Reference{ID: fmt.Sprint(i), Class: bom.Memory, Quantity: maxQuantity})
	}
	require.ErrorContains(t, m.checkValues(), "in all")
}
