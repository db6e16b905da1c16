package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Change is one line that two manifests say differently. Old or New is empty
// where the line is not there; both are JSON.
type Change struct {
	Line string `json:"line"` // "component:ID", "pcr:N", "firmware:NAME", "spdm:ID", "class:NAME", "environment"
	Old  string `json:"old,omitempty"`
	New  string `json:"new,omitempty"`
}

// Diff lists what changed from one manifest to another, sorted by line. When
// the newer one is a delta, only what it sets or removes is a change.
func Diff(old, fresh *Manifest) ([]Change, error) {
	a, err := linesOf(old)
	if err != nil {
		return nil, err
	}
	b, err := linesOf(fresh)
	if err != nil {
		return nil, err
	}
	var out []Change
	for _, line := range slices.Sorted(maps.Keys(b)) {
		if a[line] != b[line] {
			out = append(out, Change{Line: line, Old: a[line], New: b[line]})
		}
	}
	for _, line := range slices.Sorted(maps.Keys(a)) {
		if _, ok := b[line]; !ok && removes(fresh, line) {
			out = append(out, Change{Line: line, Old: a[line]})
		}
	}
	slices.SortStableFunc(out, func(x, y Change) int { return strings.Compare(x.Line, y.Line) })
	return out, nil
}

func removes(m *Manifest, line string) bool {
	return m.Delta == nil || slices.ContainsFunc(m.Delta.Remove, func(id string) bool { return line == "component:"+id })
}

// Explained says what accounts for the change from one manifest to another: a
// ticket, a newer version of the lineage, or a statement that replaces it. It
// returns "" when nothing does.
func Explained(old, fresh *Manifest) string {
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

// linesOf gives every line a name that does not depend on its place. Lines of
// one name, such as two images that are both allowed, are one entry.
func linesOf(m *Manifest) (map[string]string, error) {
	s := m.sorted()
	groups := map[string][]any{"environment": {s.Environment}}
	add := func(line string, v any) { groups[line] = append(groups[line], v) }
	for _, c := range s.Components {
		add("component:"+c.ID, c)
	}
	for _, r := range s.Boot {
		add(fmt.Sprintf("pcr:%d", r.PCR), r)
	}
	for _, r := range s.Firmware {
		add("firmware:"+r.Name, r)
	}
	for _, r := range s.SPDM {
		add("spdm:"+r.ID, r)
	}
	for _, e := range s.Endorsements {
		add("endorsement:"+e.Kind, e)
	}
	for _, k := range s.Known {
		add("known:"+string(k.Code)+":"+k.Subject, k)
	}
	for _, a := range s.Authority {
		add("authority:"+a.Signer, a)
	}
	for c, v := range s.Classes {
		add("class:"+string(c), v)
	}
	if s.Scanner != nil {
		add("scanner", s.Scanner)
	}
	if !s.NotAfter.IsZero() {
		add("notAfter", s.NotAfter)
	}
	out := make(map[string]string, len(groups))
	for line, vs := range groups {
		var v any = vs
		if len(vs) == 1 {
			v = vs[0]
		}
		b, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %s: %w", m.ID, line, err)
		}
		out[line] = string(b)
	}
	return out, nil
}
