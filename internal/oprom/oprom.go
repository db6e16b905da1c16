// Package oprom takes a PCI expansion ROM apart into its images: the chain of
// 0x55AA headers with their PCI data structures, as a card answers them.
//
// It proves where each image starts and ends and what its header claims. It
// does not say whether firmware ran an image; the event log does.
package oprom

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/assay-hw/assay/internal/eficomp"
)

// ErrMalformed is wrapped by every refusal.
var ErrMalformed = errors.New("malformed expansion ROM")

// MaxImages bounds the chain; real ROMs hold two to four images.
const MaxImages = 64

// CodeType says for whom an image is meant (PCI Firmware Specification 3.3,
// 5.1.2, "Code Type").
type CodeType uint8

// The code types that the specification assigns.
const (
	PCAT         CodeType = 0
	OpenFirmware CodeType = 1
	PARISC       CodeType = 2
	EFI          CodeType = 3
)

// String returns the name used in reports.
func (c CodeType) String() string {
	switch c {
	case PCAT:
		return "pc-at"
	case OpenFirmware:
		return "open-firmware"
	case PARISC:
		return "pa-risc"
	case EFI:
		return "efi"
	}
	return fmt.Sprintf("code-type-0x%02x", uint8(c))
}

// EFIHeader is what the header of an EFI image adds (UEFI 2.10, 14.4.2.1).
type EFIHeader struct {
	Subsystem   uint16
	Machine     uint16
	Compression uint16 // 0 none, 1 the UEFI compression
	ImageOffset int    // from the start of the image
}

// Image is one image of a ROM. Bytes alias the parsed slice.
type Image struct {
	Offset   int // of the 0x55AA signature in the ROM
	Length   int // as the data structure declares, cut to the ROM
	VendorID uint16
	DeviceID uint16
	Class    uint32 // 24 bits: base class, subclass, interface
	CodeType CodeType
	Revision uint16 // revision level of the vendor's code
	Last     bool   // the data structure ends the chain here
	EFI      *EFIHeader
	Bytes    []byte // the whole image, headers included
	PE       []byte // the PE file of an EFI image, padding included; expanded where it is compressed
}

const (
	headerSize = 0x1a
	pcirSize   = 0x18
	efiMagic   = 0x0ef1
	unit       = 512
)

func malformed(at int, format string, args ...any) error {
	return fmt.Errorf("oprom: offset 0x%x: %s: %w", at, fmt.Sprintf(format, args...), ErrMalformed)
}

// Parse follows the chain of images. With an error it also returns the images
// before the fault, so that a broken tail hides nothing in front of it. The
// images do not overlap, and each starts behind the one before it.
func Parse(rom []byte) ([]Image, error) {
	var images []Image
	for at := 0; ; {
		if len(images) == MaxImages {
			return images, malformed(at, "more than %d images", MaxImages)
		}
		im, err := parseImage(rom, at)
		if err != nil {
			return images, err
		}
		images = append(images, im)
		at += im.Length
		if im.Last {
			return images, nil
		}
		if at >= len(rom) {
			return images, malformed(at, "chain does not end inside the ROM of %d bytes", len(rom))
		}
	}
}

func parseImage(rom []byte, at int) (Image, error) {
	b := rom[at:]
	if len(b) < headerSize {
		return Image{}, malformed(at, "%d bytes are too few for a header", len(b))
	}
	if b[0] != 0x55 || b[1] != 0xaa {
		return Image{}, malformed(at, "signature 0x%02x%02x", b[0], b[1])
	}
	p := int(binary.LittleEndian.Uint16(b[0x18:]))
	if p < headerSize || len(b)-p < pcirSize {
		return Image{}, malformed(at+0x18, "PCI data structure at 0x%x outside the ROM", p)
	}
	d := b[p:]
	if string(d[:4]) != "PCIR" {
		return Image{}, malformed(at+p, "no PCI data structure")
	}
	im := Image{
		Offset: at, Length: unit * int(binary.LittleEndian.Uint16(d[0x10:])),
		VendorID: binary.LittleEndian.Uint16(d[4:]), DeviceID: binary.LittleEndian.Uint16(d[6:]),
		Class:    uint32(d[0x0d]) | uint32(d[0x0e])<<8 | uint32(d[0x0f])<<16,
		Revision: binary.LittleEndian.Uint16(d[0x12:]), CodeType: CodeType(d[0x14]), Last: d[0x15]&0x80 != 0,
	}
	if im.Length == 0 {
		return Image{}, malformed(at+p+0x10, "image of no length")
	}
	if im.Length > len(b) {
		return Image{}, malformed(at+p+0x10, "image of %d bytes, %d left", im.Length, len(b))
	}
	if p+pcirSize > im.Length {
		return Image{}, malformed(at+0x18, "PCI data structure at 0x%x outside the image of %d bytes", p, im.Length)
	}
	im.Bytes = b[:im.Length:im.Length]
	return im, im.efi()
}

// efi reads the EFI part of an image's header. The PE file is everything from
// its offset on: firmware hands the padding over with it.
func (im *Image) efi() error {
	b := im.Bytes
	if im.CodeType != EFI || binary.LittleEndian.Uint32(b[4:]) != efiMagic {
		return nil
	}
	h := &EFIHeader{
		Subsystem: binary.LittleEndian.Uint16(b[8:]), Machine: binary.LittleEndian.Uint16(b[0x0a:]),
		Compression: binary.LittleEndian.Uint16(b[0x0c:]), ImageOffset: int(binary.LittleEndian.Uint16(b[0x16:])),
	}
	if h.ImageOffset < headerSize || h.ImageOffset >= im.Length {
		return malformed(im.Offset+0x16, "EFI image at 0x%x outside the image of %d bytes", h.ImageOffset, im.Length)
	}
	im.EFI = h
	switch h.Compression {
	case 0:
		im.PE = b[h.ImageOffset:]
	case 1:
		// What does not expand starts no driver: the header's facts stand alone.
		if pe, _, err := eficomp.Decode(b[h.ImageOffset:], eficomp.EFI, expansion*im.Length); err == nil && len(pe) > 0 {
			im.PE = pe
		}
	}
	return nil
}

// expansion bounds a compressed driver. Code shrinks to a half or a third; a bound
// by the image's length keeps the work in proportion to the ROM.
const expansion = 16
