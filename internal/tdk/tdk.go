// Package tdk finds the files in updaters that were made with Phoenix's TDK
// packer: a list at the end of the program, whose offsets count from the
// program's start. The layout is what BIOSUtilities (platomav) found out; no
// document of Phoenix is public.
//
// It proves where the files claim to lie. There are no checksums.
package tdk

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// File is one packed file.
type File struct {
	Name       string
	Compressed bool   // with LZMA
	Unknown    uint32 // the number of a compression that is not known
	Data       []byte // as stored
}

const (
	mark     = "$PACK\x00\x00\x00"
	header   = 16
	reserved = 0x200
	entry    = 0x110
	maxFiles = 1 << 10
)

// Find finds the list and the files in b, a program that begins at its start.
// Files that leave b are left out and counted in bad.
func Find(b []byte) (files []File, bad int, ok bool) {
	for at := 0; ; at += len(mark) {
		i := bytes.Index(b[at:], []byte(mark))
		if i < 0 {
			return nil, 0, false
		}
		at += i
		if len(b)-at < header+reserved {
			return nil, 0, false
		}
		size, n := uint64(binary.LittleEndian.Uint32(b[at+8:])), uint64(binary.LittleEndian.Uint32(b[at+12:]))
		if n == 0 || n > maxFiles || size != header+reserved+n*entry || size > uint64(len(b)-at) {
			continue
		}
		for k := range int(n) {
			e := b[at+header+reserved+k*entry:]
			name, _, _ := strings.Cut(string(e[:256]), "\x00")
			offset, length, method := uint64(binary.LittleEndian.Uint32(e[0x100:])), uint64(binary.LittleEndian.Uint32(e[0x104:])), binary.LittleEndian.Uint32(e[0x108:])
			if offset+length > uint64(len(b)) {
				bad++
				continue
			}
			f := File{Name: strings.TrimSpace(name), Compressed: method == 1, Data: b[offset : offset+length]}
			if method > 1 {
				f.Unknown = method
			}
			files = append(files, f)
		}
		return files, bad, true
	}
}
