package bom

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// codesOf names the finding codes of a class: a USB stick is not a chip on the
// board, an ACPI table is not hardware.
func codesOf(c Class) (unexpected, missing, differs finding.Code) {
	switch c {
	case USB, I2C:
		return finding.UnexpectedLowSpeedDevice, finding.MissingComponent, finding.ComponentReplaced
	case ACPI:
		return finding.UnexpectedACPITable, finding.UnexpectedACPITable, finding.UnexpectedACPITable
	case Firmware:
		return finding.UnknownFirmware, finding.UnknownFirmware, finding.UnknownFirmware
	case TPM:
		return finding.UnexpectedComponent, finding.TPMAbsent, finding.ComponentReplaced
	}
	return finding.UnexpectedComponent, finding.MissingComponent, finding.ComponentReplaced
}

// unexpected reports one device that no line covers.
func (m *matcher) unexpected(g []*partItem) {
	p := g[0].part
	if word, ok := m.fate[p.Package]; ok && p.Package != p.Subject {
		m.note(fmt.Sprintf("%s %s", p.Class, p.Subject), fmt.Sprintf("sits on %s, which is reported as %s", p.Package, word))
		return
	}
	code, _, _ := codesOf(p.Class)
	f := m.about(code, p)
	f.Want, f.Got = "nothing", Describe(p.Identity)
	f.Why = fmt.Sprintf("No line of the manifest covers %s; class %s is declared complete.", sentence(p), p.Class)
	if len(g) > 1 {
		f.Why += fmt.Sprintf(" The device has %d functions, none of them declared.", len(g))
	}
	f.Why += m.carried(p)
	f.Severity = unexpectedSeverity(p, f.Severity)
	m.add(f)
}

// unexpectedSeverity is critical for a device that can reach memory by itself;
// anything else that is unexpected is high.
func unexpectedSeverity(p *Part, def finding.Severity) finding.Severity {
	switch p.Class {
	case PCI:
		if p.Attributes[attrBusMaster] == "" && p.Attributes[attrDMA] == "" {
			return finding.High
		}
	case USB, I2C, ACPI, Firmware:
		return def
	case Storage, Network, FRU, Power:
		return finding.High
	}
	return def
}

// carried tells what sits on a part: the drive behind an NVMe function, the
// address of a network port.
func (m *matcher) carried(p *Part) string {
	var on []string
	for i := range m.got.Parts {
		if c := &m.got.Parts[i]; c.Package == p.Subject && c.Subject != p.Subject {
			on = append(on, fmt.Sprintf("%s (%s)", c.Subject, Describe(c.Identity)))
		}
	}
	if len(on) == 0 {
		return ""
	}
	return " It carries " + strings.Join(on, ", ") + "."
}

// lost reports a declared part that is not there.
func (m *matcher) lost(r *refItem, functions int) {
	if word, ok := m.fate[hostOf(r)]; ok {
		m.note(fmt.Sprintf("%s %s", r.ref.Class, r.ref.Subject), fmt.Sprintf("belongs to %s, which is %s", hostOf(r), word))
		return
	}
	_, code, _ := codesOf(r.ref.Class)
	same := m.siblings(r)
	if len(same) > 1 && r.keys.serial == "" && code == finding.MissingComponent {
		code = finding.WrongCount
	}
	f := finding.New(code, cmp.Or(r.ref.Subject, string(r.ref.Class)+":"+r.ref.ID))
	f.Location = r.ref.Location
	f.Want, f.Got = Describe(r.ref.Identity), "nothing"
	f.Why = fmt.Sprintf("The manifest declares this %s, its class could be observed, and no part is left for it.", r.ref.Class)
	f.Sources = m.got.Classes[r.ref.Class].Sources
	if code == finding.WrongCount {
		f.Want = fmt.Sprintf("%d of %s", len(same), Describe(r.ref.Identity))
		f.Got = fmt.Sprintf("%d", len(same)-m.missingLike(r))
		f.Why = fmt.Sprintf("The manifest declares %d identical parts without serial numbers; fewer are present.", len(same))
	}
	if functions > 1 {
		f.Why += fmt.Sprintf(" %d functions of %s are missing.", functions, r.ref.Attributes[attrPackage])
	}
	if r.ref.Class == USB {
		f.Severity = finding.Medium // plugs are pulled more often than boards are robbed
	}
	if r.ref.Security {
		f.Severity = finding.Critical
	}
	m.fate[f.Subject] = "missing"
	m.add(f)
}

// hostOf is the subject of the part that carries a declared part, recorded by
// draft as an attribute.
func hostOf(r *refItem) string { return r.ref.Attributes[attrHost] }

func (m *matcher) siblings(r *refItem) []*refItem {
	var out []*refItem
	for _, p := range m.paired {
		if p.ref.ref.Class == r.ref.Class && p.ref.keys.model != "" && p.ref.keys.model == r.keys.model && p.ref.keys.serial == "" {
			out = append(out, p.ref)
		}
	}
	for _, o := range m.missing {
		if o.ref.Class == r.ref.Class && o.keys.model != "" && o.keys.model == r.keys.model && o.keys.serial == "" {
			out = append(out, o)
		}
	}
	return out
}

func (m *matcher) missingLike(r *refItem) int {
	n := 0
	for _, o := range m.missing {
		if o.ref.Class == r.ref.Class && o.keys.model == r.keys.model && o.keys.serial == "" {
			n++
		}
	}
	return n
}

// volatile reports a part that may come and go.
func (m *matcher) volatile(p *partItem) {
	code := finding.ChangeHotPlug
	if p.part.Volatile == VirtualFunction {
		code = finding.ChangeVirtualFunction
	}
	f := m.about(code, p.part)
	f.Got = Describe(p.part.Identity)
	f.Why = fmt.Sprintf("%s is %s and may come and go.", sentence(p.part), p.part.Volatile)
	m.add(f)
}

// comparePair reports how a part differs from the line it was paired with.
func (m *matcher) comparePair(p pair) {
	part, ref := p.part.part, p.ref.ref
	if word, ok := m.fate[part.Package]; ok && part.Package != part.Subject && word != "" {
		m.note(fmt.Sprintf("%s %s", part.Class, part.Subject), fmt.Sprintf("sits on %s, which is reported as %s", part.Package, word))
		return
	}
	if m.replaced(p) {
		_, _, code := codesOf(part.Class)
		f := m.about(code, part)
		f.Want, f.Got = Describe(ref.Identity), Describe(part.Identity)
		f.Why = fmt.Sprintf("The manifest declares another part for this place; what is there fits it only by %s.", p.level)
		f.Why += m.carried(part)
		if ref.Security {
			f.Severity = finding.Critical
		}
		m.add(f)
		return
	}
	m.compareInstance(p)
	m.compareDetail(p)
	m.compareAttributes(p)
	if p.moved {
		m.relocated(p)
	}
}

// compareInstance tells a part of the same model with another serial number.
func (m *matcher) compareInstance(p pair) {
	ref, part := p.ref.ref, p.part.part
	switch {
	case p.ref.keys.serial == "" || p.ref.keys.serial == p.part.keys.serial:
		return
	case p.part.keys.serial == "":
		m.note("serial number of "+part.Subject, "declared, but the part does not show one")
		return
	}
	f := m.about(finding.InstanceReplaced, part)
	f.Want, f.Got = ref.Identity.Serial, part.Identity.Serial
	f.Why = fmt.Sprintf("Same model, but not the %s that the manifest was made for.", part.Class)
	switch part.Class {
	case System, Baseboard:
		f = m.about(finding.NotTheCertifiedPlatform, part)
		f.Want, f.Got = ref.Identity.Serial, part.Identity.Serial
		f.Why = fmt.Sprintf("The manifest was issued for one machine, and the serial number of the %s is another one.", part.Class)
	}
	m.add(f)
}

// compareDetail compares revision and firmware version where both sides say
// one.
func (m *matcher) compareDetail(p pair) {
	ref, part := p.ref.ref, p.part.part
	if differ(ref.Identity.Revision, part.Identity.Revision) {
		_, _, code := codesOf(part.Class)
		f := m.about(code, part)
		f.Want, f.Got = "revision "+ref.Identity.Revision, "revision "+part.Identity.Revision
		f.Why = "Same model in another hardware revision."
		if part.Class != PCI {
			f.Severity = finding.Medium
		}
		m.add(f)
	}
	if differ(ref.Identity.Firmware, part.Identity.Firmware) {
		code := finding.DeviceFirmwareDiffers
		switch part.Class {
		case Firmware:
			code = finding.UnknownFirmware
		case BMC:
			code = finding.BMCFirmwareDiffers
		case Processor:
			code = finding.UnknownMicrocode
		}
		f := m.about(code, part)
		f.Severity = finding.Medium
		f.Want, f.Got = ref.Identity.Firmware, part.Identity.Firmware
		f.Why = fmt.Sprintf("The %s reports another firmware version than the manifest declares.", part.Class)
		m.add(f)
	}
}

func differ(want, got string) bool {
	w, g := ids.Key(want), ids.Key(got)
	if _, fake := ids.Placeholder(want); fake {
		return false
	}
	return w != "" && g != "" && w != g
}

// compareAttributes compares the facts that both sides state; a fact that the
// evidence lacks is not checked.
func (m *matcher) compareAttributes(p pair) {
	ref, part := p.ref.ref, p.part.part
	for _, k := range slices.Sorted(maps.Keys(ref.Attributes)) {
		rule, ok := attributeRules[k]
		if !ok || rule.code == "" {
			continue
		}
		got, have := part.Attributes[k]
		switch {
		case !have && rule.absent == "":
			m.note(fmt.Sprintf("%s of %s", k, part.Subject), "declared, but not in the evidence")
		case !have:
			got = rule.absent
			fallthrough
		case got != ref.Attributes[k]:
			if rule.weaker != nil && !rule.weaker(ref.Attributes[k], got) {
				continue
			}
			f := m.about(rule.code, part)
			f.Severity = rule.severity
			f.Want, f.Got = k+"="+ref.Attributes[k], k+"="+got
			f.Why = rule.why
			m.add(f)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(part.Attributes)) {
		rule := attributeRules[k]
		if _, declared := ref.Attributes[k]; declared || rule.undeclared == "" {
			continue
		}
		f := m.about(rule.code, part)
		f.Severity = rule.severity
		f.Want, f.Got, f.Why = k+"="+rule.undeclared, k+"="+part.Attributes[k], rule.why
		m.add(f)
	}
}

// relocated tells a part that sits in another place. A longer or shorter chain
// of bridges to the same part is another matter: something may have been put in
// between.
func (m *matcher) relocated(p pair) {
	ref, part := p.ref.ref, p.part.part
	code := finding.ChangeRelocation
	why := "The same part sits in another place than the manifest says."
	if part.Class == PCI && hops(ref.Location.Path) != hops(part.Location.Path) && sameRoot(ref.Location.Path, part.Location.Path) {
		code = finding.TopologyDiffers
		why = "The same part sits behind another chain of bridges on the same root port."
	}
	f := m.about(code, part)
	f.Want, f.Got, f.Why = p.ref.place, p.part.place, why
	m.add(f)
}

func hops(path string) int { return strings.Count(path, "/") }

func sameRoot(a, b string) bool {
	ra, rb := strings.SplitN(a, "/", 3), strings.SplitN(b, "/", 3)
	return len(ra) > 1 && len(rb) > 1 && ra[0] == rb[0] && ra[1] == rb[1]
}

// about starts a finding on a part: where it sits, who says so and which bytes
// show it.
func (m *matcher) about(code finding.Code, p *Part) finding.Finding {
	f := finding.New(code, p.Subject)
	f.Location = p.Location
	seen := map[finding.Source]bool{}
	bases := map[finding.Basis]bool{}
	for _, k := range slices.Sorted(maps.Keys(p.Values)) {
		v := p.Values[k]
		seen[v.Source] = true
		bases[v.Basis] = true
	}
	f.Sources = slices.Sorted(maps.Keys(seen))
	f.Basis = slices.SortedFunc(maps.Keys(bases), func(a, b finding.Basis) int {
		return cmp.Or(cmp.Compare(a.Artifact, b.Artifact), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Length, b.Length))
	})
	return f
}

// Describe puts an identity into one line that stays the same between scans.
func Describe(id Identity) string {
	var parts []string
	add := func(label, s string) {
		if s != "" && !slices.Contains(parts, s) {
			parts = append(parts, label+s)
		}
	}
	if maker := cmp.Or(id.Brand, id.Maker); !strings.HasPrefix(ids.Key(id.Model), ids.Key(maker)) {
		add("", maker)
	}
	add("", id.Model)
	add("", id.PartNumber)
	add("revision ", id.Revision)
	add("version ", id.Firmware)
	add("serial ", id.Serial)
	if len(parts) == 0 {
		return "a part without identity"
	}
	return strings.Join(parts, " ")
}

// sentence names a part for people.
func sentence(p *Part) string {
	if p.Identity.Name != "" {
		return fmt.Sprintf("%s (%s)", located(p), p.Identity.Name)
	}
	return located(p)
}

func located(p *Part) string {
	if where := cmp.Or(p.Location.Slot, p.Location.Designator); where != "" {
		return fmt.Sprintf("%s in %s", p.Subject, where)
	}
	return p.Subject
}
