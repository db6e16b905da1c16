// Package doctor tells what a machine lets be collected, why not the rest, and what
// would change that. It judges no machine: a diagnosis is about the evidence that a
// scan would give, never about whether the server is the one that its vendor built.
package doctor

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
)

// State says how much of a source a scan gets.
type State string

// The states. OnRequest is what a scan can read and only does when it is asked to.
const (
	Ready     State = "ready"
	Partial   State = "partial"
	Missing   State = "missing"
	OnRequest State = "on request"
)

// Check is what was found out about one source of evidence.
type Check struct {
	Name  string `json:"name"`
	About string `json:"about"` // what it is and what it is for
	State State  `json:"state"`
	Found string `json:"found,omitempty"`
	Why   string `json:"why,omitempty"`  // it is not all there
	Step  string `json:"step,omitempty"` // what to do next; empty when nothing can be done
}

// Class says how far parts of one class can be compared.
type Class struct {
	Class bom.Class `json:"class"`
	Parts int       `json:"parts"`
	Whole bool      `json:"whole"` // a missing part is really missing, so that a closed class can pass
	Why   string    `json:"why,omitempty"`
}

// Diagnosis is what the evidence of a machine can show.
type Diagnosis struct {
	Level     string  `json:"level"`     // of assurance, with a scan as it was done here (docs/trust.md)
	Reachable string  `json:"reachable"` // with what this machine has and a scan has to be asked for
	Statement string  `json:"statement"` // one sentence about both
	Checks    []Check `json:"checks"`
	Classes   []Class `json:"classes"`
}

// patient is what the checks look at.
type patient struct {
	b     *evidence.Bundle
	host  host
	inv   *bom.Inventory
	boot  *attest.Appraisal
	index evidence.Index // empty when the evidence is unsealed
}

// Diagnose looks at what a scan gave and, where the machine is at hand, at its files
// for the reason. files is the root directory of the machine, or nil; nonce and now are
// those of the scan.
func Diagnose(b *evidence.Bundle, files fs.FS, nonce []byte, now time.Time) *Diagnosis {
	p := &patient{b: b, host: host{files}, inv: bom.Read(b)}
	if ix := b.Index(); ix != nil {
		p.index = *ix
	}
	p.boot = attest.Observe(b).Appraise(attest.Params{
		Nonce: nonce, NonceGiven: nonce != nil, SealDigest: b.Digest(), Sealed: b.Sealed(), Now: now, Virtual: p.inv.Virtual != "",
	})
	d := &Diagnosis{Classes: p.classes()}
	for _, check := range checks {
		c := check.look(p)
		c.Name, c.About = check.name, check.about
		d.Checks = append(d.Checks, c)
	}
	d.levels(p)
	return d
}

// classes lists what of each class could be seen, the incomplete ones first.
func (p *patient) classes() []Class {
	var out []Class
	for _, c := range slices.Sorted(maps.Keys(p.inv.Classes)) {
		o := p.inv.Classes[c]
		if k := (Class{Class: c, Parts: len(p.inv.ByClass(c)), Whole: o.Observed && o.Whole, Why: o.Reason}); k.Parts > 0 || o.Observed {
			if !k.Whole && k.Why == "" {
				k.Why = "what is listed is there; nothing says that it is all"
			}
			out = append(out, k)
		}
	}
	slices.SortStableFunc(out, func(a, b Class) int {
		switch {
		case a.Whole == b.Whole:
			return 0
		case b.Whole:
			return -1
		}
		return 1
	})
	return out
}

// levels says how far evidence of this machine can be believed, as docs/trust.md
// counts, before it is held against any manifest.
func (d *Diagnosis) levels(p *patient) {
	state := func(name string) State {
		return d.Checks[slices.IndexFunc(d.Checks, func(c Check) bool { return c.Name == name })].State
	}
	parts := p.inv.Classes[bom.PCI].Observed || p.inv.Classes[bom.System].Observed
	signed := p.boot.Quoted && p.boot.LogMatches
	switch flash := state("flash"); {
	case signed && flash == Ready:
		d.Level, d.Reachable = "L4", "L4"
	case signed && flash == OnRequest:
		d.Level, d.Reachable = "L3", "L4"
	case signed:
		d.Level, d.Reachable = "L3", "L3"
	case parts:
		d.Level, d.Reachable = "L2", "L2"
	case len(p.b.Dir("redfish")) > 0:
		d.Level, d.Reachable = "L1", "L1"
	default:
		d.Level, d.Reachable = "L0", "L0"
	}
	d.Statement = levelSays[d.Level]
	if d.Reachable != d.Level {
		d.Statement += fmt.Sprintf(" With %s it can be %s.", "--with firmware", d.Reachable)
	}
	d.Statement += " L5 needs a second, independent view (devices that sign, or a clip on the flash), L6 a signed physical inspection too."
}

// levelSays tells in a sentence what evidence of a level is.
var levelSays = map[string]string{
	"L0": "This scan shows no parts of the machine: nothing could be compared but documents.",
	"L1": "Everything would be as the management controller tells it, which signs nothing.",
	"L2": "Everything would be as the machine's system tells it: no signed measurement with a log that explains it.",
	"L3": "The TPM signs what was measured at boot, and the log explains it; firmware images are not compared.",
	"L4": "The TPM signs what was measured at boot, the log explains it, and firmware images can be compared.",
}

// Needs reports the checks in which something can be done.
func (d *Diagnosis) Needs() []Check {
	return slices.DeleteFunc(slices.Clone(d.Checks), func(c Check) bool { return c.State == Ready || c.Step == "" })
}
