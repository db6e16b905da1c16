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
	Shown  bool   // the evidence of the level shows what was done
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
	o := judgeAttack(v, r, clean, b.codes[v.ID])
	if v.Benign() {
		o = judgeBenign(v, r, clean)
	}
	o.Shown, err = b.shows(v, l)
	return o, err
}

// judgeAttack looks for the finding first: a verdict that does not pass and tells
// a person of something else detected something else.
func judgeAttack(v *Vector, r, clean *assay.Result, codes []string) Outcome {
	counts := r.Verdict != assay.Pass
	named := v.named(r, codes)
	fresh := news(r, clean)
	switch {
	case counts && named != "":
		return Outcome{Class: Detected, Why: named, Result: r}
	case counts && len(fresh) > 0:
		return Outcome{Class: Otherwise, Why: fresh[0], Result: r}
	case r.Verdict == assay.Inconclusive:
		return Outcome{Class: Inconclusive, Why: missing(r), Result: r}
	case v.Blind != "" && declares(r, v.Blind):
		return Outcome{Class: Blind, Why: v.Blind, Result: r}
	}
	return Outcome{Class: Missed, Why: string(r.Verdict), Result: r}
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
	before := fingerprints(clean)
	var out []string
	for _, f := range r.Findings {
		if f.Severity > finding.Low && !before[f.Fingerprint] {
			out = append(out, string(f.Code)+" "+f.Subject)
		}
	}
	return out
}

func fingerprints(r *assay.Result) map[string]bool {
	out := map[string]bool{}
	for _, f := range r.Findings {
		out[f.Fingerprint] = true
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

// judgeBenign counts what a person would be called for. What the vector does not
// expect is a false alarm at every level, also where the verdict would be
// inconclusive without the change.
func judgeBenign(v *Vector, r, clean *assay.Result) Outcome {
	before := fingerprints(clean)
	var asked, wrong, told []string
	for _, f := range r.Findings {
		expected := slices.ContainsFunc(v.Findings, func(e Expected) bool { return e.is(f) })
		switch name := string(f.Code) + " " + f.Subject; {
		case f.Severity <= finding.Low && expected:
			told = append(told, string(f.Code))
		case f.Severity <= finding.Low || before[f.Fingerprint]:
		case expected:
			asked = append(asked, name)
		default:
			wrong = append(wrong, name)
		}
	}
	switch {
	case len(wrong) > 0, r.Verdict == assay.Fail && clean.Verdict != assay.Fail:
		return Outcome{Class: FalseAlarm, Why: strings.Join(wrong, ", "), Result: r}
	case len(asked) > 0:
		return Outcome{Class: Review, Why: strings.Join(asked, ", "), Result: r}
	case r.Verdict == assay.Inconclusive && clean.Verdict == assay.Pass:
		return Outcome{Class: Inconclusive, Why: missing(r), Result: r}
	case len(told) > 0:
		return Outcome{Class: Change, Why: strings.Join(slices.Compact(told), ", "), Result: r}
	}
	return Outcome{Class: Silent, Result: r}
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
