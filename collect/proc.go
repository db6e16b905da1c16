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
		t.attributes(dir, nil, []string{"topology/ppin", "microcode/version"})
	}
}
