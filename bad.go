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
// report.
func (a *appraisal) knownBad() {
	if a.refs.bad == nil {
		return
	}
	a.found = append(a.found, a.refs.bad.Images(a.images)...)
	a.found = append(a.found, a.refs.bad.Parts(a.inventory.Parts)...)
	a.startedBad(a.refs.bad)
	a.keysBad(a.refs.bad)
}

// startedBad looks at the images that the log says were started.
func (a *appraisal) startedBad(set *knownbad.Set) {
	l := a.observed.Log()
	if l == nil || !set.Started() {
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
