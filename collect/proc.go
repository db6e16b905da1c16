package collect

import (
	"strings"

	"github.com/assay-hw/assay/evidence"
)

// proc reads what the kernel says of itself and of the memory map.
func proc(t *task) {
	for _, n := range []string{"cmdline", "meminfo", "modules", "version", "uptime"} {
		t.read("proc/"+n, file{limit: 1 << 20})
	}
	if t.host.live && !t.host.root {
		// An ordinary user sees a map in which every address is zero.
		t.note("proc/iomem", evidence.Denied, "addresses are shown to root only")
	} else {
		t.read("proc/iomem", file{limit: 4 << 20})
	}
	t.read(lockdownPath, file{optional: true})
}

const cpuDir = "sys/devices/system/cpu"

// cpu reads the kernel's list of processors, the loaded microcode and, where
// it is unlocked, the number that each package has from its maker.
func cpu(t *task) {
	t.read("proc/cpuinfo", file{limit: 16 << 20})
	if !t.host.has(cpuDir) {
		return
	}
	for _, n := range t.list(cpuDir) {
		if id, ok := strings.CutPrefix(n, "cpu"); !ok || strings.Trim(id, "0123456789") != "" || id == "" {
			continue
		}
		dir := cpuDir + "/" + n
		t.attributes(dir, nil, []string{"topology/physical_package_id", "topology/ppin", "microcode/version"})
	}
}

const (
	edacDir = "sys/devices/system/edac/mc"
	cxlDir  = "sys/bus/cxl/devices"
)

// memory reads what the drivers of memory controllers know of modules, and what
// memory devices on CXL say of themselves. Most machines have no such drivers.
func memory(t *task) {
	if t.host.has(edacDir) {
		for _, mc := range t.list(edacDir) {
			if !strings.HasPrefix(mc, "mc") || t.over(edacDir+"/"+mc) || !t.host.has(edacDir+"/"+mc+"/mc_name") {
				continue
			}
			for _, n := range t.list(edacDir + "/" + mc) {
				if dir := edacDir + "/" + mc + "/" + n; strings.HasPrefix(n, "dimm") || strings.HasPrefix(n, "rank") {
					t.attributes(dir, nil, []string{"dimm_label", "dimm_location", "dimm_mem_type", "size"})
				}
			}
		}
	}
	if !t.host.has(cxlDir) {
		return
	}
	for _, n := range t.list(cxlDir) {
		if dir := cxlDir + "/" + n; strings.HasPrefix(n, "mem") && !t.over(dir) {
			t.attributes(dir, nil, []string{"serial", "firmware_version", "ram/size", "pmem/size", "numa_node"})
			t.resolved(dir)
		}
	}
}
