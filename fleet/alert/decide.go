package alert

import (
	"cmp"
	"slices"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
)

// Change is what the fleet knows of a machine now, and what it was.
type Change struct {
	Was    fleet.State
	Host   *fleet.Host
	Open   []fleet.Open
	Judged bool // evidence was appraised; silence and failed jobs show nothing
	At     time.Time
}

// told is what a sink was told of a machine that is not good, until it is good.
type told struct {
	Event
	Known      []string           `json:"known"`      // fingerprints of findings
	Severities []finding.Severity `json:"severities"` // under which it was told
	Lost       bool               `json:"lost"`       // the sink could not be reached for so long that it was given up
}

// maxKnown bounds what is remembered of a machine's findings, the worst first. One
// that has more is told of as failing, and not of each.
const maxKnown = 1000

// rank orders states by how bad they are. Those that are not here are good, or
// none of a judgement.
func rank(s fleet.State) int {
	return slices.Index([]fleet.State{"", fleet.Review, fleet.Inconclusive, fleet.Stale, fleet.Error, fleet.Fail}, s)
}

// severityOf is how bad a state alone is.
func severityOf(s fleet.State) finding.Severity {
	if rank(s) >= rank(fleet.Stale) {
		return finding.High
	}
	return finding.Medium
}

// decide says what a sink has to be told of a machine now, if anything, and what
// it then holds. It does not look at what changed but at what the sink was told:
// a sink that is new, or that could not be reached, hears of what stands.
//
// A state is told when it is worse than the one that was told, and a finding once.
// Only evidence makes either better, so that a machine that fails, falls silent and
// fails again is one alert. What evidence showed to be gone is news when it is back.
func (s *sink) decide(t *told, c Change) (*Event, *told) {
	switch {
	case c.Host.State == fleet.Pass || c.Host.State == fleet.Retired:
		return t.recovered(c), nil
	case rank(c.Host.State) < 0, t == nil && !s.routes(c.Host):
		return nil, t
	}
	high, rest := standing(c.Open)
	severity := max(severityOf(c.Host.State), worst(high))
	fresh, old := split(t, high)
	news := slices.ContainsFunc(fresh, func(f Finding) bool { return f.Severity >= s.severity })
	worse := rank(c.Host.State) > t.rank()
	if worse && severity >= s.severity || news || t != nil && t.Lost {
		return t.next(c, severity, slices.Concat(fresh, old, rest), high)
	}
	if t == nil || !c.Judged {
		return nil, t
	}
	better := *t
	better.State, better.Severity = c.Host.State, severity
	better.Known = slices.DeleteFunc(slices.Clone(t.Known), func(k string) bool {
		return !slices.ContainsFunc(high, func(f Finding) bool { return f.Fingerprint == k })
	})
	if better.State == t.State && len(better.Known) == len(t.Known) {
		return nil, t
	}
	better.Findings, better.More = bounded(slices.Concat(high, rest))
	return nil, &better
}

func (t *told) rank() int {
	if t == nil {
		return 0
	}
	return rank(t.State)
}

// recovered ends what was told.
func (t *told) recovered(c Change) *Event {
	if t == nil {
		return nil
	}
	e := t.Event
	e.Kind, e.Was, e.State, e.At = Recovered, t.State, c.Host.State, t.after(c.At)
	e.Also, e.Findings, e.More = others(t.Severities, t.Severity), nil, 0
	return &e
}

// next is what is told now, and what is remembered of it.
func (t *told) next(c Change, severity finding.Severity, all, high []Finding) (*Event, *told) {
	h := c.Host
	e := Event{
		Kind: Worse, Subject: h.ID, Name: clean(h.Name, 100), Site: clean(h.Site, 100), Profile: h.Profile, Board: clean(h.Identity.Manufacturer+" "+h.Identity.Product, 100),
		Was: c.Was, State: h.State, Severity: severity, Since: c.At, At: t.after(c.At),
	}
	var after told
	if t != nil { // one alert, under the labels that it began with
		e.Name, e.Site, e.Profile, e.Board, e.Since, e.Was = t.Name, t.Site, t.Profile, t.Board, t.Since, t.State
		after.Severities = t.Severities
		if !c.Judged {
			after.Known = t.Known
		}
	}
	if !slices.Contains(after.Severities, severity) {
		after.Severities = append(slices.Clone(after.Severities), severity)
	}
	e.Also = others(after.Severities, severity)
	e.Findings, e.More = bounded(all)
	after.Event = e
	if !c.Judged && t != nil && t.rank() > rank(h.State) {
		after.State = t.State // nothing was seen to be better
	}
	for _, f := range high {
		if !slices.Contains(after.Known, f.Fingerprint) && len(after.Known) < maxKnown {
			after.Known = append(after.Known, f.Fingerprint)
		}
	}
	return &e, &after
}

func others(all []finding.Severity, but finding.Severity) []finding.Severity {
	return slices.DeleteFunc(slices.Clone(all), func(s finding.Severity) bool { return s == but })
}

// after has what is told of one machine in an order, whatever clocks say.
func (t *told) after(now time.Time) time.Time {
	if t != nil && !now.After(t.At) {
		return t.At.Add(time.Microsecond)
	}
	return now
}

// standing lists what stands against a machine, the worst first: from severity
// high, and the rest above low. What an exception covers is not told.
func standing(open []fleet.Open) (high, rest []Finding) {
	for _, o := range open {
		f := Finding{Code: o.Finding.Code, Severity: o.Finding.Severity, Subject: clean(o.Finding.Subject, 200), Title: clean(o.Finding.Title, 200), Fingerprint: o.Finding.Fingerprint}
		switch {
		case o.Exception != "" || f.Severity <= finding.Low:
		case f.Severity >= finding.High:
			high = append(high, f)
		default:
			rest = append(rest, f)
		}
	}
	for _, fs := range [][]Finding{high, rest} {
		slices.SortFunc(fs, func(a, b Finding) int {
			return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Fingerprint, b.Fingerprint))
		})
	}
	return high[:min(len(high), maxKnown)], rest[:min(len(rest), maxListed)]
}

func worst(fs []Finding) finding.Severity {
	if len(fs) == 0 {
		return finding.Info
	}
	return fs[0].Severity
}

// split parts findings into those that the sink was not told of, and the others.
func split(t *told, high []Finding) (fresh, old []Finding) {
	for _, f := range high {
		if t != nil && slices.Contains(t.Known, f.Fingerprint) {
			old = append(old, f)
		} else {
			fresh = append(fresh, f)
		}
	}
	return fresh, old
}

// maxListed is how many findings an alert lists.
const maxListed = 10

func bounded(fs []Finding) ([]Finding, int) {
	n := min(len(fs), maxListed)
	return slices.Clone(fs[:n]), len(fs) - n
}
