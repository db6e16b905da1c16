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

// same are things done to evidence that say nothing new: other names that the system
// gives, other ways to write the same, the same read a second time.
var same = map[string]string{
	"names of ports":                  "move sys/class/net/eth0 sys/class/net/enp9\n",
	"names of drives":                 "move sys/class/block/sdc sys/class/block/sdq\n",
	"names of namespaces":             "move sys/class/nvme/nvme0 sys/class/nvme/nvme4\nmove sys/class/block/nvme0n1 sys/class/block/nvme4n1\n",
	"a file that says nothing":        "write proc/sys/kernel/hostname \"x\\n\"\n",
	"lines that end as on Windows":    "replace ipmi/mc-info.txt \"\\n\" \"\\r\\n\"\n",
	"numbers in capitals":             "replace sys/bus/pci/devices/0000:08:00.0/vendor 0x 0X\n",
	"attributes without a line's end": "replace sys/class/block/sdc/size \"\\n\" \"\"\nreplace sys/class/nvme/nvme0/model \"\\n\" \"\"\n",
	"an attribute with spaces":        "append sys/class/nvme/nvme0/serial 20200a\n",
	"a listing with other spaces":     "replace tpm/properties.json : \" : \"\n",
	"the controller asked twice":      "write ipmi/device-id.bin \"\\x20\\x01\\x01\\x74\\x02\\xbf\\x7c\\x2a\\x00\\x69\\x09\\x00\\x00\\x00\\x00\"\n",
	"an address told twice":           "copy sys/class/net/eth0/address sys/class/net/eth0/perm_address\n",
	"an image read twice":             "second-read bios\n",
	"a device read twice":             "copy sys/bus/pci/devices/0000:01:00.0 pass2/sys/bus/pci/devices/0000:01:00.0\n",
	"tables with code told twice":     "copy sys/firmware/acpi/tables/DSDT sys/firmware/acpi/tables/dynamic/DSDT\n",
	"a statement with other spaces":   "golden-text \"\\\"predicateType\\\":\" \"\\\"predicateType\\\" : \"\n",
}

// The order of independent steps, names that the system gives, other ways to write
// the same and the same told twice change nothing that a verdict says. That a
// directory and a zip are one is package evidence's test; a part that is listed
// twice is two parts, and rightly told.
func TestWhatChangesNothing(t *testing.T) {
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	for _, name := range slices.Sorted(maps.Keys(same)) { // each alone first, on a machine that is in order
		want, err := bench.Result(made(t, "A03", "L4", habits[""]), efficacy.L4)
		require.NoError(t, err)
		got, err := bench.Result(made(t, "A03", "L4", same[name]), efficacy.L4)
		require.NoError(t, err, name)
		require.Equal(t, []any{want.Verdict, standing(want)}, []any{got.Verdict, standing(got)}, name)
	}
	rapid.Check(t, func(rt *rapid.T) {
		picked := rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(crimes))), 1, 3, rapid.ID[string]).Draw(rt, "crimes")
		level := rapid.SampledFrom([]efficacy.Level{efficacy.L2, efficacy.L3, efficacy.L4}).Draw(rt, "level")
		var steps string
		for _, p := range picked {
			steps += crimes[p]
		}
		want, err := bench.Result(made(rt, "A03", "L3", steps), level)
		require.NoError(rt, err)
		steps = ""
		for _, p := range rapid.Permutation(picked).Draw(rt, "order") {
			steps += crimes[p]
		}
		var moves string // come last, since other steps name what they move
		for _, s := range rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(same))), 0, 4, rapid.ID[string]).Draw(rt, "same") {
			switch {
			case blocked(s, picked):
			case strings.HasPrefix(same[s], "move"):
				moves += same[s]
			default:
				steps += same[s]
			}
		}
		steps += moves
		got, err := bench.Result(made(rt, "A03", "L3", steps), level)
		require.NoError(rt, err)
		require.Equal(rt, want.Verdict, got.Verdict)
		require.Equal(rt, standing(want), standing(got))
	})
}

// blocked reports steps that another step undoes or cannot follow: what was read
// twice before one of both was changed is no longer the same.
func blocked(name string, picked []string) bool {
	return name == "an image read twice" && slices.Contains(picked, "FW-003 firmware:bios")
}

// Less evidence than the policy requires never leaves a pass, whichever sources are
// gone, and it is told what is missing.
func TestLessIsInconclusive(t *testing.T) {
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	required := []string{
		"sys/firmware/dmi/", "sys/bus/pci/", "sys/bus/usb/", "sys/firmware/acpi/", "sys/class/nvme/ sys/class/block/", "ipmi/", "sys/kernel/security/tpm0/", "proc/cpuinfo",
		"sys/bus/i2c/", "sys/class/net/", "sys/firmware/dmi/tables/DMI", "sys/bus/pci/devices/0000:08:00.0/", "sys/bus/i2c/devices/0-0050/", "sys/class/nvme/",
	}
	less := func(t require.TestingT, gone []string, more string) {
		r, err := bench.Result(made(t, "A03", "L4", more+"drop "+strings.Join(gone, " ")+"\n"), efficacy.L4)
		require.NoError(t, err)
		require.NotEqual(t, assay.Pass, r.Verdict, gone)
		if r.Verdict == assay.Inconclusive {
			require.True(t, slices.ContainsFunc(r.Required, func(q assay.Required) bool { return !q.Proved && q.Reason != "" }), gone)
		}
	}
	for _, source := range required {
		less(t, []string{source}, "")
	}
	rapid.Check(t, func(rt *rapid.T) {
		gone := rapid.SliceOfNDistinct(rapid.SampledFrom(required), 1, 5, rapid.ID[string]).Draw(rt, "gone")
		var outer []string // a file below a folder that is gone cannot be dropped again
		for _, g := range strings.Fields(strings.Join(gone, " ")) {
			if !slices.ContainsFunc(outer, func(o string) bool { return strings.HasPrefix(o, g) || strings.HasPrefix(g, o) }) {
				outer = append(outer, g)
			}
		}
		less(rt, outer, habits[rapid.SampledFrom(slices.Sorted(maps.Keys(habits))).Draw(rt, "habit")])
	})
}

// more are artefacts of which somebody could hope that they explain a crime away.
var more = []string{
	"write sys/bus/pci/devices/0000:09:00.0/label \"Onboard LAN\\n\"\n", "write sys/bus/pci/devices/0000:09:00.0/physfn \"0000:08:00.0\\n\"\n",
	"write sys/bus/usb/devices/1-3/serial \"1\\n\"\n", "write firmware/bmc.rom x\n", "write ipmi/fru-7.bin x\n", "write sys/firmware/efi/efivars/Boot0009-8be4df61-93ca-11d2-aa0d-00e098032b8c xxxx\n",
	"write redfish/h/redfish/v1/index.json {}\n", "write pass2/proc/version \"Linux\\n\"\n", "write i2c/detect-9.txt \"     0  1\\n\"\n", "write tpm/ek-0x01c0000a.crt x\n",
	"write spdm/x/index.json {}\n", "write sys/class/block/sdz/device/model \"x\\n\"\n", "write proc/modules \"x\\n\"\n", "second-read bios\n",
}

// More evidence never takes back a failure: neither that of a higher level, nor
// what somebody adds.
func TestMoreIsNoExcuse(t *testing.T) {
	bench, err := efficacy.NewBench(root)
	require.NoError(t, err)
	for _, crime := range slices.Sorted(maps.Keys(crimes)) {
		failed := false
		for _, l := range efficacy.Levels() {
			r, err := bench.Result(made(t, "A03", "L4", crimes[crime]), l)
			require.NoError(t, err)
			require.False(t, failed && r.Verdict != assay.Fail, "%s at %s", crime, l)
			failed = r.Verdict == assay.Fail
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		steps := habits[rapid.SampledFrom(slices.Sorted(maps.Keys(habits))).Draw(rt, "habit")]
		for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(slices.Sorted(maps.Keys(crimes))), 1, 2, rapid.ID[string]).Draw(rt, "crimes") {
			steps += crimes[c]
		}
		low := rapid.SampledFrom([]efficacy.Level{efficacy.L2, efficacy.L3, efficacy.L4}).Draw(rt, "level")
		high := rapid.SampledFrom(efficacy.Levels()[low:]).Draw(rt, "higher level")
		before, err := bench.Result(made(rt, "A03", "L4", steps), low)
		require.NoError(rt, err)
		if before.Verdict != assay.Fail {
			return
		}
		for _, m := range rapid.SliceOfNDistinct(rapid.SampledFrom(more), 0, 4, rapid.ID[string]).Draw(rt, "more") {
			steps += m
		}
		after, err := bench.Result(made(rt, "A03", "L4", steps), high)
		require.NoError(rt, err)
		require.Equal(rt, assay.Fail, after.Verdict, "%v, before %v", standing(after), standing(before))
	})
}
