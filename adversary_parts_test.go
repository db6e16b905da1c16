package assay_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
)

// A denied file is a part that nobody saw.
func TestDeniedDeviceIsNotAMissingOne(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	inventory, _ := assay.BuiltInPolicy("inventory")
	for _, path := range []string{
		"sys/bus/pci/devices/0000:0c:00.0/vendor", "sys/bus/usb/devices/1-9/idVendor", "sys/class/nvme/nvme7/model",
		"sys/class/block/sdq/device/model", "sys/bus/i2c/devices/0-0019/name", "sys/class/net/eth9/path", "sys/firmware/acpi/tables/SSDT77", "ipmi/fru-3.bin",
	} {
		t.Run(path, func(t *testing.T) {
			f := sealedBy(t, machine(t, "baseline"), func(ix *evidence.Index) {
				ix.Artifacts = append(ix.Artifacts, evidence.Artifact{Path: path, Status: evidence.Denied, Reason: "EPERM"})
				slices.SortFunc(ix.Artifacts, func(a, b evidence.Artifact) int { return strings.Compare(a.Path, b.Path) })
			})
			r := l.appraise(t, f, func(c *assay.Case) { c.Policy, c.Nonce = inventory, nil })
			i := slices.IndexFunc(r.Required, func(q assay.Required) bool { return q.What == assay.RequireClasses })
			require.False(t, r.Required[i].Proved, r.Required)
			require.Contains(t, r.Required[i].Reason, "EPERM")
		})
	}
}

// A file that lists parts and cannot be read to its end may hold one more.
func TestPartsBehindUnreadableBytesAreNotAbsent(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for name, edit := range map[string]func(f files){
		"PCI name in another form": func(f files) { f[pciBase+"0000:0C:00.0/vendor"] = []byte("0x8086\n") },
		"USB device without ids":   func(f files) { f["sys/bus/usb/devices/1-9/manufacturer"] = []byte("x\n") },
		"NVMe without a model":     func(f files) { f["sys/class/nvme/nvme9/serial"] = []byte("x\n") },
		"drive without a model": func(f files) {
			f["sys/class/block/sdx/device/vendor"] = []byte("x\n")
			f["sys/class/block/sdx/device/wwid"] = []byte("naa.5\n")
		},
		"FRU that is no FRU": func(f files) { f["ipmi/fru-1.bin"] = []byte("not a fru") },
		"ACPI table cut":     func(f files) { f["sys/firmware/acpi/tables/SSDT9"] = []byte("SSDT") },
		"SMBIOS table cut":   func(f files) { f[dmiPath] = f[dmiPath][:len(f[dmiPath])-40] },
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(machine(t, "baseline"), edit))
			require.NotEqual(t, assay.Pass, r.Verdict)
		})
	}
}
