package alert

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// Kind is what an event tells.
type Kind string

// The kinds of events.
const (
	Worse     Kind = "worse"     // a machine's state got worse, or it has a new finding
	Recovered Kind = "recovered" // what was told of it is over
	Reminder  Kind = "reminder"  // what was told of it long ago still stands
	Refused   Kind = "refused"   // somebody wanted to be a machine that is known
	Test      Kind = "test"      // nothing happened
)

// Event is one thing to be told about one machine. Its texts are bounded and free
// of control characters: names and subjects come from machines.
type Event struct {
	Kind     Kind               `json:"kind"`
	Subject  string             `json:"subject"` // id of the machine, or of who asked to be one
	Name     string             `json:"name"`
	Site     string             `json:"site,omitempty"`
	Profile  string             `json:"profile,omitempty"`
	Board    string             `json:"board,omitempty"`
	Was      fleet.State        `json:"was,omitempty"`
	State    fleet.State        `json:"state,omitempty"`
	Severity finding.Severity   `json:"severity"`
	Also     []finding.Severity `json:"also,omitempty"` // under which it was told before
	Since    time.Time          `json:"since"`
	At       time.Time          `json:"at"`
	Findings []Finding          `json:"findings,omitempty"`
	More     int                `json:"more,omitempty"` // findings that are not listed
	Detail   string             `json:"detail,omitempty"`
}

// Finding is what of a finding is told. The rest stays with the fleet.
type Finding struct {
	Code        finding.Code     `json:"code"`
	Severity    finding.Severity `json:"severity"`
	Subject     string           `json:"subject"`
	Title       string           `json:"title"`
	Fingerprint string           `json:"fingerprint"`
}

// message is what a sink sends at once: one event, or several that are alike.
type message struct {
	id     string // the same each time it is sent
	sent   time.Time
	events []Event // the first of them
	total  int
	url    string // of the fleet's pages
}

// listed is how many machines a text names.
const listed = 50

// title is one line.
func (m *message) title() string {
	e := m.events[0]
	if m.total == 1 {
		return e.line()
	}
	what := "machines"
	if e.Kind == Refused {
		what = "enrolments refused"
	}
	line := fmt.Sprintf("%d %s", m.total, what)
	switch {
	case e.Kind == Reminder:
		line += " are still not good"
	case e.Kind == Recovered:
		line += ": " + string(e.State) + " again"
	case e.State != "":
		line += ": " + string(e.State)
	}
	if e.Kind == Worse && len(e.Findings) > 0 {
		line += ": " + e.Findings[0].line()
	}
	return line
}

func (f Finding) line() string { return string(f.Code) + " " + f.Title }

// line tells one event in one line.
func (e *Event) line() string {
	name := e.Name
	if name == "" {
		name = e.Subject
	}
	if e.Site != "" {
		name += " (" + e.Site + ")"
	}
	switch e.Kind {
	case Recovered:
		return fmt.Sprintf("%s: %s again, was %s since %s", name, e.State, e.Was, e.Since.Format("2006-01-02 15:04 MST"))
	case Reminder:
		return fmt.Sprintf("%s: still %s since %s", name, e.State, e.Since.Format("2006-01-02 15:04 MST"))
	case Refused:
		return fmt.Sprintf("enrolment refused: %s: %s", name, e.Detail)
	case Test:
		return "test: alerts of this sink arrive"
	}
	line := fmt.Sprintf("%s: %s", name, e.State)
	if e.Was != "" && e.Was != e.State {
		line += ", was " + string(e.Was)
	}
	if len(e.Findings) > 0 {
		line += ": " + e.Findings[0].line()
	}
	return line
}

// text is the whole in plain words.
func (m *message) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", m.title())
	for i, e := range m.events[:min(len(m.events), listed)] {
		if m.total > 1 {
			fmt.Fprintf(&b, "%s\n", e.line())
		}
		if m.total > 1 && i > 0 {
			continue // those of one message are alike
		}
		for _, f := range e.Findings {
			fmt.Fprintf(&b, "  %-8s %s: %s\n", f.Severity, f.line(), f.Subject)
		}
		if e.More > 0 {
			fmt.Fprintf(&b, "  and %d more\n", e.More)
		}
		if l := m.link(&e); l != "" {
			fmt.Fprintf(&b, "  %s\n", l)
		}
	}
	if n := m.total - min(len(m.events), listed); n > 0 {
		fmt.Fprintf(&b, "and %d more machines\n", n)
	}
	fmt.Fprintf(&b, "\nWhat a code means: assay explain CODE\n")
	return b.String()
}

// link is the page of a machine.
func (m *message) link(e *Event) string {
	if m.url == "" || e.Kind == Refused || e.Kind == Test {
		return ""
	}
	return strings.TrimSuffix(m.url, "/") + "/machines/" + e.Subject
}

func (m *message) severity() (worst finding.Severity) {
	for i := range m.events {
		worst = max(worst, m.events[i].Severity)
	}
	return worst
}

// clean bounds a text that came from a machine, and replaces what could make it
// look like something else: control characters, and those that change direction.
func clean(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) {
			return '\uFFFD'
		}
		return r
	}, s))
	if n := 0; len(s) > most {
		for i := range s {
			if n++; n > most {
				return s[:i] + "..."
			}
		}
	}
	return s
}
