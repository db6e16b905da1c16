package assay

import "github.com/assay-hw/assay/finding"

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
	{"host firmware", "No complete firmware image was read, so that only what was measured is known.", "Scan with the firmware image.", func(a *appraisal) bool { return a.imageRead() }},
	{"device firmware without read-back", "Most drives and many adapters do not let their firmware be read.", "Signed measurements (SPDM) where the device has them.", nil},
	{"genuine die altered", "A change inside a chip that answers as it should is invisible.", "Laboratory methods.", nil},
	{"perfect clone", "A device that copies every identity of the part it replaces looks like it.", "Device certificates (SPDM, IDevID).", nil},
	{"after the scan", "The verdict is about the moment of the evidence.", "Scan again on a schedule.", nil},
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

func (a *appraisal) imageRead() bool {
	for _, c := range a.code.Coverage {
		if c.Name == "bios" && c.Compared > 0 {
			return true
		}
	}
	return false
}
