package attest

import (
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// alignment pairs what a reference expects with what a register's events are,
// by digest alone: type and data are not covered.
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

// greedyReach is how far the greedy pairing looks ahead.
const greedyReach = 256

func align(ref *Reference, events []*tcglog.Event, bank tpmwire.Algorithm) alignment {
	allowed := make([]map[string]bool, len(ref.Events))
	byDigest := map[string][]int{} // expected events that a digest satisfies, in order
	for i := range ref.Events {
		allowed[i] = map[string]bool{}
		for _, d := range ref.Events[i].allowed(bank) {
			if !allowed[i][d] {
				allowed[i][d] = true
				byDigest[d] = append(byDigest[d], i)
			}
		}
	}
	digests := make([]string, len(events))
	for j, e := range events {
		digests[j] = lowerHex(e.Digest(bank))
	}
	var a alignment
	takenRef, takenEv := make([]bool, len(ref.Events)), make([]bool, len(events))
	if ref.Order != "any" {
		a.matched = longestCommon(len(ref.Events), len(events), func(i, j int) bool { return digests[j] != "" && allowed[i][digests[j]] }, takenRef, takenEv)
	}
	for j, e := range events {
		if takenEv[j] {
			continue
		}
		queue := byDigest[digests[j]]
		for len(queue) > 0 && takenRef[queue[0]] {
			queue = queue[1:]
		}
		byDigest[digests[j]] = queue
		if len(queue) == 0 {
			a.unexpected = append(a.unexpected, e)
			continue
		}
		takenRef[queue[0]] = true
		if ref.Order == "any" {
			a.matched++
		} else {
			a.reordered = append(a.reordered, pair{&ref.Events[queue[0]], e})
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
			for k := j; k < min(m, j+greedyReach); k++ {
				if eq(i, k) {
					take(i, k)
					j = k + 1
					break
				}
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
