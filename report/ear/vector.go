package ear

import (
	"slices"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// vector is the trustworthiness vector, without the claims that Assay never makes:
// file system, opaque runtime and storage, sourced data.
type vector struct {
	Instance      int8 `json:"instance-identity"`
	Configuration int8 `json:"configuration"`
	Executables   int8 `json:"executables"`
	Hardware      int8 `json:"hardware"`
}

// Values of claims (draft-ietf-rats-ar4si, 2.3). From 2 they affirm, from 32 they
// warn, from 96 they contraindicate.
const (
	noClaim         = 0
	approved        = 2 // recognised, approved or genuine
	approvedBoot    = 3 // executables: as far as the boot process goes
	known           = 32
	unrecognisedRun = 33 // executables
	contraindicated = 96
	unrecognised    = 97 // instance identity, hardware
	cryptoFailed    = 99
)

// part is a claim of the vector.
type part uint8

const (
	instance part = 1 << iota
	configuration
	executables
	hardware
)

// vectorOf makes the claims. What stands against a claim decides it; what stands
// against the manifest or the evidence as a whole leaves nothing to affirm.
func vectorOf(r *assay.Result) vector {
	if slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return failing(f) && unauthentic(f.Code) }) {
		return vector{cryptoFailed, cryptoFailed, cryptoFailed, cryptoFailed}
	}
	v := vector{}
	if authentic(r) {
		a := r.Assurance
		boot := explained(r, 0, 2, 4)
		if a.KeyBound {
			v.Instance = approved
		}
		if explained(r, 1, 7) {
			v.Configuration = approved
		}
		if boot {
			v.Executables = approvedBoot
		}
		// An inventory that no quote covers, or that an unknown program collected,
		// is the word of the machine about itself.
		if boot && a.KeyBound && a.Sealed && a.Collector == "attested" && everyPart(r) {
			v.Hardware = approved
		}
	}
	for _, f := range r.Findings {
		switch against := about(f); {
		case f.Severity < finding.Medium:
		case failing(f):
			v.lower(against, vector{unrecognised, contraindicated, contraindicated, unrecognised})
		default:
			v.lower(against, vector{noClaim, known, unrecognisedRun, known})
		}
	}
	return v
}

// lower sets the claims that something stands against. The worst stays; where the
// registry has no value that warns, as for the identity, nothing is claimed.
func (v *vector) lower(against part, to vector) {
	for _, c := range []struct {
		p       part
		was, to *int8
	}{{instance, &v.Instance, &to.Instance}, {configuration, &v.Configuration, &to.Configuration}, {executables, &v.Executables, &to.Executables}, {hardware, &v.Hardware, &to.Hardware}} {
		if against&c.p != 0 && *c.was < known {
			*c.was = *c.to
		} else if against&c.p != 0 {
			*c.was = max(*c.was, *c.to)
		}
	}
}

// failing reports a finding that makes the verdict fail.
func failing(f finding.Finding) bool {
	return f.Severity >= finding.High && f.Confidence >= finding.Strong
}

// unauthentic lists what says that the evidence is not this machine's, of now.
func unauthentic(c finding.Code) bool {
	return slices.Contains([]finding.Code{finding.QuoteSignature, finding.QuoteNonce, finding.EvidenceReplayed, finding.EvidenceSpliced}, c)
}

// authentic reports whether there is anything to rest an affirmation on: a verified
// quote, and manifests that are all trusted.
func authentic(r *assay.Result) bool {
	whole := func(f finding.Finding) bool {
		return failing(f) && slices.Contains([]finding.Claim{finding.ClaimManifest, finding.ClaimEvidence, finding.ClaimInput, finding.ClaimPolicy}, f.Claim)
	}
	refused := func(m assay.ManifestUse) bool { return m.Status != manifest.StatusTrusted }
	unproved := func(q assay.Required) bool {
		return !q.Proved && (q.What == assay.RequireManifest || q.What == assay.RequireQuote || q.What == assay.RequireFresh)
	}
	return r.Assurance.Quoted && len(r.Manifests) > 0 && !slices.ContainsFunc(r.Manifests, refused) &&
		!slices.ContainsFunc(r.Findings, whole) && !slices.ContainsFunc(r.Required, unproved)
}

// explained reports whether these registers have references that the log explains,
// and no other register with a reference is unexplained.
func explained(r *assay.Result, pcrs ...int) bool {
	ok := map[int]bool{}
	for _, b := range r.Boot {
		good := b.Result == "explained"
		if b.Referenced && !good {
			return false
		}
		ok[b.PCR] = good && b.Referenced
	}
	return !slices.ContainsFunc(pcrs, func(n int) bool { return !ok[n] })
}

// everyPart reports whether every declared part was seen, none is there that is not
// declared, and the evidence shows what would be.
func everyPart(r *assay.Result) bool {
	proved := slices.ContainsFunc(r.Required, func(q assay.Required) bool { return q.What == assay.RequireClasses && q.Proved })
	short := slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return f.Code == finding.EvidenceIncomplete })
	for _, c := range r.Coverage {
		if c.Matched < c.Declared || c.Unexpected > 0 || c.NotObservable > 0 {
			return false
		}
	}
	for _, d := range r.Devices {
		if d.Matched < d.Declared || d.Unexpected > 0 || d.NotObservable > 0 {
			return false
		}
	}
	return proved && !short && len(r.Coverage) > 0 && r.Verifiability.Unseen == 0 && len(r.ToInspect) == 0
}

// about says which claims a finding stands against.
func about(f finding.Finding) part {
	switch f.Code {
	case finding.SecureBootOff, finding.SecureBootKeysDiffer, finding.ProtectionWeakened, finding.WriteProtectionOpen:
		return configuration
	case finding.NotTheCertifiedPlatform:
		return instance | hardware
	}
	switch f.Claim {
	case finding.ClaimTPM:
		return instance
	case finding.ClaimIdentity, finding.ClaimHardware:
		return hardware
	case finding.ClaimFirmware:
		return executables | hardware
	case finding.ClaimBoot:
		return executables | configuration
	case finding.ClaimPolicy:
		return configuration
	}
	return 0
}
