package bom

import (
	"fmt"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/nvmeid"
)

// identified holds what a controller answered itself against what the kernel
// prints of it and against the registers of its PCI function. Where the kernel
// says nothing, the answer fills in.
func (r *reader) identified(p *Part, dir string) {
	name := dir + "/identify"
	data, err := r.b.Read(name)
	if err != nil {
		return
	}
	c, err := nvmeid.Parse(data)
	if err != nil {
		r.problem(name, 0, err.Error())
		return
	}
	for _, x := range c.Problems {
		r.problem(name, x.Offset, x.What)
	}
	at := func(offset, length int) origin {
		return r.origin(finding.SiliconAnswered, "nvme:identify", name, offset, length)
	}
	for _, x := range []struct {
		field, attr, own string
		dst              *string
		severity         finding.Severity
		origin           origin
	}{
		{"model", "model", c.Model, &p.Identity.Model, finding.High, at(nvmeid.ModelOffset, nvmeid.ModelLength)},
		{"serial", "serial", c.Serial, &p.Identity.Serial, finding.High, at(nvmeid.SerialOffset, nvmeid.SerialLength)},
		// Older kernels keep printing the version from before an update.
		{"firmware", "firmware_rev", c.Firmware, &p.Identity.Firmware, finding.Medium, at(nvmeid.FirmwareOffset, nvmeid.FirmwareLength)},
	} {
		printed := r.b.Text(dir + "/" + x.attr)
		if r.b.Has(dir+"/"+x.attr) && ids.Key(printed) != ids.Key(x.own) {
			r.contradiction(finding.SourcesContradict, p, fmt.Sprintf("%s %q in sysfs", x.field, ids.Clean(printed)), fmt.Sprintf("%q in Identify", ids.Clean(x.own)),
				"The drive answers otherwise than the system prints of it.", x.severity, r.whole(finding.SiliconAnswered, "nvme", dir+"/"+x.attr), x.origin)
		}
		p.set(x.field, x.dst, x.own, x.origin)
	}
	if c.OUI != 0 {
		p.fact(attrOUI, fmt.Sprintf("%06x", c.OUI), at(73, 3))
	}
	if c.GUID != [16]byte{} {
		p.fact("fguid", fmt.Sprintf("%x", c.GUID), at(112, 16))
	}
	p.fact("nqn", ids.Clean(c.NQN), at(768, len(c.NQN)))
	r.sameFunction(p, c, at(0, 4))
}

// sameFunction compares the vendor ids of a drive with those of the function
// that it answers on: they are the same values (figure 275, VID and SSVID).
func (r *reader) sameFunction(p *Part, c *nvmeid.Controller, o origin) {
	host := r.part(p.Attributes[attrHost])
	if host == nil {
		return
	}
	chip, board, _ := strings.Cut(host.Identity.Model, " ")
	vendor, _, _ := strings.Cut(chip, ":")
	subsystem, _, _ := strings.Cut(board, ":")
	for _, x := range []struct {
		what, registers string
		own             uint16
		severity        finding.Severity
	}{{"vendor", vendor, c.Vendor, finding.High}, {"subsystem vendor", subsystem, c.SubsystemVendor, finding.Medium}} {
		if own := fmt.Sprintf("%04x", x.own); x.own != 0 && x.registers != "" && x.registers != "0000" && x.registers != own {
			r.contradiction(finding.SourcesContradict, p, fmt.Sprintf("%s %s in the registers of %s", x.what, x.registers, host.Subject), x.what+" "+own+" in Identify",
				"The drive names another maker than the PCI function that it answers on.", x.severity, origin{source: finding.SiliconAnswered, basis: host.Values["model"].Basis}, o)
		}
	}
}
