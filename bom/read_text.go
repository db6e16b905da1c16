package bom

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/lshw"
	"github.com/assay-hw/assay/internal/pciconf"
	"github.com/assay-hw/assay/internal/smbios"
)

// The names of texts, in the bases of what was read from them.
const (
	dmidecodeText = "dmidecode.txt"
	lspciText     = "lspci.txt"
	lshwText      = "lshw"
)

var handleLine = regexp.MustCompile(`(?m)^\s*Handle 0x[0-9A-Fa-f]{1,4}(, DMI type \d{1,3}, \d+ bytes\.?)?\r?$`)

// readText reads what a tool printed in words, or returns nothing when the bytes
// are no such text.
func readText(name string, data []byte) (*Inventory, error) {
	if lshw.Is(data) {
		return readLshw(name, data)
	}
	utf16 := bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff"))
	if !utf16 && bytes.IndexByte(data[:min(len(data), 4096)], 0) >= 0 {
		return nil, nil
	}
	if utf16 || handleLine.Match(data) {
		t, err := smbios.ParseText(data)
		if err != nil {
			return nil, nil //nolint:nilerr // not dmidecode's
		}
		return textInventory(name, dmidecodeText, data, func(r *reader) { r.decoded(dmidecodeText, t, nil) })
	}
	if lspciAsTree(data) != nil {
		return nil, nil // the registers say more
	}
	if all, problems := pciconf.ParseListing(data); len(all) > 0 {
		return textInventory(name, lspciText, data, func(r *reader) {
			for _, p := range problems {
				r.problem(lspciText, p.Offset, p.What)
			}
			r.listing(lspciText, "lspci", all)
		})
	}
	return nil, nil
}

func textInventory(name, artifact string, data []byte, first func(*reader)) (*Inventory, error) {
	b, err := evidence.FromFiles(map[string][]byte{artifact: data}, name, evidence.Limits{})
	if err != nil {
		return nil, err
	}
	return read(b, first), nil
}

// listing reads functions that a tool printed in words. It says less than
// registers: what it does not say stays empty.
func (r *reader) listing(artifact, tool string, all []pciconf.Listed) {
	bridges := map[string]*function{}
	fns := make([]*function, len(all))
	for i, l := range all {
		bus, devfn, ok := pciAddress(l.Address)
		if !ok {
			r.problem(artifact, l.Offset, "not a PCI address: "+l.Address)
			continue
		}
		f := &function{bdf: l.Address, bus: bus, devfn: devfn}
		f.origin = r.origin(finding.SiliconAnswered, tool, artifact, l.Offset, l.Length)
		fns[i] = f
		domain, number := bus[:len(bus)-2], bus[len(bus)-2:]
		if l.Secondary != nil && hexadecimal(uint64(*l.Secondary), 2) > number {
			bridges[domain+hexadecimal(uint64(*l.Secondary), 2)] = f
		}
	}
	named := false
	for i, f := range fns {
		if f != nil {
			named = r.addListed(&all[i], f, bridges) || named
		}
	}
	reason := ""
	if named {
		reason = "some functions are named in words only; lspci -nn prints their ids"
	}
	r.seen(PCI, len(all) >= spotReads, cmp.Or(reason, "too few functions for an inventory"), finding.SiliconAnswered)
	if named {
		r.partial(PCI, reason)
	}
}

// addListed adds one function; the result says that its ids are not known.
func (r *reader) addListed(l *pciconf.Listed, f *function, bridges map[string]*function) bool {
	o := f.origin
	p := r.add(Part{Class: PCI, Subject: "pci:" + f.bdf, Location: finding.Location{Path: busPath(f, bridges), Slot: slug(ids.Clean(l.Slot)), Designator: slug(ids.Clean(l.Label))}})
	f.part = p
	if l.Vendor == nil || l.Device == nil {
		if v, d, ok := ids.PCINamed(l.Name); ok {
			l.Vendor, l.Device = &v, &d
		}
	}
	if l.Class != nil && l.Interface != nil {
		p.fact(attrClassCode, fmt.Sprintf("%04x%02x", *l.Class, *l.Interface), o)
	}
	if l.Serial != 0 && l.Serial != ^uint64(0) {
		p.set("serial", &p.Identity.Serial, fmt.Sprintf("dsn:%016x", l.Serial), o)
	}
	endpoint := l.Class == nil || *l.Class != 0x0604 && *l.Class != 0x0607
	if l.BusMaster && endpoint {
		p.fact(attrBusMaster, "on", o)
	}
	if l.DMA && endpoint {
		p.fact(attrDMA, "capable", o)
	}
	p.fact("driver", ids.Clean(l.Driver), o)
	if l.Vendor == nil || l.Device == nil {
		p.Identity.Name = ids.Clean(l.Name)
		return true
	}
	model := fmt.Sprintf("%04x:%04x", *l.Vendor, *l.Device)
	if l.SubVendor != nil && l.Sub != nil {
		model += fmt.Sprintf(" %04x:%04x", *l.SubVendor, *l.Sub)
	}
	p.set("model", &p.Identity.Model, model, o)
	p.set("maker", &p.Identity.Maker, ids.PCIVendor(*l.Vendor), o)
	p.Identity.MakerIDs = []string{fmt.Sprintf("pci:%04x", *l.Vendor)}
	p.Identity.Name = ids.PCIDevice(*l.Vendor, *l.Device)
	p.set("revision", &p.Identity.Revision, fmt.Sprintf("%02x", l.Revision), o)
	if internalFunction(f) {
		p.Package = internalPackage + f.bus
		p.fact(attrPackage, p.Package, o)
	}
	return false
}

// readLshw reads what lshw understood of the firmware's table and of the buses.
func readLshw(name string, data []byte) (*Inventory, error) {
	nodes, err := lshw.Parse(data)
	if err != nil {
		return nil, &evidence.FormatError{File: name, Msg: err.Error()}
	}
	return textInventory(name, lshwText, data, func(r *reader) {
		r.dmiName = lshwText
		t := lshwTable(nodes)
		r.table(t)
		for _, c := range smbiosClasses {
			r.partial(c, "lshw leaves out what it does not recognise")
		}
		if fns := lshwFunctions(nodes); len(fns) > 0 {
			r.listing(lshwText, "lshw", fns)
			r.partial(PCI, "lshw leaves out what it does not recognise")
		}
		for i := range nodes {
			r.lshwDevice(&nodes[i])
		}
		if used := len(r.inv.Parts); used == 0 {
			r.problem(lshwText, 0, "no part was recognised")
		}
	})
}

// lshwTable puts back into the form of the firmware's table what lshw took out of
// it.
func lshwTable(nodes []lshw.Node) *smbios.Table {
	t := &smbios.Table{}
	for i, n := range nodes {
		kind, _, _ := strings.Cut(n.ID, ":")
		h := smbios.Header{Handle: uint16(i), Offset: n.Offset}
		switch {
		case i == 0 && n.Class == "system":
			product := n.Product
			if at := strings.LastIndex(product, " ("); at > 0 && strings.HasSuffix(product, ")") {
				product = product[:at] // the SKU, which lshw puts behind the name
			}
			t.Systems = append(t.Systems, smbios.System{Header: h, Manufacturer: n.Vendor, Product: product, Version: n.Version, Serial: n.Serial, SKU: n.Config["sku"], UUID: strings.ToLower(n.Config["uuid"])})
		case kind == "core" && n.Class == "bus":
			t.Baseboards = append(t.Baseboards, smbios.Baseboard{Header: h, Manufacturer: n.Vendor, Product: n.Product, Version: n.Version, Serial: n.Serial})
		case kind == "firmware":
			t.BIOS = append(t.BIOS, smbios.BIOS{Header: h, Vendor: n.Vendor, Version: n.Version, ReleaseDate: n.Date})
		case kind == "cpu" && n.Class == "processor":
			cores, _ := strconv.Atoi(n.Config["cores"])
			populated := n.Product != "" && !strings.Contains(n.Description, "[empty]")
			t.Processors = append(t.Processors, smbios.Processor{Header: h, Socket: cmp.Or(n.Slot, n.Bus), Manufacturer: n.Vendor, Version: n.Product, Serial: n.Serial, Cores: cores, Populated: populated})
		case kind == "bank" && n.Class == "memory":
			d := smbios.MemoryDevice{Header: h, Locator: n.Slot, Manufacturer: n.Vendor, PartNumber: n.Product, Serial: n.Serial, Size: n.Size}
			d.Installed = !strings.Contains(n.Description, "[empty]") && (n.Size > 0 || n.Product != "")
			t.MemoryDevices = append(t.MemoryDevices, d)
		case kind == "power" && n.Class == "power":
			t.PowerSupplies = append(t.PowerSupplies, smbios.PowerSupply{Header: h, Name: n.ID, Manufacturer: n.Vendor, Model: n.Product, Serial: n.Serial, Present: true})
		}
	}
	return t
}

var lshwSecondary = regexp.MustCompile(`^PCIBUS:[0-9a-f]{4,8}:([0-9a-f]{2})$`)

// lshwFunctions lists the functions of PCI devices. Their ids are printed with
// -numeric only.
func lshwFunctions(nodes []lshw.Node) []pciconf.Listed {
	var out []pciconf.Listed
	seen := map[string]bool{}
	for _, n := range nodes {
		address, ok := strings.CutPrefix(n.Bus, "pci@")
		if _, _, is := pciAddress(address); !ok || !is || seen[address] {
			continue
		}
		seen[address] = true
		l := pciconf.Named(n.Vendor, n.Product)
		l.Address, l.Offset = address, n.Offset
		if r, err := strconv.ParseUint(n.Version, 16, 8); err == nil && len(n.Version) == 2 {
			l.Revision = uint8(r)
		}
		if m := lshwSecondary.FindStringSubmatch(n.Handle); m != nil {
			bus, _ := strconv.ParseUint(m[1], 16, 8)
			b := uint8(bus)
			l.Secondary = &b
		}
		l.Driver = n.Config["driver"]
		out = append(out, l)
	}
	return out
}

// lshwDevice adds drives and network ports.
func (r *reader) lshwDevice(n *lshw.Node) {
	kind, _, _ := strings.Cut(n.ID, ":")
	o := r.origin(finding.SiliconAnswered, "lshw", lshwText, n.Offset, 0)
	address, onPCI := strings.CutPrefix(n.Bus, "pci@")
	switch {
	case n.Class == "network" && onPCI:
		p := r.add(Part{Class: Network, Subject: "network:" + address, Identity: Identity{Model: "network port"}})
		r.lshwHost(p, address, o)
		mac := strings.ToLower(n.Serial)
		p.set("serial", &p.Identity.Serial, mac, o)
		p.set("firmware", &p.Identity.Firmware, n.Config["firmware"], o)
		p.Identity.Name = ids.OUI(mac)
		r.seen(Network, false, "lshw prints the address in use, which may not be the port's own", finding.SiliconAnswered)
	case kind == "nvme" && onPCI:
		p := r.add(Part{Class: Storage, Subject: "storage:nvme " + address})
		r.lshwHost(p, address, o)
		r.lshwDrive(p, n, o)
	case n.Class == "disk" && kind == "disk" && (n.Serial != "" || n.Product != ""):
		p := r.add(Part{Class: Storage, Subject: "storage:disk " + cmp.Or(ids.Clean(n.Serial), ids.Clean(n.Product))})
		p.set("maker", &p.Identity.Maker, n.Vendor, o)
		r.lshwDrive(p, n, o)
		if n.Size > 0 {
			p.fact(attrSizeMiB, strconv.FormatUint(n.Size>>20, 10), o)
		}
	}
}

func (r *reader) lshwHost(p *Part, address string, o origin) {
	if host := r.part("pci:" + address); host != nil {
		p.Location, p.Package = host.Location, host.Subject
		p.fact(attrHost, host.Subject, o)
	}
}

func (r *reader) lshwDrive(p *Part, n *lshw.Node, o origin) {
	p.set("model", &p.Identity.Model, n.Product, o)
	p.set("serial", &p.Identity.Serial, n.Serial, o)
	p.set("firmware", &p.Identity.Firmware, n.Version, o)
	r.seen(Storage, false, "lshw leaves out what it does not recognise", finding.SiliconAnswered)
}
