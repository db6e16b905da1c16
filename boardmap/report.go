package boardmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/inspection"
)

// Input is what Compare joins. Everything but the bill of materials may be nil.
type Input struct {
	BOM       *board.BOM
	Map       *Map
	Placement *board.Placement
	Inventory *bom.Inventory
	Records   []*inspection.Opened // that the caller knows to be about this unit
}

// Report is the state of every place of a board.
type Report struct {
	Board     Board    `json:"board"`
	BOM       string   `json:"bom"`
	Evidence  bool     `json:"evidence"`               // whether there was evidence to ask
	Unit      string   `json:"unit,omitempty"`         // manufacturer/model/serial that records of inspections are about
	Measure   string   `json:"positionUnit,omitempty"` // of positions: "mm", "mil" or "in"
	Coverage  Coverage `json:"coverage"`
	Places    []Place  `json:"places"`
	Inspect   []Place  `json:"inspect"` // for eyes, X-rays or probes, in the order of a walk over the board
	Warnings  []string `json:"warnings"`
	placement *board.Placement
}

// Place is one designator.
type Place struct {
	Designator string    `json:"designator"`
	Class      string    `json:"class"` // kind of part, by the letters of its designator
	Part       string    `json:"part,omitempty"`
	State      State     `json:"state"`
	Level      Level     `json:"level,omitempty"` // what its confirmation rests on, or could rest on
	Why        string    `json:"why"`
	Handle     string    `json:"handle,omitempty"`
	Doubtful   bool      `json:"doubtful,omitempty"` // contradicted by a record alone that is not trusted
	Position   *Position `json:"position,omitempty"`

	chip  bool
	empty bool // an inspection that counts saw it empty
}

// Position is where the part sits, in the unit of the pick-and-place file.
type Position struct {
	X        float64 `json:"x"`
	Y        float64 `json:"y"`
	Rotation float64 `json:"rotation"`
	Side     string  `json:"side,omitempty"`
}

// Coverage says how many of the fitted lines software can confirm at all, by what
// that would rest on, and with evidence how many it did. Ratio is the first, in
// thousandths of all fitted places: the verifiability of the bill of materials.
type Coverage struct {
	Fitted    int             `json:"fitted"`
	NotFitted int             `json:"notFitted"`
	Can       map[Level]int   `json:"can"`
	Confirmed map[Level]int   `json:"confirmed,omitempty"`
	States    map[State]int   `json:"states"`
	Ratio     int             `json:"ratioPerMille"`
	Classes   []ClassCoverage `json:"classes"`
}

// ClassCoverage is the same for one kind of part.
type ClassCoverage struct {
	Class     string        `json:"class"`
	Fitted    int           `json:"fitted"`
	Can       map[Level]int `json:"can"`
	Confirmed int           `json:"confirmed"`
}

// Compare tells of every place of a board what software and inspections saw.
func Compare(in Input) *Report {
	m := in.Map
	if in.Placement == nil {
		in.Placement = placementOf(in.BOM)
	}
	if m == nil {
		m = Draft(in.BOM, nil)
	}
	r := &Report{Board: m.Board, BOM: base(in.BOM.Name), Evidence: in.Inventory != nil, Places: []Place{}, Inspect: []Place{}, Warnings: []string{}, placement: in.Placement}
	packages, mapped := map[string]*Package{}, map[string]bool{}
	for i := range m.Packages {
		for _, d := range m.Packages[i].Designators {
			packages[d] = &m.Packages[i]
		}
	}
	for i, p := range in.BOM.Parts {
		if i > 0 && in.BOM.Parts[i-1].Designator == p.Designator {
			r.warn("%s stands twice in the bill of materials", p.Designator)
			continue
		}
		mapped[p.Designator] = true
		r.Places = append(r.Places, r.place(p, packages[p.Designator], in))
	}
	for _, d := range slices.Sorted(mapKeys(packages)) {
		if !mapped[d] {
			r.warn("the board map has %s, the bill of materials does not", d)
		}
	}
	r.positions(in.Placement)
	r.inspections(in.Records)
	for _, w := range in.BOM.Warnings {
		r.warn("%s row %d: %s", base(in.BOM.Name), w.Row, w.Why)
	}
	r.cover()
	r.walk()
	return r
}

func mapKeys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (r *Report) warn(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// place judges one line by the map and the evidence.
func (r *Report) place(p board.Part, k *Package, in Input) Place {
	class, chip := board.KindOf(p.Designator)
	out := Place{Designator: p.Designator, Class: class, chip: chip, Part: strings.Join(strings.Fields(p.Maker+" "+cmp.Or(p.PartNumber, p.Value)), " ")}
	switch {
	case p.NotFitted && k != nil && len(k.Handles) > 0:
		out.State, out.Why = NotFitted, "not fitted, though the map gives it a handle"
		r.warn("%s is not fitted, and the board map gives it a handle", p.Designator)
	case p.NotFitted:
		out.State, out.Why = NotFitted, "the bill of materials leaves it out"
	case k == nil || len(k.Handles) == 0:
		out.State, out.Level, out.Why = NotObservable, PhysicalOnly, "it answers on no bus"
		if chip && (k == nil || k.Open != "") {
			out.Level, out.Why = Undecided, "nobody has said whether it answers, and how"
		}
	default:
		a, h := k.askAll(in.Inventory)
		out.State, out.Level, out.Why = a.state, cmp.Or(a.level, h.strength()), a.why
		out.Handle = strings.TrimSpace(string(h.Kind) + " " + h.At)
	}
	if k != nil && !p.NotFitted && k.PartNumber != "" && k.PartNumber != p.PartNumber && k.PartNumber != p.Value {
		r.warn("%s is %s in the board map and %s in the bill of materials", p.Designator, k.PartNumber, cmp.Or(p.PartNumber, p.Value, "nothing"))
	}
	return out
}

// positions joins the pick-and-place file. A part that the machine places and the
// bill of materials leaves out is told, and the other way round.
func (r *Report) positions(p *board.Placement) {
	if p == nil {
		return
	}
	r.Measure = p.Unit
	for _, w := range p.Warnings {
		r.warn("%s row %d: %s", base(p.Name), w.Row, w.Why)
	}
	at := map[string]board.Placed{}
	for _, x := range p.Places {
		at[x.Designator] = x
	}
	var unplaced, empty, strange []string
	for i := range r.Places {
		x, ok := at[r.Places[i].Designator]
		if !ok {
			if r.Places[i].State != NotFitted {
				unplaced = append(unplaced, r.Places[i].Designator)
			}
			continue
		}
		delete(at, x.Designator)
		r.Places[i].Position = &Position{x.X, x.Y, x.Rotation, x.Side}
		if r.Places[i].State == NotFitted {
			empty = append(empty, x.Designator)
		}
	}
	for _, x := range p.Places {
		if _, left := at[x.Designator]; left {
			strange = append(strange, x.Designator)
			class, chip := board.KindOf(x.Designator)
			r.Places = append(r.Places, Place{
				Designator: x.Designator, Class: class, chip: chip, Part: x.Value, State: NotFitted,
				Why: "placed, and not in the bill of materials", Position: &Position{x.X, x.Y, x.Rotation, x.Side},
			})
		}
	}
	for _, w := range []struct {
		list []string
		why  string
	}{
		{empty, "placed by %s on a footprint that the bill of materials leaves empty: %s"},
		{strange, "placed by %s and not in the bill of materials: %s"},
		{unplaced, "in the bill of materials and not placed by %s, so without a position: %s"},
	} {
		if len(w.list) > 0 {
			r.warn(w.why, base(p.Name), strings.Join(w.list, ", "))
		}
	}
}

// inspections adds what records show. A deviation contradicts the place, of a
// record that is not trusted with doubt; a clean place counts only from one that
// is trusted and came to the result that the unit conforms.
func (r *Report) inspections(records []*inspection.Opened) {
	at := map[string]int{}
	for i := range r.Places {
		at[r.Places[i].Designator] = i
	}
	for _, o := range records {
		rec := o.Record()
		if rec == nil {
			r.warn("an inspection record cannot be read: %s", o.Report().Findings[0].Why)
			continue
		}
		r.Unit = strings.Join([]string{rec.Unit.Manufacturer, rec.Unit.Model, rec.Unit.Serial}, "/")
		if !o.Trusted() {
			r.warn("inspection %s is not trusted: it can only raise questions", rec.ID)
		}
		said := map[string]string{}
		for _, p := range rec.Places {
			said[p.Designator] = p.Observed
			i, known := at[p.Designator]
			if !known {
				i = len(r.Places)
				at[p.Designator] = i
				class, chip := board.KindOf(p.Designator)
				r.Places = append(r.Places, Place{Designator: p.Designator, Class: class, chip: chip, State: NotFitted, Why: "not in the bill of materials"})
			}
			r.seen(&r.Places[i], p, o)
		}
		if o.Trusted() && rec.Coverage == inspection.Complete && rec.Result == inspection.Conforms && rec.Technique.SeesParts() {
			for i := range r.Places {
				if _, listed := said[r.Places[i].Designator]; !listed {
					r.seen(&r.Places[i], inspection.Place{Observed: inspection.Placed}, o)
				}
			}
		}
	}
}

// seen applies what one record says of one place.
func (r *Report) seen(p *Place, s inspection.Place, o *inspection.Opened) {
	by := fmt.Sprintf("%s by %s, record %s", o.Record().Technique, o.Record().Operator.Organization, o.Record().ID)
	deviates := s.Observed != inspection.Placed || s.Designator != "" && p.State == NotFitted
	switch {
	case deviates:
		doubt := !o.Trusted() || s.Confidence == "low"
		if p.State == Contradicted && !p.Doubtful {
			return
		}
		p.State, p.Doubtful = Contradicted, doubt
		what := map[string]string{inspection.Extra: "a part where the design has none", inspection.Placed: "a part where the design has none", inspection.Missing: "no part", inspection.Other: "another part", inspection.Rework: "rework", inspection.Value: "another electrical value"}[s.Observed]
		p.Why = strings.TrimSpace(what+" "+strings.TrimSpace(s.PartNumber+" "+s.Marking)) + " (" + by + ")"
	case p.State == NotFitted:
		p.empty = true
	case o.Trusted() && o.Record().Result == inspection.Conforms && s.Confidence != "low" && (p.State == NotObservable || p.State == NotChecked):
		p.State, p.Why = Inspected, by
	}
}

// cover counts.
func (r *Report) cover() {
	c := &r.Coverage
	c.Can, c.States, c.Classes = map[Level]int{}, map[State]int{}, []ClassCoverage{}
	if r.Evidence {
		c.Confirmed = map[Level]int{}
	}
	at := map[string]int{}
	for _, p := range r.Places {
		c.States[p.State]++
		if p.Level == "" {
			if p.State == NotFitted {
				c.NotFitted++
			}
			continue
		}
		if _, ok := at[p.Class]; !ok {
			at[p.Class] = len(c.Classes)
			c.Classes = append(c.Classes, ClassCoverage{Class: p.Class, Can: map[Level]int{}})
		}
		k := &c.Classes[at[p.Class]]
		c.Fitted++
		k.Fitted++
		c.Can[p.Level]++
		k.Can[p.Level]++
		if p.State == Matched {
			c.Confirmed[p.Level]++
			k.Confirmed++
		}
	}
	if c.Fitted > 0 {
		c.Ratio = 1000 * (c.Can[Cryptographic] + c.Can[Observed] + c.Can[Claimed]) / c.Fitted
	}
	can := func(k ClassCoverage) int { return k.Fitted - k.Can[PhysicalOnly] }
	slices.SortStableFunc(c.Classes, func(a, b ClassCoverage) int {
		return cmp.Or(cmp.Compare(can(b), can(a)), cmp.Compare(a.Class, b.Class))
	})
}

// walk lists what has to be looked at: every contradiction, chips and modules that
// neither software nor an inspection has shown, and the places of chips that have
// to be empty, where an added part would find a footprint. Of silent passive parts
// there are hundreds; a complete inspection covers them.
func (r *Report) walk() {
	for _, p := range r.Places {
		switch p.State {
		case Contradicted:
		case NotObservable, NotChecked, Present:
			if !p.chip {
				continue
			}
		case NotFitted:
			if !p.chip || p.empty {
				continue
			}
			p.Why = "has to be empty: " + p.Why
		default:
			continue
		}
		r.Inspect = append(r.Inspect, p)
	}
	slices.SortStableFunc(r.Inspect, r.before)
}

// before orders a walk: top before bottom, rows of ten millimetres from the upper
// edge down, each from left to right; parts without a position come last.
func (r *Report) before(a, b Place) int {
	row := func(p Place) (side, row int, x float64) {
		if p.Position == nil {
			return 3, 0, 0
		}
		y, x := p.Position.Y, p.Position.X
		if r.placement != nil {
			y, x = r.placement.Millimetres(y), r.placement.Millimetres(x)
		}
		return slices.Index([]string{"top", "bottom", ""}, p.Position.Side), -int(y+1e8) / 10, x
	}
	as, ar, ax := row(a)
	bs, br, bx := row(b)
	return cmp.Or(cmp.Compare(as, bs), cmp.Compare(ar, br), cmp.Compare(ax, bx), board.CompareDesignators(a.Designator, b.Designator))
}
