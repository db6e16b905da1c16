package attest

import (
	"fmt"
	"time"

	"github.com/assay-hw/assay/finding"
)

// checkTime compares the TPM's signed counters with each other and with the
// machine's uptime. A TPM that was reset alone and fed the golden digests again
// shows perfect registers; its counters are what gives that away.
func (ap *appraiser) checkTime() {
	all := make([]*attestation, 0, len(ap.o.attests)+1)
	for i := range ap.o.attests {
		if ap.o.attests[i].body != nil {
			all = append(all, &ap.o.attests[i])
		}
	}
	t, signed := ap.o.time, false
	if t != nil && t.body != nil {
		signed = ap.checkSignature(t)
		all = append(all, t)
	}
	for _, a := range all[min(1, len(all)):] {
		first, this := all[0].body.Clock, a.body.Clock
		if first.ResetCount != this.ResetCount || first.RestartCount != this.RestartCount {
			f := a.finding(ap.o, finding.TPMClock)
			f.Severity = finding.Critical
			f.Want = fmt.Sprintf("reset %d restart %d", first.ResetCount, first.RestartCount)
			f.Got = fmt.Sprintf("reset %d restart %d", this.ResetCount, this.RestartCount)
			f.Why = "The TPM was restarted between two attestations of one scan."
			ap.add(f)
		}
	}
	switch {
	case t == nil:
		ap.notChecked("age of the TPM", ap.reasonFor(timePath, "no signed time in evidence"))
	case t.body == nil || t.body.Time == nil:
		ap.notChecked("age of the TPM", "the signed time cannot be read")
	case ap.o.uptime == 0:
		ap.notChecked("age of the TPM", "no uptime in evidence")
	default:
		ap.checkAge(t)
		ap.timed = signed
	}
	ap.checkFirmwareVersion(all)
}

// checkAge is the rule "TPM younger than the operating system": the TPM starts
// before the kernel, so that its own time is never less than the uptime.
func (ap *appraiser) checkAge(t *attestation) {
	if ms := t.body.Time.Time; younger(ms, ap.o.uptime) {
		f := t.finding(ap.o, finding.TPMClock)
		f.Severity = finding.Critical
		f.Want = "at least " + ap.o.uptime.Round(time.Second).String()
		f.Got = (time.Duration(ms) * time.Millisecond).Round(time.Second).String()
		f.Sources = append(f.Sources, finding.FirmwareTold)
		f.Basis = append(f.Basis, ap.o.basis(uptimePath, 0, 0)...)
		f.Why = "The TPM has been running for a shorter time than the operating system: it was restarted alone, and its registers may have been filled again afterwards."
		ap.add(f)
	}
}

// younger reports whether a TPM's time, in milliseconds, is less than the uptime,
// which may be read a moment after it.
func younger(ms uint64, uptime time.Duration) bool {
	const slack = 5 * time.Second
	return ms < 1<<53 && time.Duration(ms)*time.Millisecond+slack < uptime
}

// checkFirmwareVersion compares the signed version with the listed one. A TPM
// hides the version from keys outside the endorsement hierarchy, so only a key
// in it can show it.
func (ap *appraiser) checkFirmwareVersion(all []*attestation) {
	hi, ok1 := ap.o.property("TPM2_PT_FIRMWARE_VERSION_1")
	lo, ok2 := ap.o.property("TPM2_PT_FIRMWARE_VERSION_2")
	if len(all) == 0 || !ok1 || !ok2 {
		return
	}
	if !ap.keyInEndorsement(all[0].body.QualifiedSigner) {
		ap.notChecked("TPM firmware version", "the attestation key is not shown to be in the endorsement hierarchy, so the TPM may hide its version from it")
		return
	}
	listed := uint64(hi)<<32 | uint64(lo)
	for _, a := range all {
		if a.body.FirmwareVersion != listed {
			f := a.finding(ap.o, finding.SourcesContradict)
			f.Severity = finding.Medium
			f.Want, f.Got = fmt.Sprintf("%016x", a.body.FirmwareVersion), fmt.Sprintf("%016x", listed)
			f.Basis = append(f.Basis, ap.o.basis(propsPath, 0, 0)...)
			f.Why = "The TPM signed another firmware version than the unsigned property list shows."
			ap.add(f)
			return
		}
	}
}

// starts returns the TPM's signed count of its starts. Of a key outside the
// endorsement hierarchy a TPM hides it behind a number that it adds (TPM 2.0 Library
// part 1, on obfuscation).
func (ap *appraiser) starts() int64 {
	for _, q := range ap.quotes {
		if q.signed && ap.keyInEndorsement(q.body.QualifiedSigner) {
			return int64(q.body.Clock.ResetCount)
		}
	}
	return -1
}
