package attest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// separatorData are the contents of a separator event; the last one reports
// that the firmware failed (TCG PFP 1.06, 10.4.1).
var separatorData = [][]byte{{0, 0, 0, 0}, {0xff, 0xff, 0xff, 0xff}, {1, 0, 0, 0}}

const separatorError = 2

// separatorOf returns which separator a digest is of, whatever the event's
// type says, or -1.
func separatorOf(e *tcglog.Event) int {
	for _, d := range e.Digests {
		if i := separatorDigest(d.Alg, d.Value); i >= 0 {
			return i
		}
	}
	return -1
}

func separatorDigest(a tpmwire.Algorithm, value []byte) int {
	for i := range separatorSums {
		if s := &separatorSums[i]; s.alg == a {
			return slices.IndexFunc(s.digests[:], func(d []byte) bool { return bytes.Equal(d, value) })
		}
	}
	return -1
}

// separatorSums are the digests of the separators in every bank that can be
// replayed: constants, which the types of events are held against.
var separatorSums = sumSeparators(tpmwire.SHA256, tpmwire.SHA1, tpmwire.SHA384, tpmwire.SHA512, tpmwire.SHA3_256, tpmwire.SHA3_384, tpmwire.SHA3_512)

type separatorSum struct {
	alg     tpmwire.Algorithm
	digests [3][]byte // of separatorData
}

func sumSeparators(as ...tpmwire.Algorithm) []separatorSum {
	out := make([]separatorSum, len(as))
	for i, a := range as {
		out[i].alg = a
		for j, s := range separatorData {
			out[i].digests[j] = a.Sum(nil, s)
		}
	}
	return out
}

// structureFindings checks what the profile demands of a log as a whole: one
// separator per register, the startup locality's place, and no constant under
// a false type.
func (o *Observation) structureFindings() []finding.Finding {
	l := o.log()
	if l == nil {
		return nil
	}
	var fs []finding.Finding
	if _, _, bad := startup(l); bad != "" {
		f := o.logFinding(finding.EventNotCredible, "pcr:0/StartupLocality", nil)
		f.Severity, f.Got, f.Why = finding.High, bad, "The record that says where PCR 0 starts breaks the profile's rules, and may have been made up to fit a value."
		fs = append(fs, f)
	}
	for _, a := range l.Undeclared {
		f := o.logFinding(finding.LogStructure, "eventlog/"+a.String(), nil)
		f.Severity, f.Got, f.Why = finding.Low, "events carry "+a.String()+" digests", "The log's header does not declare this bank."
		fs = append(fs, f)
	}
	if !firmwareIsUEFI(l) {
		return append(fs, o.foreignProfile())
	}
	var seps separators
	for i := range l.Events {
		e := &l.Events[i]
		if !e.Measured() || e.PCR > 7 {
			continue
		}
		which := separatorOf(e)
		if e.Type == tcglog.Separator {
			seps.add(e)
		}
		switch {
		case which < 0 && e.Type == tcglog.Separator:
			f := o.eventFinding(finding.LogStructure, e)
			f.Got, f.Why = "a separator with an unknown digest", "The event calls itself a separator, but its digest is of none."
			fs = append(fs, f)
		case which == separatorError && e.Type == tcglog.Separator:
			f := o.eventFinding(finding.LogStructure, e)
			f.Got, f.Why = "00000001", "The firmware reports an error in its own measurements."
			fs = append(fs, f)
		case which >= 0 && e.Type != tcglog.Separator:
			fs = append(fs, o.launderedFindings(e)...)
		}
	}
	return append(fs, o.separatorFindings(l, &seps)...)
}

// separators are those of PCR 0 to 7: the first two of each, and how many.
type separators [8]struct {
	n             int
	first, second *tcglog.Event
}

func (s *separators) add(e *tcglog.Event) {
	of := &s[e.PCR]
	switch of.n++; of.n {
	case 1:
		of.first = e
	case 2:
		of.second = e
	}
}

// firmwareIsUEFI tells the profile's logs from others that use the same
// records, such as OpenPOWER's, which names its phases in separators.
func firmwareIsUEFI(l *tcglog.Log) bool {
	for i := range l.Events {
		e := &l.Events[i]
		if e.Type >= tcglog.EFIVariableDriver || e.Type == tcglog.Separator && len(e.Data) == 4 {
			return true
		}
	}
	return false
}

func (o *Observation) foreignProfile() finding.Finding {
	f := o.logFinding(finding.LogStructure, "eventlog/profile", nil)
	f.Severity, f.Got = finding.Low, "no event of the PC Client profile"
	f.Why = "The log is of another kind of firmware; its separators could not be checked."
	return f
}

// launderedFindings reports a separator under another type. Two honest cases
// exist: a boot variable whose contents happen to be the same four bytes, and
// a part of the S-CRTM that is absent, which a start-up ACM measures so.
func (o *Observation) launderedFindings(e *tcglog.Event) []finding.Finding {
	variable := e.Type == tcglog.EFIVariableBoot || e.Type == tcglog.EFIVariableBoot2
	if variable && credibility(e) == covered {
		return nil
	}
	f := o.eventFinding(finding.EventNotCredible, e)
	f.Severity, f.Want, f.Got = finding.Critical, tcglog.Separator.String(), e.Type.String()
	f.Why = "The digest is that of a separator, but the event calls itself something else: the boundary between firmware and operating system may have been moved."
	if o.startOfPCR0(e) {
		f.Severity = finding.Low
		f.Why = "What was measured as the start of the firmware is a constant: the measurement says nothing about the code."
	}
	return []finding.Finding{f}
}

// startOfPCR0 reports whether an event is part of the S-CRTM's own measurements
// at the very start of PCR 0.
func (o *Observation) startOfPCR0(e *tcglog.Event) bool {
	if e.PCR != 0 {
		return false
	}
	for _, x := range o.measuredIn(0) {
		if x.Type != tcglog.SCRTMContents {
			return false
		}
		if x == e {
			return true
		}
	}
	return false
}

func (o *Observation) separatorFindings(l *tcglog.Log, seps *separators) []finding.Finding {
	if *seps == (separators{}) {
		f := o.logFinding(finding.LogStructure, "eventlog/separators", nil)
		f.Want, f.Got, f.Why = "one separator in each of PCR 0 to 7", "none", "Without separators nothing marks where the firmware's measurements end."
		return []finding.Finding{f}
	}
	var fs []finding.Finding
	for pcr := range seps {
		switch n := seps[pcr].n; {
		case n == 0:
			f := o.logFinding(finding.LogStructure, fmt.Sprintf("pcr:%d/separator", pcr), nil)
			f.Want, f.Got, f.Why = "1 separator", "0", "The register is never separated: the operating system could add firmware measurements."
			fs = append(fs, f)
		case n > 1:
			f := o.eventFinding(finding.LogStructure, seps[pcr].second)
			f.Subject = fmt.Sprintf("pcr:%d/separator", pcr)
			f.Want, f.Got, f.Why = "1 separator", fmt.Sprint(n), "A separator stands more than once: the boundary between firmware and operating system is ambiguous."
			fs = append(fs, f)
		}
	}
	if first := seps[0].first; first != nil {
		fs = append(fs, o.afterSeparator(l, first.Number)...)
	}
	return fs
}

// afterSeparator reports firmware claims in PCR 0 behind its separator.
func (o *Observation) afterSeparator(l *tcglog.Log, number int) []finding.Finding {
	var fs []finding.Finding
	for i := range l.Events {
		e := &l.Events[i]
		if e.PCR != 0 || !e.Measured() || e.Number <= number || e.Type == tcglog.Separator {
			continue
		}
		f := o.eventFinding(finding.LogStructure, e)
		f.Want, f.Got, f.Why = "nothing behind the separator", e.Type.String(), "Code is measured into PCR 0 after the firmware declared its own measurements finished."
		fs = append(fs, f)
	}
	return fs
}

// credibilityFindings reports events whose data contradicts their digest.
// known tells the digests that a reference has: where the same firmware always
// digests something else than it logs, that is a quirk and no forgery.
func (o *Observation) credibilityFindings(known func(digest string) bool) []finding.Finding {
	l := o.log()
	if l == nil {
		return nil
	}
	var fs []finding.Finding
	for i := range l.Events {
		e, c := &l.Events[i], o.events.facts().coverage[i]
		if c != contradicted && c != unlikely {
			continue
		}
		f := o.eventFinding(finding.EventNotCredible, e)
		f.Want, f.Got = eventDigest(e), dataDigest(e)
		f.Why = "The event's data does not hash to its digest, although this type's digest is defined over the data: the text was edited after the measurement."
		f.Severity = finding.Critical
		if c == unlikely {
			f.Severity = finding.Medium
			f.Why = "The event's data does not hash to its digest; some firmware digests something else here."
			if known(f.Want) {
				f = quirk(f, "The manifest's reference has the same digest.")
			}
		}
		fs = append(fs, f)
	}
	return fs
}

func quirk(f finding.Finding, why string) finding.Finding {
	q := finding.New(finding.KnownQuirk, f.Subject)
	q.Want, q.Got, q.Confidence, q.Sources, q.Basis, q.Location = f.Want, f.Got, f.Confidence, f.Sources, f.Basis, f.Location
	q.Why = f.Why + " " + why
	return q
}

// eventDigest shows the event's strongest digest.
func eventDigest(e *tcglog.Event) string {
	best := -1
	out := ""
	for _, d := range e.Digests {
		if s := strength(d.Alg); s > best {
			best, out = s, digestText(d.Alg, d.Value)
		}
	}
	return out
}

func dataDigest(e *tcglog.Event) string {
	best := -1
	out := ""
	for _, d := range e.Digests {
		if s := strength(d.Alg); s > best && d.Alg.Hash() != 0 {
			best, out = s, digestText(d.Alg, d.Alg.Sum(nil, e.Data))
		}
	}
	return out
}
