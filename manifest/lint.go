package manifest

import (
	"fmt"
	"maps"
	"slices"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// Lint reports what is wrong with a manifest whoever signed it: text that
// deceives (MF-013), rules that accept nearly anything (MF-014) and statements
// that cannot both be true (MF-017).
func Lint(m *Manifest) []finding.Finding {
	l := &linter{m: m, subject: "manifest:" + m.ID}
	l.text()
	l.permissive()
	l.contradictions()
	l.bootContradictions()
	l.firmwareContradictions()
	l.devices()
	return finding.Sort(l.found)
}

type linter struct {
	m       *Manifest
	subject string
	found   []finding.Finding
}

func (l *linter) report(code finding.Code, at, want, got, why string) {
	f := finding.New(code, l.subject+"/"+at)
	f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
	l.found = append(l.found, f)
}

// text checks every string by which a person or a rule tells things apart.
func (l *linter) text() {
	e := l.m.Environment
	l.name("environment/manufacturer", e.Manufacturer)
	for at, s := range map[string]string{
		"id": l.m.ID, "environment/model": e.Model, "environment/revision": e.Revision, "environment/serial": e.Serial, "environment/virtual": e.Virtual,
	} {
		l.plain(at, s)
	}
	for _, c := range l.m.Components {
		at := "component/" + c.ID
		l.plain(at+"/id", c.ID)
		l.identity(at, c.Identity)
		for _, alt := range c.Alternates {
			l.identity(at+"/alternate", alt)
		}
	}
	for _, r := range l.m.SPDM {
		l.plain("spdm/"+r.ID+"/id", r.ID)
		l.plain("spdm/"+r.ID+"/device", r.Device)
	}
	for _, a := range l.m.Authority {
		l.name("authority", a.Signer)
	}
	if d := l.m.Delta; d != nil {
		l.name("delta/actor", d.Actor)
	}
}

func (l *linter) identity(at string, id bom.Identity) {
	l.name(at+"/maker", id.Maker)
	l.name(at+"/brand", id.Brand)
	for k, s := range map[string]string{
		"model": id.Model, "partNumber": id.PartNumber, "revision": id.Revision, "serial": id.Serial, "firmware": id.Firmware,
	} {
		l.plain(at+"/"+k, s)
	}
}

func (l *linter) plain(at, s string) bool {
	if why := suspicious(s); why != "" {
		l.report(finding.ManifestConfusable, at, "plain text", fmt.Sprintf("%+q", s), "the text "+why)
		return false
	}
	return true
}

func (l *linter) name(at, s string) {
	if !l.plain(at, s) {
		return
	}
	if m := imitates(s); m != "" {
		l.report(finding.ManifestConfusable, at, m, fmt.Sprintf("%+q", s), "the name looks like "+m+" and is spelled with other characters")
	}
}

// permissive finds lines that would accept almost any part.
func (l *linter) permissive() {
	for _, c := range l.m.Components {
		id := c.Identity
		empty := len(id.MakerIDs) == 0 && len(c.Attributes) == 0 &&
			id.Maker+id.Brand+id.Model+id.PartNumber+id.Revision+id.Serial+id.Firmware == ""
		switch at := "component/" + c.ID; {
		case c.Verifiability == "physical-only":
		case empty:
			l.report(finding.ManifestPermissive, at, "an identity", "none", fmt.Sprintf("the line names no identity, so any part of class %s fits it", c.Class))
		case c.Level == "class":
			l.report(finding.ManifestPermissive, at, "level model or better", "level class", fmt.Sprintf("any part of class %s fits the line", c.Class))
		}
	}
	if len(l.m.Components) == 0 || l.m.Delta != nil {
		return
	}
	closed := slices.ContainsFunc(slices.Collect(maps.Values(l.m.Classes)), func(c bom.Closure) bool { return c != bom.Open })
	if !closed {
		l.report(finding.ManifestPermissive, "classes", "a closed class", "none", "no class is closed, so no part can be unexpected")
	}
}

func (l *linter) contradictions() {
	ids := map[string]bool{}
	for _, c := range l.m.Components {
		if ids[c.ID] {
			l.report(finding.ManifestContradiction, "component/"+c.ID, "one line", "two lines", "two lines have the same id")
		}
		ids[c.ID] = true
		if l.m.Classes[c.Class] == bom.NoneThere && !c.Optional {
			l.report(finding.ManifestContradiction, "component/"+c.ID, "no part of class "+string(c.Class), "a line", "the class is declared absent and has a line")
		}
	}
	if slices.Contains(l.m.Supersedes, l.m.ID) {
		l.report(finding.ManifestContradiction, "supersedes", "older ids", l.m.ID, "the manifest says that it replaces itself")
	}
	if n := l.m.NotAfter; !n.IsZero() && n.Before(l.m.IssuedAt) {
		l.report(finding.ManifestContradiction, "notAfter", "after issuedAt", n.UTC().Format("2006-01-02T15:04:05Z"), "the manifest ends before it was issued")
	}
	if d := l.m.Delta; d != nil {
		for _, id := range d.Remove {
			if ids[id] {
				l.report(finding.ManifestContradiction, "component/"+id, "removed or set", "both", "the change removes the line and sets it")
			}
		}
	}
}

// bootContradictions finds two references of one register that no value can
// meet both.
func (l *linter) bootContradictions() {
	seen := map[int]attest.Reference{}
	ids := map[string]bool{}
	for _, c := range l.m.Components {
		ids[c.ID] = true
	}
	for _, r := range l.m.Boot {
		at := fmt.Sprintf("boot/pcr%d", r.PCR)
		if first, ok := seen[r.PCR]; ok {
			l.report(finding.ManifestContradiction, at, "one reference", "two references", "the register has two references"+disjoint(first, r))
		}
		seen[r.PCR] = r
		for _, e := range r.Events {
			if e.Component != "" && !ids[e.Component] && l.m.Delta == nil && len(l.m.Components) > 0 {
				l.report(finding.ManifestContradiction, at, "a declared component", e.Component, "an event belongs to a component that the manifest does not declare")
			}
		}
	}
}

func disjoint(a, b attest.Reference) string {
	for _, bank := range slices.Sorted(maps.Keys(a.Digests)) {
		if other, ok := b.Digests[bank]; ok && !slices.ContainsFunc(other, func(d string) bool { return slices.Contains(a.Digests[bank], d) }) {
			return " and no value of bank " + bank + " meets both"
		}
	}
	return ""
}

// firmwareContradictions checks that the leaves of an image do not overlap and
// stay inside it.
func (l *linter) firmwareContradictions() {
	for _, r := range l.m.Firmware {
		at := "firmware/" + r.Name
		leaves := slices.Clone(r.Leaves)
		slices.SortStableFunc(leaves, func(a, b firmware.Leaf) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
		var end int64
		names := map[string]bool{}
		for _, leaf := range leaves {
			l.names(at, names, leaf)
			if leaf.Offset < end || r.Size > 0 && leaf.Length > r.Size-leaf.Offset {
				l.report(finding.ManifestContradiction, at, "leaves side by side inside the image", leaf.Path, "the leaf overlaps another one or ends outside the image")
				break
			}
			end = leaf.Offset + leaf.Length
		}
	}
}

// names checks that no leaf, and nothing inside of one, has a name that stands
// already.
func (l *linter) names(at string, seen map[string]bool, leaf firmware.Leaf) {
	if seen[leaf.Path] {
		l.report(finding.ManifestContradiction, at, "one leaf", leaf.Path, "two leaves have one name")
	}
	seen[leaf.Path] = true
	for _, c := range leaf.Inside {
		l.names(at, seen, c)
	}
}

// devices checks the lines about what devices sign: one line a device, and each
// with a value that decides something.
func (l *linter) devices() {
	ids, devices := map[string]bool{}, map[string]bool{}
	for _, r := range l.m.SPDM {
		at := "spdm/" + r.ID
		if ids[r.ID] || devices[r.Device] {
			l.report(finding.ManifestContradiction, at, "one line", "two lines", "two lines have the same id or are about the same device")
		}
		ids[r.ID], devices[r.Device] = true, true
		if !slices.ContainsFunc(r.Measurements, func(e spdm.Expected) bool { return !e.Any }) {
			l.report(finding.ManifestPermissive, at, "a measurement with a value", "none", "any firmware of the device fits the line")
		}
	}
}
