package bom

import (
	"cmp"
	"math"
	"slices"
)

// bucket holds what is alike in one key, by position.
type bucket struct{ refs, parts []int32 }

type bucketKey struct {
	kind byte
	key  string
}

// The kinds of keys that bring a line and a part together.
const (
	byModel byte = iota
	byBare
	byFamily
	bySerial
	byPlace
	byClass
)

// member says at which place of a bucket a line is.
type member struct{ bucket, at int32 }

// buckets sorts what is left by the keys it may be paired by.
type buckets struct {
	all     []bucket
	number  map[bucketKey]int32
	members []member // of all lines, one after the other
}

// each calls add for every key of an item.
func (k *keys) each(place string, c Class, add func(kind byte, key string)) {
	for kind, key := range [...]string{byModel: k.model, byBare: k.bare, byFamily: k.family, bySerial: k.serial, byPlace: place} {
		if key != "" {
			add(byte(kind), key)
		}
	}
	if interchangeable(c) {
		add(byClass, "")
	}
}

// line adds a line to its buckets.
func (b *buckets) line(i int32, r *refItem) {
	add := func(kind byte, key string) {
		k := bucketKey{kind, key}
		n, ok := b.number[k]
		if !ok {
			n = int32(len(b.all))
			b.number[k] = n
			b.all = append(b.all, bucket{})
		}
		to := &b.all[n]
		b.members = append(b.members, member{n, int32(len(to.refs))})
		to.refs = append(to.refs, i)
	}
	r.keys.each(r.place, r.ref.Class, add)
	for _, alt := range r.alternates {
		if alt.model != "" {
			add(byModel, alt.model)
		}
		if alt.bare != "" {
			add(byBare, alt.bare)
		}
	}
}

// part adds a part to the buckets that lines are in.
func (b *buckets) part(i int32, p *partItem) {
	p.keys.each(p.place, p.part.Class, func(kind byte, key string) {
		if n, ok := b.number[bucketKey{kind, key}]; ok {
			b.all[n].parts = append(b.all[n].parts, i)
		}
	})
}

// candidates lists the parts that a line may be paired with by one bucket. A bucket
// of very many look-alikes is paired along its diagonal only: its members are equal
// in the shared key, and all pairs of them would be quadratic.
func (b *buckets) candidates(m member) []int32 {
	in := &b.all[m.bucket]
	if len(in.refs)*len(in.parts) <= bucketLimit {
		return in.parts
	}
	if int(m.at) >= len(in.parts) {
		return nil
	}
	return in.parts[m.at : m.at+1]
}

// edges lists the allowed pairs among what is left, by line. Candidates come from
// shared keys, not from all pairs.
func (a *assignment) edges() []edge {
	left := len(a.refs) - len(a.pairs)
	b := buckets{number: make(map[bucketKey]int32, left), all: make([]bucket, 0, left), members: make([]member, 0, 2*left)}
	end := make([]int, len(a.refs)) // of each line's members
	for i, r := range a.refs {
		if !a.refDone[i] {
			b.line(int32(i), r)
		}
		end[i] = len(b.members)
	}
	if len(b.members) == 0 {
		return nil
	}
	for i, p := range a.parts {
		if !a.partDone[i] {
			b.part(int32(i), p)
		}
	}
	var out []edge
	seen := make([]int, len(a.parts)) // the line that met a part last, from 1
	from := 0
	for i, r := range a.refs {
		for _, m := range b.members[from:end[i]] {
			for _, j := range b.candidates(m) {
				if seen[j] == i+1 {
					continue
				}
				seen[j] = i + 1
				if c, ok := cost(r, a.parts[j]); ok {
					out = append(out, edge{int32(i), j, int32(c)})
				}
			}
		}
		from = end[i]
	}
	return out
}

// solveAll pairs what lookups left over.
func (a *assignment) solveAll() {
	edges := a.edges()
	refEdges, partEdges := make([]int32, len(a.refs)), make([]int32, len(a.parts))
	for _, e := range edges {
		refEdges[e.ref]++
		partEdges[e.part]++
	}
	// Two that only have each other are a block with nothing to solve: any allowed
	// pair is cheaper than leaving both alone.
	edges = slices.DeleteFunc(edges, func(e edge) bool {
		alone := refEdges[e.ref] == 1 && partEdges[e.part] == 1
		if alone {
			a.take(a.refs[e.ref], a.parts[e.part])
		}
		return alone
	})
	for _, block := range a.blocks(edges) {
		a.solve(block)
	}
}

// blocks splits what is left into independent blocks by the edges between
// items.
func (a *assignment) blocks(edges []edge) []block {
	n := int32(len(a.refs))
	root := make([]int32, len(a.refs)+len(a.parts))
	for i := range root {
		root[i] = int32(i)
	}
	find := func(i int32) int32 {
		for root[i] != i {
			root[i] = root[root[i]]
			i = root[i]
		}
		return i
	}
	for _, e := range edges {
		root[find(n+e.part)] = find(e.ref)
	}
	number := make([]int32, len(root)) // of the block of a root, from 1
	var out []block
	for _, e := range edges {
		r := find(e.ref)
		if number[r] == 0 {
			out = append(out, block{})
			number[r] = int32(len(out))
		}
		b := &out[number[r]-1]
		b.edges = append(b.edges, e)
		if k := len(b.refs); k == 0 || b.refs[k-1] != e.ref { // edges come by line
			b.refs = append(b.refs, e.ref)
		}
	}
	for j := range a.parts {
		if b := number[find(n+int32(j))]; b > 0 {
			out[b-1].parts = append(out[b-1].parts, int32(j))
		}
	}
	return out
}

// solve pairs one block: exactly when it is small, greedily by cost when not.
func (a *assignment) solve(b block) {
	if len(b.refs) > exactLimit || len(b.parts) > exactLimit {
		slices.SortFunc(b.edges, func(x, y edge) int {
			return cmp.Or(cmp.Compare(x.cost, y.cost), cmp.Compare(x.ref, y.ref), cmp.Compare(x.part, y.part))
		})
		for _, e := range b.edges {
			if !a.refDone[e.ref] && !a.partDone[e.part] {
				a.take(a.refs[e.ref], a.parts[e.part])
			}
		}
		return
	}
	pairs := b.inOrder()
	if pairs == nil {
		pairs = a.solver.leastCost(b)
	}
	for i, j := range pairs {
		if j >= 0 {
			a.take(a.refs[b.refs[i]], a.parts[b.parts[j]])
		}
	}
}

// inOrder is what leastCost gives for a block in which every line may be paired with
// every part at one cost: the first line with the first part, and so on. Look-alikes
// without serial numbers are such a block, and there is nothing to solve.
func (b *block) inOrder() []int {
	nr, np := len(b.refs), len(b.parts)
	if len(b.edges) != nr*np || slices.ContainsFunc(b.edges, func(e edge) bool { return e.cost != b.edges[0].cost }) {
		return nil
	}
	out := make([]int, nr)
	for i := range out {
		out[i] = i
		if i >= np {
			out[i] = -1
		}
	}
	return out
}

// solver solves blocks one after the other in the same memory.
type solver struct {
	n      int
	matrix []int32 // of n+1 rows and columns
	u, v   []int
	row    []int // of each column
	way    []int
	least  []int
	used   []bool
}

// size makes room for n rows and columns, all zero.
func (s *solver) size(n int) {
	s.n = n
	s.matrix = zeroed(s.matrix, (n+1)*(n+1))
	s.u, s.v, s.row, s.way = zeroed(s.u, n+1), zeroed(s.v, n+1), zeroed(s.row, n+1), zeroed(s.way, n+1)
	s.least, s.used = zeroed(s.least, n+1), zeroed(s.used, n+1)
}

func zeroed[T any](s []T, n int) []T {
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

func (s *solver) costs(row int) []int32 { return s.matrix[row*(s.n+1) : (row+1)*(s.n+1)] }

// leastCost solves the assignment of one block by successive shortest paths
// with potentials (Kuhn-Munkres in Jonker's row form). Row i gets column j, or
// -1 when staying alone is cheaper. Each row and column has a dummy partner at
// costUnpaired, so that leaving a pair alone costs two of them.
func (s *solver) leastCost(b block) []int {
	nr, np := len(b.refs), len(b.parts)
	n := nr + np
	s.size(n)
	const never = 1 << 20
	for i := 1; i <= n; i++ {
		m := s.costs(i)
		for j := 1; j <= n; j++ {
			switch {
			case i <= nr && j <= np:
				m[j] = never
			case i <= nr || j <= np:
				m[j] = costUnpaired
			}
		}
	}
	for _, e := range b.edges {
		i, _ := slices.BinarySearch(b.refs, e.ref)
		j, _ := slices.BinarySearch(b.parts, e.part)
		s.costs(i + 1)[j+1] = e.cost
	}
	out := make([]int, nr)
	for i := range out {
		out[i] = -1
	}
	s.hungarian()
	for j, i := range s.row[:np+1] {
		if j >= 1 && i >= 1 && i <= nr && s.costs(i)[j] < never {
			out[i-1] = j - 1
		}
	}
	return out
}

// hungarian gives each column 1..n its row. Index 0 is the algorithm's sentinel.
func (s *solver) hungarian() {
	for i := 1; i <= s.n; i++ {
		s.row[0] = i
		at := 0
		for j := range s.least {
			s.least[j] = math.MaxInt
		}
		clear(s.used)
		for {
			s.used[at] = true
			next := s.relax(s.row[at], at)
			s.shift(s.least[next])
			at = next
			if s.row[at] == 0 {
				break
			}
		}
		for at != 0 {
			s.row[at] = s.row[s.way[at]]
			at = s.way[at]
		}
	}
}

// relax updates the least reduced cost of every free column from row i and
// returns the best column.
func (s *solver) relax(i, from int) int {
	best, at := math.MaxInt, 0
	m, u := s.costs(i), s.u[i]
	v, least, used := s.v[:len(m)], s.least[:len(m)], s.used[:len(m)]
	for j := 1; j < len(m); j++ {
		if used[j] {
			continue
		}
		l := least[j]
		if c := int(m[j]) - u - v[j]; c < l {
			l = c
			least[j], s.way[j] = c, from
		}
		if l < best {
			best, at = l, j
		}
	}
	return at
}

// shift moves the potentials by delta.
func (s *solver) shift(delta int) {
	if delta == 0 {
		return
	}
	for j := range s.used {
		if s.used[j] {
			s.u[s.row[j]] += delta
			s.v[j] -= delta
		} else if j > 0 {
			s.least[j] -= delta
		}
	}
}
