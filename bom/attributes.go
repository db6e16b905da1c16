package bom

import (
	"strconv"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// The names of compared facts. They are part of the manifest format; see
// docs/formats.
const (
	attrHost         = "host"         // subject of the part that carries this one
	attrPackage      = "package"      // the processor or chipset that a function is inside of
	attrBusMaster    = "busMaster"    // "on" when the device may start transfers
	attrUndriven     = "undriven"     // "on" when it may start transfers and no driver controls it
	attrDMA          = "dma"          // "capable" when the device has what it takes to start transfers
	attrSizeMiB      = "sizeMiB"      // capacity
	attrLinkWidth    = "linkMaxWidth" // PCI Express link capability
	attrLinkSpeed    = "linkMaxSpeed"
	attrCapabilities = "capabilities" // fingerprint of the capability lists
	attrSlotPower    = "slotPower"    // "on" or "off", of the slot below a port
	attrOptionROM    = "optionROM"    // SHA-256 of the ROM's images
	attrDigest       = "digest"       // SHA-256 of contents that do not move between boots
	attrLength       = "length"       // bytes of such contents
	attrCores        = "cores"
	attrClassCode    = "classCode" // PCI class, subclass and interface
	attrSubParts     = "chips"     // makers of the chips on a memory module
	attrDRAM         = "dram"      // of those, the maker of the memory itself

	attrMade          = "made"       // day or week of manufacture, as the part's own memory says; never compared
	attrOUI           = "oui"        // maker that a drive names, as its IEEE identifier
	attrParameters    = "parameters" // SHA-256 of the SFDP of a flash chip
	attrPPIN          = "ppin"       // the number that a processor has from its maker
	attrInterfaces    = "interfaces" // classes of a USB device's interfaces
	attrProductSerial = "productSerial"
	attrProductName   = "productName"
	attrChassisSerial = "chassisSerial"
)

// attributeRule says what a difference in a fact means.
type attributeRule struct {
	code     finding.Code
	severity finding.Severity
	why      string
	telling  bool                        // tells a part from another one: needed in a class that is declared complete
	ofModel  bool                        // follows from the model, so that an approved alternate has another one
	weaker   func(want, got string) bool // reports only what this accepts
}

var attributeRules = map[string]attributeRule{
	attrSizeMiB:       {code: finding.CapacityDiffers, severity: finding.High, why: "The part reports another capacity than declared."},
	attrLinkWidth:     {code: finding.LinkDiffers, severity: finding.Medium, why: "The link can carry fewer lanes than declared.", weaker: lessThan},
	attrLinkSpeed:     {code: finding.LinkDiffers, severity: finding.Medium, why: "The link can run at a lower speed than declared.", weaker: lessThan},
	attrCapabilities:  {code: finding.UnlikeItsModel, severity: finding.High, why: "The capability lists are not those of the declared device; every unit of a model has the same ones.", telling: true, ofModel: true},
	attrClassCode:     {code: finding.UnlikeItsModel, severity: finding.High, why: "The device answers with another class than every unit of its model.", telling: true, ofModel: true},
	attrSlotPower:     {code: "", why: "judged by the hidden-device rule"},
	attrOptionROM:     {code: finding.OptionROMDiffers, severity: finding.Critical, why: "The option ROM that the device answers with is not the declared one.", ofModel: true},
	attrLength:        {code: finding.UnexpectedACPITable, severity: finding.Medium, why: "The table has another length than declared.", ofModel: true},
	attrDigest:        {code: finding.UnexpectedACPITable, severity: finding.Low, why: "The table's contents differ; firmware may patch addresses into tables at boot.", ofModel: true},
	attrCores:         {code: finding.ComponentReplaced, severity: finding.High, why: "The processor shows another number of cores than declared.", telling: true, ofModel: true},
	attrInterfaces:    {code: finding.UnlikeItsModel, severity: finding.High, why: "The device offers other functions than every unit of its model.", telling: true, ofModel: true},
	attrParameters:    {code: finding.FlashPartDiffers, severity: finding.Medium, why: "The flash chip has the declared id and describes itself otherwise: makers use one id for several parts, and copies use the id of another maker.", ofModel: true},
	attrOUI:           {code: finding.UnlikeItsModel, severity: finding.Medium, why: "The drive names another maker than every unit of its model; a maker's id is the same in nearly all models.", ofModel: true},
	attrPPIN:          {code: finding.InstanceReplaced, severity: finding.High, why: "The processor has another number of its maker: same model, another part."},
	attrProductSerial: {code: finding.InstanceReplaced, severity: finding.Medium, why: "The inventory memory names another product serial number."},
	attrChassisSerial: {code: finding.InstanceReplaced, severity: finding.Medium, why: "The inventory memory names another chassis serial number."},
	attrSubParts:      {code: finding.ComponentReplaced, severity: finding.High, why: "The module carries chips of other makers than declared.", telling: true, ofModel: true},
	attrDRAM:          {code: finding.ComponentReplaced, severity: finding.High, why: "The module carries memory of another maker than every unit of its part number.", telling: true, ofModel: true},
}

// lessThan compares the leading numbers of two facts.
func lessThan(want, got string) bool {
	w, errW := strconv.ParseFloat(leadingNumber(want), 64)
	g, errG := strconv.ParseFloat(leadingNumber(got), 64)
	return errW != nil || errG != nil || g < w
}

func leadingNumber(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		return s
	}
	return s[:end]
}
