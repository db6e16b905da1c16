package bom

import (
	"cmp"
	"slices"
	"strings"
)

// The costs of pairing one reference with one part are the matching rule. An
// instance outweighs whatever its loss could save elsewhere, and so does a
// model in its place; below these, identity comes before place. Leaving both
// sides alone is dearer than any allowed pair.
const (
	costInstance  = -200
	costInPlace   = 40 // same model, same place
	costModel     = 100
	costAlternate = 120
	costFamily    = 140
	costClass     = 160
	costElsewhere = 5  // added when the place is not the same
	costUnpaired  = 90 // each side
)

// exactLimit bounds the size of a block that is solved exactly; larger blocks
// are paired greedily by cost, which keeps hostile look-alikes from costing
// cubic time.
const exactLimit = 160

// bucketLimit bounds the pairs that one key may contribute to a block.
const bucketLimit = 1 << 14

// refItem is one declared part: a line with its quantity spread out.
type refItem struct {
	ref        *Reference
	keys       keys
	alternates []keys
	place      string
	order      int
}

// partItem is one observed part.
type partItem struct {
	part  *Part
	keys  keys
	place string
	order int
}

// pair is one decision of the assignment.
type pair struct {
	ref   *refItem
	part  *partItem
	level level
	moved bool
}

// assign pairs references and parts of one class one to one at least cost. The
// result does not depend on the order of its inputs: both sides are sorted by
// stable keys first, and ties fall to the earlier one.
func assign(refs []*refItem, parts []*partItem) []pair {
	a := newAssignment(refs, parts)
	a.sideBySide()
	return a.rest()
}

func newAssignment(refs []*refItem, parts []*partItem) *assignment {
	sortItems(refs, parts)
	a := &assignment{
		refs: refs, parts: parts, refDone: make([]bool, len(refs)), partDone: make([]bool, len(parts)),
		pairs: make([]pair, 0, min(len(refs), len(parts))),
	}
	// A part that a line without a model asks for by serial number is left to the
	// solver.
	wanted := map[string]bool{}
	for _, r := range refs {
		if r.keys.model == "" && r.keys.serial != "" {
			wanted[r.keys.serial] = true
		}
	}
	a.spoken = make([]bool, len(parts))
	for i, p := range parts {
		a.spoken[i] = wanted[p.keys.serial]
	}
	return a
}

// rest pairs what is not paired yet. Pairs that are part of a least-cost solution
// whatever the rest is are made by lookup, so that a machine which is as declared
// costs n log n.
func (a *assignment) rest() []pair {
	a.join(func(k *keys, place string) lookup { return lookup{k.serial, k.model, place} })
	a.join(func(k *keys, _ string) lookup { return lookup{k.serial, k.model, anywhere} })
	a.join(func(k *keys, place string) lookup { return lookup{anywhere, k.model, place} })
	a.solveAll()
	slices.SortFunc(a.pairs, func(x, y pair) int { return cmp.Compare(x.ref.order, y.ref.order) }) // a line has one pair
	return a.pairs
}

// sortItems orders both sides. Of lines alike in place and model, those with
// fewer alternates come first, so that lookups leave the flexible ones over.
func sortItems(refs []*refItem, parts []*partItem) {
	inOrder(refs, parts) // what is equal stays in its order
	slices.SortFunc(refs, func(x, y *refItem) int {
		if c := strings.Compare(x.place, y.place); c != 0 {
			return c
		}
		if c := strings.Compare(x.keys.model, y.keys.model); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(len(x.alternates), len(y.alternates)),
			cmp.Compare(x.keys.serial, y.keys.serial), cmp.Compare(x.ref.ID, y.ref.ID), cmp.Compare(x.ref.Subject, y.ref.Subject), cmp.Compare(x.order, y.order))
	})
	slices.SortFunc(parts, func(x, y *partItem) int {
		if c := strings.Compare(x.place, y.place); c != 0 {
			return c
		}
		return cmp.Or(cmp.Compare(x.keys.model, y.keys.model),
			cmp.Compare(x.keys.serial, y.keys.serial), cmp.Compare(x.part.Subject, y.part.Subject), cmp.Compare(x.order, y.order))
	})
	inOrder(refs, parts)
}

func inOrder(refs []*refItem, parts []*partItem) {
	for i := range refs {
		refs[i].order = i
	}
	for i := range parts {
		parts[i].order = i
	}
}

type assignment struct {
	refs              []*refItem
	parts             []*partItem
	refDone, partDone []bool
	spoken            []bool // parts that a line without a model asks for
	pairs             []pair
	solver            solver
}

func (a *assignment) take(r *refItem, p *partItem) {
	a.refDone[r.order], a.partDone[p.order] = true, true
	a.pairs = append(a.pairs, pair{ref: r, part: p, level: fits(r, p), moved: moved(r, p)})
}

func moved(r *refItem, p *partItem) bool {
	return r.place != "" && p.place != "" && r.place != p.place
}

// lookup is what a pair must have in common to be made by lookup. One that lacks
// something is no lookup.
type lookup struct{ serial, model, place string }

// anywhere stands for what a lookup does not ask for; no key is like it.
const anywhere = keySep + keySep

func (l *lookup) whole() bool { return l.serial != "" && l.model != "" && l.place != "" }

// fewAlike bounds the pairs that are looked at among items alike in place and model.
const fewAlike = 64

// sideBySide makes the pairs of the first lookup that nearly all items are in, by
// walking along both sides in their order: a map of very many is slow because it is
// all over memory. What is alike very often is left to the lookup.
func (a *assignment) sideBySide() {
	refs, parts := a.refs, a.parts
	for len(refs) > 0 && len(parts) > 0 {
		r, p := refs[0], parts[0]
		c := strings.Compare(r.place, p.place)
		if c == 0 {
			c = strings.Compare(r.keys.model, p.keys.model)
		}
		switch {
		case c < 0:
			refs = refs[1:]
			continue
		case c > 0:
			parts = parts[1:]
			continue
		}
		n, m := 1, 1
		for n < len(refs) && refs[n].place == r.place && refs[n].keys.model == r.keys.model {
			n++
		}
		for m < len(parts) && parts[m].place == p.place && parts[m].keys.model == p.keys.model {
			m++
		}
		if n*m <= fewAlike {
			a.together(refs[:n], parts[:m])
		}
		refs, parts = refs[n:], parts[m:]
	}
}

// together pairs items that are alike in place and model by their serial numbers.
func (a *assignment) together(refs []*refItem, parts []*partItem) {
	for _, r := range refs {
		if k := (lookup{r.keys.serial, r.keys.model, r.place}); !k.whole() {
			continue
		}
		for _, p := range parts {
			if p.keys.serial == r.keys.serial && !a.partDone[p.order] && !a.spoken[p.order] {
				a.take(r, p)
				break
			}
		}
	}
}

// join pairs items with equal keys, in order.
func (a *assignment) join(of func(*keys, string) lookup) {
	// first and next chain the parts of one key in their order.
	first, next := make(map[lookup]int, len(a.parts)-len(a.pairs)), make([]int, len(a.parts))
	for i := len(a.parts) - 1; i >= 0; i-- {
		p := a.parts[i]
		k := of(&p.keys, p.place)
		if a.partDone[i] || a.spoken[i] || !k.whole() {
			continue
		}
		next[i] = first[k] // 0 is none: positions count from 1
		first[k] = i + 1
	}
	if len(first) == 0 {
		return
	}
	for i, r := range a.refs {
		k := of(&r.keys, r.place)
		if a.refDone[i] || !k.whole() {
			continue
		}
		if at := first[k]; at > 0 {
			first[k] = next[at-1]
			a.take(r, a.parts[at-1])
		}
	}
}

// edge is an allowed pair with its cost.
type edge struct{ ref, part, cost int32 }

// block is a set of items that only compete with each other.
type block struct {
	refs, parts []int32
	edges       []edge
}

// cost returns the cost of a pair; ok is false when the pair is not allowed.
// A part that merely is of the same class stands in for a reference only in its
// place, or where places are interchangeable sockets.
func cost(r *refItem, p *partItem) (c int, ok bool) {
	inPlace := r.place != "" && r.place == p.place
	l := fits(r, p)
	if l <= levelFamily && !inPlace && !interchangeable(r.ref.Class) {
		return 0, false
	}
	switch {
	case l == levelInstance:
		c = costInstance
	case l == levelModel && inPlace:
		c = costInPlace
	case l == levelModel:
		c = costModel
	case l == levelAlternate:
		c = costAlternate
	case l == levelFamily:
		c = costFamily
	case l == levelClass:
		c = costClass
	default:
		return 0, false
	}
	if !inPlace {
		c += costElsewhere
	}
	return c, true
}

// interchangeable reports whether a class has sockets that a technician may
// fill in any order, so that one module replaced is one finding and not a
// missing and an unexpected one.
func interchangeable(c Class) bool { return c == Memory || c == Processor || single(c) }

// single reports whether a machine has one part of the class at a time.
func single(c Class) bool {
	switch c {
	case System, Chassis, Firmware, TPM, BMC:
		return true
	}
	return false
}
