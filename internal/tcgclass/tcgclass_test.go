package tcgclass

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/nvmeid"
	"github.com/assay-hw/assay/internal/pciconf"
	"github.com/assay-hw/assay/internal/smbios"
)

func vector(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../shared/corpus/platformcerts/tcg-registry-vectors", name))
	if err != nil {
		t.Skip("needs ../shared/corpus/platformcerts/tcg-registry-vectors")
	}
	return b
}

// What the registries' annexes say about their samples.
func TestSMBIOSVectors(t *testing.T) {
	table, err := smbios.ParseDump(vector(t, "smbios/A2_smbios_dump.bin"))
	require.NoError(t, err)
	var got []string
	for _, f := range FromSMBIOS(table) {
		require.Equal(t, SMBIOS, f.Registry)
		fru := "-"
		if f.Replaceable != nil {
			fru = map[bool]string{true: "TRUE", false: "FALSE"}[*f.Replaceable]
		}
		got = append(got, strings.Join([]string{f.Class, f.Maker, f.Model, f.Serial, f.Revision, fru}, "|"))
		category, _ := Words(f.Registry, f.Class)
		require.NotEmpty(t, category, f.Class)
	}
	want := []string{
		"00003307|Sample Bios Vendor|Q1.09.xyz||080F|-",
		"00010000|Sample System Manufacturer|Sample System Model|Sample System Serial Number|Sample System Revision|-",
		"0002000A|Sample Baseboard Manufacturer|Sample Baseboard Model|Sample Baseboard Serial Number|Sample Baseboard Revision|TRUE",
		"00030003|Sample Chassis Manufacturer|03|Sample Chassis Serial Number|Sample Chassis Revision|-",
		"00040003|Sample Processor Manufacturer|C6|Sample Processor Serial Number|Sample Processor Revision|TRUE",
		"00040003|Sample CPU Manufacturer|EF|Sample CPU Serial Number|Sample CPU Revision|FALSE",
		"00110018|Sample RAM Manufacturer|Sample RAM Model|Sample RAM Serial Number 1|Sample RAM Revision|-",
		"00110018|Sample RAM Manufacturer||Sample RAM Serial Number 2|Sample RAM Revision|-",
		"00110018|Sample RAM Manufacturer|Sample RAM Model|Sample RAM Serial Number 3|Sample RAM Revision|-",
		"00110018|Sample RAM Manufacturer|Sample RAM Model|Sample RAM Serial Number 4|Sample RAM Revision|-",
		"00270000|Sample Power Supply Manufacturer|Sample Power Supply Model Part Number|Sample Power Supply Serial Number|Sample Power Supply Revision Level|FALSE",
		"002B0000|41424300|0200||0102030405060708|-",
	}
	require.ElementsMatch(t, want, got)
}

// The samples' vital product data counts its own texts too short (PN of 24 bytes
// has the length 23), so that no reader finds them: they are given here.
var vpdTexts = map[string]*pciconf.VPD{
	"1": {Fields: []pciconf.VPDField{
		{Keyword: "PN", Value: "Sample VPD Part Number 1"},
		{Keyword: "MN", Value: "Sample VPD Manufacture ID 1"},
		{Keyword: "SN", Value: "Sample VPD Serial Number 1"},
	}},
	"3": {Fields: []pciconf.VPDField{{Keyword: "PN", Value: "Sample VPD Part Number 2"}, {Keyword: "SN", Value: "Sample VPD Serial Number 2"}}},
}

func TestPCIeVectors(t *testing.T) {
	for n, want := range map[string]string{
		"1": "00010802|0104:036F:Sample VPD Manufacture ID 1|3467:24A7:Sample VPD Part Number 1|9964DD12785FA237:Sample VPD Serial Number 1|78",
		"2": "00060400|0A79::|3CEB::|2FBDA6FFFF543107:|00",
		"3": "00020000|6D5F:4182:|2B4E:8697:Sample VPD Part Number 2|:Sample VPD Serial Number 2|22",
		"4": "000C03FE|E528:069A:|C71D:43BF:||00",
	} {
		raw := vector(t, "pcie/sample"+n+"_config.bin")
		c, err := pciconf.Parse(raw)
		require.NoError(t, err)
		if c.DSN == 0 {
			c.DSN = misplacedDSN(raw)
		}
		v := vpdTexts[n]
		p := FromPCI(c, v)
		f := p.Fields()
		require.Equal(t, want, strings.Join([]string{f.Class, f.Maker, f.Model, f.Serial, f.Revision}, "|"), n)
		back, ok := ParsePCI(f)
		require.True(t, ok, n)
		require.Equal(t, p, back, n)
	}
}

// misplacedDSN finds the extended capability that the samples have among the
// ordinary ones, where no device has it.
func misplacedDSN(b []byte) uint64 {
	for o := 0x40; o+12 <= len(b); o += 4 {
		if b[o] == 3 && b[o+1] == 0 && b[o+2]&0xf == 1 {
			var n uint64
			for i := range 8 {
				n |= uint64(b[o+4+i]) << (8 * i)
			}
			return n
		}
	}
	return 0
}

func TestStorageVectors(t *testing.T) {
	ata, err := FromATA(vector(t, "storage/ata1_page03.bin"), vector(t, "storage/ata1_page05.bin"))
	require.NoError(t, err)
	scsi1, err := FromSCSI(vector(t, "storage/scsi1_inquiry.bin"), vector(t, "storage/scsi1_vpd80.bin"), nil)
	require.NoError(t, err)
	scsi2, err := FromSCSI(vector(t, "storage/scsi2_inquiry.bin"), vector(t, "storage/scsi2_vpd80.bin"), vector(t, "storage/scsi2_vpd83.bin"))
	require.NoError(t, err)
	c, err := nvmeid.Parse(vector(t, "storage/nvme1_identify_controller.bin"))
	require.NoError(t, err)
	nvme := FromNVMe(c, 0x010802)
	for want, d := range map[string]Disk{
		"00000002|ABCDEF|Sample Model Number 1|Sample Serial 1:112233445|FW Ver 1":                                                   ata,
		"0100007F|EXAMPLE|SCSI Model 1|:Sample SCSI Serial Number 1|SV A":                                                            scsi1,
		"0100007F|EXAMPLE|SCSI Model 2|123456789ABCDEF:Sample SCSI Serial Number 2|SV B":                                             scsi2,
		"02010802|ABCD:1234:ABCDEF|M2|1122334455667788ABCDEF99AABBCCDD:SN1:nqn.2014-08.com.example:nvme:nvm-subsystem-sn-d78432|FW3": nvme,
	} {
		f := d.Fields()
		require.Equal(t, want, strings.Join([]string{f.Class, f.Maker, f.Model, f.Serial, f.Revision}, "|"))
		back, ok := ParseDisk(f)
		require.True(t, ok)
		require.Equal(t, d, back)
	}
}

func TestWordsAndBack(t *testing.T) {
	for class, w := range tcgWords() {
		category, name := Words(TCG, class)
		require.Equal(t, w, words{category, name})
		back, ok := Class(TCG, category, name)
		require.True(t, ok)
		require.Equal(t, class, back)
	}
	for kind, s := range smbiosKinds {
		for sub, name := range s.names {
			class := hex32(uint32(kind)<<16 | uint32(sub))
			category, got := Words(SMBIOS, class)
			require.Equal(t, s.word, category)
			require.Equal(t, name, got)
			back, ok := Class(SMBIOS, category, name)
			require.True(t, ok)
			require.Equal(t, class, back)
		}
	}
	category, name := Words(TCG, "00060FFF")
	require.Equal(t, "Memory", category)
	require.Empty(t, name)
	category, _ = Words(Storage, "02010802")
	require.Equal(t, "NVMe controller", category)
	for _, bad := range []string{"", "0001000", "0001000G", "000100020"} {
		category, _ = Words(TCG, bad)
		require.Empty(t, category)
	}
}

func FuzzParsePCI(f *testing.F) {
	f.Add("00020000", "6D5F:4182:", "2B4E:8697:PN", ":SN", "22")
	f.Add("02010802", "ABCD:1234:ABCDEF", "M2", "11:SN1:nqn.2014-08:x:y", "FW3")
	f.Fuzz(func(t *testing.T, class, maker, model, serial, revision string) {
		in := Fields{Class: class, Maker: maker, Model: model, Serial: serial, Revision: revision}
		if p, ok := ParsePCI(in); ok {
			again, ok := ParsePCI(p.Fields())
			require.True(t, ok)
			require.Equal(t, p, again)
		}
		if d, ok := ParseDisk(in); ok && d.UniqueID+d.NQN != "" {
			again, ok := ParseDisk(d.Fields())
			require.True(t, ok)
			require.Equal(t, d, again)
		}
	})
}
