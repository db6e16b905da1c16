package bom_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// card is a part of class FRU unless changed, in a place of its own.
func card(model, place string, edit ...func(*bom.Part)) bom.Part {
	p := bom.Part{Class: bom.FRU, Subject: "fru:" + place, Location: finding.Location{Path: place}, Identity: bom.Identity{Maker: "Maker", Model: model}}
	for _, e := range edit {
		e(&p)
	}
	return p
}

func line(model, place string, edit ...func(*bom.Reference)) bom.Reference {
	r := bom.Reference{ID: "l" + place + model, Class: bom.FRU, Subject: "fru:" + place, Location: finding.Location{Path: place}, Identity: bom.Identity{Maker: "MAKER, Inc.", Model: model}}
	for _, e := range edit {
		e(&r)
	}
	return r
}

func whole(parts ...bom.Part) *bom.Inventory {
	inv := &bom.Inventory{Parts: parts, Classes: map[bom.Class]bom.Observation{}}
	for _, c := range []bom.Class{bom.FRU, bom.PCI, bom.USB, bom.Memory, bom.Network} {
		inv.Classes[c] = bom.Observation{Observed: true, Whole: true}
	}
	return inv
}

func TestWhatADifferenceMeans(t *testing.T) {
	serial := func(s string) func(*bom.Part) { return func(p *bom.Part) { p.Identity.Serial = s } }
	wantSerial := func(s string) func(*bom.Reference) { return func(r *bom.Reference) { r.Identity.Serial = s } }
	class := func(c bom.Class) func(*bom.Part) { return func(p *bom.Part) { p.Class = c } }
	wantClass := func(c bom.Class) func(*bom.Reference) { return func(r *bom.Reference) { r.Class = c } }
	alternate := func(model string) func(*bom.Reference) {
		return func(r *bom.Reference) { r.Alternates = []bom.Identity{{Maker: "Maker", Model: model}} }
	}
	for name, c := range map[string]struct {
		want     []bom.Reference
		got      []bom.Part
		closure  bom.Closure
		findings map[finding.Code]int
	}{
		"as declared":                     {[]bom.Reference{line("a", "1")}, []bom.Part{card("a", "1")}, bom.Closed, nil},
		"other spelling":                  {[]bom.Reference{line("A  card", "1")}, []bom.Part{card("a card ", "1")}, bom.Closed, nil},
		"other model":                     {[]bom.Reference{line("a", "1")}, []bom.Part{card("b", "1")}, bom.Closed, map[finding.Code]int{"HW-003": 1}},
		"approved alternate":              {[]bom.Reference{line("a", "1", alternate("b"))}, []bom.Part{card("b", "1")}, bom.Closed, nil},
		"other serial number":             {[]bom.Reference{line("a", "1", wantSerial("s1"))}, []bom.Part{card("a", "1", serial("s2"))}, bom.Closed, map[finding.Code]int{"HW-016": 1}},
		"placeholder is no serial number": {[]bom.Reference{line("a", "1", wantSerial("To be filled by O.E.M."))}, []bom.Part{card("a", "1", serial("s2"))}, bom.Closed, nil},
		"missing":                         {[]bom.Reference{line("a", "1")}, nil, bom.Closed, map[finding.Code]int{"HW-002": 1}},
		"one of two alike missing":        {[]bom.Reference{line("a", "1"), line("a", "2")}, []bom.Part{card("a", "1")}, bom.Closed, map[finding.Code]int{"HW-004": 1}},
		"one too many alike":              {[]bom.Reference{line("a", "1")}, []bom.Part{card("a", "1"), card("a", "2")}, bom.Closed, map[finding.Code]int{"HW-001": 1}},
		"undeclared in an open class":     {[]bom.Reference{line("a", "1")}, []bom.Part{card("a", "1"), card("b", "2")}, bom.Open, nil},
		"undeclared in a closed class":    {[]bom.Reference{line("a", "1")}, []bom.Part{card("a", "1"), card("b", "2")}, bom.Closed, map[finding.Code]int{"HW-001": 1}},
		"any in a class declared absent":  {nil, []bom.Part{card("b", "2")}, bom.NoneThere, map[finding.Code]int{"HW-001": 1}},
		"moved":                           {[]bom.Reference{line("a", "1")}, []bom.Part{card("a", "2")}, bom.Closed, map[finding.Code]int{"CH-005": 1}},
		"moved, and another in its place": {[]bom.Reference{line("a", "1")}, []bom.Part{card("a", "2"), card("x", "1")}, bom.Closed, map[finding.Code]int{"CH-005": 1, "HW-001": 1}},
		"optional and absent":             {[]bom.Reference{line("a", "1", func(r *bom.Reference) { r.Optional = true })}, nil, bom.Closed, nil},
		"physical only":                   {[]bom.Reference{line("a", "1", func(r *bom.Reference) { r.Verifiability = "physical-only" })}, nil, bom.Closed, nil},
		"family is enough": {
			[]bom.Reference{line("8086:1521 1:2", "1", wantClass(bom.PCI), func(r *bom.Reference) { r.Level = "family" })},
			[]bom.Part{card("8086:1521 3:4", "1", class(bom.PCI))},
			bom.Closed, nil,
		},
		"USB device": {nil, []bom.Part{card("1:2", "1", class(bom.USB))}, bom.Closed, map[finding.Code]int{"HW-007": 1}},
		"functions of one card": {
			nil, []bom.Part{
				card("a", "1", class(bom.PCI), func(p *bom.Part) { p.Subject = "pci:0000:01:00.0" }),
				card("a", "2", class(bom.PCI), func(p *bom.Part) { p.Subject = "pci:0000:01:00.1" }),
			}, bom.Closed, map[finding.Code]int{"HW-001": 1},
		},
		"port of an unexpected card": {
			nil, []bom.Part{
				card("a", "1", class(bom.PCI), func(p *bom.Part) { p.Subject = "pci:0000:01:00.0" }),
				card("n", "1", class(bom.Network), func(p *bom.Part) { p.Subject, p.Package = "network:x", "pci:0000:01:00.0" }),
			}, bom.Closed, map[finding.Code]int{"HW-001": 1},
		},
		"behind another chain of bridges": {
			[]bom.Reference{line("a", "pci0000:00/04.0/00.0", wantClass(bom.PCI))},
			[]bom.Part{card("a", "pci0000:00/04.0/00.0/00.0/00.0", class(bom.PCI))},
			bom.Closed,
			map[finding.Code]int{"HW-005": 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			closures := map[bom.Class]bom.Closure{}
			for _, cl := range []bom.Class{bom.FRU, bom.PCI, bom.USB, bom.Network} {
				closures[cl] = c.closure
			}
			got := map[finding.Code]int{}
			for _, f := range bom.Match(c.want, closures, whole(c.got...)).Findings {
				got[f.Code]++
			}
			if c.findings == nil {
				c.findings = map[finding.Code]int{}
			}
			require.Equal(t, c.findings, got)
		})
	}
}

func TestQuantityMeansThatMany(t *testing.T) {
	want := []bom.Reference{{ID: "m", Class: bom.FRU, Identity: bom.Identity{Maker: "m", Model: "x"}, Quantity: 8}}
	for n, code := range map[int]finding.Code{7: finding.WrongCount, 8: "", 9: finding.UnexpectedComponent} {
		var parts []bom.Part
		for i := range n {
			parts = append(parts, card("x", fmt.Sprint(i), func(p *bom.Part) { p.Identity.Maker = "m" }))
		}
		fs := bom.Match(want, map[bom.Class]bom.Closure{bom.FRU: bom.Closed}, whole(parts...)).Findings
		if code == "" {
			require.Empty(t, fs)
			continue
		}
		require.Len(t, fs, 1)
		require.Equal(t, code, fs[0].Code)
	}
}

func TestUnobservedLineIsNeitherMissingNorMatched(t *testing.T) {
	inv := whole(card("a", "1"))
	inv.Classes[bom.FRU] = bom.Observation{Observed: true, Reason: "the controller lists some"}
	c := bom.Match([]bom.Reference{line("a", "1"), line("b", "2")}, map[bom.Class]bom.Closure{bom.FRU: bom.Closed}, inv)
	require.Empty(t, c.Findings)
	require.Len(t, c.NotChecked, 1)
	require.Equal(t, bom.Coverage{Class: bom.FRU, Declared: 2, Matched: 1, NotObservable: 1}, c.Coverage[0])
}

func TestLossOfASecurityPartIsCritical(t *testing.T) {
	c := bom.Match([]bom.Reference{line("rot", "1", func(r *bom.Reference) { r.Security = true })}, map[bom.Class]bom.Closure{bom.FRU: bom.Closed}, whole())
	require.Equal(t, finding.Critical, c.Findings[0].Severity)
}

func TestDraftOfOneMachineAndOfAModel(t *testing.T) {
	inv := read(t, lab(t))
	machine, closures := bom.Draft(inv, true)
	model, _ := bom.Draft(inv, false)
	require.Equal(t, len(machine), len(model))
	ids := map[string]bool{}
	for i, r := range machine {
		require.False(t, ids[r.ID], "%s twice", r.ID)
		ids[r.ID] = true
		require.Empty(t, model[i].Identity.Serial)
	}
	require.Equal(t, bom.Closed, closures[bom.PCI])
	require.NotContains(t, closures, bom.Power, "nothing was seen of it")
}

func TestMergeLearnsWhatVaries(t *testing.T) {
	a := []bom.Reference{
		line("x", "1", func(r *bom.Reference) {
			r.Identity.Serial, r.Identity.Firmware, r.Attributes = "1", "2.0", map[string]string{"sizeMiB": "8"}
		}),
		line("gone", "2"),
	}
	b := []bom.Reference{
		line("y", "1", func(r *bom.Reference) {
			r.Identity.Serial, r.Identity.Firmware, r.Attributes = "2", "2.1", map[string]string{"sizeMiB": "16"}
		}),
		line("new", "3"),
	}
	merged, varied := bom.Merge([][]bom.Reference{a, b})
	require.Len(t, merged, 3)
	require.Len(t, merged[0].Alternates, 1)
	require.Empty(t, merged[0].Identity.Serial)
	require.Empty(t, merged[0].Identity.Firmware)
	require.Empty(t, merged[0].Attributes)
	require.True(t, merged[1].Optional)
	require.True(t, merged[2].Optional)
	fields := map[string]bool{}
	for _, v := range varied {
		fields[v.Field] = true
		require.NotEmpty(t, v.String())
	}
	for _, f := range []string{"model", "serial", "firmware", "sizeMiB", "presence"} {
		require.True(t, fields[f], f)
	}
	same, none := bom.Merge([][]bom.Reference{a, a})
	require.Empty(t, none)
	require.Equal(t, len(a), len(same))
}

func TestDumpsOfOtherKindsAreRefused(t *testing.T) {
	for name, data := range map[string][]byte{"empty": {}, "text": []byte("hello"), "zeros": make([]byte, 4096), "ones": {0xff, 0xff, 0xff, 0xff}} {
		t.Run(name, func(t *testing.T) {
			_, err := bom.ReadDump(name, data)
			require.ErrorContains(t, err, name)
		})
	}
}
