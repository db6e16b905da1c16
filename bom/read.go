package bom

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// Observation says how far a class of parts could be observed. Observed means
// that some source was read; Whole, that the source lists all parts of the
// class, so that a missing one is really missing.
type Observation struct {
	Observed bool             `json:"observed"`
	Whole    bool             `json:"whole"`
	Reason   string           `json:"reason,omitempty"` // why not
	Sources  []finding.Source `json:"sources,omitempty"`
}

// Place is a named place on the board that may hold a part: a slot or socket
// with the words printed beside it.
type Place struct {
	Designator string `json:"designator"`
	Kind       string `json:"kind"`               // "slot", "dimm", "socket", "connector"
	External   string `json:"external,omitempty"` // label outside the chassis, of a connector
	Address    string `json:"address,omitempty"`  // PCI address the firmware gives for a slot
	InUse      bool   `json:"inUse"`
	Subject    string `json:"subject,omitempty"` // the part that sits there
}

// Inventory is everything a bundle says about the parts of a machine.
type Inventory struct {
	Parts    []Part                `json:"parts"`
	Places   []Place               `json:"places,omitempty"`
	Classes  map[Class]Observation `json:"classes"`
	Findings []finding.Finding     `json:"findings,omitempty"` // contradictions, broken integrity, malformed artefacts
	Virtual  string                `json:"virtual,omitempty"`  // hypervisor, when the machine shows one
}

// VirtualFunction and the other constants are the reasons why a part may come
// and go (Part.Volatile).
const (
	VirtualFunction = "a virtual function"
	BMCVirtual      = "a virtual device of the management controller"
	Removable       = "a removable device"
	BootMedium      = "the medium that the scanner was started from"
)

// Read builds the inventory of a bundle. It never fails: what is malformed is
// a finding, and what is not there is said in Classes.
func Read(b *evidence.Bundle) *Inventory {
	return read(b, func(r *reader) { r.smbios() })
}

// read reads what first reads, and then everything that the firmware's table may
// help to place.
func read(b *evidence.Bundle, first func(*reader)) *Inventory {
	r := &reader{
		b: b, inv: &Inventory{Classes: map[Class]Observation{}}, slotAt: map[string]string{}, labelAt: map[string]string{},
		bySubject: map[string]int{}, copies: map[string]int{}, partials: map[Class]string{},
	}
	first(r)
	r.cpus()
	r.memoryModules()
	r.pciFunctions()
	r.cxlMemory()
	r.usbDevices()
	r.drives()
	r.ports()
	r.i2cDevices()
	r.flashChips()
	r.fruDevices()
	r.controllers()
	r.controllerIDs()
	r.repository()
	r.managementPorts()
	r.acpiTables()
	r.tpms()
	r.fillSlots()
	r.crossCheck()
	r.hidden()
	r.gaps()
	r.inv.Parts = sorted(r.inv.Parts)
	r.inv.Findings = finding.Sort(r.inv.Findings)
	return r.inv
}

// sorted returns parts by class and subject.
func sorted(parts []Part) []Part {
	if len(parts) == 0 {
		return parts
	}
	order := make([]*Part, len(parts)) // a part is long to move
	for i := range parts {
		order[i] = &parts[i]
	}
	slices.SortStableFunc(order, func(a, b *Part) int {
		if c := cmp.Compare(a.Class, b.Class); c != 0 {
			return c
		}
		return cmp.Compare(a.Subject, b.Subject)
	})
	out := make([]Part, len(parts))
	for i, p := range order {
		out[i] = *p
	}
	return out
}

// ByClass returns the parts of one class, in subject order.
func (inv *Inventory) ByClass(c Class) []Part {
	var out []Part
	for i := range inv.Parts {
		if inv.Parts[i].Class == c {
			out = append(out, inv.Parts[i])
		}
	}
	return out
}

// Part returns the part with a subject.
func (inv *Inventory) Part(subject string) (Part, bool) {
	i := inv.index(subject)
	if i < 0 {
		return Part{}, false
	}
	return inv.Parts[i], true
}

// Machine is who made the machine and what it is called: what the system says of
// itself (SMBIOS type 1) or, where its strings were never programmed, its board. A
// board that is sold alone is all that names such a machine; of 2048 real servers
// 157 are like that.
func (inv *Inventory) Machine() (id Identity, ok bool) {
	at := inv.index("system")
	if at >= 0 && inv.names(at) {
		return inv.Parts[at].Identity, true
	}
	if board := inv.index("baseboard"); board >= 0 && inv.names(board) {
		at = board
	}
	if at < 0 {
		return id, false
	}
	return inv.Parts[at].Identity, true
}

func (inv *Inventory) names(i int) bool {
	id := &inv.Parts[i].Identity
	return id.Maker != "" && id.Model != ""
}

// index finds a part; below zero there is none.
func (inv *Inventory) index(subject string) int {
	for i := range inv.Parts {
		if inv.Parts[i].Subject == subject {
			return i
		}
	}
	return -1
}

// BySubject is for who looks for many parts; of two with one subject the first counts.
func (inv *Inventory) BySubject() map[string]*Part {
	out := make(map[string]*Part, len(inv.Parts))
	for i := range inv.Parts {
		if p := &inv.Parts[i]; out[p.Subject] == nil {
			out[p.Subject] = p
		}
	}
	return out
}

type reader struct {
	b              *evidence.Bundle
	inv            *Inventory
	slotAt         map[string]string // PCI address to slot designation
	labelAt        map[string]string // PCI address to onboard designation
	bySubject      map[string]int
	copies         map[string]int   // parts that claimed one subject so far
	partials       map[Class]string // classes of which something could not be read
	memory         memoryFacts
	dmiName        string // the artefact that holds the firmware's table
	controllerTold string // what SMBIOS types 38 and 42 say of a management controller
	tpmTold        string // what SMBIOS type 43 says of the TPM
	tpmOrigin      origin
	partitions     map[string][]partition // of flash chips, listed when needed
}

// origin says where a value comes from.
type origin struct {
	source finding.Source
	reader string
	basis  finding.Basis
}

func (r *reader) origin(source finding.Source, name, artifact string, offset, length int) origin {
	return origin{source: source, reader: name, basis: finding.Basis{Artifact: artifact, SHA256: r.b.SHA256(artifact), Offset: int64(offset), Length: int64(length)}}
}

// whole is the origin of a small artefact that is one value.
func (r *reader) whole(source finding.Source, name, artifact string) origin {
	a, _ := r.b.Artifact(artifact)
	return origin{source: source, reader: name, basis: finding.Basis{Artifact: artifact, SHA256: a.SHA256, Length: a.Size}}
}

// add puts a part into the inventory. Subjects are made unique: two parts that
// claim one place are both kept.
func (r *reader) add(p Part) *Part {
	base := p.Subject
	for taken := r.part(base) != nil; taken; taken = r.part(p.Subject) != nil {
		r.copies[base]++
		p.Subject = fmt.Sprintf("%s#%d", base, r.copies[base]+1)
	}
	if p.Values == nil {
		p.Values = map[string]Value{}
	}
	if p.Attributes == nil {
		p.Attributes = map[string]string{}
	}
	r.bySubject[p.Subject] = len(r.inv.Parts)
	r.inv.Parts = append(r.inv.Parts, p)
	return &r.inv.Parts[len(r.inv.Parts)-1]
}

// part returns a part that was added before.
func (r *reader) part(subject string) *Part {
	i, ok := r.bySubject[subject]
	if !ok {
		return nil
	}
	return &r.inv.Parts[i]
}

// set stores one identity field with its origin. A placeholder is kept as a
// value that says nothing; the field stays empty.
func (p *Part) set(field string, dst *string, raw string, o origin) {
	clean := ids.Clean(raw)
	v := Value{Text: clean, Source: o.source, Reader: o.reader, Basis: o.basis}
	if clean != raw {
		v.Raw = raw
	}
	if reason, fake := ids.Placeholder(clean); fake {
		if clean == "" {
			return
		}
		v.Text, v.Raw = "", clean+" ("+reason+")"
		p.Values[field] = v
		return
	}
	if *dst == "" {
		*dst = clean
		p.Values[field] = v
	}
}

// says keeps a text that is shown to people and never compared.
func (p *Part) says(name, raw string, o origin) {
	if raw == "" {
		return
	}
	v := Value{Text: ids.Clean(raw), Source: o.source, Reader: o.reader, Basis: o.basis}
	if v.Text != raw {
		v.Raw = raw
	}
	p.Values[name] = v
}

// fact stores one attribute with its origin.
func (p *Part) fact(name, value string, o origin) {
	if value == "" {
		return
	}
	p.Attributes[name] = value
	p.Values[name] = Value{Text: value, Source: o.source, Reader: o.reader, Basis: o.basis}
}

// seen records that a class could be observed.
func (r *reader) seen(c Class, whole bool, reason string, source finding.Source) {
	o := r.inv.Classes[c]
	o.Observed = true
	o.Whole = o.Whole || whole
	o.Reason = reason
	if o.Whole {
		o.Reason = ""
	}
	if !slices.Contains(o.Sources, source) {
		o.Sources = append(o.Sources, source)
		slices.Sort(o.Sources)
	}
	r.inv.Classes[c] = o
}

// unseen records why a class could not be observed.
func (r *reader) unseen(c Class, artifact string) {
	if r.inv.Classes[c].Observed {
		return
	}
	reason := artifact + " is not in the bundle"
	if a, listed := r.b.Artifact(artifact); listed && a.Status != evidence.Collected {
		reason = notRead(a)
	}
	r.inv.Classes[c] = Observation{Reason: reason}
}

// partial records that a class may have more parts than could be read. A list
// with a hole proves nothing about what is not on it.
func (r *reader) partial(c Class, reason string) {
	if _, told := r.partials[c]; !told {
		r.partials[c] = reason
	}
}

func notRead(a evidence.Artifact) string {
	return fmt.Sprintf("%s: %s", a.Path, cmp.Or(a.Reason, string(a.Status)))
}

// vitalFiles are the artefacts without which a part is not seen at all.
var vitalFiles = []struct {
	class Class
	form  *regexp.Regexp
}{
	{PCI, regexp.MustCompile(`^sys/bus/pci/devices(/[^/]+(/vendor)?)?$`)},
	{USB, regexp.MustCompile(`^sys/bus/usb/devices(/[^/]+(/idVendor)?)?$`)},
	{I2C, regexp.MustCompile(`^sys/bus/i2c/devices(/[^/]+(/name)?)?$|^i2c/detect-[0-9]+\.txt$`)},
	{Storage, regexp.MustCompile(`^sys/class/nvme(/[^/]+(/model)?)?$|^sys/class/block(/[^/]+(/device(/model)?)?)?$`)},
	{Network, regexp.MustCompile(`^sys/class/net(/[^/]+(/path)?)?$`)},
	{ACPI, regexp.MustCompile(`^sys/firmware/acpi/tables(/[^/]+)?$`)},
	{FRU, regexp.MustCompile(`^ipmi/fru-[0-9]+\.bin$`)},
	{Flash, regexp.MustCompile(`^sys/bus/spi/devices(/[^/]+(/spi-nor/jedec_id)?)?$`)},
	{IPMB, regexp.MustCompile(`^ipmi/sdr\.bin$`)},
	{LAN, regexp.MustCompile(`^ipmi/lan-[0-9]+\.bin$`)},
}

// gaps looks for parts that the collector was not allowed or not able to read,
// and marks their classes.
func (r *reader) gaps() {
	for _, a := range r.b.NotCollected() {
		if a.Status == evidence.Absent {
			continue
		}
		for _, v := range vitalFiles {
			if v.form.MatchString(a.Path) && !(v.class == PCI && r.b.Has(strings.TrimSuffix(a.Path, "/vendor")+"/config")) {
				r.partial(v.class, notRead(a))
			}
		}
	}
	for c, reason := range r.partials {
		if o := r.inv.Classes[c]; o.Observed {
			o.Whole, o.Reason = false, reason
			r.inv.Classes[c] = o
		}
	}
}

// problem reports an artefact that does not follow its format.
func (r *reader) problem(artifact string, offset int, what string) {
	f := finding.New(finding.InputMalformed, "artifact:"+artifact)
	f.Severity, f.Confidence = finding.Low, finding.Strong
	f.Got = fmt.Sprintf("offset %d: %s", offset, what)
	f.Why = "The artefact does not follow its format; what could be read of it was used."
	f.Basis = []finding.Basis{{Artifact: artifact, SHA256: r.b.SHA256(artifact), Offset: int64(offset)}}
	r.inv.Findings = append(r.inv.Findings, f)
}

// contradiction reports two sources that disagree about one value.
func (r *reader) contradiction(code finding.Code, p *Part, want, got, why string, sev finding.Severity, origins ...origin) {
	f := finding.New(code, p.Subject)
	f.Severity, f.Location = sev, p.Location
	f.Want, f.Got, f.Why = want, got, why
	for _, o := range origins {
		f.Sources = append(f.Sources, o.source)
		f.Basis = append(f.Basis, o.basis)
	}
	slices.Sort(f.Sources)
	f.Sources = slices.Compact(f.Sources)
	r.inv.Findings = append(r.inv.Findings, f)
}

// placeholders reports identity fields that the vendor never programmed.
func (r *reader) placeholders(p *Part, fields ...string) {
	for _, k := range slices.Sorted(maps.Keys(p.Values)) {
		v := p.Values[k]
		if v.Text != "" || !slices.Contains(fields, k) {
			continue
		}
		f := finding.New(finding.PlaceholderIdentity, p.Subject)
		f.Location = p.Location
		f.Want, f.Got = k, k+": "+v.Raw
		f.Why = fmt.Sprintf("The %s of this part was never programmed, so it identifies nothing.", k)
		f.Sources, f.Basis = []finding.Source{v.Source}, []finding.Basis{v.Basis}
		r.inv.Findings = append(r.inv.Findings, f)
	}
}

func slug(s string) string { return strings.Join(strings.Fields(s), " ") }
