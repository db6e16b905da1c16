package assay

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/internal/ids"
)

// inspectionRule asks for records of physical inspections: of this unit, or, with
// a sample, of so many units of its lot.
type inspectionRule struct {
	Technique   []inspection.Technique `json:"technique" yaml:"technique"`                         // one of them
	Classes     []bom.Class            `json:"classes,omitempty" yaml:"classes,omitempty"`         // every line of these that no bus can show has to be shown
	Sample      *sample                `json:"sample,omitempty" yaml:"sample,omitempty"`           // nil: the unit itself
	MaxAge      Duration               `json:"maxAge,omitempty" yaml:"maxAge,omitempty"`           // 0: any
	Attachments bool                   `json:"attachments,omitempty" yaml:"attachments,omitempty"` // only records whose attachments are at hand count
}

// sample is how many units of a lot have to be inspected: the largest number that
// its fields ask for.
type sample struct {
	OneIn   int64 `json:"oneIn,omitempty" yaml:"oneIn,omitempty"`     // one unit in so many, rounded up
	Percent int64 `json:"percent,omitempty" yaml:"percent,omitempty"` // rounded up
	Min     int64 `json:"min,omitempty" yaml:"min,omitempty"`         // at least, and the whole lot when that is smaller
}

// of is how many units of a lot of this size the sample is.
func (s *sample) of(size int64) int64 {
	n := int64(1)
	if s.OneIn > 0 {
		n = max(n, (size+s.OneIn-1)/s.OneIn)
	}
	n = max(n, (size*s.Percent+99)/100)
	return max(n, min(s.Min, size))
}

func (r *inspectionRule) check() error {
	if len(r.Technique) == 0 {
		return errors.New("technique is missing")
	}
	for _, t := range r.Technique {
		if !t.Known() {
			return fmt.Errorf("unknown technique %q", t)
		}
	}
	s := r.Sample
	switch {
	case s == nil:
		return nil
	case len(r.Classes) > 0:
		return errors.New("classes are lines of the unit itself, and a sample is of others")
	case s.OneIn == 0 && s.Percent == 0 && s.Min == 0:
		return errors.New("sample: one of oneIn, percent and min is needed")
	case s.OneIn < 0 || s.Min < 0 || s.Percent < 0 || s.Percent > 100:
		return errors.New("sample: a number is negative, or more than 100 percent")
	}
	return nil
}

// required holds the records against the policy's rules.
func (a *inspector) required() []Required {
	var out []Required
	for i := range a.Policy.Inspections {
		r := &a.Policy.Inspections[i]
		proved, why := false, ""
		if r.Sample == nil {
			proved, why = a.unitInspected(r)
		} else {
			proved, why = a.lotInspected(r)
		}
		out = append(out, Required{What: RequireInspection, Proved: proved, Reason: why})
	}
	return out
}

// RequireInspection is the name under which a result lists the rules of
// Policy.Inspections.
const RequireInspection Requirement = "inspection"

// fits reports why a record that counts is none for a rule.
func (a *inspector) fits(r *inspectionRule, l *look) string {
	age := a.Now.Sub(l.PerformedAt)
	switch {
	case l.deviated():
		return l.ID + " found a deviation of unit " + l.Unit.Serial
	case r.MaxAge > 0 && age > time.Duration(r.MaxAge):
		return fmt.Sprintf("%s is stale: performed %d days ago, the policy allows %d", l.ID, int(age.Hours()/24), int(time.Duration(r.MaxAge).Hours()/24))
	case l.Coverage != inspection.Complete:
		return l.ID + " covers a part of the unit only"
	case l.Result != inspection.Conforms:
		return l.ID + " came to no result"
	case r.Attachments && l.attached < len(l.Attachments):
		return fmt.Sprintf("%d attachments of %s are not at hand or not what was signed", len(l.Attachments)-l.attached, l.ID)
	}
	return ""
}

// deviated reports a record that holds something against its unit.
func (l *look) deviated() bool { return len(l.deviations) > 0 || l.Result == inspection.Deviates }

// candidates are the records by the rule's techniques that count for the unit or
// for its lot.
func (a *inspector) candidates(r *inspectionRule) []*look {
	return slices.DeleteFunc(slices.Clone(a.looks), func(l *look) bool {
		return l.Record == nil || l.counts == countsNo || !slices.Contains(r.Technique, l.Technique)
	})
}

func (r *inspectionRule) name() string {
	var names []string
	for _, t := range r.Technique {
		names = append(names, string(t))
	}
	return strings.Join(names, " or ")
}

func (a *inspector) unitInspected(r *inspectionRule) (bool, string) {
	var open, against []string
	id := ""
	for _, l := range a.candidates(r) {
		if l.counts != countsUnit {
			continue
		}
		switch why := a.fits(r, l); {
		case why == "":
			id = cmp.Or(id, l.ID)
		case l.deviated():
			against = append(against, why)
		default:
			open = append(open, why)
		}
	}
	slices.Sort(open)
	slices.Sort(against)
	if len(against) > 0 {
		return false, some(against)
	}
	if id == "" {
		return false, "no trusted record of " + r.name() + " is about this unit and shows it in order" + detail(open)
	}
	for _, u := range a.result.ToInspect {
		if slices.Contains(r.Classes, u.Class) {
			return false, fmt.Sprintf("no record shows %s %s", u.Class, cmp.Or(u.Designator, u.Subject))
		}
	}
	return true, r.name() + " of this unit, record " + id
}

func detail(open []string) string {
	if len(open) == 0 {
		return ""
	}
	return ": " + some(open)
}

// lotInspected counts the distinct units of this unit's lot that were inspected.
func (a *inspector) lotInspected(r *inspectionRule) (bool, string) {
	if len(a.lots) != 1 {
		return false, map[bool]string{true: "no trusted record says of which lot this unit is", false: "trusted records name several lots for this unit"}[len(a.lots) == 0]
	}
	var size int64
	for _, n := range a.lots {
		size = n
	}
	need, units := r.Sample.of(size), map[string]bool{}
	var open, against []string
	lot := ""
	for _, l := range a.candidates(r) {
		if l.Lot == nil || a.lots[lotKey(l.Record)] == 0 {
			continue
		}
		lot = l.Lot.ID
		switch why := a.fits(r, l); {
		case why == "":
			units[ids.Key(l.Unit.Serial)] = true
		case l.deviated():
			against = append(against, why)
		default:
			open = append(open, why)
		}
	}
	slices.Sort(open)
	slices.Sort(against)
	n := int64(len(units))
	switch {
	case len(against) > 0:
		return false, some(against)
	case n < need:
		return false, fmt.Sprintf("%s of %d units of the lot, which has %d; %d are needed", r.name(), n, size, need) + detail(open)
	}
	return true, fmt.Sprintf("%s of %d units of the lot %s, which has %d; %d are needed", r.name(), n, lot, size, need)
}
