package assay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// bmcImage begins the subjects of findings about the management controller's image.
const bmcImage = derivedFirmware + "bmc"

// bmcBehindVersion is IC-03: the management controller's firmware changed and kept
// its label. Of bytes that are only where the controller writes to in operation,
// that says nothing; package firmware tells them apart (FW-004).
func bmcBehindVersion(f *moreFacts) []Incident {
	disprove := "Read the controller's flash with an external programmer while the machine has no power, and compare it with the vendor's image of this version."
	reads := slices.DeleteFunc(f.standing(finding.ReadsDisagree), func(x finding.Finding) bool { return !strings.HasPrefix(x.Subject, bmcImage) })
	if slices.ContainsFunc(reads, func(x finding.Finding) bool { return slices.Contains(x.Sources, finding.Physical) }) {
		disprove = "Repeat both reads, the one with the clip with another programmer. Compare what lies between the chip and the controller with the design."
	}
	kept := slices.ContainsFunc(f.standing(finding.SameVersionOtherBytes), func(x finding.Finding) bool { return x.Subject == bmcImage })
	var bytes, signed []finding.Finding
	for _, x := range f.standing(finding.BMCFirmwareDiffers, finding.SameVersionOtherBytes) {
		switch {
		case strings.HasPrefix(x.Subject, bmcImage):
			bytes = append(bytes, x)
		case slices.Contains(x.Sources, finding.Cryptographic):
			signed = append(signed, x) // what the controller signs of itself
		}
	}
	switch {
	case len(reads) > 0 && f.bmcVersion != "":
		return []Incident{incident(finding.IncidentBMCBehindVersion, slices.Concat(reads, bytes, signed),
			fmt.Sprintf("The management controller calls its firmware version %s, as the manifest declares, but two ways of reading its flash do not show the same code: something between the flash and one of its readers changes it, or it was written in between.", f.bmcVersion), disprove)}
	case kept:
		return []Incident{incident(finding.IncidentBMCBehindVersion, slices.Concat(bytes, signed),
			fmt.Sprintf("The management controller still calls its firmware version %s, as the manifest declares, but its code is not the code of that version.", f.bmcVersion), disprove)}
	case len(signed) > 0 && f.bmcVersion != "":
		inc := incident(finding.IncidentBMCBehindVersion, signed,
			fmt.Sprintf("The management controller still calls its firmware version %s, as the manifest declares, but signs other measurements of it. Its image was not compared, so that changed settings which it measures with its code are not excluded.", f.bmcVersion), disprove)
		inc.Severity = finding.High
		return []Incident{inc}
	}
	return nil
}

// seenDrift are findings of firmware that was changed: then a door that stands open
// is no story of its own.
var seenDrift = []finding.Code{
	finding.ImageDiffers, finding.CodeRegionDiffers, finding.ForeignBytes, finding.SameVersionOtherBytes, finding.ReadsDisagree,
	finding.BMCFirmwareDiffers, finding.OptionROMDiffers, finding.DeviceFirmwareDiffers, finding.ManagementEngineAnomaly,
	finding.PCRDiffers, finding.LogDoesNotReplay, finding.SuspiciousVariable, finding.UnexpectedACPITable,
}

// openDoor is IC-20: firmware that is known to be weak, behind locks that are open,
// and nothing done with it yet. It is about posture, not about a break-in.
func openDoor(f *moreFacts) []Incident {
	locks := f.standing(finding.WriteProtectionOpen)
	weak := slices.DeleteFunc(f.standing(finding.KnownVulnerable), func(x finding.Finding) bool { return strings.HasPrefix(x.Subject, "pcr:") }) // was started: more than a door
	drift := slices.DeleteFunc(f.standing(seenDrift...), func(x finding.Finding) bool { return x.Severity < finding.Medium })
	if len(locks) == 0 || len(weak) == 0 || len(drift)+len(f.otherFirmwareMeasured(finding.UnexpectedEvent)) > 0 {
		return nil
	}
	return []Incident{incident(finding.IncidentOpenDoor, slices.Concat(locks, weak),
		fmt.Sprintf("Software may write the flash where the reference unit did not let it (%s), and the firmware is known to be weak (%s): an implant could be placed at will. No change was seen.", some(subjects(locks)), some(subjects(weak))),
		"Close the locks in the setup or update the firmware and scan again: both findings have to go. Read the flash once with an external programmer if the machine was in other hands.")}
}

// bmcVersion is the version of the management controller's firmware that manifest
// and machine agree on, "" when they do not.
func (a *appraisal) bmcVersion() string {
	got := a.versions()["bmc"]
	declared := func(version string) bool { return got != "" && ids.Key(version) == ids.Key(got) }
	for _, r := range a.golden.Components {
		if r.Class == bom.BMC && declared(r.Identity.Firmware) {
			return got
		}
	}
	for _, r := range a.golden.Firmware {
		if r.Name == "bmc" && declared(r.Version) {
			return got
		}
	}
	return ""
}
