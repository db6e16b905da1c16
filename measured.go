package assay

import (
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/measured"
)

// derivedFirmware begins what an expected event is derived from, when that is a
// part of a firmware image: "firmware:bios/PATH".
const derivedFirmware = "firmware:"

// measuredEvents are the events of a log as package firmware takes them.
func measuredEvents(l *attest.Log) []measured.Measured {
	var out []measured.Measured
	for _, e := range l.Events() {
		out = append(out, measured.Measured{Number: e.Number, PCR: int(e.PCR), Type: e.Type, Digests: e.Digests, Base: e.Base, Length: e.Length})
	}
	return out
}

// derive writes into the expected events of a draft which part of the unit's
// image each one is over, where the digest says so.
func (d *drafter) derive() {
	part := map[string]string{} // by bank and digest
	for _, u := range d.units {
		l := u.boot.Log()
		if l == nil {
			continue
		}
		for _, m := range u.images {
			if m.Reason != "" {
				continue
			}
			for _, a := range measured.Explain(m, measuredEvents(l)) {
				if a.Basis == measured.Exact {
					part[a.Digest] = derivedFirmware + m.Name + "/" + a.Path
				}
			}
		}
	}
	for _, r := range d.out.Boot {
		for i := range r.Events {
			e := &r.Events[i]
			for bank, sums := range e.Digests {
				for _, s := range sums {
					if p := part[bank+":"+s]; p != "" && e.Derived == "" {
						e.Derived = p
					}
				}
			}
		}
	}
}

// flashAndLog is what the image of the host firmware and the log say of each
// other.
type flashAndLog struct {
	measured   []string // parts that the log has an event over, as subjects of findings
	unmeasured []string // parts whose bytes in the image have to be in the log by the reference, and are not
}

// flashAndLog joins both where each can be believed for itself: the image was
// read completely, and the log explains PCR 0.
func (a *appraisal) flashAndLog() flashAndLog {
	var out flashAndLog
	i := slices.IndexFunc(a.images, func(m *firmware.Image) bool { return m.Name == hostImage && m.Reason == "" })
	l := a.observed.Log()
	if i < 0 || l == nil || !a.boot.LogMatches {
		return out
	}
	m, events := a.images[i], measuredEvents(l)
	if !slices.ContainsFunc(a.code.Findings, aboutImage) {
		return out // nothing of the image has to be tied to the log
	}
	for _, x := range measured.Explain(m, events) {
		if x.Path != "" {
			out.measured = append(out.measured, derivedFirmware+m.Name+"/"+x.Path)
		}
	}
	for _, r := range a.golden.Boot {
		for _, e := range r.Events {
			path, ok := strings.CutPrefix(e.Derived, derivedFirmware+m.Name+"/")
			if !ok || slices.Contains(out.unmeasured, e.Derived) {
				continue
			}
			out.measured = append(out.measured, e.Derived)
			if !inLog(m, path, r.PCR, events) {
				out.unmeasured = append(out.unmeasured, e.Derived)
			}
		}
	}
	return out
}

const hostImage = "bios"

func aboutImage(f finding.Finding) bool {
	return strings.HasPrefix(f.Subject, derivedFirmware+hostImage)
}

// inLog reports whether a part was measured with the bytes that the image has.
func inLog(m *firmware.Image, path string, pcr int, events []measured.Measured) bool {
	byBank := map[string][]string{}
	for _, e := range events {
		if e.PCR != pcr {
			continue
		}
		for bank, sum := range e.Digests {
			byBank[bank] = append(byBank[bank], sum)
		}
	}
	computed := false
	for bank, sums := range byBank {
		for _, got := range measured.Digests(m, path, bank) {
			computed = true
			if slices.Contains(sums, got) {
				return true
			}
		}
	}
	return !computed && len(measured.Digests(m, path, "sha256")) > 0 // banks that cannot be computed say nothing
}

// inside reports whether a finding is about a part or something in it.
func inside(f finding.Finding, parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return f.Subject == p || strings.HasPrefix(f.Subject, p+"/") })
}

// around reports whether a finding is about what holds one of the parts.
func around(f finding.Finding, parts []string) bool {
	return slices.ContainsFunc(parts, func(p string) bool { return strings.HasPrefix(p, f.Subject+"/") })
}

// shortParts names parts for people.
func shortParts(parts []string) string {
	var out []string
	for _, p := range parts {
		out = append(out, p[strings.LastIndexByte(p, '/')+1:])
	}
	if len(out) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(out[:3], ", "), len(out)-3)
	}
	return strings.Join(out, ", ")
}
