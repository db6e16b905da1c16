// Package bom reads the parts of a machine out of evidence, normalises and
// fuses what several sources say about one part, and matches the result one to
// one with the parts that a manifest declares.
//
// It proves that every observed part in a closed class has a declared line and
// every declared, observable line has a part. It does not prove that a part is
// what it claims to be: only cryptographic identities do, and nothing here sees
// a part that answers on no bus.
package bom

import "github.com/assay-hw/assay/finding"

// Class groups parts that are matched with each other.
type Class string

// The classes of parts.
const (
	System    Class = "system"
	Baseboard Class = "baseboard"
	Chassis   Class = "chassis"
	Processor Class = "processor"
	Memory    Class = "memory"
	PCI       Class = "pci"
	USB       Class = "usb"
	Storage   Class = "storage"
	Network   Class = "network"
	I2C       Class = "i2c"
	FRU       Class = "fru"
	IPMB      Class = "ipmb"
	LAN       Class = "lan" // a network port of the management controller
	Flash     Class = "flash"
	Power     Class = "power"
	TPM       Class = "tpm"
	BMC       Class = "bmc"
	Firmware  Class = "firmware"
	ACPI      Class = "acpi"

	Electronic Class = "electronic" // a part of a board that answers on no bus: only inspection shows it
)

// Identity is what a part says it is. Empty means that the part does not say;
// an empty field never equals another empty field.
type Identity struct {
	Maker      string   `json:"maker,omitempty"`      // who made the silicon, by its registered name
	MakerIDs   []string `json:"makerIds,omitempty"`   // "jedec:00ce", "pci:8086", "oui:3cecef", "pen:10876"
	Brand      string   `json:"brand,omitempty"`      // whose label it carries, when another
	Name       string   `json:"name,omitempty"`       // for people, from an id registry; never compared
	Model      string   `json:"model,omitempty"`      // model or product name, or "8086:10d3 15d9:1533" for PCI
	PartNumber string   `json:"partNumber,omitempty"` // manufacturer part number
	Revision   string   `json:"revision,omitempty"`   // hardware revision
	Serial     string   `json:"serial,omitempty"`     // serial number, MAC address, DSN or another instance id
	Firmware   string   `json:"firmware,omitempty"`   // version of the firmware in the part
}

// Value is one fact with its origin.
type Value struct {
	Text   string         `json:"text"`             // normalised
	Raw    string         `json:"raw,omitempty"`    // as read, when it differs
	Source finding.Source `json:"source"`           // independence class
	Reader string         `json:"reader,omitempty"` // "smbios:17", "spd", "pci:config"
	Basis  finding.Basis  `json:"basis"`
}

// Part is one observed part: what all sources together say about one place.
type Part struct {
	Class      Class             `json:"class"`
	Subject    string            `json:"subject"` // "pci:0000:09:00.0", "dimm:P1-DIMMC1"
	Location   finding.Location  `json:"location"`
	Identity   Identity          `json:"identity"`
	Attributes map[string]string `json:"attributes,omitempty"` // compared facts: "sizeMiB", "linkWidth"
	Values     map[string]Value  `json:"values,omitempty"`     // origin of each identity field and attribute
	Package    string            `json:"package,omitempty"`    // subject of the package it is part of
	Volatile   string            `json:"volatile,omitempty"`   // why it may come and go: one of the constants from VirtualFunction on

	place string // of a disk: the chain of devices that leads to it
}

// Reference is one declared line of a manifest: a part that must be there, what
// it must be, and how exactly.
type Reference struct {
	ID            string            `json:"id"`
	Class         Class             `json:"class"`
	Subject       string            `json:"subject,omitempty"`
	Location      finding.Location  `json:"location,omitzero"`
	Identity      Identity          `json:"identity"`
	Attributes    map[string]string `json:"attributes,omitempty"`
	Quantity      int               `json:"quantity,omitempty"`      // identical parts meant by this line; 0 is 1
	Level         string            `json:"level,omitempty"`         // least match: "instance", "model" (default), "family", "class"
	Alternates    []Identity        `json:"alternates,omitempty"`    // approved alternates
	Optional      bool              `json:"optional,omitempty"`      // may be absent
	Security      bool              `json:"security,omitempty"`      // its absence is critical
	Verifiability string            `json:"verifiability,omitempty"` // "observed" (default) or "physical-only"
	Origin        map[string]string `json:"origin,omitempty"`        // countries (ISO 3166-1 alpha-2) by stage: "designed", "made", "assembled", "tested"; never compared
	Note          string            `json:"note,omitempty"`
	Position      Position          `json:"position,omitzero"` // on its board; never compared
}

// PhysicalOnly is the Verifiability of a line that no bus can show.
const PhysicalOnly = "physical-only"

// Closure says how complete the declared lines of a class are.
type Closure string

// A closed class lists every part; an open one may have more; a class declared
// absent must have none.
const (
	Closed    Closure = "closed"
	Open      Closure = "open"
	NoneThere Closure = "absent"
)

// Undriven reports whether a part may start transfers although no driver controls it.
func (p *Part) Undriven() bool { return p.Attributes[attrUndriven] != "" }

// Undriven reports whether the declared part was like that when it was declared.
func (r *Reference) Undriven() bool { return r.Attributes[attrUndriven] != "" }

// ReachesMemory reports whether a part can read and write memory by itself, and
// how that shows.
func (p *Part) ReachesMemory() (how string, ok bool) {
	switch {
	case p.Class != PCI:
		return "", false
	case p.Attributes[attrBusMaster] != "" && p.Attributes["driver"] == "":
		return "bus mastering is on and no driver controls it", true
	case p.Attributes[attrBusMaster] != "":
		return "bus mastering is on", true
	case p.Attributes[attrDMA] != "":
		return "it is capable of bus mastering", true
	}
	return "", false
}
