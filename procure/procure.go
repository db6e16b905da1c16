// Package procure checks what a vendor's manifest says before anything is bought
// on its word: whether it is complete for a kind of machine, plausible, and free
// of what a buyer may not use.
//
// It proves that a manifest says something or leaves it out. It does not prove
// that a machine is so; appraising evidence does.
package procure

import (
	"cmp"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest"
)

// Weight says what a gap means for the verdict.
type Weight string

// The weights.
const (
	Wrong   Weight = "wrong"   // what stands there cannot be right, or must not be bought
	Missing Weight = "missing" // the vendor has to say more
	Note    Weight = "note"    // worth knowing; no verdict depends on it
)

// Gap is one thing that a buyer should ask the vendor about.
type Gap struct {
	Weight  Weight `json:"weight"`
	Check   string `json:"check"`   // "completeness", "placeholder", "prohibited", ...
	Subject string `json:"subject"` // "component:memory-1", "class:psu", "manifest"
	Field   string `json:"field,omitempty"`
	Got     string `json:"got,omitempty"`
	Why     string `json:"why"`
	Ask     string `json:"ask"` // what the vendor should supply
}

// Verdict is what the gaps come to.
type Verdict string

// The verdicts: Fail when something is wrong, else Incomplete when something is
// missing.
const (
	Pass       Verdict = "pass"
	Fail       Verdict = "fail"
	Incomplete Verdict = "incomplete"
)

// Report is the outcome of Check.
type Report struct {
	Format       string         `json:"format"`
	Verdict      Verdict        `json:"verdict"`
	At           time.Time      `json:"at"`
	Manifest     string         `json:"manifest"`
	Version      int64          `json:"version"`
	Platform     string         `json:"platform"`
	Profile      string         `json:"profile"`
	Lists        []ListUse      `json:"lists"` // of prohibited sources
	Lines        int            `json:"lines"`
	PhysicalOnly int            `json:"physicalOnly"` // lines that no software can check
	Gaps         []Gap          `json:"gaps"`
	Counts       map[string]int `json:"counts"` // gaps by check
	NotChecked   []string       `json:"notChecked"`
}

// Format names the JSON form of a Report.
const Format = "assay.lint/v1"

// Input is what a check looks at.
type Input struct {
	Manifest  *manifest.Manifest
	Signed    *manifest.Report // of the signature; nil when it was not checked
	Envelope  bool             // the file is signed
	Profile   Profile
	Lists     []List
	Lifecycle []Lifecycle // nil: not given
	Now       time.Time
}

// checker gathers gaps.
type checker struct {
	Input
	out Report
}

// Check runs every check. Equal inputs give equal reports.
func Check(in Input) *Report {
	c := &checker{Input: in}
	m := in.Manifest
	c.out = Report{
		Format: Format, At: in.Now.UTC(), Manifest: m.ID, Version: m.Version, Profile: in.Profile.Name, Lists: []ListUse{},
		Platform: m.Environment.Manufacturer + " " + m.Environment.Model, Gaps: []Gap{}, Counts: map[string]int{}, NotChecked: []string{},
	}
	c.signature()
	c.validity()
	c.statement()
	c.completeness()
	for _, r := range m.Components {
		c.line(r)
	}
	c.duplicates()
	c.designators()
	c.sources()
	c.lifecycle()
	c.firmware()
	c.conclude()
	return &c.out
}

func (c *checker) gap(w Weight, check, subject, field, got, why, ask string) {
	c.out.Gaps = append(c.out.Gaps, Gap{Weight: w, Check: check, Subject: subject, Field: field, Got: got, Why: why, Ask: ask})
}

func (c *checker) notChecked(format string, args ...any) {
	c.out.NotChecked = append(c.out.NotChecked, fmt.Sprintf(format, args...))
}

func (c *checker) conclude() {
	order := map[Weight]int{Wrong: 0, Missing: 1, Note: 2}
	slices.SortStableFunc(c.out.Gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(order[a.Weight], order[b.Weight]), cmp.Compare(a.Check, b.Check), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Got, b.Got))
	})
	c.out.Verdict = Pass
	for _, g := range c.out.Gaps {
		c.out.Counts[g.Check]++
		switch {
		case g.Weight == Wrong:
			c.out.Verdict = Fail
		case g.Weight == Missing && c.out.Verdict == Pass:
			c.out.Verdict = Incomplete
		}
	}
	c.out.Lines = len(c.Manifest.Components)
	slices.Sort(c.out.NotChecked)
}

// subject is how a line is called.
func subject(r bom.Reference) string { return "component:" + r.ID }

// WriteCSV writes what the vendor is asked for, one row for each gap that has to
// be closed.
func (r *Report) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	_ = out.Write([]string{"manifest", "version", "weight", "check", "subject", "field", "found", "why", "please supply"})
	for _, g := range r.Gaps {
		if g.Weight == Note {
			continue
		}
		_ = out.Write([]string{safe(r.Manifest), fmt.Sprint(r.Version), string(g.Weight), g.Check, safe(g.Subject), g.Field, safe(g.Got), safe(g.Why), safe(g.Ask)})
	}
	out.Flush()
	return out.Error()
}

// safe keeps a spreadsheet from taking a text of the manifest for a formula.
func safe(s string) string {
	if s != "" && (s[0] == '=' || s[0] == '+' || s[0] == '-' || s[0] == '@' || s[0] == '\t' || s[0] == '\r') {
		return "'" + s
	}
	return s
}
