// Package iflash finds the images in Insyde's updaters: each behind a header
// with its name and length. The layout is what BIOSUtilities (platomav) found
// out; no document of Insyde is public.
//
// It proves where images claim to lie. There are no checksums.
package iflash

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Image is one image.
type Image struct {
	Tag    string // "BIOSIMG", "EC_IMG"
	Name   string // what the tag stands for
	Offset int    // of the header
	Length int    // with header and padding
	Data   []byte
}

const (
	mark      = "$_IFLASH"
	header    = 24
	maxImages = 64
)

var names = map[string]string{
	"BIOSCER": "certificate", "BIOSCR2": "second certificate", "BIOSIMG": "BIOS", "DRV_IMG": "driver", "EC_IMG": "embedded controller",
	"INI_IMG": "platform.ini", "IOM_IMG": "I/O manageability", "ISH_IMG": "integrated sensor hub", "ME_IMG": "management engine",
	"OEM_ID": "OEM identifier", "PDT_IMG": "platform descriptor table", "TBT_IMG": "Thunderbolt",
}

// Find finds the images in b, in order and side by side.
func Find(b []byte) []Image {
	var out []Image
	for at := 0; len(out) < maxImages; {
		i := bytes.Index(b[at:], []byte(mark))
		if i < 0 {
			break
		}
		at += i
		if len(b)-at < header {
			break
		}
		total, size := uint64(binary.LittleEndian.Uint32(b[at+16:])), uint64(binary.LittleEndian.Uint32(b[at+20:]))
		if size == 0 || size > total || total > uint64(len(b)-at-header) {
			at += len(mark)
			continue
		}
		tag := strings.Trim(string(b[at+8:at+16]), "_\x00 ")
		out = append(out, Image{Tag: tag, Name: names[tag], Offset: at, Length: header + int(total), Data: b[at+header : at+header+int(size)]})
		at += header + int(total)
	}
	return out
}
