package assay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// controllerView begins the subjects of what a management controller and the machine
// say differently of each other.
const controllerView = "controller:"

// views holds what a management controller lists against what the machine itself
// shows, in evidence that has both. Controllers copy serial numbers and names from
// elsewhere or make their own, so that only what is there counts: modules and
// processors, which they list whole or not at all, PCI functions, of which they list
// some, and the version of the host's firmware.
func (a *appraisal) views() {
	told := a.Controller
	if told == nil || a.Inventory != nil {
		if told == nil && len(a.Evidence.Glob("redfish/*/redfish/v1/Systems/*/index.json")) > 0 && a.Inventory == nil {
			a.skip("what the management controller lists", "it was not read, or is not of one system")
		}
		return
	}
	a.sameCount(told, bom.Memory, "memory modules")
	a.sameCount(told, bom.Processor, "processors")
	a.controllerOnly(told)
	in, out := a.versions()["bios"], ""
	if p, ok := told.Part("firmware:bios"); ok {
		out = p.Identity.Firmware
	}
	if in != "" && out != "" && !strings.Contains(ids.Key(out), ids.Key(in)) {
		f := a.viewsDiffer("firmware", "version "+in, "version "+out, "The management controller names another version of the host's firmware than the firmware itself. It may tell of an update that waits for a restart.")
		f.Severity = finding.Low
	}
}

// viewsDiffer adds a contradiction between the machine and its controller. The
// pointer is valid until the next one is added.
func (a *appraisal) viewsDiffer(what, want, got, why string) *finding.Finding {
	f := finding.New(finding.SourcesContradict, controllerView+what)
	f.Severity = finding.Medium
	f.Want, f.Got, f.Why = want+" by the machine itself", got+" by the controller", why
	f.Sources = []finding.Source{finding.FirmwareTold, finding.BMCTold}
	a.found = append(a.found, f)
	return &a.found[len(a.found)-1]
}

// sameCount compares how many parts of a class there are, where both list it.
func (a *appraisal) sameCount(told *bom.Inventory, c bom.Class, what string) {
	in, out := len(a.inventory.ByClass(c)), len(told.ByClass(c))
	if in == 0 || out == 0 || in == out {
		return
	}
	f := a.viewsDiffer(string(c), fmt.Sprint(in), fmt.Sprint(out), "The management controller lists another number of "+what+" than the machine has: one of both lists was edited, or a part failed and was taken out of use.")
	for _, o := range []bom.Observation{a.inventory.Classes[c], told.Classes[c]} {
		f.Sources = append(f.Sources, o.Sources...)
	}
	slices.Sort(f.Sources)
	f.Sources = slices.Compact(f.Sources)
}

// controllerOnly tells functions that the controller lists and the running system
// does not: the system hides them, or the controller makes them up.
func (a *appraisal) controllerOnly(told *bom.Inventory) {
	if !a.inventory.Classes[bom.PCI].Whole {
		return
	}
	count := func(ps []bom.Part) map[string]int {
		out := map[string]int{}
		for _, p := range ps {
			if chip, _, _ := strings.Cut(p.Identity.Model, " "); len(chip) == len("8086:10d3") && chip[4] == ':' {
				out[chip]++
			}
		}
		return out
	}
	in := count(a.inventory.ByClass(bom.PCI))
	for _, p := range told.ByClass(bom.PCI) {
		chip, _, _ := strings.Cut(p.Identity.Model, " ")
		if len(chip) != len("8086:10d3") || chip[4] != ':' || chip == "0000:0000" || chip == "ffff:ffff" {
			continue
		}
		if in[chip]--; in[chip] >= 0 {
			continue
		}
		f := a.viewsDiffer(p.Subject, "no such device", bom.Describe(p.Identity), "The management controller lists a PCI device that the running system does not list.")
		f.Location = p.Location
		f.Sources = []finding.Source{finding.BMCTold, finding.SiliconAnswered}
	}
}

// bmcUnderRug is IC-14: the management controller and the machine disagree in more
// than one thing. One may be a part that failed or an update that waits.
func bmcUnderRug(f *moreFacts) []Incident {
	odd := slices.DeleteFunc(f.standing(finding.SourcesContradict), func(x finding.Finding) bool { return !strings.HasPrefix(x.Subject, controllerView) })
	hidden := slices.ContainsFunc(odd, func(x finding.Finding) bool { return strings.HasPrefix(x.Subject, controllerView+"pci:") })
	if len(odd) < 2 || hidden {
		return nil // what only the controller lists is IC-13's
	}
	return []Incident{incident(finding.IncidentBMCUnderRug, odd,
		fmt.Sprintf("The management controller tells of another machine than the one that it is in (%s): its list was edited, or it answers for another machine.", some(subjects(odd))),
		"Restart the controller, ask it again from another network, and compare with a scan from a stick. Read its flash with an external programmer if it goes on.")}
}
