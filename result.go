package assay

import (
	"time"

	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/inspection"
)

// ResultFormat is the format name of an Attestation Result.
const ResultFormat = "assay.result/v1"

// Verdict is the outcome of an appraisal.
type Verdict string

// The verdicts, in order of precedence.
const (
	Fail         Verdict = "fail"
	Inconclusive Verdict = "inconclusive"
	Review       Verdict = "review"
	Pass         Verdict = "pass"
)

// ExitCode is the exit status that a command gives for a verdict.
func (v Verdict) ExitCode() int {
	switch v {
	case Pass:
		return 0
	case Fail:
		return 1
	case Review:
		return 2
	}
	return 3
}

// Result is the Attestation Result (RFC 9334, 8.4): what was found, on what
// it rests and what was not checked.
type Result struct {
	Format    string            `json:"format"`
	Verdict   Verdict           `json:"verdict"`
	At        time.Time         `json:"at"`
	Platform  Platform          `json:"platform"`
	Assurance Assurance         `json:"assurance"`
	Manifests []ManifestUse     `json:"manifests"`
	KnownBad  []ManifestUse     `json:"knownBad,omitempty"` // lists of known-bad firmware that were given
	Quirks    []ManifestUse     `json:"quirks,omitempty"`   // lists of quirks that were given
	Evidence  EvidenceUse       `json:"evidence"`
	Policy    PolicyUse         `json:"policy"`
	Required  []Required        `json:"required"`
	Findings  []finding.Finding `json:"findings"`
	Incidents []Incident        `json:"incidents"`
	Coverage  []bom.Coverage    `json:"coverage"`
	Boot      []BootCoverage    `json:"boot"`

	Verifiability bom.Verifiability `json:"verifiability"` // of the declared lines: how far this evidence can show them

	Devices    []spdm.Coverage `json:"devices,omitempty"` // declared devices that sign their measurements
	NotChecked []NotChecked    `json:"notChecked"`

	Inspections []inspection.Use `json:"inspections,omitempty"` // records of physical inspections that were given
	ToInspect   []bom.Unseen     `json:"toInspect,omitempty"`   // declared parts that no bus can show and no record shows, in the order of a walk over the board

	Summary map[string]int `json:"summary"`
	Map     []PlaceOnBoard `json:"map,omitempty"`
}

// Platform names the machine as its evidence does.
type Platform struct {
	Manufacturer string `json:"manufacturer"`
	Model        string `json:"model"`
	Serial       string `json:"serial"`
}

// Assurance says how far the evidence can be believed.
type Assurance struct {
	Level     string `json:"level"` // "L0" to "L6", see docs/trust.md
	Sealed    bool   `json:"sealed"`
	Quoted    bool   `json:"quoted"`
	KeyBound  bool   `json:"keyBound"`
	Collector string `json:"collector"` // "attested" or "unattested"
	Statement string `json:"statement"`
}

// ManifestUse is one manifest that was given, and whether it could be used.
type ManifestUse struct {
	ID      string   `json:"id"`
	Version int64    `json:"version"`
	SHA256  string   `json:"sha256"`
	Signers []string `json:"signers"`
	Status  string   `json:"status"`
}

// EvidenceUse identifies the evidence.
type EvidenceUse struct {
	SHA256      string `json:"sha256"`
	CollectedAt string `json:"collectedAt"`
}

// PolicyUse identifies the policy.
type PolicyUse struct {
	ID     string `json:"id"`
	SHA256 string `json:"sha256"`
}

// Required is one thing that the policy asks for.
type Required struct {
	What   Requirement `json:"what"`
	Proved bool        `json:"proved"`
	Reason string      `json:"reason"`
}

// Incident is several findings that tell one story.
type Incident struct {
	Code      finding.Code     `json:"code"`
	Severity  finding.Severity `json:"severity"`
	Title     string           `json:"title"`
	Narrative string           `json:"narrative"`
	Findings  []string         `json:"findings"` // fingerprints
	Disprove  string           `json:"disprove"`
}

// BootCoverage says, for one PCR, what the manifest expects and what was
// proved.
type BootCoverage struct {
	PCR        int    `json:"pcr"`
	Bank       string `json:"bank"`
	Result     string `json:"result"` // "explained", "unexplained" or "not attested"
	Cause      string `json:"cause,omitempty"`
	Referenced bool   `json:"referenced"`
}

// NotChecked names something that could not be compared, and why.
type NotChecked struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// PlaceOnBoard is one named place, for the map in a report.
type PlaceOnBoard struct {
	Designator string           `json:"designator"`
	Kind       string           `json:"kind"` // "slot", "dimm", "socket"
	Subject    string           `json:"subject,omitempty"`
	Holds      string           `json:"holds,omitempty"`
	Severity   finding.Severity `json:"severity"`
	Finding    string           `json:"finding,omitempty"` // fingerprint of the worst finding here
}
