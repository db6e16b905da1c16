package assay

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/gpt"
	"github.com/assay-hw/assay/manifest"
)

// mediumPCR is where the firmware measures partition tables. Other media are
// measured there too, so that it does not decide which image collected.
const mediumPCR = 5

// firmwarePCRs hold what ran before the scanner and could have changed it: the
// firmware, the drivers in option ROMs, and whose code may run.
var firmwarePCRs = []int{0, 2, 7}

// appraiseBoot holds the boot against its references. A machine is started from
// its own system or from a scanner, so that one of these is chosen for all the
// registers that software owns: the scanner whose registers all fit; else the
// machine's own system, unless the evidence says that a scanner took it; else
// the scanner that comes nearest.
func (a *appraisal) appraiseBoot(p attest.Params) *attest.Appraisal {
	own := a.golden.Boot
	platform := slices.DeleteFunc(slices.Clone(own), attest.Reference.OfSoftware)
	var best *attest.Appraisal
	var refs []attest.Reference
	least := 0
	for i := range a.golden.Scanners {
		s := &a.golden.Scanners[i]
		p.References = slices.Concat(platform, s.Boot)
		got := a.observed.Appraise(p)
		if n := len(differing(got, s)); best == nil || n < least {
			best, refs, least, a.booted = got, p.References, n, s
		}
	}
	system := len(platform) < len(own) && claimedImage(a.Evidence) == ""
	if best == nil || least > 0 && (system || len(own) == 0 && claimedImage(a.Evidence) == "") {
		p.References, a.booted = own, nil
		return a.observed.Appraise(p)
	}
	a.golden.Boot = refs
	return best
}

// recogniseScanner finds out whether the machine was booted from a scanner that
// a trusted manifest describes. A scanner is proved when an identified key of
// the TPM signed the whole inventory together with registers that hold exactly
// what its image measures, and what ran before it is as declared too.
func (a *appraisal) recogniseScanner() {
	claim := claimedImage(a.Evidence)
	if a.booted == nil {
		if claim != "" {
			a.skip("the collector", fmt.Sprintf("the evidence says that %q took it, and no manifest describes this image", claim))
		}
		return
	}
	why := a.notShown(a.booted)
	switch {
	case why == "":
		a.expectMedium(a.booted)
		if why = a.beforeIt(); why == "" {
			a.scanner = a.booted
			return
		}
	case claim != "" && a.boot.Quoted && !a.stale() && len(differing(a.boot, a.booted)) > 0:
		f := finding.New(finding.CollectorUntrusted, "collector")
		f.Want, f.Got, f.Confidence = "the boot record of "+a.booted.Origin, why, finding.Strong
		f.Why = fmt.Sprintf("The evidence says that the scanner image %q took it, but what was measured at boot is not what a known image measures: it was changed, it is of another build, or another program wrote the evidence.", claim)
		f.Sources = []finding.Source{finding.Cryptographic}
		a.found = append(a.found, f)
	}
	a.skip("the collector", "not attested: "+why)
}

// claimedImage is what evidence says about the image that took it.
func claimedImage(b *evidence.Bundle) string {
	if ix := b.Index(); ix != nil {
		return ix.Mode.Image
	}
	return ""
}

// differing lists the registers that do not show a boot from a scanner.
func differing(boot *attest.Appraisal, s *manifest.KnownScanner) []string {
	var out []string
	for _, r := range s.Boot {
		if r.PCR != mediumPCR && !slices.Contains(boot.GoldenBy[r.PCR], s.Origin) {
			out = append(out, fmt.Sprintf("PCR %d", r.PCR))
		}
	}
	return out
}

// notShown says what keeps a boot from a scanner from being shown, "" when
// nothing does.
func (a *appraisal) notShown(s *manifest.KnownScanner) string {
	differ := differing(a.boot, s)
	switch {
	case !a.boot.Quoted || a.stale():
		return "no quote that answers the request"
	case len(differ) > 0:
		return strings.Join(differ, ", ") + " not as declared"
	case !a.boot.Timed || slices.ContainsFunc(a.boot.Findings, func(f finding.Finding) bool { return f.Code == finding.TPMClock }):
		return "the TPM's age does not show that its registers are of this boot"
	case !a.boot.KeyBound:
		return "the signing key is not proved to be in this machine's TPM"
	case !a.boot.Sealed:
		return "the quote does not cover the inventory"
	}
	return ""
}

// beforeIt says what ran before the scanner and is not as declared.
func (a *appraisal) beforeIt() string {
	var open []string
	for _, pcr := range firmwarePCRs {
		if !slices.Contains(a.boot.Golden, pcr) {
			open = append(open, fmt.Sprintf("PCR %d", pcr))
		}
	}
	if len(open) == 0 {
		return ""
	}
	return "the machine was started from the scanner of " + a.booted.Origin + ", but what ran before it is not as a manifest declares: " + strings.Join(open, ", ")
}

func (a *appraisal) collectorProved() (bool, string) {
	switch {
	case a.scanner != nil:
		return true, "booted from the scanner of " + a.scanner.Origin
	case len(a.golden.Scanners) == 0:
		return false, "no trusted manifest describes a scanner"
	case a.booted == nil:
		return false, "the boot record does not show a known scanner"
	}
	if why := a.notShown(a.booted); why != "" {
		return false, "the boot record does not show a known scanner: " + why
	}
	return false, a.beforeIt()
}

const blockDir = "sys/class/block"

// expectMedium marks the USB medium that the scanner was started from, and the
// disk that it shows, so that they are no unexpected parts: the only disk with
// the partition table that the firmware measured. A medium with other functions
// than storage is never excused.
func (a *appraisal) expectMedium(s *manifest.KnownScanner) {
	proved := slices.ContainsFunc(a.boot.PCRs, func(r attest.PCRResult) bool {
		return r.PCR == mediumPCR && r.Bank == a.boot.Bank && r.Quoted && r.Result == attest.Explained
	})
	found := mediaOf(a.Evidence, a.observed, s.Disk)
	switch {
	case !proved:
		a.skip("the scanner's medium", "the log does not explain the register that tells which medium was started")
	case len(found) != 1:
		a.skip("the scanner's medium", fmt.Sprintf("%d disks carry the partition table that was started", len(found)))
	case !a.inventory.MarkBootMedium(found[0]):
		a.skip("the scanner's medium", found[0]+" is not shown by a USB device that is storage alone")
	}
}

// mediaOf lists the disks whose partition table the firmware measured, those of
// one identifier when it is given.
func mediaOf(b *evidence.Bundle, o *attest.Observation, id string) []string {
	var out []string
	for _, name := range b.Dir(blockDir) {
		head, err := b.Read(path.Join(blockDir, name, "gpt"))
		if err != nil {
			continue
		}
		t, err := gpt.Parse(head)
		if err != nil || id != "" && t.Disk.String() != id {
			continue
		}
		if m, err := gpt.Measured(head); err == nil && o.Measured(mediumPCR, m) {
			out = append(out, name)
		}
	}
	return out
}
