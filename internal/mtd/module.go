package mtd

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
)

// The header of a flash module of MegaRAC, version 1.
const (
	moduleLen    = 64
	alternateLen = 16
	moduleMagic  = "$MODULE$"
	hasChecksum  = 1 << 8 // flag: a CRC32 over the contents
)

// moduleWritable lists the modules that MegaRAC mounts for writing.
func moduleWritable(name string) bool {
	return slices.Contains([]string{"conf", "bkupconf", "extlog"}, name)
}

// module reads the header at an offset: where the module lies, how much room it
// has, where in that its contents are, and what it is called. The bytes of a
// header add up to zero.
func (f *flash) module(header int) (Part, bool) {
	if header < 0 || len(f.b)-header < moduleLen {
		return Part{}, false
	}
	h := f.b[header : header+moduleLen]
	le := binary.LittleEndian
	at, n := uint64(le.Uint32(h[16:])), uint64(le.Uint32(h[12:]))
	if string(h[:8]) != moduleMagic || h[8] != 1 || h[62] != 0xaa || h[63] != 0x55 || sum(h) != 0 || n == 0 || at+n > uint64(len(f.b)) {
		return Part{}, false
	}
	name, _, _ := bytes.Cut(h[24:32], []byte{0})
	clean := string(bytes.Map(plainRune, name))
	p := Part{Kind: "module", Name: clean, Offset: int(at), Length: int(n), Writable: moduleWritable(clean), Header: header - int(at)}
	body, size := uint64(le.Uint32(h[36:])), uint64(le.Uint32(h[40:]))
	if body+size > n {
		p.Damaged = fmt.Sprintf("its contents of %d bytes at %d are longer than its room of %d", size, body, n)
		return p, true
	}
	p.Body, p.BodyLength = int(body), int(size)
	contents := f.b[at+body : at+body+size]
	if !f.spend(len(contents)) {
		p.Damaged = "its checksum was not looked at: modules claim more bytes than there are"
		return p, true
	}
	if want := le.Uint32(h[50:]); le.Uint16(h[44:])&hasChecksum != 0 && !p.Writable && crc32.ChecksumIEEE(contents) != want {
		p.Damaged = fmt.Sprintf("its contents have checksum %08x, its header says %08x", crc32.ChecksumIEEE(contents), want)
	}
	return p, true
}

// alternate reads the short header at the end of an erase block, which leads to
// a module's header inside of the block: a boot loader has its vectors where
// headers are otherwise. No header says how long an erase block is.
func (f *flash) alternate(end int) (Part, bool) {
	if end > len(f.b) || end < alternateLen {
		return Part{}, false
	}
	h := f.b[end-alternateLen : end]
	if string(h[8:]) != moduleMagic || h[0] != 0xaa || h[1] != 0x55 || sum(h) != 0 {
		return Part{}, false
	}
	link := int64(binary.LittleEndian.Uint32(h[4:]))
	for size := block; size <= 1<<18 && size <= end; size *= 2 {
		if link < int64(size) {
			if p, ok := f.module(end - size + int(link)); ok {
				return p, true
			}
		}
	}
	return Part{}, false
}

func sum(b []byte) (s byte) {
	for _, c := range b {
		s += c
	}
	return s
}
