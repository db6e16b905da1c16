package bom

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// slots looks for ports whose slot says that something is there while nothing
// is enumerated behind them. Presence bits are often 0 on occupied slots, so a
// clear bit means nothing; a set bit, power or an active link does.
func (r *reader) slots(fns []*function) {
	for _, f := range fns {
		if f.config == nil || f.config.Express == nil || f.children > 0 {
			continue
		}
		e := f.config.Express
		var signs []string
		if s := e.Slot; s != nil {
			if s.PowerController && !s.PowerOff {
				signs = append(signs, "slot power on")
			}
			if s.PowerLED && s.PowerIndicator == 1 {
				signs = append(signs, "power indicator on")
			}
			if s.Present {
				signs = append(signs, "presence detected")
			}
		}
		if e.LinkReports && e.LinkActive && (e.PortType == 4 || e.PortType == 6) {
			signs = append(signs, "link active")
		}
		if len(signs) == 0 || f.config.HeaderType != 1 {
			continue
		}
		x := finding.New(finding.HiddenFunction, f.part.Subject)
		x.Location = f.part.Location
		x.Want, x.Got = "a device behind the port", strings.Join(signs, ", ")+", no device listed"
		x.Why = fmt.Sprintf("The registers of port %s say that its slot is in use, but no device behind it is listed: it is hidden, dead or not yet up.", f.bdf)
		x.Sources = []finding.Source{finding.SiliconAnswered}
		x.Basis = []finding.Basis{r.origin(finding.SiliconAnswered, "pci:config", f.dir+"/config", e.Offset, 0x3c).basis}
		r.inv.Findings = append(r.inv.Findings, x)
	}
}

var iomemDevice = regexp.MustCompile(`^\s+[0-9a-f]+-[0-9a-f]+ : [0-9a-f:.]+$`)

// hidden compares the sums and lists that a hidden part would disturb.
func (r *reader) hidden() {
	r.iomem()
	r.memorySums()
	r.controllerMemory()
}

// iomem looks for devices that own memory but are not listed as devices.
func (r *reader) iomem() {
	const name = "proc/iomem"
	if len(r.b.Dir(pciDevices)) == 0 {
		return
	}
	var ghosts []string
	seen := map[string]bool{}
	for line := range strings.SplitSeq(r.b.Text(name), "\n") {
		line = strings.TrimRight(line, " \r")
		address := line[strings.LastIndexByte(line, ' ')+1:] // few lines name a device
		if _, _, ok := pciAddress(address); ok && iomemDevice.MatchString(line) && r.part("pci:"+address) == nil && !seen[address] {
			seen[address] = true
			ghosts = append(ghosts, address)
		}
	}
	if len(ghosts) > 0 && !r.inv.Classes[PCI].Whole {
		return
	}
	for _, g := range ghosts {
		x := finding.New(finding.HiddenFunction, "pci:"+g)
		x.Want, x.Got = "a listed device", "memory assigned, no device listed"
		x.Why = "The kernel assigned memory to this PCI function, but the listing of devices does not have it."
		x.Sources = []finding.Source{finding.FirmwareTold}
		x.Basis = []finding.Basis{r.whole(finding.FirmwareTold, "iomem", name).basis}
		r.inv.Findings = append(r.inv.Findings, x)
	}
}

// reserved is the memory that firmware and kernel may keep for themselves
// before a total that is too small says anything.
const reserved = 8 // one part in eight

// memorySums compares the sum of the modules with the ranges that the firmware
// maps and with what the kernel may use.
func (r *reader) memorySums() {
	m := r.memory
	if m.installed == 0 || m.unknown > 0 {
		return
	}
	whole := &Part{Subject: "memory", Class: Memory}
	if m.mapped > 0 && mib(m.mapped) != mib(m.installed) {
		// Both tables are the firmware's own, so that neither contradicts the other
		// (they are of one independence class). Of 2048 real servers 263 disagree:
		// mirroring halves what is mapped, a hole below 4 GiB is left out, some list
		// each range twice.
		r.contradiction(finding.CapacityDiffers, whole, mib(m.installed), mib(m.mapped),
			"The sizes of the memory modules do not add up to the memory that the firmware maps. It told both, so that this is a question and no proof.", finding.Low, m.from17, m.from19)
	}
	total, from := r.kernelMemory()
	switch {
	case total == 0:
	case total > m.installed:
		r.contradiction(finding.CapacityDiffers, whole, "at most "+mib(m.installed), mib(total),
			"The system has more memory than its modules declare: a module may be larger than it says, or one is hidden.", finding.High, m.from17, from)
	case total < m.installed-m.installed/reserved && m.installed-total > 2<<30:
		r.contradiction(finding.CapacityDiffers, whole, mib(m.installed), "less than seven eighths usable",
			"The system can use far less memory than its modules declare.", finding.Medium, m.from17, from)
	}
}

func mib(n uint64) string { return fmt.Sprintf("%d MiB", n>>20) }

// kernelMemory is the total that the kernel manages.
func (r *reader) kernelMemory() (uint64, origin) {
	const name = "proc/meminfo"
	for line := range strings.SplitSeq(r.b.Text(name), "\n") {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 44)
			if err != nil {
				r.problem(name, 0, "MemTotal is not a number of kB")
				return 0, origin{}
			}
			return n << 10, r.whole(finding.FirmwareTold, "meminfo", name) // from the firmware's memory map
		}
	}
	return 0, origin{}
}
