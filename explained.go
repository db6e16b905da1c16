package assay

import (
	"fmt"
	"slices"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// record names the change that set a line of the manifest, "" when no signed delta
// did.
func record(o manifest.Origin) string {
	if o.Actor == "" {
		return ""
	}
	s := fmt.Sprintf("manifest %s version %d, change by %s", o.ID, o.Version, o.Actor)
	if o.Ticket != "" {
		s += ", ticket " + o.Ticket
	}
	return s
}

// recorded tells which lines a signed delta set and the machine is as: a change that
// somebody answers for. It never takes the place of a finding; a line that the
// machine contradicts is told by that alone.
func (a *appraisal) recorded() {
	a.records = map[string]bool{}
	contested := map[string]bool{}
	for _, f := range a.found {
		if f.Severity > finding.Info {
			contested[f.Subject] = true
		}
	}
	parts := a.inventory.BySubject()
	for i := range a.golden.Components {
		r := &a.golden.Components[i]
		if p := parts[a.parts.Matched[r.ID]]; p != nil && !contested[p.Subject] {
			code := finding.ChangeReplacement
			if r.Class == bom.Firmware {
				code = finding.ChangeUpdate
			}
			f := a.recordedLine("component:"+r.ID, code, p.Subject)
			if f != nil {
				f.Location, f.Want, f.Got = p.Location, bom.Describe(r.Identity), bom.Describe(p.Identity)
				for _, v := range p.Values {
					f.Sources = append(f.Sources, v.Source)
				}
				slices.Sort(f.Sources)
				f.Sources = slices.Compact(f.Sources)
			}
		}
	}
	for _, n := range a.boot.Golden {
		code := finding.ChangeUpdate
		switch {
		case n == 7:
			code = finding.ChangeKeys
		case n == 4 || n == 5 || n >= 8:
			code = finding.ChangeOS
		}
		a.recordedLine(fmt.Sprintf("pcr:%d", n), code, fmt.Sprintf("pcr:%d", n))
	}
	for _, c := range a.code.Coverage {
		if s := "firmware:" + c.Name; c.Compared > 0 && c.NotObservable == 0 && !slices.ContainsFunc(a.code.Findings, func(f finding.Finding) bool { return inside(f, []string{s}) && f.Severity > finding.Info }) {
			a.recordedLine(s, finding.ChangeUpdate, s)
		}
	}
	for _, kind := range []string{"ak", "ek", "ek-certificate"} {
		if a.boot.Identified && (kind != "ak" || a.boot.KeyBound) {
			a.recordedLine("endorsement:"+kind, finding.ChangeTPM, "tpm:"+kind)
		}
	}
}

// recordedLine adds the finding for one line. The pointer is valid until the next
// one is added.
func (a *appraisal) recordedLine(line string, code finding.Code, subject string) *finding.Finding {
	o, _ := a.golden.Origin(line)
	by := record(o)
	if by == "" {
		return nil
	}
	a.records[by] = true
	f := finding.New(code, subject)
	f.Got, f.CoveredBy, f.Confidence = "as the change declares", by, finding.Proven
	f.Why = "A signed change set this line of the manifest, and the machine is as it says."
	f.Sources = []finding.Source{finding.Cryptographic}
	a.found = append(a.found, f)
	return &a.found[len(a.found)-1]
}

// explainedChange is IC-23: one signed record covers everything that a run has to
// tell of the machine: nothing else stands that keeps a machine from passing. A
// finding that something else excuses, as a waiver, is not explained by the record.
func explainedChange(f *moreFacts) []Incident {
	var covered []finding.Finding
	by := ""
	for _, x := range f.findings {
		switch {
		case f.records[x.CoveredBy]:
			if by != "" && by != x.CoveredBy {
				return nil
			}
			by = x.CoveredBy
			covered = append(covered, x)
		case x.Severity > finding.Low && ofMachine(x), x.CoveredBy != "" && x.Claim != finding.ClaimChange:
			return nil
		}
	}
	if by == "" {
		return nil
	}
	return []Incident{incident(finding.IncidentExplained, covered,
		fmt.Sprintf("Everything in which the machine differs from what was first declared is in one signed record: %s. It covers %s and nothing else.", by, some(subjects(covered))),
		"Ask the one who is named for the service record. What was done and is not in the record would be a finding of its own.")}
}

// ofMachine reports whether a finding says something of the machine, and not of the
// manifest, the evidence or the run.
func ofMachine(f finding.Finding) bool {
	switch f.Claim {
	case finding.ClaimHardware, finding.ClaimIdentity, finding.ClaimFirmware, finding.ClaimBoot, finding.ClaimTPM, finding.ClaimPolicy:
		return true
	}
	return false
}
