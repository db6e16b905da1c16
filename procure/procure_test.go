package procure

import (
	"bytes"
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

var now = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// good is a manifest that the profile default has nothing to say about.
func good() *manifest.Manifest {
	return &manifest.Manifest{
		ID: "acme-x1", Version: 1, IssuedAt: now.AddDate(0, -1, 0), NotAfter: now.AddDate(2, 0, 0),
		Environment: manifest.Environment{Manufacturer: "Acme", Model: "X1"},
		Components: []bom.Reference{
			{ID: "system", Class: bom.System, Identity: bom.Identity{Maker: "Acme", Model: "X1", Serial: "S1"}},
			{ID: "board", Class: bom.Baseboard, Identity: bom.Identity{Maker: "Acme", Model: "B1", Serial: "S2"}},
			{ID: "cpu", Class: bom.Processor, Identity: bom.Identity{Maker: "Intel", Model: "Xeon Gold 6330"}},
			{ID: "dimm", Class: bom.Memory, Identity: bom.Identity{Maker: "Samsung", MakerIDs: []string{"jedec:00ce"}, PartNumber: "M393A2K43DB3-CWE", Serial: "03F1A2B3"}, Attributes: map[string]string{"sizeMiB": "16384"}},
			{ID: "nic", Class: bom.PCI, Identity: bom.Identity{MakerIDs: []string{"pci:8086"}, Model: "8086:1533 15d9:1533"}},
			{ID: "bios", Class: bom.Firmware, Identity: bom.Identity{Maker: "AMI", Model: "BIOS", Firmware: "2.3"}},
		},
		Classes: map[bom.Class]bom.Closure{bom.System: bom.Closed, bom.Baseboard: bom.Closed, bom.Processor: bom.Closed, bom.Memory: bom.Closed, bom.PCI: bom.Closed, bom.Firmware: bom.Closed},
	}
}

func input(t testing.TB, m *manifest.Manifest, profile string) Input {
	t.Helper()
	p, ok := BuiltInProfile(profile)
	require.True(t, ok)
	lists, err := BuiltInLists()
	require.NoError(t, err)
	return Input{Manifest: m, Envelope: true, Profile: p, Lists: lists, Now: now}
}

func told(r *Report) []string {
	out := []string{}
	for _, g := range r.Gaps {
		out = append(out, string(g.Weight)+" "+g.Check+" "+strings.TrimSpace(g.Subject+" "+g.Field))
	}
	return out
}

func TestCompleteManifestPasses(t *testing.T) {
	r := Check(input(t, good(), "default"))
	require.Empty(t, told(r))
	require.Equal(t, Pass, r.Verdict)
	require.Len(t, r.NotChecked, 2, "the signature and the life of parts were not checked, and that is said")
}

func TestGaps(t *testing.T) {
	tests := map[string]struct {
		edit    func(*Input)
		want    string
		verdict Verdict
	}{
		"class without a line": {func(in *Input) { in.Manifest.Components = in.Manifest.Components[1:] }, "missing completeness class:system", Incomplete},
		"open class":           {func(in *Input) { in.Manifest.Classes[bom.PCI] = bom.Open }, "missing completeness class:pci", Incomplete},
		"field missing":        {func(in *Input) { in.Manifest.Components[3].Identity.PartNumber = "" }, "missing completeness component:dimm partNumber", Incomplete},
		"draft":                {func(in *Input) { in.Envelope = false }, "missing signer manifest", Incomplete},
		"placeholder":          {func(in *Input) { in.Manifest.Components[1].Identity.Serial = "To Be Filled By O.E.M." }, "wrong placeholder component:board serial", Fail},
		"seller's part number": {func(in *Input) { in.Manifest.Components[3].Identity.PartNumber = "399-1091-1-ND" }, "wrong part-number component:dimm partNumber", Fail},
		"packing":              {func(in *Input) { in.Manifest.Components[3].Identity.PartNumber = "W25Q256JVEIQ-TR" }, "note part-number component:dimm partNumber", Pass},
		"maker is another":     {func(in *Input) { in.Manifest.Components[3].Identity.Maker = "Micron" }, "wrong maker component:dimm maker", Fail},
		"brand is another": {func(in *Input) {
			in.Manifest.Components[3].Identity.Brand, in.Manifest.Components[3].Identity.Maker = "Samsung", "Samsung"
		}, "", Pass},
		"number nobody has": {func(in *Input) { in.Manifest.Components[3].Identity.MakerIDs = []string{"jedec:7f7f"} }, "wrong maker component:dimm makerIds", Fail},
		"serial twice": {func(in *Input) {
			d := in.Manifest.Components[3]
			d.ID = "dimm2"
			in.Manifest.Components = append(in.Manifest.Components, d)
		}, "wrong duplicate component:dimm2 serial", Fail},
		"group address": {func(in *Input) { in.Manifest.Components[4].Identity.Serial = "01:00:5e:00:00:01" }, "wrong duplicate component:nic serial", Fail},
		"local address": {func(in *Input) { in.Manifest.Components[4].Identity.Serial = "02:00:5e:00:00:01" }, "wrong placeholder component:nic serial", Fail},
		"alternate without a maker": {func(in *Input) {
			in.Manifest.Components[3].Alternates = []bom.Identity{{PartNumber: "M393A2K43EB3-CWE"}}
		}, "missing alternates component:dimm alternates[0]/", Incomplete},
		"alternate is the part": {func(in *Input) {
			in.Manifest.Components[3].Alternates = []bom.Identity{in.Manifest.Components[3].Identity}
		}, "note alternates component:dimm alternates[0]/", Pass},
		"expired":       {func(in *Input) { in.Manifest.NotAfter = now.AddDate(0, 0, -1) }, "wrong validity manifest notAfter", Fail},
		"of the future": {func(in *Input) { in.Manifest.IssuedAt = now.AddDate(0, 1, 0) }, "wrong validity manifest issuedAt", Fail},
		"never expires": {func(in *Input) { in.Manifest.NotAfter = time.Time{} }, "missing validity manifest notAfter", Incomplete},
		"no country":    {func(in *Input) { in.Manifest.Components[3].Origin = map[string]string{"made": "Taiwan"} }, "wrong origin component:dimm origin/made", Fail},
		"homoglyph":     {func(in *Input) { in.Manifest.Components[3].Identity.Maker = "S\u0430msung" }, "wrong statement component/dimm/maker", Fail},
		"another maker obsolete": {func(in *Input) {
			in.Lifecycle = []Lifecycle{{"Micron", "M393A2K43DB3-CWE", "obsolete", "2025-01-01"}}
		}, "", Pass},
		"obsolete":                 {func(in *Input) { in.Lifecycle = []Lifecycle{{"Samsung", "m393a2k43db3-cwe", "obsolete", "2025-01-01"}} }, "missing lifecycle component:dimm partNumber", Incomplete},
		"not for new designs":      {func(in *Input) { in.Lifecycle = []Lifecycle{{"Samsung", "M393A2K43DB3-CWE", "nrnd", ""}} }, "note lifecycle component:dimm partNumber", Pass},
		"firmware without version": {func(in *Input) { in.Profile.Firmware = []string{"bios"} }, "missing firmware firmware:bios", Incomplete},
		"no boot references":       {func(in *Input) { in.Profile.Boot = true }, "missing completeness boot", Incomplete},
		"untrusted signer": {func(in *Input) {
			_, rep := manifest.Open([]byte(`{"payload":"","payloadType":"","signatures":[]}`), nil, now)
			in.Signed = &rep
		}, "wrong signer manifest", Fail},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := input(t, good(), "default")
			tt.edit(&in)
			r := Check(in)
			require.Equal(t, tt.verdict, r.Verdict, "%v", told(r))
			if tt.want == "" {
				require.NotContains(t, strings.Join(told(r), "\n"), "missing")
				return
			}
			require.Contains(t, told(r), tt.want)
		})
	}
}

// Software can test a part of the lists: by the numbers that parts answer with.
func TestProhibitedSources(t *testing.T) {
	tests := map[string]struct {
		identity bom.Identity
		hit      bool
	}{
		"DRAM by its JEDEC number": {bom.Identity{Maker: "Brand of Module", MakerIDs: []string{"jedec:0a91"}, PartNumber: "X"}, true},
		"flash by its PCI number":  {bom.Identity{MakerIDs: []string{"pci:1e49"}, Model: "1e49:0001"}, true},
		"by name":                  {bom.Identity{Maker: "Huawei Technologies Co., Ltd.", Model: "X"}, true},
		"by an alias in a name":    {bom.Identity{Maker: "Zhejiang Dahua Vision", Model: "X"}, true},
		"as an alternate":          {bom.Identity{Maker: "Samsung", PartNumber: "X"}, true},
		"no whole word":            {bom.Identity{Maker: "Zteel Works", Model: "X"}, false},
		"another":                  {bom.Identity{Maker: "Samsung", PartNumber: "X"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := good()
			r := bom.Reference{ID: "part", Class: bom.Storage, Identity: tt.identity}
			if name == "as an alternate" {
				r.Alternates = []bom.Identity{{Maker: "YMTC", PartNumber: "Y"}}
			}
			m.Components = append(m.Components, r)
			rep := Check(input(t, m, "us-federal"))
			require.Equal(t, tt.hit, rep.Counts["prohibited"] > 0, "%v", told(rep))
			require.Equal(t, []ListUse{{"ndaa-2019-889", "2026-09-01"}, {"ndaa-2023-5949", "2026-09-01"}}, rep.Lists)
		})
	}
	in := input(t, good(), "us-federal")
	in.Lists = nil
	require.Contains(t, strings.Join(Check(in).NotChecked, "\n"), "ndaa-2019-889")
}

func TestDesignators(t *testing.T) {
	for s, want := range map[string]int{"C1": 1, "C1,C2": 2, "R10-R16, R32": 8, "R10-16": 7, "U1;U3": 2} {
		got, err := bom.Designators(s)
		require.NoError(t, err, s)
		require.Len(t, got, want, s)
	}
	for _, s := range []string{"R[10-16", "R9-R1", "C1-R5", "C1-C99999", "1", "R"} {
		_, err := bom.Designators(s)
		require.Error(t, err, s)
	}
	m := good()
	m.Components = append(m.Components, bom.Reference{ID: "caps", Class: "passive", Verifiability: "physical-only", Quantity: 3, Location: locate("C1-C5"), Identity: bom.Identity{Maker: "Murata", PartNumber: "X"}},
		bom.Reference{ID: "more", Class: "passive", Verifiability: "physical-only", Location: locate("C3"), Identity: bom.Identity{Maker: "Murata", PartNumber: "Y"}})
	r := Check(input(t, m, "default"))
	require.Equal(t, 2, r.Counts["quantity"], "%v", told(r))
	require.Equal(t, 2, r.PhysicalOnly)
}

// A spreadsheet must not take a vendor's text for a formula, and notes are not
// asked for.
func TestListForTheVendor(t *testing.T) {
	m := good()
	m.Components[3].Identity.Serial = "=cmd|' /C calc'!A0"
	m.Components[3].Identity.PartNumber = ""
	m.ID = "=HYPERLINK(1)"
	var b bytes.Buffer
	require.NoError(t, Check(input(t, m, "default")).WriteCSV(&b))
	rows, err := csv.NewReader(&b).ReadAll()
	require.NoError(t, err)
	require.Greater(t, len(rows), 1)
	for _, row := range rows {
		for _, cell := range row {
			require.False(t, strings.HasPrefix(cell, "="), cell)
		}
	}
}

// Equal inputs give equal reports, whatever order maps have.
func TestReportIsDeterministic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := good()
		text := rapid.SampledFrom([]string{"", "N/A", "Huawei", "x", "02:00:00:00:00:01", "399-1091-1-ND"})
		for i := range m.Components {
			id := &m.Components[i].Identity
			id.Maker, id.Brand, id.Model, id.Serial, id.PartNumber = text.Draw(t, "maker"), text.Draw(t, "brand"), text.Draw(t, "model"), text.Draw(t, "serial"), text.Draw(t, "pn")
			m.Components[i].Origin = map[string]string{"made": text.Draw(t, "made"), "assembled": text.Draw(t, "assembled")}
		}
		p, _ := BuiltInProfile("us-federal")
		lists, _ := BuiltInLists()
		in := Input{Manifest: m, Profile: p, Lists: lists, Now: now}
		require.Equal(t, Check(in), Check(in))
	})
}

func FuzzFiles(f *testing.F) {
	for _, n := range []string{"data/profile-us-federal.json", "data/list-5949.json"} {
		b, err := data.ReadFile(n)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Add([]byte("maker,partNumber,status,date\nSamsung,X,eol,2026-01-01\n"))
	f.Add([]byte("R10-R16, R32"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseProfile(b)
		_, _ = ParseList(b)
		if ls, err := ParseLifecycle(bytes.NewReader(b)); err == nil {
			Check(Input{Manifest: good(), Lifecycle: ls, Now: now})
		}
		if ds, err := bom.Designators(string(b)); err == nil {
			require.LessOrEqual(t, len(ds), 10_000)
		}
	})
}

func locate(designator string) finding.Location { return finding.Location{Designator: designator} }
