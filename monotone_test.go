package assay_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// additions are artefacts that somebody could add to the evidence of a machine
// in the hope that they explain something away. Each is only added where the
// evidence does not have it: changing evidence is another crime.
func additions(t testing.TB) files {
	t.Helper()
	golden := machine(t, "baseline")
	nic, implant := nicDir, pciBase+"0000:09:00.0"
	out := files{
		implant + "/physfn": []byte("0000:01:00.0\n"), implant + "/label": []byte("Onboard LAN\n"), implant + "/acpi_index": []byte("1\n"),
		implant + "/rom": []byte("\x55\xaa\x01"), implant + "/vpd": []byte("x"), implant + "/driver": []byte("vfio-pci\n"),
		"sys/bus/usb/devices/1-3/removable": []byte("removable\n"), "sys/bus/usb/devices/1-3/serial": []byte("1\n"),
		"ipmi/device-id.bin": make([]byte, 15), "ipmi/fru-1.bin": golden["ipmi/fru-0.bin"], "ipmi/fru-00.bin": golden["ipmi/fru-0.bin"],
		"sys/bus/i2c/devices/0-0057/eeprom": golden["sys/bus/i2c/devices/0-0052/eeprom"], "sys/bus/i2c/devices/0-0057/name": []byte("ee1004\n"),
		"sys/bus/i2c/devices/1-0050/eeprom": golden["sys/bus/i2c/devices/0-0052/eeprom"], "sys/bus/i2c/devices/1-0050/name": []byte("ee1004\n"),
		"sys/class/nvme/nvme1/identify": make([]byte, 4096), "sys/class/net/eth9/ethtool": make([]byte, 196),
		"ipmi/sdr.bin": []byte("\x01\x00\x51\x11\x0e\x20\x00\x80\x00\x00\x10\x00\x07\x01\x00\xc3Lan"), "ipmi/device-guid.bin": make([]byte, 16), "ipmi/lan-1.bin": []byte("\x11\x52\x54\x00\x01\x02\x03"),
		"sys/class/nvme/nvme1/address": []byte("0000:09:00.0\n"), "sys/class/nvme/nvme1/model": []byte("QEMU NVMe Ctrl\n"),
		"sys/class/net/eth9/path": []byte("/sys/devices/pci0000:00/0000:00:07.0/0000:09:00.0\n"), "sys/class/net/eth9/address": []byte("02:00:00:00:00:01\n"),
		"firmware/bios.json": []byte(`{"source":"x","offset":0,"length":1,"complete":false}`), "firmware/bmc.rom": []byte("x"),
		"tpm/quote-sha1.attest": golden["tpm/quote-sha256.attest"], "tpm/quote-sha1.sig": golden["tpm/quote-sha256.sig"],
		"tpm/quote-sha384.attest": []byte("x"), "tpm/quote-sha384.sig": []byte("x"), "tpm/time.attest": []byte("x"), "tpm/time.sig": []byte("x"),
		"sys/kernel/security/ima/binary_runtime_measurements": []byte("x"), "proc/modules": []byte("x\n"), "redfish/h/redfish/v1/index.json": []byte("{}"),
		"i2c/detect-1.txt": []byte("     0  1\n30: 30 --\n"), "sys/class/block/sdz/device/model": []byte("x\n"), "sys/class/block/sdz/removable": []byte("1\n"),
	}
	for p, b := range golden {
		if rest, ok := strings.CutPrefix(p, nic+"/"); ok {
			out[pciBase+"0000:01:00.1/"+rest] = b
			if !strings.HasPrefix(p, implant) {
				out[implant+"/"+rest] = b
			}
		}
	}
	return out
}

// accused lists what a verdict holds against the machine: findings of a part
// that should not be there, of a contradiction, or of something forged.
func accused(fs []finding.Finding) map[string]finding.Severity {
	codes := []finding.Code{
		finding.UnexpectedComponent, finding.UnexpectedLowSpeedDevice, finding.ComponentReplaced, finding.HiddenFunction, finding.CapacityDiffers,
		finding.UnlikeItsModel, finding.CodeRegionDiffers, finding.ForeignBytes, finding.OptionROMDiffers, finding.UnexpectedACPITable,
		finding.LogDoesNotReplay, finding.UnexpectedEvent, finding.EventNotCredible, finding.PCRDiffers, finding.UnknownBootComponent,
		finding.TPMChanged, finding.QuoteSignature, finding.QuoteNonce, finding.NotTheCertifiedPlatform,
	}
	out := map[string]finding.Severity{}
	for _, f := range fs {
		if slices.Contains(codes, f.Code) && f.Severity >= finding.Medium {
			code := f.Code
			if code == finding.ComponentReplaced {
				code = finding.UnexpectedComponent // another part may take the line; this one is told all the same
			}
			k := string(code) + " " + f.Subject
			out[k] = max(out[k], f.Severity)
		}
	}
	return out
}

// More evidence never takes back what less evidence showed.
func TestMoreEvidenceNeverHelps(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	extra := additions(t)
	names := slices.Sorted(maps.Keys(extra))
	machines := map[string]files{}
	before := map[string]map[string]finding.Severity{}
	sets := []string{"extra-nic-norom", "extra-pci-with-optionrom", "dimm-swapped", "fw-patched-dxe", "fw-patched-sec", "other-tpm", "stale-nonce", "eventlog-edited", "different-kernel", "usb-inside"}
	for _, s := range sets {
		if s == "usb-inside" {
			machines[s] = machine(t, "baseline")
			for p, b := range maps.Clone(machines[s]) {
				if rest, ok := strings.CutPrefix(p, "sys/bus/usb/devices/1-1.1/"); ok && rest != "removable" && rest != "serial" {
					machines[s]["sys/bus/usb/devices/1-3/"+rest] = b
				}
			}
		} else {
			machines[s] = machine(t, s)
		}
		// Attributes that the capture has anyway are left out here, so that they
		// can be added.
		for _, n := range []string{"firmware/bios.json", pciBase + "0000:09:00.0/path"} {
			delete(machines[s], n)
		}
		before[s] = accused(l.verify(t, machines[s]).Findings)
		require.NotEmpty(t, before[s], s)
	}
	rapid.Check(t, func(rt *rapid.T) {
		set := rapid.SampledFrom(sets).Draw(rt, "machine")
		f := maps.Clone(machines[set])
		for _, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 6, rapid.ID[string]).Draw(rt, "added") {
			if _, have := f[n]; !have {
				f[n] = extra[n]
			}
		}
		if rapid.Bool().Draw(rt, "index") {
			f = sealedBy(t, f, func(ix *evidence.Index) { ix.Mode.Virtual = "none"; ix.Machine.Serial = "S-LAB-0001" })
		}
		after := accused(l.verify(t, f).Findings)
		for k := range before[set] {
			if strings.HasPrefix(k, string(finding.UnexpectedLowSpeedDevice)) && f["sys/bus/usb/devices/1-3/removable"] != nil {
				continue // named still, and milder: checked below
			}
			require.Contains(rt, after, k)
		}
	})
	removable := with(machines["usb-inside"], func(f files) { f["sys/bus/usb/devices/1-3/removable"] = []byte("removable\n") })
	require.Len(t, find(l.verify(t, removable), finding.UnexpectedLowSpeedDevice), 1)
}
