package bom

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/scsivpd"
)

const (
	nvmeDir  = "sys/class/nvme"
	blockDir = "sys/class/block"
	netDir   = "sys/class/net"

	ethernet = "1" // type of a port, ARPHRD_ETHER
)

// drives reads NVMe controllers and SCSI or ATA disks. Names such as sda change
// from boot to boot, so a drive is known by what it says of itself.
func (r *reader) drives() {
	nvme, block := r.b.Dir(nvmeDir), r.b.Dir(blockDir)
	if len(nvme)+len(block) == 0 {
		r.unseen(Storage, blockDir)
		return
	}
	r.seen(Storage, true, "", finding.SiliconAnswered)
	for _, name := range nvme {
		r.nvme(nvmeDir + "/" + name)
	}
	if len(block) == 0 {
		r.partial(Storage, blockDir+" is not in the bundle")
	}
	for _, name := range block {
		dir := blockDir + "/" + name
		switch {
		case strings.HasPrefix(name, "nvme"):
			if len(nvme) == 0 {
				r.partial(Storage, fmt.Sprintf("%s is listed, but %s is not in the bundle", dir, nvmeDir))
			}
		case r.b.Has(dir + "/device/model"):
			r.disk(dir)
		case r.namesItself(dir + "/device"):
			r.partial(Storage, dir+"/device/model is not in the bundle")
		}
	}
}

// namesItself reports whether a block device says anything of itself: a loop or
// RAM device does not, nor does a paravirtual disk, which is its PCI function.
func (r *reader) namesItself(dev string) bool {
	for _, attr := range []string{"serial", "wwid", "vpd_pg80", "vpd_pg83", "rev"} {
		if r.b.Has(dev + "/" + attr) {
			return true
		}
	}
	return false
}

func (r *reader) nvme(dir string) {
	model := r.b.Text(dir + "/model")
	if model == "" {
		r.partial(Storage, dir+"/model is not in the bundle")
		return
	}
	address := r.b.Text(dir + "/address")
	subject := "storage:nvme " + cmp.Or(address, ids.Clean(r.b.Text(dir+"/serial")), "without address")
	p := r.add(Part{Class: Storage, Subject: subject})
	if host := r.part("pci:" + address); host != nil {
		p.Location, p.Package = host.Location, host.Subject
		p.fact(attrHost, host.Subject, r.whole(finding.SiliconAnswered, "nvme", dir+"/address"))
	}
	p.set("model", &p.Identity.Model, model, r.whole(finding.SiliconAnswered, "nvme", dir+"/model"))
	p.set("serial", &p.Identity.Serial, r.b.Text(dir+"/serial"), r.whole(finding.SiliconAnswered, "nvme", dir+"/serial"))
	p.set("firmware", &p.Identity.Firmware, r.b.Text(dir+"/firmware_rev"), r.whole(finding.SiliconAnswered, "nvme", dir+"/firmware_rev"))
	r.identified(p, dir)
	r.capacity(p, r.namespaceOf(dir))
}

// namespaceOf is the first namespace of a controller: nvme0 has nvme0n1.
func (r *reader) namespaceOf(dir string) string {
	name := dir[strings.LastIndexByte(dir, '/')+1:]
	return blockDir + "/" + name + "n1"
}

// capacity notes the size of a drive; sysfs counts sectors of 512 bytes.
func (r *reader) capacity(p *Part, dir string) {
	name := dir + "/size"
	n, err := strconv.ParseUint(r.b.Text(name), 10, 54)
	if err != nil || n == 0 {
		return
	}
	p.fact(attrSizeMiB, strconv.FormatUint(n>>11, 10), r.whole(finding.SiliconAnswered, "block", name))
}

func (r *reader) disk(dir string) {
	dev := dir + "/device"
	serial := cmp.Or(r.b.Text(dev+"/serial"), pageSerial(r.b, dev+"/vpd_pg80"), r.b.Text(dev+"/wwid"))
	model := ids.Clean(r.b.Text(dev + "/model"))
	p := r.add(Part{Class: Storage, Subject: "storage:disk " + cmp.Or(ids.Clean(serial), model)})
	p.set("maker", &p.Identity.Maker, r.b.Text(dev+"/vendor"), r.whole(finding.SiliconAnswered, "scsi", dev+"/vendor"))
	p.set("model", &p.Identity.Model, model, r.whole(finding.SiliconAnswered, "scsi", dev+"/model"))
	p.set("serial", &p.Identity.Serial, serial, r.whole(finding.SiliconAnswered, "scsi", dev+"/vpd_pg80"))
	p.set("firmware", &p.Identity.Firmware, r.b.Text(dev+"/rev"), r.whole(finding.SiliconAnswered, "scsi", dev+"/rev"))
	if r.b.Text(dir+"/removable") == "1" {
		p.Volatile = Removable
	}
	p.place = sysfsPath(r.b.Text(dir + "/path"))
	r.worldwide(p, dev)
	r.capacity(p, dir)
}

// MarkBootMedium says that a disk, by its name in sysfs, is what the collector
// was started from: the disk and the USB device that shows it may come and go.
// A disk that no USB device shows, or one with other functions than storage,
// stays as it is; the result is false then.
func (inv *Inventory) MarkBootMedium(name string) bool {
	disk := slices.IndexFunc(inv.Parts, func(p Part) bool {
		return p.Class == Storage && p.Values["model"].Basis.Artifact == blockDir+"/"+name+"/device/model"
	})
	if disk < 0 {
		return false
	}
	device := above(inv.usbPlaces(), &inv.Parts[disk])
	if device == nil || !onlyStorage(device) {
		return false
	}
	inv.Parts[disk].Volatile, device.Volatile = BootMedium, BootMedium
	return true
}

// usbPlaces lists the USB devices by where they are.
func (inv *Inventory) usbPlaces() map[string]*Part {
	out := map[string]*Part{}
	for i := range inv.Parts {
		p := &inv.Parts[i]
		if _, told := out[p.Location.Path]; p.Class == USB && !told {
			out[p.Location.Path] = p
		}
	}
	return out
}

// above finds the device that shows a disk, the nearest one.
func above(devices map[string]*Part, disk *Part) *Part {
	for i := len(disk.place) - 1; i >= 0; i-- {
		if disk.place[i] != '/' {
			continue
		}
		if p := devices[disk.place[:i]]; p != nil {
			return p
		}
	}
	return nil
}

// onlyStorage reports whether every interface of a device is of USB class 8.
func onlyStorage(p *Part) bool {
	list := p.Attributes[attrInterfaces]
	for c := range strings.SplitSeq(list, ",") {
		if !strings.HasPrefix(c, "08") {
			return false
		}
	}
	return list != ""
}

// pageSerial is the serial number of a VPD page, "" for none.
func pageSerial(b interface{ Read(string) ([]byte, error) }, name string) string {
	page, err := b.Read(name)
	if err != nil {
		return ""
	}
	serial, _ := scsivpd.ParseSerial(page)
	return serial
}

// worldwide reads the name that a disk has for life, and holds it against what
// the kernel prints.
func (r *reader) worldwide(p *Part, dev string) {
	name := dev + "/vpd_pg83"
	page, err := r.b.Read(name)
	if err != nil || len(page) == 0 {
		return
	}
	ds, err := scsivpd.ParseIdentification(page)
	if err != nil {
		r.problem(name, 0, err.Error())
	}
	for _, d := range ds {
		if d.Type != scsivpd.NAA || d.Association != 0 || d.Text {
			continue
		}
		o := r.origin(finding.SiliconAnswered, "scsi:83", name, d.Offset, d.Length)
		p.fact("wwn", d.Value, o)
		if printed, ok := strings.CutPrefix(r.b.Text(dev+"/wwid"), "naa."); ok && ids.Key(printed) != d.Value {
			r.contradiction(finding.SourcesContradict, p, "naa."+ids.Clean(printed)+" in sysfs", "naa."+d.Value+" in page 83h",
				"The disk answers with another name than the system prints of it.", finding.High, r.whole(finding.SiliconAnswered, "scsi", dev+"/wwid"), o)
		}
		return
	}
}

// ports reads network ports that belong to a device. Their permanent address
// is a part of the board's identity; names are not.
func (r *reader) ports() {
	names := r.b.Dir(netDir)
	if len(names) == 0 {
		r.unseen(Network, netDir)
		return
	}
	r.seen(Network, true, "", finding.SiliconAnswered)
	for _, name := range names {
		dir := netDir + "/" + name
		path := r.b.Text(dir + "/path")
		all := pciAddresses(path)
		if len(all) == 0 {
			if path == "" && r.b.Text(dir+"/type") == ethernet && r.b.Text(dir+"/driver") != "" {
				r.partial(Network, dir+"/path is not in the bundle")
			}
			continue // a logical port: loopback, bridge, bond
		}
		r.port(dir, all[len(all)-1], strings.Contains(path, "/usb"))
	}
}

func (r *reader) port(dir, bdf string, usb bool) {
	if r.b.Text(dir+"/path") == "" {
		return
	}
	p := r.add(Part{Class: Network, Subject: "network:" + bdf})
	if host := r.part("pci:" + bdf); host != nil {
		p.Location, p.Package = host.Location, host.Subject
		if host.Volatile != "" {
			p.Volatile = host.Volatile
		}
		p.fact(attrHost, host.Subject, r.whole(finding.SiliconAnswered, "net", dir+"/path"))
	}
	if usb {
		p.Volatile = Removable
	}
	p.Identity.Model = "network port"
	r.portDriver(p, dir, r.b.Text(dir+"/path"))
	attr := dir + "/perm_address"
	if r.b.Text(attr) == "" {
		attr = dir + "/address"
		if t := r.b.Text(dir + "/addr_assign_type"); t != "" && t != "0" {
			return // set by the system: no identity of the hardware
		}
	}
	o := r.whole(finding.SiliconAnswered, "net", attr)
	mac := strings.ToLower(r.b.Text(attr))
	p.set("serial", &p.Identity.Serial, mac, o)
	p.Identity.Name = ids.OUI(mac)
	if len(mac) >= 8 {
		p.Identity.MakerIDs = []string{fmt.Sprintf("oui:%s", strings.ReplaceAll(mac[:8], ":", ""))}
	}
}
