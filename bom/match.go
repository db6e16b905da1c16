package bom

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// Coverage counts, for one class, what was declared and what became of it.
type Coverage struct {
	Class         Class `json:"class"`
	Declared      int   `json:"declared"`
	Matched       int   `json:"matched"`
	Unexpected    int   `json:"unexpected"`
	NotObservable int   `json:"notObservable"`
	Inspected     int   `json:"inspected,omitempty"` // of those matched, what an inspection showed and no bus
}

// NotChecked names something that could not be compared, and why.
type NotChecked struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Comparison is the outcome of matching an inventory with references.
type Comparison struct {
	Findings   []finding.Finding
	Coverage   []Coverage
	NotChecked []NotChecked
	Matched    map[string]string // reference id to the subject of its part

	// Unproved lists, by class, declared facts that tell a part from another
	// one and that the evidence does not show.
	Unproved map[Class][]string
}

// Match compares the parts of a machine with the declared lines, both ways and
// one to one: eight declared modules need eight observed ones, and in a closed
// class every observed part needs a line. A line whose class could not be
// observed is neither missing nor matched; it is listed under NotChecked.
func Match(want []Reference, closures map[Class]Closure, got *Inventory) *Comparison {
	m := &matcher{
		closures: closures, got: got, out: &Comparison{Matched: make(map[string]string, min(len(want), len(got.Parts))), Unproved: map[Class][]string{}},
		coverage: map[Class]*Coverage{}, fate: map[string]string{}, instances: map[string]bool{}, open: map[Class]int{}, outlets: map[string]bool{},
	}
	for i := range want {
		if r := &want[i]; r.Class == USB && bmcVirtual[r.Identity.Model] {
			m.outlets[rootPort(r.Location.Path)] = true
		}
	}
	refs, parts := spread(want), items(got.Parts)
	for _, c := range classesOf(refs, parts, closures) {
		m.class(c, refs[c], parts[c])
	}
	m.report()
	return m.out
}

// spread turns lines into declared parts by class, quantities spread out.
func spread(want []Reference) map[Class][]*refItem {
	out, n := map[Class][]*refItem{}, 0
	for i := range want {
		n += copiesOf(&want[i])
	}
	all := make([]refItem, 0, n)
	for i := range want {
		r := &want[i]
		item := refItem{ref: r, keys: keysOf(r.Class, &r.Identity), place: place(r.Class, &r.Location)}
		for j := range r.Alternates {
			item.alternates = append(item.alternates, keysOf(r.Class, &r.Alternates[j]))
		}
		for range copiesOf(r) {
			all = append(all, item)
			out[r.Class] = append(out[r.Class], &all[len(all)-1])
		}
	}
	return out
}

func copiesOf(r *Reference) int { return max(1, min(r.Quantity, maxQuantity)) }

// maxQuantity bounds one line's quantity; no board holds more of one part that
// can identify itself.
const maxQuantity = 4096

func items(parts []Part) map[Class][]*partItem {
	out, all := map[Class][]*partItem{}, make([]partItem, len(parts))
	for i := range parts {
		p := &parts[i]
		all[i] = partItem{part: p, keys: keysOf(p.Class, &p.Identity), place: place(p.Class, &p.Location)}
		out[p.Class] = append(out[p.Class], &all[i])
	}
	return out
}

func classesOf(refs map[Class][]*refItem, parts map[Class][]*partItem, closures map[Class]Closure) []Class {
	set := map[Class]bool{}
	for c := range refs {
		set[c] = true
	}
	for c := range parts {
		set[c] = true
	}
	for c := range closures {
		set[c] = true
	}
	out := make([]Class, 0, len(set))
	for c := range set {
		out = append(out, c)
	}
	// Hosts of other parts come first, so that what sits on a replaced card is
	// told with the card.
	slices.SortStableFunc(out, func(a, b Class) int {
		return cmp.Or(cmp.Compare(depth(a), depth(b)), cmp.Compare(a, b))
	})
	return out
}

func depth(c Class) int {
	switch c {
	case Storage, Network, I2C:
		return 1
	}
	return 0
}

// place is the key of where a part sits, in the terms its class is found by.
func place(c Class, l *finding.Location) string {
	if single(c) {
		return string(c)
	}
	switch c {
	case Memory, Processor, Power:
		return cmp.Or(l.Designator, l.Slot, l.Path)
	}
	return cmp.Or(l.Path, l.Designator, l.Slot)
}

// physicalReason says why a line of the class PhysicalOnly is not checked.
const physicalReason = "no bus can show it; the manifest marks it as physical-only"

type matcher struct {
	closures  map[Class]Closure
	got       *Inventory
	out       *Comparison
	coverage  map[Class]*Coverage
	fate      map[string]string // subject of an unexpected or replaced part to the word for it
	instances map[string]bool   // subjects of parts that are reported with another serial number
	extra     []*partItem
	missing   []*refItem
	paired    []pair
	open      map[Class]int   // parts of open classes without a line
	outlets   map[string]bool // USB ports behind which the manifest expects the management controller

	// Made when needed:
	onto                        map[string][]*Part // parts by their package
	at                          map[string]*Part   // parts by their subject
	usb                         map[string]*Part   // USB devices by their place
	sticks                      bool               // one of them may come and go and offers a disk
	declaredAlike, missingAlike map[alikeKey]int
}

func (m *matcher) class(c Class, refs []*refItem, parts []*partItem) {
	cov := &Coverage{Class: c, Declared: len(refs)}
	m.coverage[c] = cov
	seen := m.got.Classes[c]
	physical := func(r *refItem) bool { return r.ref.Verifiability == PhysicalOnly }
	for _, r := range refs {
		if physical(r) {
			cov.NotObservable++
			m.skip(r, physicalReason)
		}
	}
	refs = slices.DeleteFunc(slices.Clone(refs), physical)
	if !seen.Observed && len(parts) == 0 {
		for _, r := range refs {
			cov.NotObservable++
			m.skip(r, cmp.Or(seen.Reason, "the evidence holds nothing about this class"))
		}
		if len(refs) == 0 && m.closures[c] == Closed {
			m.note(fmt.Sprintf("class %s", c), cmp.Or(seen.Reason, "the evidence holds nothing about this class"))
		}
		return
	}
	pairs := assign(refs, parts)
	usedRef, usedPart := make([]bool, len(refs)), make([]bool, len(parts))
	for _, p := range pairs {
		usedRef[p.ref.order], usedPart[p.part.order] = true, true
		m.out.Matched[p.ref.ref.ID] = p.part.part.Subject
		if m.replaced(p) {
			m.fate[p.part.part.Subject] = "replaced"
		} else {
			cov.Matched++
		}
	}
	m.paired = append(m.paired, pairs...)
	for i, p := range parts { // in their order, as they were sorted
		if !usedPart[i] {
			m.leftPart(p, cov)
		}
	}
	for i, r := range refs {
		if !usedRef[i] {
			m.leftRef(r, seen, cov)
		}
	}
}

func (m *matcher) leftPart(p *partItem, cov *Coverage) {
	switch {
	case p.part.Volatile != "" && m.volatile(p):
	case saysNothing(p.part.Class, &p.part.Identity):
		m.note(p.part.Subject, "its strings were never programmed, so that it says nothing to compare")
	case m.closures[p.part.Class] == Closed || m.closures[p.part.Class] == NoneThere:
		cov.Unexpected++
		m.fate[p.part.Subject] = "unexpected"
		m.extra = append(m.extra, p)
	default:
		m.open[p.part.Class]++
	}
}

func (m *matcher) leftRef(r *refItem, seen Observation, cov *Coverage) {
	switch {
	case r.ref.Optional:
		m.skip(r, "declared optional and not present")
	case m.passedThrough(r):
		m.skip(r, hostOf(r)+" is bound to a driver that hands it to a guest, so that the system does not see what is on it")
		if r.ref.Class == Storage {
			m.unproved(r.ref.Class, string(r.ref.Class)+" "+r.ref.Subject)
		}
	case !seen.Whole:
		cov.NotObservable++
		m.skip(r, cmp.Or(seen.Reason, "the listing of this class is not complete"))
	default:
		m.missing = append(m.missing, r)
	}
}

func (m *matcher) skip(r *refItem, reason string) {
	m.note(string(r.ref.Class)+" "+cmp.Or(r.ref.Subject, r.ref.ID), reason)
}

func (m *matcher) note(what, reason string) {
	m.out.NotChecked = append(m.out.NotChecked, NotChecked{What: what, Reason: reason})
}

// replaced reports whether a pair is below the level that its line asks for.
func (m *matcher) replaced(p pair) bool {
	need, known := levelNames[p.ref.ref.Level]
	if !known {
		need = levelModel
	}
	// A missing or different serial number is told as HW-016 or as not
	// checked, not as another model; an approved alternate satisfies a model.
	need = min(need, levelAlternate)
	return p.level < need
}

// report turns leftovers and pairs into findings.
func (m *matcher) report() {
	for _, p := range m.paired {
		m.comparePair(p)
	}
	for _, g := range groupParts(m.extra) {
		m.unexpected(g)
	}
	for _, g := range groupRefs(m.missing) {
		m.lost(g[0], len(g))
	}
	for c, n := range m.open {
		m.note("class "+string(c), fmt.Sprintf("not declared complete; %d parts without a line were not judged", n))
	}
	for _, c := range m.coverage {
		m.out.Coverage = append(m.out.Coverage, *c)
	}
	slices.SortStableFunc(m.out.Coverage, func(a, b Coverage) int { return cmp.Compare(a.Class, b.Class) })
	slices.SortStableFunc(m.out.NotChecked, func(a, b NotChecked) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Reason, b.Reason))
	})
	m.out.NotChecked = slices.Compact(m.out.NotChecked)
	m.out.Findings = finding.Sort(m.out.Findings)
}

func (m *matcher) add(f finding.Finding) {
	fs := m.out.Findings
	if len(fs) == cap(fs) {
		fs = slices.Grow(fs, len(fs)) // append grows by a quarter, which copies what is large five times
	}
	m.out.Findings = append(fs, f)
}

// groupRefs gathers the missing functions of one processor or chipset: a
// processor that is gone is one finding, not a hundred.
func groupRefs(refs []*refItem) [][]*refItem {
	at := map[string]int{}
	var out [][]*refItem
	for _, r := range refs {
		k := r.ref.Attributes[attrPackage]
		if i, ok := at[k]; ok && k != "" {
			out[i] = append(out[i], r)
			continue
		}
		at[k] = len(out)
		out = append(out, []*refItem{r})
	}
	return out
}

// groupParts gathers the functions of one PCI device: a card with four ports is
// one unexpected chip, not four.
func groupParts(parts []*partItem) [][]*partItem {
	at := map[string]int{}
	var out [][]*partItem
	slices.SortStableFunc(parts, func(a, b *partItem) int { return cmp.Compare(a.part.Subject, b.part.Subject) })
	for _, p := range parts {
		k := deviceOf(p.part)
		if i, ok := at[k]; ok {
			out[i] = append(out[i], p)
			continue
		}
		at[k] = len(out)
		out = append(out, []*partItem{p})
	}
	return out
}

// deviceOf is the subject without its PCI function number, or the package of a
// function inside a processor or chipset.
func deviceOf(p *Part) string {
	if p.Class != PCI {
		return p.Subject
	}
	if strings.HasPrefix(p.Package, internalPackage) {
		return p.Package
	}
	dev, _, _ := strings.Cut(strings.TrimPrefix(p.Subject, "pci:"), ".")
	return "pci:" + dev
}
