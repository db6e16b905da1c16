// Package gate measures false alarms on what standard tools printed of real
// servers: each is held against a manifest drafted from itself, and against one
// drafted from another server of the same board and firmware.
//
// A finding is counted as a false alarm when the printed records that it could
// be about do not differ: the records are compared by a reading of their own,
// which shares nothing with the readers and the matcher that are measured. What
// it cannot see is a finding about a difference that has no meaning; those are
// listed with both values, for a person to judge.
package gate

import (
	"cmp"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// Dump is what a tool printed of one server, and the parts in it.
type Dump struct {
	Name      string
	Inventory *bom.Inventory
	bundle    *evidence.Bundle
	printed   printed
}

// maxDump bounds one file; the largest that are known have 300 KB.
const maxDump = 8 << 20

// Read reads every dump below a directory. What is none that is known is
// returned by name.
func Read(fsys fs.FS) (dumps []Dump, others []string, err error) {
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if i, err := d.Info(); err != nil || i.Size() > maxDump {
			others = append(others, name)
			return err
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		inv, err := bom.ReadDump(name, data)
		if err != nil {
			others = append(others, name)
			return nil //nolint:nilerr // another tool's output
		}
		b, err := evidence.FromFiles(map[string][]byte{"dump": data}, name, evidence.Limits{})
		if err != nil {
			return err
		}
		dumps = append(dumps, Dump{Name: name, Inventory: inv, bundle: b, printed: readPrinted(string(data))})
		return nil
	})
	slices.SortFunc(dumps, func(a, b Dump) int { return cmp.Compare(a.Name, b.Name) })
	return dumps, others, err
}

// Case is one dump held against the manifest of another one, or its own.
type Case struct {
	Reference, Unit string
	Verdict         assay.Verdict
	Findings        []Judged // above informational
}

// Judged is a finding with what the printed records say to it.
type Judged struct {
	finding.Finding
	FalseAlarm bool
}

// Rates are what a measurement counts.
type Rates struct {
	Groups      int                   `json:"groups,omitempty"` // that more than one server belongs to
	Cases       int                   `json:"cases"`
	Verdicts    map[assay.Verdict]int `json:"verdicts"`
	Findings    map[finding.Code]int  `json:"findings"` // above informational
	FalseAlarms map[finding.Code]int  `json:"falseAlarms"`
	Listed      []Case                `json:"-"` // the cases with false alarms
}

// False counts the false alarms.
func (r *Rates) False() int {
	n := 0
	for _, c := range r.FalseAlarms {
		n += c
	}
	return n
}

// Measurement is what one set of dumps showed.
type Measurement struct {
	Dumps     int   `json:"dumps"`
	Nameless  int   `json:"nameless"`  // say of no maker or model, so that no manifest can be about them
	Self      Rates `json:"self"`      // each against a manifest of itself
	SameModel Rates `json:"sameModel"` // each against the model manifest of another one of its model, board and firmware
	SameBoard Rates `json:"sameBoard"` // of its board and firmware, whatever the machine is called
}

// Measure holds every dump below a directory against itself and against its
// likes. Equal dumps give equal measurements.
func Measure(fsys fs.FS) (*Measurement, error) {
	dumps, _, err := Read(fsys)
	if err != nil {
		return nil, err
	}
	b, err := NewBench()
	if err != nil {
		return nil, err
	}
	m := &Measurement{Dumps: len(dumps)}
	self, nameless, err := b.Self(dumps)
	if err != nil {
		return nil, err
	}
	m.Self, m.Nameless = *self, len(nameless)
	for _, g := range []struct {
		of  func(*Dump) string
		out *Rates
	}{{SameModel, &m.SameModel}, {SameBoard, &m.SameBoard}} {
		r, err := b.Pairs(dumps, g.of)
		if err != nil {
			return nil, err
		}
		*g.out = *r
	}
	return m, nil
}

// at is when dumps are judged; no result depends on it.
var at = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

// Bench drafts, signs and verifies.
type Bench struct {
	signer *signer
	makers *assay.Makers
	policy *assay.Policy
}

// NewBench makes the key that signs the drafts.
func NewBench() (*Bench, error) {
	s, err := newSigner(at)
	if err != nil {
		return nil, fmt.Errorf("gate: %w", err)
	}
	p, _ := assay.BuiltInPolicy("inventory")
	return &Bench{signer: s, makers: &assay.Makers{}, policy: p}, nil
}

// Draft signs a manifest of one unit: for this machine, or for its model.
func (b *Bench) Draft(d *Dump, scope assay.Scope) ([]byte, error) {
	m, _, err := assay.Draft([]*evidence.Bundle{d.bundle}, assay.DraftOptions{Scope: scope, Now: at, Inventories: []*bom.Inventory{d.Inventory}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	return b.signer.sign(m)
}

// Hold holds a unit against a signed manifest of the reference.
func (b *Bench) Hold(golden []byte, reference, unit *Dump) (*Case, error) {
	r, err := assay.Verify(assay.Case{
		Evidence: unit.bundle, Inventory: unit.Inventory, Golden: [][]byte{golden}, Trust: b.signer.trust, Policy: b.policy, Makers: b.makers, Now: at,
	})
	if err != nil {
		return nil, fmt.Errorf("%s against %s: %w", unit.Name, reference.Name, err)
	}
	c := &Case{Reference: reference.Name, Unit: unit.Name, Verdict: r.Verdict}
	o := newOracle(reference, unit)
	for _, f := range r.Findings {
		if f.Severity > finding.Info {
			c.Findings = append(c.Findings, Judged{Finding: f, FalseAlarm: !o.explains(&f)})
		}
	}
	return c, nil
}

// Self holds each dump against a manifest of this very machine. Those that do not
// name their machine cannot have one, and are returned.
func (b *Bench) Self(dumps []Dump) (rates *Rates, nameless []string, err error) {
	rates = newRates()
	for i := range dumps {
		d := &dumps[i]
		if !named(d) {
			nameless = append(nameless, d.Name)
			continue
		}
		golden, err := b.Draft(d, assay.Machine)
		if err != nil {
			return nil, nil, err
		}
		c, err := b.Hold(golden, d, d)
		if err != nil {
			return nil, nil, err
		}
		rates.add(c)
	}
	return rates, nameless, nil
}

// Pairs holds each dump against the model manifest of every other one of its
// group.
func (b *Bench) Pairs(dumps []Dump, group func(*Dump) string) (*Rates, error) {
	rates := newRates()
	groups := map[string][]*Dump{}
	for i := range dumps {
		if k := group(&dumps[i]); k != "" && named(&dumps[i]) {
			groups[k] = append(groups[k], &dumps[i])
		}
	}
	for _, k := range slices.Sorted(maps.Keys(groups)) {
		if len(groups[k]) < 2 {
			continue
		}
		rates.Groups++
		for _, reference := range groups[k] {
			if err := b.others(reference, groups[k], rates); err != nil {
				return nil, err
			}
		}
	}
	return rates, nil
}

// others holds all of a group but the reference against its manifest.
func (b *Bench) others(reference *Dump, group []*Dump, rates *Rates) error {
	golden, err := b.Draft(reference, assay.Model)
	if err != nil {
		return err
	}
	for _, unit := range group {
		if unit == reference {
			continue
		}
		c, err := b.Hold(golden, reference, unit)
		if err != nil {
			return err
		}
		rates.add(c)
	}
	return nil
}

func newRates() *Rates {
	return &Rates{Verdicts: map[assay.Verdict]int{}, Findings: map[finding.Code]int{}, FalseAlarms: map[finding.Code]int{}}
}

func (r *Rates) add(c *Case) {
	r.Cases++
	r.Verdicts[c.Verdict]++
	alarm := false
	for _, f := range c.Findings {
		r.Findings[f.Code]++
		if f.FalseAlarm {
			r.FalseAlarms[f.Code]++
			alarm = true
		}
	}
	if alarm {
		r.Listed = append(r.Listed, *c)
	}
}

// named reports whether a dump says what machine it is of.
func named(d *Dump) bool {
	id, ok := d.Inventory.Machine()
	return ok && id.Maker != "" && id.Model != ""
}

// SameModel groups servers of one model, board and firmware version; empty is a
// server that does not say.
func SameModel(d *Dump) string {
	id, _ := d.Inventory.Machine()
	return groupKey(SameBoard(d), id.Maker, id.Model)
}

// SameBoard groups servers of one board and firmware version, whatever name the
// server has.
func SameBoard(d *Dump) string {
	b, _ := d.Inventory.Part("baseboard")
	f, _ := d.Inventory.Part("firmware:bios")
	return groupKey(b.Identity.Maker, b.Identity.Model, f.Identity.Firmware)
}

func groupKey(parts ...string) string {
	if slices.Contains(parts, "") {
		return ""
	}
	return strings.ToLower(strings.Join(parts, "|"))
}
