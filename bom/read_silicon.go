package bom

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/cpuinfo"
	"github.com/assay-hw/assay/internal/ids"
)

const (
	cpuDevices = "sys/devices/system/cpu"
	edacDir    = "sys/devices/system/edac/mc"
	cxlDir     = "sys/bus/cxl/devices"
)

var cpuName = regexp.MustCompile(`^cpu\d{1,5}$`)

// processorNumbers reads what the maker numbered each package with (PPIN) and
// which microcode its processors run. All processors of a package say the same;
// the first one's words are kept.
func (r *reader) processorNumbers(parts map[int]*Part) {
	for _, n := range r.b.Dir(cpuDevices) {
		dir := cpuDevices + "/" + n
		id, err := strconv.Atoi(r.b.Text(dir + "/topology/physical_package_id"))
		p := parts[id]
		if !cpuName.MatchString(n) || err != nil || p == nil {
			continue
		}
		for _, x := range []struct{ fact, attr, why string }{
			{attrPPIN, "/topology/ppin", "Two processors of one package have different numbers of their maker."},
			{"microcode", "/microcode/version", "Two processors of one package run different microcode."},
		} {
			text := ids.Key(r.b.Text(dir + x.attr))
			if strings.Trim(text, "0x") == "" {
				continue
			}
			o := r.whole(finding.SiliconAnswered, "cpu", dir+x.attr)
			if have := p.Attributes[x.fact]; have == "" {
				p.fact(x.fact, text, o)
			} else if have != text {
				r.contradiction(finding.SourcesContradict, p, x.fact+" "+have, x.fact+" "+text+" of "+n, x.why, finding.Medium,
					origin{source: finding.SiliconAnswered, basis: p.Values[x.fact].Basis}, o)
			}
		}
	}
}

// packages maps physical ids to the parts of the sockets, which firmware and
// kernel list in one order.
func (r *reader) packages(sockets []cpuinfo.Socket) map[int]*Part {
	out := map[int]*Part{}
	for i, subject := range r.ofClass(Processor) {
		if i < len(sockets) {
			out[sockets[i].ID] = r.part(subject)
		}
	}
	return out
}

// controllerMemory compares the memory that its controllers drive with what the
// firmware lists: a module that is larger than it says shows there. Controllers
// that show less are common, since drivers do not know every one.
func (r *reader) controllerMemory() {
	total, from := uint64(0), origin{}
	for _, mc := range r.b.Dir(edacDir) {
		for _, dimm := range r.b.Dir(edacDir + "/" + mc) {
			name := edacDir + "/" + mc + "/" + dimm + "/size"
			n, err := strconv.ParseUint(r.b.Text(name), 10, 32)
			if err == nil && strings.HasPrefix(dimm, "dimm") {
				total += n << 20
				from = r.whole(finding.SiliconAnswered, "edac", name)
			}
		}
	}
	if m := r.memory; m.installed > 0 && m.unknown == 0 && total > m.installed {
		r.contradiction(finding.CapacityDiffers, &Part{Subject: "memory", Class: Memory}, "at most "+mib(m.installed), mib(total)+" behind the memory controllers",
			"The memory controllers drive more memory than the firmware lists modules for.", finding.Medium, m.from17, from)
	}
}

// cxlMemory adds what memory devices on CXL say of themselves to their function.
func (r *reader) cxlMemory() {
	for _, n := range r.b.Dir(cxlDir) {
		dir := cxlDir + "/" + n
		all := pciAddresses(r.b.Text(dir + "/path"))
		if len(all) == 0 {
			continue
		}
		p := r.part("pci:" + all[len(all)-1])
		if p == nil {
			continue
		}
		p.set("firmware", &p.Identity.Firmware, r.b.Text(dir+"/firmware_version"), r.whole(finding.SiliconAnswered, "cxl", dir+"/firmware_version"))
		p.fact("cxlSerial", ids.Clean(r.b.Text(dir+"/serial")), r.whole(finding.SiliconAnswered, "cxl", dir+"/serial"))
		if size := r.b.Text(dir + "/ram/size"); size != "" {
			p.fact("cxlSize", fmt.Sprintf("%s volatile, %s persistent", ids.Clean(size), ids.Clean(r.b.Text(dir+"/pmem/size"))), r.whole(finding.SiliconAnswered, "cxl", dir+"/ram/size"))
		}
	}
}
