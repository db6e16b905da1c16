package bom

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// codesOf names the finding codes of a class: a USB stick is not a chip on the
// board, an ACPI table is not hardware.
func codesOf(c Class) (unexpected, missing, differs finding.Code) {
	switch c {
	case USB, I2C, IPMB:
		return finding.UnexpectedLowSpeedDevice, finding.MissingComponent, finding.ComponentReplaced
	case Flash:
		return finding.UnexpectedComponent, finding.MissingComponent, finding.FlashPartDiffers
	case ACPI:
		return finding.UnexpectedACPITable, finding.UnexpectedACPITable, finding.UnexpectedACPITable
	case Firmware:
		return finding.UnknownFirmware, finding.UnknownFirmware, finding.UnknownFirmware
	case TPM:
		return finding.UnexpectedComponent, finding.TPMAbsent, finding.ComponentReplaced
	}
	return finding.UnexpectedComponent, finding.MissingComponent, finding.ComponentReplaced
}

// noun is what a person calls a part of a class.
func noun(c Class) string {
	switch c {
	case PCI:
		return "PCI device"
	case USB:
		return "USB device"
	case I2C:
		return "chip on the system management bus"
	case Memory:
		return "memory module"
	case Network:
		return "network port"
	case Storage:
		return "drive"
	case Power:
		return "power supply"
	case BMC:
		return "management controller"
	case FRU:
		return "inventory memory"
	case Flash:
		return "flash chip"
	case IPMB:
		return "device of the management controller"
	case LAN:
		return "network port of the management controller"
	case ACPI:
		return "ACPI table"
	case TPM:
		return "TPM"
	}
	return string(c)
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
	def := f.Severity
	f.Severity = unexpectedSeverity(p, def)
	for _, o := range g[1:] {
		// Named in the value, so that a waiver of one function is none of more.
		f.Got += fmt.Sprintf(" + %s %s", o.part.Subject, Describe(o.part.Identity))
		f.Severity = max(f.Severity, unexpectedSeverity(o.part, def))
	}
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
	case Storage, Network, LAN, FRU, Power, Flash:
		return finding.High
	case IPMB:
		return finding.Medium // the list of one that may be wrong, and changes with its firmware
	}
	return def
}

// carried tells what sits on a part: the drive behind an NVMe function, the
// address of a network port.
func (m *matcher) carried(p *Part) string {
	if m.onto == nil {
		m.onto = map[string][]*Part{}
		for i := range m.got.Parts {
			if c := &m.got.Parts[i]; c.Package != "" && c.Subject != c.Package {
				m.onto[c.Package] = append(m.onto[c.Package], c)
			}
		}
	}
	var on []string
	for _, c := range m.onto[p.Subject] {
		on = append(on, fmt.Sprintf("%s (%s)", c.Subject, Describe(c.Identity)))
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
	same, missing := m.alike(r)
	if same > 1 && r.keys.serial == "" && code == finding.MissingComponent {
		code = finding.WrongCount
	}
	f := finding.New(code, cmp.Or(r.ref.Subject, string(r.ref.Class)+":"+r.ref.ID))
	f.Location = r.ref.Location
	f.Want, f.Got = Describe(r.ref.Identity), "nothing"
	f.Why = fmt.Sprintf("The manifest declares this %s, its class could be observed, and no part is left for it.", noun(r.ref.Class))
	f.Sources = m.got.Classes[r.ref.Class].Sources
	if code == finding.WrongCount {
		f.Want = fmt.Sprintf("%d of %s", same, Describe(r.ref.Identity))
		f.Got = fmt.Sprintf("%d", same-missing)
		f.Why = fmt.Sprintf("The manifest declares %d identical parts without serial numbers; fewer are present.", same)
	}
	if r.ref.Class == ACPI {
		f.Title, f.Action = "Declared ACPI table is missing", "Compare with a reference unit; look for the setup option or the absent device that takes the table away."
	}
	if functions > 1 {
		f.Want += fmt.Sprintf(" and %d more functions of %s", functions-1, r.ref.Attributes[attrPackage])
		f.Why += fmt.Sprintf(" %d functions of %s are missing.", functions, r.ref.Attributes[attrPackage])
	}
	if r.ref.Class == USB {
		f.Severity = finding.Medium // plugs are pulled more often than boards are robbed
	}
	if r.ref.Class == IPMB {
		f.Severity = finding.Medium
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

type alikeKey struct {
	class Class
	model string
}

// alike counts the declared parts of one model without serial numbers, and how
// many of them are missing.
func (m *matcher) alike(r *refItem) (declared, missing int) {
	if m.declaredAlike == nil {
		m.declaredAlike, m.missingAlike = map[alikeKey]int{}, map[alikeKey]int{}
		for _, p := range m.paired {
			if p.ref.keys.model != "" && p.ref.keys.serial == "" {
				m.declaredAlike[alikeKey{p.ref.ref.Class, p.ref.keys.model}]++
			}
		}
		for _, o := range m.missing {
			if o.keys.model != "" && o.keys.serial == "" {
				m.declaredAlike[alikeKey{o.ref.Class, o.keys.model}]++
				m.missingAlike[alikeKey{o.ref.Class, o.keys.model}]++
			}
		}
	}
	k := alikeKey{r.ref.Class, r.keys.model}
	return m.declaredAlike[k], m.missingAlike[k]
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
	m.compareWords(p)
	m.compareInstance(p)
	m.compareOrganisation(p)
	m.compareDetail(p)
	m.compareAttributes(p)
	if p.moved {
		m.relocated(p)
	}
}

// compareWords tells what a listing in words leaves open of a PCI function.
func (m *matcher) compareWords(p pair) {
	if p.ref.ref.Class != PCI || p.level < levelModel {
		return
	}
	subject := p.part.part.Subject
	switch ref, part := p.ref.keys, p.part.keys; {
	case (ref.model == "") != (part.model == ""):
		m.note("ids of "+subject, "one of the two lists has them in words only")
		m.unproved(PCI, "ids of "+subject)
	case ref.maker != "" && part.maker == "":
		m.note("subsystem ids of "+subject, "declared, but not in the evidence")
		m.unproved(PCI, "subsystem ids of "+subject)
	}
}

// compareInstance tells a part of the same model with another serial number, or
// with none where one was declared.
func (m *matcher) compareInstance(p pair) {
	ref, part := p.ref.ref, p.part.part
	if p.ref.keys.serial == "" || p.ref.keys.serial == p.part.keys.serial {
		return
	}
	if p.part.keys.serial == "" && !blanked(part) {
		m.note("serial number of "+part.Subject, "declared, but not in the evidence")
		m.unproved(part.Class, "serial number of "+part.Subject)
		return
	}
	if m.instances[part.Package] && part.Package != part.Subject {
		m.note("serial number of "+part.Subject, fmt.Sprintf("sits on %s, which is reported with another serial number", part.Package))
		return
	}
	code, why := finding.InstanceReplaced, fmt.Sprintf("Same model, but not the %s that the manifest was made for.", part.Class)
	if part.Class == System || part.Class == Baseboard {
		code = finding.NotTheCertifiedPlatform
		why = fmt.Sprintf("The manifest was issued for one machine, and the serial number of the %s is another one.", part.Class)
	}
	f := m.about(code, part)
	f.Want, f.Got, f.Why = ref.Identity.Serial, part.Identity.Serial, why
	if p.part.keys.serial == "" {
		// A blank label is what a spare board has, and what a faulty update of the
		// firmware leaves behind.
		f.Got, f.Confidence = "none", finding.Weak
		f.Why = fmt.Sprintf("The manifest was made for one %s, and this one shows no serial number.", part.Class)
	}
	m.instances[part.Subject] = true
	f.Why += m.carried(part)
	m.add(f)
}

// compareOrganisation holds who was assigned a port's address against who was
// assigned that of the declared one. An organisation that the table does not know is
// no contradiction, an address that nobody was assigned is.
func (m *matcher) compareOrganisation(p pair) {
	part, want := p.part.part, ""
	for _, id := range p.ref.ref.Identity.MakerIDs {
		if oui, ok := strings.CutPrefix(id, "oui:"); ok {
			want = ids.OUI(oui)
		}
	}
	address := part.Identity.Serial
	if want == "" || len(address) < 2 {
		return
	}
	got := ids.OUI(address)
	if ids.SameMaker(want, got) {
		return
	}
	if got == "" {
		if !ids.LocallyAdministered(address) {
			return
		}
		got = "nobody"
	}
	f := m.about(finding.MACNotOfMaker, part)
	f.Want, f.Got = want, got+": "+address
	f.Why = "The address of the port was assigned to another organisation than that of the declared port."
	m.add(f)
}

// blanked reports whether the place of a serial number was read and holds none:
// a placeholder, or a field of the firmware's own table.
func blanked(p *Part) bool {
	switch p.Class {
	case System, Baseboard, Chassis:
		return true
	}
	v, ok := p.Values["serial"]
	return ok && v.Text == ""
}

// unproved records that the evidence does not show what tells a part of a class
// declared complete from another one.
func (m *matcher) unproved(c Class, what string) {
	if m.closures[c] == Closed {
		m.out.Unproved[c] = append(m.out.Unproved[c], what)
	}
}

// expected is the identity that a part is held against: that of the line, or of
// the approved alternate that it is.
func (p pair) expected() *Identity {
	if p.level == levelAlternate {
		if i := p.ref.alternate(p.part); i >= 0 {
			return &p.ref.ref.Alternates[i]
		}
	}
	return &p.ref.ref.Identity
}

// compareDetail compares revision and firmware version where both sides say
// one.
func (m *matcher) compareDetail(p pair) {
	want, part := p.expected(), p.part.part
	if differ(want.Revision, part.Identity.Revision) {
		_, _, code := codesOf(part.Class)
		f := m.about(code, part)
		f.Want, f.Got = "revision "+want.Revision, "revision "+part.Identity.Revision
		f.Why = "Same model in another hardware revision."
		if part.Class != PCI {
			f.Severity = finding.Medium
		}
		m.add(f)
	}
	if want.Firmware != "" && part.Identity.Firmware == "" {
		m.note("firmware version of "+part.Subject, "declared, but not in the evidence")
		if part.Class == Processor {
			m.unproved(part.Class, "what "+part.Subject+" answers itself")
		}
	}
	if differ(want.Firmware, part.Identity.Firmware) {
		f := m.about(firmwareCode(part.Class), part)
		f.Severity = finding.Medium
		f.Want, f.Got = want.Firmware, part.Identity.Firmware
		f.Why = fmt.Sprintf("The %s reports another firmware version than the manifest declares.", noun(part.Class))
		m.add(f)
	}
}

func firmwareCode(c Class) finding.Code {
	switch c {
	case Firmware:
		return finding.UnknownFirmware
	case BMC:
		return finding.BMCFirmwareDiffers
	case Processor:
		return finding.UnknownMicrocode
	}
	return finding.DeviceFirmwareDiffers
}

func differ(want, got string) bool {
	if want == got || want == "" || got == "" {
		return false
	}
	w, g := ids.Key(want), ids.Key(got)
	if _, fake := ids.Placeholder(want); fake {
		return false
	}
	return w != "" && g != "" && w != g
}

// fewAttributes is more than most parts have.
const fewAttributes = 16

// appendSorted appends the keys of a map in their order.
func appendSorted[V any](to []string, m map[string]V) []string {
	for k := range m {
		to = append(to, k)
	}
	slices.Sort(to)
	return to
}

// compareAttributes compares the facts that both sides state; a fact that the
// evidence lacks is not checked.
func (m *matcher) compareAttributes(p pair) {
	ref, part := p.ref.ref, p.part.part
	var room [fewAttributes]string
	for _, k := range appendSorted(room[:0], ref.Attributes) {
		rule, ok := attributeRules[k]
		if !ok || rule.code == "" || rule.ofModel && p.level == levelAlternate {
			continue
		}
		got, have := part.Attributes[k]
		switch {
		case !have:
			m.note(fmt.Sprintf("%s of %s", k, part.Subject), "declared, but not in the evidence")
			if rule.telling || k == attrSizeMiB && part.Class == Memory {
				m.unproved(part.Class, fmt.Sprintf("%s of %s", k, part.Subject))
			}
		case got != ref.Attributes[k]:
			if l := part.Attributes[attrLength]; k == attrDigest && l != "" && ref.Attributes[attrLength] != l {
				continue // of another length, so of another digest
			}
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
	if rom := part.Attributes[attrOptionROM]; rom != "" && rom != "none" && ref.Attributes[attrOptionROM] == "" && part.Class == PCI {
		m.note("option ROM of "+part.Subject, "read, but the manifest declares none; sha256 "+rom)
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
	for _, v := range p.Values {
		if !slices.Contains(f.Sources, v.Source) {
			f.Sources = append(f.Sources, v.Source)
		}
		if !slices.Contains(f.Basis, v.Basis) {
			f.Basis = append(f.Basis, v.Basis)
		}
	}
	slices.Sort(f.Sources)
	slices.SortFunc(f.Basis, func(a, b finding.Basis) int {
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
