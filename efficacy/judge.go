package efficacy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// Class is what became of a case: a vector at a level of evidence.
type Class string

// The classes, of attacks first.
const (
	Detected     Class = "detected"
	Otherwise    Class = "detected under another code"
	Inconclusive Class = "inconclusive"
	Blind        Class = "declared blind"
	Missed       Class = "missed"

	Silent     Class = "silent"
	Change     Class = "expected change"
	Review     Class = "review"
	FalseAlarm Class = "false alarm"

	Skipped Class = "skipped"
)

// Outcome is what became of a case, and why.
type Outcome struct {
	Class  Class
	Why    string // the missing evidence, the blind spot, or what was found
	Result *assay.Result
}

// Judge runs a vector at a level and sorts the verdict.
func (b *Bench) Judge(v *Vector, l Level) (Outcome, error) {
	clean, err := b.Clean(v, l)
	if errors.Is(err, ErrNotHere) {
		return Outcome{Class: Skipped, Why: err.Error()}, nil
	}
	if err != nil {
		return Outcome{}, err
	}
	r, err := b.Result(v, l)
	if err != nil {
		return Outcome{}, err
	}
	if v.Benign() {
		return judgeBenign(v, r, clean), nil
	}
	return judgeAttack(v, r, clean, b.codes[v.ID]), nil
}

// judgeAttack looks for the finding first: a verdict that does not pass and tells
// a person of something else detected something else.
func judgeAttack(v *Vector, r, clean *assay.Result, codes []string) Outcome {
	counts := r.Verdict != assay.Pass
	named := v.named(r, codes)
	fresh := news(r, clean)
	switch {
	case counts && named != "":
		return Outcome{Detected, named, r}
	case counts && len(fresh) > 0:
		return Outcome{Otherwise, fresh[0], r}
	case r.Verdict == assay.Inconclusive:
		return Outcome{Inconclusive, missing(r), r}
	case v.Blind != "" && declares(r, v.Blind):
		return Outcome{Blind, v.Blind, r}
	}
	return Outcome{Missed, string(r.Verdict), r}
}

// named is the first expected finding that stands, of those with a code that the
// catalogue has for the attack.
func (v *Vector) named(r *assay.Result, codes []string) string {
	for _, e := range v.Findings {
		if !slices.Contains(codes, string(e.Code)) {
			continue
		}
		for _, f := range r.Findings {
			if e.Severity > finding.Low && f.Code == e.Code && f.Severity > finding.Low && strings.HasPrefix(f.Subject, e.Subject) {
				return string(f.Code) + " " + f.Subject
			}
		}
	}
	return ""
}

// news are findings above low that the machine did not have before.
func news(r, clean *assay.Result) []string {
	before := map[string]bool{}
	for _, f := range clean.Findings {
		before[f.Fingerprint] = true
	}
	var out []string
	for _, f := range r.Findings {
		if f.Severity > finding.Low && !before[f.Fingerprint] {
			out = append(out, string(f.Code)+" "+f.Subject)
		}
	}
	return out
}

func missing(r *assay.Result) string {
	for _, q := range r.Required {
		if !q.Proved {
			return fmt.Sprintf("%s: %s", q.What, q.Reason)
		}
	}
	return "no trusted manifest"
}

func declares(r *assay.Result, blind string) bool {
	return slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
		return (f.Code == finding.BlindSpot || f.Code == finding.LevelTooLow) && strings.Contains(f.Subject, blind)
	})
}

// judgeBenign counts what a person would be called for.
func judgeBenign(v *Vector, r, clean *assay.Result) Outcome {
	fresh := news(r, clean)
	var told []string
	for _, e := range v.Findings {
		if e.Severity <= finding.Low && slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.Code == e.Code && strings.HasPrefix(f.Subject, e.Subject) }) {
			told = append(told, string(e.Code))
		}
	}
	switch {
	case r.Verdict == assay.Fail && clean.Verdict != assay.Fail, r.Verdict == assay.Fail && len(fresh) > 0:
		return Outcome{FalseAlarm, strings.Join(fresh, ", "), r}
	case len(fresh) > 0:
		return Outcome{Review, strings.Join(fresh, ", "), r}
	case r.Verdict == assay.Inconclusive && clean.Verdict == assay.Pass:
		return Outcome{Inconclusive, missing(r), r}
	case len(told) > 0:
		return Outcome{Change, strings.Join(told, ", "), r}
	}
	return Outcome{Silent, "", r}
}

// Differs holds a result against what the vector expects at its level and
// above, and returns the first difference, "" when there is none. Everything
// above low that the machine did not have before has to be listed, and everything
// that is listed has to be there.
func (v *Vector) Differs(r, clean *assay.Result) string {
	had := map[string]finding.Severity{}
	for _, f := range clean.Findings {
		had[f.Fingerprint] = f.Severity
	}
	if r.Verdict != v.Expect {
		return fmt.Sprintf("verdict %s, want %s", r.Verdict, v.Expect)
	}
	for _, e := range v.Findings {
		if !slices.ContainsFunc(r.Findings, e.is) {
			return fmt.Sprintf("no finding %s %s %s", e.Code, e.Severity, e.Subject)
		}
	}
	for _, f := range r.Findings {
		if f.Severity > had[f.Fingerprint] && f.Severity > finding.Low && !slices.ContainsFunc(v.Findings, func(e Expected) bool { return e.is(f) }) {
			return fmt.Sprintf("not expected: %s %s %s", f.Code, f.Severity, f.Subject)
		}
	}
	var got []finding.Code
	for _, i := range r.Incidents {
		got = append(got, i.Code)
	}
	slices.Sort(got)
	want := slices.Clone(v.Incidents)
	slices.Sort(want)
	if !slices.Equal(slices.Compact(got), slices.Compact(want)) {
		return fmt.Sprintf("incidents %v, want %v", got, want)
	}
	for _, n := range v.Near {
		if raises(r, n) {
			return fmt.Sprintf("raises %s, of which it is the near miss", n)
		}
	}
	return ""
}

// raises reports whether a code stands in a result: above low, or at all where it
// never stands higher.
func raises(r *assay.Result, c finding.Code) bool {
	e, _ := finding.Lookup(c)
	least := min(finding.Medium, e.Severity)
	return slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.Code == c && f.Severity >= least }) ||
		slices.ContainsFunc(r.Incidents, func(i assay.Incident) bool { return i.Code == c })
}

func (e Expected) is(f finding.Finding) bool {
	return e.Code == f.Code && e.Severity == f.Severity && strings.HasPrefix(f.Subject, e.Subject)
}
