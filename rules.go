package assay

import (
	"slices"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// moreFacts is what further correlation rules may use.
type moreFacts struct {
	*facts
	records    map[string]bool   // signed changes that the machine is as
	bmcVersion string            // the version of the controller's firmware that the manifest and the machine agree on
	attested   bool              // our own scanner collected the evidence
	seals      []string          // subjects of deviations of seals
	hosts      map[string]string // subject of a part to that of what carries it
	models     map[string]string // subject of a part to its model
}

// moreIncidents are those that need more than facts.
func (a *appraisal) moreIncidents(f *facts) []Incident {
	m := &moreFacts{
		facts: f, records: a.records, bmcVersion: a.bmcVersion(), attested: a.scanner != nil, seals: a.inspected.seals,
		hosts: make(map[string]string, len(a.inventory.Parts)), models: make(map[string]string, len(a.inventory.Parts)),
	}
	for _, p := range a.inventory.Parts {
		m.hosts[p.Subject], m.models[p.Subject] = p.Package, p.Identity.Model
	}
	var out []Incident
	for _, rule := range []func(*moreFacts) []Incident{
		bmcBehindVersion, memoryLies, collectorUnderRug, bmcUnderRug, ageContradiction, interdiction, openDoor, counterfeit, explainedChange,
	} {
		out = append(out, rule(m)...)
	}
	return out
}

// undriven tells devices that may read and write memory and that nobody drives. On
// the bootable scanner, which loads drivers for what it asks only, that is the rule.
func (a *appraisal) undriven() {
	if ix := a.Evidence.Index(); ix != nil && ix.Mode.Image != "" {
		a.skip("devices that no driver controls", "the evidence is of a bootable scanner, which has few drivers")
		return
	}
	if !slices.ContainsFunc(a.inventory.Parts, func(p bom.Part) bool { return p.Attributes["driver"] != "" }) {
		a.skip("devices that no driver controls", "the evidence has no drivers")
		return
	}
	declared := map[string]bool{}
	for i := range a.golden.Components {
		if r := &a.golden.Components[i]; r.Undriven() {
			declared[a.parts.Matched[r.ID]] = true
		}
	}
	for i := range a.inventory.Parts {
		p := &a.inventory.Parts[i]
		if !p.Undriven() || declared[p.Subject] {
			continue
		}
		f := finding.New(finding.BusMasterWithoutDriver, p.Subject)
		f.Location, f.Want, f.Got = p.Location, "a driver, or bus mastering off", "bus mastering on, no driver"
		f.Why = "The device may read and write memory by itself, and no driver of the running system controls it."
		v := p.Values["classCode"]
		f.Sources, f.Basis = []finding.Source{finding.SiliconAnswered}, []finding.Basis{{Artifact: v.Basis.Artifact, SHA256: v.Basis.SHA256, Offset: 4, Length: 2}}
		a.found = append(a.found, f)
	}
}
