package pciconf

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// One network function as every form of lspci prints it.
var forms = map[string]string{
	"plain": "3b:00.0 Ethernet controller: Intel Corporation 82574L Gigabit Network Connection (rev 02)\n",
	"-n":    "3b:00.0 0200: 8086:10d3 (rev 02)\n",
	"-nn":   "3b:00.0 Ethernet controller [0200]: Intel Corporation 82574L Gigabit Network Connection [8086:10d3] (rev 02)\n",
	"-vnn": "0000:3b:00.0 Ethernet controller [0200]: Intel Corporation 82574L Gigabit Network Connection [8086:10d3] (rev 02) (prog-if 00 [x])\n" +
		"\tDeviceName: NIC 1\n\tSubsystem: Super Micro Computer Inc Device [15d9:1533]\n\tPhysical Slot: 3\n\tFlags: bus master, fast devsel\n" +
		"\tCapabilities: [d0] MSI: Enable- Count=1/1\n\tCapabilities: [140] Device Serial Number 00-25-90-ff-ff-01-02-03\n\tKernel driver in use: e1000e\n",
	"-mm":    "3b:00.0 \"Ethernet controller\" \"Intel Corporation\" \"82574L Gigabit Network Connection\" -r02 \"Super Micro Computer Inc\" \"Device 1533\"\n",
	"-mmnn":  "3b:00.0 \"Ethernet controller [0200]\" \"Intel Corporation [8086]\" \"82574L Gigabit Network Connection [10d3]\" -r02 \"Super Micro Computer Inc [15d9]\" \"Device [1533]\"\n",
	"-mmn":   "3b:00.0 \"0200\" \"8086\" \"10d3\" -r02 \"15d9\" \"1533\"\n",
	"-vmmnn": "Slot:\t3b:00.0\nClass:\tEthernet controller [0200]\nVendor:\tIntel Corporation [8086]\nDevice:\t82574L Gigabit Network Connection [10d3]\nSVendor:\tSuper Micro Computer Inc [15d9]\nSDevice:\tDevice [1533]\nPhySlot:\t3\nRev:\t02\n\n",
}

func TestListingForms(t *testing.T) {
	for name, text := range forms {
		t.Run(name, func(t *testing.T) {
			all, problems := ParseListing([]byte(text))
			require.Empty(t, problems)
			require.Len(t, all, 1)
			l := all[0]
			require.Equal(t, "0000:3b:00.0", l.Address)
			require.Equal(t, uint8(2), l.Revision)
			if strings.Contains(text, "82574L") {
				require.Equal(t, "Intel Corporation 82574L Gigabit Network Connection", l.Name)
			}
			if !strings.Contains(text, "8086") {
				require.Nil(t, l.Vendor, "words only")
				return
			}
			require.Equal(t, uint16(0x8086), *l.Vendor)
			require.Equal(t, uint16(0x10d3), *l.Device)
			require.Equal(t, uint16(0x0200), *l.Class)
			if strings.Contains(text, "15d9") {
				require.Equal(t, []uint16{0x15d9, 0x1533}, []uint16{*l.SubVendor, *l.Sub})
			} else {
				require.Nil(t, l.SubVendor, "not told, which is not zero")
			}
			if name == "-vnn" {
				require.Equal(t, []any{"NIC 1", "3", "e1000e", true, true, uint64(0x002590ffff010203)}, []any{l.Label, l.Slot, l.Driver, l.BusMaster, l.DMA, l.Serial})
			}
		})
	}
}

// A verbose listing shows every subsystem that is not zero; words are no ids.
func TestSubsystemNotPrinted(t *testing.T) {
	all, _ := ParseListing([]byte("00:1c.0 PCI bridge [0604]: Intel Corporation Device [8086:a190] (rev f9)\n\tBus: primary=00, secondary=01, subordinate=01, sec-latency=0\n" +
		"00:1d.0 USB [0c03]: Intel Corporation Device [8086:a191]\n\tSubsystem: Dell Device 0716\n"))
	require.Len(t, all, 2)
	require.Equal(t, uint16(0), *all[0].SubVendor)
	require.Equal(t, uint8(1), *all[0].Secondary)
	require.Nil(t, all[1].SubVendor)
}

func TestHostileListing(t *testing.T) {
	none, _ := ParseListing([]byte("nothing\n\tat all\n"))
	require.Empty(t, none)
	_, problems := ParseListing([]byte("3b:00.0 0200: 8086:10d3" + strings.Repeat(" ", 1<<20) + "\n"))
	require.Contains(t, problems[0].What, "a line of")
	var b strings.Builder
	for i := range maxListed + 10 {
		fmt.Fprintf(&b, "%04x:%02x:00.0 0200: 8086:10d3\n", i>>8, i&0xff)
	}
	all, problems := ParseListing([]byte(b.String()))
	require.LessOrEqual(t, len(all), maxListed+1)
	require.Contains(t, problems[len(problems)-1].What, "more than")
}

func FuzzParseListing(f *testing.F) {
	for _, text := range forms {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		all, _ := ParseListing(in)
		for _, l := range all {
			require.LessOrEqual(t, l.Offset+l.Length, len(in))
			require.NotEmpty(t, l.Address)
		}
	})
}
