package bom

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/usbdesc"
)

const (
	usbDevicesDir = "sys/bus/usb/devices"
	i2cDevices    = "sys/bus/i2c/devices"
)

var (
	usbPort  = regexp.MustCompile(`^\d{1,3}-\d{1,3}(\.\d{1,3})*$`)
	usbOther = regexp.MustCompile(`^usb\d{1,3}$|^\d{1,3}-[0-9.]{1,40}:\d{1,3}\.\d{1,3}$`) // root hubs and interfaces
)

// bmcVirtual lists USB ids that management controllers present to their host:
// hubs, keyboards, drives and network ports that come and go with sessions.
var bmcVirtual = map[string]bool{
	"046b:ff01": true, "046b:ff10": true, "046b:ff20": true, "046b:ff31": true, "046b:ffb0": true, // AMI
	"0624:0248": true, "0624:0249": true, "0624:0251": true, "0624:0200": true, // Avocent
	"413c:a001": true, "413c:a102": true, // iDRAC
	"04b3:4010": true, // IMM
}

// usbDevices reads the devices on USB. Root hubs are part of their controller
// and are left out.
func (r *reader) usbDevices() {
	names := r.b.Dir(usbDevicesDir)
	if len(names) == 0 {
		r.unseen(USB, usbDevicesDir)
		return
	}
	r.seen(USB, true, "", finding.SiliconAnswered)
	for _, name := range names {
		dir := usbDevicesDir + "/" + name
		switch {
		case !usbPort.MatchString(name):
			if !usbOther.MatchString(name) {
				r.partial(USB, dir+": the name is not that of a port")
			}
		case r.b.Has(dir + "/idVendor"):
			r.usbDevice(name, dir)
		default:
			r.partial(USB, dir+"/idVendor is not in the bundle")
		}
	}
}

func (r *reader) usbDevice(port, dir string) {
	o := r.whole(finding.SiliconAnswered, "usb", dir+"/idVendor")
	p := r.add(Part{Class: USB, Subject: "usb:" + port, Location: finding.Location{Path: cmp.Or(sysfsPath(r.b.Text(dir+"/path")), "usb/"+port)}})
	vendor, _ := number(r.b.Text(dir + "/idVendor"))
	product, _ := number(r.b.Text(dir + "/idProduct"))
	p.set("model", &p.Identity.Model, word(vendor)+":"+word(product), o)
	p.set("maker", &p.Identity.Maker, ids.USBVendor(uint16(vendor)), o)
	p.Identity.MakerIDs = []string{"usb:" + word(vendor)}
	p.Identity.Name = ids.Clean(r.b.Text(dir + "/product"))
	for _, k := range []string{"product", "manufacturer"} {
		p.says(k, r.b.Text(dir+"/"+k), r.whole(finding.SiliconAnswered, "usb", dir+"/"+k))
	}
	p.set("serial", &p.Identity.Serial, r.b.Text(dir+"/serial"), r.whole(finding.SiliconAnswered, "usb", dir+"/serial"))
	p.set("revision", &p.Identity.Revision, r.b.Text(dir+"/bcdDevice"), r.whole(finding.SiliconAnswered, "usb", dir+"/bcdDevice"))
	switch {
	case bmcVirtual[p.Identity.Model]:
		p.Volatile = BMCVirtual
	case r.b.Text(dir+"/removable") == "removable":
		p.Volatile = Removable
	}
	r.usbDescriptors(p, dir)
}

// usbDescriptors notes which functions a device offers: a drive that is also a
// keyboard is another device than the drive it calls itself.
func (r *reader) usbDescriptors(p *Part, dir string) {
	name := dir + "/descriptors"
	data, err := r.b.Read(name)
	if err != nil {
		return
	}
	d, err := usbdesc.Parse(data)
	if err != nil {
		r.problem(name, 0, err.Error())
		return
	}
	for _, x := range d.Problems {
		r.problem(name, x.Offset, x.What)
	}
	o := r.whole(finding.SiliconAnswered, "usb:descriptors", name)
	var classes []string
	for _, c := range d.Configurations {
		for _, i := range c.Interfaces {
			classes = append(classes, fmt.Sprintf("%02x%02x%02x", i.Class, i.Subclass, i.Protocol))
		}
	}
	slices.Sort(classes)
	p.fact(attrInterfaces, strings.Join(slices.Compact(classes), ","), o)
	if v, q := d.Vendor, d.Product; p.Identity.Model != fmt.Sprintf("%04x:%04x", v, q) {
		r.contradiction(finding.SourcesContradict, p, fmt.Sprintf("descriptor %04x:%04x", v, q), "attribute "+p.Identity.Model,
			"The attribute files and the descriptors of the device disagree.", finding.High, o)
	}
}

// i2cAddress is the 7-bit address in a client name such as "0-0050".
func i2cAddress(client string) (int, bool) {
	_, addr, ok := strings.Cut(client, "-")
	n, err := strconv.ParseUint(addr, 16, 16)
	return int(n), ok && err == nil && n < 0x80
}

// i2cDevices reads the clients that kernel drivers bound, and a listing of
// answering addresses where an operator took one. Assay itself never probes.
func (r *reader) i2cDevices() {
	listed := map[string]bool{}
	hosts := r.spdHosts()
	for _, client := range r.b.Dir(i2cDevices) {
		if i2cAdapter.MatchString(client) {
			continue
		}
		listed[client] = true
		dir := i2cDevices + "/" + client
		o := r.whole(finding.FirmwareTold, "i2c", dir+"/name")
		p := r.add(Part{Class: I2C, Subject: "i2c:" + client, Location: finding.Location{Path: "i2c/" + client}})
		p.set("model", &p.Identity.Model, r.b.Text(dir+"/name"), o)
		if host := hosts[client]; host != "" {
			p.Package = host
			p.fact(attrHost, host, o)
		}
	}
	if len(listed) > 0 {
		r.seen(I2C, true, "", finding.FirmwareTold)
	} else {
		r.unseen(I2C, i2cDevices)
	}
	r.i2cListings(listed)
}

// spdHosts maps clients to the memory modules whose SPD is there.
func (r *reader) spdHosts() map[string]string {
	out := map[string]string{}
	for i := range r.inv.Parts {
		p := &r.inv.Parts[i]
		if client := p.Attributes["spdClient"]; p.Class == Memory && client != "" {
			out[client] = p.Subject
		}
	}
	return out
}

var (
	i2cAdapter = regexp.MustCompile(`^i2c-\d{1,4}$`)
	i2cListing = regexp.MustCompile(`^i2c/detect-(\d{1,3})\.txt$`)
)

// unboundClient stands for the identity of a client that answers and that no
// driver bound: where it sits is all that is known.
const unboundClient = "answers, no driver bound"

// i2cListings reads listings in the form of i2cdetect.
func (r *reader) i2cListings(bound map[string]bool) {
	for _, name := range r.b.Glob("i2c/detect-*.txt") {
		m := i2cListing.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		data, err := r.b.Read(name)
		if err != nil {
			continue
		}
		o := r.whole(finding.SiliconAnswered, "i2cdetect", name)
		for _, addr := range i2cAnswers(data) {
			client := fmt.Sprintf("%s-%04x", m[1], addr)
			if bound[client] {
				continue
			}
			p := r.add(Part{Class: I2C, Subject: "i2c:" + client, Location: finding.Location{Path: "i2c/" + client}})
			p.set("model", &p.Identity.Model, unboundClient, o)
		}
		r.seen(I2C, true, "", finding.SiliconAnswered)
	}
}

// i2cAnswers lists the addresses that answered in one listing.
func i2cAnswers(listing []byte) []int {
	var out []int
	for line := range bytes.SplitSeq(listing, []byte("\n")) {
		if len(line) < 3 || line[0] < '0' || line[0] > '7' || line[1] != '0' || line[2] != ':' {
			continue
		}
		row := int(line[0]-'0') << 4
		cells := line[3:]
		for col := 0; col < 16 && len(cells) >= 3*(col+1); col++ {
			cell := string(bytes.TrimSpace(cells[3*col : 3*col+3]))
			if cell == "UU" || cell == hexadecimal(uint64(row|col), 2) {
				out = append(out, row|col)
			}
		}
	}
	return out
}
