package efficacy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
)

const (
	pciDevices = "sys/bus/pci/devices/"
	usbDevices = "sys/bus/usb/devices/"
	dmiTable   = "sys/firmware/dmi/tables/DMI"
)

// partVerbs change parts: cards, modules, memories of parts, tables.
func partVerbs() map[string]verb {
	return map[string]verb{
		"pci-copy":   {"bc", 3, false, "BDF AS PATH: a function like this one answers elsewhere, below a path as /sys shows it", (*scene).pciCopy},
		"pci-config": {"bc", 3, false, "BDF OFFSET HEX: registers of a function; attribute files for ids follow", (*scene).pciConfig},
		"usb-copy":   {"bc", 2, false, "PORT AS: a device like this one is plugged in elsewhere", (*scene).usbCopy},
		"i2c-answer": {"bc", 2, false, "BUS ADDRESS: one more address answers in the listing of a bus", (*scene).i2cAnswer},
		"spd":        {"bc", 3, false, "CLIENT OFFSET HEX: bytes of a module's memory, and its checksum after them", (*scene).spd},
		"spd-only":   {"bc", 3, false, "CLIENT OFFSET HEX: the same without the checksum", (*scene).spdOnly},
		"fru":        {"bc", 3, false, "FILE OLD NEW: text of an inventory memory at equal length, and its checksums", (*scene).fru},
		"acpi-add":   {"bc", 2, false, "NAME LENGTH: a table with a right checksum", (*scene).acpiAdd},
		"smbios":     {"bc", 4, false, "TYPE NUMBER OFFSET HEX: bytes of the formatted part of a structure; NUMBER counts from 0", (*scene).smbios},
	}
}

// pciCopy gives a function the place of another one, under its own bus number.
func (s *scene) pciCopy(a []string) error {
	if err := s.copy([]string{pciDevices + a[0], pciDevices + a[1]}); err != nil {
		return err
	}
	s.files[pciDevices+a[1]+"/path"] = []byte(a[2] + "\n")
	return nil
}

// attributeFiles are what sysfs shows of registers: offset and bytes.
var attributeFiles = map[string][2]int{
	"vendor": {0, 2}, "device": {2, 2}, "revision": {8, 1}, "subsystem_vendor": {0x2c, 2}, "subsystem_device": {0x2e, 2},
}

func (s *scene) pciConfig(a []string) error {
	dir := pciDevices + a[0] + "/"
	if err := s.poke([]string{dir + "config", a[1], a[2]}); err != nil {
		return err
	}
	c := s.files[dir+"config"]
	for name, x := range attributeFiles {
		if _, have := s.files[dir+name]; !have {
			continue
		}
		if c[0x0e]&0x7f != 0 && x[0] >= 0x2c {
			continue // a bridge has no subsystem there
		}
		v := uint64(c[x[0]])
		if x[1] == 2 {
			v = uint64(binary.LittleEndian.Uint16(c[x[0]:]))
		}
		s.files[dir+name] = fmt.Appendf(nil, "0x%0*x\n", 2*x[1], v)
	}
	if _, have := s.files[dir+"class"]; have {
		s.files[dir+"class"] = fmt.Appendf(nil, "0x%02x%02x%02x\n", c[0x0b], c[0x0a], c[9])
	}
	return nil
}

func (s *scene) usbCopy(a []string) error {
	return s.copy([]string{usbDevices + a[0], usbDevices + a[1]})
}

func (s *scene) i2cAnswer(a []string) error {
	n, err := strconv.ParseUint(a[1], 16, 7)
	if err != nil {
		return err
	}
	name := "i2c/detect-" + a[0] + ".txt"
	b, err := s.file(name)
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, fmt.Sprintf("%02x:", n&0x70)) {
			cell := 3 + 3*int(n&0x0f)
			if cell+3 > len(l) {
				return fmt.Errorf("no cell for %s", a[1])
			}
			lines[i] = l[:cell] + fmt.Sprintf(" %02x", n) + l[cell+3:]
		}
	}
	s.files[name] = []byte(strings.Join(lines, "\n"))
	if bytes.Equal(s.files[name], b) {
		return fmt.Errorf("address %s answers already", a[1])
	}
	return nil
}

func eepromOf(client string) string { return "sys/bus/i2c/devices/" + client + "/eeprom" }

func (s *scene) spdOnly(a []string) error { return s.poke([]string{eepromOf(a[0]), a[1], a[2]}) }

// spd changes a module's memory and makes its base checksum right, as whoever
// has a programmer does (JESD21-C 4.1.2.11 and 12: CRC-16 over bytes 0 to 125, or to
// 116 where DDR3 says so).
func (s *scene) spd(a []string) error {
	if err := s.spdOnly(a); err != nil {
		return err
	}
	b := s.files[eepromOf(a[0])]
	if len(b) < 128 {
		return fmt.Errorf("memory of %d bytes", len(b))
	}
	end := 126
	if b[2] == 0x0b && b[0]&0x80 != 0 {
		end = 117
	}
	var crc uint16
	for _, c := range b[:end] {
		crc ^= uint16(c) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	binary.LittleEndian.PutUint16(b[126:], crc)
	return nil
}

func (s *scene) fru(a []string) error {
	if err := s.rewrite(a); err != nil {
		return err
	}
	b := s.files[a[0]]
	if len(b) < 8 {
		return fmt.Errorf("memory of %d bytes", len(b))
	}
	for _, start := range b[2:5] { // areas of chassis, board and product (IPMI FRU 1.3, 8)
		from := int(start) * 8
		if from == 0 || from+2 > len(b) {
			continue
		}
		end := from + int(b[from+1])*8
		if end > len(b) || end <= from+2 {
			continue
		}
		b[end-1] = -sum(b[from : end-1])
	}
	return nil
}

func sum(b []byte) (n byte) {
	for _, c := range b {
		n += c
	}
	return n
}

func (s *scene) acpiAdd(a []string) error {
	n, err := strconv.Atoi(a[1])
	if err != nil || n < 36 || n > 1<<20 || len(a[0]) != 4 {
		return fmt.Errorf("want a name of four letters and a length from 36 on")
	}
	b := make([]byte, n)
	copy(b, a[0])
	binary.LittleEndian.PutUint32(b[4:], uint32(n))
	copy(b[10:], "EVIL  EVIL    ")
	b[9] = -sum(b)
	s.files["sys/firmware/acpi/tables/"+a[0]] = b
	return nil
}

// smbios changes one structure of the table (DSP0134, 6.1).
func (s *scene) smbios(a []string) error {
	b, err := s.file(dmiTable)
	if err != nil {
		return err
	}
	kind, err := strconv.Atoi(a[0])
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(a[1])
	if err != nil {
		return err
	}
	data, err := hex.DecodeString(a[3])
	if err != nil {
		return err
	}
	for at0 := 0; at0+4 <= len(b); {
		length := int(b[at0+1])
		if length < 4 || at0+length > len(b) {
			break
		}
		if int(b[at0]) == kind {
			if number == 0 {
				n, err := at(b[at0:at0+length], a[2], len(data))
				if err != nil {
					return err
				}
				copy(b[at0+n:], data)
				s.files[dmiTable] = b
				return nil
			}
			number--
		}
		end := bytes.Index(b[at0+length:], []byte{0, 0})
		if end < 0 {
			break
		}
		at0 += length + end + 2
	}
	return fmt.Errorf("no such structure")
}
