package redfish

import (
	"cmp"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

// pciID reads "0x8086", and the decimal numbers that iLO writes against the
// schema.
func pciID(s string) (uint16, bool) {
	n, err := strconv.ParseUint(strings.ToLower(strings.TrimSpace(s)), 0, 16)
	return uint16(n), err == nil && s != ""
}

// functionIDs are the four ids of a function.
func functionIDs(vendor, device, subVendor, sub string) (model string, v, d uint16, ok bool) {
	v, ok1 := pciID(vendor)
	d, ok2 := pciID(device)
	if !ok1 || !ok2 || v == 0 || v == 0xffff {
		return "", 0, 0, false
	}
	model = fmt.Sprintf("%04x:%04x", v, d)
	sv, ok1 := pciID(subVendor)
	s, ok2 := pciID(sub)
	if ok1 && ok2 {
		model += fmt.Sprintf(" %04x:%04x", sv, s)
	}
	return model, v, d, true
}

// place is the address of a function, where the resource has one.
func place(o object) string {
	bus, e1 := strconv.ParseUint(strings.TrimSpace(o.text("BusNumber")), 0, 8)
	device, e2 := strconv.ParseUint(strings.TrimSpace(o.text("DeviceNumber")), 0, 5)
	function, e3 := strconv.ParseUint(strings.TrimSpace(o.text("FunctionNumber")), 0, 3)
	segment, _ := strconv.ParseUint(strings.TrimSpace(o.text("SegmentNumber")), 0, 16)
	if e1 != nil || e2 != nil || e3 != nil {
		return ""
	}
	return fmt.Sprintf("%04x:%02x:%02x.%d", segment, bus, device, function)
}

func (r *reader) addFunction(x *resource, address, slot, model string, vendor, device uint16) *bom.Part {
	name := cmp.Or(address, "redfish "+strings.TrimPrefix(x.id, "/redfish/v1"))
	p := r.add(x, bom.Part{Class: bom.PCI, Subject: "pci:" + name, Location: finding.Location{Slot: slot}})
	x.set(p, "model", &p.Identity.Model, model)
	x.set(p, "maker", &p.Identity.Maker, ids.PCIVendor(vendor))
	p.Identity.MakerIDs = []string{fmt.Sprintf("pci:%04x", vendor)}
	p.Identity.Name = ids.PCIDevice(vendor, device)
	return p
}

var revision = regexp.MustCompile(`^0[xX]([0-9a-fA-F]{2})$`)

// function reads a PCI function (DSP0268, PCIeFunction).
func (r *reader) function(x *resource) {
	o := x.body
	model, vendor, device, ok := functionIDs(o.text("VendorId"), o.text("DeviceId"), o.text("SubsystemVendorId"), o.text("SubsystemId"))
	switch {
	case !ok:
		r.hardware(x, o, "a function without ids")
		return
	case r.functions[model] > 0:
		r.partOf[x.id] = r.functions[model] - 1 // told with its address by a resource of the vendor's
		return
	}
	p := r.addFunction(x, place(o), "", model, vendor, device)
	if m := revision.FindStringSubmatch(o.text("RevisionId")); m != nil {
		x.set(p, "revision", &p.Identity.Revision, strings.ToLower(m[1]))
	}
	if n, err := strconv.ParseUint(strings.ToLower(o.text("ClassCode")), 0, 24); err == nil && len(o.text("ClassCode")) == 8 {
		x.fact(p, "classCode", fmt.Sprintf("%06x", n))
	}
}

// hpeFunction reads iLO's own list of functions, which has their addresses.
func (r *reader) hpeFunction(x *resource) {
	o := x.body
	if strings.HasPrefix(o.text("Name"), "Empty ") {
		r.unread["type HpeServerPciDevice that are empty places"]++
		return
	}
	model, vendor, device, ok := functionIDs(o.text("VendorID"), o.text("DeviceID"), o.text("SubsystemVendorID"), o.text("SubsystemDeviceID"))
	if !ok {
		r.hardware(x, o, "a function without ids")
		return
	}
	p := r.addFunction(x, place(o), ids.Clean(o.text("DeviceLocation")), model, vendor, device)
	x.fact(p, "name", o.text("Name"))
	if r.functions[model] == 0 {
		r.functions[model] = len(r.inv.Parts)
	}
}

// device gives the functions of a device what the device says of itself.
func (r *reader) device(x *resource) {
	o := x.body
	if absent(o) {
		return
	}
	below := r.below(x)
	for _, i := range below {
		p := &r.inv.Parts[i]
		r.card(x, p)
		p.Location.Slot = cmp.Or(p.Location.Slot, label(o.object("Slot")), label(o))
	}
	if len(below) == 0 && o.text("Manufacturer")+o.text("Model")+o.text("PartNumber")+o.text("SerialNumber") != "" {
		r.hardware(x, o, "a device without functions that have ids")
	}
}

// card stores what a card has in its own memory and its functions only point at.
func (r *reader) card(x *resource, p *bom.Part) {
	x.set(p, "partNumber", &p.Identity.PartNumber, x.body.text("PartNumber"))
	x.set(p, "serial", &p.Identity.Serial, x.body.text("SerialNumber"))
	x.set(p, "firmware", &p.Identity.Firmware, x.body.text("FirmwareVersion"))
}

// below lists the functions that were read from a resource or from one below it.
func (r *reader) below(x *resource) []int {
	if r.functionsBelow == nil {
		r.functionsBelow = map[string][]int{}
		for id, i := range r.partOf {
			if r.inv.Parts[i].Class != bom.PCI {
				continue
			}
			for up := id; up != "/" && up != "."; up = path.Dir(up) {
				r.functionsBelow[up] = append(r.functionsBelow[up], i)
			}
		}
	}
	return r.functionsBelow[x.id]
}

// adapter gives the functions of a network adapter its numbers. It is told where
// no function of it is.
func (r *reader) adapter(x *resource) {
	o := x.body
	given := false
	var links []string
	o.links(&links)
	for _, l := range links {
		target := r.tree.resources[clean(l)]
		if target == nil || target.kind != "PCIeDevice" && target.kind != "PCIeFunction" {
			continue
		}
		for _, i := range r.below(target) {
			r.card(x, &r.inv.Parts[i])
			given = true
		}
	}
	for _, c := range o.list("Controllers") {
		if v := c.text("FirmwarePackageVersion"); v != "" {
			r.lose(x.file, "firmware %.100s of the package of %.100s", ids.Clean(v), ids.Clean(o.text("Model")))
		}
	}
	if !given {
		r.hardware(x, o, "an adapter without PCI ids; its ports are read")
	}
}

var address = regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)

// ethernet reads a port of the host, or one of a management controller, which the
// host does not see.
func (r *reader) ethernet(x *resource) {
	p := bom.Part{Class: bom.Network, Identity: bom.Identity{Model: "network port"}}
	if strings.Contains(x.id, "/managers/") {
		p = bom.Part{Class: bom.LAN, Identity: bom.Identity{Model: bom.ManagementPort}}
	}
	r.port(x, p, cmp.Or(x.body.text("PermanentMACAddress"), x.body.text("MACAddress")))
}

func (r *reader) networkFunction(x *resource) {
	e := x.body.object("Ethernet")
	r.port(x, bom.Part{Class: bom.Network, Identity: bom.Identity{Model: "network port"}}, cmp.Or(e.text("PermanentMACAddress"), e.text("MACAddress")))
}

func (r *reader) port(x *resource, as bom.Part, mac string) {
	mac = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(mac)), "-", ":")
	if !address.MatchString(mac) || mac == "00:00:00:00:00:00" || mac == "ff:ff:ff:ff:ff:ff" {
		r.unread["type "+x.kind+" without an address"]++
		return
	}
	if r.addresses[string(as.Class)+mac] {
		return // two resources tell of one port
	}
	r.addresses[string(as.Class)+mac] = true
	if as.Class == bom.LAN && ids.LocallyAdministered(mac) { // to its own host, with another address at each start
		as.Subject = "lan:" + path.Base(x.id)
		r.add(x, as)
		return
	}
	as.Subject, as.Identity.Name, as.Identity.MakerIDs = string(as.Class)+":"+mac, ids.OUI(mac), []string{"oui:" + strings.ReplaceAll(mac[:8], ":", "")}
	p := r.add(x, as)
	x.set(p, "serial", &p.Identity.Serial, mac)
}

// software reads the version of one firmware: into the part that it belongs to,
// else it is told.
func (r *reader) software(x *resource) {
	o := x.body
	version, name := ids.Clean(o.text("Version")), ids.Clean(cmp.Or(o.text("Name"), o.text("Id")))
	if version == "" {
		return
	}
	if r.told[version] {
		return // by the system or the manager
	}
	for _, item := range o.list("RelatedItem") {
		n, known := r.partOf[clean(item.text("@odata.id"))]
		if known && r.inv.Parts[n].Class != bom.System && r.inv.Parts[n].Identity.Firmware == "" {
			x.set(&r.inv.Parts[n], "firmware", &r.inv.Parts[n].Identity.Firmware, version)
			return
		}
	}
	r.lose(x.file, "firmware %.100s version %.100s belongs to no part", name, version)
}

// Draft makes the lines of a manifest of an inventory. What the machine itself
// words in another way is left out of the lines and told: a manifest with a
// controller's words in it would fit no evidence.
func Draft(inv *bom.Inventory, instances bool) ([]bom.Reference, map[bom.Class]bom.Closure, []Loss) {
	refs, closures := bom.Draft(inv, instances)
	var lost []Loss
	for i := range refs {
		r := &refs[i]
		omit := func(field string, v *string, why string) {
			if *v != "" {
				lost = append(lost, Loss{Where: r.Subject, What: fmt.Sprintf("%s %q: %s", field, *v, why)})
				*v = ""
			}
		}
		switch r.Class {
		case bom.BMC:
			omit("model", &r.Identity.Model, "a controller answers IPMI with a product number")
			omit("maker", &r.Identity.Maker, "a controller answers IPMI with an enterprise number")
			omit("firmware version", &r.Identity.Firmware, "a controller answers IPMI with two numbers")
		case bom.TPM:
			omit("firmware version", &r.Identity.Firmware, "a TPM answers with two words")
		case bom.Chassis:
			omit("model", &r.Identity.Model, "the firmware's table has another name for a chassis")
			omit("part number", &r.Identity.PartNumber, "the firmware's table has another name for a chassis")
		case bom.PCI:
			if !functionAddress.MatchString(r.Subject) {
				r.Subject = ""
			}
		}
	}
	// A line of which nothing but a maker is left fits no part for sure.
	refs = slices.DeleteFunc(refs, func(r bom.Reference) bool {
		return (r.Class == bom.BMC || r.Class == bom.Chassis) && r.Identity.Model+r.Identity.PartNumber+r.Identity.Serial == ""
	})
	return refs, closures, lost
}

var functionAddress = regexp.MustCompile(`^pci:[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
