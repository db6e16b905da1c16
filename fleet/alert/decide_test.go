package alert

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

var start = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func open(code finding.Code, subject string, s finding.Severity) fleet.Open {
	f := finding.New(code, subject)
	f.Severity = s
	f.Seal()
	return fleet.Open{Host: "h-1", Finding: f}
}

// step is what is seen of a machine at a time.
type step struct {
	state  fleet.State
	open   []fleet.Open
	silent bool // no evidence
	tells  Kind // "" is nothing
}

func TestWhatIsTold(t *testing.T) {
	chip := open(finding.UnexpectedComponent, "pci:1", finding.Critical)
	dimm := open(finding.MissingComponent, "dimm:1", finding.High)
	cable := open(finding.UnexpectedComponent, "usb:1", finding.Medium)
	excused := chip
	excused.Exception = "x-1"
	all := func(os ...fleet.Open) []fleet.Open { return os }
	for name, steps := range map[string][]step{
		"a machine that is well": {{state: fleet.Enrolled}, {state: fleet.Pass}, {state: fleet.Pass}},
		"it fails, stays so, and is well again": {
			{state: fleet.Pass},
			{state: fleet.Fail, open: all(chip), tells: Worse},
			{state: fleet.Fail, open: all(chip)},
			{state: fleet.Fail, open: all(chip)},
			{state: fleet.Pass, tells: Recovered},
			{state: fleet.Pass},
			{state: fleet.Fail, open: all(chip), tells: Worse},
		},
		"a new finding of one that fails": {
			{state: fleet.Fail, open: all(chip), tells: Worse}, {state: fleet.Fail, open: all(chip, dimm), tells: Worse}, {state: fleet.Fail, open: all(chip, dimm)},
		},
		"a new finding that is not bad": {{state: fleet.Fail, open: all(chip), tells: Worse}, {state: fleet.Fail, open: all(chip, cable)}},
		"it gets worse step by step": {
			{state: fleet.Review, open: all(cable), tells: Worse},
			{state: fleet.Inconclusive, open: all(cable), tells: Worse},
			{state: fleet.Stale, silent: true, open: all(cable), tells: Worse},
			{state: fleet.Error, silent: true, open: all(cable), tells: Worse},
			{state: fleet.Fail, open: all(cable, chip), tells: Worse},
		},
		"it gets better step by step, and worse again": {
			{state: fleet.Fail, open: all(chip), tells: Worse}, {state: fleet.Review, open: all(cable)}, {state: fleet.Fail, open: all(chip), tells: Worse},
		},
		"silence shows nothing to be gone": {
			{state: fleet.Fail, open: all(chip), tells: Worse},
			{state: fleet.Stale, silent: true, open: all(chip)},
			{state: fleet.Fail, open: all(chip)},
			{state: fleet.Stale, silent: true},
			{state: fleet.Error, silent: true},
			{state: fleet.Fail, open: all(chip)},
			{state: fleet.Pass, tells: Recovered},
		},
		"a finding that was gone is news when it is back": {
			{state: fleet.Fail, open: all(chip, dimm), tells: Worse}, {state: fleet.Fail, open: all(chip)}, {state: fleet.Fail, open: all(chip, dimm), tells: Worse},
		},
		"what an exception covers":    {{state: fleet.Pass, open: all(excused)}, {state: fleet.Review, open: all(excused, cable), tells: Worse}},
		"a bad finding of weak proof": {{state: fleet.Review, open: all(dimm), tells: Worse}, {state: fleet.Review, open: all(dimm, chip), tells: Worse}},
		"it is taken out of service":  {{state: fleet.Fail, open: all(chip), tells: Worse}, {state: fleet.Retired, tells: Recovered}, {state: fleet.Retired}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{severity: finding.Medium}
			var held *told
			was := fleet.Enrolled
			for i, x := range steps {
				e, after := s.decide(held, change(was, x, i))
				held, was = after, x.state
				if x.tells == "" {
					require.Nil(t, e, "step %d", i)
					continue
				}
				require.NotNil(t, e, "step %d: nothing was told", i)
				require.Equal(t, x.tells, e.Kind, "step %d", i)
				require.Equal(t, x.state, e.State)
			}
		})
	}
}

func change(was fleet.State, x step, day int) Change {
	h := &fleet.Host{ID: "h-1", Name: "node-1", Site: "ams", Profile: "p1", State: x.state}
	return Change{Was: was, Host: h, Open: x.open, Judged: !x.silent, At: start.AddDate(0, 0, day)}
}

// A sink that hears from high on is told when a machine that is for review fails,
// and that it recovered only of what it was told.
func TestThresholdsAndRoutes(t *testing.T) {
	cable, chip := open(finding.UnexpectedComponent, "usb:1", finding.Medium), open(finding.UnexpectedComponent, "pci:1", finding.High)
	s := &sink{severity: finding.High, sites: []string{"ams"}}
	e, held := s.decide(nil, change(fleet.Pass, step{state: fleet.Review, open: []fleet.Open{cable}}, 0))
	require.Nil(t, e)
	e, held = s.decide(held, change(fleet.Review, step{state: fleet.Pass}, 1))
	require.Nil(t, e)
	e, held = s.decide(held, change(fleet.Pass, step{state: fleet.Fail, open: []fleet.Open{chip}}, 2))
	require.Equal(t, Worse, e.Kind)
	require.Equal(t, finding.High, e.Severity)
	gone := change(fleet.Fail, step{state: fleet.Pass}, 3)
	gone.Host.Site = "fra" // it was moved while it failed
	e, _ = s.decide(held, gone)
	require.Equal(t, Recovered, e.Kind, "what was told is ended")
	require.Equal(t, "ams", e.Site, "under the names that it was told by")
	elsewhere := change(fleet.Pass, step{state: fleet.Fail, open: []fleet.Open{chip}}, 2)
	elsewhere.Host.Site = "fra"
	e, held = s.decide(nil, elsewhere)
	require.Nil(t, e)
	require.Nil(t, held)
	s = &sink{severity: finding.Critical}
	e, held = s.decide(nil, change(fleet.Pass, step{state: fleet.Fail, open: []fleet.Open{chip}}, 0))
	require.Nil(t, e)
	worse := open(finding.UnexpectedComponent, "pci:2", finding.Critical)
	e, _ = s.decide(held, change(fleet.Fail, step{state: fleet.Fail, open: []fleet.Open{chip, worse}}, 1))
	require.Equal(t, finding.Critical, e.Severity)
}

// heard is what somebody who writes down each alert knows, and what evidence has
// shown since: the property's own book, which decide does not see.
type heard struct {
	worst    int
	findings map[string]bool
	open     bool
}

// Whatever a machine does, each thing is told once until evidence shows it to be
// gone, and nothing that got worse is left out.
func TestNothingTwiceAndNothingLost(t *testing.T) {
	codes := []finding.Code{finding.UnexpectedComponent, finding.MissingComponent, finding.RebindAttempt}
	rapid.Check(t, func(t *rapid.T) {
		s := &sink{severity: rapid.SampledFrom([]finding.Severity{finding.Medium, finding.High, finding.Critical}).Draw(t, "threshold")}
		var held *told
		book := heard{findings: map[string]bool{}}
		was := fleet.Enrolled
		for day := range rapid.IntRange(1, 30).Draw(t, "days") {
			x := drawStep(t, codes)
			c := change(was, x, day)
			e, after := s.decide(held, c)
			book.check(t, s, c, e, held != nil)
			held, was = after, x.state
			if (held != nil) != book.open {
				t.Fatalf("day %d: held %v, heard %v", day, held != nil, book.open)
			}
		}
	})
}

func drawStep(t *rapid.T, codes []finding.Code) step {
	x := step{state: rapid.SampledFrom([]fleet.State{fleet.Pass, fleet.Review, fleet.Inconclusive, fleet.Fail, fleet.Stale, fleet.Error}).Draw(t, "state")}
	x.silent = x.state == fleet.Stale || x.state == fleet.Error
	if x.state != fleet.Pass {
		for i := range rapid.IntRange(0, 3).Draw(t, "findings") {
			severity := rapid.SampledFrom([]finding.Severity{finding.Low, finding.Medium, finding.High, finding.Critical}).Draw(t, "severity")
			x.open = append(x.open, open(rapid.SampledFrom(codes).Draw(t, "code"), fmt.Sprint(i), severity))
		}
	}
	return x
}

// check holds one step against the book, and writes it in.
func (b *heard) check(t *rapid.T, s *sink, c Change, e *Event, holds bool) {
	if c.Host.State == fleet.Pass {
		if b.open != (e != nil) || e != nil && e.Kind != Recovered {
			t.Fatalf("well again: heard %v, told %v", b.open, e)
		}
		*b = heard{findings: map[string]bool{}}
		return
	}
	severity, bad := severityOf(c.Host.State), map[string]finding.Severity{}
	for _, o := range c.Open {
		if o.Finding.Severity >= finding.High {
			bad[o.Finding.Fingerprint] = o.Finding.Severity
			severity = max(severity, o.Finding.Severity)
		}
	}
	news := rank(c.Host.State) > b.worst && severity >= s.severity
	for f, v := range bad {
		news = news || !b.findings[f] && v >= s.severity
	}
	switch {
	case news && (e == nil || e.Kind != Worse):
		t.Fatalf("lost: %s with %v, heard %+v", c.Host.State, bad, b)
	case !news && e != nil:
		t.Fatalf("twice: %s with %v, heard %+v", c.Host.State, bad, b)
	}
	if news {
		b.open, b.worst = true, max(b.worst, rank(c.Host.State))
		for f := range bad {
			b.findings[f] = true
		}
	}
	if c.Judged && b.open { // evidence shows what is gone
		b.worst = rank(c.Host.State)
		for f := range b.findings {
			if _, stands := bad[f]; !stands {
				delete(b.findings, f)
			}
		}
	}
}
