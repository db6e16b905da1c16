package bom

import (
	"bytes"
	"regexp"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
)

const deviceTree = "sys/firmware/devicetree/base"

// compatible is the first name of a list, the most specific one.
var compatible = regexp.MustCompile(`^([A-Za-z0-9.+_-]{1,64}),([A-Za-z0-9.+_-]{1,64})\x00`)

// deviceTree reads what a board without SMBIOS calls itself: boards with a
// management controller or an embedded processor are described by a device tree
// (Devicetree Specification 2.3.1 and 2.3.2). Its boot loader hands it over, so
// that it is as good as the firmware is.
func (r *reader) deviceTree() {
	names, err := r.b.Read(deviceTree + "/compatible")
	if err != nil {
		return
	}
	name := compatible.FindSubmatch(names)
	if name == nil {
		r.problem(deviceTree+"/compatible", 0, "no \"maker,model\" that ends with a zero byte")
		return
	}
	told := func(name string) (string, origin) {
		b, _ := r.b.Read(deviceTree + "/" + name)
		b, _, _ = bytes.Cut(b, []byte{0})
		return string(b), r.whole(finding.FirmwareTold, "devicetree", deviceTree+"/"+name)
	}
	r.seen(System, true, "", finding.FirmwareTold)
	p := r.add(Part{Class: System, Subject: "system"})
	_, o := told("compatible")
	p.set("maker", &p.Identity.Maker, string(name[1]), o)
	p.set("model", &p.Identity.Model, string(name[2]), o)
	serial, o := told("serial-number")
	p.set("serial", &p.Identity.Serial, serial, o)
	called, o := told("model")
	p.Identity.Name = ids.Clean(called)
	p.says("name", called, o)
	r.placeholders(p, "serial")
}
