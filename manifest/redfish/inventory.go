package redfish

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// Inventory makes parts of what the tree says of one system, by its id; the id may
// be empty when there is one system at most. The second result is what of the tree
// is no part, or has no place.
func (t *Tree) Inventory(system string) (*bom.Inventory, []Loss, error) {
	of, err := t.of(system)
	if err != nil {
		return nil, nil, err
	}
	r := &reader{
		tree: t, inv: &bom.Inventory{Classes: map[bom.Class]bom.Observation{}}, taken: map[string]int{}, partOf: map[string]int{},
		unread: map[string]int{}, lost: slices.Clone(t.lost), functions: map[string]int{}, addresses: map[string]bool{}, told: map[string]bool{},
	}
	// What other resources refer to comes first.
	for _, pass := range passes {
		for _, x := range of {
			if read, ok := pass[x.kind]; ok {
				read(r, x)
			}
		}
	}
	for _, x := range of {
		r.rest(x)
	}
	for _, k := range slices.Sorted(maps.Keys(r.unread)) {
		r.lose("tree", "%d of %s", r.unread[k], k)
	}
	if len(r.inv.Parts) == 0 && len(r.inv.Places) == 0 {
		return nil, r.lost, fmt.Errorf("%s: none of its %d resources is about a part", t.name, len(of))
	}
	slices.SortStableFunc(r.inv.Parts, func(a, b bom.Part) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.Subject, b.Subject))
	})
	return r.inv, r.lost, nil
}

// passes are the readers by type of resource, in order.
var passes = []map[string]func(*reader, *resource){
	{
		"ComputerSystem": (*reader).system, "Chassis": (*reader).chassis, "Processor": (*reader).processor, "Memory": (*reader).memory,
		"Drive": (*reader).drive, "SimpleStorage": (*reader).simpleStorage, "PowerSupply": (*reader).powerSupply, "Power": (*reader).power,
		"Manager": (*reader).manager, "TrustedComponent": (*reader).trusted, "HpeServerPciDevice": (*reader).hpeFunction,
	},
	{"PCIeFunction": (*reader).function, "EthernetInterface": (*reader).ethernet},
	{"PCIeDevice": (*reader).device, "NetworkDeviceFunction": (*reader).networkFunction},
	{"NetworkAdapter": (*reader).adapter, "SoftwareInventory": (*reader).software},
}

type reader struct {
	tree      *Tree
	inv       *bom.Inventory
	lost      []Loss
	taken     map[string]int  // subjects
	partOf    map[string]int  // resource to its part
	unread    map[string]int  // resources that are no parts, by type
	functions map[string]int  // by ids: one more than the index of the part
	addresses map[string]bool // of ports
	told      map[string]bool // versions of firmware that parts have

	functionsBelow map[string][]int // parts by every resource above them, made when needed
}

func (r *reader) lose(where, format string, args ...any) {
	r.lost = append(r.lost, Loss{Where: where, What: fmt.Sprintf(format, args...)})
}

// rest counts what nobody reads.
func (r *reader) rest(x *resource) {
	for _, pass := range passes {
		if _, ok := pass[x.kind]; ok {
			return
		}
	}
	switch {
	case x.kind == "Fan" || x.kind == "Battery":
		r.hardware(x, x.body, "manifests have no class for it")
	case x.kind == "Storage":
		for _, c := range x.body.list("StorageControllers") {
			r.hardware(x, c, "a controller without PCI ids")
		}
	case x.kind == "StorageController":
		r.hardware(x, x.body, "a controller without PCI ids")
	case x.kind == "Thermal":
		for _, f := range x.body.list("Fans") {
			r.hardware(x, f, "manifests have no class for it")
		}
	case x.kind == "" || strings.HasSuffix(x.kind, "Collection") || x.kind == "ServiceRoot":
		// lists and roots say nothing of their own
	default:
		r.unread["type "+x.kind]++
	}
}

// hardware tells a part that has no place, with what it says of itself.
func (r *reader) hardware(x *resource, o object, why string) {
	if absent(o) {
		return
	}
	var says []string
	for _, k := range []string{"Name", "Manufacturer", "Model", "PartNumber", "SerialNumber", "FirmwareVersion"} {
		if v := ids.Clean(o.text(k)); v != "" {
			says = append(says, v)
		}
	}
	r.lose(x.file, "%s %.300s: %s", x.kind, strings.Join(says, " "), why)
}

// absent reports whether the resource is an empty place.
func absent(o object) bool { return o.object("Status").text("State") == "Absent" }

// add puts a part into the inventory, with a subject of its own.
func (r *reader) add(x *resource, p bom.Part) *bom.Part {
	base := p.Subject
	r.taken[base]++
	for n := r.taken[base]; n > 1; n++ {
		p.Subject = fmt.Sprintf("%s#%d", base, n)
		if r.taken[p.Subject] == 0 {
			r.taken[base], r.taken[p.Subject] = n, 1
			break
		}
	}
	p.Attributes, p.Values = map[string]string{}, map[string]bom.Value{}
	r.inv.Parts = append(r.inv.Parts, p)
	if _, told := r.partOf[x.id]; !told {
		r.partOf[x.id] = len(r.inv.Parts) - 1
	}
	o := r.inv.Classes[p.Class]
	if !o.Observed {
		r.inv.Classes[p.Class] = bom.Observation{Observed: true, Reason: "a management controller lists what it knows of", Sources: []finding.Source{finding.BMCTold}}
	}
	return &r.inv.Parts[len(r.inv.Parts)-1]
}

func (x *resource) value(text string) bom.Value {
	return bom.Value{Text: text, Source: finding.BMCTold, Reader: "redfish:" + x.kind, Basis: finding.Basis{Artifact: x.file, SHA256: x.sum, Length: int64(x.size)}}
}

// set stores an identity field; a placeholder says nothing.
func (x *resource) set(p *bom.Part, field string, dst *string, raw string) {
	text := ids.Clean(raw)
	if text == "" || *dst != "" {
		return
	}
	v := x.value(text)
	if text != raw {
		v.Raw = raw
	}
	if reason, fake := ids.Placeholder(text); fake || strings.EqualFold(text, "null") || strings.EqualFold(text, "N/A") {
		v.Text, v.Raw = "", text+" ("+cmp.Or(reason, "a placeholder")+")"
		p.Values[field] = v
		return
	}
	*dst = text
	p.Values[field] = v
}

func (x *resource) fact(p *bom.Part, name, text string) {
	if text = ids.Clean(text); text != "" {
		p.Attributes[name], p.Values[name] = text, x.value(text)
	}
}

// identity stores the fields that most resources have.
func (x *resource) identity(p *bom.Part, o object) {
	x.set(p, "maker", &p.Identity.Maker, o.text("Manufacturer"))
	x.set(p, "model", &p.Identity.Model, o.text("Model"))
	x.set(p, "partNumber", &p.Identity.PartNumber, o.text("PartNumber"))
	x.set(p, "serial", &p.Identity.Serial, o.text("SerialNumber"))
}

// label is the name that a technician finds beside the part.
func label(o object) string {
	for _, place := range []object{o.object("Location", "PartLocation"), o.object("PhysicalLocation", "PartLocation")} {
		if s := ids.Clean(place.text("ServiceLabel")); s != "" {
			return s
		}
	}
	for _, place := range o.list("PhysicalLocation") {
		if s := ids.Clean(place.object("PartLocation").text("ServiceLabel")); s != "" {
			return s
		}
	}
	return ids.Clean(o.text("DeviceLocator"))
}

func (r *reader) system(x *resource) {
	o := x.body
	p := r.add(x, bom.Part{Class: bom.System, Subject: "system"})
	x.identity(p, o)
	x.fact(p, "uuid", strings.ToLower(o.text("UUID")))
	x.fact(p, "sku", o.text("SKU"))
	if v := o.text("BiosVersion"); v != "" {
		f := r.add(x, bom.Part{Class: bom.Firmware, Subject: "firmware:bios", Location: finding.Location{Designator: "bios"}, Identity: bom.Identity{Model: "BIOS"}})
		x.set(f, "firmware", &f.Identity.Firmware, v)
		r.told[f.Identity.Firmware] = true
	}
	for _, m := range o.list("TrustedModules") {
		if absent(m) || m.text("InterfaceType") == "" {
			continue
		}
		f := r.add(x, bom.Part{Class: bom.TPM, Subject: "tpm", Location: finding.Location{Designator: "TPM"}})
		x.set(f, "firmware", &f.Identity.Firmware, m.text("FirmwareVersion"))
		x.fact(f, "interface", m.text("InterfaceType"))
	}
}

func (r *reader) chassis(x *resource) {
	o := x.body
	if absent(o) || o.text("Manufacturer")+o.text("Model")+o.text("SerialNumber")+o.text("PartNumber") == "" {
		r.unread["type Chassis that say nothing of themselves"]++
		return
	}
	subject := "chassis"
	if r.taken[subject] > 0 {
		subject = "chassis:" + ids.Clean(cmp.Or(o.text("Id"), x.id))
	}
	p := r.add(x, bom.Part{Class: bom.Chassis, Subject: subject, Location: finding.Location{Designator: subject}})
	x.identity(p, o)
	x.fact(p, "sku", o.text("SKU"))
	x.fact(p, "chassisType", o.text("ChassisType"))
}

func (r *reader) processor(x *resource) {
	o := x.body
	kind := o.text("ProcessorType")
	switch {
	case kind == "Core" || kind == "Thread":
		r.unread["type Processor that are cores and threads"]++
		return
	case kind != "" && kind != "CPU":
		if !absent(o) {
			r.hardware(x, o, "a "+kind+" without PCI ids")
		}
		return
	}
	name := cmp.Or(ids.Clean(o.text("Socket")), label(o), ids.Clean(o.text("Id")))
	place := bom.Place{Designator: name, Kind: "socket", InUse: !absent(o)}
	if place.InUse {
		p := r.add(x, bom.Part{Class: bom.Processor, Subject: "processor:" + name, Location: finding.Location{Designator: name}})
		x.identity(p, o)
		x.fact(p, "cores", number(o.text("TotalCores")))
		x.fact(p, "ppin", o.object("ProcessorId").text("ProtectedIdentificationNumber"))
		x.fact(p, "identificationRegisters", o.object("ProcessorId").text("IdentificationRegisters"))
		place.Subject = p.Subject
	}
	r.inv.Places = append(r.inv.Places, place)
}

// number keeps a count that says something.
func number(s string) string {
	if n, err := strconv.ParseUint(s, 10, 32); err != nil || n == 0 {
		return ""
	}
	return s
}

func (r *reader) memory(x *resource) {
	o := x.body
	name := cmp.Or(label(o), ids.Clean(o.text("Id")), ids.Clean(o.text("Name")))
	size, _ := strconv.ParseUint(o.text("CapacityMiB"), 10, 40)
	place := bom.Place{Designator: name, Kind: "dimm", InUse: !absent(o) && (size > 0 || o.text("PartNumber")+o.text("SerialNumber") != "")}
	if place.InUse {
		p := r.add(x, bom.Part{Class: bom.Memory, Subject: "dimm:" + name, Location: finding.Location{Designator: name}})
		r.memoryMaker(x, p)
		x.set(p, "partNumber", &p.Identity.PartNumber, o.text("PartNumber"))
		x.set(p, "serial", &p.Identity.Serial, o.text("SerialNumber"))
		x.set(p, "firmware", &p.Identity.Firmware, o.text("FirmwareRevision"))
		if size > 0 {
			x.fact(p, "sizeMiB", strconv.FormatUint(size, 10))
		}
		place.Subject = p.Subject
	}
	r.inv.Places = append(r.inv.Places, place)
}

// memoryMaker prefers the JEDEC code: services print it in either byte order, in
// hexadecimal and, some, in decimal. A system vendor's name is the brand.
func (r *reader) memoryMaker(x *resource, p *bom.Part) {
	raw := x.body.text("Manufacturer")
	if brand, is := ids.Brand(raw); is {
		p.Identity.Brand, raw = brand, ""
	}
	j, ok := ids.ParseJEDEC(raw)
	if !ok {
		code := cmp.Or(x.body.text("VendorID"), x.body.text("ModuleManufacturerID"))
		if n, err := strconv.ParseUint(code, 10, 16); err == nil && n > 255 {
			code = fmt.Sprintf("0x%04x", n)
		}
		j, ok = ids.ParseJEDEC(code)
		ok = ok && (raw == "" || ids.SameMaker(raw, j.Name()))
	}
	if ok && j.Name() != "" {
		raw, p.Identity.MakerIDs = j.Name(), []string{j.String()}
	}
	x.set(p, "maker", &p.Identity.Maker, raw)
}

func (r *reader) drive(x *resource) {
	o := x.body
	if absent(o) || o.text("Model")+o.text("SerialNumber")+o.text("PartNumber")+o.text("Manufacturer") == "" {
		r.unread["type Drive that are empty places or say nothing"]++
		return
	}
	where := cmp.Or(label(o), ids.Clean(o.text("Name")))
	p := r.add(x, bom.Part{Class: bom.Storage, Subject: "storage:disk " + cmp.Or(ids.Clean(o.text("SerialNumber")), ids.Clean(o.text("Model")), where), Location: finding.Location{Designator: where}})
	x.identity(p, o)
	x.set(p, "firmware", &p.Identity.Firmware, cmp.Or(o.text("FirmwareVersion"), o.text("Revision")))
	if n, err := strconv.ParseUint(o.text("CapacityBytes"), 10, 63); err == nil && n > 0 {
		x.fact(p, "sizeMiB", strconv.FormatUint(n>>20, 10))
	}
}

func (r *reader) simpleStorage(x *resource) {
	for _, o := range x.body.list("Devices") {
		if absent(o) || o.text("Model")+o.text("Manufacturer") == "" {
			continue
		}
		where := ids.Clean(o.text("Name"))
		p := r.add(x, bom.Part{Class: bom.Storage, Subject: "storage:disk " + cmp.Or(where, ids.Clean(o.text("Model"))), Location: finding.Location{Designator: where}})
		x.identity(p, o)
		if n, err := strconv.ParseUint(o.text("CapacityBytes"), 10, 63); err == nil && n > 0 {
			x.fact(p, "sizeMiB", strconv.FormatUint(n>>20, 10))
		}
	}
}

func (r *reader) powerSupply(x *resource) { r.supply(x, x.body) }

// power reads the older resource that holds all power supplies.
func (r *reader) power(x *resource) {
	for _, o := range x.body.list("PowerSupplies") {
		r.supply(x, o)
	}
}

func (r *reader) supply(x *resource, o object) {
	if absent(o) || o.text("Model")+o.text("SerialNumber")+o.text("PartNumber")+o.text("Manufacturer") == "" {
		r.unread["type PowerSupply that are empty places or say nothing"]++
		return
	}
	name := cmp.Or(label(o), ids.Clean(o.text("Name")), ids.Clean(o.text("MemberId")))
	p := r.add(x, bom.Part{Class: bom.Power, Subject: "power:" + name, Location: finding.Location{Designator: name}})
	x.identity(p, o)
	x.set(p, "firmware", &p.Identity.Firmware, o.text("FirmwareVersion"))
}

func (r *reader) manager(x *resource) {
	o := x.body
	if kind := o.text("ManagerType"); kind != "" && kind != "BMC" && kind != "ManagementController" {
		r.hardware(x, o, "a manager of type "+kind)
		return
	}
	p := r.add(x, bom.Part{Class: bom.BMC, Subject: "bmc", Location: finding.Location{Designator: "BMC"}})
	x.identity(p, o)
	x.set(p, "firmware", &p.Identity.Firmware, o.text("FirmwareVersion"))
	r.told[p.Identity.Firmware] = true
}

// trusted reads a TPM; other roots of trust have no class.
func (r *reader) trusted(x *resource) {
	o := x.body
	if absent(o) {
		return
	}
	if _, tpm := o["TPM"]; !tpm && !strings.Contains(strings.ToLower(o.text("Id")+o.text("Name")+o.text("Description")), "tpm") {
		r.hardware(x, o, "a root of trust that is no TPM")
		return
	}
	if r.taken["tpm"] > 0 {
		return // told by the system too
	}
	p := r.add(x, bom.Part{Class: bom.TPM, Subject: "tpm", Location: finding.Location{Designator: "TPM"}})
	x.identity(p, o)
	x.set(p, "firmware", &p.Identity.Firmware, o.text("FirmwareVersion"))
}
