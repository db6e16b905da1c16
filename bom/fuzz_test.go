package bom_test

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/fixture"
)

// fuzzed are the artefacts whose bytes the fuzzer writes, by number.
var fuzzed = []string{
	"sys/firmware/dmi/tables/DMI", "sys/firmware/dmi/tables/smbios_entry_point", "proc/cpuinfo", "proc/iomem", "proc/meminfo",
	"sys/bus/pci/devices/0000:00:02.0/config", "sys/bus/pci/devices/0000:01:00.0/config", "sys/bus/pci/devices/0000:01:00.0/rom",
	"sys/bus/pci/devices/0000:01:00.0/vpd", "sys/bus/pci/devices/0000:01:00.0/resource", "sys/bus/pci/devices/0000:01:00.0/path",
	"sys/bus/pci/devices/0000:01:00.0/physfn", "sys/bus/pci/devices/0000:01:00.0/label", "sys/bus/pci/devices/0000:01:00.0/subsystem_device",
	"sys/bus/usb/devices/1-1/descriptors", "sys/bus/usb/devices/1-1/idVendor", "sys/bus/usb/devices/1-1/removable",
	"sys/bus/i2c/devices/0-0050/eeprom", "sys/bus/i2c/devices/0-0051/eeprom", "sys/bus/i2c/devices/0-0050/name", "i2c/detect-0.txt",
	"ipmi/fru-0.bin", "ipmi/device-id.bin", "ipmi/mc-info.txt", "sys/firmware/acpi/tables/DSDT", "sys/firmware/acpi/tables/WPBT",
	"sys/class/nvme/nvme0/address", "sys/class/nvme/nvme0/model", "sys/class/block/sdb/device/model", "sys/class/block/sdb/device/vpd_pg80", "sys/class/block/sdb/size",
	"sys/class/net/eth0/path", "sys/class/net/eth0/address", "tpm/properties.json",
	"sys/class/nvme/nvme0/identify", "sys/class/net/eth0/ethtool",
	"sys/class/block/sdb/device/vpd_pg83", "sys/devices/system/cpu/cpu0/topology/ppin", "ipmi/sdr.bin", "ipmi/lan-1.bin", "ipmi/device-guid.bin", "sys/bus/spi/devices/spi0.0/spi-nor/sfdp", "sys/bus/spi/devices/spi0.0/spi-nor/jedec_id",
}

// pieces puts artefacts into one fuzz input: number, length, bytes.
func pieces(number int, data []byte) []byte {
	head := binary.LittleEndian.AppendUint16([]byte{byte(number)}, uint16(len(data)))
	return append(head, data...)
}

// overlay takes such an input apart.
func overlay(base map[string][]byte, in []byte) map[string][]byte {
	out := map[string][]byte{}
	for p, b := range base {
		out[p] = b
	}
	for len(in) >= 3 {
		n := min(int(binary.LittleEndian.Uint16(in[1:])), len(in)-3)
		out[fuzzed[int(in[0])%len(fuzzed)]] = in[3 : 3+n]
		in = in[3+n:]
	}
	return out
}

// sound checks what holds for every inventory, whatever the bytes were: it is
// the same each time, subjects are unique, and every value points at bytes that
// are there.
func sound(t *testing.T, b *evidence.Bundle, inv, again *bom.Inventory) {
	t.Helper()
	x, err := json.Marshal(inv)
	require.NoError(t, err)
	y, err := json.Marshal(again)
	require.NoError(t, err)
	require.Equal(t, string(x), string(y))
	seen := map[string]bool{}
	for _, p := range inv.Parts {
		require.False(t, seen[p.Subject], p.Subject)
		seen[p.Subject] = true
		for name, v := range p.Values {
			a, _ := b.Artifact(v.Basis.Artifact)
			require.GreaterOrEqual(t, v.Basis.Offset, int64(0), name)
			require.LessOrEqual(t, v.Basis.Offset+v.Basis.Length, a.Size, "%s of %s in %s", name, p.Subject, v.Basis.Artifact)
		}
	}
	refs, closures := bom.Draft(inv, true)
	out := bom.Match(refs, closures, inv)
	require.Len(t, bom.Match(refs, closures, again).Findings, len(out.Findings))
	for _, c := range out.Coverage {
		require.LessOrEqual(t, c.Matched+c.NotObservable, c.Declared, c.Class)
	}
}

func FuzzRead(f *testing.F) {
	whole, err := fixture.Machine("..", "baseline")
	require.NoError(f, err)
	base := map[string][]byte{}
	for i, p := range fuzzed {
		if b, ok := whole[p]; ok {
			base[p] = b
			if len(b) < 1<<16 {
				f.Add(pieces(i, b))
				f.Add(pieces(i, b[:len(b)/2]))
			}
		}
	}
	for p, b := range whole {
		if len(b) <= 64 && len(p) > 8 && (p[:8] == "sys/bus/" || p[:8] == "sys/clas") {
			base[p] = b
		}
	}
	reference, err := evidence.FromFiles(base, "reference", evidence.Limits{})
	require.NoError(f, err)
	refs, closures := bom.Draft(bom.Read(reference), true)
	f.Add(append(pieces(11, []byte("0000:00:02.0")), pieces(10, []byte("/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0"))...))
	f.Add(pieces(22, make([]byte, 15)))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := evidence.FromFiles(overlay(base, in), "fuzz", evidence.Limits{})
		require.NoError(t, err)
		inv := bom.Read(b)
		sound(t, b, inv, bom.Read(b))
		out := bom.Match(refs, closures, inv)
		for _, c := range out.Coverage {
			require.LessOrEqual(t, c.Matched, c.Declared, c.Class)
		}
	})
}

func FuzzReadDump(f *testing.F) {
	whole, err := fixture.Machine("..", "baseline")
	require.NoError(f, err)
	for _, p := range []string{"sys/firmware/dmi/tables/DMI", "ipmi/fru-0.bin", "sys/bus/i2c/devices/0-0050/eeprom"} {
		f.Add(whole[p])
	}
	f.Add([]byte("01:00.0 Ethernet controller: x\n00: 86 80 d3 10 07 04 10 00 00 00 00 02 10 00 00 00\n10: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n20: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00\n30: 00 00 00 00 c8 00 00 00 00 00 00 00 0b 01 00 00\n"))
	f.Add([]byte("23 11 0c 02\n"))
	f.Add([]byte(words()))
	f.Add([]byte(plainNIC))
	f.Add([]byte(verboseNIC))
	for _, name := range []string{"testdata/lab.dmidecode.txt", "../internal/lshw/testdata/server.json", "../internal/lshw/testdata/server.xml", "../internal/lshw/testdata/server.txt"} {
		b, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		inv, err := bom.ReadDump("fuzz", in)
		if err != nil {
			require.Nil(t, inv)
			require.ErrorContains(t, err, "fuzz")
			return
		}
		again, err := bom.ReadDump("fuzz", in)
		require.NoError(t, err)
		x, _ := json.Marshal(inv)
		y, _ := json.Marshal(again)
		require.Equal(t, string(x), string(y))
	})
}
