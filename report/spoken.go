package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// Spoken writes a report for whoever listens to it, or reads it in a mail: one
// statement to a line, each with its own subject; no columns, no drawing, no colour,
// no line that is broken in the middle; counts before lists, so that one knows what
// comes. Of the style it has the words, and whether to tell all.
func Spoken(w io.Writer, r *assay.Result, style Style) error {
	s := &speaker{all: style.All, words: style.Words}
	s.say("Verdict: %s. %s.", strings.ToUpper(s.words.Say(string(r.Verdict))), Machine(r))
	s.line("%s", Sentence(r, s.words))
	s.say("Assurance %s: %s", r.Assurance.Level, r.Assurance.Statement)
	s.places(r)
	s.incidents(r)
	s.findings(r)
	s.required(r)
	s.notChecked(r)
	s.coverage(r)
	s.origin(r)
	s.say("End of the report. Verdict: %s.", strings.ToUpper(s.words.Say(string(r.Verdict))))
	if _, err := io.WriteString(w, s.b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

type speaker struct {
	b     strings.Builder
	all   bool
	words Words
}

// say writes one line in the language of the words.
func (s *speaker) say(english string, args ...any) { s.line(s.words.Say(english), args...) }

// line writes one line; what comes from evidence cannot break it.
func (s *speaker) line(format string, args ...any) {
	for i, a := range args {
		if text, ok := a.(string); ok {
			text = Plain(strings.Join(strings.Fields(text), " "))
			if i == len(args)-1 && strings.HasSuffix(format, "%s.") {
				text = strings.TrimSuffix(text, ".") // many are sentences already
			}
			args[i] = text
		}
	}
	fmt.Fprintf(&s.b, format+"\n", args...)
}

func (s *speaker) places(r *assay.Result) {
	all := places(r, s.words)
	if len(all) == 0 {
		return
	}
	s.say("Places to look at: %d.", len(all))
	for i, p := range all {
		s.say("Place %d: %s. %s.", i+1, p.at, p.what)
	}
}

func (s *speaker) incidents(r *assay.Result) {
	if len(r.Incidents) == 0 {
		return
	}
	s.say("Incidents: %d.", len(r.Incidents))
	for i, in := range r.Incidents {
		s.say("Incident %d, %s, code %s: %s.", i+1, s.words.Say(in.Severity.String()), in.Code, s.words.Say(in.Title))
		s.say("Incident %d, what happened: %s", i+1, in.Narrative)
		s.say("Incident %d, what would disprove it: %s", i+1, s.words.Say(in.Disprove))
	}
}

func (s *speaker) findings(r *assay.Result) {
	shown, hidden := split(r.Findings, s.all)
	s.say("Findings: %d. Informational ones that are left out: %d.", len(shown), hidden)
	for i, f := range shown {
		s.say("Finding %d, %s, code %s: %s. About %s.", i+1, s.words.Say(f.Severity.String()), string(f.Code), s.words.Say(f.Title), f.Subject)
		s.tell("Finding %d, place: %s", i+1, Place(f))
		s.tell("Finding %d, wanted: %s", i+1, f.Want)
		s.tell("Finding %d, found: %s", i+1, f.Got)
		s.tell("Finding %d, why: %s", i+1, f.Why)
		s.tell("Finding %d, covered by: %s", i+1, f.CoveredBy)
		if f.Severity >= finding.Medium {
			s.tell("Finding %d, what to do: %s", i+1, s.words.Say(f.Action))
		}
	}
}

// tell writes a line about the n-th of a list, when there is something to tell.
func (s *speaker) tell(english string, n int, text string) {
	if text != "" {
		s.say(english, n, text)
	}
}

func (s *speaker) required(r *assay.Result) {
	proved := 0
	for _, q := range r.Required {
		if q.Proved {
			proved++
		}
	}
	s.say("Required by policy %s: %d. Proved: %d.", r.Policy.ID, len(r.Required), proved)
	for _, q := range r.Required {
		if reason := cmp.Or(q.Reason, s.words.Say("No more is told")); q.Proved {
			s.say("Requirement %s: proved. %s.", string(q.What), reason)
		} else {
			s.say("Requirement %s: not proved. %s.", string(q.What), reason)
		}
	}
}

func (s *speaker) notChecked(r *assay.Result) {
	s.say("Not checked: %d.", len(r.NotChecked))
	for i, n := range r.NotChecked {
		if i == shortList && !s.all {
			s.say("And %d more; the option --all tells them.", len(r.NotChecked)-i)
			break
		}
		s.say("Not checked %d: %s. Reason: %s.", i+1, n.What, cmp.Or(n.Reason, s.words.Say("not told")))
	}
	if spots := BlindSpots(r); len(spots) > 0 {
		s.say("What no evidence here would show: %s.", strings.Join(spots, "; "))
	}
}

func (s *speaker) coverage(r *assay.Result) {
	for _, c := range r.Coverage {
		s.say("Class %s: %d declared, %d matched, %d unexpected, %d not observable.", string(c.Class), c.Declared, c.Matched, c.Unexpected, c.NotObservable)
	}
	for _, d := range r.Devices {
		s.say("Device %s: %d declared, %d matched, %d unexpected, %d not observable.", d.Device, d.Declared, d.Matched, d.Unexpected, d.NotObservable)
	}
	if line := BootLine(r); line != "" {
		s.say("Measured boot: %s.", line)
	}
	if r.Verifiability.Lines > 0 {
		s.say("Verifiable: %s.", r.Verifiability.String())
	}
}

func (s *speaker) origin(r *assay.Result) {
	for _, u := range r.Inspections {
		s.say("Inspection: %s.", InspectionLine(u))
	}
	for _, m := range r.Manifests {
		s.say("Manifest %s version %d: %s. Signed by %s.", m.ID, m.Version, m.Status, cmp.Or(strings.Join(m.Signers, "; "), s.words.Say("nobody")))
	}
	s.say("Evidence: SHA-256 %s, collected %s.", r.Evidence.SHA256, cmp.Or(r.Evidence.CollectedAt, s.words.Say("at an unknown time")))
}
