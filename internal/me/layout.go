package me

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
)

// Newer engines' regions begin with a layout table: where the data partition
// with the partition table is, and where the boot partitions are, each with a
// descriptor table of its own (ME Analyzer, CSE_Layout_Table_16 and _17;
// Slim Bootloader, IfwiUtility). The table has no signature, so that it counts
// only when what it points at has one.

// layoutForm is one form of the table: where the pairs of offset and length are.
type layoutForm struct {
	data, boot, boots int
	format            string
}

var layoutForms = []layoutForm{
	{data: 24, boot: 32, boots: 5, format: "IFWI 1.7"},
	{data: 16, boot: 24, boots: 4, format: "IFWI 1.6"},
}

func (r *Region) layout(b []byte) bool {
	for _, f := range layoutForms {
		end := f.boot + 8*f.boots
		if len(b) < end {
			continue
		}
		data := word(b, f.data)
		if data < uint32(end) || uint64(data) >= uint64(len(b)) || !r.table(b, int(data)) {
			continue
		}
		r.Format = f.format + ", " + r.Format
		r.Parts = append(r.Parts, Part{Name: "layout", Offset: 0, Length: end, Kind: Header})
		for i := range f.boots {
			offset, length := word(b, f.boot+8*i), word(b, f.boot+8*i+4)
			if offset != 0 && length != 0 && uint64(offset) < uint64(len(b)) {
				r.bootPartition(b, fmt.Sprintf("BP%d", i+1), int(offset), 0)
			}
		}
		return true
	}
	return false
}

const (
	bootHeader = 24
	bootEntry  = 12
	secondary  = 5 // type of the entry for a second descriptor table
	maxDepth   = 2
)

// bootNames are the types of what a boot partition holds (Slim Bootloader,
// BPDT_ENTRY_TYPE; ME Analyzer, bpdt_dict).
var bootNames = []string{
	"SMIP", "RBEP", "FTPR", "UCOD", "IBBP", "S-BPDT", "OBBP", "NFTP", "ISHC", "DLMP", "UEBP", "UTOK", "UFSP", "UFSG", "PMCP", "IUNP", "NVMC", "UEP", "WCOD", "LOCL", "OEMP",
}

// bootPartition reads the descriptor table of a boot partition.
func (r *Region) bootPartition(b []byte, name string, start, depth int) {
	if depth >= maxDepth || len(b)-start < bootHeader {
		return
	}
	h := b[start:]
	n := int(half(h, 4))
	if s := word(h, 0); s != 0x000055aa && s != 0x00aa55aa || n > MaxEntries || bootHeader+n*bootEntry > len(h) {
		return
	}
	r.Parts = append(r.Parts, Part{Name: name + "/BPDT", Offset: start, Length: bootHeader + n*bootEntry, Kind: Header})
	for i := range n {
		e := h[bootHeader+i*bootEntry:]
		typ, offset, length := int(half(e, 0)), word(e, 4), word(e, 8)
		if offset == 0 || offset == 0xffffffff || length == 0 {
			continue
		}
		p := Part{Name: fmt.Sprintf("%s/type-%d", name, typ), Offset: start + int(offset), Length: int(length)}
		if typ < len(bootNames) {
			p.Name = name + "/" + bootNames[typ]
		}
		if typ == secondary {
			if p.Offset < len(b) {
				r.bootPartition(b, name+"/S", p.Offset, depth+1)
			}
			continue
		}
		r.code(b, &p)
		r.Parts = append(r.Parts, p)
	}
}

const (
	directorySignature = "$CPD"
	directoryEntry     = 24
	manifestAt         = 0x1c // of "$MN2" in a manifest's header
	manifestHeader     = 0x30
)

// ParsePartition reads the directory of a code partition.
func ParsePartition(b []byte) (Part, bool) {
	p := Part{Length: len(b)}
	(&Region{}).code(b, &p)
	return p, len(p.Modules) > 0
}

// code reads the directory of a code partition and its manifest. Older engines
// have the manifest at the partition's beginning.
func (r *Region) code(b []byte, p *Part) {
	if p.Offset < 0 || p.Offset >= len(b) {
		return
	}
	body := b[p.Offset:min(len(b), p.Offset+p.Length)]
	if m, ok := manifest(body); ok {
		p.Manifest = &m
	}
	if !has(body, 0, directorySignature) || len(body) < 20 {
		return
	}
	n, header := word(body, 4), 16
	if body[8] == 2 {
		header = 20
	}
	if body[8] < 1 || body[8] > 2 || n > MaxEntries || header+int(n)*directoryEntry > len(body) {
		return
	}
	end := header + int(n)*directoryEntry
	p.Kind, p.Table = Code, end
	if !directoryHolds(body, header, end) {
		r.Damaged = append(r.Damaged, Damage{p.Name, p.Offset, end})
	}
	for i := range int(n) {
		e := body[header+i*directoryEntry:]
		m := Module{Name: text(e[:12]), Offset: int(word(e, 12) & 0x1ffffff), Length: int(word(e, 16)), Compressed: word(e, 12)>>25&1 == 1}
		p.Modules = append(p.Modules, m)
		if p.Manifest == nil && m.Offset < len(body) {
			if man, ok := manifest(body[m.Offset:]); ok {
				p.Manifest = &man
			}
		}
	}
}

// directoryHolds checks the directory's checksum: in the first version one byte,
// which the image that the tests have computes over the header and ME Analyzer
// describes as over the entries too; in the second a CRC-32 over both.
func directoryHolds(b []byte, header, end int) bool {
	if b[8] == 1 {
		return sum8(b[:header]) == 0 || sum8(b[:end]) == 0
	}
	return crcHolds(b, 16, end) || crcHolds(b, 16, header)
}

// crcHolds checks a CRC-32 in b[:end] that was computed with zero in its place.
func crcHolds(b []byte, at, end int) bool {
	h := crc32.NewIEEE()
	h.Write(b[:at])
	h.Write(make([]byte, 4))
	h.Write(b[at+4 : end])
	return h.Sum32() == word(b, at)
}

// manifest reads the header of a manifest at the start of b.
func manifest(b []byte) (Manifest, bool) {
	if len(b) < manifestHeader || !has(b, manifestAt, "$MN2") && !has(b, manifestAt, "$MAN") || word(b, 0x10) != 0x8086 {
		return Manifest{}, false
	}
	m := Manifest{
		Version: fmt.Sprintf("%d.%d.%d.%d", half(b, 0x24), half(b, 0x26), half(b, 0x28), half(b, 0x2a)),
		Date:    fmt.Sprintf("%02x%02x-%02x-%02x", b[0x17], b[0x16], b[0x15], b[0x14]),
		SVN:     binary.LittleEndian.Uint32(b[0x2c:]),
		Debug:   word(b, 0x0c)>>31 == 1,
	}
	if string(b[manifestAt:manifestAt+4]) == "$MAN" {
		m.SVN = 0 // engines before the sixth had none
	}
	return m, true
}
