package attest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// Params is everything besides the evidence that an appraisal depends on.
type Params struct {
	Nonce      []byte
	NonceGiven bool
	SealDigest [32]byte // D of the bundle
	Sealed     bool     // the bundle has an index: its quote must carry the hash over nonce and D

	EKRoots         []*ekcert.Certificate // roots of TPM makers
	EKIntermediates []*ekcert.Certificate
	RequireEK       bool // an endorsement key without a trusted certificate has the catalogue's severity; otherwise low
	Now             time.Time

	References   []Reference // of all manifests; Origin says whose
	Endorsements []Endorsement
	Virtual      bool // the manifest describes a virtual machine: a software TPM is expected

	VolatilePCRs   []int    // may move between boots; their findings are at most low
	VolatileEvents []string // patterns of path.Match over an event's name
}

// NotChecked names something that could not be compared, and why.
type NotChecked struct {
	What, Reason string
}

// Appraisal is what an observation proves, contradicts and leaves open.
type Appraisal struct {
	Findings   []finding.Finding
	NotChecked []NotChecked
	Registers  Registers   // what verified quotes signed
	Bank       string      // the bank that references were held against
	PCRs       []PCRResult // every active bank, strongest first
	Golden     []int       // registers that are signed and as a manifest declares
	Compared   []int       // registers that a reference was held against

	// GoldenBy names, for signed registers, the manifests of which a reference
	// fits (Reference.Origin). Boot entries that were tried in vain do not count.
	GoldenBy map[int][]string

	Coverage Coverage

	// What was proved.
	Quoted     bool // a key with the right attributes signed PCR 0 to 7 and every referenced register of Bank
	LogMatches bool // the log explains these registers
	Fresh      bool // every verified quote carries the verifier's nonce
	Sealed     bool // every verified quote covers the inventory
	KeyBound   bool // the attestation key is the enrolled one
	Identified bool // a pinned key of the TPM answered, and no other
	PinsTPM    bool // a manifest pins keys of the TPM
	Timed      bool // the same key signed the TPM's age, which was held against the system's
	EKTrusted  bool // a maker's certificate vouches for the endorsement key

	// Starts is how often the TPM was started (resetCount), where a key that the TPM
	// shows it to signed it; -1 when none did.
	Starts int64

	// Until is the next time, Params.Now included, at which a certificate of a TPM or of
	// its makers begins or ends to be valid; zero when there is none.
	Until time.Time

	session *Session
}

// Coverage counts the registers of the chosen bank.
type Coverage struct {
	Referenced, Compared, Golden        int
	Explained, Unexplained, NotAttested int
}

// appraiser gathers what one appraisal finds.
type appraiser struct {
	o *Observation
	p *Params

	findings  []finding.Finding
	unchecked []NotChecked

	keyIsRestricted, anyQuoted bool
	enrolled, identified       bool
	pinsTPM, ekTrusted         bool
	fresh, sealed              []bool
	quotes                     []attested
	registers                  Registers
	bank                       tpmwire.Algorithm
	results                    map[tpmwire.Algorithm][]PCRResult
	ima                        map[tpmwire.Algorithm][][]byte
	golden, compared, fitting  map[int]bool
	goldenBy                   map[int][]string
	timed                      bool
}

func (ap *appraiser) add(f finding.Finding) { ap.findings = append(ap.findings, f) }

func (ap *appraiser) notChecked(what, reason string) {
	ap.unchecked = append(ap.unchecked, NotChecked{what, reason})
}

// Appraise holds the observation against references and endorsements. The
// result depends on nothing else, and equal inputs give equal results.
func (o *Observation) Appraise(p Params) *Appraisal {
	ap := &appraiser{
		o: o, p: &p, findings: slices.Clone(o.malformed),
		results: map[tpmwire.Algorithm][]PCRResult{}, ima: map[tpmwire.Algorithm][][]byte{},
		golden: map[int]bool{}, compared: map[int]bool{}, fitting: map[int]bool{}, goldenBy: map[int][]string{},
	}
	ap.checkPresence()
	ap.checkQuotes()
	ap.chooseBank()
	ap.checkSelection()
	ap.checkListings()
	ap.replayAll()
	ap.checkReplay()
	ap.checkOtherBanks()
	ap.findings = append(ap.findings, o.structureFindings()...)
	ap.findings = append(ap.findings, o.credibilityFindings(ap.known)...)
	ap.findings = append(ap.findings, o.variableFindings()...)
	ap.matchReferences()
	ap.checkUnreferenced()
	ap.checkTime()
	ap.checkIdentity()
	ap.checkCertificates()
	ap.checkVendor()
	ap.checkWeakKeys()
	return ap.finish()
}

// chooseBank takes the strongest bank that a quote covers, and that every
// reference has digests of where there is one. Without quotes it takes the
// strongest bank with values, then of the log.
func (ap *appraiser) chooseBank() {
	var quoted, listed []tpmwire.Algorithm
	for _, signedOnly := range []bool{true, false} {
		for _, q := range ap.quotes {
			if signedOnly && !(q.signed && q.resolved) {
				continue
			}
			for _, s := range q.body.Quote.Selections {
				if len(s.PCRs) > 0 && s.Bank.Size() > 0 {
					quoted = append(quoted, s.Bank)
				}
			}
		}
		if len(quoted) > 0 {
			break
		}
	}
	for _, l := range ap.o.listings {
		listed = append(listed, l.values.banks()...)
	}
	if len(quoted)+len(listed) == 0 && ap.o.log() != nil {
		for _, b := range ap.o.log().Banks {
			listed = append(listed, b.Alg)
		}
	}
	banks := strongestFirst(quoted)
	if len(banks) == 0 {
		banks = strongestFirst(listed)
	}
	if len(banks) == 0 {
		banks = []tpmwire.Algorithm{tpmwire.SHA256}
	}
	ap.bank = banks[0]
	for _, a := range banks {
		if a != tpmwire.SHA1 && !slices.ContainsFunc(ap.p.References, func(r Reference) bool { return !r.covers(a) }) {
			ap.bank = a
			break
		}
	}
	if ap.bank == tpmwire.SHA1 && len(quoted) > 0 {
		f := finding.New(finding.BankInconsistent, "bank:sha1")
		f.Severity, f.Confidence, f.Sources = finding.Medium, finding.Proven, []finding.Source{finding.Cryptographic}
		f.Want, f.Got, f.Why = "a bank stronger than SHA-1", "sha1", "Only the SHA-1 bank is quoted: whoever can make SHA-1 collisions can measure one thing and run another."
		f.Basis = ap.o.basis(ap.quotes[0].path, 0, len(ap.quotes[0].raw))
		f.Action = "Quote a bank of SHA-256 or stronger; if the TPM has none active, allocate one in the firmware's setup."
		ap.add(f)
	}
}

func (ap *appraiser) replay(a tpmwire.Algorithm) *replayer { return ap.o.events.replay(a) }

// quotedValue returns what a quote says a register holds: signed values first,
// then those of a quote whose signature could not be checked.
func (ap *appraiser) quotedValue(a tpmwire.Algorithm, pcr int) (v []byte, signed bool) {
	if v := ap.registers.values.value(a, pcr); v != nil {
		return v, true
	}
	for _, q := range ap.quotes {
		if v := q.values.value(a, pcr); q.resolved && v != nil {
			return v, false
		}
	}
	return nil, false
}

// checkListings compares unsigned listings with the quote and with each other.
func (ap *appraiser) checkListings() {
	for _, l := range ap.o.listings {
		for _, a := range l.values.banks() {
			first := ap.o.listed(a)
			for n := range maxRegisters {
				v := l.values.value(a, n)
				want, signed := ap.quotedValue(a, n)
				if want == nil {
					want = first[n]
				}
				if v == nil || bytes.Equal(v, want) {
					continue
				}
				f := finding.New(finding.SourcesContradict, fmt.Sprintf("pcr:%d/listing-%s", n, a))
				f.Want, f.Got = digestText(a, want), digestText(a, v)
				f.Sources = []finding.Source{finding.Cryptographic, finding.FirmwareTold}
				f.Basis = ap.o.basis(l.path, 0, 0)
				f.Why = "The listed value of the register is not the one in the quote; the quote counts."
				if signed {
					f.Confidence = finding.Proven
				}
				if n == 10 || n >= 16 {
					f.Severity = finding.Low // these move while the system runs
				}
				ap.add(f)
			}
		}
	}
}

// replayAll holds the log against the best values known of every active bank.
func (ap *appraiser) replayAll() {
	active := []tpmwire.Algorithm{ap.bank}
	for _, l := range ap.o.listings {
		active = append(active, l.values.banks()...)
	}
	for _, q := range ap.quotes {
		for _, s := range q.body.Quote.Selections {
			if s.Bank.Size() > 0 {
				active = append(active, s.Bank)
			}
		}
	}
	stronger := false
	for _, a := range strongestFirst(active) {
		values := ap.o.listed(a)
		var signed [maxRegisters]bool
		for n := range maxRegisters {
			if v, s := ap.quotedValue(a, n); v != nil {
				values[n], signed[n] = v, s
			}
		}
		rs := ap.replay(a).results(&values)
		for i := range rs {
			rs[i].Quoted, rs[i].Referenced = signed[rs[i].PCR], ap.referenced(rs[i].PCR)
			ap.judgeIMA(a, &rs[i])
		}
		stronger = settleCaps(rs, stronger) || stronger
		ap.results[a] = rs
	}
}

// settleCaps accepts the cap of an unused bank only where a stronger bank
// explains everything by itself. It reports whether this bank does.
func settleCaps(rs []PCRResult, stronger bool) (whole bool) {
	whole = true
	have := 0
	for i := range rs {
		if rs[i].Cause == causeCap && !stronger {
			rs[i].Result = Unexplained
		}
		if rs[i].PCR < 8 {
			have++
			whole = whole && rs[i].Result == Explained && rs[i].Cause != causeCap
		}
	}
	return whole && have == 8
}

// result returns the outcome for a register in the chosen bank.
func (ap *appraiser) result(pcr int) *PCRResult {
	rs := ap.results[ap.bank]
	for i := range rs {
		if rs[i].PCR == pcr {
			return &rs[i]
		}
	}
	return nil
}

// checkReplay reports registers of the chosen bank that the log does not
// explain.
func (ap *appraiser) checkReplay() {
	if ap.o.log() == nil {
		ap.notChecked("event log", ap.reasonFor(logPath, "no event log in evidence"))
	}
	rs := ap.results[ap.bank]
	switch {
	case ap.empty():
		f := ap.bankFinding(ap.bank, finding.Critical, causeEmpty,
			"The log has the firmware's measurements, and no bank of the TPM has any: the TPM was reset after the firmware had measured, or the log is of another start.")
		f.Action = "Cold start, scan again and compare with the management controller's power log."
	case isBlank(rs):
		ap.bankFinding(ap.bank, finding.Critical, causeCarteBlanche, whyCarteBlanche)
	}
	for i := range rs {
		r := &rs[i]
		switch {
		case r.PCR == 10 || r.PCR >= 16 || ap.lost(r):
		case r.Result == Explained && r.Cause != "":
			f := ap.o.logFinding(finding.KnownQuirk, registerSubject(r.PCR), nil)
			f.Got, f.Why = r.Cause, "The log explains the register only with this addition, which is known from honest machines."
			ap.add(f)
		case r.Result == Unexplained:
			f := ap.o.logFinding(finding.LogDoesNotReplay, registerSubject(r.PCR), nil)
			f.Want, f.Got = digestText(ap.bank, r.value), digestText(ap.bank, r.replayed)
			f.Why = "The log does not give the register's value: " + r.Cause + "."
			if r.PCR >= 8 && !r.Referenced {
				f.Severity = finding.Medium
			}
			ap.add(f)
		case r.Result == NotAttested && (r.PCR < 8 || r.Referenced) && ap.o.log() != nil:
			ap.notChecked(registerSubject(r.PCR)+" in "+ap.bank.String(), r.Cause)
		}
	}
}

// whyCarteBlanche is the state of CVE-2021-42299.
const whyCarteBlanche = "PCR 0 to 7 are at their reset values although the bank is active: whoever runs next can fill them at will (CVE-2021-42299)."

func isBlank(rs []PCRResult) bool {
	return slices.ContainsFunc(rs, func(r PCRResult) bool { return r.Cause == causeCarteBlanche })
}

// empty reports a TPM none of whose active banks holds what the log says that
// the firmware measured.
func (ap *appraiser) empty() bool {
	if len(ap.results) == 0 || ap.o.log() == nil {
		return false
	}
	for _, rs := range ap.results {
		if !isBlank(rs) {
			return false
		}
	}
	return slices.ContainsFunc(ap.results[ap.bank], func(r PCRResult) bool { return r.PCR < 8 && r.Events > 0 })
}

// lost reports a register that an empty TPM lost with the others: one finding
// about the TPM says it.
func (ap *appraiser) lost(r *PCRResult) bool {
	return r.Cause == causeCarteBlanche || ap.empty() && isReset(ap.bank, r.PCR, r.value)
}

func (ap *appraiser) bankFinding(a tpmwire.Algorithm, sev finding.Severity, got, why string) *finding.Finding {
	f := finding.New(finding.BankInconsistent, "bank:"+a.String())
	f.Severity, f.Got, f.Why = sev, got, why
	f.Sources = []finding.Source{finding.Cryptographic}
	if len(ap.o.listings) > 0 {
		f.Basis = ap.o.basis(ap.o.listings[0].path, 0, 0)
	}
	ap.add(f)
	return &ap.findings[len(ap.findings)-1]
}

// checkOtherBanks asks of every other active bank that it tells the same
// story: a bank that nobody extended is one that anybody may extend.
func (ap *appraiser) checkOtherBanks() {
	for _, a := range strongestFirst(sortedKeys(ap.results)) {
		if a == ap.bank {
			continue
		}
		var odd []string
		capped, blank, attested, signed := false, false, 0, 0
		for _, r := range ap.results[a] {
			main := ap.result(r.PCR)
			switch {
			case r.PCR >= 8:
				continue
			case r.Quoted:
				signed++
			}
			blank = blank || r.Cause == causeCarteBlanche
			capped = capped || r.Cause == causeCap
			if r.Result != NotAttested {
				attested++
			}
			if r.Result == Unexplained && (main == nil || main.Result != Unexplained) {
				odd = append(odd, fmt.Sprint(r.PCR))
			}
		}
		switch {
		case attested == 0:
			if len(ap.results[a]) > 0 {
				ap.notChecked("bank "+a.String(), "active, but no register of the firmware could be replayed")
			}
		case blank && ap.empty():
			// told once, of the chosen bank
		case blank:
			ap.bankFinding(a, finding.Critical, causeCarteBlanche, whyCarteBlanche)
		case len(odd) > 0:
			f := ap.bankFinding(a, finding.High, "PCR "+strings.Join(odd, ", "), "These registers do not replay in this bank, although they do in the quoted one.")
			f.Action = "Scan again after a cold start; if it stays, treat the log as forged."
		case capped:
			f := finding.New(finding.KnownQuirk, "bank:"+a.String())
			f.Got, f.Why, f.Sources = causeCap, "The bank is not in use, and a stronger bank explains every register.", []finding.Source{finding.Cryptographic}
			ap.add(f)
		case signed < 8 && ap.anyQuoted:
			ap.bankFinding(a, finding.Low, "not quoted", "The bank is active and replays, but no quote covers it.")
		}
	}
}

// known reports whether a reference has a digest, given as findings show it.
func (ap *appraiser) known(digest string) bool {
	bank, want, ok := strings.Cut(digest, ":")
	if !ok {
		return false
	}
	for i := range ap.p.References {
		for j := range ap.p.References[i].Events {
			for _, d := range ap.p.References[i].Events[j].Digests[bank] {
				if strings.ToLower(d) == want {
					return true
				}
			}
		}
	}
	return false
}

// checkUnreferenced lists registers that hold something and that no manifest
// speaks about.
func (ap *appraiser) checkUnreferenced() {
	if len(ap.p.References) == 0 {
		if ap.o.log() != nil || len(ap.quotes) > 0 {
			ap.notChecked("boot references", "no manifest declares what this machine should measure")
		}
		return
	}
	for _, r := range ap.results[ap.bank] {
		if r.Referenced {
			if r.PCR == 16 || r.PCR == 23 {
				f := finding.New(finding.ResettablePCR, fmt.Sprintf("pcr:%d", r.PCR))
				f.Got, f.Why = "referenced", "Software may reset this register at any time, so that its value proves nothing."
				ap.add(f)
			}
			continue
		}
		if r.Events > 0 || r.value != nil && r.PCR < 16 && !isReset(ap.bank, r.PCR, r.value) {
			ap.notChecked(fmt.Sprintf("PCR %d", r.PCR), "no manifest declares what this register should hold")
		}
		if r.PCR == 4 {
			ap.uncoveredLoaders()
		}
	}
}

// uncoveredLoaders names what was started where no manifest speaks about boot
// loaders at all: nothing contradicts it, and nothing covers it.
func (ap *appraiser) uncoveredLoaders() {
	for _, e := range ap.o.measuredIn(4) {
		if code, _, _ := ap.judgeEvent(4, e.Type, label(e)); code != finding.UnknownBootComponent {
			continue
		}
		f := ap.o.eventFinding(finding.UnknownBootComponent, e)
		f.Severity, f.Got = finding.Medium, ap.digestOf(e)
		f.Why = "A boot loader or kernel was started, and no manifest declares which ones may be: give one for the operating system, too."
		ap.add(f)
	}
}

// finish sets confidences, applies what may move, and sums up.
func (ap *appraiser) finish() *Appraisal {
	for i := range ap.findings {
		f := &ap.findings[i]
		if n, ok := registerOf(f.Subject); ok && f.Code == finding.LogStructure && ap.fitting[n] {
			*f = quirk(*f, "The manifest declares the register in exactly this form.")
		}
		if n, ok := registerOf(f.Subject); ok && f.Code == finding.LogDoesNotReplay && n >= 8 && ap.fitting[n] {
			// The system extends these without a log; the value is declared.
			f.Severity = finding.Low
		}
		if f.Claim == finding.ClaimBoot && strings.HasPrefix(f.Subject, "pcr:") {
			f.Confidence = ap.confidence(f)
		}
		if ap.volatile(f) {
			f.Severity = min(f.Severity, finding.Low)
		}
	}
	a := &Appraisal{
		Findings: finding.Sort(ap.findings), NotChecked: sortUnchecked(ap.unchecked), Registers: ap.registers, Bank: ap.bank.String(),
		Golden: sortedKeys(ap.golden), Compared: sortedKeys(ap.compared), GoldenBy: ap.goldenBy, Timed: ap.timed,
		Identified: ap.identified && !ap.has(finding.TPMChanged), PinsTPM: ap.pinsTPM, EKTrusted: ap.ekTrusted,
	}
	a.Starts, a.Until, a.session = ap.starts(), ap.until(), ap.session()
	a.Golden = slices.DeleteFunc(a.Golden, func(n int) bool { return !ap.golden[n] })
	a.PCRs = ap.allResults()
	a.Quoted, a.LogMatches = ap.anyQuoted, ap.o.log() != nil
	for n := range maxRegisters {
		r := ap.result(n)
		if ap.referenced(n) {
			a.Coverage.Referenced++
		}
		if n >= 8 && !ap.referenced(n) {
			continue
		}
		a.Quoted = a.Quoted && r != nil && r.Quoted
		a.LogMatches = a.LogMatches && (r != nil && r.Result == Explained || n >= 8 && ap.golden[n])
	}
	a.Fresh, a.Sealed = a.Quoted && all(ap.fresh), a.Quoted && all(ap.sealed)
	a.KeyBound = a.Quoted && ap.enrolled && !ap.has(finding.TPMChanged)
	a.Coverage.Compared, a.Coverage.Golden = len(a.Compared), len(a.Golden)
	for _, r := range ap.results[ap.bank] {
		switch r.Result {
		case Explained:
			a.Coverage.Explained++
		case Unexplained:
			a.Coverage.Unexplained++
		default:
			a.Coverage.NotAttested++
		}
	}
	return a
}

// allResults are those of every bank, strongest first.
func (ap *appraiser) allResults() []PCRResult {
	banks := make([][]PCRResult, 0, len(ap.results))
	for _, b := range strongestFirst(sortedKeys(ap.results)) {
		banks = append(banks, ap.results[b])
	}
	return slices.Concat(banks...)
}

func registerSubject(pcr int) string { return "pcr:" + strconv.Itoa(pcr) }

// registerOf reads the register out of a subject such as "pcr:7/db".
func registerOf(subject string) (int, bool) {
	head, _, _ := strings.Cut(subject, "/")
	digits, ok := strings.CutPrefix(head, "pcr:")
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil
}

func all(bs []bool) bool { return len(bs) > 0 && !slices.Contains(bs, false) }

func (ap *appraiser) has(c finding.Code) bool {
	return slices.ContainsFunc(ap.findings, func(f finding.Finding) bool { return f.Code == c })
}

// confidence of a finding about a register: proven when the TPM signed the
// register and, for events, the log gives its value.
func (ap *appraiser) confidence(f *finding.Finding) finding.Confidence {
	n, ok := registerOf(f.Subject)
	if !ok {
		return f.Confidence
	}
	r := ap.result(n)
	if r != nil && r.Quoted && (r.Result == Explained || f.Code == finding.LogDoesNotReplay || f.Code == finding.PCRDiffers) {
		return finding.Proven
	}
	return finding.Strong
}

func sortUnchecked(ns []NotChecked) []NotChecked {
	slices.SortStableFunc(ns, func(a, b NotChecked) int {
		return cmp.Or(cmp.Compare(a.What, b.What), cmp.Compare(a.Reason, b.Reason))
	})
	return slices.Compact(ns)
}
