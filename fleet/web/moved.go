package web

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/report"
)

// move is what changed, on one machine or alike on several.
type move struct {
	Hosts    []machineRef // one, or those of which all of it is true
	Old, New fleet.State
	Lines    []moveLine // what to look at first
	More     int        // lines that are not shown
	At       time.Time  // the newest
}

type machineRef struct {
	ID, Name string
}

// moveLine is one thing that came or went.
type moveLine struct {
	Gone     bool
	Code     string
	Text     string
	Subject  string
	Also     int    // how many other subjects it is true of
	Where    string // on the board, where the evidence tells
	Severity finding.Severity
}

// Worse reports whether somebody has to look: a machine is in a worse state, or
// something stands against it that did not.
func (m move) Worse() bool {
	if rank(m.New) < rank(m.Old) || m.Old != m.New && (m.New == fleet.Stale || m.New == fleet.Error) {
		return true
	}
	return slices.ContainsFunc(m.Lines, func(l moveLine) bool { return !l.Gone && l.Severity > finding.Low }) && m.New != fleet.Retired
}

const (
	maxMoved  = 1000 // results that are looked at
	maxSilent = 200  // machines of a state that changed without a result
	maxLines  = 6
	maxPlaces = 100 // groups whose places on the board are looked up
)

// moves lists what changed since a time, the worst first: what results told, and
// who went silent, could not be judged or was retired, of which there is no result.
// cut says that there was more.
func moves(r fleet.Reader, since time.Time) (worse, other []move, cut bool, err error) {
	results, err := r.Moved(since, maxMoved)
	if err != nil {
		return nil, nil, false, err
	}
	cut = len(results) == maxMoved
	of := map[string]*hostMoves{}
	for _, res := range slices.Backward(results) {
		of[res.Host] = of[res.Host].add(res)
	}
	silent, more, err := withoutResult(r, since, of)
	if err != nil {
		return nil, nil, false, err
	}
	cut = cut || more
	var all []move
	for _, id := range slices.Sorted(maps.Keys(of)) {
		h, err := r.Host(id)
		if err != nil {
			return nil, nil, false, err
		}
		if m, ok := of[id].move(h, since); ok {
			all = append(all, m)
		}
	}
	grouped := group(append(all, silent...))
	if err := place(r, grouped); err != nil {
		return nil, nil, false, err
	}
	for _, m := range grouped {
		if m.Worse() {
			worse = append(worse, m)
		} else {
			other = append(other, m)
		}
	}
	return worse, other, cut, nil
}

// hostMoves are the changes of one machine, with what came and went again left out.
type hostMoves struct {
	old   fleet.State
	lines map[string]fleet.Change
	at    time.Time
}

func (h *hostMoves) add(r fleet.Result) *hostMoves {
	if h == nil {
		h = &hostMoves{lines: map[string]fleet.Change{}}
	}
	h.at = r.At
	for _, c := range r.Changes {
		if c.Kind == "state" {
			if h.old == "" {
				h.old = fleet.State(c.Old)
			}
			continue
		}
		key := c.Subject + "\x00" + c.Old + c.New
		if was, ok := h.lines[key]; ok && was.Kind != c.Kind {
			delete(h.lines, key)
			continue
		}
		h.lines[key] = c
	}
	return h
}

func (h *hostMoves) move(host *fleet.Host, since time.Time) (move, bool) {
	m := move{Hosts: []machineRef{{host.ID, host.Name}}, Old: cmp.Or(h.old, host.State), New: host.State, At: h.at}
	if host.Since.After(h.at) && !host.Since.Before(since) {
		m.At = host.Since
	}
	for _, c := range h.lines {
		code, text, _ := strings.Cut(c.Old+c.New, " ")
		l := moveLine{Gone: c.Kind == "resolved", Code: code, Text: text, Subject: c.Subject}
		if !l.Gone {
			l.Severity = finding.Medium // until it is looked up
		}
		m.Lines = append(m.Lines, l)
	}
	return m, len(m.Lines) > 0 || m.Old != m.New
}

// withoutResult lists machines whose state changed and of which no result tells.
func withoutResult(r fleet.Reader, since time.Time, told map[string]*hostMoves) (out []move, more bool, err error) {
	for _, state := range []fleet.State{fleet.Stale, fleet.Error, fleet.Retired, fleet.Enrolled} {
		hs, err := r.Hosts(fleet.HostQuery{State: state, Sort: "since", Desc: true, Limit: maxSilent})
		if err != nil {
			return nil, false, err
		}
		more = more || len(hs) == maxSilent && !hs[len(hs)-1].Since.Before(since)
		for _, h := range hs {
			if told[h.ID] == nil && !h.Since.Before(since) {
				m := move{Hosts: []machineRef{{h.ID, h.Name}}, New: h.State, At: h.Since} // what it was is not told
				if state == fleet.Enrolled || state == fleet.Retired {
					m.Old = state // nothing that anybody has to look at
				}
				out = append(out, m)
			}
		}
	}
	return out, more, nil
}

// group puts machines together that changed alike: an update of a hundred machines
// is one thing to look at.
func group(all []move) []move {
	at := map[string]int{}
	var out []move
	for _, m := range all {
		slices.SortFunc(m.Lines, func(a, b moveLine) int {
			return cmp.Or(cmp.Compare(a.Code, b.Code), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Text, b.Text))
		})
		key := fmt.Sprintf("%s %s %+v", m.Old, m.New, m.Lines)
		i, ok := at[key]
		if !ok {
			at[key] = len(out)
			out = append(out, m)
			continue
		}
		out[i].Hosts = append(out[i].Hosts, m.Hosts...)
		if m.At.After(out[i].At) {
			out[i].At = m.At
		}
	}
	return out
}

// place finds out where on the board to look, and how grave it is, from what
// stands against the first machine of a group, and sorts.
func place(r fleet.Reader, all []move) error {
	slices.SortStableFunc(all, func(a, b move) int {
		return cmp.Or(cmp.Compare(rank(a.New), rank(b.New)), b.At.Compare(a.At))
	})
	for i := range all {
		m := &all[i]
		if i < maxPlaces && len(m.Lines) > 0 {
			open, err := r.OpenFindings(fleet.FindingQuery{Host: m.Hosts[0].ID})
			if err != nil {
				return err
			}
			for j := range m.Lines {
				m.Lines[j].find(open)
			}
		}
		slices.SortStableFunc(m.Lines, func(a, b moveLine) int {
			if a.Gone != b.Gone {
				if a.Gone {
					return 1
				}
				return -1
			}
			return cmp.Compare(b.Severity, a.Severity)
		})
		m.Lines = fold(m.Lines)
		m.More = max(0, len(m.Lines)-maxLines)
		m.Lines = m.Lines[:len(m.Lines)-m.More]
		slices.SortFunc(m.Hosts, func(a, b machineRef) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	}
	return nil
}

// fold makes one line of those that say the same of several subjects in no place
// that one could look at.
func fold(lines []moveLine) (out []moveLine) {
	for _, l := range lines {
		i := slices.IndexFunc(out, func(o moveLine) bool {
			return o.Gone == l.Gone && o.Code == l.Code && o.Text == l.Text && o.Severity == l.Severity && o.Where == l.Where
		})
		if i < 0 {
			out = append(out, l)
		} else {
			out[i].Also++
		}
	}
	return out
}

func (l *moveLine) find(open []fleet.Open) {
	if l.Gone {
		return
	}
	for _, o := range open {
		if string(o.Finding.Code) == l.Code && o.Finding.Subject == l.Subject {
			l.Where, l.Severity = report.Place(o.Finding), o.Finding.Severity
			return
		}
	}
}

// periods are how far back the list of moves goes.
var periods = []period{{"1d", "yesterday", 24 * time.Hour}, {"7d", "a week ago", 7 * 24 * time.Hour}, {"30d", "30 days ago", 30 * 24 * time.Hour}}

type period struct {
	Key, Text string
	of        time.Duration
}

func periodOf(key string) period {
	for _, p := range periods {
		if p.Key == key {
			return p
		}
	}
	return periods[0]
}

// movedPage is all that moved since a time.
type movedPage struct {
	Period       period
	Periods      []period
	Since        time.Time
	Worse, Other []move
	Cut          bool
}

func (p *pages) moved(q *request) error {
	b := movedPage{Period: periodOf(q.r.URL.Query().Get("since")), Periods: periods}
	b.Since = q.now.Add(-b.Period.of)
	err := p.view(q, func(r fleet.Reader) (err error) {
		b.Worse, b.Other, b.Cut, err = moves(r, b.Since)
		return err
	})
	if err != nil {
		return err
	}
	return p.show(q, "moved", "overview", "What moved since "+b.Period.Text, b)
}
