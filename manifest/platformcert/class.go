package platformcert

import (
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/internal/tcgclass"
)

// Words says in words what a component's class is, as its registry does: its
// category and its name in it.
func (c *Component) Words() (category, name string) { return tcgclass.Words(c.Registry, c.Class) }

// BOMClass is the class of parts that a component is matched in, empty when no
// part that a machine can show is of its class.
func (c *Component) BOMClass() bom.Class {
	if len(c.Class) != 8 {
		return ""
	}
	class := strings.ToUpper(c.Class)
	switch c.Registry {
	case tcgclass.TCG:
		if exact, ok := tcgExact[class]; ok {
			return exact
		}
		return tcgCategory[class[:4]]
	case tcgclass.SMBIOS:
		return smbiosClass[class[:4]]
	case tcgclass.PCIe:
		return bom.PCI
	case tcgclass.Storage:
		return bom.Storage
	}
	return ""
}

// The categories and rows of the TCG's registry. Those that are not here are
// what no machine can tell of itself: cables, fans, sockets, discrete parts.
var (
	tcgCategory = map[string]bom.Class{
		"0001": bom.Processor, "0002": bom.Chassis, "0003": bom.Baseboard, "0005": bom.PCI, "0006": bom.Memory,
		"0007": bom.Storage, "0008": bom.Storage, "0009": bom.Network, "0013": bom.Firmware,
	}
	tcgExact = map[string]bom.Class{
		"00010005": bom.PCI, "00010006": bom.PCI, // video processors
		"00030004": "", // a riser that is no function tells nothing
		"00040003": bom.Processor, "00040005": bom.Memory, "00040009": bom.TPM, "00040006": bom.Power,
		"0005000C": bom.BMC, "00050012": bom.BMC, "00060003": bom.BMC, // the last is a deprecated value
		"0006000A": bom.Flash, "000A0002": bom.Power,
		"00130004": "", "00130005": "", "00130006": "", // firmware of parts and loaders
	}
	smbiosClass = map[string]bom.Class{
		"0000": bom.Firmware, "0001": bom.System, "0002": bom.Baseboard, "0003": bom.Chassis, "0004": bom.Processor,
		"0011": bom.Memory, "0027": bom.Power, "002B": bom.TPM,
	}
)

// classOf is the class that a line of a manifest is written with; ok is false
// for parts that no registry has.
func classOf(c bom.Class) (registry, class string, ok bool) {
	switch c {
	case bom.System:
		return tcgclass.SMBIOS, "00010000", true
	case bom.Baseboard:
		return tcgclass.TCG, "00030003", true
	case bom.Chassis:
		return tcgclass.TCG, "00020001", true
	case bom.Processor:
		return tcgclass.TCG, "00010002", true
	case bom.Memory:
		return tcgclass.TCG, "00060001", true
	case bom.Storage:
		return tcgclass.TCG, "00070002", true
	case bom.Network:
		return tcgclass.TCG, "00090002", true
	case bom.Flash:
		return tcgclass.TCG, "0006000A", true
	case bom.Power:
		return tcgclass.TCG, "000A0002", true
	case bom.TPM:
		return tcgclass.TCG, "00040009", true
	case bom.BMC:
		return tcgclass.TCG, "00050012", true
	case bom.Firmware:
		return tcgclass.TCG, "00130003", true
	case bom.PCI:
		return tcgclass.PCIe, "", true
	}
	return "", "", false
}

// The registries of component classes, dotted.
const (
	TCGRegistry     = tcgclass.TCG
	SMBIOSRegistry  = tcgclass.SMBIOS
	PCIeRegistry    = tcgclass.PCIe
	StorageRegistry = tcgclass.Storage
)

func (c *Component) fields() tcgclass.Fields {
	return tcgclass.Fields{Registry: c.Registry, Class: c.Class, Maker: c.Maker, Model: c.Model, Serial: c.Serial, Revision: c.Revision}
}

func parsePCI(c *Component) (tcgclass.PCI, bool)   { return tcgclass.ParsePCI(c.fields()) }
func parseDisk(c *Component) (tcgclass.Disk, bool) { return tcgclass.ParseDisk(c.fields()) }
