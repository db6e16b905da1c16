package assay_test

import (
	"bytes"
	"encoding/binary"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

type files = map[string][]byte

// swap exchanges two texts of equal length.
func swap(b []byte, x, y string) []byte {
	hold := strings.Repeat("\xfe", len(x))
	b = bytes.ReplaceAll(b, []byte(x), []byte(hold))
	b = bytes.ReplaceAll(b, []byte(y), []byte(x))
	return bytes.ReplaceAll(b, []byte(hold), []byte(y))
}

func replace(t *testing.T, f files, path, old, new string) {
	t.Helper()
	require.Contains(t, string(f[path]), old)
	require.Len(t, new, len(old))
	f[path] = bytes.ReplaceAll(f[path], []byte(old), []byte(new))
}

// move renames everything of one device directory.
func move(f files, from, to string) {
	for p, b := range maps.Clone(f) {
		if rest, ok := strings.CutPrefix(p, from+"/"); ok {
			delete(f, p)
			f[to+"/"+rest] = b
		}
	}
}

func drop(f files, prefix string) {
	maps.DeleteFunc(f, func(p string, _ []byte) bool { return strings.HasPrefix(p, prefix) })
}

const (
	nicDir  = "sys/bus/pci/devices/0000:01:00.0"
	pciBase = "sys/bus/pci/devices/"
)

// Changes that somebody with a screwdriver, a programmer or root could make to
// the recorded machine, each on the evidence alone, and harmless ones beside
// them.
func TestChangesToTheRecordedMachine(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for name, c := range map[string]struct {
		from    string
		change  func(t *testing.T, f files)
		verdict []assay.Verdict
		code    finding.Code
		subject string
		none    []finding.Code
	}{
		"added card removed from the listing": {
			from:    "extra-nic-norom",
			change:  func(_ *testing.T, f files) { drop(f, pciBase+"0000:09:00.0/"); drop(f, "sys/class/net/eth2/") },
			verdict: fail, code: finding.HiddenFunction, subject: "pci:0000:00:07.0",
		},
		"ACPI table with a program for Windows": {
			change: func(_ *testing.T, f files) {
				f["sys/firmware/acpi/tables/WPBT"] = acpiTable("WPBT", 16)
			},
			verdict: fail, code: finding.UnexpectedACPITable, subject: "acpi:WPBT EVIL",
		},
		"firmware lies about a module": {
			change:  func(t *testing.T, f files) { replace(t, f, dmiPath, "2F4A1103", "2F4A9999") },
			verdict: fail, code: finding.SourcesContradict, subject: "dimm:P1-DIMMC1",
		},
		"module's memory rewritten": {
			change: func(t *testing.T, f files) {
				replace(t, f, "sys/bus/i2c/devices/0-0052/eeprom", "9ASF1G72PZ", "9ASF9X99XX")
			},
			verdict: fail, code: finding.SourcesContradict, subject: "dimm:P1-DIMMC1",
		},
		"chip added to a management bus": {
			change: func(t *testing.T, f files) {
				replace(t, f, "i2c/detect-0.txt", "30: -- -- -- -- -- -- -- -- -- -- -- -- -- --", "30: -- -- -- -- -- -- -- -- -- -- -- -- 3c --")
			},
			verdict: fail, code: finding.UnexpectedLowSpeedDevice, subject: "i2c:0-003c",
		},
		"board swapped, labels kept": {
			change:  func(t *testing.T, f files) { replace(t, f, dmiPath, "LB19AS0042", "LB19AS9999") },
			verdict: fail, code: finding.NotTheCertifiedPlatform, subject: "baseboard",
		},
		"inventory memory rewritten": {
			change: func(t *testing.T, f files) {
				replace(t, f, "ipmi/fru-0.bin", "LB19AS0042", "LB19AS0024") // the checksum still holds
			},
			verdict: fail, code: finding.SourcesContradict, subject: "baseboard",
		},
		"card of another board maker": {
			change: func(_ *testing.T, f files) {
				f[nicDir+"/config"] = bytes.Clone(f[nicDir+"/config"])
				binary.LittleEndian.PutUint16(f[nicDir+"/config"][0x2e:], 0x9999)
				f[nicDir+"/subsystem_device"] = []byte("0x9999\n")
			},
			verdict: fail, code: finding.ComponentReplaced, subject: "pci:0000:01:00.0", none: []finding.Code{finding.UnexpectedComponent, finding.MissingComponent},
		},
		"attribute file edited, registers not": {
			change:  func(_ *testing.T, f files) { f[nicDir+"/device"] = []byte("0x1533\n") },
			verdict: fail, code: finding.SourcesContradict, subject: "pci:0000:01:00.0",
		},
		"capability missing on a clone": {
			change: func(_ *testing.T, f files) {
				c := bytes.Clone(f[nicDir+"/config"])
				c[int(c[0x34])+1] = 0 // the list ends after its first entry
				f[nicDir+"/config"] = c
			},
			verdict: fail, code: finding.UnlikeItsModel, subject: "pci:0000:01:00.0",
		},
		"second function on a genuine card": {
			change: func(_ *testing.T, f files) {
				for p, b := range maps.Clone(f) {
					if rest, ok := strings.CutPrefix(p, nicDir+"/"); ok {
						f[pciBase+"0000:01:00.1/"+rest] = b
					}
				}
				f[pciBase+"0000:01:00.1/path"] = []byte("/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.1\n")
			},
			verdict: fail, code: finding.UnexpectedComponent, subject: "pci:0000:01:00.1",
		},
		"implant that calls itself a virtual function": {
			from:    "extra-nic-norom",
			change:  func(_ *testing.T, f files) { f[pciBase+"0000:09:00.0/physfn"] = []byte("0000:01:00.0\n") },
			verdict: fail, code: finding.UnexpectedComponent, subject: "pci:0000:09:00.0",
		},
		"USB device inside": {
			change: func(_ *testing.T, f files) {
				for p, b := range maps.Clone(f) {
					if rest, ok := strings.CutPrefix(p, "sys/bus/usb/devices/1-1.1/"); ok {
						f["sys/bus/usb/devices/1-3/"+rest] = b
					}
				}
			},
			verdict: fail, code: finding.UnexpectedLowSpeedDevice, subject: "usb:1-3",
		},
		"drive exchanged for another of its model": {
			change:  func(_ *testing.T, f files) { f["sys/class/nvme/nvme0/serial"] = []byte("S4EVNX0R999999\n") },
			verdict: []assay.Verdict{assay.Review}, code: finding.InstanceReplaced, subject: "storage:nvme 0000:0a:00.0",
		},
		"drive of another size": {
			change:  func(_ *testing.T, f files) { f["sys/class/block/nvme0n1/size"] = []byte("65536\n") },
			verdict: fail, code: finding.CapacityDiffers, subject: "storage:nvme 0000:0a:00.0",
		},
		"another processor answers": {
			change: func(_ *testing.T, f files) {
				f["proc/cpuinfo"] = bytes.ReplaceAll(f["proc/cpuinfo"], []byte("AMD EPYC-Rome Processor"), []byte("AMD EPYC-Milan Processor"))
			},
			verdict: fail, code: finding.SourcesContradict, subject: "processor:CPU 0",
		},
		"a byte in the flash": {
			change: func(_ *testing.T, f files) {
				rom := bytes.Clone(f["firmware/bios.rom"])
				rom[len(rom)-0x40000] ^= 0x10
				f["firmware/bios.rom"] = rom
			},
			verdict: fail, code: "", subject: "",
		},

		"plain reboot with other counters": {
			change: func(_ *testing.T, f files) {
				f["proc/meminfo"] = []byte("MemTotal:        4004200 kB\n")
				f["proc/uptime"] = []byte("991.10 1800.22\n")
			},
			verdict: pass,
		},
		"modules exchanged between two slots": {
			change: func(_ *testing.T, f files) {
				f[dmiPath] = swap(f[dmiPath], "2F4A1103", "2F4A1104")
				a, b := "sys/bus/i2c/devices/0-0052/eeprom", "sys/bus/i2c/devices/0-0053/eeprom"
				f[a], f[b] = f[b], f[a]
			},
			verdict: pass, code: finding.ChangeRelocation, subject: "dimm:P1-DIMMC1",
		},
		"card moved to another slot": {
			change: func(_ *testing.T, f files) {
				move(f, nicDir, pciBase+"0000:09:00.0")
				f[pciBase+"0000:09:00.0/path"] = []byte("/sys/devices/pci0000:00/0000:00:07.0/0000:09:00.0\n")
				f["sys/class/net/eth0/path"] = []byte("../../../0000:09:00.0\n")
				delete(f, "proc/iomem")
				for dir, power := range map[string]byte{"0000:00:02.0": 7, "0000:00:07.0": 1} {
					c := bytes.Clone(f[pciBase+dir+"/config"])
					c[0x6d] = power
					f[pciBase+dir+"/config"] = c
				}
			},
			verdict: pass, code: finding.ChangeRelocation, subject: "pci:0000:09:00.0",
		},
		"buses renumbered": {
			change: func(_ *testing.T, f files) {
				move(f, pciBase+"0000:0a:00.0", pciBase+"0000:0b:00.0")
				f[pciBase+"0000:0b:00.0/path"] = []byte("/sys/devices/pci0000:00/0000:00:08.0/0000:0b:00.0\n")
				c := bytes.Clone(f[pciBase+"0000:00:08.0/config"])
				c[0x19], c[0x1a] = 0x0b, 0x0b
				f[pciBase+"0000:00:08.0/config"] = c
				f["sys/class/nvme/nvme0/address"] = []byte("0000:0b:00.0\n")
				delete(f, "proc/iomem")
			},
			verdict: pass,
		},
		"keyboard on an outer port": {
			change: func(_ *testing.T, f files) {
				for p, b := range maps.Clone(f) {
					if rest, ok := strings.CutPrefix(p, "sys/bus/usb/devices/1-1.1/"); ok {
						f["sys/bus/usb/devices/1-4/"+rest] = b
					}
				}
				f["sys/bus/usb/devices/1-4/removable"] = []byte("removable\n")
			},
			verdict: pass, code: finding.ChangeHotPlug, subject: "usb:1-4",
		},
		"drivers bound otherwise": {
			change: func(_ *testing.T, f files) {
				f[nicDir+"/driver"] = []byte("vfio-pci\n")
				f["sys/class/net/eth7/path"] = f["sys/class/net/eth0/path"]
				move(f, "sys/class/net/eth0", "sys/class/net/enp1s0")
				drop(f, "sys/class/net/eth7")
			},
			verdict: pass,
		},
	} {
		t.Run(name, func(t *testing.T) {
			from := c.from
			if from == "" {
				from = "baseline"
			}
			f := machine(t, from)
			c.change(t, f)
			r := l.verify(t, f)
			require.Contains(t, c.verdict, r.Verdict, "%v", codesOf(r))
			if c.code != "" {
				hit := false
				for _, x := range find(r, c.code) {
					hit = hit || x.Subject == c.subject
				}
				require.True(t, hit, "%s at %s in %v", c.code, c.subject, r.Findings)
			}
			for _, n := range c.none {
				require.Empty(t, find(r, n))
			}
			if c.verdict[0] == assay.Pass {
				for _, x := range r.Findings {
					require.LessOrEqual(t, x.Severity, finding.Low, "%s %s", x.Code, x.Subject)
				}
			}
		})
	}
}

// acpiTable makes a table with a right checksum.
func acpiTable(signature string, body int) []byte {
	b := make([]byte, 36+body)
	copy(b, signature)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	copy(b[10:], "EVIL  EVIL    ")
	sum := byte(0)
	for _, c := range b {
		sum += c
	}
	b[9] = -sum
	return b
}
