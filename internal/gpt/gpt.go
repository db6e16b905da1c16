// Package gpt reads and writes GUID partition tables (UEFI 2.10, 5.3) of media
// with sectors of 512 bytes.
package gpt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"unicode/utf16"
)

// Sector is the size of a logical block in bytes.
const Sector = 512

// HeadSectors is how many sectors the table takes at the start of a medium:
// the protective MBR, the header and 128 entries.
const HeadSectors = 2 + entries*entrySize/Sector

const (
	entries   = 128
	entrySize = 128
	headSize  = 92
	maxCount  = 1024
)

// GUID is a GUID as it is stored: the first three fields are little endian
// (UEFI 2.10, appendix A).
type GUID [16]byte

func (g GUID) String() string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g[:]), binary.LittleEndian.Uint16(g[4:]), binary.LittleEndian.Uint16(g[6:]), g[8:10], g[10:])
}

// Types of partitions.
var (
	ESP  = GUID{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b} // EFI system partition
	Data = GUID{0xa2, 0xa0, 0xd0, 0xeb, 0xe5, 0xb9, 0x33, 0x44, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26, 0x99, 0xc7} // basic data
)

// Partition is one entry. First and Last are block addresses, both included.
type Partition struct {
	Type, ID    GUID
	First, Last uint64
	Name        string
}

// Table is a partition table.
type Table struct {
	Disk       GUID
	Sectors    uint64 // of the medium
	Partitions []Partition
}

// Parse reads the start of a medium: at least HeadSectors sectors. Both
// checksums of the table are checked.
func Parse(head []byte) (*Table, error) {
	h, err := header(head)
	if err != nil {
		return nil, err
	}
	count, size := binary.LittleEndian.Uint32(h[80:]), binary.LittleEndian.Uint32(h[84:])
	at := binary.LittleEndian.Uint64(h[72:])
	if size != entrySize || count > maxCount || at < 2 || at > uint64(len(head))/Sector || int(at)*Sector+int(count)*entrySize > len(head) {
		return nil, fmt.Errorf("gpt: %d entries of %d bytes at block %d", count, size, at)
	}
	list := head[int(at)*Sector:][:int(count)*entrySize]
	if got, want := crc32.ChecksumIEEE(list), binary.LittleEndian.Uint32(h[88:]); got != want {
		return nil, fmt.Errorf("gpt: checksum of the entries is 0x%08x, want 0x%08x", got, want)
	}
	t := &Table{Disk: GUID(h[56:72]), Sectors: binary.LittleEndian.Uint64(h[32:]) + 1}
	for e := range chunks(list, entrySize) {
		p := Partition{Type: GUID(e[:16]), ID: GUID(e[16:32]), First: binary.LittleEndian.Uint64(e[32:]), Last: binary.LittleEndian.Uint64(e[40:])}
		if p.Type == (GUID{}) {
			continue
		}
		var name []uint16
		for i := 56; i < entrySize; i += 2 {
			c := binary.LittleEndian.Uint16(e[i:])
			if c == 0 {
				break
			}
			name = append(name, c)
		}
		p.Name = string(utf16.Decode(name))
		t.Partitions = append(t.Partitions, p)
	}
	return t, nil
}

// header checks the primary header and returns it.
func header(head []byte) ([]byte, error) {
	if len(head) < HeadSectors*Sector {
		return nil, fmt.Errorf("gpt: %d bytes, want at least %d", len(head), HeadSectors*Sector)
	}
	h := bytes.Clone(head[Sector : Sector+headSize])
	if string(h[:8]) != "EFI PART" {
		return nil, errors.New("gpt: offset 512: no partition table")
	}
	if n := binary.LittleEndian.Uint32(h[12:]); n != headSize {
		return nil, fmt.Errorf("gpt: offset 524: a header of %d bytes", n)
	}
	want := binary.LittleEndian.Uint32(h[16:])
	clear(h[16:20])
	got := crc32.ChecksumIEEE(h)
	if got != want {
		return nil, fmt.Errorf("gpt: checksum of the header is 0x%08x, want 0x%08x", got, want)
	}
	binary.LittleEndian.PutUint32(h[16:], want)
	return h, nil
}

func chunks(b []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for ; len(b) >= n && yield(b[:n]); b = b[n:] {
		}
	}
}

// Encode returns the start of the medium, with its protective MBR, and the
// copy of the table that ends it.
func (t *Table) Encode() (head, tail []byte, err error) {
	list := make([]byte, entries*entrySize)
	if len(t.Partitions) > entries {
		return nil, nil, fmt.Errorf("gpt: %d partitions, at most %d", len(t.Partitions), entries)
	}
	for i, p := range t.Partitions {
		name := utf16.Encode([]rune(p.Name))
		if p.First < HeadSectors || p.Last < p.First || p.Last+HeadSectors > t.Sectors || len(name) > 36 {
			return nil, nil, fmt.Errorf("gpt: partition %q does not fit", p.Name)
		}
		e := list[i*entrySize:]
		copy(e, p.Type[:])
		copy(e[16:], p.ID[:])
		binary.LittleEndian.PutUint64(e[32:], p.First)
		binary.LittleEndian.PutUint64(e[40:], p.Last)
		for j, c := range name {
			binary.LittleEndian.PutUint16(e[56+2*j:], c)
		}
	}
	last := t.Sectors - 1
	head = append(t.mbr(), pad(t.header(1, last, 2, list))...)
	tail = append(bytes.Clone(list), pad(t.header(last, 1, last-entries*entrySize/Sector, list))...)
	return append(head, list...), tail, nil
}

func pad(h []byte) []byte { return append(h, make([]byte, Sector-len(h))...) }

func (t *Table) header(own, other, list uint64, entriesOf []byte) []byte {
	h := make([]byte, headSize)
	copy(h, "EFI PART")
	binary.LittleEndian.PutUint32(h[8:], 0x00010000)
	binary.LittleEndian.PutUint32(h[12:], headSize)
	binary.LittleEndian.PutUint64(h[24:], own)
	binary.LittleEndian.PutUint64(h[32:], other)
	binary.LittleEndian.PutUint64(h[40:], HeadSectors)
	binary.LittleEndian.PutUint64(h[48:], t.Sectors-HeadSectors)
	copy(h[56:], t.Disk[:])
	binary.LittleEndian.PutUint64(h[72:], list)
	binary.LittleEndian.PutUint32(h[80:], entries)
	binary.LittleEndian.PutUint32(h[84:], entrySize)
	binary.LittleEndian.PutUint32(h[88:], crc32.ChecksumIEEE(entriesOf))
	binary.LittleEndian.PutUint32(h[16:], crc32.ChecksumIEEE(h))
	return h
}

// mbr protects the medium from tools that know no GPT (UEFI 2.10, 5.2.3).
func (t *Table) mbr() []byte {
	b := make([]byte, Sector)
	p := b[446:]
	copy(p, []byte{0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	binary.LittleEndian.PutUint32(p[12:], uint32(min(t.Sectors-1, 0xffffffff)))
	b[510], b[511] = 0x55, 0xaa
	return b
}

// Measured is what firmware hashes for EV_EFI_GPT_EVENT: header, number of
// used entries, and these entries (TCG PFP 1.06, 10.2.8 UEFI_GPT_DATA).
func Measured(head []byte) ([]byte, error) {
	h, err := header(head)
	if err != nil {
		return nil, err
	}
	if _, err := Parse(head); err != nil {
		return nil, err
	}
	at, count := int(binary.LittleEndian.Uint64(h[72:])), int(binary.LittleEndian.Uint32(h[80:]))
	var used []byte
	n := uint64(0)
	for e := range chunks(head[at*Sector:][:count*entrySize], entrySize) {
		if GUID(e[:16]) != (GUID{}) {
			used = append(used, e...)
			n++
		}
	}
	return append(binary.LittleEndian.AppendUint64(h, n), used...), nil
}
