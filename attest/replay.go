package attest

import (
	"bytes"
	"crypto"
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

// replayer computes register values from a log in one bank.
type replayer struct {
	log  *tcglog.Log
	alg  tpmwire.Algorithm
	hash crypto.Hash
}

// extension is the ordered list of digests that a log extends into a
// register.
type extension struct {
	digests [][]byte
	init    []byte
	missing bool // an event lacks a digest of the bank
	drtm    bool
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

func (r *replayer) extensions() map[int]*extension {
	out := map[int]*extension{}
	locality, hcrtm, _ := startup(r.log)
	for i := range r.log.Events {
		e := &r.log.Events[i]
		if !e.Measured() || e.PCR >= maxRegisters {
			continue
		}
		n := int(e.PCR)
		x := out[n]
		if x == nil {
			x = &extension{init: resetValue(r.alg, n)}
			if n >= 17 && n <= 22 {
				// Events in these registers mean a dynamic launch, which
				// resets them to zero.
				x.init, x.drtm = make([]byte, r.alg.Size()), true
			}
			if n == 0 {
				x.init = initial(r.alg, locality, hcrtm)
			}
			out[n] = x
		}
		d := e.Digest(r.alg)
		if len(d) != r.alg.Size() {
			x.missing = true
			continue
		}
		x.digests = append(x.digests, d)
	}
	return out
}

func initial(a tpmwire.Algorithm, locality byte, hcrtm bool) []byte {
	v := make([]byte, a.Size())
	v[len(v)-1] = locality
	if hcrtm {
		v[len(v)-1] = 4
	}
	return v
}

// extend runs digests over a value.
func extend(h crypto.Hash, init []byte, digests ...[]byte) []byte {
	v := bytes.Clone(init)
	d := h.New()
	for _, x := range digests {
		d.Reset()
		d.Write(v)
		d.Write(x)
		v = d.Sum(v[:0])
	}
	return v
}

func sumOf(h crypto.Hash, b []byte) []byte {
	d := h.New()
	d.Write(b)
	return d.Sum(nil)
}

// replayed is the plain replay of every register with events.
func replayed(l *tcglog.Log, a tpmwire.Algorithm) map[int][]byte {
	if l == nil || a.Hash() == 0 {
		return nil
	}
	r := &replayer{log: l, alg: a, hash: a.Hash()}
	out := map[int][]byte{}
	for n, x := range r.extensions() {
		if !x.missing {
			out[n] = extend(r.hash, x.init, x.digests...)
		}
	}
	return out
}

// replayBank holds a log against the values of one bank.
func replayBank(l *tcglog.Log, a tpmwire.Algorithm, values map[int][]byte) []PCRResult {
	out := make([]PCRResult, 0, maxRegisters)
	var xs map[int]*extension
	r := &replayer{log: l, alg: a, hash: a.Hash()}
	if l != nil && r.hash != 0 {
		xs = r.extensions()
	}
	blank := carteBlanche(a, xs, values)
	for n := range maxRegisters {
		x, v := xs[n], values[n]
		if x == nil && v == nil {
			continue
		}
		p := PCRResult{Bank: a.String(), PCR: n, Result: NotAttested, value: v, Value: fmt.Sprintf("%x", v)}
		if x != nil {
			p.Events = len(x.digests)
		}
		r.judge(&p, x, blank)
		p.Replayed = fmt.Sprintf("%x", p.replayed)
		out = append(out, p)
	}
	return out
}

// carteBlanche reports the state of CVE-2021-42299: the bank is active, the
// firmware measured, and none of the firmware's registers moved.
func carteBlanche(a tpmwire.Algorithm, xs map[int]*extension, values map[int][]byte) bool {
	known := false
	for n := range 8 {
		v := values[n]
		if v == nil {
			continue
		}
		if !bytes.Equal(v, resetValue(a, n)) {
			return false
		}
		known = true
	}
	return known
}

func (r *replayer) judge(p *PCRResult, x *extension, blank bool) {
	switch {
	case r.hash == 0:
		p.Cause = causeNoHash
		return
	case r.log == nil:
		p.Cause = causeNoLog
		if blank && p.PCR < 8 {
			p.Result, p.Cause = Unexplained, causeCarteBlanche
		}
		return
	}
	if x != nil && !x.missing {
		p.replayed = extend(r.hash, x.init, x.digests...)
	}
	switch {
	case p.value == nil:
		p.Cause = causeNoValue
	case blank && p.PCR < 8:
		p.Result, p.Cause = Unexplained, causeCarteBlanche
	case x == nil:
		r.judgeVacuous(p)
	case x.missing:
		p.Cause = causeNoDigest
	case bytes.Equal(p.replayed, p.value):
		p.Result = Explained
	default:
		p.Result, p.Cause = r.explain(p, x)
	}
}

// judgeVacuous is the rule that other verifiers lack: a register without
// events is explained only at its reset value. Registers that operating
// systems extend without a log are not attested instead.
func (r *replayer) judgeVacuous(p *PCRResult) {
	p.replayed = resetValue(r.alg, p.PCR)
	zero := make([]byte, r.alg.Size())
	switch {
	case bytes.Equal(p.value, p.replayed), p.PCR >= 17 && bytes.Equal(p.value, zero):
		p.Result = Explained
	case bytes.Equal(p.value, extend(r.hash, p.replayed, zero)):
		p.Result, p.Cause = Explained, causeCap
	case p.PCR < 8:
		p.Result, p.Cause = Unexplained, causeVacuous
	default:
		p.Cause = causeVacuous
	}
}

// maxMissing bounds the search for one event that was logged but not
// extended.
const maxMissing = 160

// explain looks for a named cause of a mismatch. Only causes that give the
// value exactly, and that an honest platform shows, make a register explained.
func (r *replayer) explain(p *PCRResult, x *extension) (Outcome, string) {
	gives := func(init []byte, extra ...[]byte) bool {
		return bytes.Equal(extend(r.hash, init, append(x.digests[:len(x.digests):len(x.digests)], extra...)...), p.value)
	}
	if p.PCR == 0 {
		for _, locality := range []byte{0, 3, 4} {
			if init := initial(r.alg, locality, false); !bytes.Equal(init, x.init) && gives(init) {
				return Explained, fmt.Sprintf("startup locality %d is not in the log", locality)
			}
		}
	}
	if gives(x.init, make([]byte, r.alg.Size())) {
		return Explained, causeCap
	}
	if p.PCR == 5 {
		call := sumOf(r.hash, []byte("Exit Boot Services Invocation"))
		for _, end := range []string{"Exit Boot Services Returned with Success", "Exit Boot Services Returned with Failure"} {
			if gives(x.init, call, sumOf(r.hash, []byte(end))) {
				return Explained, causeNoEBS
			}
		}
	}
	if p.PCR == 11 || p.PCR == 12 || p.PCR == 15 {
		if r.phases(p, x) {
			return Explained, causePhases
		}
	}
	for _, sep := range separatorData {
		if gives(x.init, sumOf(r.hash, sep)) {
			return Unexplained, causeNoSeparator
		}
	}
	if i := r.notExtended(p, x); i >= 0 {
		return Unexplained, fmt.Sprintf("event %d of the register is in the log but was not extended", i+1)
	}
	return Unexplained, causeRuntime
}

// phases tries the strings that systemd-pcrphase extends after the firmware's
// log has ended.
func (r *replayer) phases(p *PCRResult, x *extension) bool {
	v := extend(r.hash, x.init, x.digests...)
	for _, s := range []string{"enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"} {
		v = extend(r.hash, v, sumOf(r.hash, []byte(s)))
		if bytes.Equal(v, p.value) {
			return true
		}
	}
	return false
}

func (r *replayer) notExtended(p *PCRResult, x *extension) int {
	if len(x.digests) > maxMissing {
		return -1
	}
	before := x.init
	for i, d := range x.digests {
		if bytes.Equal(extend(r.hash, before, x.digests[i+1:]...), p.value) {
			return i
		}
		before = extend(r.hash, before, d)
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
		rs := replayBank(l.log, a, v[a.String()])
		stronger = settleCaps(rs, stronger) || stronger
		out = append(out, rs...)
	}
	return out
}
