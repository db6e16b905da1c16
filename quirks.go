package assay

import (
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/quirk"
)

// explained has the lists of quirks explain what was found. Of another machine
// than the manifests are about nothing is explained.
func (a *appraisal) explained() {
	if a.Quirks == nil || a.otherMachine {
		return
	}
	m := quirk.Machine{Manufacturer: a.result.Platform.Manufacturer, Model: a.result.Platform.Model, Firmware: a.versions()["bios"]}
	out := a.Quirks.Explain(m, a.Trust, a.Now, a.found)
	for i := range out.Uses {
		a.result.Quirks = append(a.result.Quirks, used(&out.Uses[i]))
	}
	a.found = append(a.found, out.Findings...)
	for _, n := range out.NotChecked {
		a.skip(n.What, n.Reason)
	}
}

func used(rep *manifest.Report) ManifestUse {
	return ManifestUse{ID: rep.ID, Version: rep.Version, SHA256: rep.SHA256, Signers: nonNil(rep.Signers), Status: rep.Status}
}
