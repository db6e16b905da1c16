// Package fmap reads the map of areas that coreboot and Chromium's firmware
// keep in their flash (flashmap, lib/fmap.h).
//
// It proves what the map says. Areas may hold others; they may also overlap or
// leave the flash, which is for the caller to see.
package fmap

import (
	"bytes"
	"encoding/binary"
)

// Area is one named range of the flash.
type Area struct {
	Name   string
	Offset int
	Length int
}

// Signature begins a map.
const Signature = "__FMAP__"

const (
	header  = 56
	entry   = 42
	nameLen = 32

	// MaxAreas bounds a map; real ones have some dozen areas.
	MaxAreas = 1 << 10
)

// Find returns the areas of the first map in a flash image that holds: its
// version, and at least one area. The map's own size is a claim like the rest.
func Find(flash []byte) ([]Area, bool) {
	for at := 0; ; at += len(Signature) {
		i := bytes.Index(flash[at:], []byte(Signature))
		if i < 0 {
			return nil, false
		}
		at += i
		if areas, ok := parse(flash[at:]); ok {
			return areas, true
		}
	}
}

func parse(b []byte) ([]Area, bool) {
	if len(b) < header || b[8] != 1 {
		return nil, false
	}
	n := int(binary.LittleEndian.Uint16(b[54:]))
	if n == 0 || n > MaxAreas || n > (len(b)-header)/entry {
		return nil, false
	}
	var out []Area
	for i := range n {
		e := b[header+entry*i:]
		out = append(out, Area{
			Offset: int(binary.LittleEndian.Uint32(e)), Length: int(binary.LittleEndian.Uint32(e[4:])), Name: text(e[8 : 8+nameLen]),
		})
	}
	return out, true
}

// text is a name up to its end, with nothing in it that is not printable.
func text(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(bytes.Map(func(r rune) rune {
		if r <= 0x20 || r > 0x7e || r == '/' {
			return '_'
		}
		return r
	}, b))
}
