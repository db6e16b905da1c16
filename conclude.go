package assay

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/manifest"
)

// conclude turns what was found into a result: policy, incidents, coverage,
// requirements and the verdict.
func (a *appraisal) conclude() error {
	r := a.result
	a.assurance()
	a.fromTheFuture()
	a.blindSpots()
	a.tooLow()
	a.oneVoice()
	for _, n := range a.Policy.apply(a.found, a.Now) {
		a.skip(n.What, n.Reason)
	}
	a.cover()
	r.Findings = nonNil(finding.Sort(mergeLabels(a.found)))
	joined := a.facts()
	r.Incidents = nonNil(correlate(joined, a.moreIncidents(joined)...))
	r.Coverage = nonNil(a.parts.Coverage)
	r.Verifiability = a.verifiability()
	r.Boot = a.bootCoverage()
	r.Required = a.requirements()
	r.Map = a.board()
	r.Manifests = nonNil(r.Manifests)
	slices.SortStableFunc(r.NotChecked, func(x, y NotChecked) int { return cmp.Or(cmp.Compare(x.What, y.What), cmp.Compare(x.Reason, y.Reason)) })
	r.NotChecked = nonNil(slices.Compact(r.NotChecked))
	digest, err := a.Policy.digest()
	if err != nil {
		return err
	}
	r.Policy = PolicyUse{ID: a.Policy.ID, SHA256: digest}
	r.Summary = map[string]int{}
	for s := finding.Info; s <= finding.Critical; s++ {
		r.Summary[s.String()] = 0
	}
	for _, f := range r.Findings {
		r.Summary[f.Severity.String()]++
	}
	r.Verdict = a.verdict()
	return nil
}

// mergeLabels drops a firmware version that two domains report alike; the
// milder one goes.
func mergeLabels(fs []finding.Finding) []finding.Finding {
	worst := map[string]finding.Severity{}
	key := func(f finding.Finding) string { return string(f.Code) + "\x00" + f.Subject }
	for _, f := range fs {
		if f.Code == finding.UnknownFirmware {
			worst[key(f)] = max(worst[key(f)], f.Severity)
		}
	}
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(fs), func(f finding.Finding) bool {
		if f.Code != finding.UnknownFirmware {
			return false
		}
		drop := seen[key(f)] || f.Severity < worst[key(f)]
		seen[key(f)] = seen[key(f)] || !drop
		return drop
	})
}

// cover names, on each expected change, the manifest that allows it.
func (a *appraisal) cover() {
	for i := range a.found {
		f := &a.found[i]
		if f.Claim == finding.ClaimChange && f.CoveredBy == "" && strings.HasPrefix(string(f.Code), "CH-") {
			f.CoveredBy = cmp.Or(a.manifestNames(), "policy "+a.Policy.ID)
		}
	}
}

// verdict applies the algebra of the interface: fail, then inconclusive, then
// review, then pass.
func (a *appraisal) verdict() Verdict {
	v := Pass
	for _, f := range a.result.Findings {
		switch {
		case f.Severity >= finding.High && f.Confidence >= finding.Strong:
			return Fail
		case f.Severity >= finding.Medium:
			v = Review
		}
	}
	for _, m := range a.result.Manifests {
		if m.Status != manifest.StatusTrusted {
			return Fail
		}
	}
	if len(a.refs.trusted) == 0 {
		return Inconclusive // whatever the policy forgot to require
	}
	for _, q := range a.result.Required {
		if !q.Proved {
			return Inconclusive
		}
	}
	return v
}

// requirements says, for each thing that the policy asks for, whether it was
// proved, and if not, why.
func (a *appraisal) requirements() []Required {
	out := []Required{}
	for _, q := range a.Policy.Require {
		proved, reason := a.proved(q)
		out = append(out, Required{What: q, Proved: proved, Reason: reason})
	}
	if a.Policy.MaxEvidenceAge > 0 {
		proved, reason := a.young()
		out = append(out, Required{What: "age", Proved: proved, Reason: reason})
	}
	return append(out, a.inspected.required...)
}

func (a *appraisal) proved(q Requirement) (bool, string) {
	b := a.boot
	switch q {
	case RequireManifest:
		return a.manifestProved()
	case RequireClasses:
		return a.classesProved()
	case RequireQuote, RequireLog:
		return a.bootProved(q)
	case RequireSeal:
		return b.Sealed, reason(b.Sealed, "the quote covers the inventory", "the quote does not cover the inventory")
	case RequireFresh:
		return b.Fresh, reason(b.Fresh, "the quote carries the nonce", "no nonce was given, or the quote does not carry it")
	case RequireKeyBound:
		return b.KeyBound, reason(b.KeyBound, "the attestation key is pinned or enrolled", "the attestation key is neither pinned by the manifest nor enrolled")
	case RequireCollector:
		return a.collectorProved()
	case RequireFirmware:
		return a.firmwareProved()
	case RequireParts:
		return a.partsProved()
	}
	return false, "unknown requirement"
}

func reason(ok bool, yes, no string) string {
	if ok {
		return yes
	}
	return no
}

func (a *appraisal) manifestProved() (bool, string) {
	if len(a.refs.trusted) == 0 {
		return false, "no trusted manifest was given"
	}
	if env := a.golden.Environment; env.Manufacturer == "" || env.Manufacturer == manifest.AnyPlatform {
		return false, "no trusted manifest is about this platform"
	}
	if a.result.Platform.Manufacturer == "" && a.result.Platform.Model == "" {
		return false, "the evidence does not name the machine, so that the manifest cannot be tied to it"
	}
	if a.otherMachine {
		return false, "the manifest was issued for another machine"
	}
	return true, "trusted, and for this machine"
}

// classesProved asks for evidence of every class that the manifest declares
// complete or absent, and for every fact of their parts that tells a part from
// another one.
// partsProved asks less than classesProved: that what is declared was seen, whether
// or not the evidence would show what is not.
func (a *appraisal) partsProved() (bool, string) {
	var open []string
	for _, c := range a.parts.Coverage {
		if c.Matched < c.Declared {
			open = append(open, fmt.Sprintf("%d of %d of %s", c.Declared-c.Matched, c.Declared, c.Class))
		}
		open = append(open, a.parts.Unproved[c.Class]...)
	}
	if len(open) > 0 {
		return false, "not shown: " + some(open)
	}
	return true, "every declared part was seen"
}

func (a *appraisal) classesProved() (bool, string) {
	var open, facts []string
	closed := 0
	for _, c := range slices.Sorted(maps.Keys(a.golden.Classes)) {
		if a.golden.Classes[c] == bom.Open || c == bom.TPM && !slices.Contains(a.Policy.Require, RequireQuote) {
			continue // a policy that asks for no quote asks for no TPM
		}
		closed++
		if c == bom.Electronic && len(a.inspected.told) > 0 {
			continue // no bus shows it, and a complete inspection did
		}
		if o := a.inventory.Classes[c]; !o.Observed || !o.Whole {
			open = append(open, fmt.Sprintf("%s (%s)", c, cmp.Or(o.Reason, "not in the evidence")))
		}
		facts = append(facts, a.parts.Unproved[c]...)
	}
	switch {
	case len(open) > 0:
		return false, "no complete evidence for " + strings.Join(open, ", ")
	case len(facts) > 0:
		return false, "not shown: " + some(facts)
	case len(a.signed.Unproved) > 0:
		return false, "not signed by its device: " + some(a.signed.Unproved)
	case closed == 0:
		return false, "the manifest declares no class complete, so that no part can be unexpected"
	}
	return true, fmt.Sprintf("%d classes declared complete and observed", closed)
}

// some lists the first few of many; the rest is under what was not checked.
func some(s []string) string {
	const few = 4
	if len(s) > few {
		return fmt.Sprintf("%s and %d more", strings.Join(s[:few], ", "), len(s)-few)
	}
	return strings.Join(s, ", ")
}

// bootProved judges quote and log. A manifest without boot references asks for
// neither.
func (a *appraisal) bootProved(q Requirement) (bool, string) {
	if len(a.golden.Boot) == 0 {
		return true, "the manifest has no boot references"
	}
	if !a.boot.Quoted {
		return false, "no quote whose signature, key, selection and digest were all verified"
	}
	if a.stale() {
		return false, "the quote does not answer the nonce that was asked for"
	}
	if q == RequireQuote {
		if a.boot.PinsTPM && !a.boot.Identified {
			return false, "the manifest pins the keys of the TPM, and none of them is in the evidence"
		}
		return true, "signature, selection and digest verified"
	}
	if c := a.boot.Coverage; c.Compared < c.Referenced {
		return false, fmt.Sprintf("%d of %d referenced registers could not be held against their references", c.Referenced-c.Compared, c.Referenced)
	}
	var open []string
	for _, c := range a.bootCoverage() {
		if (c.PCR <= 7 || c.Referenced) && c.Result != "explained" && !slices.Contains(a.Policy.Volatile.PCRs, c.PCR) {
			open = append(open, fmt.Sprintf("PCR %d: %s", c.PCR, cmp.Or(c.Cause, c.Result)))
		}
	}
	if len(open) > 0 {
		if n := len(open); n > 4 {
			open = append(open[:4], fmt.Sprintf("and %d more", n-4))
		}
		return false, "the log does not explain " + strings.Join(open, "; ")
	}
	return true, "the log explains every PCR that counts"
}

// stale reports a quote that does not answer the nonce of this appraisal.
func (a *appraisal) stale() bool { return a.boot.Quoted && a.Nonce != nil && !a.boot.Fresh }

func (a *appraisal) bootCoverage() []BootCoverage {
	out := make([]BootCoverage, 0, len(a.boot.PCRs))
	referenced := map[int]bool{}
	for _, r := range a.golden.Boot {
		referenced[r.PCR] = true
	}
	for _, p := range a.boot.PCRs {
		if p.Bank != a.boot.Bank {
			continue // other banks are judged by MB-008
		}
		out = append(out, BootCoverage{PCR: p.PCR, Bank: p.Bank, Result: string(p.Result), Cause: p.Cause, Referenced: referenced[p.PCR]})
		delete(referenced, p.PCR)
	}
	for n := range referenced {
		out = append(out, BootCoverage{PCR: n, Result: "not attested", Cause: "not in the evidence", Referenced: true})
	}
	slices.SortStableFunc(out, func(x, y BootCoverage) int { return cmp.Compare(x.PCR, y.PCR) })
	return out
}

func (a *appraisal) firmwareProved() (bool, string) {
	if len(a.golden.Firmware) == 0 {
		return true, "the manifest declares no firmware image"
	}
	var unread []string
	for _, c := range a.code.Coverage {
		if c.NotObservable > 0 || c.Compared == 0 {
			unread = append(unread, c.Name)
		}
	}
	if len(unread) > 0 {
		return false, fmt.Sprintf("the image %s was not read completely", some(unread))
	}
	for _, c := range a.code.Coverage {
		if c.Unopened > 0 {
			return false, fmt.Sprintf("%d parts of the image %s that its firmware writes to were not opened, so that what they start was not compared", c.Unopened, c.Name)
		}
		if c.Undeclared > 0 {
			return false, fmt.Sprintf("%d bytes of the image %s are in no part that the manifest declares", c.Undeclared, c.Name)
		}
	}
	return len(a.code.Coverage) > 0, "every declared image was read and compared"
}

func (a *appraisal) young() (bool, string) {
	ix := a.Evidence.Index()
	if ix == nil {
		return false, "the evidence does not say when it was collected"
	}
	age := a.Now.Sub(ix.CollectedAt)
	limit := time.Duration(a.Policy.MaxEvidenceAge)
	if -age > clockSkew {
		return false, fmt.Sprintf("the evidence says that it was collected %s from now", (-age).Truncate(time.Minute))
	}
	if age > limit {
		return false, fmt.Sprintf("stale: collected %s ago, the policy allows %s", age.Truncate(time.Minute), limit)
	}
	return true, "within the policy's limit" + reason(a.boot.Sealed || a.boot.Fresh, "", ", as the collector says")
}

// assurance says how far the evidence can be believed (docs/trust.md).
func (a *appraisal) assurance() {
	b := a.boot
	s := Assurance{Level: "L2", Sealed: b.Sealed, Quoted: b.Quoted, KeyBound: b.KeyBound, Collector: "unattested"}
	compared := slices.ContainsFunc(a.code.Coverage, func(c firmware.Coverage) bool { return c.Compared > 0 })
	switch {
	case !a.inventory.Classes[bom.PCI].Observed && !a.inventory.Classes[bom.System].Observed && !b.Quoted:
		s.Level = "L0"
	case a.Inventory != nil && !b.Quoted:
		s.Level = "L1"
	case a.stale():
		// a quote for another request says nothing about this boot
	case b.Quoted && b.LogMatches && compared && a.secondView() && len(a.inspected.told) > 0:
		s.Level = "L6"
	case b.Quoted && b.LogMatches && compared && a.secondView():
		s.Level = "L5"
	case b.Quoted && b.LogMatches && compared:
		s.Level = "L4"
	case b.Quoted && b.LogMatches:
		s.Level = "L3"
	}
	parts := []string{"no verified quote: everything is as the machine told it"}
	switch {
	case a.Inventory != nil && !b.Quoted:
		parts[0] = "no verified quote: everything is as the management controller told it"
	case a.stale():
		parts[0] = "the quote does not answer the nonce that was asked for, so that it may be of another time or machine"
	case b.Quoted && b.KeyBound:
		parts[0] = "the TPM signed the boot measurements"
	case b.Quoted:
		parts[0] = "the boot measurements are signed by a key that is not proved to be in a TPM"
	}
	parts = append(parts, reason(b.Sealed, "the signature covers the inventory", "the inventory is not bound to a quote"))
	if a.scanner != nil {
		s.Collector = "attested"
		parts = append(parts, "the machine was booted from the scanner of "+a.scanner.Origin+", which collected the evidence")
	} else {
		parts = append(parts, "the collector is not attested, so the running system could have edited what it reports")
	}
	parts = append(parts, a.inspected.told...)
	s.Statement = strings.Join(parts, "; ") + "."
	a.result.Assurance = s
	if !b.Sealed {
		f := finding.New(finding.EvidenceUnauthenticated, "evidence")
		f.Got = reason(a.Evidence.Sealed(), "sealed, but not proved by a quote", "unsealed")
		f.Why = "Nothing signed ties the inventory to this machine and this moment."
		a.found = append(a.found, f)
	}
}

// secondView reports a second, independent view of something that the evidence
// shows: a flash that a clip read alike, or devices that sign what they measured.
func (a *appraisal) secondView() bool {
	if a.inspected.sameFlash {
		return true
	}
	signed := 0
	for _, c := range a.result.Devices {
		signed += c.Matched
		if c.Unexpected > 0 || c.NotObservable > 0 {
			return false
		}
	}
	return signed > 0 && len(a.signed.Findings) == 0
}

// clockSkew is how far a collector's clock may run ahead of the verifier's.
const clockSkew = 5 * time.Minute

// fromTheFuture reports evidence that claims to be newer than now.
func (a *appraisal) fromTheFuture() {
	ix := a.Evidence.Index()
	if ix == nil || ix.CollectedAt.Sub(a.Now) <= clockSkew {
		return
	}
	f := finding.New(finding.EvidenceTime, "evidence")
	f.Want, f.Got = "collected before "+a.Now.UTC().Format(time.RFC3339), ix.CollectedAt.UTC().Format(time.RFC3339)
	f.Why = "The evidence claims to have been collected after the time of this appraisal."
	a.found = append(a.found, f)
}

// facts gathers what the correlation rules join.
func (a *appraisal) facts() *facts {
	f := &facts{
		findings: a.result.Findings, romOf: a.observed.Drivers(), quoted: a.boot.Quoted, dma: map[string]string{},
	}
	for _, p := range a.inventory.Parts {
		if why, ok := p.ReachesMemory(); ok {
			f.dma[p.Subject] = why
		}
	}
	f.version, f.versionKnown = a.declaredVersion()
	f.pcr0Golden = a.pcrGolden(0)
	f.imageGolden = a.imageGolden()
	f.flash = a.flashAndLog()
	a.votes(f)
	return f
}

// declaredVersion is the firmware version that manifest and machine agree on.
func (a *appraisal) declaredVersion() (string, bool) {
	got := a.versions()["bios"]
	for _, r := range a.golden.Components {
		if r.Class == bom.Firmware && r.Identity.Firmware != "" && got != "" && ids.Key(r.Identity.Firmware) == ids.Key(got) {
			return got, true
		}
	}
	return "", false
}

// pcrGolden reports whether a PCR is signed and as declared.
func (a *appraisal) pcrGolden(n int) bool {
	return slices.Contains(a.boot.Golden, n)
}

// imageGolden reports whether the host firmware's image was read and is as
// declared.
func (a *appraisal) imageGolden() bool {
	drift := slices.ContainsFunc(a.code.Findings, func(f finding.Finding) bool { return f.Severity > finding.Info })
	return !drift && slices.ContainsFunc(a.code.Coverage, func(c firmware.Coverage) bool {
		return c.Name == "bios" && c.Compared > 0 && c.NotObservable == 0 && c.Undeclared == 0
	})
}

// votes asks every source for the identity of the machine.
func (a *appraisal) votes(f *facts) {
	for _, r := range a.golden.Components {
		if r.Identity.Serial == "" || !namesMachine(r.Subject) {
			continue
		}
		p, ok := a.inventory.Part(r.Subject)
		if !ok || p.Identity.Serial == "" {
			continue
		}
		agrees := ids.Key(p.Identity.Serial) == ids.Key(r.Identity.Serial)
		f.identityVotes = append(f.identityVotes, vote{source: p.Values["serial"].Source, what: p.Subject, agrees: agrees})
		if p.Class == bom.Baseboard && agrees {
			f.boardMatches = true
		}
	}
	if len(a.golden.Endorsements) > 0 && a.boot.Quoted {
		changed := slices.ContainsFunc(a.result.Findings, func(x finding.Finding) bool { return x.Code == finding.TPMChanged })
		f.identityVotes = append(f.identityVotes, vote{source: finding.Cryptographic, what: "tpm", agrees: !changed})
	}
}

// board lists the named places of the machine with what was found there.
func (a *appraisal) board() []PlaceOnBoard {
	worst := map[string]finding.Finding{} // findings come worst first
	for _, f := range a.result.Findings {
		for _, at := range []string{f.Location.Slot, f.Location.Designator} {
			if _, told := worst[at]; at != "" && !told && f.Severity > finding.Info {
				worst[at] = f
			}
		}
	}
	at := make(map[string]int, len(a.inventory.Parts)) // parts by their subject, from 1
	for i := range a.inventory.Parts {
		at[a.inventory.Parts[i].Subject] = i + 1
	}
	holds := func(subject string) string {
		i := at[subject]
		if i == 0 {
			return ""
		}
		return bom.Describe(a.inventory.Parts[i-1].Identity)
	}
	var out []PlaceOnBoard
	for _, pl := range a.inventory.Places {
		f := worst[pl.Designator]
		if pl.Kind == "connector" && f.Code == "" {
			continue // outlets hold no part; they are for an inspection
		}
		out = append(out, PlaceOnBoard{
			Designator: pl.Designator, Kind: pl.Kind, Subject: pl.Subject, Holds: holds(pl.Subject), Severity: f.Severity, Finding: f.Fingerprint,
		})
	}
	return out
}

func sameEnvironment(want, got manifest.Environment) bool {
	if want.Serial != "" && ids.Key(want.Serial) != ids.Key(got.Serial) {
		return false
	}
	return ids.SameMaker(want.Manufacturer, got.Manufacturer) && ids.Key(want.Model) == ids.Key(got.Model)
}
