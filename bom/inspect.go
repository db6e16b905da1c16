package bom

import (
	"cmp"
	"slices"
)

// Unseen is a declared part that no bus can show and no inspection has shown: it
// is for eyes, X-rays or probes.
type Unseen struct {
	Class      Class    `json:"class"`
	Subject    string   `json:"subject"`
	Designator string   `json:"designator,omitempty"`
	Position   Position `json:"position,omitzero"`
	Part       string   `json:"part,omitempty"` // what should be there
}

// Inspected settles lines that no bus can show: those that seen accepts count as
// matched by inspection, the others are returned in the order of a walk over the
// board. It is called once, with the lines that were matched.
func (c *Comparison) Inspected(want []Reference, seen func(*Reference) bool) []Unseen {
	var left []Unseen
	unseen, shown := map[string]bool{}, map[string]bool{}
	for i := range want {
		r := &want[i]
		if r.Verifiability != PhysicalOnly {
			continue
		}
		what := string(r.Class) + " " + cmp.Or(r.Subject, r.ID)
		if !seen(r) {
			unseen[what] = true
			left = append(left, Unseen{r.Class, cmp.Or(r.Subject, r.ID), r.Location.Designator, r.Position, Describe(r.Identity)})
			continue
		}
		shown[what] = true
		n := max(1, min(r.Quantity, maxQuantity))
		at := slices.IndexFunc(c.Coverage, func(k Coverage) bool { return k.Class == r.Class })
		if at >= 0 {
			c.Coverage[at].Matched += n
			c.Coverage[at].Inspected += n
			c.Coverage[at].NotObservable -= n
		}
	}
	c.NotChecked = slices.DeleteFunc(c.NotChecked, func(n NotChecked) bool {
		return n.Reason == physicalReason && shown[n.What] && !unseen[n.What]
	})
	slices.SortStableFunc(left, func(a, b Unseen) int {
		return cmp.Or(a.Position.compare(b.Position), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Designator, b.Designator), cmp.Compare(a.Subject, b.Subject))
	})
	return left
}

// Position is where a part sits on its board, from a pick-and-place file: whole
// micrometres and millidegrees, since a signed document holds no fractions.
type Position struct {
	Side     string `json:"side,omitempty"` // "top" or "bottom"
	X        int64  `json:"x"`              // micrometres from the file's origin
	Y        int64  `json:"y"`
	Rotation int64  `json:"rotation,omitempty"` // millidegrees, counter-clockwise
}

// compare orders positions as one walks a board: the top before the bottom, rows
// of a centimetre from far to near, each from left to right. Parts without a
// position come last.
func (p Position) compare(o Position) int {
	const row = 10_000
	side := func(p Position) int { return slices.Index([]string{"top", "bottom", ""}, p.Side) }
	return cmp.Or(cmp.Compare(side(p), side(o)), cmp.Compare(floor(o.Y, row), floor(p.Y, row)), cmp.Compare(p.X, o.X), cmp.Compare(o.Y, p.Y))
}

func floor(v, by int64) int64 {
	if v < 0 {
		v -= by - 1
	}
	return v / by
}
