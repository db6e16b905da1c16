// Package assay appraises evidence about a machine against golden manifests:
// the Verifier of RFC 9334.
//
// Verify proves that everything which the policy requires was shown, or says
// what was not; it names each unexpected part and each measurement that
// differs. It does not prove that a machine is free of implants: a part that
// answers on no bus and changes no measured or readable byte is invisible to
// it, and every result says so.
package assay

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/quirk"
)

// Case is everything that a verdict depends on.
type Case struct {
	Evidence   *evidence.Bundle
	Golden     [][]byte             // golden manifests, as signed
	Decoded    []*manifest.Decoded  // golden manifests that were taken apart before, beside Golden
	Trust      *manifest.Trust      // who may sign them
	State      manifest.State       // what was seen before
	EKRoots    [][]byte             // DER certificates of TPM makers, roots and intermediates
	Enrolled   []attest.Endorsement // keys that were shown to live in this machine's TPM
	Policy     *Policy              // nil is the default policy
	BOM        *PartList            // compared too, though unsigned; nil is none
	Nonce      []byte               // nil when none was given
	Now        time.Time
	Statements []Statement        // documents of other formats, used as manifests beside Golden
	KnownBad   [][]byte           // lists of known-bad firmware, as signed; a built-in one is always used
	Decoders   []firmware.Decoder // for encodings in firmware images beyond those built in
	Makers     *Makers            // nil reads the built-in certificates and EKRoots each time

	// Inventory is for evidence in which not the machine itself tells what it has
	// but its management controller: its parts, read by the caller. nil has the
	// bundle read.
	Inventory *bom.Inventory

	// Controller is what a management controller lists, in evidence that the machine
	// itself gave too: read by the caller from the same bundle. nil is not compared.
	Controller *bom.Inventory

	Quirks quirk.Explainer // signed lists of what honest machines of a model say against themselves; nil is none

	Inspections Inspections // records of physical inspections, from Inspected; nil is none

	logs *attest.Logs // that a Verifier read before
	read *makerSet    // what EKRoots and the built-in certificates are, when a Verifier read them before
}

// Makers are certificates of TPM makers that were read before, the built-in ones and
// EKRoots among them, for whoever appraises many cases.
type Makers struct {
	Roots, Below []*ekcert.Certificate
}

// Statement is what became of a vendor's document of another format that the
// program opened and converted before.
type Statement struct {
	Trusted *manifest.Trusted // nil when it must not be used
	Report  manifest.Report
}

// PartList is a bill of materials that nobody signed. It can only add
// questions: what differs from it is reported with weak confidence.
type PartList struct {
	Name       string
	Components []bom.Reference
	Classes    map[bom.Class]bom.Closure
}

// appraisal is a Result while it is made.
type appraisal struct {
	Case
	refs      *references
	result    *Result
	golden    *manifest.Golden
	inventory *bom.Inventory // as Case.Inventory, or as read
	parts     *bom.Comparison
	boot      *attest.Appraisal
	observed  *attest.Observation
	images    []*firmware.Image
	code      *firmware.Comparison
	devices   *spdm.Observation
	signed    *spdm.Comparison
	found     []finding.Finding
	digest    [32]byte

	inspected inspected       // what records of inspections show
	records   map[string]bool // signed changes that the machine is as, as record names them

	booted       *manifest.KnownScanner // the scanner that the boot was held against
	scanner      *manifest.KnownScanner // the same, when it is proved to have collected the evidence
	otherMachine bool                   // the manifests are about another one
}

// Verify appraises a case. It is pure: equal cases give equal results. The
// error is about the run; whatever is wrong with the machine or the manifests
// is in the result. Whoever appraises many cases uses a Verifier.
func Verify(c Case) (*Result, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	a := c.appraise(c.references())
	return a.result, a.conclude()
}

// complete puts defaults in their places.
func (c *Case) complete() error {
	if c.Evidence == nil {
		return errors.New("verify: no evidence")
	}
	if c.Policy == nil {
		c.Policy, _ = BuiltInPolicy("default")
	}
	return nil
}

// appraise holds the evidence against the references; the conclusion is left.
func (c *Case) appraise(r *references) *appraisal {
	golden := *r.golden // which registers count depends on what the machine was started from
	a := &appraisal{
		Case: *c, refs: r, golden: &golden, digest: c.Evidence.Digest(), found: copied(r.found),
		result: &Result{Format: ResultFormat, At: c.Now.UTC(), Manifests: slices.Clone(r.manifests), KnownBad: slices.Clone(r.lists), NotChecked: slices.Clone(r.unchecked)},
	}
	a.readEvidence()
	a.compare()
	return a
}

// readEvidence parses everything the bundle holds.
func (a *appraisal) readEvidence() {
	b := a.Evidence
	a.found = append(a.found, b.Check()...)
	if a.inventory = a.Inventory; a.inventory == nil {
		a.inventory = bom.Read(b)
	}
	a.observed = a.logs.Observe(b)
	a.images = firmware.Read(b, a.Decoders...)
	a.devices = spdm.Observe(b)
	for _, m := range a.images {
		a.found = append(a.found, m.Findings...)
	}
	if id, ok := a.inventory.Machine(); ok {
		a.result.Platform = Platform{Manufacturer: id.Maker, Model: id.Model, Serial: id.Serial}
	}
	a.result.Evidence = EvidenceUse{SHA256: hex.EncodeToString(a.digest[:])}
	if ix := b.Index(); ix != nil {
		a.result.Evidence.CollectedAt = ix.CollectedAt.UTC().Format(time.RFC3339)
	}
	for _, x := range crossChecks {
		if !b.Has(x.artifact) {
			a.skip(x.what, x.artifact+" is not in the evidence")
		}
	}
	for _, art := range b.NotCollected() {
		a.skip("artifact "+art.Path, fmt.Sprintf("%s %s", art.Status, art.Reason))
	}
}

// crossChecks are comparisons that need an artefact which no class of parts
// needs.
var crossChecks = []struct{ artifact, what string }{
	{"proc/cpuinfo", "what the processors answer, and whether a hypervisor does"},
	{"proc/iomem", "devices that own memory and are not listed"},
	{"proc/meminfo", "memory beyond what the modules declare"},
}

// compare holds each domain against its references.
func (a *appraisal) compare() {
	g := a.golden
	a.boot = a.appraiseBoot(attest.Params{
		Nonce: a.Nonce, NonceGiven: a.Nonce != nil, SealDigest: a.digest, Sealed: a.Evidence.Sealed(),
		EKRoots: a.refs.roots, EKIntermediates: a.refs.below, RequireEK: len(a.EKRoots) > 0, Now: a.Now, Endorsements: slices.Concat(g.Endorsements, a.Enrolled),
		Virtual: g.Environment.Virtual != "", VolatilePCRs: a.Policy.Volatile.PCRs, VolatileEvents: a.Policy.Volatile.Events,
	})
	a.recogniseScanner()
	a.parts = bom.Match(g.Components, g.Classes, a.inventory)
	a.code = firmware.Match(g.Firmware, a.images, a.versions())
	a.unsignedList()
	const more = 16 // that most machines have at most
	a.found = slices.Grow(a.found, len(a.inventory.Findings)+len(a.parts.Findings)+len(a.boot.Findings)+len(a.code.Findings)+more)
	a.found = append(a.found, a.inventory.Findings...)
	a.found = append(a.found, a.parts.Findings...)
	a.found = append(a.found, a.boot.Findings...)
	a.found = append(a.found, a.code.Findings...)
	a.compareSPDM()
	a.knownBad()
	a.rightMachine()
	a.inspectParts()
	a.tpmAbsent()
	a.odd()
	a.locate()
	a.known()
	a.explained()
	a.undriven()
	a.views()
	a.aged()
	a.accounts()
	a.leftOut()
	a.recorded()
	for _, n := range a.parts.NotChecked {
		a.skip(n.What, n.Reason)
	}
	for _, n := range a.boot.NotChecked {
		a.skip(n.What, n.Reason)
	}
	for _, n := range a.code.NotChecked {
		a.skip(n.What, n.Reason)
	}
}

// tpmAbsent tells that a declared TPM did not answer. Evidence that merely lacks
// it is a hint; a collector that looked and found none is a strong one.
func (a *appraisal) tpmAbsent() {
	declared := a.golden.Classes[bom.TPM] == bom.Closed || len(a.golden.Endorsements) > 0
	if !declared || a.inventory.Classes[bom.TPM].Observed || a.boot.Quoted {
		return
	}
	f := finding.New(finding.TPMAbsent, "tpm")
	f.Want, f.Got = "a TPM", "none in the evidence"
	f.Why = "The manifest declares a TPM, and the evidence shows none: it is absent, disabled or was not asked."
	f.Severity, f.Confidence = finding.Medium, finding.Weak
	if art, listed := a.Evidence.Artifact("tpm/properties.json"); listed && art.Status == evidence.Absent {
		f.Severity, f.Confidence = finding.High, finding.Strong
		f.Got = "the collector found none"
	}
	if !slices.Contains(a.Policy.Require, RequireQuote) {
		f.Severity = min(f.Severity, finding.Low)
	}
	a.found = append(a.found, f)
}

// FlashPath begins the path of a location of which nothing is known but that it is
// the flash chip with an image; the image's name follows.
const FlashPath = "flash/"

// flash is where an image lies: the place of the part that the manifest names for
// it, or that it is the flash with this image.
func (a *appraisal) flash(image string) finding.Location {
	for _, r := range a.golden.Firmware {
		for _, c := range a.golden.Components {
			if r.Name == image && r.Part != "" && c.ID == r.Part && c.Location != (finding.Location{}) {
				return c.Location
			}
		}
	}
	return finding.Location{Path: FlashPath + image}
}

// locate gives findings of measured boot the words printed on the board, which
// only the inventory knows, and those of an image its flash.
func (a *appraisal) locate() {
	at := make(map[string][]*bom.Part, len(a.inventory.Parts))
	for i := range a.inventory.Parts {
		p := &a.inventory.Parts[i]
		at[p.Location.Path] = append(at[p.Location.Path], p)
	}
	for i := range a.found {
		f := &a.found[i]
		if image, ok := strings.CutPrefix(f.Subject, derivedFirmware); ok && f.Location == (finding.Location{}) && len(f.Basis) > 0 && strings.HasPrefix(f.Basis[0].Artifact, "firmware/") {
			name, _, _ := strings.Cut(image, "/")
			f.Location = a.flash(name)
			continue
		}
		if f.Location.Path == "" || f.Location.Slot != "" || f.Location.Designator != "" {
			continue
		}
		for _, p := range at[f.Location.Path] {
			if strings.HasSuffix(f.Subject, p.Subject) {
				f.Location = p.Location
				break
			}
		}
	}
}

// unsignedList compares the parts with a list that nobody signed.
func (a *appraisal) unsignedList() {
	if a.BOM == nil {
		return
	}
	c := bom.Match(a.BOM.Components, a.BOM.Classes, a.inventory)
	for _, f := range c.Findings {
		if f.Severity == finding.Info {
			continue
		}
		f.Confidence = finding.Weak
		f.Why = fmt.Sprintf("Against %s, which nobody signed: %s", a.BOM.Name, f.Why)
		a.found = append(a.found, f)
	}
	for _, n := range c.NotChecked {
		a.skip(n.What+" of "+a.BOM.Name, n.Reason)
	}
}

// versions are the labels that the machine's firmware gives itself.
func (a *appraisal) versions() map[string]string {
	out := map[string]string{}
	for _, p := range a.inventory.ByClass(bom.Firmware) {
		out[strings.TrimPrefix(p.Subject, "firmware:")] = p.Identity.Firmware
	}
	if p, ok := a.inventory.Part("bmc"); ok {
		out["bmc"] = p.Identity.Firmware
	}
	return out
}

// rightMachine checks that the manifest is about this machine and that the
// machine is no virtual one unless the manifest says so.
func (a *appraisal) rightMachine() {
	env := a.golden.Environment
	if env.Manufacturer == "" || env.Manufacturer == manifest.AnyPlatform {
		return
	}
	got := manifest.Environment{Manufacturer: a.result.Platform.Manufacturer, Model: a.result.Platform.Model}
	want := manifest.Environment{Manufacturer: env.Manufacturer, Model: env.Model}
	if env.Serial != "" {
		want.Serial, got.Serial = env.Serial, a.result.Platform.Serial
	}
	switch {
	case got.Manufacturer == "" && got.Model == "":
		a.skip("identity of the machine", "the evidence does not name the machine")
	case !sameEnvironment(want, got):
		f := finding.New(finding.ManifestWrongSubject, "system")
		f.Want, f.Got, f.Confidence = name(want), name(got), finding.Strong
		f.Why = "The manifest was issued for another machine than the one that the evidence describes."
		f.Sources = []finding.Source{finding.FirmwareTold}
		a.found = append(a.found, f)
		a.otherMachine = true
	}
	if a.inventory.Virtual != "" && env.Virtual == "" {
		f := finding.New(finding.CollectorUntrusted, "machine")
		f.Want, f.Got = "a physical machine", a.inventory.Virtual
		f.Why = "The evidence was taken inside a virtual machine, where every part can be made up; the manifest describes a physical one."
		f.Sources = []finding.Source{finding.SiliconAnswered}
		a.found = append(a.found, f)
	}
}

func name(e manifest.Environment) string {
	return strings.TrimSpace(strings.Join([]string{e.Manufacturer, e.Model, e.Serial}, " "))
}

// knowable lists the contradictions that a signer may accept for a machine:
// peculiarities of what it says about itself, never a measurement, a signature
// or a part.
var knowable = []finding.Code{
	finding.SourcesContradict, finding.PlaceholderIdentity, finding.ImplausibleIdentity, finding.IntegrityBroken,
	finding.MACNotOfMaker, finding.PartNumberGrammar, finding.HiddenFunction, finding.CapacityDiffers,
	finding.InputMalformed, finding.EventNotCredible, finding.LogStructure,
}

// known turns contradictions that the signer of the manifest recorded with
// these very values into CH-010.
func (a *appraisal) known() {
	declared := a.declaredSubjects()
	known := make(map[manifest.Known]bool, len(a.golden.Known))
	for _, k := range a.golden.Known {
		k.Why = ""
		known[k] = true
	}
	for i := range a.found {
		f := &a.found[i]
		if !slices.Contains(knowable, f.Code) || f.Severity == finding.Critical {
			continue
		}
		k := manifest.Known{Code: f.Code, Subject: f.Subject, Want: f.Want, Got: f.Got}
		moved := k
		moved.Subject = declared[f.Subject]
		if !known[k] && !(moved.Subject != "" && known[moved]) {
			continue
		}
		q := finding.New(finding.KnownQuirk, f.Subject)
		q.Want, q.Got, q.Location, q.Sources, q.Basis = f.Want, f.Got, f.Location, f.Sources, f.Basis
		q.Why = fmt.Sprintf("%s (%s): the signer of the manifest recorded this very value.", f.Title, f.Code)
		q.CoveredBy = a.manifestNames()
		*f = q
	}
}

// declaredSubjects maps parts to the subjects under which the manifest declares
// them: a module that was moved takes its peculiarities along.
func (a *appraisal) declaredSubjects() map[string]string {
	out := make(map[string]string, len(a.golden.Components))
	for _, r := range a.golden.Components {
		if s, ok := a.parts.Matched[r.ID]; ok && r.Quantity <= 1 {
			out[s] = r.Subject
		}
	}
	return out
}

func (a *appraisal) manifestNames() string {
	var out []string
	for _, m := range a.golden.Manifests {
		out = append(out, fmt.Sprintf("manifest %s version %d", m.ID, m.Version))
	}
	return strings.Join(out, ", ")
}

func (a *appraisal) skip(what, reason string) {
	a.result.NotChecked = append(a.result.NotChecked, NotChecked{What: what, Reason: strings.TrimSpace(reason)})
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
