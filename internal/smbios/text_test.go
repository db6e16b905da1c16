package smbios

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

const printed = "# dmidecode 3.3\nGetting SMBIOS data from sysfs.\nSMBIOS 3.2.0 present.\n\n" +
	"Handle 0x0000, DMI type 0, 26 bytes\nBIOS Information\n\tVendor: Example Firmware\n\tVersion: 1.7.4\n\tRelease Date: 12/09/2020\n\tROM Size: 16 MB\n\tCharacteristics:\n\t\tPCI is supported\n\t\tSystem is a virtual machine\n\n" +
	"Handle 0x0100, DMI type 1, 27 bytes\nSystem Information\n\tManufacturer: Example Systems\n\tProduct Name: R1  \n\tVersion: Not Specified\n\tSerial Number: S-1001\n\tUUID: 4C4C4544-0031-5710-804C-B1C04F4B3933\n\n" +
	"Handle 0x0400, DMI type 4, 48 bytes\nProcessor Information\n\tSocket Designation: CPU1\n\tID: 57 06 05 00 FF FB EB BF\n\tStatus: Populated, Enabled\n\tCore Count: 24\n\n" +
	"Handle 0x0900, DMI type 9, 17 bytes\nSystem Slot Information\n\tDesignation: PCIe Slot 1\n\tCurrent Usage: In Use\n\tBus Address: 0000:3b:00.0\n\n" +
	"Handle 0x1000, DMI type 16, 23 bytes\nPhysical Memory Array\n\tUse: System Memory\n\n" +
	"Handle 0x1100, DMI type 17, 84 bytes\nMemory Device\n\tArray Handle: 0x1000\n\tSize: 32 GB\n\tLocator: A1\n\tBank Locator: Not Specified\n\tSpeed: 2933 MT/s\n\tManufacturer: 00AD063200AD\n\tModule Manufacturer ID: Bank 1, Hex 0xAD\n\n" +
	"Handle 0x1101, DMI type 17, 84 bytes\nMemory Device\n\tArray Handle: 0x1000\n\tSize: No Module Installed\n\tLocator: A2\n\n" +
	"Handle 0x1300, DMI type 19, 31 bytes\nMemory Array Mapped Address\n\tStarting Address: 0x00000000000\n\tEnding Address: 0x007FFFFFFFF\n\n" +
	"Handle 0x2900, DMI type 41, 11 bytes\nOnboard Device\n\tReference Designation: NIC 1\n\tStatus: Enabled\n\tType Instance: 1\n\tBus Address: 0000:04:00.0\n\n" +
	"Handle 0x7F00, DMI type 127, 4 bytes\nEnd Of Table\n\n"

func TestText(t *testing.T) {
	check := func(text []byte) {
		tab, err := ParseText(text)
		require.NoError(t, err)
		require.Empty(t, tab.Problems)
		require.Len(t, tab.Structures, 10)
		require.True(t, tab.BIOS[0].Virtual)
		require.Equal(t, uint64(16<<20), tab.BIOS[0].ROMSize)
		require.Equal(t, "R1  ", tab.Systems[0].Product, "as stored; trimming is for the reader")
		require.Empty(t, tab.Systems[0].Version)
		require.Equal(t, "4c4c4544-0031-5710-804c-b1c04f4b3933", tab.Systems[0].UUID)
		require.Equal(t, uint32(0x00050657), tab.Processors[0].Signature)
		require.True(t, tab.Processors[0].Populated)
		require.Equal(t, 24, tab.Processors[0].Cores)
		require.Equal(t, "0000:3b:00.0", tab.Slots[0].Address.String())
		require.Equal(t, uint64(32<<30), tab.MemoryDevices[0].Size)
		require.Equal(t, uint16(0xad00), tab.MemoryDevices[0].ModuleManufacturerID)
		require.False(t, tab.MemoryDevices[1].Installed)
		require.Equal(t, uint64(0x7ffffffff), tab.MappedAddresses[0].End)
		require.Equal(t, "NIC 1", tab.Onboard[0].Designation)
	}
	check([]byte(printed))
	check([]byte(strings.ReplaceAll(printed, "\n", "\r\n")))
	wide := []byte("\xff\xfe")
	for _, u := range utf16.Encode([]rune(printed)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	check(wide)
}

func TestHostileText(t *testing.T) {
	_, err := ParseText([]byte("no such text\n"))
	require.ErrorIs(t, err, ErrNoTable)

	cut, err := ParseText([]byte(printed[:strings.Index(printed, "\tLocator: A2")]))
	require.NoError(t, err)
	require.Len(t, cut.MemoryDevices, 2)
	require.NotEqual(t, uint8(127), cut.Structures[len(cut.Structures)-1].Type, "the end is missing, and shows")

	twice, err := ParseText([]byte(printed + printed))
	require.NoError(t, err)
	require.Len(t, twice.Systems, 2, "a handle that stands twice hides nothing")

	long, err := ParseText([]byte("Handle 0x0001, DMI type 1, 27 bytes\nSystem Information\n\tProduct Name: " + strings.Repeat("x", 1<<20) + "\n"))
	require.NoError(t, err)
	require.Less(t, len(long.Systems[0].Product), maxLine)
	require.Contains(t, long.Problems[0].What, "a line of")

	many, err := ParseText([]byte(strings.Repeat("Handle 0x0001, DMI type 17, 84 bytes\nMemory Device\n\tSize: 32 GB\n", 350_000)))
	require.NoError(t, err)
	require.Len(t, many.Structures, maxStructures)
	require.Contains(t, many.Problems[0].What, "more than")
	lines := append([]byte("Handle 0x0001, DMI type 11, 5 bytes\nOEM Strings\n"), bytes.Repeat([]byte("\tString 1: x\n\t\tlist\n"), 500_000)...)
	_, err = ParseText(lines)
	require.NoError(t, err)
}

func FuzzParseText(f *testing.F) {
	f.Add([]byte(printed))
	f.Add([]byte(printed[:len(printed)/2]))
	f.Add([]byte("Handle 0x0029, DMI type 10, 6 bytes\nOn Board Device 1 Information\n\tType: Video\nOn Board Device 2 Information\n\tDescription: x\n"))
	f.Add([]byte("\xff\xfeH\x00a\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		tab, err := ParseText(in)
		if err != nil {
			require.ErrorIs(t, err, ErrNoTable)
			return
		}
		require.LessOrEqual(t, len(tab.Structures), maxStructures)
		for _, s := range tab.Structures {
			require.GreaterOrEqual(t, s.Length, 0)
			require.LessOrEqual(t, s.Offset+s.Length, len(utf8Text(in)))
		}
	})
}
