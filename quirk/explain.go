package quirk

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/manifest"
)

// Machine is what decides whether an entry is about a machine.
type Machine struct {
	Manufacturer, Model string
	Firmware            string // version of the host firmware, as it says
}

// Explainer explains findings. Lists makes one; a program that has none does not
// carry what reads them.
type Explainer interface {
	// Explain replaces each finding that an entry covers by an expected change.
	Explain(m Machine, trust *manifest.Trust, now time.Time, fs []finding.Finding) Outcome
}

// Outcome is what became of the lists.
type Outcome struct {
	Uses       []manifest.Report     // one for each list, in order
	Findings   []finding.Finding     // about the lists, and what stays unproved though explained
	NotChecked []manifest.NotChecked // entries that came close and cover nothing, and why
}

// Lists are signed lists, as files have them.
type Lists [][]byte

// Explain opens the lists and explains what their entries cover.
func (raws Lists) Explain(m Machine, trust *manifest.Trust, now time.Time, fs []finding.Finding) Outcome {
	var out Outcome
	var lists []*List
	for _, raw := range raws {
		l, rep, err := Open(raw, trust, now)
		if err != nil {
			rep.Status = "unreadable"
			f := finding.New(finding.InputMalformed, "quirk list")
			f.Got, f.Why = "sha256:"+rep.SHA256, err.Error()
			rep.Findings = append(rep.Findings, f)
		}
		for _, f := range rep.Findings {
			// What a list would have explained stands, so that this is no more.
			f.Subject, f.Severity = "quirk list", min(f.Severity, finding.Medium)
			f.Why += "; the list explains nothing"
			out.Findings = append(out.Findings, f)
		}
		out.NotChecked = append(out.NotChecked, rep.NotChecked...)
		out.Uses = append(out.Uses, rep)
		if l != nil {
			lists = append(lists, l)
		}
	}
	x := &explanation{machine: m, now: now, out: &out}
	for i := range fs {
		x.explain(lists, &fs[i])
	}
	return out
}

type explanation struct {
	machine Machine
	now     time.Time
	out     *Outcome
}

// explain looks for an entry that covers a finding. Entries that only come close
// are told when none does.
func (x *explanation) explain(lists []*List, f *finding.Finding) {
	r, ok := ruleOf(f.Code)
	if !ok || f.Severity > r.Most || !r.allows(f.Subject) || f.Code == finding.UnexpectedEvent && isCode(f.Subject) {
		return
	}
	var close []manifest.NotChecked
	for _, l := range lists {
		for i := range l.Entries {
			e := &l.Entries[i]
			about, values := e.about(f)
			if !about {
				continue
			}
			why := x.outside(l, e)
			if !values {
				why = fmt.Sprintf("it explains other values than want %q, got %q", f.Want, f.Got)
			}
			if why == "" {
				x.cover(l, e, f)
				return
			}
			close = append(close, manifest.NotChecked{What: fmt.Sprintf("quirk %s/%s for %s %s", l.ID, e.ID, f.Code, f.Subject), Reason: "covers nothing: " + why})
		}
	}
	x.out.NotChecked = append(x.out.NotChecked, close[:min(len(close), maxClose)]...)
}

// maxClose bounds what is told of entries that explain something else.
const maxClose = 8

// about reports whether an entry speaks of a finding's code and subject, and
// whether of its values.
func (e *Entry) about(f *finding.Finding) (about, values bool) {
	for _, x := range e.Explains {
		if x.Code == f.Code && fits(x.Subject, f.Subject) {
			about = true
			values = values || fits(x.Want, f.Want) && fits(x.Got, f.Got)
		}
	}
	return about, values
}

// outside says why an entry is not about this machine and this day.
func (x *explanation) outside(l *List, e *Entry) string {
	day := func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	switch {
	case x.now.After(l.NotAfter):
		return "the list expired " + day(l.NotAfter)
	case x.now.After(e.Expires):
		return "the entry expired " + day(e.Expires)
	case x.now.Before(l.IssuedAt), x.now.Before(e.Issued):
		return "it is dated after this appraisal"
	case !ids.SameMaker(e.Scope.Manufacturer, x.machine.Manufacturer),
		!slices.ContainsFunc(e.Scope.Models, func(m string) bool { return ids.Key(m) == ids.Key(x.machine.Model) }):
		return fmt.Sprintf("it is for %s %s, and this is a %s %s", e.Scope.Manufacturer, strings.Join(e.Scope.Models, ", "), x.machine.Manufacturer, x.machine.Model)
	case !e.Scope.Firmware.holds(x.machine.Firmware):
		return fmt.Sprintf("it is for firmware %s to %s, and this machine has %q", e.Scope.Firmware.From, e.Scope.Firmware.Through, x.machine.Firmware)
	}
	return ""
}

func (x *explanation) cover(l *List, e *Entry, f *finding.Finding) {
	q := finding.New(finding.KnownQuirk, f.Subject)
	q.Want, q.Got, q.Location, q.Sources, q.Basis = f.Want, f.Got, f.Location, f.Sources, f.Basis
	q.Why = fmt.Sprintf("%s (%s): %s See %s.", f.Title, f.Code, e.Reason, strings.Join(e.Citations, ", "))
	q.CoveredBy = fmt.Sprintf("quirk list %s version %d, entry %s until %s", l.ID, l.Version, e.ID, e.Expires.UTC().Format(time.DateOnly))
	if f.Code == finding.LogDoesNotReplay {
		// The log gives another value, whoever knows why: nothing is proved by it.
		low := finding.New(finding.LevelTooLow, f.Subject)
		low.Want, low.Got, low.Basis = "a log that gives the register's value", "a known difference", f.Basis
		low.Why = "The difference is known and explained, but the register is still not proved by its log."
		x.out.Findings = append(x.out.Findings, low)
	}
	*f = q
}
