// Package revision compares two revisions of a golden manifest, says of each
// difference what it means and whether it lets more pass than before, and which
// delta or change notice accounts for it.
//
// It checks no signature: it is for the person who decides whether to accept a
// revision, never for a verdict.
package revision

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/manifest"
)

// Kind says what a difference means.
type Kind string

// The kinds of differences, the gravest first. A part that was substituted has
// other values and other firmware too, which is not told again.
const (
	Loosened    Kind = "rule loosened" // passes what did not pass before
	Substituted Kind = "substituted"
	Added       Kind = "added"
	Removed     Kind = "removed"
	Replaced    Kind = "instance replaced" // same model, another serial number or key
	Firmware    Kind = "firmware changed"
	Measurement Kind = "measurement changed"
	Revalued    Kind = "revalued"
	Moved       Kind = "moved"
	Tightened   Kind = "rule tightened"
	Renamed     Kind = "renamed" // the line has another id, and says the same
	Described   Kind = "described otherwise"
)

var gravity = []Kind{Loosened, Substituted, Added, Removed, Replaced, Firmware, Measurement, Revalued, Moved, Tightened, Renamed, Described}

// Change is one line that two revisions say differently. Old or New is empty
// where the line is not there; both are JSON.
type Change struct {
	Line        string   `json:"line"`          // "component:ID", "pcr:N", "firmware:NAME", "spdm:ID", "class:NAME", "environment"
	Was         string   `json:"was,omitempty"` // the line's name in the old revision, when it has another
	Kinds       []Kind   `json:"kinds"`         // the gravest first
	Fields      []Field  `json:"fields"`        // what differs in a line that both have
	MoreFields  int      `json:"moreFields,omitempty"`
	ExplainedBy []string `json:"explainedBy"` // deltas and notices that name this change
	Open        []Kind   `json:"open"`        // kinds that none of them names
	Old         string   `json:"old,omitempty"`
	New         string   `json:"new,omitempty"`
}

// Field is one value that differs: its place in the line, and both texts, empty
// where it is not there. Lists without order are compared as sets.
type Field struct {
	Name string `json:"name"`
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Compare lists what changed from one revision to another, sorted by line. When
// the newer one is a delta, only what it sets or removes is a change. Components
// are paired by serial number, then by id, then by what and where they are, so
// that a part which moved or a line which was renamed is one change.
func Compare(old, fresh *manifest.Manifest) ([]Change, error) {
	a, err := linesOf(old)
	if err != nil {
		return nil, err
	}
	b, err := linesOf(fresh)
	if err != nil {
		return nil, err
	}
	var out []Change
	was := pair(old.Components, fresh.Components, fresh.Delta != nil)
	paired := map[string]bool{}
	for name, n := range b {
		before := cmp.Or(was[name], name)
		o, ok := a[before]
		if strings.HasPrefix(name, component) {
			o, ok = a[was[name]]
		}
		switch {
		case !ok:
			out = append(out, Change{Line: name, New: n.json, Kinds: added(n)})
		case o.json != n.json:
			out = append(out, changed(name, before, o, n))
		}
		if ok {
			paired[before] = true
		}
	}
	for name, o := range a {
		if !paired[name] && removes(fresh, name) {
			out = append(out, Change{Line: name, Old: o.json, Kinds: removed(o)})
		}
	}
	for i := range out {
		out[i].finish()
	}
	slices.SortFunc(out, func(x, y Change) int { return strings.Compare(x.Line, y.Line) })
	return out, nil
}

func changed(name, before string, o, n line) Change {
	c := Change{Line: name, Old: o.json, New: n.json, Kinds: judge(o, n)}
	if before != name {
		c.Was = before
		c.Kinds = append(c.Kinds, Renamed)
	}
	c.Fields = fields(o.json, n.json)
	if more := len(c.Fields) - maxFields; more > 0 {
		c.Fields, c.MoreFields = c.Fields[:maxFields], more
	}
	return c
}

func (c *Change) finish() {
	slices.SortFunc(c.Kinds, func(x, y Kind) int { return cmp.Compare(slices.Index(gravity, x), slices.Index(gravity, y)) })
	c.Kinds = slices.Compact(c.Kinds)
	if len(c.Kinds) == 0 {
		c.Kinds = []Kind{Described}
	}
	if c.Fields == nil {
		c.Fields = []Field{}
	}
	c.ExplainedBy, c.Open = []string{}, slices.Clone(c.Kinds)
}

// removes says whether a revision that lacks a line takes it away: a delta is
// silent about what it leaves alone.
func removes(m *manifest.Manifest, name string) bool {
	return m.Delta == nil || slices.ContainsFunc(m.Delta.Remove, func(id string) bool { return name == component+id })
}

// Lineage says what connects two revisions as a whole: a delta, a newer version
// of the lineage, or a statement that replaces it. It returns "" when nothing
// does.
func Lineage(old, fresh *manifest.Manifest) string {
	switch {
	case fresh.ID == old.ID && fresh.Version > old.Version && fresh.Delta != nil:
		return fmt.Sprintf("change %s by %s", fresh.Delta.Ticket, fresh.Delta.Actor)
	case fresh.ID == old.ID && fresh.Version > old.Version:
		return fmt.Sprintf("version %d follows version %d", fresh.Version, old.Version)
	case slices.Contains(fresh.Supersedes, old.ID):
		return fmt.Sprintf("%s supersedes %s", fresh.ID, old.ID)
	}
	return ""
}
