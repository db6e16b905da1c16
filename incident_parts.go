package assay

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// vouched reports whether one of the findings rests on what silicon answers, on
// cryptography or on an inspection: nothing else makes an incident critical.
func vouched(fs []finding.Finding) bool {
	return slices.ContainsFunc(fs, func(f finding.Finding) bool {
		return slices.ContainsFunc(f.Sources, func(s finding.Source) bool {
			return s == finding.SiliconAnswered || s == finding.Cryptographic || s == finding.Physical
		})
	})
}

// memoryLies is IC-07: modules claim more than they have, or more memory answers
// than modules are told of. Addresses beyond what a die has lead to other ones'
// cells, which is how isolation of memory is broken (CVE-2024-21944). A checksum
// alone is a fault as often as not, and no incident.
func memoryLies(f *moreFacts) []Incident {
	var shape, size, faults []finding.Finding
	grows := false
	for _, x := range f.standing(finding.IntegrityBroken, finding.CapacityDiffers, finding.SourcesContradict, finding.InstanceReplaced) {
		switch module := strings.HasPrefix(x.Subject, "dimm:"); {
		case !module && x.Subject != "memory":
		case x.Code == finding.IntegrityBroken && x.Severity >= finding.High:
			shape = append(shape, x)
		case x.Code == finding.IntegrityBroken:
			faults = append(faults, x)
		case x.Code == finding.CapacityDiffers:
			size, grows = append(size, x), grows || grown(x.Want, x.Got)
		case strings.Contains(x.Want, "sizeMiB"):
			size = append(size, x)
		}
	}
	all := slices.Concat(shape, size, faults)
	switch {
	case len(shape) > 0 && len(size) > 0, grows && len(size) > 1:
		inc := incident(finding.IncidentMemoryLies, all,
			fmt.Sprintf("What the memory claims does not fit together (%s): a module declares more than it has, or another one answers for it. Either it is a false part, or addresses lead to cells of other ones.", some(compact(subjects(all)))),
			"Run a test for memory aliases at the next start, and read the module's identity memory in another machine: a genuine module holds the declared size there, and every address its own cell.")
		if grows && vouched(all) {
			inc.Severity = finding.Critical
		}
		return []Incident{inc}
	case len(faults) > 0 && len(size) > 0 && slices.ContainsFunc(faults, func(x finding.Finding) bool { return slices.Contains(subjects(size), x.Subject) }):
		inc := incident(finding.IncidentMemoryLies, all,
			"The checksum over a module's identity memory does not hold, and its size is told otherwise by another source: somebody wrote to the memory, or it is failing.",
			"Read the identity memory in another machine; a failing one reads differently each time.")
		inc.Severity = finding.Medium
		return []Incident{inc}
	}
	return nil
}

// grown reports whether the number in got is larger than the one in want.
func grown(want, got string) bool {
	w, ok1 := number(want)
	g, ok2 := number(got)
	return ok1 && ok2 && g > w
}

func number(s string) (uint64, bool) {
	s = strings.TrimLeftFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if i := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }); i > 0 {
		s = s[:i]
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil
}

func compact(s []string) []string {
	slices.Sort(s)
	return slices.Compact(s)
}

// collectorUnderRug is IC-13: independent sources show a device that the listing of
// the running system leaves out. Of a scanner that is proved to be ours, a device
// that comes up late is more likely.
func collectorUnderRug(f *moreFacts) []Incident {
	hidden := slices.DeleteFunc(f.standing(finding.HiddenFunction, finding.SourcesContradict), func(x finding.Finding) bool {
		return x.Code == finding.HiddenFunction && !strings.HasPrefix(x.Subject, "pci:") || x.Code == finding.SourcesContradict && !strings.HasPrefix(x.Subject, controllerView+"pci:")
	})
	classes := map[finding.Source]bool{}
	for _, x := range hidden {
		for _, s := range x.Sources {
			classes[s] = true
		}
	}
	if f.attested || len(hidden) < 2 || len(classes) < 2 {
		return nil
	}
	return []Incident{incident(finding.IncidentCollectorUnderRug, hidden,
		fmt.Sprintf("The running system lists no device at %s, and independent sources say that one is there: the system hides it from whoever asks.", some(subjects(hidden))),
		"Boot the machine from a scanner stick and scan again. If the device is listed then, the installed system hid it; if not, look into the slot.")}
}

// counterfeit is IC-21: a device is unlike its model in its registers and in
// something else too.
func counterfeit(f *moreFacts) []Incident {
	var all []finding.Finding
	models := map[string]int{}
	more := map[string][]finding.Finding{}
	for _, y := range f.standing(
		finding.SourcesContradict, finding.IntegrityBroken, finding.ImplausibleIdentity, finding.MACNotOfMaker, finding.PartNumberGrammar,
		finding.OptionROMDiffers, finding.DeviceFirmwareDiffers, finding.CapacityDiffers, finding.LinkDiffers,
	) {
		more[f.on(y.Subject)] = append(more[f.on(y.Subject)], y)
	}
	for _, x := range f.standing(finding.UnlikeItsModel) {
		if with := more[f.on(x.Subject)]; len(with) > 0 {
			all = append(append(all, x), with...)
			models[f.models[x.Subject]]++
		}
	}
	if len(all) == 0 {
		return nil
	}
	inc := incident(finding.IncidentCounterfeit, all,
		fmt.Sprintf("What answers at %s is unlike every unit of the model that it claims to be, in its registers and in what else it tells of itself: a copy, or another part with its identity.", some(compact(subjects(all)))),
		"Compare with a unit of the model that came from its maker, marking and registers side by side; ask the maker about the serial number.")
	for model, n := range models {
		if n > 1 && model != "" {
			inc.Severity = finding.High // one may be a defect, a line of them is not
		}
	}
	return []Incident{inc}
}

// on is the device that a subject sits on, without its function.
func (f *moreFacts) on(subject string) string {
	if host := f.hosts[subject]; host != "" {
		subject = host
	}
	return device(subject)
}

// interdiction is IC-16: the seal was broken, and something in the machine is not
// what left the factory.
func interdiction(f *moreFacts) []Incident {
	seals := slices.DeleteFunc(f.standing(finding.InspectionDeviation), func(x finding.Finding) bool {
		return x.Severity < finding.High || !slices.Contains(f.seals, x.Subject)
	})
	traces := f.standing(append([]finding.Code{
		finding.FlashPartDiffers, finding.WriteProtectionOpen, finding.UnexpectedComponent, finding.ComponentReplaced, finding.InstanceReplaced,
		finding.HiddenFunction, finding.TPMChanged, finding.NotTheCertifiedPlatform,
	}, seenDrift...)...)
	if len(seals) == 0 || len(traces) == 0 {
		return nil
	}
	return []Incident{incident(finding.IncidentInterdiction, slices.Concat(seals, traces),
		fmt.Sprintf("The seal is not as it was applied, and the machine is not as it was declared (%s): it was opened on the way.", some(compact(subjects(traces)))),
		"Compare the seal's number and photographs with the sender's, and the times with the carrier's record. A service call in between has a ticket.")}
}

// ageContradiction is IC-15: two signs of use at a unit that was declared to be new.
func ageContradiction(f *moreFacts) []Incident {
	old := f.standing(finding.AgeContradictsNew)
	if len(compact(subjects(old))) < 2 {
		return nil // one part that was used before is one part
	}
	return []Incident{incident(finding.IncidentAge, old,
		fmt.Sprintf("The unit was declared to be new, and %d parts of it say otherwise (%s): it was used, repaired or put together from used parts.", len(compact(subjects(old))), some(compact(subjects(old)))),
		"Ask the supplier for the record of the unit. A long burn-in explains hours and starts, and not the dates of parts.")}
}
