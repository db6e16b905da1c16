package assay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/internal/ids"
)

// deviation is one thing that a record holds against a unit.
type deviation struct {
	code       finding.Code
	designator string // empty: the unit as a whole
	want, got  string
	why        string
	doubtful   bool // the inspector was not sure
}

// deviations lists what a record holds against its unit, after more. A record that lists none
// and calls its result a deviation has one, of the unit as a whole.
func deviations(r *inspection.Record, more ...deviation) []deviation {
	out := more
	code := finding.InspectionDeviation
	if r.Technique.Electrical() {
		code = finding.ElectricalDeviation
	}
	for _, p := range r.Places {
		if d, ok := deviationAt(p); ok {
			out = append(out, d)
		}
	}
	for _, m := range r.Measurements {
		if outside, err := m.Outside(); err != nil || outside {
			out = append(out, deviation{
				code: finding.ElectricalDeviation, want: strings.TrimSpace(fmt.Sprintf("%s from %s to %s %s", m.Name, cmp.Or(m.Low, "any"), cmp.Or(m.High, "any"), m.Unit)),
				got: strings.TrimSpace(m.Value + " " + m.Unit), why: "the measurement lies outside the baseline's range",
			})
		}
	}
	if r.Result == inspection.Deviates && len(out) == 0 {
		out = append(out, deviation{code: code, want: "as " + r.Reference.ID, got: "a deviation that the record does not place", why: cmp.Or(r.Note, "the record's own result is that the unit deviates")})
	}
	return out
}

func deviationAt(p inspection.Place) (deviation, bool) {
	seen := cmp.Or(strings.TrimSpace(p.PartNumber+" "+p.Marking), "a part")
	d := deviation{code: finding.InspectionDeviation, designator: p.Designator, doubtful: p.Confidence == "low"}
	switch p.Observed {
	case inspection.Extra:
		d.want, d.got, d.why = "no part", seen, "a part sits where the design has none"
	case inspection.Missing:
		d.want, d.got, d.why = "a part", "none", "no part sits where the design has one"
	case inspection.Other:
		d.want, d.got, d.why = "the part of the design", seen, "another part than the design's sits there"
	case inspection.Rework:
		d.want, d.got, d.why = "as produced", "reworked", "somebody soldered there after production"
	case inspection.Value:
		d.code, d.want, d.got, d.why = finding.ElectricalDeviation, "the value of the baseline", cmp.Or(p.Note, "another value"), "the electrical value is not the baseline's"
	default:
		return deviation{}, false
	}
	if p.Note != "" {
		d.why += ": " + p.Note
	}
	return d, true
}

// undeclared holds what the inspector saw in its place against the manifest: a part
// at a place that a complete list of parts does not have, as a footprint that is
// left empty, or a part with another number than the line's.
func (a *inspector) undeclared(r *inspection.Record) []deviation {
	declared := map[string]*bom.Reference{}
	for i := range a.golden.Components {
		for _, d := range designatorsOf(&a.golden.Components[i]) {
			declared[d] = &a.golden.Components[i]
		}
	}
	whole := a.golden.Classes[bom.Electronic] == bom.Closed
	var out []deviation
	for _, p := range r.Places {
		line := declared[p.Designator]
		d := deviation{code: finding.InspectionDeviation, designator: p.Designator, doubtful: p.Confidence == "low", got: cmp.Or(strings.TrimSpace(p.PartNumber+" "+p.Marking), "a part")}
		switch {
		case p.Observed != inspection.Placed:
		case line == nil && whole:
			d.want, d.why = "no part", "a part sits at a place that the manifest, which lists every part of the board, leaves empty"
			out = append(out, d)
		case line != nil && line.Verifiability == bom.PhysicalOnly && p.PartNumber != "" && !isPart(line, p.PartNumber):
			d.want, d.why = bom.Describe(line.Identity), "the inspector identified another part than the manifest declares, and no approved alternate"
			out = append(out, d)
		}
	}
	return out
}

// isPart reports whether a part number is the line's or an approved alternate's. A
// line without one accepts any.
func isPart(r *bom.Reference, number string) bool {
	for _, id := range append([]bom.Identity{r.Identity}, r.Alternates...) {
		want := cmp.Or(id.PartNumber, id.Model)
		if want == "" || ids.Key(want) == ids.Key(number) {
			return true
		}
	}
	return false
}

// deviates tells what a record holds against this unit.
func (a *inspector) deviates(l *look) {
	for _, d := range l.deviations {
		f := finding.New(d.code, "place:"+cmp.Or(d.designator, l.Unit.Kind))
		f.Location.Designator = d.designator
		f.Want, f.Got = d.want, d.got
		f.Why = fmt.Sprintf("%s (%s by %s, %s, record %s)", d.why, l.Technique, l.Operator.Organization, l.PerformedAt.UTC().Format("2006-01-02"), l.ID)
		f.Sources = []finding.Source{finding.Physical}
		f.Basis = []finding.Basis{{Artifact: "inspection/" + l.ID, SHA256: l.opened.Report().SHA256}}
		if d.doubtful {
			f.Confidence = finding.Weak
		}
		if l.Technique == inspection.TamperSeal {
			a.inspected.seals = append(a.inspected.seals, f.Subject)
		}
		a.found = append(a.found, l.weigh(f))
	}
}

// weigh lowers what a record says that is not trusted: a question for a person.
func (l *look) weigh(f finding.Finding) finding.Finding {
	if !l.opened.Trusted() {
		f.Severity, f.Confidence = min(f.Severity, finding.Medium), finding.Weak
		f.Why += "; the record is not trusted"
	}
	return f
}

// lotDeviates tells that another unit of this one's lot deviates: what happened to
// it may have happened here, which this unit's own inspection would show.
func (a *inspector) lotDeviates(l *look) {
	if len(l.deviations) == 0 {
		return
	}
	var places []string
	for _, d := range l.deviations {
		places = append(places, strings.TrimSpace(cmp.Or(d.designator, "the unit")+" "+d.got))
	}
	slices.Sort(places)
	f := finding.New(l.deviations[0].code, "lot:"+l.Lot.ID+"/unit:"+l.Unit.Serial)
	f.Severity = finding.Medium
	f.Want, f.Got = "a lot without deviations", some(places)
	f.Why = fmt.Sprintf("%s of unit %s, of the same lot %s as this one, found a deviation (record %s)", l.Technique, l.Unit.Serial, l.Lot.ID, l.ID)
	f.Action = "Inspect this unit by the same technique."
	f.Sources = []finding.Source{finding.Physical}
	f.Basis = []finding.Basis{{Artifact: "inspection/" + l.ID, SHA256: l.opened.Report().SHA256}}
	a.found = append(a.found, l.weigh(f))
}
