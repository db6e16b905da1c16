package bom_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fixture"
)

type tree = map[string][]byte

func lab(t testing.TB) tree {
	t.Helper()
	f, err := fixture.Machine("..", "baseline")
	require.NoError(t, err)
	return f
}

func read(t testing.TB, f tree) *bom.Inventory {
	t.Helper()
	b, err := evidence.FromFiles(f, "test", evidence.Limits{})
	require.NoError(t, err)
	return bom.Read(b)
}

func part(t testing.TB, inv *bom.Inventory, subject string) bom.Part {
	t.Helper()
	p, ok := inv.Part(subject)
	require.True(t, ok, "no part %s", subject)
	return p
}

func findings(inv *bom.Inventory, code finding.Code) []finding.Finding {
	var out []finding.Finding
	for _, f := range inv.Findings {
		if f.Code == code {
			out = append(out, f)
		}
	}
	return out
}

func TestEachValueKeepsItsOrigin(t *testing.T) {
	inv := read(t, lab(t))
	for subject, want := range map[string]struct {
		field  string
		source finding.Source
		reader string
	}{
		"system":               {"serial", finding.FirmwareTold, "smbios:1"},
		"dimm:P1-DIMMC1":       {"partNumber", finding.FirmwareTold, "smbios:17"},
		"pci:0000:01:00.0":     {"model", finding.SiliconAnswered, "pci:config"},
		"fru:0":                {"serial", finding.PartMemory, "fru"},
		"bmc":                  {"model", finding.BMCTold, "ipmi"},
		"usb:2-2":              {"serial", finding.SiliconAnswered, "usb"},
		"tpm":                  {"maker", finding.SiliconAnswered, "tpm"},
		"processor:CPU 0":      {"brand", finding.SiliconAnswered, "cpuinfo"},
		"acpi:DSDT BXPC":       {"digest", finding.FirmwareTold, "acpi"},
		"network:0000:05:00.0": {"serial", finding.SiliconAnswered, "net"},
	} {
		v, ok := part(t, inv, subject).Values[want.field]
		require.True(t, ok, "%s %s", subject, want.field)
		require.Equal(t, want.source, v.Source, subject)
		require.Equal(t, want.reader, v.Reader, subject)
		require.NotEmpty(t, v.Basis.Artifact, subject)
		require.Len(t, v.Basis.SHA256, 64, subject)
	}
}

func TestPlacesCarryTheWordsOnTheBoard(t *testing.T) {
	inv := read(t, lab(t))
	require.Equal(t, "SLOT4 PCIe x16 (riser)", part(t, inv, "pci:0000:05:00.0").Location.Slot, "a device behind a switch is in the slot of the switch")
	require.Equal(t, "pci0000:00/04.0/00.0/00.0/00.0", part(t, inv, "pci:0000:05:00.0").Location.Path)
	require.Equal(t, "P1-DIMMA1", part(t, inv, "dimm:P1-DIMMA1").Location.Designator)
	empty, holds := 0, map[string]string{}
	for _, p := range inv.Places {
		if p.Kind == "dimm" && !p.InUse {
			empty++
		}
		holds[p.Designator] = p.Subject
	}
	require.Equal(t, "pci:0000:05:00.0", holds["SLOT4 PCIe x16 (riser)"], "a slot holds a card, not the ports that lead to it")
	require.Equal(t, 4, empty)
}

// The chain of bridges is the same whether the kernel's path was captured or
// only the registers.
func TestPathsFollowFromTheRegistersToo(t *testing.T) {
	f := lab(t)
	want := read(t, f)
	maps.DeleteFunc(f, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "sys/bus/pci/") && strings.HasSuffix(p, "/path")
	})
	got := read(t, f)
	for _, p := range want.ByClass(bom.PCI) {
		require.Equal(t, p.Location.Path, part(t, got, p.Subject).Location.Path)
	}
}

func TestUnseenClassesSayWhy(t *testing.T) {
	inv := read(t, tree{"proc/cmdline": []byte("quiet")})
	for _, c := range []bom.Class{bom.System, bom.PCI, bom.USB, bom.Storage, bom.ACPI, bom.TPM, bom.FRU, bom.BMC, bom.I2C, bom.Network} {
		require.False(t, inv.Classes[c].Observed, c)
		require.NotEmpty(t, inv.Classes[c].Reason, c)
	}
	require.Empty(t, inv.Parts)
}

func TestDeniedSourceIsNamed(t *testing.T) {
	index := `{"format":"assay.evidence/v1","collectedAt":"2026-01-15T12:00:00Z","artifacts":[{"path":"sys/firmware/dmi/tables/DMI","sha256":"","size":0,"status":"denied","reason":"permission denied"}]}`
	inv := read(t, tree{"evidence.json": []byte(index)})
	require.Contains(t, inv.Classes[bom.Memory].Reason, "permission denied")
}

func TestSinglePCIReadsAreNoInventory(t *testing.T) {
	f := tree{}
	for i := range 3 {
		maps.Copy(f, strangeFunction(fmt.Sprintf("0000:00:%02x.0", i)))
	}
	require.False(t, read(t, f).Classes[bom.PCI].Whole)
	f["sys/bus/pci/devices/0000:00:00.0/resource"] = []byte("0x0 0x0 0x0\n")
	require.True(t, read(t, f).Classes[bom.PCI].Whole)
}

func TestModuleThatTheFirmwareDoesNotList(t *testing.T) {
	f := lab(t)
	for _, a := range []string{"0054", "0055", "0056", "0057"} {
		f["sys/bus/i2c/devices/0-"+a+"/eeprom"] = f["sys/bus/i2c/devices/0-0050/eeprom"]
	}
	inv := read(t, f)
	require.Len(t, findings(inv, finding.HiddenFunction), 4)
	require.Equal(t, "dimm:spd 0-0054", findings(inv, finding.HiddenFunction)[0].Subject)
}

func TestMemoryThatDoesNotAddUp(t *testing.T) {
	f := lab(t)
	f["proc/meminfo"] = []byte("MemTotal:        8388608 kB\n")
	got := findings(read(t, f), finding.CapacityDiffers)
	require.Len(t, got, 1)
	require.Equal(t, "at most 4096 MiB", got[0].Want)
	f["proc/meminfo"] = []byte("MemTotal: lots\n")
	require.Empty(t, findings(read(t, f), finding.CapacityDiffers))
}

func TestDeviceThatOwnsMemoryButIsNotListed(t *testing.T) {
	f := lab(t)
	f["proc/iomem"] = []byte("c0000000-cfffffff : PCI Bus 0000:09\n  c0000000-c00fffff : 0000:09:00.0\n  c1e20000-c1e3ffff : 0000:01:00.0\n")
	got := findings(read(t, f), finding.HiddenFunction)
	require.Len(t, got, 1)
	require.Equal(t, "pci:0000:09:00.0", got[0].Subject)
}

// config is a PCI Express function with the capabilities that a test needs.
func config(vendor, device uint16, edit func(c []byte)) []byte {
	c := make([]byte, 4096)
	binary.LittleEndian.PutUint16(c, vendor)
	binary.LittleEndian.PutUint16(c[2:], device)
	c[0x06] = 0x10
	c[0x34] = 0x40
	c[0x40], c[0x42] = 0x10, 0x02
	if edit != nil {
		edit(c)
	}
	return c
}

func TestVirtualFunctionsAreThoseThatTheRegistersMake(t *testing.T) {
	pf := config(0x8086, 0x1521, func(c []byte) {
		head := c[0x100:]
		binary.LittleEndian.PutUint32(head, 0x0010|1<<16) // SR-IOV
		head[8] = 1                                       // enabled
		binary.LittleEndian.PutUint16(head[0x0c:], 4)
		binary.LittleEndian.PutUint16(head[0x0e:], 4)
		binary.LittleEndian.PutUint16(head[0x10:], 2) // two of them
		binary.LittleEndian.PutUint16(head[0x14:], 8) // first at +8
		binary.LittleEndian.PutUint16(head[0x16:], 1)
	})
	f := tree{"sys/bus/pci/devices/0000:03:00.0/config": pf}
	for _, vf := range []string{"0000:03:01.0", "0000:03:01.1", "0000:03:01.2"} {
		f["sys/bus/pci/devices/"+vf+"/config"] = config(0x8086, 0x1520, nil)
		f["sys/bus/pci/devices/"+vf+"/physfn"] = []byte("0000:03:00.0\n")
	}
	inv := read(t, f)
	require.Equal(t, bom.VirtualFunction, part(t, inv, "pci:0000:03:01.0").Volatile)
	require.Equal(t, bom.VirtualFunction, part(t, inv, "pci:0000:03:01.1").Volatile)
	require.Empty(t, part(t, inv, "pci:0000:03:01.2").Volatile, "a third one is not made by NumVFs 2")
	require.Len(t, findings(inv, finding.SourcesContradict), 1)
}

func TestPortsWithSignsOfADeviceAndNone(t *testing.T) {
	port := func(edit func(c []byte)) tree {
		return tree{"sys/bus/pci/devices/0000:00:1c.0/config": config(0x8086, 0xa110, func(c []byte) {
			c[0x0e] = 1
			c[0x19], c[0x1a] = 2, 2
			binary.LittleEndian.PutUint16(c[0x42:], 0x0142) // root port with a slot
			edit(c[0x40:])
		})}
	}
	for name, x := range map[string]struct {
		edit func(e []byte)
		hit  bool
	}{
		"nothing":         {func([]byte) {}, false},
		"presence":        {func(e []byte) { e[0x1a] = 0x40 }, true},
		"power on":        {func(e []byte) { e[0x14] = 0x02 }, true},
		"power off":       {func(e []byte) { e[0x14], e[0x19] = 0x02, 0x04 }, false},
		"link active":     {func(e []byte) { e[0x0e], e[0x13] = 0x10, 0x20 }, true},
		"no power switch": {func(e []byte) { e[0x19] = 0x00 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, x.hit, len(findings(read(t, port(x.edit)), finding.HiddenFunction)) > 0)
		})
	}
}

func TestManagementControllerInBothForms(t *testing.T) {
	raw := []byte{0x20, 0x01, 0x01, 0x74, 0x02, 0xbf, 0x7c, 0x2a, 0x00, 0x69, 0x09}
	for name, data := range map[string][]byte{"plain": raw, "with completion code": append([]byte{0}, raw...)} {
		t.Run(name, func(t *testing.T) {
			p := part(t, read(t, tree{"ipmi/device-id.bin": data}), "bmc")
			require.Equal(t, []string{"pen:10876"}, p.Identity.MakerIDs)
			require.Equal(t, "product 0969", p.Identity.Model)
			require.Equal(t, "1.74", p.Identity.Firmware)
		})
	}
	inv := read(t, tree{"ipmi/device-id.bin": {1, 2, 3}})
	require.NotEmpty(t, findings(inv, finding.InputMalformed))
	require.False(t, inv.Classes[bom.BMC].Observed)
}

func TestAddressesThatTheSystemMadeUpIdentifyNothing(t *testing.T) {
	f := lab(t)
	f["sys/class/net/eth0/addr_assign_type"] = []byte("3\n")
	require.Empty(t, part(t, read(t, f), "network:0000:01:00.0").Identity.Serial)
	f["sys/class/net/eth0/perm_address"] = []byte("ac:1f:6b:00:42:01\n")
	require.Equal(t, "ac:1f:6b:00:42:01", part(t, read(t, f), "network:0000:01:00.0").Identity.Serial)
}

func TestDrivesAreKnownByWhatTheySay(t *testing.T) {
	inv := read(t, tree{
		"sys/class/block/sda/device/model": []byte("ST600MM0009     \n"), "sys/class/block/sda/device/vendor": []byte("SEAGATE \n"),
		"sys/class/block/sda/device/vpd_pg80": append([]byte{0, 0x80, 0, 8}, "W0M00042"...), "sys/class/block/sda/size": []byte("16384\n"),
		"sys/class/block/loop0/size": []byte("8\n"),
	})
	p := part(t, inv, "storage:disk W0M00042")
	require.Equal(t, "8", p.Attributes["sizeMiB"])
	require.Equal(t, "SEAGATE", p.Identity.Maker)
	require.Len(t, inv.ByClass(bom.Storage), 1, "a loop device is no drive")
}

func TestOddEvidenceIsReportedAndNeverFatal(t *testing.T) {
	f := lab(t)
	for _, p := range []string{
		"sys/firmware/dmi/tables/DMI", "sys/bus/pci/devices/0000:01:00.0/config", "ipmi/fru-0.bin", "sys/bus/usb/devices/1-1/descriptors",
		"sys/firmware/acpi/tables/DSDT", "tpm/properties.json",
	} {
		t.Run(p, func(t *testing.T) {
			g := maps.Clone(f)
			g[p] = []byte("\xff\x00odd")
			inv := read(t, g)
			hit := false
			for _, x := range findings(inv, finding.InputMalformed) {
				hit = hit || x.Subject == "artifact:"+p
			}
			require.True(t, hit)
		})
	}
	f["sys/bus/pci/devices/not-an-address/vendor"] = []byte("0x8086")
	require.NotEmpty(t, findings(read(t, f), finding.InputMalformed))
}
