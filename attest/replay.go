package attest

import (
	"bytes"
	"encoding/hex"
	"fmt"

	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// Outcome says whether a log accounts for the value of a register.
type Outcome string

// The outcomes. A register without a value, or whose events lack a digest of
// the bank, is not attested: that is neither good nor bad.
const (
	Explained   Outcome = "explained"
	Unexplained Outcome = "unexplained"
	NotAttested Outcome = "not attested"
)

// PCRResult says what a replay found for one register of one bank.
type PCRResult struct {
	Bank       string  `json:"bank"`
	PCR        int     `json:"pcr"`
	Result     Outcome `json:"result"`
	Cause      string  `json:"cause,omitempty"` // named when the plain replay does not give the value
	Events     int     `json:"events"`
	Value      string  `json:"value,omitempty"`    // hex; signed when Quoted
	Replayed   string  `json:"replayed,omitempty"` // hex
	Quoted     bool    `json:"quoted"`             // a verified quote signed the value
	Referenced bool    `json:"referenced"`         // a manifest says what to expect

	value, replayed []byte
}

// The causes that a replay can name.
const (
	causeVacuous      = "no event is logged for the register, and its value is not the reset value"
	causeCarteBlanche = "the bank is active, but the firmware never extended it"
	causeEmpty        = "every register of the firmware is at its reset value"
	causeCap          = "the operating system capped the unused bank with a zero digest"
	causeNoEBS        = "the log lacks the ExitBootServices events"
	causeNoSeparator  = "the log lacks a separator"
	causeRuntime      = "extended after the log ended, or the log was edited"
	causePhases       = "extended by the service manager's boot phases, which firmware does not log"
	causeNoDigest     = "an event has no digest of this bank"
	causeNoValue      = "no value of the register is in evidence"
	causeNoHash       = "the bank's hash algorithm is not implemented"
	causeNoLog        = "no event log"
)

// replayer is the plain replay of a log in one bank. It has a fixed size, so that
// a replay allocates nothing.
type replayer struct {
	log       *tcglog.Log // nil when there is none
	alg       tpmwire.Algorithm
	registers [maxRegisters]register
}

// register is what a log gives for one register.
type register struct {
	value   [tpmwire.MaxDigest]byte // the reset value where no event is logged
	events  int                     // with a digest of the bank
	logged  bool                    // the log has an event of the register
	missing bool                    // an event lacks a digest of the bank: value means nothing
}

// startup finds where PCR 0 starts: the locality that sent TPM2_Startup, or
// 4 after an H-CRTM sequence (TCG PFP 1.06, 10.4.5.3 and 3.3.3.2). bad is the
// reason why a locality record is not believed.
func startup(l *tcglog.Log) (locality byte, hcrtm bool, bad string) {
	const sig = "StartupLocality\x00"
	extended, seen := false, false
	for i := range l.Events {
		e := &l.Events[i]
		if e.PCR != 0 {
			continue
		}
		if e.Type == tcglog.NoAction {
			rest, ok := bytes.CutPrefix(e.Data, []byte(sig))
			switch {
			case !ok:
			case seen:
				return locality, hcrtm, "a second startup locality is logged"
			case extended:
				return locality, hcrtm, "the startup locality is logged after PCR 0 was extended"
			case len(rest) == 0 || len(bytes.Trim(rest[1:], "\x00")) > 0:
				return 0, hcrtm, "the startup locality record is malformed"
			case rest[0] != 0 && rest[0] != 3 && rest[0] != 4:
				return 0, hcrtm, fmt.Sprintf("startup locality %d cannot be", rest[0])
			default:
				locality, seen = rest[0], true
			}
			continue
		}
		if !extended && e.Type == tcglog.EFIHCRTM {
			hcrtm = true
		}
		extended = true
	}
	return locality, hcrtm, ""
}

func newReplayer(l *tcglog.Log, a tpmwire.Algorithm) *replayer {
	r := &replayer{}
	r.run(l, a)
	return r
}

// run replays a log. Without a log, or where the bank's hash is not implemented,
// every register is left at its reset value.
func (r *replayer) run(l *tcglog.Log, a tpmwire.Algorithm) {
	*r = replayer{log: l, alg: a}
	for n := range r.registers {
		setReset(r.value(n), n)
	}
	if l == nil || a.Hash() == 0 {
		return
	}
	for i := range l.Events {
		e := &l.Events[i]
		if !e.Measured() || e.PCR >= maxRegisters {
			continue
		}
		g := &r.registers[e.PCR]
		if !g.logged {
			g.logged = true
			r.start(int(e.PCR))
		}
		d := e.Digest(a)
		if len(d) != a.Size() {
			g.missing = true
			continue
		}
		extend(a, r.value(int(e.PCR)), d)
		g.events++
	}
}

// start sets a register with events to what it holds before the first.
func (r *replayer) start(pcr int) {
	v := r.value(pcr)
	switch {
	case pcr >= 17 && pcr <= 22:
		// Events in these registers mean a dynamic launch, which resets them to
		// zero.
		clear(v)
	case pcr == 0:
		locality, hcrtm, _ := startup(r.log)
		setInitial(v, locality, hcrtm)
	}
}

// value is the replayed value of a register, which aliases the replayer.
func (r *replayer) value(pcr int) []byte { return r.registers[pcr].value[:r.alg.Size()] }

// given returns the value that the log gives for a register, nil when it gives
// none.
func (r *replayer) given(pcr int) []byte {
	if pcr >= maxRegisters || !r.registers[pcr].logged || r.registers[pcr].missing {
		return nil
	}
	return r.value(pcr)
}

func setInitial(v []byte, locality byte, hcrtm bool) {
	clear(v)
	v[len(v)-1] = locality
	if hcrtm {
		v[len(v)-1] = 4
	}
}

// extend runs a digest over a value in place.
func extend(a tpmwire.Algorithm, v, digest []byte) {
	var both [2 * tpmwire.MaxDigest]byte
	a.Sum(v[:0], append(append(both[:0], v...), digest...))
}

// results holds a replay against the values of its bank.
func (r *replayer) results(values *registerSet) []PCRResult {
	return r.appendResults(make([]PCRResult, 0, maxRegisters), values)
}

func (r *replayer) appendResults(out []PCRResult, values *registerSet) []PCRResult {
	from := len(out)
	blank := carteBlanche(r.alg, values)
	for n, v := range values {
		if v == nil && !r.registers[n].logged {
			continue
		}
		p := PCRResult{Bank: r.alg.String(), PCR: n, Result: NotAttested, value: v, Events: r.registers[n].events}
		r.judge(&p, blank)
		out = append(out, p)
	}
	showValues(out[from:])
	return out
}

// showValues writes the values in hex, all of them in one string. Where the
// replay gives the value, as it mostly does, both are one text.
func showValues(rs []PCRResult) {
	var buf [2 * maxRegisters * tpmwire.MaxDigest]byte
	digits := buf[:0]
	for i := range rs {
		digits = hex.AppendEncode(digits, rs[i].value)
		if !bytes.Equal(rs[i].value, rs[i].replayed) {
			digits = hex.AppendEncode(digits, rs[i].replayed)
		}
	}
	text := string(digits)
	for i := range rs {
		r := &rs[i]
		r.Value, text = text[:2*len(r.value)], text[2*len(r.value):]
		if bytes.Equal(r.value, r.replayed) {
			r.Replayed = r.Value
			continue
		}
		r.Replayed, text = text[:2*len(r.replayed)], text[2*len(r.replayed):]
	}
}

// carteBlanche reports the state of CVE-2021-42299: the bank is active, the
// firmware measured, and none of the firmware's registers moved.
func carteBlanche(a tpmwire.Algorithm, values *registerSet) bool {
	known := false
	for n, v := range values[:8] {
		if v == nil {
			continue
		}
		if !isReset(a, n, v) {
			return false
		}
		known = true
	}
	return known
}

func (r *replayer) judge(p *PCRResult, blank bool) {
	switch {
	case r.alg.Hash() == 0:
		p.Cause = causeNoHash
		return
	case r.log == nil:
		p.Cause = causeNoLog
		if blank && p.PCR < 8 {
			p.Result, p.Cause = Unexplained, causeCarteBlanche
		}
		return
	}
	p.replayed = r.given(p.PCR)
	switch {
	case p.value == nil:
		p.Cause = causeNoValue
	case blank && p.PCR < 8:
		p.Result, p.Cause = Unexplained, causeCarteBlanche
	case !r.registers[p.PCR].logged:
		r.judgeVacuous(p)
	case p.replayed == nil:
		p.Cause = causeNoDigest
	case bytes.Equal(p.replayed, p.value):
		p.Result = Explained
	default:
		p.Result, p.Cause = r.explain(p)
	}
}

// judgeVacuous is the rule that other verifiers lack: a register without
// events is explained only at its reset value. Registers that operating
// systems extend without a log are not attested instead.
func (r *replayer) judgeVacuous(p *PCRResult) {
	p.replayed = r.value(p.PCR)
	switch {
	case bytes.Equal(p.value, p.replayed), p.PCR >= 17 && bytes.Equal(p.value, zeroDigest[:r.alg.Size()]):
		p.Result = Explained
	case bytes.Equal(p.value, r.after(p.replayed, zeroDigest[:r.alg.Size()])):
		p.Result, p.Cause = Explained, causeCap
	case p.PCR < 8:
		p.Result, p.Cause = Unexplained, causeVacuous
	default:
		p.Cause = causeVacuous
	}
}

// zeroDigest is what an operating system extends to cap a bank that it does not
// use.
var zeroDigest [tpmwire.MaxDigest]byte

// after runs digests over a copy of a value.
func (r *replayer) after(v []byte, digests ...[]byte) []byte {
	v = bytes.Clone(v)
	for _, d := range digests {
		extend(r.alg, v, d)
	}
	return v
}

// logged lists the digests that the log has for a register: the search for a
// cause tries them in other ways.
func (r *replayer) logged(pcr int) [][]byte {
	var out [][]byte
	for i := range r.log.Events {
		e := &r.log.Events[i]
		if d := e.Digest(r.alg); e.Measured() && e.PCR == uint32(pcr) && len(d) == r.alg.Size() {
			out = append(out, d)
		}
	}
	return out
}

// maxMissing bounds the search for one event that was logged but not
// extended.
const maxMissing = 160

// explain looks for a named cause of a mismatch. Only causes that give the
// value exactly, and that an honest platform shows, make a register explained.
func (r *replayer) explain(p *PCRResult) (Outcome, string) {
	gives := func(more ...[]byte) bool { return bytes.Equal(r.after(p.replayed, more...), p.value) }
	sum := func(s string) []byte { return r.alg.Sum(nil, []byte(s)) }
	if p.PCR == 0 {
		if locality, ok := r.otherLocality(p); ok {
			return Explained, fmt.Sprintf("startup locality %d is not in the log", locality)
		}
	}
	if gives(zeroDigest[:r.alg.Size()]) {
		return Explained, causeCap
	}
	if p.PCR == 5 {
		call := sum("Exit Boot Services Invocation")
		for _, end := range []string{"Exit Boot Services Returned with Success", "Exit Boot Services Returned with Failure"} {
			if gives(call, sum(end)) {
				return Explained, causeNoEBS
			}
		}
	}
	if (p.PCR == 11 || p.PCR == 12 || p.PCR == 15) && r.phases(p) {
		return Explained, causePhases
	}
	for i := range separatorData {
		if gives(r.alg.Sum(nil, separatorData[i])) {
			return Unexplained, causeNoSeparator
		}
	}
	if i := r.notExtended(p); i >= 0 {
		return Unexplained, fmt.Sprintf("event %d of the register is in the log but was not extended", i+1)
	}
	return Unexplained, causeRuntime
}

// otherLocality finds a start of PCR 0 that the log does not tell and that gives
// the value.
func (r *replayer) otherLocality(p *PCRResult) (byte, bool) {
	digests := r.logged(0)
	told, v := make([]byte, r.alg.Size()), make([]byte, r.alg.Size())
	locality, hcrtm, _ := startup(r.log)
	setInitial(told, locality, hcrtm)
	for _, other := range []byte{0, 3, 4} {
		if setInitial(v, other, false); !bytes.Equal(v, told) && bytes.Equal(r.after(v, digests...), p.value) {
			return other, true
		}
	}
	return 0, false
}

// phases tries the strings that systemd-pcrphase extends after the firmware's
// log has ended.
func (r *replayer) phases(p *PCRResult) bool {
	v := bytes.Clone(p.replayed)
	for _, s := range []string{"enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"} {
		extend(r.alg, v, r.alg.Sum(nil, []byte(s)))
		if bytes.Equal(v, p.value) {
			return true
		}
	}
	return false
}

func (r *replayer) notExtended(p *PCRResult) int {
	digests := r.logged(p.PCR)
	if len(digests) > maxMissing {
		return -1
	}
	start := &replayer{log: r.log, alg: r.alg}
	setReset(start.value(p.PCR), p.PCR)
	start.start(p.PCR)
	before := start.value(p.PCR)
	for i, d := range digests {
		if bytes.Equal(r.after(before, digests[i+1:]...), p.value) {
			return i
		}
		extend(r.alg, before, d)
	}
	return -1
}

// Replay holds the log against values that somebody wrote down. The results
// are not quoted: they show whether the two agree, not that either is true.
// Without values of a bank the registers' replayed values are given.
func (l *Log) Replay(v RegisterValues) []PCRResult {
	as := v.banks()
	for _, b := range l.log.Banks {
		if b.Alg.Size() > 0 {
			as = append(as, b.Alg)
		}
	}
	stronger := false
	var out []PCRResult
	for _, a := range strongestFirst(as) {
		rs := l.replay(a).results(v.of(a))
		stronger = settleCaps(rs, stronger) || stronger
		out = append(out, rs...)
	}
	return out
}
