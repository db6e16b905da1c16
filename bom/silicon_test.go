package bom_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// numbered is the reference machine with what its first package has from its
// maker; every processor of it says the same.
func numbered(t *testing.T, ppin string, change func(tree)) *bom.Inventory {
	t.Helper()
	f := lab(t)
	for n := range 2 {
		dir := fmt.Sprintf("sys/devices/system/cpu/cpu%d", n)
		f[dir+"/topology/physical_package_id"] = []byte("0\n")
		f[dir+"/topology/ppin"], f[dir+"/microcode/version"] = []byte(ppin+"\n"), []byte("0x2b000603\n")
	}
	change(f)
	return read(t, f)
}

func untouched(tree) {}

func TestAProcessorOfTheSameModelIsAnother(t *testing.T) {
	inv := numbered(t, "0x3f1a2b3c4d5e6f70", untouched)
	cpu := inv.ByClass(bom.Processor)[0]
	require.Equal(t, "0x3f1a2b3c4d5e6f70", cpu.Attributes["ppin"])
	require.Equal(t, "0x2b000603", cpu.Attributes["microcode"])
	refs, closures := bom.Draft(inv, true)
	told := func(inv *bom.Inventory) []finding.Finding {
		return slices.DeleteFunc(bom.Match(refs, closures, inv).Findings, func(f finding.Finding) bool { return f.Severity < finding.Low })
	}
	require.Empty(t, told(inv))
	fs := told(numbered(t, "0x3f1a2b3c4d5e6f71", untouched))
	require.Len(t, fs, 1)
	require.Equal(t, finding.InstanceReplaced, fs[0].Code)
	require.Equal(t, cpu.Subject, fs[0].Subject)
	require.Empty(t, told(read(t, lab(t))), "only root may read it")
	require.Empty(t, told(numbered(t, "0x0", untouched)), "firmware may lock it")

	model, _ := bom.Draft(inv, false)
	require.False(t, slices.ContainsFunc(model, func(r bom.Reference) bool { return r.Attributes["ppin"] != "" }), "a model has no numbers")
}

func TestOnePackageTellsTwoStories(t *testing.T) {
	quiet := len(findings(read(t, lab(t)), finding.SourcesContradict))
	for _, attr := range []string{"topology/ppin", "microcode/version"} {
		inv := numbered(t, "0x11", func(f tree) { f["sys/devices/system/cpu/cpu1/"+attr] = []byte("0x12\n") })
		require.Len(t, findings(inv, finding.SourcesContradict), quiet+1, attr)
	}
}

func TestMoreMemoryThanTheFirmwareLists(t *testing.T) {
	f := lab(t)
	f["sys/devices/system/edac/mc/mc0/dimm0/size"] = []byte("1024\n")
	require.Empty(t, findings(read(t, f), finding.CapacityDiffers))
	f["sys/devices/system/edac/mc/mc1/dimm7/size"] = []byte("4294967295\n")
	fs := findings(read(t, f), finding.CapacityDiffers)
	require.Len(t, fs, 1)
	require.Contains(t, fs[0].Got, "behind the memory controllers")
}

func TestMemoryOnCXLSpeaksForItsFunction(t *testing.T) {
	f := lab(t)
	dir := "sys/bus/cxl/devices/mem0"
	f[dir+"/path"] = []byte("/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0/mem0\n")
	f[dir+"/firmware_version"], f[dir+"/serial"], f[dir+"/ram/size"] = []byte("1.2.3\n"), []byte("0x1\n"), []byte("0x4000000000\n")
	p := part(t, read(t, f), "pci:0000:01:00.0")
	require.Equal(t, "1.2.3", p.Identity.Firmware)
	require.Equal(t, "0x1", p.Attributes["cxlSerial"])
}

func TestADiskIsHeldAgainstItsIdentificationPage(t *testing.T) {
	f := lab(t)
	dir := "sys/class/block/sdq/device"
	f[dir+"/model"], f[dir+"/wwid"] = []byte("DISK"), []byte("naa.5000c500a1b2c3d4\n")
	f[dir+"/vpd_pg80"] = append([]byte{0, 0x80, 0, 6}, "ZA1234"...)
	f[dir+"/vpd_pg83"] = []byte{0, 0x83, 0, 12, 1, 3, 0, 8, 0x50, 0, 0xc5, 0, 0xa1, 0xb2, 0xc3, 0xd4}
	inv := read(t, f)
	require.Equal(t, "5000c500a1b2c3d4", part(t, inv, "storage:disk ZA1234").Attributes["wwn"])
	quiet := len(findings(inv, finding.SourcesContradict))
	f[dir+"/wwid"] = []byte("naa.5000c500a1b2c3d5\n")
	require.Len(t, findings(read(t, f), finding.SourcesContradict), quiet+1)
	f[dir+"/vpd_pg83"] = f[dir+"/vpd_pg83"][:12]
	require.NotEmpty(t, findings(read(t, f), finding.InputMalformed))
}
