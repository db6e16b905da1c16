package spdm

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
)

// Params are what an appraisal knows beside evidence and references.
type Params struct {
	Nonce      []byte // as it was given to whoever took the evidence
	NonceGiven bool
	Now        time.Time
}

// Comparison is the outcome of Match.
type Comparison struct {
	Findings   []finding.Finding
	Coverage   []Coverage
	NotChecked []NotChecked
	Unproved   []string // what references declare, do not call optional, and no signature shows

	answered map[string]string // by device key: the declared device that it answered for
}

// Coverage counts, for one declared device, what became of its measurements.
type Coverage struct {
	Device        string `json:"device"`
	Declared      int    `json:"declared"`
	Matched       int    `json:"matched"`
	Unexpected    int    `json:"unexpected"`
	NotObservable int    `json:"notObservable"`
}

// NotChecked names something that could not be compared, and why.
type NotChecked struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Match holds what devices signed against what manifests declare of them, both
// ways: a measurement that nobody declared is a finding, and a declared one that
// no signature shows is not proved. What a management controller tells can
// contradict, and proves nothing.
func Match(want []Reference, got *Observation, p Params) *Comparison {
	c := &Comparison{answered: map[string]string{}}
	for _, d := range got.Devices {
		refs := slices.DeleteFunc(slices.Clone(want), func(r Reference) bool { return !r.speaksOf(d) })
		if d.told && len(refs) == 0 {
			continue // nobody asked, and it would prove nothing
		}
		c.problem(d)
		if d.Signed == nil {
			c.hearsay(refs, d, got)
			continue
		}
		m := &matcher{c: c, p: p, got: d}
		m.noted(len(refs) > 0)
		if len(refs) == 0 {
			c.skip(d.Subject, "the manifest declares no measurements of this device")
			m.modes(nil)
		}
	}
	for _, r := range want {
		c.reference(r, got, p)
	}
	c.Findings = finding.Sort(c.Findings)
	slices.Sort(c.Unproved)
	c.Unproved = slices.Compact(c.Unproved)
	return c
}

func (c *Comparison) skip(what, reason string) {
	c.NotChecked = append(c.NotChecked, NotChecked{what, reason})
}

// problem tells why a source proves nothing. A proof that does not hold was
// made up, taken from elsewhere, or damaged; one that is not there is a gap.
func (c *Comparison) problem(d Device) {
	if d.err == nil {
		return
	}
	switch {
	case errors.Is(d.err, ErrForged):
		f := d.finding(finding.EvidenceSpliced, d.Subject)
		f.Want, f.Got, f.Confidence = "a signature of the device", d.err.Error(), finding.Proven
		f.Why = "The recorded conversation, its signature and the certificate chain do not belong together: something of it was changed or comes from another device."
		c.Findings = append(c.Findings, f)
	case errors.Is(d.err, ErrMalformed):
		f := d.finding(finding.InputMalformed, "artifact:"+d.Artifact)
		f.Got, f.Sources = d.err.Error(), nil
		f.Why = "The record does not follow its format, so that nothing in it is proved."
		c.Findings = append(c.Findings, f)
	default:
		c.skip("measurements of "+d.Subject, d.err.Error())
	}
}

func (d Device) finding(code finding.Code, subject string) finding.Finding {
	f := finding.New(code, subject)
	f.Sources = []finding.Source{finding.SiliconAnswered, finding.Cryptographic}
	f.Basis = []finding.Basis{{Artifact: d.Artifact, SHA256: d.sha256, Length: d.length}}
	return f
}

// reference holds one reference against every signed record of its device.
func (c *Comparison) reference(r Reference, got *Observation, p Params) {
	cover := Coverage{Device: r.Device, Declared: len(r.Measurements), NotObservable: len(r.Measurements)}
	proved := map[int]bool{}
	signed := false
	for _, d := range got.Devices {
		if d.Signed == nil || !r.speaksOf(d) {
			continue
		}
		m := &matcher{c: c, p: p, got: d, ref: r, proved: proved}
		if !m.fresh() || !m.identity() {
			continue
		}
		m.alone()
		signed = true
		cover.Unexpected = max(cover.Unexpected, m.compare())
	}
	reason := "no signed record of this device could be used"
	if signed {
		reason = "the signed record does not show it"
	}
	for _, e := range r.Measurements {
		if matched, seen := proved[e.Index]; seen {
			cover.NotObservable--
			if matched {
				cover.Matched++
			}
			continue
		}
		what := fmt.Sprintf("%s measurement %d", r.Device, e.Index)
		c.skip(what, reason)
		if !r.Optional {
			c.Unproved = append(c.Unproved, what)
		}
	}
	if !signed && len(r.Measurements) == 0 {
		c.skip(r.Device, reason)
		if !r.Optional {
			c.Unproved = append(c.Unproved, r.Device)
		}
	}
	c.Coverage = append(c.Coverage, cover)
}

// matcher compares one signed record with one reference.
type matcher struct {
	c      *Comparison
	p      Params
	got    Device
	ref    Reference
	proved map[int]bool // by index: whether every record agrees with the reference
}

// noted passes on what is no finding, and asks for the nonce.
func (m *matcher) noted(declared bool) {
	s := m.got.Signed
	for _, n := range slices.Concat(s.notes, s.chain.Dated(m.p.Now)) {
		m.c.skip("record of "+m.got.Subject, n)
	}
	if !m.p.NonceGiven {
		m.c.skip("freshness of "+m.got.Subject, "no nonce was given")
		return
	}
	switch want := Nonce(m.p.Nonce); {
	case bytes.Equal(want, s.nonce):
	case !declared:
		m.c.skip("freshness of "+m.got.Subject, "the device answered another nonce")
	default:
		f := m.got.finding(finding.EvidenceReplayed, m.got.Subject)
		f.Want, f.Got, f.Confidence = hex.EncodeToString(want), hex.EncodeToString(s.nonce), finding.Proven
		f.Why = "The device signed these measurements for another request than this one."
		m.c.Findings = append(m.c.Findings, f)
	}
}

// fresh reports whether a record may prove anything now.
func (m *matcher) fresh() bool {
	return !m.p.NonceGiven || bytes.Equal(Nonce(m.p.Nonce), m.got.Signed.nonce)
}

// identity checks whose device it is. A chain that does not begin with a root
// says nothing about its maker.
func (m *matcher) identity() bool {
	ch := m.got.Signed.chain
	pinned := slices.ContainsFunc(ch.Keys(), func(k string) bool { return slices.Contains(m.ref.Keys, k) })
	switch {
	case len(m.ref.Roots) > 0 && !slices.Contains(m.ref.Roots, ch.Anchor()):
		if !ch.rooted() {
			m.c.skip("certificates of "+m.got.Subject, "the chain does not reach a root certificate")
			return false
		}
		f := m.got.finding(finding.ComponentReplaced, m.got.Subject)
		f.Want, f.Got, f.Confidence = "a root of sha256 "+strings.Join(m.ref.Roots, " or "), ch.Anchor(), finding.Proven
		f.Why = fmt.Sprintf("The device %s has certificates of another root than the manifest allows: it is not of the declared maker.", ch.Subject())
		m.c.Findings = append(m.c.Findings, f)
		return false
	case len(m.ref.Keys) > 0 && !pinned:
		f := m.got.finding(finding.InstanceReplaced, m.got.Subject)
		f.Want, f.Got, f.Confidence = strings.Join(m.ref.Keys, " or "), ch.DeviceKey(), finding.Proven
		f.Why = fmt.Sprintf("The device %s is of the declared maker and has another key than the one that the manifest pins: it is another unit.", ch.Subject())
		m.c.Findings = append(m.c.Findings, f)
	}
	return true
}

// alone reports one device that answers for two that are declared: a record can
// be taken from a good card twice, under the name of another one too.
func (m *matcher) alone() {
	key := m.got.Signed.chain.DeviceKey()
	first, ok := m.c.answered[key]
	if !ok {
		m.c.answered[key] = m.ref.Device
	}
	if !ok || first == m.ref.Device {
		return
	}
	f := m.got.finding(finding.WrongCount, m.got.Subject)
	f.Want, f.Got, f.Confidence = "a device with a key of its own", "the key of "+first, finding.Proven
	f.Why = "Two devices are declared, and one and the same signed for both."
	m.c.Findings = append(m.c.Findings, f)
}

// compare holds block against line and line against block; it returns how many
// blocks nobody declared.
func (m *matcher) compare() (unexpected int) {
	declared := map[int]Expected{}
	for _, e := range m.ref.Measurements {
		declared[e.Index] = e
	}
	right := map[int]bool{}
	for _, b := range m.got.Signed.blocks {
		e, ok := declared[b.Index]
		if !ok {
			unexpected++
			f := m.report(b, m.code(), "no such measurement", describe(b))
			f.Why = "The device measured something that the manifest does not declare."
			if m.ref.Open {
				f.Severity = finding.Medium
			}
			m.c.Findings = append(m.c.Findings, f)
			continue
		}
		ok, known := m.value(e, b)
		if !known {
			continue
		}
		right[b.Index] = ok
		before, seen := m.proved[b.Index]
		m.proved[b.Index] = ok && (before || !seen)
	}
	m.modes(right)
	return unexpected
}

// code is that of firmware which differs.
func (m *matcher) code() finding.Code {
	if m.ref.Class == "bmc" {
		return finding.BMCFirmwareDiffers
	}
	return finding.DeviceFirmwareDiffers
}

func (m *matcher) report(b Block, code finding.Code, want, got string) finding.Finding {
	f := m.got.finding(code, fmt.Sprintf("%s/%d", m.got.Subject, b.Index))
	f.Want, f.Got = want, got
	return f
}

func describe(b Block) string {
	v := hex.EncodeToString(b.Value)
	const most = 128
	if len(v) > most {
		v = fmt.Sprintf("%s... (%d bytes)", v[:most], len(b.Value))
	}
	return b.Type.String() + " " + v
}

// value compares one measurement with its line. known is false where the line
// has no value of the kind that was measured.
func (m *matcher) value(e Expected, b Block) (ok, known bool) {
	if e.Type != "" && e.Type != b.Type.String() {
		f := m.report(b, m.code(), e.Type, describe(b))
		f.Why = "The measurement is of another kind than the declared one."
		m.c.Findings = append(m.c.Findings, f)
		return false, true
	}
	if e.Any {
		return true, true
	}
	if e.Minimum != nil {
		return m.version(e, b)
	}
	want, known := m.got.Signed.allowed(e, b)
	if !known {
		m.c.skip(fmt.Sprintf("%s measurement %d", m.ref.Device, b.Index), "the manifest has no value of the kind that the device measured")
		return false, false
	}
	if slices.ContainsFunc(want, func(v []byte) bool { return bytes.Equal(v, b.Value) }) {
		return true, true
	}
	f := m.report(b, m.code(), declaredText(e), describe(b))
	f.Why = fmt.Sprintf("The device signed another %s than the manifest declares.", strings.ReplaceAll(b.Type.String(), "-", " "))
	m.c.Findings = append(m.c.Findings, f)
	return false, true
}

func (m *matcher) version(e Expected, b Block) (ok, known bool) {
	v, known := b.svn()
	if !known {
		m.c.skip(fmt.Sprintf("%s measurement %d", m.ref.Device, b.Index), "the device gives no secure version number here")
		return false, false
	}
	if v >= uint64(*e.Minimum) { // Check refuses what is below zero
		return true, true
	}
	f := m.report(b, finding.FirmwareTooOld, fmt.Sprintf("at least %d", *e.Minimum), fmt.Sprint(v))
	f.Why = "The device signed a secure version number below the least that the manifest allows."
	m.c.Findings = append(m.c.Findings, f)
	return false, true
}

// allowed returns the values that a block may have. A bit stream stands for its
// digest and the other way round, where the hash is known.
func (m *Measurements) allowed(e Expected, b Block) (values [][]byte, known bool) {
	if b.Raw {
		for _, v := range e.Raw {
			raw, _ := hex.DecodeString(v)
			values = append(values, raw)
		}
		for _, name := range slices.Sorted(maps.Keys(e.Digests)) {
			h, ok := hashNamed(name)
			if ok && slices.Contains(e.Digests[name], hex.EncodeToString(digest(h.hash, b.Value))) {
				values = append(values, b.Value)
			}
		}
		return values, len(e.Raw)+len(e.Digests) > 0
	}
	h, ok := hashSized(len(b.Value)) // the reader checked it against the negotiated one
	if !ok {
		return nil, false
	}
	for _, v := range e.Digests[h.key] {
		raw, _ := hex.DecodeString(v)
		values = append(values, raw)
	}
	for _, v := range e.Raw {
		raw, _ := hex.DecodeString(v)
		values = append(values, digest(h.hash, raw))
	}
	return values, len(values) > 0
}

func declaredText(e Expected) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(e.Digests)) {
		out = append(out, name+" "+strings.Join(e.Digests[name], " or "))
	}
	for _, v := range e.Raw {
		out = append(out, cmp.Or(v, "nothing"))
	}
	return strings.Join(out, " or ")
}

// modes reports a device that is open for debugging, or that does not run in its
// normal mode, unless the manifest declares this very state.
func (m *matcher) modes(right map[int]bool) {
	for _, b := range m.got.Signed.blocks {
		s, ok := b.mode()
		if !ok || right[b.Index] || s.text() == "" {
			continue
		}
		f := m.report(b, finding.ProtectionWeakened, "normal mode, no debugging", s.text())
		f.Claim = finding.ClaimFirmware
		f.Why = "The device signed that it can be, or was, taken over by a debugger, or that it is not in normal operation."
		if s.debug&debugActive == 0 {
			f.Severity = finding.Medium
		}
		m.c.Findings = append(m.c.Findings, f)
	}
}
