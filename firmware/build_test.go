package firmware

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/ulikunitz/xz/lzma"

	"github.com/assay-hw/assay/internal/ffs"
	"github.com/assay-hw/assay/internal/nvram"
)

// The tests build their images themselves, so that each says which bytes
// matter.

func guidBytes(s string) []byte {
	p := strings.Split(s, "-")
	b := make([]byte, 0, 16)
	for i, part := range p {
		raw, _ := hex.DecodeString(part)
		if i < 3 {
			slices.Reverse(raw)
		}
		b = append(b, raw...)
	}
	return b
}

// buildVolume returns a volume of the given length with a body after its
// header and erased bytes after the body.
func buildVolume(fs string, length int, body []byte) []byte {
	const header = 72
	b := bytes.Repeat([]byte{0xff}, length)
	clear(b[:header])
	copy(b[16:], guidBytes(fs))
	binary.LittleEndian.PutUint64(b[32:], uint64(length))
	copy(b[40:], "_FVH")
	binary.LittleEndian.PutUint32(b[44:], 1<<11)
	binary.LittleEndian.PutUint16(b[48:], header)
	b[55] = 2
	binary.LittleEndian.PutUint32(b[56:], 1)
	binary.LittleEndian.PutUint32(b[60:], uint32(length))
	seal(b)
	copy(b[header:], body)
	return b
}

// buildFile returns a file with its header, padded to eight bytes.
func buildFile(guid string, kind byte, body []byte) []byte {
	n := ffs.FileHeader + len(body)
	b := make([]byte, ffs.FileHeader, n+8)
	copy(b, guidBytes(guid))
	b[18] = kind
	b[20], b[21], b[22] = byte(n), byte(n>>8), byte(n>>16)
	var sum byte
	for _, c := range b {
		sum += c
	}
	b[16] = -sum
	b[17], b[23] = 0xaa, 0xf8
	b = append(b, body...)
	for len(b)%8 != 0 {
		b = append(b, 0xff)
	}
	return b
}

// buildStore returns a volume with a variable store of 0x800 bytes and the
// fault-tolerant writer's areas.
func buildStore(contents []byte) []byte {
	body := bytes.Repeat([]byte{0xff}, 0x4000-72)
	copy(body, guidBytes("AAF32C78-947B-439A-A180-2E144EC37792"))
	binary.LittleEndian.PutUint32(body[16:], 0x800)
	copy(body[20:], []byte{0x5a, 0xfe, 0, 0, 0, 0, 0, 0})
	copy(body[nvram.Header:], contents)
	work := body[0x1000-72:]
	copy(work, guidBytes(string(guidWorkBlock)))
	binary.LittleEndian.PutUint64(work[24:], 0x1000-workHeader)
	return buildVolume(string(ffs.SystemNVData), 0x4000, body)
}

const (
	driverA = "11111111-1111-4111-8111-111111111111"
	driverB = "22222222-2222-4222-8222-222222222222"
	driverC = "33333333-3333-4333-8333-333333333333"
	logo    = "7BB28B99-61BB-11D5-9A5D-0090273FC14D"
)

func driver(guid, text string) []byte { return buildFile(guid, 0x07, []byte(text)) }

// board is a small image: variables, a code volume, a gap, and a second code
// volume that ends with free space.
func board(files ...[]byte) []byte {
	if files == nil {
		files = [][]byte{driver(driverA, "first driver"), buildFile(logo, byte(ffs.Freeform), []byte("logo")), driver(driverB, "second driver!")}
	}
	return slices.Concat(
		buildStore([]byte("Boot0000")),
		buildVolume(string(ffs.FileSystem2), 0x1000, slices.Concat(files...)),
		bytes.Repeat([]byte{0xff}, 0x400),
		buildVolume(string(ffs.FileSystem3), 0x800, driver(driverC, "reset vector")),
	)
}

// peImage is the least that a loader takes for a PE image.
func peImage() []byte {
	b := make([]byte, 0x40+24+28+40)
	copy(b, "MZ")
	b[0x3c] = 0x40
	copy(b[0x40:], "PE\x00\x00\x64\x86\x01\x00")
	b[0x40+20] = 28
	copy(b[0x40+24:], "\x0b\x02")
	return b
}

// teImage is the terse form.
func teImage() []byte {
	b := make([]byte, 80)
	copy(b, "VZ\x64\x86\x01\x0b\x60\x01")
	return b
}

// buildDescriptor returns a flash of 16 KiB blocks with an Intel descriptor:
// descriptor, management engine, then a region of volumes.
func buildDescriptor(bios []byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 0x3000+len(bios))
	binary.LittleEndian.PutUint32(b[0x10:], 0x0ff0a55a)
	binary.LittleEndian.PutUint32(b[0x14:], 0x04<<16)
	put := func(i, first, last int) {
		binary.LittleEndian.PutUint32(b[0x40+4*i:], uint32(last)<<16|uint32(first))
	}
	put(0, 0, 0)
	put(1, 3, 2+len(bios)/0x1000)
	put(2, 1, 1)
	for i := 3; i < 16; i++ {
		put(i, 0x7fff, 0)
	}
	copy(b[0x1000:], "management engine")
	copy(b[0x3000:], bios)
	return b
}

// seal sets the checksum of a volume's header.
func seal(b []byte) {
	binary.LittleEndian.PutUint16(b[50:], 0)
	var sum uint16
	for i := 0; i+1 < min(len(b), int(binary.LittleEndian.Uint16(b[48:]))); i += 2 {
		sum += binary.LittleEndian.Uint16(b[i:])
	}
	binary.LittleEndian.PutUint16(b[50:], -sum)
}

// section returns a section with its header, padded to four bytes.
func section(t ffs.SectionType, body []byte) []byte {
	n := 4 + len(body)
	b := append([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(t)}, body...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// ui is a section with a name.
func ui(name string) []byte {
	var b []byte
	for _, c := range name + "\x00" {
		b = append(b, byte(c), 0)
	}
	return section(ffs.UserInterface, b)
}

// guidedSection is a section whose contents are stored as its GUID says.
func guidedSection(guid string, attributes byte, body []byte) []byte {
	return section(ffs.GUIDDefined, slices.Concat(guidBytes(guid), []byte{24, 0, attributes, 0}, body))
}

const (
	guidLZMA  = "EE4E5898-3914-4259-9D6E-DC7BD79403CF"
	guidTiano = "A31280AD-481E-41B6-95E8-127F4C984779"
	guidZlib  = "CE3233F5-2CD6-4D87-9152-4A238BB6D1C4"
	guidCRC32 = "FC1BCDB0-7D31-49AA-936A-A4600D9DD083"
	outerFile = "9E21FD93-9C72-4C15-8C4B-E77F1DB2D792"
)

// compressLZMA writes the stream as edk2's tools do: with its length and
// without an end marker.
func compressLZMA(b []byte) []byte {
	var buf bytes.Buffer
	c := lzma.WriterConfig{SizeInHeader: true, Size: int64(len(b))}
	w, err := c.NewWriter(&buf)
	if err == nil {
		_, err = w.Write(b)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(err)
	}
	return buf.Bytes()
}

// named is a driver with a section of code and a name.
func named(guid, name, text string) []byte {
	return buildFile(guid, 0x07, slices.Concat(section(ffs.PE32, []byte(text)), ui(name)))
}

// nested is a volume with one file that holds a compressed volume of drivers.
func nested(drivers ...[]byte) []byte {
	inner := buildVolume(string(ffs.FileSystem3), 0x2000, slices.Concat(drivers...))
	body := slices.Concat(section(ffs.RawSection, make([]byte, 12)), section(ffs.VolumeSection, inner))
	file := buildFile(outerFile, byte(ffs.VolumeImage), guidedSection(guidLZMA, ffs.ProcessingRequired, compressLZMA(body)))
	return buildVolume(string(ffs.FileSystem2), 0x4000, file)
}
