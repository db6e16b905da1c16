// Package efficacy counts what a verdict detects. It reads attacks, accidents
// and harmless changes as small files, does to the recorded evidence of a
// machine what each says, lets package assay judge the outcome at every level
// of evidence, and sorts the verdicts: detected, detected as something else,
// inconclusive, declared blind, missed.
//
// What it counts are scenarios that the authors of the verifier thought of, on
// machines that they had. It does not prove a rate of detection in the field.
package efficacy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/txtar"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// Level is a level of evidence, from the manifest alone to physical inspection
// (docs/trust.md).
type Level int

// The levels.
const (
	L0 Level = iota // the manifest and who signed it
	L1              // what the management controller tells
	L2              // and the inventory from the running system
	L3              // and the TPM: log, quote, keys
	L4              // and firmware bytes
	L5              // and second reads, signed measurements of devices
	L6              // and records of physical inspections
)

// String returns the name used in vectors, "L3".
func (l Level) String() string { return fmt.Sprintf("L%d", int(l)) }

// Levels lists all levels.
func Levels() []Level { return []Level{L0, L1, L2, L3, L4, L5, L6} }

// Vector is one attack, accident or harmless change.
type Vector struct {
	File    string
	ID      string // of the catalogue: "A03", "BN11"
	Name    string
	Machine string // the recorded machine that it is done to
	Scope   assay.Scope
	Policy  string // a built-in policy, unless there is a section "policy"
	Level   Level  // the lowest at which the expectation holds
	Expect  assay.Verdict

	Findings  []Expected     // all that stand above low, and each informational one that matters
	Incidents []finding.Code // all of them
	Blind     string         // what the verdict declares itself blind to below Level
	Gap       string         // why it is missed, when it is
	Also      []string       // further machines on which the same is done, and the same expected
	Corpus    string         // the public file that it needs, seen from the corpus's folder
	Near      []finding.Code // codes of which it is the near miss: it must not raise them

	base, draft, change []step
	sections            map[string][]byte
}

// Expected is a finding that has to be there. Subject is a prefix.
type Expected struct {
	Code     finding.Code
	Severity finding.Severity
	Subject  string
}

// Benign reports whether the vector is a harmless change.
func (v *Vector) Benign() bool { return strings.HasPrefix(v.ID, "BN") }

// step is one line of a section of steps.
type step struct {
	line int
	verb string
	args []string
}

// Parse reads a vector. Whatever is unknown, doubled or missing is an error that
// names the line.
func Parse(file string, data []byte) (*Vector, error) {
	p := &parser{v: &Vector{File: file, Machine: "baseline", Scope: assay.Machine, Policy: "default", Level: -1, sections: map[string][]byte{}}, seen: map[string]bool{}}
	a := txtar.Parse(data)
	if err := p.header(string(a.Comment)); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	line := strings.Count(string(a.Comment), "\n")
	for _, f := range a.Files {
		line++ // the line with the section's name
		if err := p.section(f.Name, f.Data, line); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		line += strings.Count(string(f.Data), "\n")
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p.v, nil
}

type parser struct {
	v    *Vector
	seen map[string]bool
}

func (p *parser) header(text string) error {
	for i, l := range strings.Split(text, "\n") {
		if l = strings.TrimSpace(l); l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		key, value, ok := strings.Cut(l, ":")
		if !ok {
			return fmt.Errorf("line %d: want key: value", i+1)
		}
		if err := p.key(key, strings.TrimSpace(value)); err != nil {
			return fmt.Errorf("line %d: %s: %w", i+1, key, err)
		}
	}
	return nil
}

func (p *parser) key(key, value string) (err error) {
	v := p.v
	if repeated := slices.Contains([]string{"finding", "change", "incident", "near"}, key); !repeated && p.seen[key] {
		return fmt.Errorf("stands twice")
	}
	p.seen[key] = true
	if value == "" {
		return fmt.Errorf("is empty")
	}
	switch key {
	case "id":
		v.ID = value
	case "name":
		v.Name = value
	case "machine":
		v.Machine = value
	case "also":
		v.Also = strings.Fields(value)
	case "scope":
		v.Scope = assay.Scope(value)
		if v.Scope != assay.Machine && v.Scope != assay.Model {
			err = fmt.Errorf("%q: want machine or model", value)
		}
	case "policy":
		v.Policy = value
		if _, ok := assay.BuiltInPolicy(value); !ok {
			err = fmt.Errorf("%q is no built-in policy", value)
		}
	case "level":
		v.Level, err = parseLevel(value)
	case "expect":
		v.Expect = assay.Verdict(value)
		if !slices.Contains([]assay.Verdict{assay.Pass, assay.Review, assay.Inconclusive, assay.Fail}, v.Expect) {
			err = fmt.Errorf("%q is no verdict", value)
		}
	case "finding", "change":
		err = p.finding(value)
	case "incident":
		err = appendCode(&v.Incidents, value)
	case "near":
		err = appendCode(&v.Near, value)
	case "blind":
		v.Blind = value
	case "known-gap":
		v.Gap = value
	case "corpus":
		v.Corpus = value
	default:
		err = fmt.Errorf("unknown key")
	}
	return err
}

func parseLevel(s string) (Level, error) {
	for _, l := range Levels() {
		if l.String() == s {
			return l, nil
		}
	}
	return 0, fmt.Errorf("%q: want L0 to L6", s)
}

func appendCode(to *[]finding.Code, s string) error {
	if _, ok := finding.Lookup(finding.Code(s)); !ok {
		return fmt.Errorf("unknown code %q", s)
	}
	*to = append(*to, finding.Code(s))
	return nil
}

// finding reads "CODE severity subject".
func (p *parser) finding(value string) error {
	code, rest, _ := strings.Cut(value, " ")
	severity, subject, _ := strings.Cut(rest, " ")
	var codes []finding.Code
	if err := appendCode(&codes, code); err != nil {
		return err
	}
	e := Expected{Code: codes[0], Subject: subject}
	if err := e.Severity.UnmarshalText([]byte(severity)); err != nil {
		return err
	}
	if subject == "" {
		return fmt.Errorf("subject is missing")
	}
	p.v.Findings = append(p.v.Findings, e)
	return nil
}

func (p *parser) section(name string, data []byte, line int) error {
	v := p.v
	if _, twice := v.sections[name]; twice || p.seen["-- "+name] {
		return fmt.Errorf("line %d: section %s stands twice", line, name)
	}
	p.seen["-- "+name] = true
	into := map[string]*[]step{"base": &v.base, "golden": &v.draft, "change": &v.change}[name]
	if into == nil {
		v.sections[name] = data
		return nil
	}
	for i, l := range strings.Split(string(data), "\n") {
		l = strings.TrimSpace(l)
		if l == "" || strings.HasPrefix(l, "#") {
			continue
		}
		words, err := fields(l)
		if err == nil {
			err = checkStep(name, words)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line+i+1, err)
		}
		*into = append(*into, step{line + i + 1, words[0], words[1:]})
	}
	return nil
}

// fields splits a line into words; a word in double quotes is a Go string.
func fields(l string) ([]string, error) {
	var out []string
	for l = strings.TrimSpace(l); l != ""; l = strings.TrimSpace(l) {
		if l[0] == '"' {
			q, err := strconv.QuotedPrefix(l)
			if err != nil {
				return nil, fmt.Errorf("%s: no closed string", l)
			}
			word, err := strconv.Unquote(q)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", q, err)
			}
			out, l = append(out, word), l[len(q):]
			continue
		}
		end := strings.IndexByte(l, ' ')
		if end < 0 {
			end = len(l)
		}
		out, l = append(out, l[:end]), l[end:]
	}
	return out, nil
}

func (p *parser) check() error {
	v := p.v
	for key, given := range map[string]bool{"id": v.ID != "", "name": v.Name != "", "level": v.Level >= 0, "expect": v.Expect != "", "-- change --": len(v.change) > 0} {
		if !given {
			return fmt.Errorf("%s is missing", key)
		}
	}
	if v.Expect == assay.Fail && len(v.Findings) == 0 {
		return fmt.Errorf("a failing verdict needs a finding")
	}
	if v.Benign() && v.Expect == assay.Fail {
		return fmt.Errorf("a harmless change must not fail")
	}
	return nil
}
