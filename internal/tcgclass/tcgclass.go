// Package tcgclass knows the component class registries of the TCG: what a class
// is called, and how the fields of a component are made out of what a device
// answers (TCG Component Class Registry 1.0 r14; SMBIOS-based 1.01; PCIe-based
// 1.0 r18; Storage 1.0 r22).
//
// A class is what an issuer wrote. It does not prove that the part is one.
package tcgclass

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"

	"github.com/assay-hw/assay/internal/ids"
)

// The registries, dotted.
const (
	TCG     = "2.23.133.18.3.1"
	IETF    = "2.23.133.18.3.2"
	SMBIOS  = "2.23.133.18.3.3"
	PCIe    = "2.23.133.18.3.4"
	Storage = "2.23.133.18.3.5"
)

// Fields are what a registry says about a component. Class is eight upper-case
// hexadecimal digits.
type Fields struct {
	Registry, Class                string
	Maker, Model, Serial, Revision string
	Replaceable                    *bool
	MAC                            string // upper-case hexadecimal without delimiters
}

//go:embed tcg.txt
var tcgText string

type words struct{ category, name string }

// tcgWords has the rows of the TCG's own registry.
var tcgWords = sync.OnceValue(func() map[string]words {
	out := map[string]words{}
	for line := range strings.Lines(tcgText) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		if len(f) < 2 {
			continue
		}
		w := words{category: f[1]}
		if len(f) > 2 {
			w.name = f[2]
		}
		out[f[0]] = w
	}
	return out
})

// Words says in words what a class is: its category and its name in it, empty
// when the registry has none.
func Words(registry, class string) (category, name string) {
	class = strings.ToUpper(class)
	n, err := strconv.ParseUint(class, 16, 32)
	if err != nil || len(class) != 8 {
		return "", ""
	}
	switch registry {
	case TCG:
		if w, ok := tcgWords()[class]; ok {
			return w.category, w.name
		}
		return tcgWords()[class[:4]+"0000"].category, ""
	case SMBIOS:
		return smbiosWords(uint16(n>>16), uint16(n))
	case PCIe:
		if n>>24 == 0 {
			return "PCI function", ids.PCIClass(uint32(n))
		}
	case Storage:
		return storageWords(uint32(n))
	}
	return "", ""
}

// Class finds the class with these words, the other way of Words.
func Class(registry, category, name string) (class string, ok bool) {
	switch registry {
	case TCG:
		for class, w := range tcgWords() {
			if strings.EqualFold(w.category, category) && strings.EqualFold(w.name, name) {
				return class, true
			}
		}
	case SMBIOS:
		for kind, s := range smbiosKinds {
			if !strings.EqualFold(s.word, category) {
				continue
			}
			for sub := range uint16(len(s.names)) {
				if strings.EqualFold(s.names[sub], name) && (name != "" || sub == 0) {
					return hex32(uint32(kind)<<16 | uint32(sub)), true
				}
			}
		}
	}
	return "", false
}

// smbiosKind is one structure type; names are indexed by the value of the field
// that is in the low half of the class.
type smbiosKind struct {
	word  string
	names []string
}

var smbiosKinds = map[uint16]smbiosKind{
	0x00: {"BIOS", []string{""}},
	0x01: {"System", []string{""}},
	0x02: {"Baseboard", []string{
		"", "Other", "Unknown", "Server Blade", "Connectivity Switch", "System Management Module", "Processor Module", "I/O Module",
		"Memory Module", "Daughter Board", "Motherboard", "Processor/Memory Module", "Processor/IO Module", "Interconnect Board",
	}},
	0x03: {"Chassis", []string{
		"", "Other", "Unknown", "Desktop", "Low Profile Desktop", "Pizza Box", "Mini Tower", "Tower", "Portable", "Laptop", "Notebook",
		"Hand Held", "Docking Station", "All in One", "Sub Notebook", "Space-saving", "Lunch Box", "Main Server Chassis", "Expansion Chassis",
		"SubChassis", "Bus Expansion Chassis", "Peripheral Chassis", "RAID Chassis", "Rack Mount Chassis", "Sealed-case PC",
		"Multi-system Chassis", "Compact PCI", "Advanced TCA", "Blade", "Blade Enclosure", "Tablet", "Convertible", "Detachable",
		"IoT Gateway", "Embedded PC", "Mini PC", "Stick PC",
	}},
	0x04: {"Processor", []string{"", "Other", "Unknown", "Central Processor", "Math Processor", "DSP Processor", "Video Processor"}},
	0x11: {"Memory", []string{
		"", "Other", "Unknown", "DRAM", "EDRAM", "VRAM", "SRAM", "RAM", "ROM", "FLASH", "EEPROM", "FEPROM", "EPROM", "CDRAM", "3DRAM", "SDRAM",
		"SGRAM", "RDRAM", "DDR", "DDR2", "DDR2 FB-DIMM", "Reserved 15h", "Reserved 16h", "Reserved 17h", "DDR3", "FBD2", "DDR4", "LPDDR",
		"LPDDR2", "LPDDR3", "LPDDR4", "Logical non-volatile device", "HBM", "HBM2", "DDR5", "LPDDR5",
	}},
	0x27: {"Power Supply", []string{""}},
	0x2b: {"TPM", []string{""}},
}

func smbiosWords(kind, sub uint16) (category, name string) {
	s, ok := smbiosKinds[kind]
	if !ok {
		return "", ""
	}
	if int(sub) < len(s.names) {
		return s.word, s.names[sub]
	}
	return s.word, ""
}

// formFactors are the nominal form factors of ATA (ACS-4, 9.11.5.4).
var formFactors = []string{"", `5.25 inch`, `3.5 inch`, `2.5 inch`, `1.8 inch`, `less than 1.8 inch`, `mSATA`, `M.2`, `MicroSSD`, `CFast`}

func storageWords(n uint32) (category, name string) {
	switch n >> 24 {
	case 0:
		if n&0xffffff < uint32(len(formFactors)) {
			return "ATA drive", formFactors[n&0xff]
		}
		return "ATA drive", ""
	case 1:
		return "SCSI device", ""
	case 2:
		return "NVMe controller", ids.PCIClass(n & 0xffffff)
	}
	return "", ""
}

func hex32(n uint32) string {
	s := strings.ToUpper(strconv.FormatUint(uint64(n), 16))
	return strings.Repeat("0", 8-len(s)) + s
}
