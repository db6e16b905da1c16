// Package ids gives numbers their registered names and makes texts comparable:
// PCI, USB, JEDEC, IEEE and TPM vendor identifiers, placeholder values, maker
// and brand names, and comparison keys.
//
// It proves that an identifier is registered and to whom. It does not prove
// that the part which carries the identifier was made by that company. The
// tables are snapshots; the README names their sources and dates.
package ids

import (
	_ "embed" // the tables
	"encoding/hex"
	"strconv"
	"strings"
	"sync"

	"github.com/assay-hw/assay/internal/lzma"
)

var (
	//go:embed data/pci.lzma
	pciData []byte
	//go:embed data/class.lzma
	classData []byte
	//go:embed data/usb.lzma
	usbData []byte
	//go:embed data/oui.lzma
	ouiData []byte
	//go:embed data/jep106.lzma
	jep106Data []byte
)

var (
	pciNames    = sync.OnceValue(func() names { return table(pciData) })
	pciByName   = sync.OnceValue(namesByID)
	classNames  = sync.OnceValue(func() names { return table(classData) })
	usbNames    = sync.OnceValue(func() names { return table(usbData) })
	jep106Names = sync.OnceValue(func() names { return table(jep106Data) })
	ouiNames    = sync.OnceValue(organisations)
)

// maxTable bounds a table; the largest has a little more than a megabyte.
const maxTable = 8 << 20

// lines unpacks one embedded table. The tables are part of the program, so a
// damaged one yields fewer names, never an error on someone's evidence.
func lines(packed []byte) []string {
	b, _, _ := lzma.Decode(packed, maxTable)
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

// names is a table by number, in hexadecimal.
type names map[string]string

// of looks a number up that is written with so many digits.
func (n names) of(id uint32, digits int) string {
	var all [8]byte
	hex.Encode(all[:], []byte{uint8(id >> 24), uint8(id >> 16), uint8(id >> 8), uint8(id)})
	return n[string(all[len(all)-digits:])]
}

func table(packed []byte) names {
	all := lines(packed)
	m := make(names, len(all))
	for _, l := range all {
		if key, name, ok := strings.Cut(l, "\t"); ok {
			m[key] = name
		}
	}
	return m
}

func organisations() map[string]string {
	all := lines(ouiData)
	m := make(map[string]string, 2*len(all))
	for _, l := range all {
		name, list, _ := strings.Cut(l, "\t")
		for ; len(list) >= 6; list = list[6:] {
			m[list[:6]] = name
		}
	}
	return m
}

// PCIVendor returns the registered name of a PCI vendor id, or "".
func PCIVendor(vendor uint16) string { return pciNames().of(uint32(vendor), 4) }

// PCIDevice returns the name of a PCI device id, or "".
func PCIDevice(vendor, device uint16) string {
	return pciNames().of(uint32(vendor)<<16|uint32(device), 8)
}

// PCINamed finds the ids of a device by the names that the registry has for maker
// and device, in one text as lspci prints it. A name that several devices have
// identifies none of them.
func PCINamed(name string) (vendor, device uint16, ok bool) {
	id, found := pciByName()[name]
	if !found {
		// Of a device without a name, lspci prints the id.
		front, digits, cut := strings.Cut(name, " Device ")
		v, known := pciByName()[front]
		if !cut || !known || len(v) != 4 || len(digits) != 4 {
			return 0, 0, false
		}
		id = v + digits
	}
	n, err := strconv.ParseUint(id, 16, 32)
	if err != nil || len(id) != 8 {
		return 0, 0, false
	}
	return uint16(n >> 16), uint16(n), true
}

// namesByID turns the table of names around.
func namesByID() map[string]string {
	all := pciNames()
	out := make(map[string]string, len(all))
	for id, name := range all {
		if len(id) == 8 {
			name = all[id[:4]] + " " + name
		}
		if _, twice := out[name]; twice {
			id = "" // says nothing
		}
		out[name] = id
	}
	return out
}

// PCIClass describes a 24-bit class code: the subclass with its programming
// interface where that has a name, else the class, else "".
func PCIClass(class uint32) string {
	class &= 0xffffff
	if name := classNames().of(class>>8, 4); name != "" {
		if iface := classNames().of(class, 6); iface != "" {
			return name + ": " + iface
		}
		return name
	}
	return classNames().of(class>>16, 2)
}

// USBVendor returns the registered name of a USB vendor id, or "".
func USBVendor(vendor uint16) string { return usbNames().of(uint32(vendor), 4) }

// OUI returns the organisation that holds the first three bytes of a MAC
// address, or "". Separators are ignored. The group and local bits are not
// cleared: a locally administered address has no organisation.
func OUI(mac string) string {
	var front [6]byte
	n := 0
	for i := 0; i < len(mac) && n < len(front); i++ {
		c := mac[i]
		if c == ':' || c == '-' || c == '.' {
			continue
		}
		if hexDigit(c) < 0 {
			return ""
		}
		if 'A' <= c && c <= 'F' {
			c += 'a' - 'A'
		}
		front[n] = c
		n++
	}
	return ouiNames()[string(front[:n])]
}

// TPMVendor returns the company of a TPM vendor id such as "IFX" (TCG TPM
// Vendor ID Registry), or "".
func TPMVendor(id string) string { return tpmVendors[strings.ToUpper(strings.Trim(id, "\x00 "))] }

var tpmVendors = map[string]string{
	"AMD": "AMD", "ANT": "Ant Group", "ATML": "Atmel", "BRCM": "Broadcom", "CROS": "Google", "CSCO": "Cisco",
	"FLYS": "FlySlice Technologies", "GOOG": "Google", "HISI": "Huawei", "HPE": "Hewlett Packard Enterprise",
	"HPI": "HP Inc.", "IBM": "IBM", "IFX": "Infineon", "INTC": "Intel", "LEN": "Lenovo", "MSFT": "Microsoft",
	"NSG": "NSING", "NSM": "National Semiconductor", "NTC": "Nuvoton", "NTZ": "Nationz", "QCOM": "Qualcomm",
	"ROCC": "Rockchip", "SEAL": "Wisekey", "SECE": "SecEdge", "SMSC": "SMSC", "SMSN": "Samsung",
	"SNS": "Sinosun", "STM": "STMicroelectronics", "TXN": "Texas Instruments", "WEC": "Winbond",
}

// LocallyAdministered reports a network address that software chose and no
// organisation was assigned: bit 1 of its first byte (IEEE 802-2014, 8.4).
func LocallyAdministered(mac string) bool {
	return len(mac) > 1 && strings.Contains("2367abefABEF", mac[1:2])
}
