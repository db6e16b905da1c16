package assay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/internal/ids"
)

// Inspections are records of physical inspections, of this unit and of its lot.
// Inspected makes them. A program that has none does not carry what judges them,
// for which the bootable scanner has no room.
type Inspections interface{ judge(*appraisal) }

// Inspected prepares records for a Case.
func Inspected(rs ...*inspection.Opened) Inspections { return records(rs) }

type records []*inspection.Opened

func (r records) judge(a *appraisal) {
	i := &inspector{appraisal: a, records: r}
	i.inspections()
	i.conclude()
}

// inspector judges the records of one appraisal.
type inspector struct {
	*appraisal
	records []*inspection.Opened
	looks   []*look          // in the order of the records
	lots    map[string]int64 // lots that this unit is of, with their sizes
	seen    []*look          // complete inspections of this unit that found nothing
}

// inspected is what records of inspections show, for the rest of an appraisal.
type inspected struct {
	required  []Required
	told      []string // complete inspections of this unit that found nothing
	through   bool     // one of them saw through the board
	sameFlash bool     // a clip read the same from the flash as the machine tells
	seals     []string // subjects of findings about seals that are not as they were applied
}

// inspectParts judges what the records hold, or that there are none.
func (a *appraisal) inspectParts() {
	if a.Inspections != nil {
		a.Inspections.judge(a)
		return
	}
	a.result.ToInspect = a.parts.Inspected(a.golden.Components, func(*bom.Reference) bool { return false })
	for range a.Policy.Inspections {
		a.inspected.required = append(a.inspected.required, Required{What: RequireInspection, Reason: "no record of an inspection was given"})
	}
}

// conclude hands on what the records show.
func (a *inspector) conclude() {
	out := &a.inspected
	out.required = a.required()
	for _, l := range a.seen {
		out.told = append(out.told, fmt.Sprintf("%s by %s on %s found nothing", l.Technique, l.Operator.Organization, l.PerformedAt.UTC().Format(time.DateOnly)))
		out.through = out.through || l.Technique == inspection.XRay || l.Technique == inspection.CT
	}
	out.sameFlash = slices.ContainsFunc(a.looks, func(l *look) bool { return l.sameFlash && l.counts == countsUnit && !a.staleLook(l) })
}

// look is one record while it is judged.
type look struct {
	*inspection.Record
	opened     *inspection.Opened
	counts     string // for whom the record may help: countsUnit, countsLot, or nobody
	own        bool   // it is about this unit, whoever signed it
	deviations []deviation
	attached   int // attachments that are what was signed
	sameFlash  bool
}

// For whom a record counts.
const (
	countsUnit = "unit"
	countsLot  = "lot"
	countsNo   = "no"
)

// inspections judges the records. One that is not trusted, or is not about this
// unit, never helps; what a record about this unit holds against it is told
// whoever signed it.
func (a *inspector) inspections() {
	a.lots = a.lotsOfUnit()
	for _, o := range a.records {
		l := &look{Record: o.Record(), opened: o, counts: countsNo}
		rep := o.Report()
		use := inspection.Use{SHA256: rep.SHA256, ID: rep.ID, Signers: nonNil(rep.Signers), Status: rep.Status, Counts: countsNo}
		for _, f := range rep.Findings {
			f.Severity = min(f.Severity, finding.Medium)
			f.Why += "; the record does not count"
			a.found = append(a.found, f)
		}
		for _, n := range rep.NotChecked {
			a.skip(n.What, n.Reason)
		}
		if l.Record != nil {
			a.look(l, &use)
		}
		if use.Reason != "" {
			a.skip(inspectionName(use), use.Reason)
		}
		a.result.Inspections = append(a.result.Inspections, use)
		a.looks = append(a.looks, l)
	}
	a.settleLines()
}

func inspectionName(u inspection.Use) string {
	return "inspection " + cmp.Or(u.ID, u.SHA256[:12])
}

// look judges one record that can be read.
func (a *inspector) look(l *look, use *inspection.Use) {
	use.Technique, use.Unit = string(l.Technique), strings.Join([]string{l.Unit.Manufacturer, l.Unit.Model, l.Unit.Serial}, "/")
	use.PerformedAt, use.Operator = l.PerformedAt.UTC(), l.Operator.Organization+", "+l.Operator.Person
	use.Result, use.Coverage, use.Attachments = l.Result, l.Coverage, len(l.Attachments)
	if l.Lot != nil {
		use.Lot = l.Lot.ID
	}
	for _, at := range l.Attachments {
		if _, trouble := l.opened.Attached(at.Name); trouble != "" {
			a.skip(fmt.Sprintf("attachment %s of %s", at.Name, inspectionName(*use)), trouble)
			continue
		}
		l.attached++
	}
	use.Verified = l.attached
	about, why := a.about(l.Record)
	if l.PerformedAt.After(a.Now.Add(clockSkew)) {
		about, why = countsNo, "it is dated "+l.PerformedAt.UTC().Format(time.RFC3339)+", after the time of this appraisal"
	}
	switch about {
	case countsUnit:
		l.own = true
		l.deviations = deviations(l.Record, a.undeclared(l.Record)...)
		a.deviates(l)
		a.dumps(l)
	case countsLot:
		l.deviations = deviations(l.Record)
		a.lotDeviates(l)
	}
	use.Deviations = len(l.deviations)
	switch due := l.Instrument.CalibrationDue; {
	case about == countsNo:
		use.Reason = why
	case !l.opened.Trusted():
		use.Reason = "nobody who may signed it"
	case !due.IsZero() && l.PerformedAt.After(due):
		use.Reason = "the calibration of the instrument had run out " + due.UTC().Format(time.DateOnly)
	default:
		l.counts, use.Counts = about, about
	}
}

// about says whether a record is about this unit, about one of its lot, or about
// neither, and why.
func (a *inspector) about(r *inspection.Record) (counts, why string) {
	model := func(maker, model string) bool {
		return ids.SameMaker(r.Unit.Manufacturer, maker) && ids.Key(r.Unit.Model) == ids.Key(model)
	}
	units := a.unitsOfKind(r.Unit.Kind)
	if len(units) == 0 {
		return countsNo, "the evidence does not name the " + r.Unit.Kind + " that it would be about"
	}
	why = fmt.Sprintf("it is about another %s, %s %s serial %s", r.Unit.Kind, r.Unit.Manufacturer, r.Unit.Model, r.Unit.Serial)
	for _, u := range units {
		switch {
		case !model(u.Manufacturer, u.Model):
		case r.Unit.Revision != "" && u.Revision != "" && ids.Key(r.Unit.Revision) != ids.Key(u.Revision):
			why = fmt.Sprintf("it is about revision %s of the %s, this is %s", r.Unit.Revision, r.Unit.Kind, u.Revision)
		case u.Serial == "":
			why = "the evidence has no serial number to tie it to"
		case ids.Key(u.Serial) == ids.Key(r.Unit.Serial):
			return countsUnit, ""
		case r.Lot != nil && (a.lots[lotKey(r)] > 0 || slices.ContainsFunc(r.Lot.Serials, func(s string) bool { return ids.Key(s) == ids.Key(u.Serial) })):
			return countsLot, ""
		}
	}
	return countsNo, why
}

// unitsOfKind are the machine or its boards, as the evidence names them. A serial
// number that is a placeholder names nothing.
func (a *inspector) unitsOfKind(kind string) []inspection.Unit {
	var out []inspection.Unit
	add := func(maker, model, revision, serial string) {
		if _, fake := ids.Placeholder(serial); fake {
			serial = ""
		}
		if maker != "" && model != "" {
			out = append(out, inspection.Unit{Kind: kind, Manufacturer: maker, Model: model, Revision: revision, Serial: serial})
		}
	}
	if p := a.result.Platform; kind == "machine" {
		add(p.Manufacturer, p.Model, a.golden.Environment.Revision, p.Serial)
		return out
	}
	for _, p := range a.inventory.ByClass(bom.Baseboard) {
		for _, name := range slices.Compact([]string{p.Identity.Model, p.Identity.PartNumber}) {
			add(p.Identity.Maker, name, p.Identity.Revision, p.Identity.Serial)
		}
	}
	return out
}

// lotKey names a lot: its id means something for one model of one maker only.
func lotKey(r *inspection.Record) string {
	return strings.Join([]string{r.Unit.Kind, ids.MakerKey(r.Unit.Manufacturer), ids.Key(r.Unit.Model), ids.Key(r.Lot.ID)}, "\x00")
}

// lotsOfUnit finds the lots that this unit is of, with their sizes: a trusted
// record about the unit names its lot, or one about another unit lists this one's
// serial number. Of several sizes the largest counts, which asks for most.
func (a *inspector) lotsOfUnit() map[string]int64 {
	out := map[string]int64{}
	for range 2 { // a size may stand in a record that needs the lot to be known
		for _, o := range a.records {
			r := o.Record()
			if !o.Trusted() || r.Lot == nil || r.PerformedAt.After(a.Now.Add(clockSkew)) {
				continue
			}
			a.lots = out
			if about, _ := a.about(r); about != countsNo {
				out[lotKey(r)] = max(out[lotKey(r)], r.Lot.Size)
			}
		}
	}
	return out
}

// settleLines marks lines that no bus can show as shown where a record counts for
// this unit, was fresh enough for the policy and has nothing against the place.
func (a *inspector) settleLines() {
	shown, against := map[string]bool{}, map[string]bool{}
	complete := false
	for _, l := range a.looks {
		if !l.own {
			continue
		}
		for _, d := range l.deviations {
			against[d.designator] = true
		}
		if l.counts != countsUnit || a.staleLook(l) || l.Result != inspection.Conforms {
			continue
		}
		if l.Technique.SeesParts() && l.Coverage == inspection.Complete && len(l.deviations) == 0 {
			complete = true
			a.seen = append(a.seen, l)
		}
		for _, p := range l.Places {
			if p.Observed == inspection.Placed && (l.Technique.SeesParts() || l.Technique == inspection.BoundaryScan) && p.Confidence != "low" {
				shown[p.Designator] = true
			}
		}
	}
	if complete {
		a.parts.NotChecked = slices.DeleteFunc(a.parts.NotChecked, func(n bom.NotChecked) bool { return n.What == "class "+string(bom.Electronic) })
	}
	a.result.ToInspect = a.parts.Inspected(a.golden.Components, func(r *bom.Reference) bool {
		places := designatorsOf(r)
		return len(places) > 0 && !against[""] && !slices.ContainsFunc(places, func(d string) bool { return against[d] || !complete && !shown[d] })
	})
}

// staleLook reports a record that is older than every policy rule about its
// technique allows. Without such a rule it does not age.
func (a *inspector) staleLook(l *look) bool {
	named := false
	for _, r := range a.Policy.Inspections {
		if slices.Contains(r.Technique, l.Technique) {
			named = true
			if r.MaxAge == 0 || a.Now.Sub(l.PerformedAt) <= time.Duration(r.MaxAge) {
				return false
			}
		}
	}
	return named
}

// designatorsOf lists the places of a line, as capital letters.
func designatorsOf(r *bom.Reference) []string {
	d := strings.ToUpper(r.Location.Designator)
	if all, err := bom.Designators(d); err == nil {
		return all
	}
	return []string{d}
}

// dumps holds flash contents that were read with a clip against what the machine
// gave of the same part.
func (a *inspector) dumps(l *look) {
	for _, at := range l.Attachments {
		data, trouble := l.opened.Attached(at.Name)
		if at.Flash == "" || trouble != "" || data == nil {
			continue
		}
		i := slices.IndexFunc(a.images, func(m *firmware.Image) bool { return m.Name == at.Flash })
		if i < 0 {
			a.skip("clip dump "+at.Name+" of the flash "+at.Flash, "the evidence has no image of that name to hold it against")
			continue
		}
		fs, open := a.images[i].Reread(data, "inspection/"+at.Name, at.SHA256)
		for _, f := range fs {
			f.Sources = append(f.Sources, finding.Physical)
			f.Why += ": what a clip reads is not what the machine tells of its flash"
			a.found = append(a.found, l.weigh(f))
		}
		for _, n := range open {
			a.skip(n.What, n.Reason)
		}
		l.sameFlash = l.sameFlash || len(fs)+len(open) == 0
	}
}
