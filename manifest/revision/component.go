package revision

import (
	"cmp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// pair maps the names of new component lines to the names of the old lines that
// they continue. Keys that are not unique on both sides pair nothing. A delta
// names lines by their ids, and nothing else.
func pair(old, fresh []bom.Reference, delta bool) map[string]string {
	p := pairing{old: index(old), fresh: index(fresh), out: map[string]string{}}
	byID := func(r bom.Reference) string { return string(r.Class) + "\x00" + r.ID }
	if delta {
		p.by(func(r bom.Reference) string { return r.ID })
		return p.out
	}
	p.by(func(r bom.Reference) string {
		if r.Identity.Serial == "" {
			return ""
		}
		return string(r.Class) + "\x00" + fold(r.Identity.Serial) + "\x00" + model(r.Identity)
	})
	p.by(byID)
	p.by(func(r bom.Reference) string { return place(r) + "\x00" + model(r.Identity) })
	p.by(place)
	return p.out
}

type pairing struct {
	old, fresh map[string]bom.Reference // by id, what is not paired yet
	out        map[string]string
}

func index(refs []bom.Reference) map[string]bom.Reference {
	out := map[string]bom.Reference{}
	for _, r := range refs {
		out[r.ID] = r
	}
	return out
}

// by pairs lines with an equal, unique, non-empty key.
func (p *pairing) by(key func(bom.Reference) string) {
	unique := func(refs map[string]bom.Reference) map[string]string {
		ids := map[string]string{}
		twice := map[string]bool{}
		for id, r := range refs {
			k := key(r)
			if strings.Trim(k, "\x00") == "" {
				continue
			}
			_, had := ids[k]
			twice[k] = twice[k] || had
			ids[k] = id
		}
		for k := range twice {
			if twice[k] {
				delete(ids, k)
			}
		}
		return ids
	}
	old := unique(p.old)
	for k, id := range unique(p.fresh) {
		if before, ok := old[k]; ok {
			p.out[component+id] = component + before
			delete(p.old, before)
			delete(p.fresh, id)
		}
	}
}

// place is where a part of a class sits, "" when the line does not say.
func place(r bom.Reference) string {
	where := r.Location
	if where == (finding.Location{}) {
		if r.Subject == "" {
			return ""
		}
		return string(r.Class) + "\x00" + r.Subject
	}
	return string(r.Class) + "\x00" + where.Slot + "\x00" + where.Path + "\x00" + where.Designator
}

func model(i bom.Identity) string { return fold(cmp.Or(i.PartNumber, i.Model)) }

// fold spells a text as it is compared.
func fold(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }

// judgeComponent says what differs between two lines for one part.
func judgeComponent(o, n bom.Reference) []Kind {
	out := rules(o, n)
	switch {
	case o.Class != n.Class, other(o.Identity.Model, n.Identity.Model), other(o.Identity.PartNumber, n.Identity.PartNumber), other(o.Identity.Maker, n.Identity.Maker):
		out = append(out, Substituted)
	case other(o.Identity.Serial, n.Identity.Serial):
		out = append(out, Replaced)
		out = append(out, values(o, n)...)
	default:
		out = append(out, values(o, n)...)
	}
	if o.Location != n.Location && o.Location != (finding.Location{}) && n.Location != (finding.Location{}) {
		out = append(out, Moved)
	}
	return out
}

func values(o, n bom.Reference) []Kind {
	var out []Kind
	if other(o.Identity.Firmware, n.Identity.Firmware) {
		out = append(out, Firmware)
	}
	revalued := other(o.Identity.Revision, n.Identity.Revision) || other(o.Identity.Brand, n.Identity.Brand) || max(o.Quantity, 1) != max(n.Quantity, 1)
	for name, v := range o.Attributes {
		revalued = revalued || other(v, n.Attributes[name])
	}
	if revalued || !equalIDs(o.Identity.MakerIDs, n.Identity.MakerIDs) {
		out = append(out, Revalued)
	}
	return out
}

func equalIDs(a, b []string) bool {
	return len(a) == 0 || len(b) == 0 || slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// other reports whether two lines say different things; a line that is silent
// says nothing different.
func other(a, b string) bool { return a != "" && b != "" && fold(a) != fold(b) }

// levels are how exactly a part must be matched (bom.Reference.Level), the least
// first.
var levels = []string{"class", "family", "model", "instance"}

// rules says whether a line demands more or less of a part than before.
func rules(o, n bom.Reference) []Kind {
	t := tally{}
	t.steps(slices.Index(levels, cmp.Or(n.Level, "model")) - slices.Index(levels, cmp.Or(o.Level, "model")))
	t.flag(o.Optional, n.Optional)
	t.flag(!o.Security, !n.Security)
	t.flag(o.Verifiability == physicalOnly, n.Verifiability == physicalOnly)
	t.wider = t.sets(alternates(o), alternates(n)) || t.wider
	for _, f := range []func(bom.Identity) string{
		func(i bom.Identity) string { return i.Maker }, func(i bom.Identity) string { return i.Model },
		func(i bom.Identity) string { return i.PartNumber }, func(i bom.Identity) string { return i.Revision },
		func(i bom.Identity) string { return i.Serial }, func(i bom.Identity) string { return i.Firmware },
		func(i bom.Identity) string { return strings.Join(i.MakerIDs, " ") },
	} {
		t.silence(f(o.Identity), f(n.Identity))
	}
	for name := range o.Attributes {
		t.silence(o.Attributes[name], n.Attributes[name])
	}
	for name := range n.Attributes {
		t.silence(o.Attributes[name], n.Attributes[name])
	}
	return t.kinds()
}

const physicalOnly = "physical-only"

func alternates(r bom.Reference) []string {
	var out []string
	for _, a := range r.Alternates {
		out = append(out, fold(a.Maker)+" "+fold(a.Model)+" "+fold(a.PartNumber)+" "+fold(a.Serial))
	}
	return out
}

// tally collects whether rules became wider or narrower.
type tally struct{ wider, narrower bool }

func (t *tally) steps(up int) {
	t.wider, t.narrower = t.wider || up < 0, t.narrower || up > 0
}

// flag is about a rule that lets more pass while it is set.
func (t *tally) flag(old, fresh bool) {
	t.wider, t.narrower = t.wider || !old && fresh, t.narrower || old && !fresh
}

// silence is about a fact that is compared only while it is declared.
func (t *tally) silence(old, fresh string) { t.flag(old == "", fresh == "") }

// sets is about a list of what is allowed: more of it lets more pass. When both
// lists have entries that the other one lacks, it is another list, which is
// reported and not tallied.
func (t *tally) sets(old, fresh []string) (another bool) {
	more, less := lacks(old, fresh), lacks(fresh, old)
	if more && less {
		return true
	}
	t.wider, t.narrower = t.wider || more, t.narrower || less
	return false
}

// lacks reports whether a list has not all entries of another one.
func lacks(list, entries []string) bool {
	return slices.ContainsFunc(entries, func(s string) bool { return !slices.Contains(list, s) })
}

func (t *tally) kinds() []Kind {
	var out []Kind
	if t.wider {
		out = append(out, Loosened)
	}
	if t.narrower {
		out = append(out, Tightened)
	}
	return out
}
