package bom_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// words is what dmidecode prints of a small server; each pair replaces one text by
// another, the first time that it occurs.
func words(pairs ...string) string {
	s := `# dmidecode 3.4
SMBIOS 2.8 present.

Handle 0x0000, DMI type 0, 24 bytes
BIOS Information
	Vendor: American Megatrends Inc.
	Version: 2.1

Handle 0x0001, DMI type 1, 27 bytes
System Information
	Manufacturer: Supermicro
	Product Name: X8DTU
	Serial Number: S1

Handle 0x0002, DMI type 2, 15 bytes
Base Board Information
	Manufacturer: Supermicro
	Product Name: X8DTU-6
	Serial Number: B1

Handle 0x0003, DMI type 3, 21 bytes
Chassis Information
	Manufacturer: Huawei
	Version: 4843
	Serial Number: C1

Handle 0x0010, DMI type 16, 15 bytes
Physical Memory Array
	Location: System Board Or Motherboard
	Use: System Memory
	Maximum Capacity: 32 GB

Handle 0x0011, DMI type 17, 34 bytes
Memory Device
	Array Handle: 0x0010
	Size: 16 GB
	Locator: DIMM 1
	Bank Locator: BANK0
	Manufacturer: HP
	Serial Number: Not Specified
	Part Number: NOT AVAILABLE

Handle 0x0012, DMI type 17, 34 bytes
Memory Device
	Array Handle: 0x0010
	Size: No Module Installed
	Locator: DIMM 2
	Bank Locator: BANK1

Handle 0x0013, DMI type 19, 15 bytes
Memory Array Mapped Address
	Starting Address: 0x00000000000
	Ending Address: 0x003FFFFFFFF
	Range Size: 16 GB
	Physical Array Handle: 0x0010

Handle 0x0014, DMI type 16, 15 bytes
Physical Memory Array
	Location: System Board Or Motherboard
	Use: Flash Memory
	Maximum Capacity: 4 MB

Handle 0x0015, DMI type 19, 15 bytes
Memory Array Mapped Address
	Starting Address: 0x000FFC00000
	Ending Address: 0x000FFFFFFFF
	Range Size: 4 MB
	Physical Array Handle: 0x0014

Handle 0x0016, DMI type 127, 4 bytes
End Of Table
`
	for i := 0; i < len(pairs); i += 2 {
		s = strings.Replace(s, pairs[i], pairs[i+1], 1)
	}
	return s
}

// What real servers say of themselves and what is no reason for an alarm.
func TestWordsThatAreNoAlarm(t *testing.T) {
	moved := words("Size: 16 GB\n\tLocator: DIMM 1", "Size: No Module Installed\n\tLocator: DIMM 1",
		"Size: No Module Installed\n\tLocator: DIMM 2\n\tBank Locator: BANK1", "Size: 16 GB\n\tLocator: DIMM 2\n\tBank Locator: BANK1\n\tManufacturer: HP\n\tPart Number: NOT AVAILABLE")
	tests := map[string]struct {
		reference, unit string
		want            map[finding.Code]int
	}{
		"the range of a flash is no memory":                 {words(), words(), nil},
		"a chassis with the number of its lot":              {words(), words("Version: 4843", "Version: 23740"), nil},
		"a chassis of another model":                        {words("Version: 4843", "Version: CSE-815"), words("Version: 4843", "Version: CSE-825"), map[finding.Code]int{finding.ComponentReplaced: 1}},
		"a chassis that says nothing":                       {words("Manufacturer: Huawei", "Manufacturer: To Be Filled By O.E.M.", "4843", "To Be Filled By O.E.M.", "C1", "0123456789"), words(), nil},
		"a module without identity in another socket":       {words(), moved, nil},
		"a module without identity, larger":                 {words("Ending Address: 0x003", "Ending Address: 0x007"), words("Size: 16 GB", "Size: 32 GB", "0x003FF", "0x007FF"), map[finding.Code]int{finding.CapacityDiffers: 1}},
		"a module without identity of another maker":        {words("Manufacturer: HP", "Manufacturer: Samsung"), words("Manufacturer: HP", "Manufacturer: Kingston"), map[finding.Code]int{finding.ComponentReplaced: 1}},
		"a second module without identity":                  {words(), words("Size: No Module Installed\n\tLocator: DIMM 2", "Size: 16 GB\n\tLocator: DIMM 2"), map[finding.Code]int{finding.UnexpectedComponent: 1}},
		"a board that is all that names the machine":        {words("Manufacturer: Supermicro\n\tProduct Name: X8DTU\n", "Manufacturer: To Be Filled By O.E.M.\n\tProduct Name: To Be Filled By O.E.M.\n"), words("Manufacturer: Supermicro\n\tProduct Name: X8DTU\n", "Manufacturer: To Be Filled By O.E.M.\n\tProduct Name: To Be Filled By O.E.M.\n"), nil},
		"memory that the firmware maps only half of: a low": {words(), words("0x003FF", "0x001FF"), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			refs, closures := bom.Draft(dump(t, tt.reference), false)
			c := bom.Match(refs, closures, dump(t, tt.unit))
			got := codes(c.Findings, finding.Low)
			if tt.want == nil {
				tt.want = map[finding.Code]int{}
			}
			require.Equal(t, tt.want, got, "%v", c.Findings)
		})
	}
	half := findings(dump(t, words("0x003FF", "0x001FF")), finding.CapacityDiffers)
	require.Len(t, half, 1)
	require.Equal(t, finding.Low, half[0].Severity, "the firmware told both")
	require.Empty(t, findings(dump(t, words()), finding.CapacityDiffers))
}

func TestMachineIsNamedByItsBoardWhenItsSystemIsNot(t *testing.T) {
	id, ok := dump(t, words()).Machine()
	require.True(t, ok)
	require.Equal(t, "X8DTU", id.Model)
	id, ok = dump(t, words("Product Name: X8DTU\n", "Product Name: To Be Filled By O.E.M.\n")).Machine()
	require.True(t, ok)
	require.Equal(t, "X8DTU-6", id.Model)
	require.Equal(t, "B1", id.Serial)
}

// A model's manifest names the maker of the memory on a module and not those of the
// chips beside it, which module makers buy from several; a machine's names all.
func TestSecondSourceOnAModule(t *testing.T) {
	dell := func(codes string) *bom.Inventory {
		return dump(t, words("Manufacturer: HP", "Manufacturer: "+codes, "NOT AVAILABLE", "M393B2G70BH0-YK0"))
	}
	const idt, inphi, micron = "00CE00B380CE", "00CE04B380CE", "002C00B3802C" // DRAM, register, module
	for scope, want := range map[bool]int{false: 0, true: 1} {
		refs, closures := bom.Draft(dell(idt), scope)
		require.Len(t, bom.Match(refs, closures, dell(inphi)).Findings, want)
		require.NotEmpty(t, bom.Match(refs, closures, dell(micron)).Findings)
	}
}
