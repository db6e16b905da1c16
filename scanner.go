package assay

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/evidence"
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
	claim := claimedImage(a.Evidence)
	switch {
	case claim == "":
	case len(a.golden.Scanners) == 0:
		a.skip("the collector", fmt.Sprintf("the evidence says that %q took it, and no manifest describes this image", claim))
	case !a.otherBoot():
		a.skip("the collector", "not attested: "+why)
	default:
		f := finding.New(finding.CollectorUntrusted, "collector")
		f.Want, f.Got, f.Confidence = "the boot record of "+a.golden.Scanners[0].Origin, why, finding.Strong
		f.Why = fmt.Sprintf("The evidence says that the scanner image %q took it, but what was measured at boot is not what this image measures: another program may have written the evidence.", claim)
		f.Sources = []finding.Source{finding.Cryptographic}
		a.found = append(a.found, f)
	}
}

// claimedImage is what evidence says about the image that took it.
func claimedImage(b *evidence.Bundle) string {
	if ix := b.Index(); ix != nil {
		return ix.Mode.Image
	}
	return ""
}

// otherBoot reports whether a quote shows a boot that is from none of the known
// scanners.
func (a *appraisal) otherBoot() bool {
	return a.boot.Quoted && !a.stale() && !slices.ContainsFunc(a.golden.Scanners, func(s manifest.KnownScanner) bool { return len(a.differing(&s)) == 0 })
}

// differing lists the registers that do not show a boot from a scanner.
func (a *appraisal) differing(s *manifest.KnownScanner) []string {
	var out []string
	for _, pcr := range s.PCRs {
		if pcr != mediumPCR && !slices.Contains(a.boot.GoldenBy[pcr], s.Origin) {
			out = append(out, fmt.Sprintf("PCR %d", pcr))
		}
	}
	return out
}

// notShown says what keeps a scanner from being proved, "" when nothing does.
func (a *appraisal) notShown(s *manifest.KnownScanner) string {
	differ := a.differing(s)
	switch {
	case !a.boot.Quoted || a.stale():
		return "no quote that answers the request"
	case len(differ) > 0:
		return strings.Join(differ, ", ") + " not as declared"
	case slices.ContainsFunc(a.boot.Findings, func(f finding.Finding) bool { return f.Code == finding.TPMClock }):
		return "the registers may have been reset and filled again"
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
	found := mediaOf(a.Evidence, s.Disk)
	if len(found) != 1 {
		a.skip("the scanner's medium", fmt.Sprintf("%d disks carry its partition table", len(found)))
		return
	}
	a.inventory.MarkBootMedium(found[0], a.Evidence.Text(path.Join(blockDir, found[0], "path")))
}

const blockDir = "sys/class/block"

// mediaOf lists the disks whose partition table the scanner kept, those of one
// identifier when it is given.
func mediaOf(b *evidence.Bundle, id string) []string {
	var out []string
	for _, name := range b.Dir(blockDir) {
		head, err := b.Read(path.Join(blockDir, name, "gpt"))
		if err != nil {
			continue
		}
		if t, err := gpt.Parse(head); err == nil && (id == "" || t.Disk.String() == id) {
			out = append(out, name)
		}
	}
	return out
}
