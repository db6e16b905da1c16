// Package finding is the vocabulary of a verdict: what was found, how bad it
// is, how sure we are, where it sits, and which bytes show it.
//
// A Finding is about the machine or the manifest. A Go error is about the run.
// The package proves nothing itself; it only gives every other package the
// same words and the same sort order.
package finding

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
)

// Code names a kind of finding, for example "HW-001". Codes are stable: they
// are never renumbered and never reused.
type Code string

// Claim is the question about the machine that a finding answers. Policies
// require claims; a claim without evidence makes a verdict inconclusive.
type Claim string

// The claims.
const (
	ClaimHardware Claim = "hardware"
	ClaimIdentity Claim = "identity"
	ClaimFirmware Claim = "firmware"
	ClaimBoot     Claim = "boot"
	ClaimTPM      Claim = "tpm"
	ClaimManifest Claim = "manifest"
	ClaimEvidence Claim = "evidence"
	ClaimInput    Claim = "input"
	ClaimFleet    Claim = "fleet"
	ClaimPolicy   Claim = "policy"
	ClaimChange   Claim = "change"
	ClaimLimit    Claim = "limit"
)

// Source is the independence class of an observation. Two sources confirm or
// contradict each other only when their classes differ: SMBIOS and ACPI both
// repeat what the firmware says.
type Source string

// The independence classes (K1 to K6 of the threat model).
const (
	FirmwareTold    Source = "K1" // SMBIOS, ACPI, EFI variables, event-log data
	BMCTold         Source = "K2" // Redfish, IPMI
	SiliconAnswered Source = "K3" // CPUID, PCI config space, NVMe identify
	PartMemory      Source = "K4" // SPD, VPD, FRU EEPROM, flash contents
	Cryptographic   Source = "K5" // quotes, signatures, certificates
	Physical        Source = "K6" // inspection, external reads
)

// Location says where on the machine a subject sits, in the words printed on
// the board where these are known.
type Location struct {
	Slot       string `json:"slot,omitempty"`       // SMBIOS type 9 designation
	Path       string `json:"path,omitempty"`       // bus path, free of bus numbers
	Designator string `json:"designator,omitempty"` // SMBIOS type 8, 17 or 41 reference designator
}

// Basis points at the bytes a finding rests on.
type Basis struct {
	Artifact string `json:"artifact"`
	SHA256   string `json:"sha256,omitempty"`
	Offset   int64  `json:"offset"`
	Length   int64  `json:"length"`
}

// Finding is one statement about the machine or the manifest. Want and Got are
// single values that can be compared across scans; Why explains in a sentence.
type Finding struct {
	Code        Code       `json:"code"`
	Name        string     `json:"name"`
	Severity    Severity   `json:"severity"`
	Confidence  Confidence `json:"confidence"`
	Claim       Claim      `json:"claim"`
	Subject     string     `json:"subject"`
	Location    Location   `json:"location"`
	Title       string     `json:"title"`
	Want        string     `json:"want"`
	Got         string     `json:"got"`
	Why         string     `json:"why"`
	Action      string     `json:"action"`
	Sources     []Source   `json:"sources"`
	Basis       []Basis    `json:"basis"`
	Attack      []string   `json:"attack"`
	CoveredBy   string     `json:"coveredBy"`
	Fingerprint string     `json:"fingerprint"`
}

// New returns a finding with the catalogue's name, severity, claim, title,
// action and ATT&CK techniques. Callers add what is particular to the case.
func New(code Code, subject string) Finding {
	e, _ := Lookup(code)
	return Finding{
		Code: code, Name: e.Name, Severity: e.Severity, Confidence: Strong, Claim: e.Claim,
		Subject: subject, Title: e.Title, Action: e.Action, Attack: slices.Clone(e.Attack),
	}
}

// Seal computes the fingerprint: a hash over code, subject, want and got, so
// that the same observation has the same fingerprint in every scan.
func (f *Finding) Seal() {
	var room [512]byte
	b := room[:0]
	for _, s := range [...]string{string(f.Code), f.Subject, f.Want, f.Got} {
		b = append(append(b, s...), 0)
	}
	sum := sha256.Sum256(b)
	f.Fingerprint = hex.EncodeToString(sum[:16])
}

// Sort seals the findings, drops exact repeats and orders them by severity
// (worst first), code, subject, then want and got, so that equal inputs give
// equal output.
func Sort(fs []Finding) []Finding {
	for i := range fs {
		fs[i].Seal()
	}
	if !slices.IsSortedFunc(fs, func(a, b Finding) int { return order(&a, &b) }) {
		sorted := make([]*Finding, len(fs))
		for i := range fs {
			sorted[i] = &fs[i]
		}
		slices.SortStableFunc(sorted, order) // a finding is long to move
		out := make([]Finding, len(fs))
		for i, f := range sorted {
			out[i] = *f
		}
		copy(fs, out)
	}
	return slices.CompactFunc(fs, func(a, b Finding) bool {
		return a.Fingerprint == b.Fingerprint && a.Severity == b.Severity
	})
}

func order(a, b *Finding) int {
	if c := cmp.Compare(b.Severity, a.Severity); c != 0 { // most pairs differ in the first two
		return c
	}
	if c := cmp.Compare(a.Code, b.Code); c != 0 {
		return c
	}
	return cmp.Or(
		cmp.Compare(a.Subject, b.Subject),
		cmp.Compare(a.Want, b.Want),
		cmp.Compare(a.Got, b.Got),
		cmp.Compare(b.Confidence, a.Confidence),
	)
}
