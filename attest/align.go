package attest

import (
	"encoding/hex"
	"slices"

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
	if ref.Order != "any" && inOrder(ref, events, bank) {
		return alignment{matched: len(events)}
	}
	t := newDigestTable(ref, events, bank)
	var a alignment
	takenRef, takenEv := make([]bool, len(ref.Events)), make([]bool, len(events))
	if ref.Order != "any" {
		a.matched = longestCommon(len(ref.Events), len(events), t.fits, takenRef, takenEv)
	}
	for j, e := range events {
		if takenEv[j] {
			continue
		}
		i := t.next(j, takenRef)
		if i < 0 {
			a.unexpected = append(a.unexpected, e)
			continue
		}
		takenRef[i] = true
		if ref.Order == "any" {
			a.matched++
		} else {
			a.reordered = append(a.reordered, pair{&ref.Events[i], e})
		}
	}
	for i := range ref.Events {
		if !takenRef[i] && !ref.Events[i].Optional {
			a.missing = append(a.missing, &ref.Events[i])
		}
	}
	return a
}

// inOrder reports whether every event is the expected one, as on nearly every
// boot: nothing has to be searched then.
func inOrder(ref *Reference, events []*tcglog.Event, bank tpmwire.Algorithm) bool {
	if len(ref.Events) != len(events) {
		return false
	}
	for i, e := range events {
		if d := e.Digest(bank); len(d) == 0 || !ref.Events[i].satisfiedBy(bank, d) {
			return false
		}
	}
	return true
}

// digestTable numbers the digests that a reference allows, so that the search
// compares numbers.
type digestTable struct {
	allowed  [][]int // per expected event: the numbers of its digests, each once
	expected [][]int // per number: the expected events that it satisfies, in order
	measured []int   // per event: the number of its digest, -1 when no expected event has it
	blank    int     // the number of no digest at all
}

func newDigestTable(ref *Reference, events []*tcglog.Event, bank tpmwire.Algorithm) *digestTable {
	t := &digestTable{allowed: make([][]int, len(ref.Events)), measured: make([]int, len(events)), blank: -1}
	numbers := make(map[string]int, len(ref.Events))
	for i := range ref.Events {
		for _, d := range ref.Events[i].allowed(bank) {
			n, ok := numbers[d]
			if !ok {
				n = len(numbers)
				numbers[d] = n
				t.expected = append(t.expected, nil)
			}
			if !slices.Contains(t.allowed[i], n) {
				t.allowed[i] = append(t.allowed[i], n)
				t.expected[n] = append(t.expected[n], i)
			}
		}
	}
	var digits [2 * tpmwire.MaxDigest]byte
	for j, e := range events {
		n, ok := numbers[string(hex.AppendEncode(digits[:0], e.Digest(bank)))]
		if !ok {
			n = -1
		}
		t.measured[j] = n
	}
	if n, ok := numbers[""]; ok {
		t.blank = n
	}
	return t
}

// fits reports whether an event is an expected one.
func (t *digestTable) fits(expected, event int) bool {
	n := t.measured[event]
	return n >= 0 && n != t.blank && slices.Contains(t.allowed[expected], n)
}

// next returns the first expected event that an event satisfies and that is not
// taken, -1 when there is none.
func (t *digestTable) next(event int, taken []bool) int {
	n := t.measured[event]
	if n < 0 {
		return -1
	}
	for len(t.expected[n]) > 0 && taken[t.expected[n][0]] {
		t.expected[n] = t.expected[n][1:]
	}
	if len(t.expected[n]) == 0 {
		return -1
	}
	return t.expected[n][0]
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
