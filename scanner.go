package assay

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/gpt"
	"github.com/assay-hw/assay/manifest"
)

// mediumPCR is where the firmware measures partition tables. Other media are
// measured there too, so that it does not decide which image collected.
const mediumPCR = 5

// recogniseScanner finds out whether the machine was booted from a scanner that
// a trusted manifest describes. A scanner is proved when an identified key of
// the TPM signed the whole inventory together with registers that hold exactly
// what its image measures: nothing else was started before it, and nothing was
// added to it.
func (a *appraisal) recogniseScanner() {
	var why string
	for i := range a.golden.Scanners {
		s := &a.golden.Scanners[i]
		if why = a.notShown(s); why == "" {
			a.scanner = s
			a.expectMedium(s)
			return
		}
	}
	claim := a.claimedImage()
	switch {
	case claim == "":
	case len(a.golden.Scanners) == 0:
		a.skip("the collector", fmt.Sprintf("the evidence says that %q took it, and no manifest describes this image", claim))
	case !a.boot.Quoted || a.stale():
		a.skip("the collector", "no quote shows which image was booted")
	default:
		f := finding.New(finding.CollectorUntrusted, "collector")
		f.Want, f.Got, f.Confidence = "the boot record of "+a.golden.Scanners[0].Origin, why, finding.Strong
		f.Why = fmt.Sprintf("The evidence says that the scanner image %q took it, but what was measured at boot is not what this image measures: another program may have written the evidence.", claim)
		f.Sources = []finding.Source{finding.Cryptographic}
		a.found = append(a.found, f)
	}
}

// claimedImage is what the evidence says about the image that took it.
func (a *appraisal) claimedImage() string {
	if ix := a.Evidence.Index(); ix != nil {
		return ix.Mode.Image
	}
	return ""
}

// notShown says what keeps a scanner from being proved, "" when nothing does.
func (a *appraisal) notShown(s *manifest.KnownScanner) string {
	var differ []string
	for _, pcr := range s.PCRs {
		if pcr != mediumPCR && !slices.Contains(a.boot.GoldenBy[pcr], s.Origin) {
			differ = append(differ, fmt.Sprintf("PCR %d", pcr))
		}
	}
	switch {
	case !a.boot.Quoted || a.stale():
		return "no quote that answers the request"
	case slices.ContainsFunc(a.boot.Findings, func(f finding.Finding) bool { return f.Code == finding.TPMClock }):
		return "the registers may have been reset and filled again"
	case len(differ) > 0:
		return strings.Join(differ, ", ") + " not as declared"
	case !a.boot.KeyBound:
		return "the signing key is not proved to be in this machine's TPM"
	case !a.boot.Sealed:
		return "the quote does not cover the inventory"
	}
	return ""
}

func (a *appraisal) collectorProved() (bool, string) {
	switch {
	case a.scanner != nil:
		return true, "booted from the scanner of " + a.scanner.Origin
	case len(a.golden.Scanners) == 0:
		return false, "no trusted manifest describes a scanner"
	}
	return false, "the boot record does not show a known scanner: " + a.notShown(&a.golden.Scanners[0])
}

// expectMedium marks the USB medium that the scanner was started from, and the
// disk that it shows, so that they are no unexpected parts. An attested scanner
// tells which disk it found its own partition table on; a medium with other
// functions than storage is never excused.
func (a *appraisal) expectMedium(s *manifest.KnownScanner) {
	const dir = "sys/class/block"
	var found []string
	for _, name := range a.Evidence.Dir(dir) {
		head, err := a.Evidence.Read(path.Join(dir, name, "gpt"))
		if err != nil {
			continue
		}
		if t, err := gpt.Parse(head); err == nil && t.Disk.String() == s.Disk {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		a.skip("the scanner's medium", fmt.Sprintf("%d disks carry its partition table", len(found)))
		return
	}
	a.inventory.MarkBootMedium(found[0], a.Evidence.Text(path.Join(dir, found[0], "path")))
}
