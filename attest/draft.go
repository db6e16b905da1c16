package attest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// DraftReferences writes down what this boot measured: every register with
// events, in all banks, and the registers' values. Registers that the log does
// not explain get their value alone, PCR 10 nothing: IMA fills it as files are
// read.
func (o *Observation) DraftReferences() []Reference {
	var banks []tpmwire.Algorithm
	for _, l := range o.listings {
		banks = append(banks, l.values.banks()...)
	}
	if l := o.log(); l != nil {
		for _, b := range l.Banks {
			banks = append(banks, b.Alg)
		}
	}
	banks = strongestFirst(banks)
	byBank := map[tpmwire.Algorithm]map[int]PCRResult{}
	for _, a := range banks {
		byBank[a] = map[int]PCRResult{}
		listed := o.listed(a)
		for _, r := range o.events.replay(a).results(&listed) {
			byBank[a][r.PCR] = r
		}
	}
	var out []Reference
	for pcr := range 16 {
		if pcr == 10 || pcr == 15 {
			continue
		}
		if r, ok := o.draftRegister(pcr, banks, byBank); ok {
			out = append(out, r)
		}
	}
	return out
}

// listed returns the first listed value of every register of a bank.
func (o *Observation) listed(a tpmwire.Algorithm) registerSet {
	var out registerSet
	for _, l := range o.listings {
		for n, v := range l.values.of(a) {
			if out[n] == nil {
				out[n] = v
			}
		}
	}
	return out
}

func (o *Observation) draftRegister(pcr int, banks []tpmwire.Algorithm, byBank map[tpmwire.Algorithm]map[int]PCRResult) (Reference, bool) {
	r := Reference{PCR: pcr}
	events := o.measuredIn(pcr)
	explained, mismatch, reset := false, false, true
	for _, a := range banks {
		p, ok := byBank[a][pcr]
		if !ok || p.Cause == causeCarteBlanche || p.Cause == causeCap {
			continue
		}
		explained = explained || p.Result == Explained
		mismatch = mismatch || p.Result == Unexplained && len(events) > 0
		v := p.value
		if v == nil {
			v = p.replayed
		}
		if v == nil {
			continue
		}
		reset = reset && isReset(a, pcr, v)
		if r.Digests == nil {
			r.Digests = map[string][]string{}
		}
		r.Digests[a.String()] = []string{lowerHex(v)}
	}
	switch {
	case len(events) > 0 && (!mismatch || explained):
		for _, e := range events {
			r.Events = append(r.Events, o.draftEvent(e))
		}
	case len(r.Digests) == 0:
		return r, false
	case len(events) > 0:
		r.Note = "the log did not explain the register when it was recorded"
	case reset && (pcr < 8 || pcr >= 12):
		r.Note = "nothing is measured here"
	case reset:
		return r, false
	default:
		r.Note = "no event was logged for the register"
	}
	return r, true
}

func (o *Observation) draftEvent(e *tcglog.Event) EventReference {
	r := EventReference{Type: e.Type.String(), Label: label(e), Digests: map[string][]string{}}
	if d, ok := o.driverOf(e); ok && d.location.Path != "" {
		r.Label = d.location.Path
	}
	for _, d := range e.Digests {
		r.Digests[d.Alg.String()] = []string{lowerHex(d.Value)}
	}
	if w := separatorOf(e); w >= 0 && w < separatorError && e.Type == tcglog.Separator {
		r.Derived = "separator"
	}
	return r
}

// Variation is something that differs between units or boots of one model.
type Variation struct {
	PCR   int
	Label string
	What  string // what varies, in words
}

// MergeReferences makes one set of references of several drafts of one model
// and says what varied. A digest that varies becomes one of several allowed;
// an event that not every draft has becomes optional.
func MergeReferences(drafts [][]Reference) ([]Reference, []Variation) {
	if len(drafts) == 0 {
		return nil, nil
	}
	merged := cloneReferences(drafts[0])
	var vs []Variation
	for _, d := range drafts[1:] {
		merged, vs = mergeTwo(merged, d, vs)
	}
	slices.SortStableFunc(vs, func(a, b Variation) int { return a.PCR - b.PCR })
	return merged, slices.Compact(vs)
}

func cloneReferences(rs []Reference) []Reference {
	out := slices.Clone(rs)
	for i := range out {
		out[i].Digests = cloneDigests(out[i].Digests)
		out[i].Events = cloneEvents(out[i].Events)
	}
	return out
}

func cloneEvents(es []EventReference) []EventReference {
	out := slices.Clone(es)
	for i := range out {
		out[i].Digests = cloneDigests(out[i].Digests)
	}
	return out
}

func cloneDigests(m map[string][]string) map[string][]string {
	if m == nil {
		return nil
	}
	out := make(map[string][]string, len(m))
	for k, v := range m {
		out[k] = slices.Clone(v)
	}
	return out
}

func mergeTwo(a, b []Reference, vs []Variation) ([]Reference, []Variation) {
	var out []Reference
	byPCR := map[int]Reference{}
	for _, r := range b {
		byPCR[r.PCR] = r
	}
	for _, r := range a {
		o, ok := byPCR[r.PCR]
		delete(byPCR, r.PCR)
		if !ok {
			vs = append(vs, Variation{r.PCR, "", "not every unit has a reference for the register; left out"})
			continue
		}
		r, vs = mergeRegister(r, o, vs)
		out = append(out, r)
	}
	for _, pcr := range sortedKeys(byPCR) {
		vs = append(vs, Variation{pcr, "", "not every unit has a reference for the register; left out"})
	}
	return out, vs
}

func mergeRegister(a, b Reference, vs []Variation) (Reference, []Variation) {
	if union(a.Digests, b.Digests) && (len(a.Events) == 0 || len(b.Events) == 0) {
		vs = append(vs, Variation{a.PCR, "", "the register's value varies"})
	}
	if len(a.Events) == 0 || len(b.Events) == 0 {
		a.Events = nil
		return a, vs
	}
	takenA, takenB := make([]bool, len(a.Events)), make([]bool, len(b.Events))
	longestCommon(len(a.Events), len(b.Events), func(i, j int) bool { return shareDigest(&a.Events[i], &b.Events[j]) }, takenA, takenB)
	a.Events, vs = interleave(a.PCR, a.Events, cloneEvents(b.Events), takenA, takenB, vs)
	return a, vs
}

// interleave walks two aligned lists. Between two common events, those of one
// type and label are the same thing with varying contents; the rest is
// optional.
func interleave(pcr int, a, b []EventReference, takenA, takenB []bool, vs []Variation) ([]EventReference, []Variation) {
	var out []EventReference
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		gapA, gapB := run(takenA, i), run(takenB, j)
		onlyA, onlyB := a[i:gapA], b[j:gapB]
		used := make([]bool, len(onlyB))
		for _, x := range onlyA {
			k := slices.IndexFunc(onlyB, func(y EventReference) bool { return y.Type == x.Type && y.Label == x.Label })
			if k >= 0 && !used[k] {
				used[k] = true
				union(x.Digests, onlyB[k].Digests)
				vs = append(vs, Variation{pcr, x.name(), "the measured contents vary"})
			} else {
				x.Optional = true
				vs = append(vs, Variation{pcr, x.name(), "not every unit measures this"})
			}
			out = append(out, x)
		}
		for k, y := range onlyB {
			if !used[k] {
				y.Optional = true
				vs = append(vs, Variation{pcr, y.name(), "not every unit measures this"})
				out = append(out, y)
			}
		}
		i, j = gapA, gapB
		if i < len(a) && j < len(b) {
			a[i].Optional = a[i].Optional || b[j].Optional
			union(a[i].Digests, b[j].Digests)
			out = append(out, a[i])
			i, j = i+1, j+1
		}
	}
	return out, vs
}

func run(taken []bool, from int) int {
	for from < len(taken) && !taken[from] {
		from++
	}
	return from
}

func (r *EventReference) name() string {
	if r.Label != "" {
		return r.Label
	}
	return r.Type
}

func shareDigest(a, b *EventReference) bool {
	for bank, ds := range a.Digests {
		for _, d := range ds {
			if slices.ContainsFunc(b.Digests[bank], func(x string) bool { return strings.EqualFold(x, d) }) {
				return true
			}
		}
	}
	return false
}

// union adds the digests of b to a and reports whether any was new.
func union(a, b map[string][]string) (grew bool) {
	if a == nil {
		return false
	}
	for _, bank := range sortedKeys(b) {
		for _, d := range b[bank] {
			if !slices.ContainsFunc(a[bank], func(x string) bool { return strings.EqualFold(x, d) }) {
				a[bank] = append(a[bank], d)
				grew = true
			}
		}
	}
	return grew
}

// String is one line of what varies.
func (v Variation) String() string {
	if v.Label == "" {
		return fmt.Sprintf("PCR %d: %s", v.PCR, v.What)
	}
	return fmt.Sprintf("PCR %d: %s: %s", v.PCR, v.Label, v.What)
}
