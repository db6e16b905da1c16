package bom

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/smbios"
)

const (
	dmiTable = "sys/firmware/dmi/tables/DMI"
	dmiEntry = "sys/firmware/dmi/tables/smbios_entry_point"
)

// smbiosClasses are the classes that the SMBIOS table lists completely.
var smbiosClasses = []Class{System, Baseboard, Chassis, Processor, Memory, Firmware}

// smbios reads what the firmware says about the machine: its names, sockets,
// slots and labels (DMTF DSP0134).
func (r *reader) smbios() {
	table, err := r.b.Read(dmiTable)
	if err != nil {
		for _, c := range smbiosClasses {
			r.unseen(c, dmiTable)
		}
		r.deviceTree()
		return
	}
	entry, _ := r.b.Read(dmiEntry)
	t, err := smbios.Parse(entry, table)
	r.decoded(dmiTable, t, err)
}

// decoded reads a table that was decoded from bytes or from text.
func (r *reader) decoded(name string, t *smbios.Table, err error) {
	r.dmiName = name
	for _, p := range t.Problems {
		r.problem(name, p.Offset, p.What)
	}
	if errors.Is(err, smbios.ErrNoTable) {
		for _, c := range smbiosClasses {
			r.inv.Classes[c] = Observation{Reason: name + " holds no SMBIOS structure"}
		}
		return
	}
	r.table(t)
	if t.Broken { // DSP0134 6.1.2: the length is that of the header at least
		for _, c := range smbiosClasses {
			r.partial(c, name+" has a structure whose length leads nowhere")
		}
	}
	if n := len(t.Structures); t.Structures[n-1].Type != endOfTable && (t.EntryPoint == nil || t.EntryPoint.Structures != n) {
		for _, c := range smbiosClasses {
			r.partial(c, name+" ends before its end-of-table structure")
		}
	}
}

// endOfTable is the type of the last structure (DSP0134 7.45).
const endOfTable = 127

// table turns a decoded SMBIOS table into parts and places.
func (r *reader) table(t *smbios.Table) {
	r.seen(System, len(t.Systems) > 0, "no SMBIOS type 1", finding.FirmwareTold)
	r.seen(Baseboard, len(t.Baseboards) > 0, "no SMBIOS type 2; some vendors leave it out", finding.FirmwareTold)
	r.seen(Chassis, len(t.Chassis) > 0, "no SMBIOS type 3", finding.FirmwareTold)
	r.seen(Firmware, len(t.BIOS) > 0, "no SMBIOS type 0", finding.FirmwareTold)
	r.seen(Processor, len(t.Processors) > 0, "no SMBIOS type 4", finding.FirmwareTold)
	r.seen(Memory, len(t.MemoryDevices) > 0, "no SMBIOS type 17", finding.FirmwareTold)
	for _, s := range t.Systems {
		r.system(s)
	}
	if len(t.IPMIDevices)+len(t.ManagementControllers) > 0 {
		r.controllerTold = "the firmware names a management controller (SMBIOS types 38 and 42)"
	}
	for i, s := range t.Baseboards {
		r.baseboard(i, s)
	}
	for _, s := range t.Chassis {
		r.chassis(s)
	}
	for _, s := range t.BIOS {
		r.bios(s)
	}
	for _, s := range t.Processors {
		r.processor(s)
	}
	r.modules(t)
	for _, s := range t.PowerSupplies {
		r.powerSupply(s)
	}
	for _, s := range t.TPMs {
		r.tpmTold = fmt.Sprintf("%s %s, TPM %d.%d", ids.Clean(s.Vendor), ids.Clean(s.Description), s.Major, s.Minor)
		r.tpmOrigin = r.dmi(43, s.Header)
	}
	r.oemStrings(t)
	r.labels(t)
}

func (r *reader) dmi(kind int, h smbios.Header) origin {
	return r.origin(finding.FirmwareTold, "smbios:"+strconv.Itoa(kind), r.dmiName, h.Offset, h.Length)
}

func (r *reader) system(s smbios.System) {
	o := r.dmi(1, s.Header)
	p := r.add(Part{Class: System, Subject: "system"})
	p.set("maker", &p.Identity.Maker, s.Manufacturer, o)
	p.set("model", &p.Identity.Model, s.Product, o)
	p.set("revision", &p.Identity.Revision, s.Version, o)
	p.set("serial", &p.Identity.Serial, s.Serial, o)
	p.fact("uuid", s.UUID, o)
	p.fact("sku", ids.Clean(s.SKU), o)
	r.placeholders(p, "maker", "model", "serial")
}

func (r *reader) baseboard(i int, s smbios.Baseboard) {
	o := r.dmi(2, s.Header)
	subject := "baseboard"
	if i > 0 {
		subject = fmt.Sprintf("baseboard:%s", cmp.Or(slug(s.Location), strconv.Itoa(i)))
	}
	p := r.add(Part{Class: Baseboard, Subject: subject, Location: finding.Location{Designator: subject}})
	p.set("maker", &p.Identity.Maker, s.Manufacturer, o)
	p.set("model", &p.Identity.Model, s.Product, o)
	p.set("revision", &p.Identity.Revision, s.Version, o)
	p.set("serial", &p.Identity.Serial, s.Serial, o)
	r.placeholders(p, "maker", "model", "serial")
}

// lotNumber is what some vendors write as the version of a chassis: a number that
// differs between units of one model (Huawei: 4843, 5197, 23740) and names none.
var lotNumber = regexp.MustCompile(`^[0-9]{4,}$`)

func (r *reader) chassis(s smbios.Chassis) {
	o := r.dmi(3, s.Header)
	p := r.add(Part{Class: Chassis, Subject: "chassis", Location: finding.Location{Designator: "chassis"}})
	p.set("maker", &p.Identity.Maker, s.Manufacturer, o)
	model := cmp.Or(ids.Clean(s.SKU), ids.Clean(s.Version))
	if lotNumber.MatchString(model) {
		p.fact("version", model, o)
	} else {
		p.set("model", &p.Identity.Model, model, o)
	}
	p.set("serial", &p.Identity.Serial, s.Serial, o)
	r.placeholders(p, "maker", "serial")
}

func (r *reader) bios(s smbios.BIOS) {
	o := r.dmi(0, s.Header)
	p := r.add(Part{Class: Firmware, Subject: "firmware:bios", Location: finding.Location{Designator: "bios"}})
	p.set("maker", &p.Identity.Maker, s.Vendor, o)
	p.Identity.Model = "BIOS"
	if s.Virtual {
		r.inv.Virtual = "the firmware says that it is that of a virtual machine (SMBIOS type 0)"
	}
	p.set("firmware", &p.Identity.Firmware, s.Version, o)
	p.fact("releaseDate", s.ReleaseDate, o)
}

func (r *reader) processor(s smbios.Processor) {
	o := r.dmi(4, s.Header)
	name := cmp.Or(slug(s.Socket), fmt.Sprintf("handle %#04x", s.Handle))
	r.inv.Places = append(r.inv.Places, Place{Designator: name, Kind: "socket", InUse: s.Populated, Subject: "processor:" + name})
	if !s.Populated {
		return
	}
	p := r.add(Part{Class: Processor, Subject: "processor:" + name, Location: finding.Location{Designator: name}})
	p.set("maker", &p.Identity.Maker, s.Manufacturer, o)
	p.set("model", &p.Identity.Model, s.Version, o)
	p.set("partNumber", &p.Identity.PartNumber, s.PartNumber, o)
	p.set("serial", &p.Identity.Serial, s.Serial, o)
	if s.Cores > 0 {
		p.fact(attrCores, strconv.Itoa(s.Cores), o)
	}
	if s.Signature != 0 {
		p.fact("signature", fmt.Sprintf("%08x", s.Signature), o)
	}
	r.inv.Places[len(r.inv.Places)-1].Subject = p.Subject
}

func (r *reader) powerSupply(s smbios.PowerSupply) {
	if !s.Present {
		return
	}
	o := r.dmi(39, s.Header)
	p := Part{Class: Power, Values: map[string]Value{}, Attributes: map[string]string{}}
	p.set("maker", &p.Identity.Maker, s.Manufacturer, o)
	p.set("model", &p.Identity.Model, s.Model, o)
	p.set("serial", &p.Identity.Serial, s.Serial, o)
	p.set("revision", &p.Identity.Revision, s.Revision, o)
	if p.Identity.empty() {
		return // a third of all records are placeholders and say nothing
	}
	name := cmp.Or(slug(ids.Clean(s.Location)), slug(ids.Clean(s.Name)), fmt.Sprintf("handle %#04x", s.Handle))
	p.Subject, p.Location = "power:"+name, finding.Location{Designator: name}
	r.add(p)
	r.seen(Power, false, "SMBIOS type 39 lists what the firmware was told, not what is plugged in", finding.FirmwareTold)
}

func (id Identity) empty() bool {
	return id.Maker == "" && id.Model == "" && id.PartNumber == "" && id.Serial == "" && len(id.MakerIDs) == 0
}

// oemStrings keeps what the vendor wrote beside the identity (type 11), for an
// inspection; vendors put anything there, so nothing is compared.
func (r *reader) oemStrings(t *smbios.Table) {
	p := r.part("system")
	if p == nil {
		return
	}
	var all []string
	for _, s := range t.OEMStrings {
		for _, v := range s.Values {
			if v = ids.Clean(v); v != "" {
				all = append(all, v)
			}
		}
	}
	if len(all) > 0 {
		p.fact("oemStrings", strings.Join(all, "; "), r.dmi(11, t.OEMStrings[0].Header))
	}
}

// labels notes the words printed on the board: slots and onboard devices by
// PCI address (types 9, 10 and 41).
func (r *reader) labels(t *smbios.Table) {
	for _, s := range t.Slots {
		name := slug(ids.Clean(s.Designation))
		if name == "" {
			continue
		}
		pl := Place{Designator: name, Kind: "slot", InUse: s.InUse}
		if s.Address != nil {
			pl.Address = s.Address.String()
			r.slotAt[pl.Address] = name
		}
		r.inv.Places = append(r.inv.Places, pl)
	}
	for _, s := range t.Onboard {
		if name := slug(ids.Clean(s.Designation)); name != "" && s.Address != nil {
			r.labelAt[s.Address.String()] = name
		}
	}
	for _, s := range t.Connectors {
		inside, outside := slug(ids.Clean(s.Internal)), slug(ids.Clean(s.External))
		if name := cmp.Or(inside, outside); name != "" {
			r.inv.Places = append(r.inv.Places, Place{Designator: name, Kind: "connector", External: outside})
		}
	}
}
