package board

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// Change is one difference between two revisions of a board.
type Change struct {
	Change     string `json:"change"` // "added", "removed", "substituted", "revalued", "fitted", "left out", "moved", "renumbered"
	Designator string `json:"designator"`
	From       string `json:"from,omitempty"` // designator before it was renumbered
	Old        *Part  `json:"old,omitempty"`
	New        *Part  `json:"new,omitempty"`
}

// Diff compares two revisions place by place. Parts of one number that left some
// places and came to as many others, with letters that are the same, were
// renumbered; designers give the number of a part that went to another one, so
// that a place with another part counts as left and as come to.
func Diff(a, b *BOM) []Change {
	old, now := places(a), places(b)
	out := []Change{}
	var gone, fresh []Part
	for d, p := range old {
		n, ok := now[d]
		switch what := difference(p, n); {
		case !ok:
			gone = append(gone, p)
		case what == substituted:
			gone, fresh = append(gone, p), append(fresh, n)
		case what != "":
			out = append(out, Change{Change: what, Designator: d, Old: &p, New: &n})
		}
	}
	for d, p := range now {
		if _, ok := old[d]; !ok {
			fresh = append(fresh, p)
		}
	}
	same, gone, fresh := renumbered(gone, fresh)
	out = append(append(out, same...), replaced(gone, fresh)...)
	slices.SortFunc(out, func(x, y Change) int {
		return cmp.Or(compareDesignators(x.Designator, y.Designator), cmp.Compare(x.Change, y.Change))
	})
	return out
}

const substituted = "substituted"

// places maps designators to what is there; of a place that stands twice the
// first line counts, which the reader was warned of.
func places(b *BOM) map[string]Part {
	out := map[string]Part{}
	for _, p := range b.Parts {
		if _, ok := out[p.Designator]; !ok {
			out[p.Designator] = p
		}
	}
	return out
}

// identity is by what a part is told from others: the number of its maker, or
// else its value and footprint.
func identity(p Part) string {
	if n := partNumber(p); n != "" {
		return n
	}
	return "value " + key(p.Value) + " " + key(p.Footprint)
}

// partNumber is the maker's number, spelled alike. A design without a column for
// it often has maker and number as one word: "Murata_GRM155R61H104KE14D".
func partNumber(p Part) string {
	pn := p.PartNumber
	if pn == "" {
		if m := makerAndNumber.FindStringSubmatch(p.Value); m != nil {
			pn = m[1]
		}
	}
	return key(pn)
}

var makerAndNumber = regexp.MustCompile(`^[A-Za-z][A-Za-z-]{1,20}_([A-Z0-9][A-Za-z0-9./#+-]{4,})$`)

func difference(a, b Part) string {
	switch {
	case a.NotFitted != b.NotFitted && b.NotFitted:
		return "left out"
	case a.NotFitted != b.NotFitted:
		return "fitted"
	case a.NotFitted:
		return ""
	case partNumber(a) != "" && partNumber(b) != "":
		if partNumber(a) != partNumber(b) {
			return substituted
		}
	case key(a.Value) != key(b.Value) && a.Value != "" && b.Value != "":
		return "revalued"
	case partNumber(a) != partNumber(b) && !sameText(a, b):
		return substituted
	}
	if a.Layer != "" && b.Layer != "" && key(a.Layer) != key(b.Layer) {
		return "moved"
	}
	return ""
}

// sameText reports whether one revision names the part in the value that the
// other one has as its number.
func sameText(a, b Part) bool {
	return strings.Contains(key(a.Value+" "+a.PartNumber), identity(b)) || strings.Contains(key(b.Value+" "+b.PartNumber), identity(a))
}

// renumbered pairs parts that left a place with equal ones that came, and returns
// what is left of both.
func renumbered(gone, fresh []Part) (out []Change, left, came []Part) {
	group := func(ps []Part) map[string][]Part {
		out := map[string][]Part{}
		for _, p := range ps {
			k := letters(p.Designator) + " " + identity(p)
			out[k] = append(out[k], p)
		}
		for _, g := range out {
			slices.SortFunc(g, func(x, y Part) int { return compareDesignators(x.Designator, y.Designator) })
		}
		return out
	}
	before, after := group(gone), group(fresh)
	for k, ps := range before {
		qs := after[k]
		if len(qs) != len(ps) || identity(ps[0]) == "value  " {
			left = append(left, ps...)
			continue
		}
		for i := range ps {
			out = append(out, Change{Change: "renumbered", Designator: qs[i].Designator, From: ps[i].Designator, Old: &ps[i], New: &qs[i]})
		}
		delete(after, k)
	}
	for _, qs := range after {
		came = append(came, qs...)
	}
	return out, left, came
}

// replaced tells of every place what left it and what came to it.
func replaced(gone, fresh []Part) []Change {
	var out []Change
	came := map[string]*Part{}
	for i := range fresh {
		came[fresh[i].Designator] = &fresh[i]
	}
	for i := range gone {
		c := Change{Change: "removed", Designator: gone[i].Designator, Old: &gone[i], New: came[gone[i].Designator]}
		if c.New != nil {
			c.Change = substituted
			delete(came, c.Designator)
		}
		out = append(out, c)
	}
	for d, p := range came {
		out = append(out, Change{Change: "added", Designator: d, New: p})
	}
	return out
}

func letters(d string) string { return strings.TrimRight(d, "0123456789") }
