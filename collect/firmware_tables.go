package collect

import "github.com/assay-hw/assay/evidence"

const (
	dmiDir  = "sys/firmware/dmi/tables"
	dmiText = "sys/class/dmi/id"
	acpiDir = "sys/firmware/acpi/tables"
	efiDir  = "sys/firmware/efi/efivars"
	treeDir = "sys/firmware/devicetree/base"
)

// dmi reads the SMBIOS tables and the kernel's texts of them, which an
// ordinary user may partly read. A board whose firmware has no SMBIOS is named by
// its device tree.
func dmi(t *task) {
	if !t.host.has(dmiDir) && t.host.has(treeDir) {
		t.note(dmiDir+"/DMI", evidence.Absent, "the firmware gives no SMBIOS table; a device tree describes the board")
		t.attributes(treeDir, []string{"compatible"}, []string{"model", "serial-number"})
		return
	}
	t.read(dmiDir+"/smbios_entry_point", file{limit: 4 << 10})
	t.read(dmiDir+"/DMI", file{limit: 1 << 20})
	t.attributes(dmiText, nil, []string{"sys_vendor", "product_name", "product_version", "product_serial", "product_uuid", "board_vendor", "board_name", "board_serial", "bios_version", "bios_date"})
}

// acpi reads the tables that firmware gave. Tables that were loaded later and
// the data regions of tables are left out: they change while a machine runs.
func acpi(t *task) {
	for _, n := range t.list(acpiDir) {
		if n != "dynamic" && n != "data" && !t.over(acpiDir+"/"+n) {
			t.read(acpiDir+"/"+n, file{limit: 4 << 20})
		}
	}
}

// efi reads every EFI variable. The kernel slows an ordinary user down to a
// hundred a second.
func efi(t *task) {
	for _, n := range t.list(efiDir) {
		if !t.over(efiDir + "/" + n) {
			t.read(efiDir+"/"+n, file{limit: 1 << 20})
		}
	}
}
