package bom

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/oprom"
	"github.com/assay-hw/assay/internal/pciconf"
)

const pciDevices = "sys/bus/pci/devices"

// spotReads is the number of functions below which a listing without sysfs's
// own attributes is taken for single reads and not for an inventory.
const spotReads = 4

// function is one PCI function while the inventory is built.
type function struct {
	bdf      string
	dir      string
	bus      string // "0000:00"
	devfn    string // "1f.2"
	config   *pciconf.Config
	origin   origin
	text     functionText
	part     *Part
	children int
}

// functionText is what sysfs's attribute files of a function say.
type functionText struct {
	vendor, device, subsystemVendor, subsystemDevice, class, revision string
	path, physfn, driver, label                                       string
}

// pciFunctions reads every function under /sys/bus/pci.
func (r *reader) pciFunctions() {
	names := r.b.Dir(pciDevices)
	if len(names) == 0 {
		r.unseen(PCI, pciDevices)
		return
	}
	fns := make([]*function, 0, len(names))
	whole := len(names) >= spotReads
	for _, name := range names {
		bus, devfn, ok := pciAddress(name)
		if !ok {
			r.problem(pciDevices+"/"+name, 0, "name is not a PCI address")
			r.partial(PCI, pciDevices+"/"+name+": the name is not a PCI address")
			continue
		}
		f := &function{bdf: name, dir: pciDevices + "/" + name, bus: bus, devfn: devfn}
		whole = whole || r.b.Has(f.dir+"/resource") || r.b.Has(f.dir+"/path")
		r.readFunction(f)
		fns = append(fns, f)
	}
	r.inv.Parts = slices.Grow(r.inv.Parts, len(fns))
	r.seen(PCI, whole, fmt.Sprintf("only %d functions were read one by one; that is no inventory", len(fns)), finding.SiliconAnswered)
	r.placeFunctions(fns)
	byAddress := make(map[string]*function, len(fns))
	for _, f := range fns {
		byAddress[f.bdf] = f
	}
	for _, f := range fns {
		r.finishFunction(f, byAddress)
		r.pathAgrees(f, byAddress)
	}
	r.undriven(fns)
	r.slots(fns)
}

func (r *reader) readFunction(f *function) {
	say := func(name string) string { return r.b.Attribute(f.dir, name) }
	f.text = functionText{
		vendor: say("vendor"), device: say("device"), subsystemVendor: say("subsystem_vendor"), subsystemDevice: say("subsystem_device"),
		class: say("class"), revision: say("revision"), path: say("path"), physfn: say("physfn"), driver: say("driver"), label: say("label"),
	}
	f.origin = r.whole(finding.SiliconAnswered, "pci", f.dir+"/vendor")
	data, err := r.b.Read(f.dir + "/config")
	if err != nil {
		return
	}
	c, err := pciconf.Parse(data)
	if err != nil {
		r.problem(f.dir+"/config", 0, err.Error())
		return
	}
	for _, p := range c.Problems {
		r.problem(f.dir+"/config", p.Offset, p.What)
	}
	f.config = c
	f.origin = r.origin(finding.SiliconAnswered, "pci:config", f.dir+"/config", 0, 64)
}

// number reads a sysfs attribute such as "0x8086"; ok is false when it is not
// one.
func number(s string) (n uint64, ok bool) {
	if s == "" {
		return 0, false
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(s, "0x"), 16, 32)
	return n, err == nil
}

// functionValues is how many values most functions have: a map of them that grows
// is made twice.
const functionValues = 12

// finishFunction turns a function into a part.
func (r *reader) finishFunction(f *function, all map[string]*function) {
	p := r.add(Part{Class: PCI, Subject: "pci:" + f.bdf, Location: f.part.Location, Values: make(map[string]Value, functionValues)})
	f.part = p
	r.identify(f)
	r.agree(f)
	if f.config != nil {
		r.registers(f)
	}
	r.optionROM(f)
	r.vpd(f)
	if f.text.physfn != "" {
		if isVirtualFunction(f, all) {
			p.Volatile = VirtualFunction
			p.Package = "pci:" + f.text.physfn
		} else {
			r.inv.Findings = append(r.inv.Findings, notAVirtualFunction(f))
		}
	}
	if p.Package == "" && internalFunction(f) {
		p.Package = internalPackage + f.bus
		p.fact(attrPackage, p.Package, f.origin)
	}
}

// identify sets the ids of a function, from its registers where they were
// read.
func (r *reader) identify(f *function) {
	p := f.part
	vendor, _ := number(f.text.vendor)
	device, _ := number(f.text.device)
	class, _ := number(f.text.class)
	revision, revisionRead := number(f.text.revision)
	subVendor, _ := number(f.text.subsystemVendor)
	sub, _ := number(f.text.subsystemDevice)
	if c := f.config; c != nil {
		vendor, device, class = uint64(c.Vendor), uint64(c.Device), uint64(c.Class)
		revision, revisionRead = uint64(c.Revision), true
		if c.SubsystemOffset > 0 {
			subVendor, sub = uint64(c.SubsystemVendor), uint64(c.SubsystemID)
		}
	}
	p.set("model", &p.Identity.Model, word(vendor)+":"+word(device)+" "+word(subVendor)+":"+word(sub), f.origin)
	p.set("maker", &p.Identity.Maker, ids.PCIVendor(uint16(vendor)), f.origin)
	p.Identity.MakerIDs = []string{"pci:" + word(vendor)}
	p.Identity.Name = ids.PCIDevice(uint16(vendor), uint16(device))
	if revisionRead {
		p.set("revision", &p.Identity.Revision, hexadecimal(revision, 2), f.origin)
	}
	p.fact(attrClassCode, hexadecimal(class, 6), f.origin)
}

// word writes an id as registries do.
func word(n uint64) string { return hexadecimal(n, 4) }

// hexadecimal writes a number with so many digits at least.
func hexadecimal(n uint64, digits int) string {
	var all [16]byte
	at := len(all)
	for ; n > 0 || at > len(all)-digits; n >>= 4 {
		at--
		all[at] = "0123456789abcdef"[n&0xf]
	}
	return string(all[at:])
}

// agree compares what the kernel prints with what the registers hold. The two
// come from one device; a difference means that one of them was edited.
func (r *reader) agree(f *function) {
	if f.config == nil {
		return
	}
	t, subsystem := &f.text, f.config.SubsystemOffset > 0
	for _, k := range [...]struct {
		attr string
		said string
		skip bool
		reg  uint64
		off  int
		size int
		mask uint64
	}{
		{"vendor", t.vendor, false, uint64(f.config.Vendor), 0, 2, 0xffff},
		{"device", t.device, false, uint64(f.config.Device), 2, 2, 0xffff},
		{"class", t.class, false, uint64(f.config.Class), 9, 3, 0xffffff},
		{"revision", t.revision, false, uint64(f.config.Revision), 8, 1, 0xff},
		{"subsystem_vendor", t.subsystemVendor, !subsystem, uint64(f.config.SubsystemVendor), f.config.SubsystemOffset, 2, 0xffff},
		{"subsystem_device", t.subsystemDevice, !subsystem, uint64(f.config.SubsystemID), f.config.SubsystemOffset + 2, 2, 0xffff},
	} {
		n, ok := number(k.said)
		if !ok || n&k.mask == k.reg || f.config.Vendor == 0xffff || k.skip {
			continue
		}
		r.contradiction(finding.SourcesContradict, f.part, fmt.Sprintf("%s %#x", k.attr, k.reg), fmt.Sprintf("%s %#x", k.attr, n),
			"The attribute file and the configuration space of the function disagree.", finding.High,
			r.whole(finding.SiliconAnswered, "pci", f.dir+"/"+k.attr), r.origin(finding.SiliconAnswered, "pci:config", f.dir+"/config", k.off, k.size))
	}
}

// registers notes the facts that the configuration space answers.
func (r *reader) registers(f *function) {
	p, c, o := f.part, f.config, f.origin
	if c.DSN != 0 && c.DSN != ^uint64(0) {
		p.set("serial", &p.Identity.Serial, "dsn:"+hexadecimal(c.DSN, 16), o)
	}
	if whole := c.Size >= 4096 || c.Express == nil && c.Size >= 256; whole && len(c.Unread) == 0 {
		sum := sha256.Sum256([]byte(c.Fingerprint()))
		p.fact(attrCapabilities, hex.EncodeToString(sum[:8]), o)
	}
	if c.HeaderType == 0 {
		if c.Command&4 != 0 {
			p.fact(attrBusMaster, "on", o)
		}
		if dmaCapable(c) {
			p.fact(attrDMA, "capable", o)
		}
	}
	if e := c.Express; e != nil && e.MaxWidth > 0 && e.PortType != 9 && e.PortType != 10 {
		p.fact(attrLinkWidth, strconv.Itoa(int(e.MaxWidth)), o)
		p.fact(attrLinkSpeed, strconv.Itoa(int(e.MaxSpeed)), o)
	}
	if e := c.Express; e != nil && e.Slot != nil && e.Slot.PowerController {
		power := "on"
		if e.Slot.PowerOff {
			power = "off"
		}
		p.fact(attrSlotPower, power, o)
	}
	p.fact("driver", f.text.driver, r.whole(finding.FirmwareTold, "pci", f.dir+"/driver"))
}

// undriven notes devices that may start transfers although no driver controls them
// (PCI Local Bus 3.0, 6.2.2, bit 2 of the command register). Only evidence that has
// the drivers of other functions shows that this one has none. What firmware leaves
// on is left out: display, memory and system devices, bridges, and what a chipset
// talks to itself with (classes 03, 05, 06, 07, 08, 11).
func (r *reader) undriven(fns []*function) {
	if !slices.ContainsFunc(fns, func(f *function) bool { return f.text.driver != "" }) {
		return
	}
	for _, f := range fns {
		class := f.part.Attributes[attrClassCode]
		switch {
		case f.part.Attributes[attrBusMaster] == "" || f.text.driver != "" || r.listed(f.dir+"/driver"):
		case f.text.physfn != "" || class == "" || strings.Contains("03 05 06 07 08 11", class[:2]) || strings.HasPrefix(class, "0c05"):
		default:
			f.part.fact(attrUndriven, "on", f.origin)
		}
	}
}

// dmaCapable reports whether a device has what it takes to start transfers by
// itself: message signalled interrupts are memory writes, and every PCI Express
// endpoint may be given bus mastership.
func dmaCapable(c *pciconf.Config) bool {
	for _, x := range c.Capabilities {
		if x.ID == 0x05 || x.ID == 0x11 {
			return true
		}
	}
	return c.Express != nil && c.Express.PortType <= 1
}

// internalPackage begins the name of a package that functions are inside of.
const internalPackage = "package:"

// internalFunction reports whether a function is part of a processor or
// chipset: root bus, no slot, and a class that no card has.
func internalFunction(f *function) bool {
	if strings.Count(f.part.Location.Path, "/") != 1 || f.part.Location.Slot != "" {
		return false
	}
	switch f.part.Attributes[attrClassCode] {
	case "088000", "110100", "118000", "060000":
		return true
	}
	return false
}

// isVirtualFunction checks the kernel's claim against the physical function's
// own registers (PCIe 6.0, 9.2.1.2): a link alone could hide an added device.
func isVirtualFunction(f *function, all map[string]*function) bool {
	pf := all[f.text.physfn]
	if pf == nil || pf.config == nil || pf.config.SRIOV == nil {
		return false
	}
	s := pf.config.SRIOV
	base, ok1 := routingID(pf)
	id, ok2 := routingID(f)
	if !ok1 || !ok2 || !s.Enabled || s.NumVFs == 0 || pf.bus[:len(pf.bus)-2] != f.bus[:len(f.bus)-2] {
		return false
	}
	if device, ok := number(f.text.device); ok && device != uint64(s.VFDevice) {
		return false // all of them have the device id that the capability names
	}
	first := base + int(s.FirstOffset)
	if s.NumVFs == 1 || s.Stride == 0 {
		return id == first
	}
	n := id - first
	return n >= 0 && n%int(s.Stride) == 0 && n/int(s.Stride) < int(s.NumVFs)
}

// pathAgrees holds the place that the kernel names against the registers of the
// bridge above: a path alone must not turn another chain of bridges into the
// declared one.
func (r *reader) pathAgrees(f *function, all map[string]*function) {
	chain := pciAddresses(f.text.path)
	if len(chain) < 2 || f.text.physfn != "" {
		return
	}
	up := all[chain[len(chain)-2]]
	if up == nil || up.config == nil || up.config.HeaderType != 1 {
		return
	}
	bus, err := strconv.ParseUint(f.bus[len(f.bus)-2:], 16, 8)
	if err != nil || up.bus[:len(up.bus)-2] != f.bus[:len(f.bus)-2] || chain[len(chain)-1] == f.bdf && uint64(up.config.Secondary) == bus {
		return
	}
	r.contradiction(finding.SourcesContradict, f.part, fmt.Sprintf("%s leads to bus %02x", up.bdf, up.config.Secondary), "path "+strings.Join(chain, "/"),
		"The path of the function and the registers of the bridge above it disagree about where it sits.", finding.High,
		r.whole(finding.FirmwareTold, "pci", f.dir+"/path"), r.origin(finding.SiliconAnswered, "pci:config", up.dir+"/config", 0x18, 3))
}

// routingID is bus, device and function as one number.
func routingID(f *function) (int, bool) {
	bus, err1 := strconv.ParseUint(f.bus[len(f.bus)-2:], 16, 8)
	dev, err2 := strconv.ParseUint(f.devfn[:2], 16, 8)
	fn, err3 := strconv.ParseUint(f.devfn[3:], 16, 8)
	return int(bus)<<8 | int(dev)<<3 | int(fn), err1 == nil && err2 == nil && err3 == nil
}

func notAVirtualFunction(f *function) finding.Finding {
	x := finding.New(finding.SourcesContradict, "pci:"+f.bdf)
	x.Severity, x.Location = finding.Medium, f.part.Location
	x.Want, x.Got = "a virtual function of "+f.text.physfn, "not covered by its SR-IOV capability"
	x.Why = "The kernel calls this function virtual, but the registers of the physical function do not create it, or could not be read."
	x.Sources = []finding.Source{finding.SiliconAnswered}
	x.Basis = []finding.Basis{f.origin.basis}
	return x
}

// optionROM notes which images a device answers with. Images for the old BIOS
// are left out for display devices: the system keeps a shadow copy that it
// changes while it runs.
func (r *reader) optionROM(f *function) {
	name := f.dir + "/rom"
	data, err := r.b.Read(name)
	none := r.noWindow(f.dir + "/resource")
	if err != nil {
		if none && !r.listed(name) {
			f.part.fact(attrOptionROM, "none", r.whole(finding.SiliconAnswered, "pci:resource", f.dir+"/resource"))
		}
		return
	}
	if none {
		r.contradiction(finding.SourcesContradict, f.part, "no window for a ROM", fmt.Sprintf("a ROM of %d bytes", len(data)),
			"The device has no window through which a ROM could be read, and the evidence holds one.", finding.High,
			r.whole(finding.SiliconAnswered, "pci:resource", f.dir+"/resource"), r.whole(finding.PartMemory, "pci:rom", name))
	}
	images, err := oprom.Parse(data)
	if err != nil && len(images) == 0 {
		r.problem(name, 0, err.Error())
		return
	}
	display := strings.HasPrefix(f.part.Attributes[attrClassCode], "03")
	h, n := sha256.New(), 0
	for _, im := range images {
		if display && im.CodeType == oprom.PCAT {
			continue
		}
		h.Write(im.Bytes)
		n++
	}
	o := r.whole(finding.PartMemory, "pci:rom", name)
	if n > 0 {
		f.part.fact(attrOptionROM, hex.EncodeToString(h.Sum(nil)), o)
	}
}

// noWindow reports whether the line of the ROM in sysfs's resource file says that
// there is none.
func (r *reader) noWindow(name string) bool {
	const lineOfROM = 6
	rest, _ := r.b.Read(name)
	rest = bytes.Trim(rest, " \t\r\n\x00")
	for range lineOfROM {
		_, behind, ok := bytes.Cut(rest, []byte("\n"))
		if !ok {
			return false
		}
		rest = behind
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return zeroResource(line)
}

func (r *reader) listed(name string) bool {
	_, ok := r.b.Artifact(name)
	return ok
}

// zeroResource reports whether a line of sysfs's resource file is unused.
func zeroResource(line []byte) bool {
	for w := range bytes.FieldsSeq(line) {
		if len(bytes.Trim(w, "0x")) > 0 {
			return false
		}
	}
	return len(line) > 0
}

// vpd reads the vital product data, which names the card and not the chip.
func (r *reader) vpd(f *function) {
	name := f.dir + "/vpd"
	data, err := r.b.Read(name)
	if err != nil {
		return
	}
	v, err := pciconf.ParseVPD(data)
	if err != nil {
		return // many devices answer with erased memory here
	}
	for _, p := range v.Problems {
		r.problem(name, p.Offset, p.What)
	}
	o := r.whole(finding.PartMemory, "pci:vpd", name)
	p := f.part
	p.set("partNumber", &p.Identity.PartNumber, v.Field("PN"), o)
	p.set("serial", &p.Identity.Serial, v.Field("SN"), o)
	if v.Checksum == pciconf.VPDChecksumBad {
		r.contradiction(finding.IntegrityBroken, p, "checksum holds", "checksum broken", "The checksum over the device's vital product data does not hold.", finding.Medium, o)
	}
}

// placeFunctions finds where each function sits: the chain of device and
// function numbers from its root, which stays the same when buses are
// renumbered, and the slot label that the firmware gives.
func (r *reader) placeFunctions(fns []*function) {
	bridge := map[string]*function{} // bus to the bridge that leads to it
	for _, f := range fns {
		if f.config != nil && f.config.HeaderType == 1 && f.config.Secondary > f.config.Primary {
			bridge[f.bus[:len(f.bus)-2]+hexadecimal(uint64(f.config.Secondary), 2)] = f
		}
	}
	for _, f := range fns {
		loc := finding.Location{Path: cmp.Or(sysfsPath(f.text.path), busPath(f, bridge))}
		loc.Designator = cmp.Or(slug(ids.Clean(f.text.label)), r.labelAt[f.bdf])
		loc.Slot = r.slotOf(f, bridge)
		f.part = &Part{Location: loc}
		if up := bridge[f.bus]; up != nil {
			up.children++
		}
	}
}

// sysfsPath turns /sys/devices/pci0000:00/0000:00:04.0/0000:03:00.0 into
// pci0000:00/04.0/00.0. Other components, such as those of a VMD, are kept.
func sysfsPath(path string) string {
	_, rest, ok := strings.Cut(path, "/devices/")
	if !ok {
		return ""
	}
	var out strings.Builder
	out.Grow(len(rest))
	separator := ""
	for c := range strings.SplitSeq(rest, "/") {
		if _, devfn, ok := pciAddress(c); ok {
			c = devfn
		}
		out.WriteString(separator)
		out.WriteString(c)
		separator = "/"
	}
	return out.String()
}

// busPath derives the same chain from the bridges' own registers.
func busPath(f *function, bridge map[string]*function) string {
	path := f.devfn
	for at, hops := f, 0; ; hops++ {
		up := bridge[at.bus]
		if up == nil || up == at || hops == 256 {
			return "pci" + at.bus + "/" + path
		}
		path = up.devfn + "/" + path
		at = up
	}
}

// slotOf looks for the label of the slot that a function sits in: its own
// address, its device's, or that of a port above it.
func (r *reader) slotOf(f *function, bridge map[string]*function) string {
	for at, hops := f, 0; at != nil && hops < 256; at, hops = bridge[at.bus], hops+1 {
		if s := r.slotAt[at.bdf]; s != "" {
			return s
		}
		if s := r.slotAt[at.bdf[:len(at.bdf)-1]+"0"]; s != "" {
			return s
		}
	}
	return ""
}

// fillSlots names the part in each slot: the first function that sits in it and
// leads nowhere else. Firmware gives a slot the address of the card or that of
// the port above it.
func (r *reader) fillSlots() {
	first := map[string]string{} // slot to subject
	for i := range r.inv.Parts {
		p := &r.inv.Parts[i]
		if s, told := first[p.Location.Slot]; p.Class == PCI && !strings.HasPrefix(p.Attributes[attrClassCode], "0604") && (!told || p.Subject < s) {
			first[p.Location.Slot] = p.Subject
		}
	}
	for i := range r.inv.Places {
		if pl := &r.inv.Places[i]; pl.Kind == "slot" && pl.Subject == "" {
			pl.Subject = first[pl.Designator]
		}
	}
}
