package efficacy_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/efficacy"
	"github.com/assay-hw/assay/finding"
)

// one vector made of steps, for tests that compose.
func made(t require.TestingT, id, level, change string) *efficacy.Vector {
	v, err := efficacy.Parse("made.txtar", []byte("id: "+id+"\nname: made by a test\nlevel: "+level+"\nexpect: inconclusive\n\n-- change --\n"+change))
	require.NoError(t, err)
	return v
}

// standing lists what a verdict holds against a machine, without what only names
// where the bytes lie.
func standing(r *assay.Result) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity > finding.Low {
			out = append(out, string(f.Code)+" "+f.Severity.String()+" "+f.Subject)
		}
	}
	for _, i := range r.Incidents {
		out = append(out, string(i.Code))
	}
	return out
}

// crimes are attacks that leave room for each other and for harmless changes.
var crimes = map[string]string{
	"HW-001 pci:0000:09:00.0": "pci-copy 0000:08:00.0 0000:09:00.0 /sys/devices/pci0000:00/0000:00:07.0/0000:09:00.0\n",
	"HW-007 usb:1-3":          "usb-copy 1-1.1 1-3\n",
	"HW-007 i2c:0-003c":       "i2c-answer 0 3c\n",
	"HW-003 pci:0000:02:00.0": "pci-config 0000:02:00.0 0x2c 99999999\n",
	"HW-012 storage:nvme":     "write sys/class/block/nvme0n1/size \"65536\\n\"\n",
	"ID-001 processor:CPU 0":  "replace proc/cpuinfo \"AMD EPYC-Rome Processor\" \"AMD EPYC-Milan Processor\"\n",
	"FW-017 acpi:WPBT":        "acpi-add WPBT 52\n",
	"FW-003 firmware:bios":    "leaf bios padding 0x10\n",
	"MB-003 pcr:0":            "event-digest 0/EV_EFI_PLATFORM_FIRMWARE_BLOB/1 \"patched\"\n",
	"MB-013 pcr:7":            "event-text 7/EV_SEPARATOR/0 7 EV_EFI_ACTION \"UEFI Debug Mode\"\n",
	"MB-007 pcr:6":            "event-drop 6/EV_SEPARATOR/0\n",
	"TP-002 tpm:ek":           "tpm-other swapped\n",
	"TP-006 quote":            "quote-pcrs 23\n",
	"MB-008 bank:sha256":      "tpm-capped sha256\n",
	"EV-002 quote":            "after-seal write proc/version \"edited\\n\"\n",
}

// habits are harmless changes that need no manifest of their own, and what they
// are told as.
var habits = map[string]string{
	"":                        "tpm-clock 9600000 6 0\n",
	"CH-005 dimm:P1-DIMMC1":   "swap sys/firmware/dmi/tables/DMI 2F4A1103 2F4A1104\nexchange sys/bus/i2c/devices/0-0052/eeprom sys/bus/i2c/devices/0-0053/eeprom\n",
	"CH-006 usb:1-4":          "usb-copy 1-1.2 1-4\nwrite sys/bus/usb/devices/1-4/removable \"removable\\n\"\n",
	"CH-003 pcr:4":            "event-text 4/EV_EFI_ACTION/0 4 EV_EFI_ACTION \"Calling EFI Application from Boot Option\"\n",
	"CH-005 pci:0000:0b:00.0": "move sys/bus/pci/devices/0000:01:00.0 sys/bus/pci/devices/0000:0b:00.0\nwrite sys/bus/pci/devices/0000:0b:00.0/path \"/sys/devices/pci0000:00/0000:00:06.0/0000:0b:00.0\\n\"\nwrite sys/class/net/eth0/path \"../../../0000:0b:00.0\\n\"\nreplace proc/iomem 0000:01:00.0 0000:0b:00.0\npoke sys/bus/pci/devices/0000:00:02.0/config 0x6d 07\npoke sys/bus/pci/devices/0000:00:06.0/config 0x1a 0b\n",
}

// Every harmless change with every attack: the attack keeps its code, and what is
// harmless stays what it is.
func TestComposition(t *testing.T) {
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	has := func(r *assay.Result, what string, least finding.Severity) bool {
		code, subject, _ := strings.Cut(what, " ")
		return slices.ContainsFunc(r.Findings, func(f finding.Finding) bool {
			return string(f.Code) == code && f.Severity >= least && strings.HasPrefix(f.Subject, subject)
		})
	}
	for _, crime := range slices.Sorted(maps.Keys(crimes)) {
		for _, habit := range slices.Sorted(maps.Keys(habits)) {
			r, err := bench.Result(made(t, "A03", "L4", habits[habit]+crimes[crime]), efficacy.L4)
			require.NoError(t, err, "%s with %s", crime, habit)
			require.NotEqual(t, assay.Pass, r.Verdict, "%s with %s", crime, habit)
			require.True(t, has(r, crime, finding.Medium), "%s is gone with %q: %v", crime, habit, standing(r))
			if habit != "" && crime != "TP-006 quote" {
				require.True(t, has(r, habit, finding.Info), "%s is not told with %s: %v", habit, crime, standing(r))
			}
		}
	}
}

// The order of independent steps and the names that the system gives change
// nothing that a verdict says. That a directory and a zip are one is package
// evidence's test; a part that is listed twice is two parts, and rightly told.
func TestWhatChangesNothing(t *testing.T) {
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	names := slices.Sorted(maps.Keys(crimes))
	same := map[string]string{
		"names of ports": "move sys/class/net/eth0 sys/class/net/enp9\n", "names of drives": "move sys/class/block/sdc sys/class/block/sdq\n",
		"a file that says nothing": "write proc/sys/kernel/hostname \"x\\n\"\n",
	}
	rapid.Check(t, func(rt *rapid.T) {
		picked := rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, 3, rapid.ID[string]).Draw(rt, "crimes")
		var steps string
		for _, p := range picked {
			steps += crimes[p]
		}
		want, err := bench.Result(made(rt, "A03", "L3", steps), efficacy.L3)
		require.NoError(rt, err)
		slices.Reverse(picked)
		steps = ""
		for _, p := range picked {
			steps += crimes[p]
		}
		for _, s := range rapid.SliceOfDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(same))), rapid.ID[string]).Draw(rt, "same") {
			steps += same[s]
		}
		got, err := bench.Result(made(rt, "A03", "L3", steps), efficacy.L3)
		require.NoError(rt, err)
		require.Equal(rt, want.Verdict, got.Verdict)
		require.Equal(rt, standing(want), standing(got))
	})
}

// Less evidence than the policy requires never leaves a pass, and more evidence
// never takes back a failure.
func TestLessIsInconclusiveAndMoreIsNoExcuse(t *testing.T) {
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	for _, source := range []string{
		"sys/firmware/dmi/", "sys/bus/pci/", "sys/bus/usb/", "sys/firmware/acpi/", "sys/class/nvme/ sys/class/block/", "ipmi/", "sys/kernel/security/tpm0/", "proc/cpuinfo",
	} {
		r, err := bench.Result(made(t, "A03", "L4", "drop "+source+"\n"), efficacy.L4)
		require.NoError(t, err)
		require.NotEqual(t, assay.Pass, r.Verdict, source)
	}
	for _, crime := range slices.Sorted(maps.Keys(crimes)) {
		var before *assay.Result
		for _, l := range []efficacy.Level{efficacy.L2, efficacy.L3, efficacy.L4, efficacy.L5} {
			r, err := bench.Result(made(t, "A03", "L4", crimes[crime]), l)
			require.NoError(t, err)
			if before != nil && before.Verdict == assay.Fail {
				require.Equal(t, assay.Fail, r.Verdict, "%s at %s", crime, l)
			}
			before = r
		}
	}
}
