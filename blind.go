package assay

import (
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// blindSpot is a change that no evidence at hand could show. They are told with
// every verdict: what was not looked at was not found to be in order.
type blindSpot struct {
	subject, why, action string
	seen                 func(a *appraisal) bool // evidence that would see it is there
}

var blindSpots = []blindSpot{
	{"dormant or passive part", "A part that answers on no bus and changes no readable byte leaves no trace.", "Optical or X-ray inspection, impedance measurement.", func(a *appraisal) bool { return a.inspected.through }},
	{"flash interposer", "Every read of the flash goes through the same pins; an interposer may give readers clean bytes.", "Take the flash part off the board, read it elsewhere, and look at what lies between it and the board.", nil},
	{"TPM bus before the operating system", "Firmware talks to a discrete TPM without protecting the bus.", "Inspect the TPM header.", nil},
	{"measurer that lies", "Code that measures itself can report what is expected.", "Check the state of Boot Guard or of the platform secure processor; read the flash externally.", nil},
	{"code below the scanner", "System management mode or a hypervisor can filter what the scanner reads.", "Read flash and devices from another machine.", func(a *appraisal) bool { return a.inspected.sameFlash }},
	{"boot", "Nothing signed shows what ran before the inventory was taken.", "Scan with a quote whose log replays.", func(a *appraisal) bool { return a.boot.Quoted && a.boot.LogMatches && !a.stale() }},
	{"controller's word", "The management controller alone told what there is.", "Scan the machine itself.", func(a *appraisal) bool { return a.Inventory == nil }},
	{"host firmware", "No complete firmware image was read, so that only what was measured is known.", "Scan with the firmware image.", func(a *appraisal) bool { return a.imageRead("bios") }},
	{"controller firmware", "No complete image of the management controller's firmware was read, so that its version is its own word.", "Scan with its image, or read its flash with a clip.", func(a *appraisal) bool {
		_, there := a.inventory.Part("bmc")
		return !there || a.imageRead("bmc")
	}},
	{"one view", "Each thing was read in one way; no second, independent way contradicts a lie, or shows what hid from the first.", "Read everything twice (scan --passes 2); devices that sign (SPDM), or a clip that reads the flash.", func(a *appraisal) bool { return a.secondView() }},
	{"device firmware without read-back", "Most drives and many adapters do not let their firmware be read.", "Signed measurements (SPDM) where the device has them.", nil},
	{"genuine die altered", "A change inside a chip that answers as it should is invisible.", "Laboratory methods.", nil},
	{"perfect clone", "A device that copies every identity of the part it replaces looks like it.", "Device certificates (SPDM, IDevID).", nil},
	{"altered lot", "A manifest made from units that were all altered describes the alteration.", "Design files, a second lot, reviewed firmware digests.", nil},
	{"signer's key", "What is signed with a stolen key is as valid as the rest.", "A transparency log, a second signer.", nil},
	{"after the scan", "The verdict is about the moment of the evidence.", "Scan again on a schedule.", nil},
	{"beside the buses", "Radio, power and cable implants are on no bus of the board.", "Inspect chassis and cables.", nil},
	{"parts without an address", "Passives, regulators, crystals and plain logic cannot name themselves.", "Placement data and optical inspection; mark their lines physical-only.", func(a *appraisal) bool { return a.inspected.through }},
}

// blindSpots adds the declared blind spots of this evidence (LM-001).
func (a *appraisal) blindSpots() {
	for _, s := range blindSpots {
		if s.seen != nil && s.seen(a) {
			continue
		}
		f := finding.New(finding.BlindSpot, "blind spot:"+s.subject)
		f.Why, f.Action = s.why, s.action
		a.found = append(a.found, f)
	}
}

// imageRead reports an image of that name that was read and compared.
func (a *appraisal) imageRead(name string) bool {
	for _, c := range a.code.Coverage {
		if c.Name == name && c.Compared > 0 {
			return true
		}
	}
	return false
}

// verifiability counts the declared lines by how far this evidence can show them.
func (a *appraisal) verifiability() bom.Verifiability {
	return a.parts.Verifiability(a.golden.Components, a.inventory, func(p *bom.Part) bool {
		if p.Class == bom.TPM {
			return a.boot.Quoted && a.boot.KeyBound && !a.stale()
		}
		name, pci := strings.CutPrefix(p.Subject, "pci:")
		return pci && slices.ContainsFunc(a.result.Devices, func(c spdm.Coverage) bool {
			return strings.TrimPrefix(c.Device, "spdm:") == name && c.Matched == c.Declared && c.Matched > 0
		})
	})
}
