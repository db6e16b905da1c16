package collect

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/assay-hw/assay/evidence"
)

const pciDir = "sys/bus/pci/devices"

// pci reads the functions that the kernel enumerated: registers as far as the
// reader's rights go (64 bytes, or all 4096 as root), VPD and option ROM.
func pci(t *task) {
	for _, bdf := range t.list(pciDir) {
		dir := pciDir + "/" + bdf
		if t.over(dir) {
			continue
		}
		t.attributes(dir, []string{"vendor", "device", "class"}, []string{
			"subsystem_vendor", "subsystem_device", "revision", "resource", "label", "acpi_index",
			// locks of the flash that only drivers can see (sysfs-driver-spi-intel, sysfs-driver-ccp)
			"intel_spi_protected", "intel_spi_locked", "intel_spi_bios_locked",
			"rom_armor_enforced", "anti_rollback_status", "debug_lock_on", "fused_part", "rpmc_production_enabled",
		})
		t.read(dir+"/config", file{limit: 4096, full: 256})
		t.resolved(dir)
		t.base(dir, "driver", "driver")
		t.base(dir, "physfn", "physfn")
		// A device with bad firmware can hold a VPD read up for seconds.
		t.read(dir+"/vpd", file{limit: 32 << 10, optional: true, patience: 3 * time.Second})
		t.optionROM(dir)
	}
}

// maxROM is the largest option ROM: the expansion ROM register can map 16 MiB.
const maxROM = 16 << 20

// optionROM reads the image that firmware would run. On a running machine the
// kernel gives it only after a write to the same file, which turns the ROM's
// address decoder on; it is turned off again.
func (t *task) optionROM(dir string) {
	name := dir + "/rom"
	if !t.host.has(name) {
		return
	}
	if !t.host.live {
		t.read(name, file{limit: maxROM, optional: true})
		return
	}
	if t.opt.EarlyROMs != nil {
		if e, ok := t.opt.EarlyROMs.entries[name]; ok {
			t.put(e)
			return
		}
	}
	switch bound := t.host.link(dir+"/driver") != ""; {
	case !t.opt.ROM:
		t.note(name, evidence.Denied, "not read: it has to be enabled, which needs consent (--rom)")
		return
	case bound && !t.opt.BoundROM:
		t.note(name, evidence.Denied, "not read: a driver uses the device, which needs consent of its own (--rom=bound)")
		return
	}
	t.at(name)
	data, err := within(t.ctx, 10*time.Second, func(ctx context.Context) ([]byte, error) { return enabledROM(ctx, "/"+name) })
	if err != nil {
		t.fail(name, err)
		return
	}
	t.add(name, data)
}

// enabledROM is the one place that writes to a machine.
func enabledROM(ctx context.Context, name string) (data []byte, err error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err := f.WriteString("1\n"); err != nil {
		return nil, err
	}
	defer func() {
		if _, werr := f.WriteAt([]byte("0\n"), 0); werr != nil {
			err = errors.Join(err, werr)
		}
	}()
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return readAll(ctx, f, maxROM)
}

// ROMs are option ROMs that were read before any driver was loaded.
type ROMs struct{ entries map[string]entry }

// Len is how many were read.
func (r *ROMs) Len() int {
	n := 0
	for _, e := range r.entries {
		if e.status == evidence.Collected {
			n++
		}
	}
	return n
}

// romTime is how long the option ROMs of a machine may take.
const romTime = time.Minute

// ReadROMs reads the option ROMs of all devices that no driver uses, enabling
// each for the time of reading. A bootable scanner calls it first of all, when
// there is nothing yet that it could disturb.
func ReadROMs(ctx context.Context, h *Host) *ROMs {
	ctx, cancel := context.WithTimeout(ctx, romTime)
	defer cancel()
	t := newTask(ctx, h, &Options{ROM: true})
	for _, bdf := range t.list(pciDir) {
		if dir := pciDir + "/" + bdf; h.link(dir+"/driver") == "" && !t.over(dir) {
			t.optionROM(dir)
		}
	}
	out := &ROMs{entries: map[string]entry{}}
	for _, e := range t.finish(false) {
		if strings.HasSuffix(e.path, "/rom") {
			out.entries[e.path] = e
		}
	}
	return out
}
