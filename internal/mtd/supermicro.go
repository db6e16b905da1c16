package mtd

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// ATEN's firmware for Supermicro (AST2400, X10 and X11 boards) ends in lines of
// text that say where its images are: start, length, CRC32, name.
const (
	imageLine  = "[img]: "
	imageTable = 0x40000 // bytes before the end in which the lines stand
	maxImages  = 64
)

// images adds the images of such a table. One that is listed twice, or lies on
// another, leaves open which bytes are meant: whoever checks one may run the
// other.
func (f *flash) images() {
	table := f.b[max(0, len(f.b)-imageTable):]
	for len(f.parts) < maxImages {
		i := bytes.Index(table, []byte(imageLine))
		if i < 0 {
			return
		}
		table = table[i+len(imageLine):]
		if p, ok := f.image(table[:min(len(table), 128)]); ok {
			f.parts = append(f.parts, p)
		}
	}
}

func (f *flash) image(line []byte) (Part, bool) {
	fields := strings.Fields(string(line))
	if len(fields) < 4 {
		return Part{}, false
	}
	var n [3]uint64
	for i := range n {
		var err error
		if n[i], err = strconv.ParseUint(fields[i], 16, 32); err != nil {
			return Part{}, false
		}
	}
	name := strings.TrimRightFunc(strings.Map(plainRune, fields[3]), func(r rune) bool { return r == '_' })
	if n[1] == 0 || n[0]+n[1] > uint64(len(f.b)) || name == "" {
		return Part{}, false
	}
	p := Part{Kind: "image", Name: name[:min(len(name), 32)], Offset: int(n[0]), Length: int(n[1])}
	if !f.spend(p.Length) {
		return Part{}, false
	}
	if sum := crc32.ChecksumIEEE(f.b[n[0] : n[0]+n[1]]); uint64(sum) != n[2] {
		p.Damaged = fmt.Sprintf("its contents have checksum %08x, the table says %08x", sum, n[2])
	}
	for i := range f.parts {
		if o := &f.parts[i]; o.Name == p.Name || p.Offset < o.Offset+o.Length && o.Offset < p.Offset+p.Length {
			p.Ambiguous = fmt.Sprintf("the table has image %s at 0x%x and image %s at 0x%x", o.Name, o.Offset, p.Name, p.Offset)
			p.Damaged = ""
		}
	}
	return p, true
}

func plainRune(r rune) rune {
	if r <= 0x20 || r > 0x7e || r == '/' {
		return '_'
	}
	return r
}
