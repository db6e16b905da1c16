package assay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// always are the places of which our collector gives an account on every machine:
// what is there, or that nothing is.
var always = []string{
	"sys/firmware/dmi", "sys/firmware/acpi", "sys/firmware/efi", "sys/bus/pci", "sys/bus/usb", "sys/bus/i2c",
	"sys/class/nvme", "sys/class/block", "sys/class/net", "sys/kernel/security/tpm0", "proc/cpuinfo", "proc/meminfo", "proc/iomem",
}

// leftOut tells an index of our collector that is silent about one of its sources
// (EV-005). What was denied, failed or timed out is in the index and listed as not
// checked; of what is not even there nobody would hear.
func (a *appraisal) leftOut() {
	ix := a.Evidence.Index()
	if ix == nil || ix.Collector.Name != "assay" && ix.Collector.Name != "assay-scanner" {
		return
	}
	for _, place := range always {
		if listed(ix.Artifacts, place) {
			continue
		}
		f := finding.New(finding.EvidenceIncomplete, "evidence:"+place)
		f.Want, f.Got = "collected, or why not", "nothing"
		f.Why = "The collector that the evidence names gives an account of this source on every machine, and the index has none: a part of it was taken out, or something else wrote it."
		a.found = append(a.found, f)
	}
}

// listed reports whether a sorted list has a place, or something below it.
func listed(list []evidence.Artifact, place string) bool {
	from := func(path string) string {
		i, _ := slices.BinarySearchFunc(list, path, func(x evidence.Artifact, p string) int { return strings.Compare(x.Path, p) })
		if i == len(list) {
			return ""
		}
		return list[i].Path
	}
	return from(place) == place || strings.HasPrefix(from(place+"/"), place+"/")
}

// tooLow tells what the manifest declares and evidence of this level cannot decide
// (LM-002). It changes no verdict; what a policy requires is judged there.
func (a *appraisal) tooLow() {
	tell := func(claim, level, why, action string) {
		f := finding.New(finding.LevelTooLow, "claim:"+claim)
		f.Want, f.Got, f.Why, f.Action = level, a.result.Assurance.Level, why, action
		a.found = append(a.found, f)
	}
	var unseen []string
	for class, closure := range a.golden.Classes {
		if closure == bom.Closed && class != bom.Electronic && class != bom.TPM && !a.inventory.Classes[class].Observed {
			unseen = append(unseen, string(class))
		}
	}
	if len(unseen) > 0 {
		slices.Sort(unseen)
		tell("parts", "L2", "The manifest declares every part of "+some(unseen)+", and the evidence shows none of them.", "Scan the machine itself, as root.")
	}
	if len(a.golden.Boot) > 0 && !(a.boot.Quoted && a.boot.LogMatches) {
		tell("boot", "L3", "The manifest declares what is measured at boot, and no quote with a log that explains it is in the evidence.", "Scan with a TPM.")
	}
	if len(a.golden.Firmware) > 0 {
		if ok, why := a.firmwareProved(); !ok {
			tell("firmware", "L4", "The manifest declares the bytes of firmware: "+why+".", "Scan with the firmware images.")
		}
	}
	if len(a.golden.SPDM) > 0 && len(a.signed.Unproved) > 0 {
		tell("devices", "L5", "The manifest declares what devices sign of themselves; not shown: "+some(a.signed.Unproved)+".", "Scan with the measurements of devices.")
	}
	if len(a.result.ToInspect) > 0 {
		tell("board", "L6", fmt.Sprintf("The manifest declares %d parts that no bus can show, and no record of an inspection shows them.", len(a.result.ToInspect)), "Give the records of physical inspections.")
	}
}

// oneVoice tells identities that the manifest pins and that one class of sources
// alone repeats (LM-003). Firmware and management controller count as one: either
// copies serial numbers from the other.
func (a *appraisal) oneVoice() {
	told := map[string]map[finding.Source]bool{"machine": {}, "memory": {}}
	parts := a.inventory.BySubject()
	for i := range a.golden.Components {
		r := &a.golden.Components[i]
		group := "machine"
		switch {
		case r.Class == bom.Memory:
			group = "memory"
		case !namesMachine(r.Subject):
			continue
		}
		p := parts[a.parts.Matched[r.ID]]
		if p == nil || r.Identity.Serial == "" || p.Identity.Serial == "" {
			continue
		}
		for _, v := range p.Values {
			source := v.Source
			if source == finding.BMCTold {
				source = finding.FirmwareTold
			}
			told[group][source] = true
		}
	}
	if len(told["machine"]) > 0 && a.boot.Identified {
		told["machine"][finding.Cryptographic] = true
	}
	for _, group := range []string{"machine", "memory"} {
		if len(told[group]) != 1 {
			continue
		}
		f := finding.New(finding.SourcesNotIndependent, "identity:"+group)
		for s := range told[group] {
			f.Got, f.Sources = string(s)+" alone", []finding.Source{s}
		}
		f.Want = "two classes of sources"
		f.Why = "The serial numbers of the " + group + " are as declared, and only sources that copy from each other say so."
		a.found = append(a.found, f)
	}
}
