package attest

import (
	"slices"

	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// alignment pairs what a reference expects with what a register's events are.
// Every expected event is consumed by at most one event and the other way
// round.
type alignment struct {
	matched    int
	reordered  []pair // expected, and there, but at another place
	unexpected []*tcglog.Event
	missing    []*EventReference
}

type pair struct {
	want *EventReference
	got  *tcglog.Event
}

// maxCells bounds the table of the longest common subsequence; beyond it the
// pairing is greedy, which finds the same differences in a worse order.
const maxCells = 4 << 20

func align(ref *Reference, events []*tcglog.Event, bank tpmwire.Algorithm) alignment {
	eq := matcher(ref, bank)
	var a alignment
	takenRef, takenEv := make([]bool, len(ref.Events)), make([]bool, len(events))
	if ref.Order != "any" {
		a.matched = longestCommon(len(ref.Events), len(events), func(i, j int) bool { return eq(i, events[j]) }, takenRef, takenEv)
	}
	for j, e := range events {
		if takenEv[j] {
			continue
		}
		for i := range ref.Events {
			if takenRef[i] || !eq(i, e) {
				continue
			}
			takenRef[i], takenEv[j] = true, true
			if ref.Order == "any" {
				a.matched++
			} else {
				a.reordered = append(a.reordered, pair{&ref.Events[i], e})
			}
			break
		}
	}
	for j, e := range events {
		if !takenEv[j] {
			a.unexpected = append(a.unexpected, e)
		}
	}
	for i := range ref.Events {
		if !takenRef[i] && !ref.Events[i].Optional {
			a.missing = append(a.missing, &ref.Events[i])
		}
	}
	return a
}

// clean reports whether nothing is left over.
func (a *alignment) clean() bool {
	return len(a.reordered)+len(a.unexpected)+len(a.missing) == 0
}

func (a *alignment) cost() int { return len(a.reordered) + 4*len(a.unexpected) + 4*len(a.missing) }

// matcher compares an expected event with one of the log by digest alone: type
// and data are not covered.
func matcher(ref *Reference, bank tpmwire.Algorithm) func(int, *tcglog.Event) bool {
	allowed := make([]map[string]bool, len(ref.Events))
	for i := range ref.Events {
		allowed[i] = map[string]bool{}
		for _, d := range ref.Events[i].allowed(bank) {
			allowed[i][d] = true
		}
	}
	return func(i int, e *tcglog.Event) bool {
		d := e.Digest(bank)
		return d != nil && allowed[i][lowerHex(d)]
	}
}

// longestCommon marks a longest common subsequence of two sequences and
// returns its length. Equal ends are cut off first: most boots are equal.
func longestCommon(n, m int, eq func(i, j int) bool, takenA, takenB []bool) int {
	matched := 0
	take := func(i, j int) {
		takenA[i], takenB[j] = true, true
		matched++
	}
	lo := 0
	for ; lo < n && lo < m && eq(lo, lo); lo++ {
		take(lo, lo)
	}
	for n > lo && m > lo && eq(n-1, m-1) {
		n, m = n-1, m-1
		take(n, m)
	}
	w, h := m-lo, n-lo
	if w == 0 || h == 0 {
		return matched
	}
	if (w+1)*(h+1) > maxCells {
		for i, j := lo, lo; i < n; i++ {
			if k := slices.IndexFunc(indices(j, m), func(k int) bool { return eq(i, k) }); k >= 0 {
				take(i, j+k)
				j += k + 1
			}
		}
		return matched
	}
	table := make([]uint16, (w+1)*(h+1))
	for i := h - 1; i >= 0; i-- {
		for j := w - 1; j >= 0; j-- {
			if eq(lo+i, lo+j) {
				table[i*(w+1)+j] = table[(i+1)*(w+1)+j+1] + 1
			} else {
				table[i*(w+1)+j] = max(table[(i+1)*(w+1)+j], table[i*(w+1)+j+1])
			}
		}
	}
	for i, j := 0, 0; i < h && j < w; {
		switch {
		case eq(lo+i, lo+j):
			take(lo+i, lo+j)
			i, j = i+1, j+1
		case table[(i+1)*(w+1)+j] >= table[i*(w+1)+j+1]:
			i++
		default:
			j++
		}
	}
	return matched
}

func indices(from, to int) []int {
	out := make([]int, to-from)
	for i := range out {
		out[i] = from + i
	}
	return out
}
