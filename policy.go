package assay

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/assay-hw/assay/finding"
)

// Requirement names something that a verdict of pass must rest on.
type Requirement string

// The requirements. What is required and not proved makes a verdict
// inconclusive.
const (
	RequireManifest  Requirement = "manifest"  // a trusted manifest for this machine
	RequireClasses   Requirement = "classes"   // evidence for every closed class
	RequireQuote     Requirement = "quote"     // a verified quote, when the manifest has boot references
	RequireLog       Requirement = "log"       // an event log that explains the quoted PCRs
	RequireSeal      Requirement = "seal"      // the quote covers the inventory
	RequireFresh     Requirement = "fresh"     // the quote carries the verifier's nonce
	RequireKeyBound  Requirement = "keyBound"  // the attestation key is enrolled or pinned
	RequireCollector Requirement = "collector" // the boot record shows a known scanner
	RequireFirmware  Requirement = "firmware"  // every declared firmware image was read
	RequireParts     Requirement = "parts"     // every declared part was seen, with all that its line says
)

// Policy says what must be proved, how bad findings are, and which are known
// and accepted for a while. It cannot make anything trusted.
type Policy struct {
	ID             string        `json:"id" yaml:"id"`
	Extends        string        `json:"extends,omitempty" yaml:"extends"`
	Require        []Requirement `json:"require,omitempty" yaml:"require"`
	Severity       []override    `json:"severity,omitempty" yaml:"severity"`
	Waivers        []Waiver      `json:"waivers,omitempty" yaml:"waivers"`
	Volatile       Volatile      `json:"volatile,omitzero" yaml:"volatile"`
	MaxEvidenceAge Duration      `json:"maxEvidenceAge,omitempty" yaml:"maxEvidenceAge"`
	MaxManifestAge Duration      `json:"maxManifestAge,omitempty" yaml:"maxManifestAge"`

	Inspections []inspectionRule `json:"inspections,omitempty" yaml:"inspections"`
	New         *newRule         `json:"new,omitempty" yaml:"new"`          // nil: the unit need not be new
	Accounts    []account        `json:"accounts,omitzero" yaml:"accounts"` // nil: none are declared
}

// override sets the severity of findings by code and, where given, subject.
type override struct {
	Code     finding.Code     `json:"code" yaml:"code"`
	Subject  string           `json:"subject,omitempty" yaml:"subject"` // pattern of path.Match; empty is any
	Severity finding.Severity `json:"severity" yaml:"severity"`
	Reason   string           `json:"reason" yaml:"reason"`
}

// Waiver accepts one finding until a date. The finding stays in the result,
// marked with the reason.
type Waiver struct {
	Code        finding.Code `json:"code" yaml:"code"`
	Subject     string       `json:"subject,omitempty" yaml:"subject"`
	Fingerprint string       `json:"fingerprint,omitempty" yaml:"fingerprint"`
	Reason      string       `json:"reason" yaml:"reason"`
	Expires     time.Time    `json:"expires" yaml:"expires"`
}

// Volatile lists registers and events that may move between boots of one
// machine. Their findings are reported at most as low.
type Volatile struct {
	PCRs   []int    `json:"pcrs,omitempty" yaml:"pcrs"`
	Events []string `json:"events,omitempty" yaml:"events"` // patterns over an event's label
}

// Duration is a time.Duration written as "720h".
type Duration time.Duration

// MarshalText writes the duration as time.Duration.String does.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads what time.ParseDuration reads; negative is refused.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("duration %s is negative", b)
	}
	*d = Duration(v)
	return nil
}

// maxPolicyBytes bounds a policy file; a policy is written by hand.
const maxPolicyBytes = 1 << 20

// BuiltInPolicy returns one of the policies "default", "strict" and
// "inventory".
func BuiltInPolicy(name string) (*Policy, bool) {
	base := []Requirement{RequireManifest, RequireClasses}
	switch name {
	case "inventory":
		return &Policy{ID: name, Require: base}, true
	case "default":
		return &Policy{ID: name, Require: append(base, RequireQuote, RequireLog), Volatile: Volatile{PCRs: []int{10}}}, true
	case "strict":
		return &Policy{
			ID: name,
			Require: append(base, RequireQuote, RequireLog, RequireSeal, RequireFresh,
				RequireKeyBound, RequireCollector, RequireFirmware),
			Volatile: Volatile{PCRs: []int{10}},
		}, true
	}
	return nil, false
}

// ParsePolicy reads a policy in YAML or JSON. Unknown keys, codes and built-in
// names are errors: a policy with a typing error must not be weaker than its
// author thinks.
func ParsePolicy(b []byte) (*Policy, error) {
	if len(b) > maxPolicyBytes {
		return nil, fmt.Errorf("policy exceeds %d bytes", maxPolicyBytes)
	}
	var p Policy
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&p); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("policy is empty")
		}
		return nil, fmt.Errorf("policy: %w", err)
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("policy: more than one document")
	}
	if err := p.check(); err != nil {
		return nil, fmt.Errorf("policy %s: %w", p.ID, err)
	}
	if err := checkOverrides(b); err != nil {
		return nil, fmt.Errorf("policy %s: %w", p.ID, err)
	}
	return p.extended()
}

func (p *Policy) check() error {
	if p.ID == "" {
		return errors.New("id is missing")
	}
	all, _ := BuiltInPolicy("strict")
	for _, r := range p.Require {
		if r != RequireParts && !slices.Contains(all.Require, r) { // strict asks for classes, which is more
			return fmt.Errorf("unknown requirement %q", r)
		}
	}
	for _, o := range p.Severity {
		if err := checkRule(o.Code, o.Subject, o.Reason); err != nil {
			return fmt.Errorf("severity: %w", err)
		}
	}
	for _, w := range p.Waivers {
		if err := checkRule(w.Code, w.Subject, w.Reason); err != nil {
			return fmt.Errorf("waiver: %w", err)
		}
		if w.Expires.IsZero() {
			return fmt.Errorf("waiver for %s: expires is missing", w.Code)
		}
		if w.Subject == "" && w.Fingerprint == "" {
			return fmt.Errorf("waiver for %s: name a subject or a fingerprint", w.Code)
		}
	}
	for i := range p.Inspections {
		if err := p.Inspections[i].check(); err != nil {
			return fmt.Errorf("inspections[%d]: %w", i, err)
		}
	}
	if err := p.New.check(); err != nil {
		return fmt.Errorf("new: %w", err)
	}
	if err := checkAccounts(p.Accounts); err != nil {
		return fmt.Errorf("accounts: %w", err)
	}
	for _, n := range p.Volatile.PCRs {
		if n < 0 || n > 23 {
			return fmt.Errorf("volatile: PCR %d is out of range", n)
		}
	}
	for _, e := range p.Volatile.Events {
		if _, err := path.Match(e, ""); err != nil {
			return fmt.Errorf("volatile event %q: %w", e, err)
		}
	}
	return nil
}

// checkOverrides refuses an override without a severity: the zero severity is
// informational, so that a forgotten word would silence a finding for ever.
func checkOverrides(b []byte) error {
	var given struct {
		Severity []struct {
			Severity *finding.Severity `yaml:"severity"`
		} `yaml:"severity"`
	}
	if err := yaml.Unmarshal(b, &given); err != nil {
		return err
	}
	for i, o := range given.Severity {
		if o.Severity == nil {
			return fmt.Errorf("severity[%d]: severity is missing", i)
		}
	}
	return nil
}

func checkRule(code finding.Code, subject, reason string) error {
	if _, ok := finding.Lookup(code); !ok {
		return fmt.Errorf("unknown code %q", code)
	}
	if _, err := path.Match(subject, ""); err != nil {
		return fmt.Errorf("%s: subject %q: %w", code, subject, err)
	}
	if reason == "" {
		return fmt.Errorf("%s: reason is missing", code)
	}
	return nil
}

// extended adds what the policy inherits. A policy that names nothing to
// extend and nothing to require extends the default, so that a file with one
// waiver is not a policy that requires nothing.
func (p *Policy) extended() (*Policy, error) {
	if p.Extends == "" {
		if len(p.Require) > 0 {
			return p, nil
		}
		p.Extends = "default"
	}
	base, ok := BuiltInPolicy(p.Extends)
	if !ok {
		return nil, fmt.Errorf("policy %s: extends %q: want default, strict or inventory", p.ID, p.Extends)
	}
	for _, r := range p.Require {
		if !slices.Contains(base.Require, r) {
			base.Require = append(base.Require, r)
		}
	}
	p.Require = base.Require
	p.Volatile.PCRs = append(p.Volatile.PCRs, base.Volatile.PCRs...)
	slices.Sort(p.Volatile.PCRs)
	p.Volatile.PCRs = slices.Compact(p.Volatile.PCRs)
	return p, nil
}

// digest identifies the effective policy in a result.
func (p *Policy) digest() (string, error) {
	b, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("policy %s: %w", p.ID, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// same reports whether two policies say the same.
func (p *Policy) same(q *Policy) bool {
	if p == q {
		return true
	}
	x, err := p.digest()
	y, bad := q.digest()
	return err == nil && bad == nil && x == y
}

// apply sets severities and marks waived findings. It returns waivers that
// have expired although their finding still stands, so that a report can say
// why a known finding counts again.
func (p *Policy) apply(fs []finding.Finding, now time.Time) (expired []NotChecked) {
	for i := range fs {
		f := &fs[i]
		f.Seal()
		for _, o := range p.Severity {
			if o.Code == f.Code && matches(o.Subject, f.Subject) {
				if o.Severity < f.Severity {
					f.CoveredBy = fmt.Sprintf("policy %s, %s instead of %s: %s", p.ID, o.Severity, f.Severity, o.Reason)
				}
				f.Severity = o.Severity
			}
		}
		for _, w := range p.Waivers {
			if w.Code != f.Code || !matches(w.Subject, f.Subject) || (w.Fingerprint != "" && w.Fingerprint != f.Fingerprint) {
				continue
			}
			if now.After(w.Expires) {
				expired = append(expired, NotChecked{What: fmt.Sprintf("waiver for %s %s", w.Code, f.Subject), Reason: "expired " + w.Expires.UTC().Format(time.RFC3339)})
				continue
			}
			f.Severity = finding.Info
			f.CoveredBy = fmt.Sprintf("waiver until %s: %s", w.Expires.UTC().Format(time.DateOnly), w.Reason)
		}
	}
	return expired
}

func matches(pattern, s string) bool {
	if pattern == "" {
		return true
	}
	ok, err := path.Match(pattern, s)
	return err == nil && ok
}
