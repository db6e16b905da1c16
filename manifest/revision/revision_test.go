package revision

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
)

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return t
}

func sample() *manifest.Manifest {
	three := int64(3)
	return &manifest.Manifest{
		ID: "example/r1", Version: 3, IssuedAt: at("2026-01-01T00:00:00Z"), NotAfter: at("2027-01-01T00:00:00Z"),
		Environment: manifest.Environment{Manufacturer: "Example", Model: "R1", Revision: "A", Serial: "S1"},
		Components: []bom.Reference{
			{ID: "dimm-a1", Class: bom.Memory, Subject: "dimm:A1", Location: finding.Location{Designator: "A1"}, Identity: bom.Identity{Maker: "Samsung", PartNumber: "M393A2K40", Serial: "1111"}, Attributes: map[string]string{"sizeMiB": "16384"}, Level: "instance"},
			{ID: "dimm-a2", Class: bom.Memory, Subject: "dimm:A2", Location: finding.Location{Designator: "A2"}, Identity: bom.Identity{Maker: "Samsung", PartNumber: "M393A2K40", Serial: "2222"}, Level: "instance"},
			{ID: "nic", Class: bom.PCI, Location: finding.Location{Path: "1c.4/00.0"}, Identity: bom.Identity{Model: "8086:1521 8086:0001", Firmware: "1.63"}},
		},
		Boot: []attest.Reference{{PCR: 7, Events: []attest.EventReference{
			{Type: "EV_EFI_VARIABLE_DRIVER_CONFIG", Label: "SecureBoot", Digests: map[string][]string{"sha256": {"aa"}}},
			{Type: "EV_SEPARATOR", Digests: map[string][]string{"sha256": {"bb"}}},
		}}},
		Firmware: []firmware.Reference{{
			Name: "bios", Version: "2.4", SHA256: "11", MinVersion: "2.3", Protection: []firmware.Protection{{Name: "bios-control:1f.0:lock-enable", Value: "closed"}},
			Leaves: []firmware.Leaf{{Path: "V/F", Kind: "code", Length: 10, SHA256: "22"}},
		}},
		SPDM:         []spdm.Reference{{ID: "gpu", Device: "spdm:gpu", Roots: []string{"r1"}, Measurements: []spdm.Expected{{Index: 1, Digests: map[string][]string{"sha384": {"cc"}}}, {Index: 2, Minimum: &three}}}},
		Endorsements: []attest.Endorsement{{Kind: "ek", SHA256: "ee"}},
		Classes:      map[bom.Class]bom.Closure{bom.Memory: bom.Closed, bom.USB: bom.NoneThere},
		Known:        []manifest.Known{{Code: "ID-001", Subject: "cpu0", Want: "a", Got: "b"}},
	}
}

// TestKinds says for each way to touch a manifest what the procurement engineer
// reads.
func TestKinds(t *testing.T) {
	tests := []struct {
		name string
		edit func(m *manifest.Manifest)
		want string // "line: kinds", one a line
	}{
		{"nothing", func(m *manifest.Manifest) { m.Version, m.IssuedAt = 9, at("2026-05-01T00:00:00Z") }, ""},
		{"added", func(m *manifest.Manifest) {
			m.Components = append(m.Components, bom.Reference{ID: "gpu", Class: bom.PCI, Location: finding.Location{Path: "3"}})
		}, "component:gpu: added"},
		{"removed", func(m *manifest.Manifest) { m.Components = m.Components[:2] }, "component:nic: removed"},
		{"substituted", func(m *manifest.Manifest) {
			i := &m.Components[0]
			i.Identity.PartNumber, i.Identity.Serial, i.Attributes["sizeMiB"] = "M393A4K40", "3333", "32768"
		}, "component:dimm-a1: substituted"},
		{"spelled otherwise", func(m *manifest.Manifest) { m.Components[0].Identity.Maker = "SAMSUNG " }, "component:dimm-a1: described otherwise"},
		{"another unit", func(m *manifest.Manifest) { m.Components[0].Identity.Serial = "3333" }, "component:dimm-a1: instance replaced"},
		{"modules swapped places, ids stayed with the places", func(m *manifest.Manifest) {
			a, b := &m.Components[0], &m.Components[1]
			a.Identity, b.Identity = b.Identity, a.Identity
			a.Attributes, b.Attributes = b.Attributes, a.Attributes
		}, "component:dimm-a1: moved, renamed\ncomponent:dimm-a2: moved, renamed"},
		{"moved", func(m *manifest.Manifest) { m.Components[2].Location.Path = "1c.5/00.0" }, "component:nic: moved"},
		{"renamed", func(m *manifest.Manifest) { m.Components[2].ID = "ethernet" }, "component:ethernet: renamed"},
		{"renamed and substituted in its place", func(m *manifest.Manifest) {
			m.Components[2].ID, m.Components[2].Identity.Model = "ethernet", "15b3:1017"
		}, "component:ethernet: substituted, renamed"},
		{"firmware of a card", func(m *manifest.Manifest) { m.Components[2].Identity.Firmware = "1.70" }, "component:nic: firmware changed"},
		{"size", func(m *manifest.Manifest) { m.Components[0].Attributes["sizeMiB"] = "8192" }, "component:dimm-a1: revalued"},
		{"quantity", func(m *manifest.Manifest) { m.Components[2].Quantity = 2 }, "component:nic: revalued"},
		{"serial no longer declared", func(m *manifest.Manifest) { m.Components[2].Identity.Firmware = "" }, "component:nic: rule loosened"},
		{"level", func(m *manifest.Manifest) { m.Components[0].Level = "class" }, "component:dimm-a1: rule loosened"},
		{"optional", func(m *manifest.Manifest) { m.Components[0].Optional = true }, "component:dimm-a1: rule loosened"},
		{"security", func(m *manifest.Manifest) { m.Components[0].Security = true }, "component:dimm-a1: rule tightened"},
		{"nobody looks", func(m *manifest.Manifest) { m.Components[0].Verifiability = "physical-only" }, "component:dimm-a1: rule loosened"},
		{"alternate", func(m *manifest.Manifest) { m.Components[0].Alternates = []bom.Identity{{PartNumber: "X"}} }, "component:dimm-a1: rule loosened"},
		{"class opened", func(m *manifest.Manifest) { m.Classes[bom.Memory] = bom.Open }, "class:memory: rule loosened"},
		{"class forgotten", func(m *manifest.Manifest) { delete(m.Classes, bom.USB) }, "class:usb: rule loosened, removed"},
		{"another measurement", func(m *manifest.Manifest) { m.Boot[0].Events[0].Digests["sha256"] = []string{"dd"} }, "pcr:7: measurement changed"},
		{"one more allowed measurement", func(m *manifest.Manifest) { m.Boot[0].Events[0].Digests["sha256"] = []string{"aa", "dd"} }, "pcr:7: rule loosened"},
		{"event optional", func(m *manifest.Manifest) { m.Boot[0].Events[0].Optional = true }, "pcr:7: rule loosened"},
		{"any order", func(m *manifest.Manifest) { m.Boot[0].Order = "any" }, "pcr:7: rule loosened"},
		{"event gone", func(m *manifest.Manifest) { m.Boot[0].Events = m.Boot[0].Events[1:] }, "pcr:7: measurement changed"},
		{"register no longer declared", func(m *manifest.Manifest) { m.Boot = nil }, "pcr:7: rule loosened, removed"},
		{"new version", func(m *manifest.Manifest) { m.Firmware[0].Version, m.Firmware[0].SHA256 = "2.5", "12" }, "firmware:bios: firmware changed"},
		{"one more version", func(m *manifest.Manifest) {
			m.Firmware = append(m.Firmware, firmware.Reference{Name: "bios", Version: "2.5", SHA256: "12"})
		}, "firmware:bios: rule loosened, firmware changed"},
		{"same version, other bytes", func(m *manifest.Manifest) { m.Firmware[0].Leaves[0].SHA256 = "23" }, "firmware:bios: firmware changed"},
		{"part that may change", func(m *manifest.Manifest) {
			m.Firmware[0].Leaves[0].Kind, m.Firmware[0].Leaves[0].SHA256 = firmware.Volatile, ""
		}, "firmware:bios: rule loosened, firmware changed"},
		{"older versions allowed", func(m *manifest.Manifest) { m.Firmware[0].MinVersion = "2.1" }, "firmware:bios: rule loosened"},
		{"lock forgotten", func(m *manifest.Manifest) { m.Firmware[0].Protection = nil }, "firmware:bios: rule loosened"},
		{"lock open", func(m *manifest.Manifest) { m.Firmware[0].Protection[0].Value = "open" }, "firmware:bios: rule loosened"},
		{"partial", func(m *manifest.Manifest) { m.Firmware[0].Partial = true }, "firmware:bios: rule loosened"},
		{"another root", func(m *manifest.Manifest) { m.SPDM[0].Roots = []string{"r2"} }, "spdm:gpu: substituted"},
		{"one more root", func(m *manifest.Manifest) { m.SPDM[0].Roots = []string{"r1", "r2"} }, "spdm:gpu: rule loosened"},
		{"any measurement", func(m *manifest.Manifest) { m.SPDM[0].Measurements[0] = spdm.Expected{Index: 1, Any: true} }, "spdm:gpu: rule loosened"},
		{"lower version number", func(m *manifest.Manifest) { one := int64(1); m.SPDM[0].Measurements[1].Minimum = &one }, "spdm:gpu: rule loosened"},
		{"version number no longer asked for", func(m *manifest.Manifest) { m.SPDM[0].Measurements = m.SPDM[0].Measurements[:1] }, "spdm:gpu: rule loosened"},
		{"another key", func(m *manifest.Manifest) { m.Endorsements[0].SHA256 = "ef" }, "endorsement:ek: instance replaced"},
		{"one more key", func(m *manifest.Manifest) {
			m.Endorsements = append(m.Endorsements, attest.Endorsement{Kind: "ek", SHA256: "ef"})
		}, "endorsement:ek: rule loosened"},
		{"key no longer pinned", func(m *manifest.Manifest) { m.Endorsements = nil }, "endorsement:ek: rule loosened, removed"},
		{"contradiction accepted", func(m *manifest.Manifest) {
			m.Known = append(m.Known, manifest.Known{Code: "ID-001", Subject: "cpu1", Want: "a", Got: "b"})
		}, "known:ID-001:cpu1: rule loosened, added"},
		{"somebody else may change it", func(m *manifest.Manifest) {
			m.Authority = []manifest.Authority{{Signer: "Integrator", Classes: []string{"memory"}}}
		}, "authority:Integrator: rule loosened, added"},
		{"valid for longer", func(m *manifest.Manifest) { m.NotAfter = at("2030-01-01T00:00:00Z") }, "notAfter: rule loosened"},
		{"for every machine of the model", func(m *manifest.Manifest) { m.Environment.Serial = "" }, "environment: rule loosened"},
		{"about another board", func(m *manifest.Manifest) { m.Environment.Revision = "B" }, "environment: substituted"},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			fresh := sample()
			tc.edit(fresh)
			cs, err := Compare(sample(), fresh)
			require.NoError(t, err)
			var got []string
			for _, c := range cs {
				got = append(got, c.Line+": "+join(c.Kinds))
			}
			require.Equal(t, tc.want, strings.Join(got, "\n"))
		})
	}
}

func join(ks []Kind) string {
	var out []string
	for _, k := range ks {
		out = append(out, string(k))
	}
	return strings.Join(out, ", ")
}

// TestLooseningIsTighteningBackwards is a law: what lets more pass in one
// direction lets less pass in the other, unless something else came with it.
func TestLooseningIsTighteningBackwards(t *testing.T) {
	edits := []func(m *manifest.Manifest){
		func(m *manifest.Manifest) { m.Components[0].Optional = true },
		func(m *manifest.Manifest) { m.Components[1].Level = "" },
		func(m *manifest.Manifest) { m.Components[1].Alternates = []bom.Identity{{PartNumber: "X"}} },
		func(m *manifest.Manifest) { m.Classes[bom.USB] = bom.Open },
		func(m *manifest.Manifest) { m.Boot[0].Order = "any" },
		func(m *manifest.Manifest) { m.Firmware[0].Partial = true },
		func(m *manifest.Manifest) { m.Endorsements[0].Optional = true },
		func(m *manifest.Manifest) { m.NotAfter = at("2031-01-01T00:00:00Z") },
		func(m *manifest.Manifest) { m.SPDM[0].Open = true },
	}
	rapid.Check(t, func(rt *rapid.T) {
		fresh := sample()
		n := 0
		for i, e := range edits {
			if rapid.Bool().Draw(rt, "edit "+string(rune('a'+i))) {
				e(fresh)
				n++
			}
		}
		there, err := Compare(sample(), fresh)
		require.NoError(rt, err)
		back, err := Compare(fresh, sample())
		require.NoError(rt, err)
		require.Len(rt, back, len(there))
		require.LessOrEqual(rt, len(there), n)
		for i := range there {
			require.Equal(rt, []Kind{Loosened}, there[i].Kinds, there[i].Line)
			require.Equal(rt, []Kind{Tightened}, back[i].Kinds, back[i].Line)
		}
	})
}

func TestLineage(t *testing.T) {
	old, fresh := sample(), sample()
	fresh.Version = 9
	require.Equal(t, "version 9 follows version 3", Lineage(old, fresh))
	require.Empty(t, Lineage(fresh, old), "going back explains nothing")
	require.Equal(t, "example/r2 supersedes example/r1", Lineage(old, &manifest.Manifest{ID: "example/r2", Supersedes: []string{old.ID}}))
	require.Empty(t, Lineage(old, &manifest.Manifest{ID: "other", Version: 9}))
}

func TestDelta(t *testing.T) {
	old := sample()
	dimm := old.Components[0]
	dimm.Identity.PartNumber = "M393A4K40"
	d := &manifest.Manifest{
		ID: old.ID, Version: 4, Environment: old.Environment, Components: []bom.Reference{dimm},
		Delta: &manifest.Delta{BaseDigest: "b0", Actor: "Integrator", Ticket: "RMA-17", Remove: []string{"nic"}},
	}
	cs, err := Compare(old, d)
	require.NoError(t, err)
	require.Len(t, cs, 2, "a delta says nothing about what it leaves alone")
	require.Equal(t, "change RMA-17 by Integrator", Lineage(old, d))

	full := sample()
	full.Components = []bom.Reference{dimm, full.Components[1]}
	full.Classes[bom.Memory] = bom.Open
	changes := func() []Change {
		cs, err := Compare(old, full)
		require.NoError(t, err)
		return cs
	}
	open := func(cs []Change) (out []string) {
		for _, c := range cs {
			if len(c.Open) > 0 {
				out = append(out, c.Line)
			}
		}
		return out
	}
	cs = changes()
	notes, err := ExplainByDeltas(cs, "b0", []Delta{{"d.json", "b1", d}})
	require.NoError(t, err)
	require.Empty(t, notes)
	require.Equal(t, []string{"class:memory"}, open(cs), "a delta covers what it sets, and nothing beside it")
	require.Equal(t, []string{"RMA-17 by Integrator"}, cs[1].ExplainedBy)

	cs = changes()
	notes, err = ExplainByDeltas(cs, "other", []Delta{{"d.json", "b1", d}})
	require.NoError(t, err)
	require.Len(t, notes, 1)
	require.Contains(t, notes[0], "starts from sha256:b0")
	require.Len(t, open(cs), 3)

	next := &manifest.Manifest{ID: old.ID, Version: 5, Classes: map[bom.Class]bom.Closure{bom.Memory: bom.Open}, Delta: &manifest.Delta{BaseDigest: "b1", Actor: "Vendor", Ticket: "T-2"}}
	cs = changes()
	notes, err = ExplainByDeltas(cs, "b0", []Delta{{"e.json", "b2", next}, {"d.json", "b1", d}, {"d-again.json", "b1", d}})
	require.NoError(t, err)
	require.Equal(t, []string{"d-again.json: another delta starts from the same statement"}, notes)
	require.Empty(t, open(cs))
}

func TestNotices(t *testing.T) {
	fresh := sample()
	fresh.Components[0].Identity.PartNumber, fresh.Components[0].Optional = "M393A4K40", true
	fresh.Components = fresh.Components[:2]
	cs, err := Compare(sample(), fresh)
	require.NoError(t, err)
	n, err := ReadNotice([]byte("id,line,kind,old,new\nECN-1,component:dimm-a1,substituted,,m393a4k40\nECN-1,component:nic,removed,,\nECN-1,component:dimm-a2,substituted,,M393A4K40\n"))
	require.NoError(t, err)
	unused := Explain(cs, []*Notice{n})
	require.Equal(t, []Unused{{"ECN-1", n.Changes[2]}}, unused)
	require.Equal(t, []Kind{Loosened}, cs[0].Open, "what hides behind an announced substitution stays open")
	require.Equal(t, []string{"ECN-1"}, cs[0].ExplainedBy)
	require.Empty(t, cs[1].Open)

	n.Changes[0].New = "M393A8K40"
	cs, err = Compare(sample(), fresh)
	require.NoError(t, err)
	require.Len(t, Explain(cs, []*Notice{n}), 2, "another part than announced")
	n.Changes[0].New = "Samsung"
	cs, err = Compare(sample(), fresh)
	require.NoError(t, err)
	require.Len(t, Explain(cs, []*Notice{n}), 2, "a value that did not change proves nothing")
}

func TestNoticeOfABoard(t *testing.T) {
	read := func(csv string) *board.BOM {
		b, err := board.Read("b.csv", []byte(csv), nil)
		require.NoError(t, err)
		return b
	}
	old := read("Designator,Manufacturer Part Number,Value\nU1,W25Q32,\nR1,,10k\nR2,,10k\n")
	fresh := read("Designator,Manufacturer Part Number,Value\nU1,W25Q64,\nR1,,22k\nR2,,10k\nU9,ATTINY85,\n")
	n, err := ReadNotice([]byte(`{"format":"assay.change/v1","id":"ECN-7","changes":[
		{"line":"u1","kind":"substituted","old":"W25Q32","new":"W25Q64"},{"line":"R1","kind":"revalued","new":"47k"}]}`))
	require.NoError(t, err)
	cs, unused := ExplainBoard(board.Diff(old, fresh), []*Notice{n})
	got := map[string][]string{}
	for _, c := range cs {
		got[c.Designator] = c.ExplainedBy
	}
	require.Equal(t, map[string][]string{"U1": {"ECN-7"}, "R1": {}, "U9": {}}, got)
	require.Equal(t, []Unused{{"ECN-7", n.Changes[1]}}, unused)
}

func TestNoticeIsRefused(t *testing.T) {
	for _, tc := range []struct{ raw, want string }{
		{``, "EOF"},
		{`{"format":"x","id":"E"}`, "format"},
		{`{"format":"assay.change/v1","changes":[]}`, "id is missing"},
		{`{"format":"assay.change/v1","id":"E","changes":[{"line":"U1","kind":"changed","new":"x"}]}`, "unknown kind"},
		{`{"format":"assay.change/v1","id":"E","changes":[{"kind":"removed"}]}`, "line is missing"},
		{`{"format":"assay.change/v1","id":"E","changes":[{"line":"U1","kind":"substituted","old":"x"}]}`, "new does not say"},
		{`{"format":"assay.change/v1","id":"E","changes":[],"all":true}`, "all"},
		{"id,line\nE,U1\n", `no column "kind"`},
		{"id,line,kind,new\nE,U1,added,x\nF,U2,added,x\n", "row 3"},
		{"id,line,kind,new\nE,U1\n", "record on line 2"},
		{strings.Repeat("x", maxNoticeBytes+1), "exceeds"},
	} {
		_, err := ReadNotice([]byte(tc.raw))
		require.ErrorContains(t, err, tc.want)
	}
}

func FuzzReadNotice(f *testing.F) {
	f.Add([]byte("id,line,kind,old,new\nECN-1,component:dimm-a1,substituted,,m393a4k40\n"))
	f.Add([]byte(`{"format":"assay.change/v1","id":"ECN-7","changes":[{"line":"u1","kind":"substituted","old":"W25Q32","new":"W25Q64"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := ReadNotice(raw)
		if err != nil {
			return
		}
		out, err := json.Marshal(n)
		require.NoError(t, err)
		cs, err := Compare(sample(), sample())
		require.NoError(t, err)
		require.Len(t, Explain(cs, []*Notice{n}), len(n.Changes), "nothing changed, so nothing is explained")
		if len(out) <= maxNoticeBytes {
			again, err := ReadNotice(out)
			if err == nil {
				require.Equal(t, n, again)
			}
		}
	})
}
