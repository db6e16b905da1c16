package bom

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
)

// drawMachine makes a small world of look-alike parts and lines: few models,
// few serial numbers, few places, so that every kind of tie occurs.
func drawMachine(t *rapid.T, class Class) ([]Reference, []Part) {
	word := func(label string, of ...string) string { return rapid.SampledFrom(of).Draw(t, label) }
	var refs []Reference
	for i := range rapid.IntRange(0, 5).Draw(t, "lines") {
		r := Reference{ID: fmt.Sprintf("l%d", i), Class: class, Location: finding.Location{Path: word("place", "", "a", "b", "c", "d")}}
		r.Identity = Identity{Maker: "m", Model: word("model", "x", "y", "z", ""), Serial: word("serial", "", "", "11", "12")}
		if rapid.Bool().Draw(t, "alt") {
			r.Alternates = []Identity{{Maker: "m", Model: word("alternate", "x", "y")}}
		}
		r.Identity.PartNumber = r.Identity.Model
		for j := range r.Alternates {
			r.Alternates[j].PartNumber = r.Alternates[j].Model
		}
		refs = append(refs, r)
	}
	var parts []Part
	for i := range rapid.IntRange(0, 5).Draw(t, "parts") {
		p := Part{Class: class, Subject: fmt.Sprintf("p%d", i), Location: finding.Location{Path: word("at", "", "a", "b", "c", "d")}}
		p.Identity = Identity{Maker: "m", Model: word("is", "x", "y", "z", ""), Serial: word("has", "", "", "11", "12")}
		p.Identity.PartNumber = p.Identity.Model
		parts = append(parts, p)
	}
	return refs, parts
}

// wellFormed blanks places and serial numbers that stand twice on one side: a
// place holds one part, and a serial number names one. Where evidence or a
// manifest breaks that, pairing is still one to one and deterministic, but the
// lookups need not find the cheapest of equally odd solutions.
func wellFormed(refs []Reference, parts []Part) {
	once := map[string]bool{}
	blank := func(side string, s *string) {
		if once[side+*s] {
			*s = ""
		}
		once[side+*s] = true
	}
	for i := range refs {
		blank("line at ", &refs[i].Location.Path)
		blank("line serial ", &refs[i].Identity.Serial)
	}
	for i := range parts {
		blank("part at ", &parts[i].Location.Path)
		blank("part serial ", &parts[i].Identity.Serial)
	}
}

func total(pairs []pair, nr, np int) int {
	sum := (nr + np - 2*len(pairs)) * costUnpaired
	for _, p := range pairs {
		c, ok := cost(p.ref, p.part)
		if !ok {
			return 1 << 30
		}
		sum += c
	}
	return sum
}

// least tries every assignment.
func least(refs []*refItem, parts []*partItem) int {
	if len(refs) == 0 {
		return len(parts) * costUnpaired
	}
	best := costUnpaired + least(refs[1:], parts)
	for i, p := range parts {
		if c, ok := cost(refs[0], p); ok {
			rest := slices.Delete(slices.Clone(parts), i, i+1)
			best = min(best, c+least(refs[1:], rest))
		}
	}
	return best
}

func TestAssignmentIsOneToOneAndCheapest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		class := rapid.SampledFrom([]Class{PCI, Memory, USB, FRU}).Draw(t, "class")
		refs, parts := drawMachine(t, class)
		wellFormed(refs, parts)
		rs, ps := spread(refs)[class], items(parts)[class]
		pairs := assign(rs, ps)
		usedR, usedP := map[*refItem]bool{}, map[*partItem]bool{}
		for _, p := range pairs {
			require.False(t, usedR[p.ref], "a line used twice")
			require.False(t, usedP[p.part], "a part used twice")
			usedR[p.ref], usedP[p.part] = true, true
		}
		require.Equal(t, least(rs, ps), total(pairs, len(rs), len(ps)))
	})
}

func TestAssignmentOfOddInputIsStillOneToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		refs, parts := drawMachine(t, PCI)
		seen := map[any]bool{}
		for _, p := range assign(spread(refs)[PCI], items(parts)[PCI]) {
			require.False(t, seen[p.ref] || seen[p.part])
			seen[p.ref], seen[p.part] = true, true
		}
	})
}

// Walking along both sides pairs what lookups would have paired, also where lines and
// parts are alike, as often as nobody looks at each pair of them.
func TestSideBySideIsTheFirstLookup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		class := rapid.SampledFrom([]Class{PCI, Memory, FRU}).Draw(t, "class")
		var refs []Reference
		var parts []Part
		for range rapid.IntRange(1, 4).Draw(t, "times") {
			r, p := drawMachine(t, class)
			refs, parts = append(refs, r...), append(parts, p...)
		}
		for i := range refs {
			refs[i].Quantity = rapid.SampledFrom([]int{1, 1, 2, 12}).Draw(t, "quantity")
		}
		pairsOf := func(walk bool) (out []string) {
			a := newAssignment(spread(refs)[class], items(parts)[class])
			if walk {
				a.sideBySide()
			}
			for _, p := range a.rest() {
				out = append(out, fmt.Sprint(p.ref.order, p.part.order, p.level, p.moved))
			}
			return out
		}
		require.Equal(t, pairsOf(false), pairsOf(true))
	})
}

// What is paired in order without solving is what solving gives.
func TestLookAlikesArePairedAsTheSolverWould(t *testing.T) {
	for _, cost := range []int32{costInstance, costInstance + costElsewhere, costInPlace, costModel, costModel + costElsewhere, costFamily, costClass + costElsewhere} {
		for n := range 13 * 13 {
			b := block{}
			for i := range int32(1 + n/13) {
				b.refs = append(b.refs, i)
			}
			for j := range int32(1 + n%13) {
				b.parts = append(b.parts, 3*j)
			}
			for _, i := range b.refs {
				for _, j := range b.parts {
					b.edges = append(b.edges, edge{i, j, cost})
				}
			}
			var s solver
			require.Equal(t, s.leastCost(b), b.inOrder())
			if len(b.edges) > 1 {
				b.edges[0].cost++
				require.Nil(t, b.inOrder(), "not all alike")
				require.Nil(t, (&block{refs: b.refs, parts: b.parts, edges: b.edges[1:]}).inOrder(), "not everything with everything")
			}
		}
	}
}

func TestOrderOfInputsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		refs, parts := drawMachine(t, PCI)
		closures := map[Class]Closure{PCI: Closed}
		inv := func(ps []Part) *Inventory {
			return &Inventory{Parts: ps, Classes: map[Class]Observation{PCI: {Observed: true, Whole: true}}}
		}
		want := Match(refs, closures, inv(parts))
		r2, p2 := slices.Clone(refs), slices.Clone(parts)
		seed := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		seed.Shuffle(len(r2), func(i, j int) { r2[i], r2[j] = r2[j], r2[i] })
		seed.Shuffle(len(p2), func(i, j int) { p2[i], p2[j] = p2[j], p2[i] })
		got := Match(r2, closures, inv(p2))
		require.Equal(t, want.Findings, got.Findings)
		require.Equal(t, want.Coverage, got.Coverage)
	})
}

// Every part of a closed class is accounted for exactly once.
func TestNothingIsLostBetweenTheTwoSides(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		refs, parts := drawMachine(t, FRU)
		c := Match(refs, map[Class]Closure{FRU: Closed}, &Inventory{Parts: parts, Classes: map[Class]Observation{FRU: {Observed: true, Whole: true}}})
		count := map[finding.Code]int{}
		for _, f := range c.Findings {
			count[f.Code]++
		}
		paired := len(c.Matched)
		require.Equal(t, len(parts), paired+count[finding.UnexpectedComponent])
		missing := 0
		for _, f := range c.Findings {
			if f.Code == finding.MissingComponent || f.Code == finding.WrongCount {
				missing++
			}
		}
		require.LessOrEqual(t, missing, len(refs)-paired)
		if len(refs) > paired {
			require.NotZero(t, missing)
		}
	})
}

// BenchmarkTenThousandParts is the size of the largest machine: it must stay
// well under a second even when every bus was renumbered.
func BenchmarkTenThousandParts(b *testing.B) {
	for name, at := range map[string]func(i int) string{
		"as declared": func(i int) string { return fmt.Sprintf("p%d", i) },
		"renumbered":  func(i int) string { return fmt.Sprintf("q%d", i) },
	} {
		b.Run(name, func(b *testing.B) {
			var refs []Reference
			var parts []Part
			for i := range 10_000 {
				id := Identity{Maker: "m", Model: fmt.Sprintf("model %d", i%50)}
				refs = append(refs, Reference{ID: fmt.Sprint(i), Class: PCI, Identity: id, Location: finding.Location{Path: fmt.Sprintf("p%d", i)}})
				parts = append(parts, Part{Class: PCI, Subject: fmt.Sprint(i), Identity: id, Location: finding.Location{Path: at(i)}})
			}
			inv := &Inventory{Parts: parts, Classes: map[Class]Observation{PCI: {Observed: true, Whole: true}}}
			for b.Loop() {
				Match(refs, map[Class]Closure{PCI: Closed}, inv)
			}
		})
	}
}
