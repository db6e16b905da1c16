package boardmap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// State is what became of one place of the board.
type State string

// The states, the worst first.
const (
	Contradicted  State = "contradicted"   // something else answers, nothing does, or an inspector saw another part
	NotChecked    State = "not-checked"    // software could see it; the evidence at hand does not
	NotObservable State = "not-observable" // no software can see it, and nobody has looked
	Present       State = "present"        // something acknowledges there, which tells no type
	Inspected     State = "inspected"      // a record that counts shows it
	Matched       State = "matched"        // software saw exactly the declared part
	NotFitted     State = "not-fitted"     // on the drawing, not on the board
)

// States lists them in this order.
var States = []State{Contradicted, NotChecked, NotObservable, Present, Inspected, Matched, NotFitted}

// Level is what a confirmation of a line rests on, or could rest on.
type Level string

// The levels, the strongest first.
const (
	Cryptographic Level = "cryptographic" // a key that the part holds
	Observed      Level = "observed"      // what silicon or the part's memory answers
	Claimed       Level = "claimed"       // what firmware or the management controller tells
	Presence      Level = "presence"      // it acknowledges, which confirms no type
	PhysicalOnly  Level = "physical-only" // inspection alone
	Undecided     Level = "undecided"     // a chip of which nobody has said yet whether it answers
)

// classes of parts by the kind of handle that asks for them.
var classes = map[Kind]bom.Class{
	PCI: bom.PCI, USB: bom.USB, SPI: bom.Flash, DIMM: bom.Memory, I2C: bom.I2C, MAC: bom.Network, FRU: bom.FRU, TPM: bom.TPM, BMC: bom.BMC,
}

// strength is the level that an answer at a handle has at best.
func (h *Handle) strength() Level {
	if h.Says == "presence" {
		return Presence
	}
	switch h.Kind {
	case TPM:
		return Cryptographic
	case DIMM, SMBIOS, FRU, BMC:
		return Claimed
	}
	return Observed
}

// answersOf are the identities that a part gives on a kind of bus, lower-case.
func answersOf(k Kind, p bom.Part) []string {
	var out []string
	switch k {
	case PCI:
		out = []string{p.Identity.Model[:min(9, len(p.Identity.Model))]}
	case USB, SPI:
		out = []string{p.Identity.Model}
	case FRU:
		out = []string{ids.Key(p.Identity.PartNumber)}
	case TPM, MAC, BMC:
		for _, id := range p.Identity.MakerIDs {
			if _, tail, ok := strings.Cut(id, ":"); ok {
				out = append(out, tail)
			}
		}
	}
	for i := range out {
		out[i] = strings.ToLower(out[i])
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// candidates are the parts of the machine that have one of the handle's
// identities.
func (h *Handle) candidates(inv *bom.Inventory) []bom.Part {
	var out []bom.Part
	for _, p := range inv.ByClass(classes[h.Kind]) {
		first := h.Kind != PCI || strings.HasSuffix(p.Subject, ".0")
		if first && slices.ContainsFunc(answersOf(h.Kind, p), h.fits) {
			out = append(out, p)
		}
	}
	return out
}

// answer is what became of one handle.
type answer struct {
	state   State
	level   Level
	why     string
	subject string
}

// ask holds a handle against the inventory of a machine.
func (h *Handle) ask(inv *bom.Inventory) answer {
	c, ok := classes[h.Kind]
	switch {
	case h.Kind == SMBIOS:
		return h.named(inv)
	case !ok:
		return answer{state: NotChecked, why: "no evidence is read from " + string(h.Kind)}
	}
	seen := inv.Classes[c]
	only := h.Kind == TPM || h.Kind == BMC
	if h.At == "" && !only {
		return h.anywhere(inv, seen)
	}
	at := slices.DeleteFunc(inv.ByClass(c), func(p bom.Part) bool { return !only && !h.is(p) })
	if len(at) == 0 {
		if !seen.Observed || !seen.Whole {
			return answer{state: NotChecked, why: cmp.Or(seen.Reason, fmt.Sprintf("the evidence does not show the class %s completely", c))}
		}
		return answer{state: Contradicted, why: fmt.Sprintf("nothing answers at %s, and the class %s was observed completely", cmp.Or(h.At, string(h.Kind)), c)}
	}
	p := at[0]
	got := answersOf(h.Kind, p)
	switch {
	case len(h.IDs) == 0:
		return answer{Present, Presence, "it acknowledges, which tells no type", p.Subject}
	case len(got) == 0:
		return answer{Present, Presence, "what answers there does not say what it is", p.Subject}
	case !slices.ContainsFunc(got, h.fits):
		return answer{Contradicted, "", fmt.Sprintf("%s answers as %s, declared is %s", p.Subject, strings.Join(got, ", "), strings.Join(h.IDs, " or ")), p.Subject}
	}
	if n := functions(h, p, inv); h.Functions > 0 && n != h.Functions {
		return answer{Contradicted, "", fmt.Sprintf("%s has %d functions, declared are %d", p.Subject, n, h.Functions), p.Subject}
	}
	return answer{Matched, levelOf(p), p.Subject + " answers as " + strings.Join(got, ", "), p.Subject}
}

// anywhere looks for a package whose place nobody has told. Finding it matches;
// not finding it says nothing, since its bus may not reach this machine.
func (h *Handle) anywhere(inv *bom.Inventory, seen bom.Observation) answer {
	found := h.candidates(inv)
	switch {
	case !seen.Observed:
		return answer{state: NotChecked, why: cmp.Or(seen.Reason, "the evidence holds nothing about the class "+string(classes[h.Kind]))}
	case len(h.IDs) == 0:
		return answer{state: NotChecked, why: "the map does not say where it answers"}
	case len(found) == 0:
		return answer{state: NotChecked, why: "the map does not say where it answers, and nothing with this identity does"}
	case len(found) > 1:
		return answer{state: NotChecked, why: fmt.Sprintf("the map does not say where it answers, and %d parts have this identity", len(found))}
	}
	return answer{Matched, levelOf(found[0]), found[0].Subject + " answers with this identity", found[0].Subject}
}

// named looks for a name in the firmware's tables.
func (h *Handle) named(inv *bom.Inventory) answer {
	for _, pl := range inv.Places {
		if ids.Key(pl.Designator) == ids.Key(h.At) {
			return answer{Present, Presence, "the firmware names the place", pl.Subject}
		}
	}
	if len(inv.Places) == 0 {
		return answer{state: NotChecked, why: "the evidence names no places of the board"}
	}
	return answer{state: Contradicted, why: fmt.Sprintf("the firmware's tables do not have %s", h.At)}
}

// is reports whether a part sits where the handle says.
func (h *Handle) is(p bom.Part) bool {
	_, tail, _ := strings.Cut(p.Subject, ":")
	for _, at := range []string{p.Location.Path, p.Location.Designator, p.Location.Slot, p.Subject, tail} {
		if at != "" && ids.Key(at) == ids.Key(h.At) {
			return true
		}
	}
	return false
}

// levelOf is the strongest class of sources that told what a part is.
func levelOf(p bom.Part) Level {
	best := Claimed
	for name, v := range p.Values {
		switch v.Source {
		case finding.Cryptographic:
			return Cryptographic
		case finding.SiliconAnswered, finding.PartMemory:
			if name != "host" {
				best = Observed
			}
		}
	}
	return best
}

// askAll gives the worst answer of a package's handles that says something: a
// package that contradicts at one handle contradicts.
func (p *Package) askAll(inv *bom.Inventory) (best answer, at *Handle) {
	rank := []State{Contradicted, Matched, Present, NotChecked}
	for i := range p.Handles {
		h := &p.Handles[i]
		a := answer{state: NotChecked, why: "no evidence was given"}
		if inv != nil {
			a = h.ask(inv)
		}
		if at == nil || slices.Index(rank, a.state) < slices.Index(rank, best.state) {
			best, at = a, h
		}
	}
	return best, at
}
