package assay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/knownbad"
)

// knownBad looks for what the lists of known-bad firmware name: in images, in
// what was started, among the Secure Boot keys, and in the versions that parts
// report. A list that is not trusted is not used, and that is told.
func (a *appraisal) knownBad() {
	builtIn, err := knownbad.BuiltIn()
	if err != nil {
		a.skip("built-in list of known-bad keys", err.Error())
		return
	}
	lists := []*knownbad.List{builtIn}
	for i, raw := range a.KnownBad {
		l, rep, err := knownbad.Open(raw, a.Trust, a.Now)
		use := used(&rep)
		if err != nil {
			use.Status = "unreadable"
			f := finding.New(finding.InputMalformed, "known-bad list")
			f.Got, f.Why, f.Severity, f.Confidence = "sha256:"+rep.SHA256, fmt.Sprintf("list %d was not used: %v", i+1, err), finding.Medium, finding.Proven
			a.found = append(a.found, f)
		}
		for _, f := range rep.Findings {
			f.Subject, f.Severity = "known-bad list", min(f.Severity, finding.Medium)
			f.Why += "; the list was not used"
			a.found = append(a.found, f)
		}
		for _, n := range rep.NotChecked {
			a.skip(n.What, n.Reason)
		}
		if l != nil {
			lists = append(lists, l)
		}
		a.result.KnownBad = append(a.result.KnownBad, use)
	}
	set := knownbad.NewSet(lists...)
	a.found = append(a.found, set.Images(a.images)...)
	a.found = append(a.found, set.Parts(a.inventory.Parts)...)
	a.startedBad(set)
	a.keysBad(set)
}

// startedBad looks at the images that the log says were started.
func (a *appraisal) startedBad(set *knownbad.Set) {
	l := a.observed.Log()
	if l == nil {
		return
	}
	for _, e := range l.Events() {
		if !slices.Contains([]string{"EV_EFI_BOOT_SERVICES_APPLICATION", "EV_EFI_BOOT_SERVICES_DRIVER", "EV_EFI_RUNTIME_SERVICES_DRIVER"}, e.Type) {
			continue
		}
		if f, ok := set.Event(fmt.Sprintf("pcr:%d/%s", e.PCR, subjectOf(e.Label)), e.Digests["sha256"]); ok {
			f.Why += "; it was started"
			f.Basis = []finding.Basis{{Artifact: logArtifact, SHA256: a.Evidence.SHA256(logArtifact)}}
			a.found = append(a.found, f)
		}
	}
}

const logArtifact = "sys/kernel/security/tpm0/binary_bios_measurements"

// subjectOf makes a label part of a subject.
func subjectOf(label string) string {
	return strings.Join(strings.Fields(label), "-")
}

// keysBad looks at the Secure Boot databases that decide what may start.
func (a *appraisal) keysBad(set *knownbad.Set) {
	const dir, attributes = "sys/firmware/efi/efivars/", 4
	seen := false
	for name, guid := range map[string]string{"PK": efi.GlobalVariable, "KEK": efi.GlobalVariable, "db": efi.ImageSecurity} {
		path := dir + name + "-" + guid
		raw, err := a.Evidence.Read(path)
		if err != nil || len(raw) < attributes {
			continue
		}
		seen = true
		for _, f := range set.Keys(name, raw[attributes:]) {
			f.Basis = []finding.Basis{{Artifact: path, SHA256: a.Evidence.SHA256(path), Offset: attributes, Length: int64(len(raw) - attributes)}}
			a.found = append(a.found, f)
		}
	}
	if !seen {
		a.skip("Secure Boot keys that are publicly known", "no variable with them is in the evidence")
	}
}
