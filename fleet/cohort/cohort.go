// Package cohort finds what is odd about a machine by looking at others of its
// kind, without any manifest: a part that one of four hundred has, a part that
// all others have, a deviation that sticks to a lot.
//
// It proves nothing about a machine: a whole batch that was altered alike has no
// outlier. What it finds is where to look first.
package cohort

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Least is how many machines a kind needs before one of them can be odd.
const Least = 5

// rare is the part of the machines above which something is common.
const rare = 0.05

// Oddity is one thing that sets a machine apart.
type Oddity struct {
	Feature string  `json:"feature"`
	Lacks   bool    `json:"lacks"` // the others have it
	Hosts   int     `json:"hosts"` // how many have it
	Of      int     `json:"of"`
	Bits    float64 `json:"bits"` // how surprising: the binary logarithm of the inverse of the share of machines that have something of their own in this respect
}

// Odd lists what sets a machine apart from the others of its kind, the most
// surprising first. counts says how many of the machines have a feature, the
// machine itself included. Where many machines have something of their own in one
// respect, as memory that was bought over the years, that is what they have in
// common, and no surprise: a feature's first two words say in which respect it is
// one.
func Odd(machines int, counts map[string]int, has []string) []Oddity {
	if machines < Least {
		return nil
	}
	mine := map[string]bool{}
	for _, f := range has {
		mine[f] = true
	}
	var out []Oddity
	others := map[respect]int{} // other machines that are odd in the same respect, at most
	for f, n := range counts {
		switch {
		case Few(n, machines):
			if mine[f] {
				n--
				out = append(out, Oddity{Feature: f, Hosts: n + 1, Of: machines})
			}
			others[respect{respectOf(f), false}] += n
		case n < machines && Few(machines-n, machines):
			lack := machines - n
			if !mine[f] {
				lack--
				out = append(out, Oddity{Feature: f, Lacks: true, Hosts: n, Of: machines})
			}
			others[respect{respectOf(f), true}] += lack
		}
	}
	out = slices.DeleteFunc(out, func(o Oddity) bool { return usual(1+others[respect{respectOf(o.Feature), o.Lacks}], machines) })
	for i := range out {
		out[i].Bits = bits(1+others[respect{respectOf(out[i].Feature), out[i].Lacks}], machines)
	}
	slices.SortFunc(out, func(a, b Oddity) int {
		return cmp.Or(cmp.Compare(b.Bits, a.Bits), first(a.Lacks, b.Lacks), cmp.Compare(a.Feature, b.Feature))
	})
	return out
}

// respect is in which respect machines differ.
type respect struct {
	what  string
	lacks bool
}

func respectOf(feature string) string {
	words := strings.SplitN(feature, " ", 3)
	return strings.Join(words[:min(2, len(words))], " ")
}

// usual says when so many machines have something of their own that one more is no
// surprise.
func usual(n, of int) bool { return n > 2 && n > of/10 }

// first puts what a machine has before what it lacks: the one can be looked at.
func first(aLacks, bLacks bool) int {
	switch {
	case aLacks == bLacks:
		return 0
	case bLacks:
		return -1
	}
	return 1
}

// Few says what is rare: one machine, or at most one in twenty.
func Few(n, of int) bool { return n == 1 || float64(n) <= rare*float64(of) }

func bits(n, of int) float64 { return math.Log2(float64(of) / float64(n)) }

// Score sums what is surprising about a machine. A part that was exchanged shows
// as two oddities; that is meant.
func Score(os []Oddity) float64 {
	sum := 0.0
	for _, o := range os {
		sum += o.Bits
	}
	return sum
}

// FisherExact is the probability, one-sided, of at least a deviations in a lot by
// chance: of a+b machines of the lot a deviate, of c+d others c do (Fisher's exact
// test for a table of two by two).
func FisherExact(a, b, c, d int) float64 {
	if a < 0 || b < 0 || c < 0 || d < 0 {
		return 1
	}
	n, row, col := a+b+c+d, a+b, a+c
	total := logChoose(n, col)
	p := 0.0
	for k := a; k <= min(row, col); k++ {
		if col-k > c+d {
			continue
		}
		p += math.Exp(logChoose(row, k) + logChoose(c+d, col-k) - total)
	}
	return min(p, 1)
}

func logChoose(n, k int) float64 {
	if k < 0 || k > n {
		return math.Inf(-1)
	}
	lg := func(x int) float64 {
		v, _ := math.Lgamma(float64(x + 1))
		return v
	}
	return lg(n) - lg(k) - lg(n-k)
}

// LotDeviation says how strongly a feature sticks to one lot. Correction for the
// many features that are looked at is the caller's: tests says how many.
type LotDeviation struct {
	Lot     string  `json:"lot"`
	Feature string  `json:"feature"`
	With    int     `json:"with"` // of the lot
	Of      int     `json:"of"`
	Others  int     `json:"others"` // with it, of the other lots
	OfRest  int     `json:"ofRest"`
	P       float64 `json:"p"`    // of Fisher's exact test, times the number of tests (Bonferroni)
	Lift    float64 `json:"lift"` // share in the lot by share in the rest; infinite when the rest has none
}

// Significant is the probability below which a deviation is no chance.
const Significant = 0.001

// ByLot compares a lot with the rest of its kind, feature by feature, and keeps
// what is no chance. lot and rest say how many machines have each feature.
func ByLot(name string, lot map[string]int, lotSize int, rest map[string]int, restSize int) []LotDeviation {
	var out []LotDeviation
	tests := float64(max(1, len(lot)))
	for f, a := range lot {
		c := rest[f]
		if lotSize == 0 || restSize == 0 || float64(a)/float64(lotSize) <= float64(c)/float64(restSize) {
			continue
		}
		p := min(1, FisherExact(a, lotSize-a, c, restSize-c)*tests)
		if p > Significant {
			continue
		}
		lift := math.Inf(1)
		if c > 0 {
			lift = (float64(a) / float64(lotSize)) / (float64(c) / float64(restSize))
		}
		out = append(out, LotDeviation{name, f, a, lotSize, c, restSize, p, lift})
	}
	slices.SortFunc(out, func(x, y LotDeviation) int {
		return cmp.Or(cmp.Compare(x.P, y.P), cmp.Compare(x.Feature, y.Feature))
	})
	return out
}
