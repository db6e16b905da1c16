package smbios

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
)

// maxLine bounds one line of text; what is behind it is not read.
const maxLine = 8192

var textHandle = regexp.MustCompile(`^\s*Handle 0x([0-9A-Fa-f]{1,4})(?:, DMI type (\d{1,3}), \d+ bytes\.?)?$`)

// ParseText decodes what dmidecode prints, with or without -t, of any version
// from 2.9 on and in UTF-8 or UTF-16. Offsets count from the first byte of the
// text, decoded. A text holds less than the table: what dmidecode prints as "Not
// Specified" reads as no string, and characters that it prints as dots stay dots.
// The error is ErrNoTable when the text has no structure.
func ParseText(text []byte) (*Table, error) {
	t := &Table{}
	var s *textStructure
	finish := func(end int) {
		if s != nil {
			s.Length = end - s.Offset
			t.textStructure(s)
			s = nil
		}
	}
	text = utf8Text(text)
	for o, next := 0, 0; o < len(text); o = next {
		line := text[o:]
		if n := bytes.IndexByte(line, '\n'); n >= 0 {
			line, next = line[:n], o+n+1
		} else {
			next = len(text)
		}
		if len(line) > maxLine {
			t.problem(o, "a line of %d bytes, %d are read", len(line), maxLine)
			line = line[:maxLine]
		}
		line = bytes.TrimRight(line, "\r")
		if m := textHandle.FindSubmatch(line); m != nil {
			finish(o)
			if len(t.Structures) == maxStructures {
				t.problem(o, "more than %d structures, %d bytes not read", maxStructures, len(text)-o)
				return t, nil
			}
			handle, _ := strconv.ParseUint(string(m[1]), 16, 16)
			kind, err := strconv.ParseUint(string(m[2]), 10, 8)
			if err != nil {
				t.problem(o, "handle %#04x: no type", handle)
				continue
			}
			s = &textStructure{Header: Header{Type: uint8(kind), Handle: uint16(handle), Offset: o}, values: map[string]string{}}
			continue
		}
		if bytes.Contains(line, []byte("DMI table is broken")) {
			finish(o)
			t.problem(o, "%s", bytes.TrimSpace(line))
		}
		if s != nil {
			s.line(string(line))
		}
	}
	finish(len(text))
	if len(t.Structures) == 0 {
		return t, ErrNoTable
	}
	return t, nil
}

// utf8Text decodes what PowerShell writes.
func utf8Text(b []byte) []byte {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		order = binary.BigEndian
	default:
		return bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	}
	u := make([]uint16, 0, len(b)/2)
	for b = b[2:]; len(b) >= 2; b = b[2:] {
		u = append(u, order.Uint16(b))
	}
	return []byte(string(utf16.Decode(u)))
}

// textStructure is one structure as printed: its lines of "key: value", and the
// lines below a key that has no value of its own.
type textStructure struct {
	Header
	values map[string]string
	lists  []string // "key: item"
	key    string
	title  bool
	more   []map[string]string // further groups, of type 10
}

// maxLists bounds the lines that are kept of lists in one structure.
const maxLists = 4096

func (s *textStructure) line(line string) {
	body := strings.TrimLeft(line, "\t ")
	indent := len(line) - len(body)
	if body == "" {
		return
	}
	if !strings.HasPrefix(line, "\t") && indent < 4 {
		if s.title && len(s.values) > 0 && len(s.more) < 256 { // a second title in one structure
			s.more = append(s.more, s.values)
			s.values = map[string]string{}
		}
		s.title = true
		return
	}
	if strings.HasPrefix(line, "\t\t") || indent >= 8 && !strings.HasPrefix(line, "\t") {
		if len(s.lists) < maxLists {
			s.lists = append(s.lists, s.key+": "+strings.TrimSpace(body))
		}
		return
	}
	key, value, ok := strings.Cut(body, ":")
	if !ok {
		return
	}
	s.key = key
	if _, twice := s.values[key]; !twice { // the first one stands in the table's place
		s.values[key] = strings.TrimPrefix(value, " ")
	}
}

// text is a string of the structure. "Not Specified" is what dmidecode prints
// for no string.
func (s *textStructure) text(key string) string {
	switch v := s.values[key]; strings.TrimSpace(v) {
	case "Not Specified", "<BAD INDEX>", "Not Provided By Structure":
		return ""
	default:
		return v
	}
}

func (s *textStructure) has(key, item string) bool {
	for _, l := range s.lists {
		if l == key+": "+item {
			return true
		}
	}
	return false
}

// number reads the digits that a value begins with, in the notation of Go.
func (s *textStructure) number(key string) uint64 {
	word, _, _ := strings.Cut(strings.TrimSpace(s.values[key]), " ")
	n, _ := strconv.ParseUint(strings.TrimSuffix(word, "k"), 0, 64)
	return n
}

// bytes reads a size such as "16384 MB" or "16 GB".
func (s *textStructure) bytes(key string) uint64 {
	word, unit, _ := strings.Cut(strings.TrimSpace(s.values[key]), " ")
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		return 0
	}
	switch strings.ToLower(unit) {
	case "kb":
		return n << 10
	case "mb":
		return n << 20
	case "gb":
		return n << 30
	case "tb":
		return n << 40
	}
	return 0
}

var textAddress = regexp.MustCompile(`^([0-9a-f]{4}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$`)

func (s *textStructure) address() *Address {
	m := textAddress.FindStringSubmatch(strings.TrimSpace(strings.ToLower(s.values["Bus Address"])))
	if m == nil {
		return nil
	}
	var n [4]uint64
	for i := range n {
		n[i], _ = strconv.ParseUint(m[i+1], 16, 16)
	}
	return address(uint16(n[0]), uint8(n[1]), uint8(n[2]<<3|n[3]))
}

// textStructure turns one structure into what decode makes of its bytes.
func (t *Table) textStructure(s *textStructure) {
	t.Structures = append(t.Structures, Structure{Header: s.Header})
	switch s.Type {
	case 0, 1, 2, 3, 4:
		t.textMachine(s)
	case 8:
		t.Connectors = append(t.Connectors, Connector{Header: s.Header, Internal: s.text("Internal Reference Designator"), External: s.text("External Reference Designator")})
	case 9:
		usage := strings.TrimSpace(s.values["Current Usage"])
		t.Slots = append(t.Slots, Slot{Header: s.Header, Designation: s.text("Designation"), InUse: usage == "In Use", Address: s.address()})
	case 10:
		for _, group := range append(s.more, s.values) {
			one := &textStructure{values: group}
			t.Onboard = append(t.Onboard, OnboardDevice{Header: s.Header, Designation: one.text("Description"), Enabled: strings.TrimSpace(group["Status"]) == "Enabled"})
		}
	case 11:
		var all []string
		for i := 1; i <= 255; i++ {
			v, ok := s.values["String "+strconv.Itoa(i)]
			if !ok {
				break
			}
			all = append(all, v)
		}
		t.OEMStrings = append(t.OEMStrings, OEMStrings{Header: s.Header, Values: all})
	case 16, 17, 19:
		t.textMemory(s)
	case 38:
		t.IPMIDevices = append(t.IPMIDevices, IPMIDevice{Header: s.Header})
	case 39:
		t.PowerSupplies = append(t.PowerSupplies, PowerSupply{
			Header: s.Header, Location: s.text("Location"), Name: s.text("Name"), Manufacturer: s.text("Manufacturer"), Serial: s.text("Serial Number"),
			AssetTag: s.text("Asset Tag"), Model: s.text("Model Part Number"), Revision: s.text("Revision"), Present: strings.HasPrefix(strings.TrimSpace(s.values["Status"]), "Present"),
		})
	case 41:
		t.Onboard = append(t.Onboard, OnboardDevice{
			Header: s.Header, Designation: s.text("Reference Designation"), Enabled: strings.TrimSpace(s.values["Status"]) == "Enabled", Instance: uint8(s.number("Type Instance")), Address: s.address(),
		})
	case 42:
		t.ManagementControllers = append(t.ManagementControllers, ManagementController{Header: s.Header})
	case 43:
		x := TPM{Header: s.Header, Vendor: strings.TrimSpace(s.text("Vendor ID")), Description: s.text("Description")}
		major, minor, _ := strings.Cut(strings.TrimSpace(s.values["Specification Version"]), ".")
		a, _ := strconv.ParseUint(major, 10, 8)
		b, _ := strconv.ParseUint(minor, 10, 8)
		x.Major, x.Minor = uint8(a), uint8(b)
		t.TPMs = append(t.TPMs, x)
	}
}

// textMachine reads types 0 to 4.
func (t *Table) textMachine(s *textStructure) {
	maker, version, serial := s.text("Manufacturer"), s.text("Version"), s.text("Serial Number")
	switch s.Type {
	case 0:
		t.BIOS = append(t.BIOS, BIOS{
			Header: s.Header, Vendor: s.text("Vendor"), Version: version, ReleaseDate: s.text("Release Date"),
			ROMSize: s.bytes("ROM Size"), Virtual: s.has("Characteristics", "System is a virtual machine"),
		})
	case 1:
		x := System{Header: s.Header, Manufacturer: maker, Product: s.text("Product Name"), Version: version, Serial: serial, SKU: s.text("SKU Number"), Family: s.text("Family")}
		if u := strings.ToLower(strings.TrimSpace(s.values["UUID"])); textUUID.MatchString(u) {
			x.UUID = u
		}
		t.Systems = append(t.Systems, x)
	case 2:
		t.Baseboards = append(t.Baseboards, Baseboard{
			Header: s.Header, Manufacturer: maker, Product: s.text("Product Name"), Version: version, Serial: serial, AssetTag: s.text("Asset Tag"), Location: s.text("Location In Chassis"),
		})
	case 3:
		t.Chassis = append(t.Chassis, Chassis{Header: s.Header, Manufacturer: maker, Version: version, Serial: serial, AssetTag: s.text("Asset Tag"), SKU: s.text("SKU Number")})
	case 4:
		x := Processor{
			Header: s.Header, Socket: s.text("Socket Designation"), Manufacturer: maker, Version: version, Serial: serial, AssetTag: s.text("Asset Tag"), PartNumber: s.text("Part Number"),
			Cores: int(min(s.number("Core Count"), 1<<16)), Populated: strings.HasPrefix(strings.TrimSpace(s.values["Status"]), "Populated"),
		}
		id := strings.Fields(s.values["ID"]) // as stored, low byte first
		for i, h := range id[:min(len(id), 8)] {
			n, err := strconv.ParseUint(h, 16, 8)
			if err != nil {
				break
			}
			x.ID |= n << (8 * i)
		}
		x.Signature = uint32(x.ID)
		t.Processors = append(t.Processors, x)
	}
}

var textUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// uses are the words for a memory array's use (DSP0134 7.17.2).
var uses = map[string]uint8{"Other": 1, "Unknown": 2, "System Memory": 3, "Video Memory": 4, "Flash Memory": 5, "Non-volatile RAM": 6, "Cache Memory": 7}

var textMaker = regexp.MustCompile(`^Bank (\d{1,3}), Hex 0x([0-9A-Fa-f]{2})$`)

// textMemory reads types 16, 17 and 19.
func (t *Table) textMemory(s *textStructure) {
	switch s.Type {
	case 16:
		t.MemoryArrays = append(t.MemoryArrays, MemoryArray{Header: s.Header, Use: uses[strings.TrimSpace(s.values["Use"])], MaxCapacity: s.bytes("Maximum Capacity"), Devices: int(min(s.number("Number Of Devices"), 1<<16))})
	case 17:
		x := MemoryDevice{
			Header: s.Header, ArrayHandle: uint16(s.number("Array Handle")), Locator: s.text("Locator"), Bank: s.text("Bank Locator"), Manufacturer: s.text("Manufacturer"),
			Serial: s.text("Serial Number"), AssetTag: s.text("Asset Tag"), PartNumber: s.text("Part Number"), FirmwareVersion: s.text("Firmware Version"),
			Size: s.bytes("Size"), Speed: uint32(min(s.number("Speed"), 1<<31)),
		}
		x.Installed = x.Size > 0 || strings.TrimSpace(s.values["Size"]) == "Unknown"
		if m := textMaker.FindStringSubmatch(strings.TrimSpace(s.values["Module Manufacturer ID"])); m != nil {
			bank, _ := strconv.ParseUint(m[1], 10, 8)
			code, _ := strconv.ParseUint(m[2], 16, 8)
			x.ModuleManufacturerID = uint16(code)<<8 | uint16(bank-1)&0x7f
		}
		t.MemoryDevices = append(t.MemoryDevices, x)
	case 19:
		x := MappedAddress{Header: s.Header, Start: s.number("Starting Address"), End: s.number("Ending Address"), ArrayHandle: uint16(s.number("Physical Array Handle"))}
		if x.End < x.Start {
			t.problem(s.Offset, "range ends at 0x%x before its start 0x%x", x.End, x.Start)
		}
		t.MappedAddresses = append(t.MappedAddresses, x)
	}
}
