package bom

import (
	"slices"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/drvinfo"
	"github.com/assay-hw/assay/internal/ids"
)

// portDriver reads what the driver of a port says of itself and of the firmware
// of its device.
func (r *reader) portDriver(p *Part, dir, path string) {
	name := dir + "/ethtool"
	data, err := r.b.Read(name)
	if err != nil {
		return
	}
	d, err := drvinfo.Parse(data)
	if err != nil {
		r.problem(name, 0, err.Error())
		return
	}
	for _, x := range d.Problems {
		r.problem(name, x.Offset, x.What)
	}
	at := func(offset int) origin {
		return r.origin(finding.SiliconAnswered, "ethtool", name, offset, drvinfo.TextLength)
	}
	p.set("firmware", &p.Identity.Firmware, d.Firmware, at(drvinfo.FirmwareOffset))
	p.fact("driverVersion", ids.Clean(d.Version), at(36))
	// Drivers of other buses name their device in their own way.
	if _, _, ok := pciAddress(d.Bus); ok && !slices.Contains(pciAddresses(path), d.Bus) {
		r.contradiction(finding.SourcesContradict, p, "the device at "+path, "the device at "+d.Bus,
			"The driver of the port names another device than the one that the port belongs to.", finding.Medium, at(drvinfo.BusOffset))
	}
}
