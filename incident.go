package assay

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// facts is what the correlation rules may use besides findings: joins between
// the domains that no single domain can see.
type facts struct {
	findings []finding.Finding

	romOf         map[string]string // digest of a measured driver to the PCI function whose ROM holds it
	dma           map[string]string // subject of a device to why it can reach memory
	versionKnown  bool              // the manifest and the machine name the same firmware version
	version       string
	quoted        bool // the registers are signed
	pcr0Golden    bool // PCR 0 is referenced, explained and as declared
	imageGolden   bool // the firmware image was read, compared and is as declared
	boardMatches  bool // the board's serial number is the declared one
	identityVotes []vote

	flash flashAndLog // what the image and the log say of each other

	byCode   map[finding.Code][]int       // where findings that still count are
	measured map[string][]finding.Finding // event findings by the device whose ROM their digest is of
}

// vote is what one source says about the identity of the machine.
type vote struct {
	source finding.Source
	what   string
	agrees bool
}

// correlate turns findings into incidents. A rule fires on at least one signal
// that is not told by the firmware alone (K3, K5 or K6) before it may be
// critical.
func correlate(f *facts, more ...Incident) []Incident {
	out := more
	for _, rule := range []func(*facts) []Incident{
		romImplant, silentDMA, firmwareBehindVersion, dumpUnexplained, unmeasuredCode,
		identityTriangle, youngTPM, wrongTPM, secureBootSwap,
	} {
		out = append(out, rule(f)...)
	}
	slices.SortStableFunc(out, func(a, b Incident) int {
		return cmp.Or(cmp.Compare(b.Severity, a.Severity), cmp.Compare(a.Code, b.Code), cmp.Compare(strings.Join(a.Findings, ","), strings.Join(b.Findings, ",")))
	})
	return out
}

// standing returns the findings with one of the codes that still count.
func (f *facts) standing(codes ...finding.Code) []finding.Finding {
	if f.byCode == nil {
		f.byCode = map[finding.Code][]int{}
		for i := range f.findings {
			if x := &f.findings[i]; x.Severity > finding.Info {
				f.byCode[x.Code] = append(f.byCode[x.Code], i)
			}
		}
	}
	var at []int
	for _, c := range codes {
		at = append(at, f.byCode[c]...)
	}
	slices.Sort(at) // a code may be given twice
	var out []finding.Finding
	for _, i := range slices.Compact(at) {
		out = append(out, f.findings[i])
	}
	return out
}

// byDevice groups findings by the device that they are about.
func byDevice(fs []finding.Finding) map[string][]finding.Finding {
	out := map[string][]finding.Finding{}
	for _, x := range fs {
		out[device(x.Subject)] = append(out[device(x.Subject)], x)
	}
	return out
}

func incident(code finding.Code, fs []finding.Finding, narrative, disprove string) Incident {
	e, _ := finding.Lookup(code)
	inc := Incident{Code: code, Severity: e.Severity, Title: e.Title, Narrative: narrative, Disprove: disprove}
	for _, x := range fs {
		inc.Findings = append(inc.Findings, x.Fingerprint)
	}
	slices.Sort(inc.Findings)
	inc.Findings = slices.Compact(inc.Findings)
	return inc
}

// romImplant is IC-01: an unexpected device whose own ROM was measured.
func romImplant(f *facts) []Incident {
	var out []Incident
	roms := byDevice(f.standing(finding.OptionROMDiffers))
	for _, hw := range f.standing(finding.UnexpectedComponent, finding.ComponentReplaced) {
		events := f.measuredFrom(hw.Subject)
		if len(events) == 0 {
			continue
		}
		out = append(out, incident(finding.IncidentROMImplant, slices.Concat([]finding.Finding{hw}, events, roms[device(hw.Subject)]),
			fmt.Sprintf("%s is not in the manifest, and code from its own ROM ran before the operating system: the digest that the firmware measured into PCR 2 is the digest of the image that the device answers with.", sitting(hw)),
			"Remove the device and cold start: both the part and the measurement must disappear. Read its ROM on another machine and compare."))
	}
	return out
}

// measuredFrom returns the event findings that the digest ties to a device.
func (f *facts) measuredFrom(subject string) []finding.Finding {
	if f.measured == nil {
		f.measured = map[string][]finding.Finding{}
		for _, e := range f.standing(finding.UnexpectedEvent) {
			devices := map[string]bool{}
			for digest, dev := range f.romOf {
				if strings.Contains(e.Got, digest) && !devices[device(dev)] {
					devices[device(dev)] = true
					f.measured[device(dev)] = append(f.measured[device(dev)], e)
				}
			}
		}
	}
	return f.measured[device(subject)]
}

// device is a PCI subject without its function number.
func device(s string) string {
	if i := strings.LastIndexByte(s, '.'); strings.HasPrefix(s, "pci:") && i > 0 {
		return s[:i]
	}
	return s
}

func sitting(f finding.Finding) string {
	where := cmp.Or(f.Location.Slot, f.Location.Designator, f.Location.Path)
	if where == "" {
		return f.Subject
	}
	return fmt.Sprintf("%s (%s)", f.Subject, where)
}

// silentDMA is IC-02: an unexpected device that can reach memory and left no
// trace in measured boot.
func silentDMA(f *facts) []Incident {
	var out []Incident
	idle := byDevice(f.standing(finding.BusMasterWithoutDriver))
	for _, hw := range f.standing(finding.UnexpectedComponent) {
		why, capable := f.dma[hw.Subject]
		if !capable || len(f.measuredFrom(hw.Subject)) > 0 {
			continue
		}
		out = append(out, incident(finding.IncidentSilentDMA, append([]finding.Finding{hw}, idle[device(hw.Subject)]...),
			fmt.Sprintf("%s is not in the manifest, no code of it was measured, and it can read and write memory by itself (%s). Measured boot does not show it.", sitting(hw), why),
			"Power off, open the place named here and look. If a change record covers the card, sign it as a delta of the manifest."))
	}
	return out
}

// inPCR keeps the boot findings of one PCR.
func inPCR(fs []finding.Finding, n int) []finding.Finding {
	want := fmt.Sprintf("pcr:%d", n)
	return slices.DeleteFunc(fs, func(x finding.Finding) bool {
		head, _, _ := strings.Cut(x.Subject, "/")
		return head != want
	})
}

// otherFirmwareMeasured returns the findings that show other firmware in PCR 0.
// A register that the log does not explain shows none: anyone may have extended
// it after the firmware did.
func (f *facts) otherFirmwareMeasured(codes ...finding.Code) []finding.Finding {
	if len(inPCR(f.standing(finding.LogDoesNotReplay), 0)) > 0 {
		return nil
	}
	return inPCR(f.standing(codes...), 0)
}

// firmwareBehindVersion is IC-04: the bytes changed, the label did not.
func firmwareBehindVersion(f *facts) []Incident {
	if !f.versionKnown {
		return nil
	}
	const disprove = "Read the flash with an external programmer and compare it with the vendor's image of this version."
	bytes := slices.DeleteFunc(f.standing(finding.CodeRegionDiffers, finding.ImageDiffers, finding.SameVersionOtherBytes), func(x finding.Finding) bool { return !aboutImage(x) })
	var measured []finding.Finding
	if !f.imageGolden {
		// Against an image that is as declared, a measurement is IC-05's.
		measured = f.otherFirmwareMeasured(finding.PCRDiffers, finding.UnexpectedEvent)
	}
	switch {
	case len(bytes) > 0:
		return []Incident{incident(finding.IncidentFirmwareBehindVersion, slices.Concat(bytes, measured),
			fmt.Sprintf("The host firmware still calls itself version %s, as the manifest declares, but its code is not the code of that version.", f.version), disprove)}
	case len(measured) > 0:
		// Some firmware measures itself after it was changed in memory by its
		// settings, so without the image this is less than a proof.
		inc := incident(finding.IncidentFirmwareBehindVersion, measured,
			fmt.Sprintf("The host firmware still calls itself version %s, as the manifest declares, but other firmware code was measured. Its image was not read, so that changed settings which the firmware measures with its code are not excluded.", f.version), disprove)
		inc.Severity = finding.High
		return []Incident{inc}
	}
	return nil
}

const clipRead = "Read the flash with an external programmer while the machine is held in reset: "

// dumpUnexplained is IC-05: the image that was read and the measurement cannot
// both show what ran. Either one is as declared and the other is not, or a part
// that the reference boot measured has bytes that the log has no event over.
func dumpUnexplained(f *facts) []Incident {
	if !f.quoted {
		return nil
	}
	drift := f.otherFirmwareMeasured(finding.PCRDiffers, finding.UnexpectedEvent, finding.MissingEvent)
	if f.imageGolden && len(drift) > 0 {
		return []Incident{incident(finding.IncidentDumpUnexplained, drift,
			"The firmware image that was read is the declared one, yet the firmware that was measured is not. Either the read or the measurement does not show what ran.",
			clipRead+"the golden image there points at the measurement, another image at the read path.")}
	}
	parts := f.contradicted()
	if len(parts) == 0 {
		return nil
	}
	narrative := fmt.Sprintf("The firmware image that was read has bytes (%s) that are not those that were measured. Either the read or the measurement does not show what ran.", shortParts(subjects(parts)))
	if f.pcr0Golden {
		narrative = fmt.Sprintf("The firmware image that was read is changed where the firmware measures itself (%s), yet every measurement is as declared. Either the read or the measurement does not show what ran.", shortParts(subjects(parts)))
	}
	return []Incident{incident(finding.IncidentDumpUnexplained, slices.Concat(parts, drift), narrative,
		clipRead+"the same bytes there point at the measurement, the declared ones at the read path.")}
}

// contradicted returns the findings about bytes of the image that the log
// denies.
func (f *facts) contradicted() []finding.Finding {
	return slices.DeleteFunc(f.foreignBytes(), func(x finding.Finding) bool {
		denied := inside(x, f.flash.unmeasured) || around(x, f.flash.unmeasured)
		return !denied && !(f.pcr0Golden && inside(x, f.flash.measured))
	})
}

// foreignBytes returns the findings about bytes of the host firmware's image.
func (f *facts) foreignBytes() []finding.Finding {
	return slices.DeleteFunc(f.standing(finding.CodeRegionDiffers, finding.ForeignBytes, finding.ImageDiffers), func(x finding.Finding) bool { return !aboutImage(x) })
}

func subjects(fs []finding.Finding) []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.Subject)
	}
	return out
}

// unmeasuredCode is IC-06: the flash changed where measured boot does not
// look.
func unmeasuredCode(f *facts) []Incident {
	denied := f.contradicted()
	drift := slices.DeleteFunc(f.foreignBytes(), func(x finding.Finding) bool {
		return slices.ContainsFunc(denied, func(d finding.Finding) bool { return d.Fingerprint == x.Fingerprint })
	})
	if !f.pcr0Golden || !f.quoted || len(drift) == 0 {
		return nil
	}
	return []Incident{incident(finding.IncidentUnmeasuredCode, drift,
		fmt.Sprintf("The flash holds bytes that the manifest does not have (%s), while every measurement of the firmware is as declared: the change sits where measured boot does not look.", shortParts(subjects(drift))),
		"Read the flash with an external programmer. If the bytes are there too, compare them with the vendor's image; if not, the in-band read path is suspect.")}
}

// identityTriangle is IC-08: the sources that name the machine disagree.
func identityTriangle(f *facts) []Incident {
	odd := f.standing(finding.SourcesContradict, finding.NotTheCertifiedPlatform, finding.InstanceReplaced)
	odd = slices.DeleteFunc(odd, func(x finding.Finding) bool { return !namesMachine(x.Subject) })
	contradicted := slices.ContainsFunc(odd, func(x finding.Finding) bool { return x.Code == finding.SourcesContradict })
	if len(odd) == 0 || !contradicted && len(odd) < 2 {
		return nil
	}
	var agree, differ []string
	for _, v := range f.identityVotes {
		if v.agrees {
			agree = append(agree, v.what)
		} else {
			differ = append(differ, v.what)
		}
	}
	narrative := "The sources that name this machine do not agree."
	if len(agree)+len(differ) > 0 {
		narrative += fmt.Sprintf(" As declared: %s. Otherwise: %s.", list(agree), list(differ))
	}
	inc := incident(finding.IncidentIdentityTriangle, odd, narrative,
		"Compare the printed labels of board and chassis with the manifest; a board swap shows on the board, a rewritten label only in one memory.")
	if !slices.ContainsFunc(f.identityVotes, func(v vote) bool { return !v.agrees && v.source != finding.FirmwareTold }) {
		inc.Severity = finding.High
	}
	return []Incident{inc}
}

// namesMachine reports whether a subject is part of the machine's identity.
func namesMachine(subject string) bool {
	for _, p := range []string{"system", "baseboard", "chassis", "fru"} {
		if subject == p || strings.HasPrefix(subject, p+":") {
			return true
		}
	}
	return false
}

func list(s []string) string {
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, ", ")
}

// youngTPM is IC-10: the log is clean, but the TPM was restarted.
func youngTPM(f *facts) []Incident {
	signals := f.standing(finding.TPMClock)
	if len(signals) == 0 {
		return nil
	}
	inc := incident(finding.IncidentYoungTPM, signals,
		"The TPM's own signed counters contradict the machine's history. A log that replays perfectly is worth nothing when the TPM was reset after power-on and filled again.",
		"Cold start with standby power drained, scan again, and compare the TPM's reset count with the power log of the management controller.")
	if len(signals) < 2 {
		inc.Severity = finding.High
	}
	return []Incident{inc}
}

// wrongTPM is IC-12: the board is right, the TPM is not.
func wrongTPM(f *facts) []Incident {
	tpm := f.standing(finding.TPMChanged, finding.TPMNotOfPlatform)
	if len(tpm) == 0 || !f.boardMatches {
		return nil
	}
	return []Incident{incident(finding.IncidentWrongTPM, tpm,
		"The board is the declared one, but another TPM answers for it: the module was swapped, or the quote is relayed from another machine.",
		"Look at the TPM module. A service record explains a new module; a relay shows when the machine is cut off from the network and the quote fails.")}
}

// secureBootSwap is IC-19: own keys and an own loader.
func secureBootSwap(f *facts) []Incident {
	keys, loader := f.standing(finding.SecureBootKeysDiffer), f.standing(finding.UnknownBootComponent)
	if len(keys) == 0 || len(loader) == 0 {
		return nil
	}
	return []Incident{incident(finding.IncidentSecureBootSwap, slices.Concat(keys, loader),
		"The Secure Boot keys are not the declared ones, and a boot component that no manifest covers was started: keys may have been wiped, or an own key enrolled for an own loader.",
		"Restore the vendor's keys and start again; a loader signed by the enrolled key will then be refused.")}
}
