package boardmap

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/internal/ids"
)

// Draft makes a map of a bill of materials: what each part answers is looked up in
// the dictionary, and where, in the evidence of a good unit, when there is some and
// it leaves no choice. What it does not know is said in Open, never guessed.
func Draft(b *board.BOM, inv *bom.Inventory) *Map {
	m := &Map{Format: Format, Source: cut(base(b.Name)), Packages: []Package{}}
	answers := map[string]board.Answer{}
	for _, c := range b.Coverage().Classes {
		for _, a := range c.Answers {
			answers[a.Designator] = a
		}
	}
	chips := map[string]bool{}
	for _, p := range b.Coverage().Inspect {
		chips[p.Designator] = true
	}
	group := map[string]int{}
	last := ""
	for _, p := range b.Parts {
		if p.NotFitted || p.Designator == last || !designatorForm.MatchString(p.Designator) {
			continue
		}
		last = p.Designator
		k := Package{Designators: []string{p.Designator}, Maker: cut(p.Maker), PartNumber: cut(cmp.Or(p.PartNumber, p.Value))}
		if a, ok := answers[p.Designator]; ok {
			k.Handles = handles(a)
			k.Open = "which bus of the machine it is on"
			if strings.Contains(a.ID, "and others") {
				k.Open += "; it has identities that the dictionary does not know: " + a.ID
			}
		} else if chips[p.Designator] {
			k.Open = "not in the dictionary: whether it answers, and how"
		}
		same := k.Maker + "\x00" + k.PartNumber
		if i, ok := group[same]; ok && len(k.Handles) == 0 && k.Open == "" && len(m.Packages[i].Designators) < maxList {
			m.Packages[i].Designators = append(m.Packages[i].Designators, p.Designator)
			continue
		}
		if len(k.Handles) == 0 && k.Open == "" {
			group[same] = len(m.Packages)
		}
		m.Packages = append(m.Packages, k)
	}
	if inv != nil {
		m.place(inv)
	}
	return m
}

func cut(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxText)], "") }

var (
	pairForm = regexp.MustCompile(`[0-9A-Fa-f]{4}:[0-9A-Fa-f]{4}`)
	rdidForm = regexp.MustCompile(`(?i)\b([0-9A-Fx]{2}) ([0-9A-Fx]{2}) ([0-9A-Fx]{2})\b`)
)

// handles turns an answer of the dictionary into handles.
func handles(a board.Answer) []Handle {
	h := Handle{Kind: Kind(a.Bus), Source: cut(a.Source)}
	if a.Says == "presence" {
		h.Says = a.Says
	}
	switch h.Kind {
	case PCI, USB:
		for _, id := range pairForm.FindAllString(a.ID, -1) {
			h.IDs = append(h.IDs, strings.ToLower(id))
		}
	case SPI:
		for _, x := range rdidForm.FindAllStringSubmatch(a.ID, -1) {
			h.IDs = append(h.IDs, strings.ReplaceAll(strings.ToLower(x[1]+x[2]+x[3]), "x", "?"))
		}
	case TPM:
		h.IDs = []string{strings.ToLower(strings.TrimPrefix(a.ID, "maker "))}
	}
	return []Handle{h}
}

// place learns from evidence where packages answer. Only a part that one package
// alone can be is taken.
func (m *Map) place(inv *bom.Inventory) {
	wanted := map[string]int{}
	same := func(h *Handle) string { return string(h.Kind) + " " + strings.Join(h.IDs, ",") }
	numbers := map[string]int{}
	for _, p := range m.Packages {
		for i := range p.Handles {
			wanted[same(&p.Handles[i])] += len(p.Designators)
		}
		numbers[ids.Key(p.PartNumber)] += len(p.Designators)
	}
	for i := range m.Packages {
		p := &m.Packages[i]
		for j := range p.Handles {
			h := &p.Handles[j]
			got := h.candidates(inv)
			switch {
			case len(h.IDs) == 0 || len(got) == 0:
			case wanted[same(h)] > 1 || len(got) > 1:
				p.Open = fmt.Sprintf("%d places of the board and %d parts of the machine have this identity: which is which", wanted[same(h)], len(got))
			default:
				h.At, p.Open = placeOf(got[0]), ""
				h.Functions = functions(h, got[0], inv)
			}
		}
		if len(p.Handles) == 0 && len(p.Designators) == 1 {
			m.named(p, numbers, inv)
		}
	}
}

// named gives a handle to a part whose number the machine itself tells, or whose
// place it names.
func (m *Map) named(p *Package, numbers map[string]int, inv *bom.Inventory) {
	d := p.Designators[0]
	if i := slices.IndexFunc(inv.Places, func(pl bom.Place) bool { return pl.Designator == d }); i >= 0 {
		kind := SMBIOS
		if inv.Places[i].Kind == "dimm" {
			kind = DIMM
		}
		p.Handles, p.Open = []Handle{{Kind: kind, At: d, Says: "presence", Source: "the machine's own tables"}}, ""
		return
	}
	if k := ids.Key(p.PartNumber); k == "" || numbers[k] != 1 {
		return
	}
	var found []bom.Part
	var kind Kind
	for k, c := range classes {
		for _, x := range inv.ByClass(c) {
			if ids.Key(x.Identity.PartNumber) == ids.Key(p.PartNumber) {
				found, kind = append(found, x), k
			}
		}
	}
	if len(found) == 1 {
		h := Handle{Kind: kind, At: placeOf(found[0]), Source: "the part number that it tells"}
		for _, id := range answersOf(kind, found[0]) {
			if identityForm.MatchString(id) {
				h.IDs = append(h.IDs, id)
			}
		}
		p.Handles, p.Open = []Handle{h}, ""
	}
}

func placeOf(p bom.Part) string {
	return cmp.Or(p.Location.Path, p.Location.Designator, p.Location.Slot, p.Subject)
}

// functions counts the PCI functions of a package at its place.
func functions(h *Handle, p bom.Part, inv *bom.Inventory) int {
	if h.Kind != PCI {
		return 0
	}
	device, _, _ := strings.Cut(strings.TrimPrefix(p.Subject, "pci:"), ".")
	n := 0
	for _, q := range inv.ByClass(bom.PCI) {
		if strings.HasPrefix(q.Subject, "pci:"+device+".") && q.Volatile == "" {
			n++
		}
	}
	return n
}
