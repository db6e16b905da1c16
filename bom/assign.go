package bom

import (
	"cmp"
	"math"
	"slices"
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
	sortItems(refs, parts)
	a := &assignment{refs: refs, parts: parts, refDone: make([]bool, len(refs)), partDone: make([]bool, len(parts))}
	// Pairs that are part of a least-cost solution whatever the rest is are made
	// by lookup, so that a machine which is as declared costs n log n. A part that
	// a line without a model asks for by serial number is left to the solver.
	wanted := map[string]bool{}
	for _, r := range refs {
		if r.keys.model == "" && r.keys.serial != "" {
			wanted[r.keys.serial] = true
		}
	}
	key := func(p *partItem, parts ...string) string {
		if wanted[p.keys.serial] {
			return ""
		}
		return nonEmpty(parts...)
	}
	a.join(func(r *refItem) string { return nonEmpty(r.keys.serial, r.keys.model, r.place) },
		func(p *partItem) string { return key(p, p.keys.serial, p.keys.model, p.place) })
	a.join(func(r *refItem) string { return nonEmpty(r.keys.serial, r.keys.model) },
		func(p *partItem) string { return key(p, p.keys.serial, p.keys.model) })
	a.join(func(r *refItem) string { return nonEmpty(r.keys.model, r.place) },
		func(p *partItem) string { return key(p, p.keys.model, p.place) })
	for _, block := range a.blocks() {
		a.solve(block)
	}
	slices.SortStableFunc(a.pairs, func(x, y pair) int { return cmp.Compare(x.ref.order, y.ref.order) })
	return a.pairs
}

// sortItems orders both sides. Of lines alike in place and model, those with
// fewer alternates come first, so that lookups leave the flexible ones over.
func sortItems(refs []*refItem, parts []*partItem) {
	slices.SortStableFunc(refs, func(x, y *refItem) int {
		return cmp.Or(cmp.Compare(x.place, y.place), cmp.Compare(x.keys.model, y.keys.model), cmp.Compare(len(x.alternates), len(y.alternates)),
			cmp.Compare(x.keys.serial, y.keys.serial), cmp.Compare(x.ref.ID, y.ref.ID), cmp.Compare(x.ref.Subject, y.ref.Subject))
	})
	slices.SortStableFunc(parts, func(x, y *partItem) int {
		return cmp.Or(cmp.Compare(x.place, y.place), cmp.Compare(x.keys.model, y.keys.model),
			cmp.Compare(x.keys.serial, y.keys.serial), cmp.Compare(x.part.Subject, y.part.Subject))
	})
	for i := range refs {
		refs[i].order = i
	}
	for i := range parts {
		parts[i].order = i
	}
}

// nonEmpty joins parts of a key, or is empty when one of them is.
func nonEmpty(parts ...string) string {
	out := ""
	for _, p := range parts {
		if p == "" {
			return ""
		}
		out += p + "\x00"
	}
	return out
}

type assignment struct {
	refs              []*refItem
	parts             []*partItem
	refDone, partDone []bool
	pairs             []pair
}

func (a *assignment) take(r *refItem, p *partItem) {
	a.refDone[r.order], a.partDone[p.order] = true, true
	a.pairs = append(a.pairs, pair{ref: r, part: p, level: fits(r, p), moved: moved(r, p)})
}

func moved(r *refItem, p *partItem) bool {
	return r.place != "" && p.place != "" && r.place != p.place
}

// join pairs items with equal keys, in order.
func (a *assignment) join(rk func(*refItem) string, pk func(*partItem) string) {
	byKey := map[string][]*partItem{}
	for _, p := range a.parts {
		if k := pk(p); k != "" && !a.partDone[p.order] {
			byKey[k] = append(byKey[k], p)
		}
	}
	for _, r := range a.refs {
		k := rk(r)
		if k == "" || a.refDone[r.order] || len(byKey[k]) == 0 {
			continue
		}
		a.take(r, byKey[k][0])
		byKey[k] = byKey[k][1:]
	}
}

// edge is an allowed pair with its cost.
type edge struct{ ref, part, cost int }

// block is a set of items that only compete with each other.
type block struct {
	refs, parts []int
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

// blocks splits what is left into independent blocks by the edges between
// items.
func (a *assignment) blocks() []block {
	edges := a.edges()
	n := len(a.refs)
	root := make([]int, n+len(a.parts))
	for i := range root {
		root[i] = i
	}
	find := func(i int) int {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for _, e := range edges {
		root[find(n+e.part)] = find(e.ref)
	}
	at := map[int]int{}
	var out []block
	for _, e := range edges {
		r := find(e.ref)
		i, ok := at[r]
		if !ok {
			i = len(out)
			at[r] = i
			out = append(out, block{})
		}
		out[i].edges = append(out[i].edges, e)
	}
	for i := range out {
		for _, e := range out[i].edges {
			out[i].refs = append(out[i].refs, e.ref)
			out[i].parts = append(out[i].parts, e.part)
		}
		slices.Sort(out[i].refs)
		slices.Sort(out[i].parts)
		out[i].refs, out[i].parts = slices.Compact(out[i].refs), slices.Compact(out[i].parts)
	}
	return out
}

// edges lists the allowed pairs among what is left. Candidates come from
// shared keys, not from all pairs.
func (a *assignment) edges() []edge {
	type bucket struct{ refs, parts []int }
	buckets := map[string]*bucket{}
	at := func(kind, key string) *bucket {
		k := kind + "\x00" + key
		if buckets[k] == nil {
			buckets[k] = &bucket{}
		}
		return buckets[k]
	}
	each := func(k keys, place string, c Class, add func(b *bucket)) {
		for kind, key := range map[string]string{"model": k.model, "bare": k.bare, "family": k.family, "serial": k.serial, "place": place} {
			if key != "" {
				add(at(kind, key))
			}
		}
		if interchangeable(c) {
			add(at("class", string(c)))
		}
	}
	for i, r := range a.refs {
		if a.refDone[i] {
			continue
		}
		add := func(b *bucket) { b.refs = append(b.refs, i) }
		each(r.keys, r.place, r.ref.Class, add)
		for _, alt := range r.alternates {
			if alt.model != "" {
				add(at("model", alt.model))
			}
			if alt.bare != "" {
				add(at("bare", alt.bare))
			}
		}
	}
	for i, p := range a.parts {
		if !a.partDone[i] {
			each(p.keys, p.place, p.part.Class, func(b *bucket) { b.parts = append(b.parts, i) })
		}
	}
	seen := map[[2]int]bool{}
	var out []edge
	for _, b := range buckets {
		a.expand(b.refs, b.parts, seen, &out)
	}
	slices.SortStableFunc(out, func(x, y edge) int {
		return cmp.Or(cmp.Compare(x.cost, y.cost), cmp.Compare(x.ref, y.ref), cmp.Compare(x.part, y.part))
	})
	return out
}

// expand adds the pairs of one bucket. A bucket of very many look-alikes is
// paired along its diagonal only: its members are equal in the shared key, and
// all pairs of them would be quadratic.
func (a *assignment) expand(refs, parts []int, seen map[[2]int]bool, out *[]edge) {
	add := func(i, j int) {
		if seen[[2]int{i, j}] {
			return
		}
		seen[[2]int{i, j}] = true
		if c, ok := cost(a.refs[i], a.parts[j]); ok {
			*out = append(*out, edge{i, j, c})
		}
	}
	if len(refs)*len(parts) > bucketLimit {
		for i := range min(len(refs), len(parts)) {
			add(refs[i], parts[i])
		}
		return
	}
	for _, i := range refs {
		for _, j := range parts {
			add(i, j)
		}
	}
}

// solve pairs one block: exactly when it is small, greedily by cost when not.
func (a *assignment) solve(b block) {
	if len(b.refs) > exactLimit || len(b.parts) > exactLimit {
		for _, e := range b.edges {
			if !a.refDone[e.ref] && !a.partDone[e.part] {
				a.take(a.refs[e.ref], a.parts[e.part])
			}
		}
		return
	}
	for i, j := range leastCost(b) {
		if j >= 0 {
			a.take(a.refs[b.refs[i]], a.parts[b.parts[j]])
		}
	}
}

// leastCost solves the assignment of one block by successive shortest paths
// with potentials (Kuhn-Munkres in Jonker's row form). Row i gets column j, or
// -1 when staying alone is cheaper. Each row and column has a dummy partner at
// costUnpaired, so that leaving a pair alone costs two of them.
func leastCost(b block) []int {
	nr, np := len(b.refs), len(b.parts)
	n := nr + np
	m := make([][]int, n+1)
	for i := range m {
		m[i] = make([]int, n+1)
	}
	const never = 1 << 20
	rowOf, colOf := index(b.refs), index(b.parts)
	for i := 1; i <= n; i++ {
		for j := 1; j <= n; j++ {
			switch {
			case i <= nr && j <= np:
				m[i][j] = never
			case i <= nr || j <= np:
				m[i][j] = costUnpaired
			}
		}
	}
	for _, e := range b.edges {
		m[rowOf[e.ref]+1][colOf[e.part]+1] = e.cost
	}
	out := make([]int, nr)
	for i := range out {
		out[i] = -1
	}
	for j, i := range hungarian(m, n) {
		if j >= 1 && j <= np && i >= 1 && i <= nr && m[i][j] < never {
			out[i-1] = j - 1
		}
	}
	return out
}

func index(xs []int) map[int]int {
	m := make(map[int]int, len(xs))
	for i, x := range xs {
		m[x] = i
	}
	return m
}

// hungarian returns, for each column 1..n, the row assigned to it. Index 0 is
// the algorithm's sentinel.
func hungarian(m [][]int, n int) []int {
	u, v := make([]int, n+1), make([]int, n+1)
	row, way := make([]int, n+1), make([]int, n+1)
	for i := 1; i <= n; i++ {
		row[0] = i
		j0 := 0
		least := make([]int, n+1)
		for j := range least {
			least[j] = math.MaxInt
		}
		used := make([]bool, n+1)
		for {
			used[j0] = true
			j1 := relax(m, n, row[j0], j0, u, v, least, way, used)
			shift(n, least[j1], row, u, v, least, used)
			j0 = j1
			if row[j0] == 0 {
				break
			}
		}
		for j0 != 0 {
			row[j0] = row[way[j0]]
			j0 = way[j0]
		}
	}
	return row
}

// relax updates the least reduced cost of every free column from row i and
// returns the best column.
func relax(m [][]int, n, i, from int, u, v, least, way []int, used []bool) int {
	best, at := math.MaxInt, 0
	for j := 1; j <= n; j++ {
		if used[j] {
			continue
		}
		if c := m[i][j] - u[i] - v[j]; c < least[j] {
			least[j], way[j] = c, from
		}
		if least[j] < best {
			best, at = least[j], j
		}
	}
	return at
}

// shift moves the potentials by delta.
func shift(n, delta int, row, u, v, least []int, used []bool) {
	for j := 0; j <= n; j++ {
		if used[j] {
			u[row[j]] += delta
			v[j] -= delta
		} else if j > 0 {
			least[j] -= delta
		}
	}
}
