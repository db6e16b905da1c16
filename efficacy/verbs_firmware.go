package efficacy

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/authenticode"
	"github.com/assay-hw/assay/internal/oprom"
)

// firmwareVerbs change images of flash parts.
func firmwareVerbs() map[string]verb {
	return map[string]verb{
		"leaf":        {"bc", 3, false, "IMAGE KIND OFFSET: flips a bit in the first leaf of a kind: padding, free, volatile, ..., or in the one with a path", (*scene).leaf},
		"leaf-write":  {"bc", 4, false, "IMAGE KIND OFFSET TEXT: writes text into the first leaf of a kind that has room", (*scene).leafWrite},
		"leaf-driver": {"bc", 4, false, "IMAGE KIND OFFSET TEXT: the same with a driver that holds the text", (*scene).leafDriver},
		"driver":      {"bc", 2, false, "PATH TEXT: a driver that holds the text is added at the end of the file", (*scene).driver},
		"second-read": {"bc", 1, false, "IMAGE: the second pass read the image too, and alike", (*scene).secondRead},
		"rom":         {"bc", 2, false, "BDF TEXT: the function answers with an option ROM whose driver is this text", (*scene).rom},
		"event-rom":   {"bc", 2, false, "EVENT BDF: the driver in this function's option ROM was measured", (*scene).eventROM},
		"controller":  {"bc", 2, false, "VERSION SIZE: an image of the management controller, and what it calls itself", (*scene).controller},
		"openbmc":     {"b", 0, false, ": the flash of a management controller, divided as OpenBMC does", (*scene).openBMC},
		"corpus":      {"bc", 2, false, "IMAGE FILE: an image of the public collection, which is compressed with xz", (*scene).corpusImage},
		"port":        {"bc", 2, false, "CHANNEL ADDRESS: the management controller answers with this address on a LAN channel", (*scene).port},
	}
}

// find gives the first leaf of a kind with at least so many bytes, or the leaf
// with a path.
func (s *scene) find(image, kind string, room int) (firmware.Leaf, error) {
	data, err := s.file("firmware/" + image + ".rom")
	if err != nil {
		return firmware.Leaf{}, err
	}
	for _, l := range firmware.Parse(image, data).Leaves {
		if (string(l.Kind) == kind || l.Path == kind) && l.Length >= int64(room) {
			return l, nil
		}
	}
	return firmware.Leaf{}, fmt.Errorf("no leaf of kind %s in %s", kind, image)
}

func (s *scene) leaf(a []string) error {
	n, err := strconv.ParseInt(a[2], 0, 32)
	if err != nil {
		return err
	}
	l, err := s.find(a[0], a[1], int(n)+1)
	if err != nil {
		return err
	}
	return s.flip([]string{"firmware/" + a[0] + ".rom", fmt.Sprint(l.Offset + n), "0x10"})
}

func (s *scene) leafDriver(a []string) error {
	return s.leafWrite([]string{a[0], a[1], a[2], string(driver(a[3]))})
}

func (s *scene) driver(a []string) error {
	s.files[a[0]] = append(bytes.Clone(s.files[a[0]]), driver(a[1])...)
	return nil
}

func (s *scene) leafWrite(a []string) error {
	n, err := strconv.ParseInt(a[2], 0, 32)
	if err != nil {
		return err
	}
	l, err := s.find(a[0], a[1], int(n)+len(a[3]))
	if err != nil {
		return err
	}
	return s.poke([]string{"firmware/" + a[0] + ".rom", fmt.Sprint(l.Offset + n), hex.EncodeToString([]byte(a[3]))})
}

func (s *scene) secondRead(a []string) error {
	b, err := s.file("firmware/" + a[0] + ".rom")
	s.files["pass2/firmware/"+a[0]+".rom"] = b
	return err
}

// driver is the least that firmware and Authenticode take for a PE32+ file: headers
// and one section that holds text.
func driver(text string) []byte {
	const headers, optional = 0x200, 0xf0
	b := make([]byte, headers, headers+len(text))
	copy(b, "MZ")
	b[0x3c] = 0x40
	copy(b[0x40:], "PE\x00\x00\x64\x86\x01") // x86-64, one section
	binary.LittleEndian.PutUint16(b[0x54:], optional)
	binary.LittleEndian.PutUint16(b[0x58:], 0x20b)
	binary.LittleEndian.PutUint32(b[0x58+60:], headers)
	binary.LittleEndian.PutUint16(b[0x58+68:], 11) // boot services driver
	binary.LittleEndian.PutUint32(b[0x58+108:], 16)
	section := b[0x58+optional:]
	copy(section, ".text")
	for at, v := range map[int]int{8: len(text), 12: 0x1000, 16: len(text), 20: headers} {
		binary.LittleEndian.PutUint32(section[at:], uint32(v))
	}
	return append(b, text...)
}

// rom builds an expansion ROM with one EFI image (PCI Firmware Specification 3.3,
// 5.1).
func (s *scene) rom(a []string) error {
	config, err := s.file(pciDevices + a[0] + "/config")
	if err != nil {
		return err
	}
	const at, pcir, unit = 0x200, 0x1c, 512
	pe := driver(a[1])
	units := (at + len(pe) + unit - 1) / unit
	b := make([]byte, units*unit)
	copy(b, "\x55\xaa")
	binary.LittleEndian.PutUint16(b[2:], uint16(units))
	binary.LittleEndian.PutUint32(b[4:], 0x0ef1)
	binary.LittleEndian.PutUint16(b[8:], 11)
	binary.LittleEndian.PutUint16(b[10:], 0x8664)
	binary.LittleEndian.PutUint16(b[0x16:], at)
	binary.LittleEndian.PutUint16(b[0x18:], pcir)
	copy(b[pcir:], "PCIR")
	copy(b[pcir+4:], config[:4])
	binary.LittleEndian.PutUint16(b[pcir+10:], 0x1c)
	b[pcir+12] = 3
	copy(b[pcir+13:pcir+16], config[9:12])
	binary.LittleEndian.PutUint16(b[pcir+16:], uint16(units))
	b[pcir+20], b[pcir+21] = 3, 0x80 // EFI, the last one
	copy(b[at:], pe)
	s.files[pciDevices+a[0]+"/rom"] = b
	return nil
}

func (s *scene) eventROM(a []string) error {
	rom, err := s.file(pciDevices + a[1] + "/rom")
	if err != nil {
		return err
	}
	images, err := oprom.Parse(rom)
	if err != nil {
		return err
	}
	raw, _, e, err := s.event(a[0])
	if err != nil {
		return err
	}
	for _, d := range e.Digests {
		sum, err := authenticode.Digest(images[0].PE, d.Alg.Hash())
		if err != nil {
			return err
		}
		copy(raw[bytes.Index(raw[e.Offset:e.DataOffset], d.Value)+e.Offset:], sum)
	}
	s.files[logAt] = raw
	return nil
}

// image is a flash that was read whole.
func (s *scene) image(name string, b []byte) {
	s.files["firmware/"+name+".rom"] = b
	s.files["firmware/"+name+".json"] = fmt.Appendf(nil, `{"source":"test","offset":0,"length":%d,"complete":true}`, len(b))
}

func (s *scene) openBMC(_ []string) error {
	b, err := openBMCFlash(s.bench.root)
	if err == nil {
		s.image("bmc", b)
	}
	return err
}

// corpusImage takes a real image, or one that others made, that is not part of
// the project.
func (s *scene) corpusImage(a []string) error {
	path := filepath.Join(s.bench.root, "..", "shared", "corpus", filepath.FromSlash(a[1]))
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%s: %w", a[1], ErrNotHere)
	}
	b, err := unpacked(path)
	if err == nil {
		s.image(a[0], b)
	}
	return err
}

// port answers Get LAN Configuration Parameters for parameter 5 (IPMI 2.0, 23.2).
func (s *scene) port(a []string) error {
	mac, err := net.ParseMAC(a[1])
	s.files["ipmi/lan-"+a[0]+".bin"] = append([]byte{0x11}, mac...)
	return err
}

// controller makes an image that is not like any real one inside: what is
// compared of an unknown image is its bytes.
func (s *scene) controller(a []string) error {
	n, err := strconv.Atoi(a[1])
	if err != nil || n < 1024 || n > 1<<20 {
		return fmt.Errorf("size %s", a[1])
	}
	b := bytes.Repeat([]byte("firmware of the management controller "+a[0]+"\n"), n/40+1)[:n]
	s.image("bmc", b)
	return nil
}
