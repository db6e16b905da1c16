package attest

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/efi"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

func lowerHex(d []byte) string { return hex.EncodeToString(d) }

// allowed returns the digests of one bank that satisfy an expected event. A
// separator needs none written down.
func (r *EventReference) allowed(bank tpmwire.Algorithm) []string {
	out := make([]string, 0, 1+len(r.Digests[bank.String()]))
	for _, d := range r.Digests[bank.String()] {
		out = append(out, strings.ToLower(d))
	}
	if r.Derived == "separator" && bank.Hash() != 0 {
		for _, s := range separatorData[:separatorError] {
			out = append(out, lowerHex(bank.Sum(nil, s)))
		}
	}
	return out
}

// satisfiedBy reports whether a digest is one that allowed returns.
func (r *EventReference) satisfiedBy(bank tpmwire.Algorithm, digest []byte) bool {
	for _, d := range r.Digests[bank.String()] {
		if sameHex(d, digest) {
			return true
		}
	}
	if r.Derived != "separator" {
		return false
	}
	i := separatorDigest(bank, digest)
	return i >= 0 && i < separatorError
}

// sameHex reports whether a text is a digest in hex, in either case.
func sameHex(text string, digest []byte) bool {
	if len(text) != 2*len(digest) || len(digest) > tpmwire.MaxDigest {
		return false
	}
	var digits [2 * tpmwire.MaxDigest]byte
	lower := hex.AppendEncode(digits[:0], digest)
	if text == string(lower) {
		return true
	}
	return strings.ToLower(text) == string(lower)
}

// covers reports whether a reference can be held against a bank.
func (r *Reference) covers(bank tpmwire.Algorithm) bool {
	if len(r.Digests[bank.String()]) > 0 {
		return true
	}
	for i := range r.Events {
		e := &r.Events[i]
		if len(e.Digests[bank.String()]) == 0 && (e.Derived != "separator" || bank.Hash() == 0) {
			return false
		}
	}
	return len(r.Events) > 0
}

func (ap *appraiser) referenced(pcr int) bool {
	for i := range ap.p.References {
		if ap.p.References[i].PCR == pcr {
			return true
		}
	}
	return false
}

// measuredIn returns the events of a register in order.
func (o *Observation) measuredIn(pcr int) []*tcglog.Event {
	l := o.log()
	if l == nil {
		return nil
	}
	if pcr >= 0 && pcr < maxRegisters {
		return o.events.facts().measured[pcr]
	}
	var out []*tcglog.Event
	for i := range l.Events {
		if e := &l.Events[i]; e.Measured() && e.PCR == uint32(pcr) {
			out = append(out, e)
		}
	}
	return out
}

// matchReferences compares every referenced register with its references.
// Several references for one register come from several manifests: one that
// fits is enough.
func (ap *appraiser) matchReferences() {
	byPCR := map[int][]*Reference{}
	for i := range ap.p.References {
		r := &ap.p.References[i]
		byPCR[r.PCR] = append(byPCR[r.PCR], r)
	}
	for _, pcr := range sortedKeys(byPCR) {
		ap.matchRegister(pcr, byPCR[pcr])
	}
}

// fit is how well one reference describes a register.
type fit struct {
	ref      *Reference
	valueOK  bool
	byEvents bool
	alignment
}

func (f *fit) good() bool { return f.valueOK || f.byEvents && f.clean() }

// onlyRetried reports whether a register differs from a reference by nothing but
// boot entries that were tried and gave nothing to run.
func (f *fit) onlyRetried() bool {
	return f.byEvents && len(f.reordered)+len(f.missing) == 0 && !slices.ContainsFunc(f.unexpected, func(e *tcglog.Event) bool { return !bootAction(e) })
}

// bootAction reports whether an event is, under its digest, the text of a boot
// entry being tried or given up.
func bootAction(e *tcglog.Event) bool {
	return e.Type == tcglog.EFIAction && bootActions[label(e)] && credibility(e) == covered
}

func (ap *appraiser) matchRegister(pcr int, refs []*Reference) {
	res := ap.result(pcr)
	what := func() string { return fmt.Sprintf("PCR %d", pcr) }
	if res == nil && (ap.o.log() == nil || len(ap.o.measuredIn(pcr)) == 0) {
		ap.notChecked(what(), "neither a value nor an event of the register is in evidence")
		return
	}
	fits := make([]fit, 0, len(refs))
	for _, r := range refs {
		if !r.covers(ap.bank) {
			ap.notChecked(what(), fmt.Sprintf("the reference has no digests in bank %s", ap.bank))
			continue
		}
		fits = append(fits, ap.fitOf(r, res))
	}
	if len(fits) == 0 {
		return
	}
	ap.compared[pcr] = true
	for i := range fits {
		if res != nil && res.Quoted && (fits[i].good() || pcr == 4 && fits[i].onlyRetried()) {
			ap.goldenBy[pcr] = append(ap.goldenBy[pcr], fits[i].ref.Origin)
		}
	}
	best := slices.MinFunc(fits, func(a, b fit) int {
		rank := func(f fit) int {
			if f.good() {
				return -1
			}
			return f.cost()
		}
		return cmp.Compare(rank(a), rank(b))
	})
	if best.good() && !best.valueOK && pcr == 0 && ap.otherStart(best.ref, res) {
		return
	}
	if best.good() {
		ap.fitting[pcr] = true
		ap.golden[pcr] = ap.golden[pcr] || res != nil && res.Quoted
		if best.ref.Origin != fits[0].ref.Origin && !fits[0].good() {
			ap.coveredByOther(pcr, best.ref, fits[0].ref)
		}
		return
	}
	ap.registerFindings(pcr, &best, res)
}

// otherStart reports a PCR 0 that has the declared events and another start than
// the reference machine: with that start they give the declared value. Firmware
// starts the TPM at one locality; whoever resets it later can only start it at
// another one and log what fits.
func (ap *appraiser) otherStart(r *Reference, res *PCRResult) bool {
	if res == nil || res.value == nil || ap.bank.Hash() == 0 {
		return false
	}
	for _, locality := range []byte{0, 3, 4} {
		v := make([]byte, ap.bank.Size())
		v[len(v)-1] = locality
		for _, e := range ap.o.measuredIn(0) {
			extend(ap.bank, v, e.Digest(ap.bank))
		}
		if bytes.Equal(v, res.value) || !slices.Contains(r.Digests[ap.bank.String()], lowerHex(v)) {
			continue
		}
		f := ap.o.logFinding(finding.EventNotCredible, "pcr:0/StartupLocality", nil)
		f.Severity, f.Want, f.Got = finding.High, digestText(ap.bank, v), digestText(ap.bank, res.value)
		f.Sources = []finding.Source{finding.Cryptographic}
		f.Why = fmt.Sprintf("The register has the declared measurements and another start: the reference machine's TPM was started at locality %d, this one was not.", locality)
		ap.add(f)
		return true
	}
	return false
}

func (ap *appraiser) fitOf(r *Reference, res *PCRResult) fit {
	f := fit{ref: r}
	if res != nil && res.value != nil {
		f.valueOK = slices.ContainsFunc(r.Digests[ap.bank.String()], func(d string) bool { return strings.EqualFold(d, res.Value) }) ||
			bytes.Equal(goldenValue(r, ap.bank), res.value)
	}
	// Events that do not give the register's value are not the register's.
	if len(r.Events) > 0 && ap.o.log() != nil && (res == nil || res.Result != Unexplained) {
		f.byEvents = true
		f.alignment = align(r, ap.o.measuredIn(r.PCR), ap.bank)
	}
	return f
}

// goldenValue replays a reference that leaves no choice, so that a register
// can be compared even where the log is lost.
func goldenValue(r *Reference, bank tpmwire.Algorithm) []byte {
	if bank.Hash() == 0 || len(r.Events) == 0 || r.Order == "any" || r.PCR == 0 {
		return nil // where PCR 0 starts is not in the reference
	}
	v := resetValue(bank, r.PCR)
	for i := range r.Events {
		e := &r.Events[i]
		ds := e.Digests[bank.String()]
		if len(ds) != 1 || e.Optional {
			return nil
		}
		d, err := hex.DecodeString(ds[0])
		if err != nil || len(d) != bank.Size() {
			return nil
		}
		extend(bank, v, d)
	}
	return v
}

// coveredByOther notes that a second manifest explains what the first does
// not: an update of the operating system's chain or of the firmware.
func (ap *appraiser) coveredByOther(pcr int, by, instead *Reference) {
	code := finding.ChangeUpdate
	if pcr == 4 || pcr == 5 || pcr >= 8 {
		code = finding.ChangeOS
	}
	f := finding.New(code, fmt.Sprintf("pcr:%d", pcr))
	f.CoveredBy, f.Got = by.Origin, "as "+by.Origin+" declares"
	f.Why = fmt.Sprintf("The register is not as manifest %s declares, and as manifest %s does.", instead.Origin, by.Origin)
	f.Sources = []finding.Source{finding.Cryptographic}
	ap.add(f)
}

// maxPerRegister bounds the findings of one register; the rest is counted.
const maxPerRegister = 32

func (ap *appraiser) registerFindings(pcr int, best *fit, res *PCRResult) {
	if !best.byEvents {
		ap.valueFinding(pcr, best, res)
		return
	}
	before := len(ap.findings)
	pairs, extra, missing := pairUp(best)
	for _, p := range pairs {
		ap.add(ap.changedEvent(p))
	}
	for _, e := range extra {
		ap.add(ap.unexpectedEvent(e))
	}
	for _, r := range missing {
		ap.add(ap.missingEvent(pcr, r))
	}
	for _, p := range best.reordered {
		ap.add(ap.reorderedEvent(pcr, p))
	}
	if n := len(ap.findings) - before; n > maxPerRegister {
		ap.foldRegister(pcr, before)
	}
}

func (ap *appraiser) reorderedEvent(pcr int, p pair) finding.Finding {
	code := finding.ReorderedEvent
	if c, _, _ := ap.judgeEvent(pcr, p.got.Type, label(p.got)); c == finding.ChangeConfiguration {
		code = c // the order of boot entries is what was configured
	}
	f := ap.o.eventFinding(code, p.got)
	f.Want, f.Got, f.Why = "in the declared order", ap.digestOf(p.got), "The measurement is declared, but it happened at another place in the order."
	if pcr == 2 {
		f.Severity = finding.Low // option ROMs run in the order the bus was walked
	}
	return f
}

// foldRegister keeps the worst findings of a register and counts the rest: a
// flood of events must not hide the one that matters.
func (ap *appraiser) foldRegister(pcr, from int) {
	fs := ap.findings[from:]
	slices.SortStableFunc(fs, func(a, b finding.Finding) int { return cmp.Compare(b.Severity, a.Severity) })
	rest := fs[maxPerRegister-1:]
	f := ap.o.logFinding(rest[0].Code, fmt.Sprintf("pcr:%d/more", pcr), nil)
	f.Severity, f.Got = rest[0].Severity, fmt.Sprintf("%d more differences", len(rest))
	f.Why = "The register differs in more places than are listed."
	ap.findings = append(ap.findings[:from+maxPerRegister-1], f)
}

// valueFinding is for a register that only a value describes, or whose log
// does not explain it.
func (ap *appraiser) valueFinding(pcr int, best *fit, res *PCRResult) {
	if res == nil || res.value == nil {
		ap.notChecked(fmt.Sprintf("PCR %d", pcr), "no value of the register is in evidence")
		return
	}
	if ap.lost(res) {
		return // MB-008 says it
	}
	f := finding.New(finding.PCRDiffers, fmt.Sprintf("pcr:%d", pcr))
	f.Sources = []finding.Source{finding.Cryptographic}
	want := best.ref.Digests[ap.bank.String()]
	switch g := goldenValue(best.ref, ap.bank); {
	case len(want) > 0:
		f.Want = ap.bank.String() + ":" + strings.ToLower(want[0])
	case g != nil:
		f.Want = digestText(ap.bank, g)
	default:
		ap.notChecked(fmt.Sprintf("PCR %d", pcr), "the reference lists events, and no log explains the register")
		return
	}
	f.Got = digestText(ap.bank, res.value)
	f.Why = "The register has another value than the manifest declares, and no event explains the difference."
	if len(want) > 1 {
		f.Why = fmt.Sprintf("The register has none of the %d values that the manifest declares, and no event explains the difference.", len(want))
	}
	if pcr >= 8 {
		f.Severity = finding.High
	}
	ap.add(f)
}

// pairUp puts an unexpected and a missing event of one name together: the
// thing is there, with other contents.
func pairUp(f *fit) (pairs []pair, extra []*tcglog.Event, missing []*EventReference) {
	byPlace := map[[2]string][]*EventReference{}
	for _, r := range f.missing {
		if k, ok := place(r.Type, r.Label); ok {
			byPlace[k] = append(byPlace[k], r)
		}
	}
	used := map[*EventReference]bool{}
	for _, e := range f.unexpected {
		k, ok := place(e.Type.String(), label(e))
		if rs := byPlace[k]; ok && len(rs) > 0 {
			byPlace[k] = rs[1:]
			used[rs[0]] = true
			pairs = append(pairs, pair{rs[0], e})
			continue
		}
		extra = append(extra, e)
	}
	for _, r := range f.missing {
		if !used[r] {
			missing = append(missing, r)
		}
	}
	return pairs, extra, missing
}

// place names what an event is about. Boot images move between partitions and
// slots, so that for them the type is enough.
func place(typ, name string) (key [2]string, ok bool) {
	switch typ {
	case tcglog.EFIBootServicesApp.String(), tcglog.EFIGPT.String(), tcglog.EFIGPT2.String():
		return [2]string{typ}, true
	}
	return [2]string{typ, name}, name != ""
}

func (ap *appraiser) digestOf(e *tcglog.Event) string {
	if d := e.Digest(ap.bank); d != nil {
		return digestText(ap.bank, d)
	}
	return eventDigest(e)
}

func (ap *appraiser) changedEvent(p pair) finding.Finding {
	f := ap.unexpectedEvent(p.got)
	if ds := p.want.allowed(ap.bank); len(ds) > 0 {
		f.Want = ap.bank.String() + ":" + ds[0]
	}
	return f
}

// bootActions are measured when a boot entry is tried and when it returns:
// their number follows from the boot order.
var bootActions = map[string]bool{
	"Calling EFI Application from Boot Option": true, "Returning from EFI Application from Boot Option": true,
}

// unexpectedEvent says what an event that no reference covers means in its
// register.
func (ap *appraiser) unexpectedEvent(e *tcglog.Event) finding.Finding {
	code, sev, why := ap.judgeEvent(int(e.PCR), e.Type, label(e))
	if secureBootOn(e) {
		code, sev, why = finding.ChangeConfiguration, finding.Info, "Secure Boot is on, while it was off on the reference machine."
	}
	f := ap.o.eventFinding(code, e)
	f.Got, f.Why, f.Severity = ap.digestOf(e), why, sev
	if d, ok := ap.o.driverOf(e); ok {
		f.Why = fmt.Sprintf("The firmware ran a driver whose digest is that of the image in the option ROM of %s.", d.subject)
	}
	return f
}

// secureBootOn reports whether an event shows, under its digest, that Secure
// Boot enforces. The GUID counts as much as the name.
func secureBootOn(e *tcglog.Event) bool {
	if e.PCR != 7 || e.Type != tcglog.EFIVariableDriver || credibility(e) != covered {
		return false
	}
	v, _, err := efi.ParseVariable(e.Data)
	return err == nil && v.Is(efi.GlobalVariable, "SecureBoot") && bytes.Equal(v.Data, []byte{1})
}

func (ap *appraiser) missingEvent(pcr int, r *EventReference) finding.Finding {
	name := subjectText(r.Label)
	if name == "" {
		name = r.Type
	}
	code, sev, _ := ap.judgeEvent(pcr, typeNamed(r.Type), r.Label)
	if code == finding.UnexpectedEvent || code == finding.UnknownBootComponent {
		code = finding.MissingEvent
	}
	f := ap.o.logFinding(code, fmt.Sprintf("pcr:%d/%s", pcr, name), nil)
	f.Severity = sev
	if pcr == 4 || pcr >= 8 {
		// The image that runs instead tells the story.
		f.Severity = min(sev, finding.Medium)
	}
	if ds := r.allowed(ap.bank); len(ds) > 0 {
		f.Want = ap.bank.String() + ":" + ds[0]
	}
	f.Got, f.Why = "not measured", "The manifest declares a measurement that did not happen at this boot."
	if r.Component != "" {
		f.Why = "The code of component " + r.Component + " was not measured at this boot."
	}
	return f
}

func typeNamed(name string) tcglog.EventType {
	t, _ := tcglog.TypeNamed(name)
	return t
}

// judgeEvent is the table of what a difference means, register by register
// (TCG PFP 1.06, 3.3.4).
func (ap *appraiser) judgeEvent(pcr int, t tcglog.EventType, name string) (finding.Code, finding.Severity, string) {
	switch {
	case pcr == 1 && (name == "BootOrder" || bootEntry(name)):
		return finding.ChangeConfiguration, finding.Info, "The boot order or a boot entry is another than on the reference machine."
	case pcr == 4 && (t == tcglog.EFIAction || t == tcglog.Action || t == tcglog.OmitBootDeviceEvents):
		if bootActions[name] || t != tcglog.EFIAction {
			return finding.ChangeConfiguration, finding.Info, "A boot entry was tried or returned, as follows from the boot order."
		}
		return finding.UnexpectedEvent, finding.Medium, "The firmware took a step of the boot that the reference does not have."
	case pcr == 4 && t != tcglog.Separator:
		return finding.UnknownBootComponent, finding.High, "A boot loader or kernel was started that no reference covers."
	case pcr == 1, pcr == 5, pcr == 6:
		return finding.UnexpectedEvent, finding.Medium, "The firmware measured a configuration that the reference does not have."
	case pcr == 7:
		return judgeSecureBoot(t, name)
	case pcr == 14:
		return finding.SecureBootKeysDiffer, finding.High, "A list of the boot loader's own keys (" + name + ") is another than declared."
	case pcr >= 8 && pcr <= 13:
		if bootText(t, name) {
			return finding.UnexpectedEvent, finding.Medium, "A command line or boot command is another than declared."
		}
		return finding.UnknownBootComponent, finding.High, "A part of the operating system's boot chain was measured that no reference covers."
	case pcr > 14:
		return finding.UnexpectedEvent, finding.Medium, "A measurement was made that the reference does not have."
	}
	return finding.UnexpectedEvent, finding.High, "The firmware measured something that the manifest does not list."
}

func bootEntry(name string) bool {
	rest, ok := strings.CutPrefix(name, "Boot")
	if !ok || len(rest) != 4 {
		return false
	}
	_, err := hex.DecodeString(rest)
	return err == nil
}

// bootText reports whether an event is about words, not code.
func bootText(t tcglog.EventType, name string) bool {
	if t != tcglog.IPL && t != tcglog.EventTag {
		return false
	}
	for _, p := range []string{"grub_cmd", "kernel_cmdline", "module_cmdline", "grub_kernel_cmdline", "LOADED_IMAGE::LoadOptions", ".cmdline"} {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func judgeSecureBoot(t tcglog.EventType, name string) (finding.Code, finding.Severity, string) {
	switch name {
	case "SecureBoot", "SetupMode", "AuditMode", "DeployedMode":
		return finding.SecureBootOff, finding.High, "The firmware measured another Secure Boot state (" + name + ") than the manifest expects."
	}
	switch t {
	case tcglog.EFIVariableDriver:
		return finding.SecureBootKeysDiffer, finding.High, "The variable " + name + " is another than declared."
	case tcglog.EFIVariableAuthority:
		return finding.SecureBootKeysDiffer, finding.High, "An image was accepted under an authority (" + name + ") that the manifest does not declare."
	case tcglog.EFIAction, tcglog.Action:
		return finding.ProtectionWeakened, finding.High, "The firmware reports a protection as open or off (" + name + "), which the manifest does not expect."
	}
	return finding.UnexpectedEvent, finding.High, "The firmware measured something about Secure Boot that the manifest does not list."
}

// volatile reports whether a policy says that an event or its register may
// move.
func (ap *appraiser) volatile(f *finding.Finding) bool {
	head, name, _ := strings.Cut(f.Subject, "/")
	if n, ok := registerOf(f.Subject); ok && slices.Contains(ap.p.VolatilePCRs, n) {
		return true
	}
	if !strings.HasPrefix(head, "pcr:") || name == "" {
		return false
	}
	return slices.ContainsFunc(ap.p.VolatileEvents, func(p string) bool {
		ok, err := path.Match(p, name)
		return err == nil && ok
	})
}
