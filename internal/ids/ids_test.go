package ids

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestRegisteredNames(t *testing.T) {
	require.Equal(t, "Intel Corporation", PCIVendor(0x8086))
	require.Equal(t, "82574L Gigabit Network Connection", PCIDevice(0x8086, 0x10d3))
	require.Equal(t, "Linux Foundation", USBVendor(0x1d6b))
	require.Equal(t, "Super Micro Computer, Inc.", OUI("AC:1F:6B:00:00:01"))
	require.Equal(t, "Super Micro Computer, Inc.", OUI("ac-1f-6b"))
	require.Equal(t, "Infineon", TPMVendor("IFX\x00"))
	require.Equal(t, "Infineon", TPMVendor("ifx "))
	for _, none := range []string{PCIVendor(0xfff0), PCIDevice(0x8086, 0xffff), USBVendor(0xfffe), OUI("02:00:00:00:00:01"), OUI("zz"), OUI("zzzzzz"), TPMVendor("????")} {
		require.Empty(t, none)
	}
}

// The tables travel in every binary, the scanner included.
func TestTablesStaySmall(t *testing.T) {
	total := int64(0)
	for _, name := range []string{"pci", "class", "usb", "oui", "jep106"} {
		info, err := os.Stat("data/" + name + ".lzma")
		require.NoError(t, err)
		total += info.Size()
	}
	require.Less(t, total, int64(600<<10))
	require.Greater(t, len(pciNames()), 19000)
	require.Greater(t, len(ouiNames()), 30000)
	require.Len(t, jep106Names(), 2136)
}

func TestJEDECSpellings(t *testing.T) {
	for s, want := range map[string]string{
		"80CE": "jedec:00ce", "0x80CE": "jedec:00ce", "0xCE80": "jedec:00ce", "CE80": "jedec:00ce", "00CE": "jedec:00ce",
		"0x2c80": "jedec:002c", "0xAD00": "jedec:00ad", "CE00000000000000": "jedec:00ce", "0x7F98000000000000": "jedec:0198",
		"7F98": "jedec:0198", "7F7F7F7F7F510000": "jedec:0551", "JEDEC ID:80 2C": "jedec:002c", "JEDEC ID:7F 98 00 00 00 00 00 00": "jedec:0198",
		"Bank 1, Hex 0xCE": "jedec:00ce", "bank 2, hex 98": "jedec:0198", "44288": "jedec:00ad", "00CE00B300CE": "jedec:00ce",
		"CE00B300CE00": "jedec:00ce", "jedec:00ce": "jedec:00ce", "jedec:0198": "jedec:0198", " 0198 ": "jedec:0198", "830B": "jedec:030b",
	} {
		j, ok := ParseJEDEC(s)
		require.True(t, ok, s)
		require.Equal(t, want, j.String(), s)
		require.NotEmpty(t, j.Name(), s)
	}
	for _, s := range []string{
		"", "Samsung", "0000", "FFFF", "FFFFFFFFFFFF", "0000000000000000", "000080B3802C", "1315", "12345", "Bank 0, Hex 0xCE",
		"Bank 999, Hex 0xCE", "CE01000000000000", "7F7F", "jedec:", "0x", "8", "00CE00B300CE00CE00",
	} {
		j, ok := ParseJEDEC(s)
		require.False(t, ok, "%s: %s", s, j)
		require.Empty(t, j.String())
	}
}

// Makers that procurement rules name are told apart in the bytes of an SPD.
func TestRestrictedMakers(t *testing.T) {
	for s, want := range map[string]string{"8A91": "CXMT", "899B": "YMTC"} {
		j, ok := ParseJEDEC(s)
		require.True(t, ok, s)
		require.Equal(t, want, Maker(j.Name()), s)
	}
	require.Contains(t, PCIVendor(0x1e49), "Yangtze Memory")
}

func TestPCIClasses(t *testing.T) {
	for class, want := range map[uint32]string{
		0x020000: "Ethernet controller", 0x010802: "Non-Volatile memory controller: NVM Express", 0x0c0330: "USB controller: XHCI",
		0x060400: "PCI bridge: Normal decode", 0x02ff00: "Network controller", 0xfe0000: "",
	} {
		require.Equal(t, want, PCIClass(class), "%06x", class)
	}
}

func TestJEDECRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := JEDEC{rapid.Uint8Range(0, 16).Draw(t, "bank"), rapid.Uint8Range(1, 126).Draw(t, "code")}
		if j.Name() == "" {
			t.Skip("not registered")
		}
		got, ok := ParseJEDEC(j.String())
		require.True(t, ok)
		require.Equal(t, j, got)
		spd, ok := JEDECBytes(withParity(j.Bank), withParity(j.Code))
		require.True(t, ok)
		require.Equal(t, j, spd)
		word, ok := JEDECWord(uint16(withParity(j.Bank)) | uint16(withParity(j.Code))<<8)
		require.True(t, ok)
		require.Equal(t, j, word)
	})
}

// The six bytes name the register and the DRAM too: no other source of SMBIOS
// does.
func TestComposite(t *testing.T) {
	for s, want := range map[string][3]string{
		"00CE00B300CE": {"Samsung", "IDT", "Samsung"},
		"00AD063200AD": {"SK Hynix", "Montage Technology Group", "SK Hynix"},
		"CE00B304CE00": {"Samsung", "Inphi Corporation", "Samsung"},
		"019804B300AD": {"Kingston", "Inphi Corporation", "SK Hynix"},
		"00AD00000A07": {"SK Hynix", "", ""}, // the last pair counts modules
		"000080B3802C": {"", "IDT", "Micron Technology"},
	} {
		c, ok := ParseComposite(s)
		require.True(t, ok, s)
		require.Equal(t, want, [3]string{c.Module.Name(), c.Register.Name(), c.DRAM.Name()}, s)
	}
	for _, s := range []string{"", "FFFFFFFFFFFF", "000000000000", "80CE", "Samsung"} {
		_, ok := ParseComposite(s)
		require.False(t, ok, s)
	}
}

func TestPlaceholders(t *testing.T) {
	for _, s := range []string{
		"", "   ", "\x00", "Not Specified", "To Be Filled By O.E.M.", "0123456789", "1234567890", "123456789", "01234567890123456789AB",
		"XxXxXxX", "....................", "SKU Number", "Type1Family", "empty", "[Empty]", "NULL", "(none)", "Manufacturer0", "SerNum0", "PartNum0",
		"NO DIMM         ", "<BAD INDEX>", "00000000", "FFFFFFFF", "0x00000000", "Dimm3_Manufacturer", "DimmA2_Manufacturer", "ModulePartNumber01",
		"ChannelA_Dimm1_Manufacturer", "Channe 2_Dimm0_Manufacturer", "Array 1 Manufacturer 2", "DIMM_A2_Manufacturer", "A1_Manufacturer0",
		"Dimm1_Manufacturer_Name_String", "MemUndefined", "Default string", "...f+.$.....Q......;.fa.....fPfQ", "\x01\x02ab", "\xff\xfe",
		"NOT SUPPORT", "Manufacturer not set ", "System Serial Number", "-", "N/A", "A1_AssetTagNum0", "Fill By OEM", "123456",
	} {
		reason, ok := Placeholder(s)
		require.True(t, ok, "%q", s)
		require.NotEmpty(t, reason)
	}
	for _, s := range []string{
		"Samsung", "M393A2K43DB2-CWE", "80CE", "S12345678", "0000:3b:00.0", "A00", "1.0", "Rev 1.10", "2RJF153", "HMA41GR7MFR8N-TFT1",
		"00CE00B300CE", "A", "1", "000", "Dell Inc.", "E09626824801435", "S2600CP ..........",
	} {
		reason, ok := Placeholder(s)
		require.False(t, ok, "%q: %s", s, reason)
	}
}

func TestIndexedFakes(t *testing.T) {
	require.True(t, IndexedFakes([]string{"SerNum0", "SerNum1", "SerNum2"}))
	require.True(t, IndexedFakes([]string{"Module2", "Module1"}))
	require.True(t, IndexedFakes([]string{"DIMM-01", "DIMM-02", "DIMM-03"}))
	for name, values := range map[string][]string{
		"one value":               {"SerNum0"},
		"none":                    nil,
		"consecutive real serial": {"S12A0001", "S12A0002"},
		"far from zero":           {"LAB141", "LAB142"},
		"gap":                     {"SerNum0", "SerNum2"},
		"duplicate":               {"SerNum0", "SerNum0"},
		"digits only":             {"0", "1"},
		"mixed":                   {"SerNum0", "PartNum1"},
	} {
		require.False(t, IndexedFakes(values), name)
	}
}

func TestMakers(t *testing.T) {
	for want, spellings := range map[string][]string{
		"SK hynix": {"Hynix", "SK Hynix", "Hyundai       ", "Hynix/Hyundai", "Hynix Semiconducto", "HYNIX SEMICONDUCTOR INC.", "0xAD", "0xAD00", "80AD", "00AD00B300AD", "AD00000000000000"},
		"Samsung":  {"Samsung", "SAMSUNG ELECTRONICS CO., LTD.", "80CE", "Bank 1, Hex 0xCE", "CE00B304CE00"},
		"Micron":   {"Micron", "Micron Technology, Inc.", "002C", "0x2C00"},
		"Kingston": {"Kingston", "Kingston Technology Corp.", "0198", "7F98"},
		"Intel":    {"Intel", "Intel(R) Corporation", "GenuineIntel"},
		"HP":       {"HP", "Hewlett-Packard", "Hewlett-Packard Company"},
		"HPE":      {"HPE", "Hewlett Packard Enterprise", "Bank 10, Hex 0x83"},
		"Dell":     {"Dell Inc.", "DELL", "Dell Computer Corporation"},
		"Lite-On":  {"LITE-ON TECHNOLOGY CORP.", "LITEON"},
		"G.Skill":  {"G.Skill", "G Skill Intl", "04CD"},
		"UniIC":    {"UniIC", "Unilc", "Bank 27, Hex 0x08"},
	} {
		for _, s := range spellings {
			require.Equal(t, want, Maker(s), s)
		}
	}
	require.Equal(t, "Obscure Parts Co.", Maker(" Obscure  Parts Co. "), "unknown names are kept")
	require.True(t, SameMaker("Obscure Parts Co., Ltd", "OBSCURE PARTS"))
	require.False(t, SameMaker("Unknown", "Unknown"), "a placeholder equals nothing")
	require.False(t, SameMaker("Kingston", "Samsung"))
	require.Empty(t, Maker("000004B30000"), "a register's maker is not the module's")
}

// A label says who sold a part, not who made it.
func TestBrandIsNoMaker(t *testing.T) {
	for _, s := range []string{"HP     ", "HPE", "Dell Inc.", "LENOVO", "Hewlett-Packard", "Supermicro"} {
		_, ok := Brand(s)
		require.True(t, ok, s)
	}
	for _, s := range []string{"Samsung", "80CE", "", "Unknown"} {
		_, ok := Brand(s)
		require.False(t, ok, s)
	}
}

func TestKeys(t *testing.T) {
	require.Equal(t, "intel xeon", Key("  Intel\t Xeon \x00garbage"))
	require.Equal(t, Key("caf\u00e9"), Key("cafe\u0301"))
	require.NotEqual(t, Key("a\xff"), Key("a\xfe"), "bad bytes are not folded together")
	require.Equal(t, `a\x01b`, Clean("a\x01b"))
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		require.Equal(t, Clean(s), Clean(Clean(s)))
		require.Equal(t, Key(s), Key(Key(s)))
	})
}

func FuzzParseJEDEC(f *testing.F) {
	for _, s := range []string{"80CE", "7F98000000000000", "00CE00B300CE", "Bank 1, Hex 0xCE", "44288", "JEDEC ID:80 2C"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if j, ok := ParseJEDEC(s); ok {
			again, ok := ParseJEDEC(j.String())
			require.True(t, ok)
			require.Equal(t, j, again)
		}
		_, _ = ParseComposite(s)
	})
}

func FuzzMaker(f *testing.F) {
	for _, s := range []string{"Hynix Semiconductor", "0xAD", "To Be Filled By O.E.M.", "Dimm3_Manufacturer", "\xff", "(R)", "0123456789AB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if _, placeholder := Placeholder(s); placeholder {
			require.Empty(t, Maker(s))
			return
		}
		require.Equal(t, Maker(s), Maker(Maker(s)), "one spelling is enough")
	})
}

func BenchmarkMaker(b *testing.B) {
	for b.Loop() {
		Maker("00AD063200AD")
	}
}

// The first look-up unpacks a table: this is what it costs.
func BenchmarkUnpack(b *testing.B) {
	for b.Loop() {
		table(pciData)
	}
}

func TestLocallyAdministered(t *testing.T) {
	for mac, want := range map[string]bool{"52:54:00:01:02:03": true, "3c:ec:ef:01:02:03": false, "AE-00": true, "00": false, "": false, "2": false} {
		require.Equal(t, want, LocallyAdministered(mac), mac)
	}
}
