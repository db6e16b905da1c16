// Package imalog reads the binary measurement list of Linux IMA.
//
// It proves that the bytes are a sequence of whole entries. What the entries
// say is covered only by the register they were extended into.
package imalog

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every refusal.
var ErrMalformed = errors.New("malformed IMA measurement list")

// MaxEntries bounds the list; a busy server writes some ten thousand.
const MaxEntries = 1 << 20

// Entry is one measurement. Slices alias the parsed bytes.
type Entry struct {
	PCR      uint32
	Digest   []byte // SHA-1 of the template data, all zero for a violation
	Template string
	Data     []byte
}

const maxName = 255

// Parse reads a list in little-endian form. On error it also returns the
// entries before the fault.
func Parse(b []byte) ([]Entry, error) {
	var out []Entry
	for at := 0; at < len(b); {
		if len(out) == MaxEntries {
			return out, fmt.Errorf("ima: offset %d: more than %d entries: %w", at, MaxEntries, ErrMalformed)
		}
		e, n, err := entry(b[at:])
		if err != nil {
			return out, fmt.Errorf("ima: offset %d: %w", at, err)
		}
		out = append(out, e)
		at += n
	}
	return out, nil
}

func entry(b []byte) (Entry, int, error) {
	if len(b) < 28 {
		return Entry{}, 0, fmt.Errorf("entry of %d bytes: %w", len(b), ErrMalformed)
	}
	e := Entry{PCR: binary.LittleEndian.Uint32(b), Digest: b[4:24:24]}
	n := uint64(binary.LittleEndian.Uint32(b[24:]))
	if n == 0 || n > maxName || n > uint64(len(b)-28) {
		return e, 0, fmt.Errorf("template name of %d bytes: %w", n, ErrMalformed)
	}
	at := 28 + int(n)
	e.Template = string(b[28:at])
	size := 0
	if e.Template == "ima" {
		// The first template has no length: 20 bytes of digest, then a name.
		if len(b)-at < 24 {
			return e, 0, fmt.Errorf("ima template: %w", ErrMalformed)
		}
		size = 24
		if name := uint64(binary.LittleEndian.Uint32(b[at+20:])); name <= uint64(len(b)-at-24) {
			size += int(name)
		} else {
			return e, 0, fmt.Errorf("file name of %d bytes: %w", name, ErrMalformed)
		}
	} else {
		if len(b)-at < 4 {
			return e, 0, fmt.Errorf("template data: %w", ErrMalformed)
		}
		s := binary.LittleEndian.Uint32(b[at:])
		at += 4
		if uint64(s) > uint64(len(b)-at) {
			return e, 0, fmt.Errorf("template data of %d bytes, %d left: %w", s, len(b)-at, ErrMalformed)
		}
		size = int(s)
	}
	e.Data = b[at : at+size : at+size]
	return e, at + size, nil
}

// Extended returns what the kernel extended for the entry into a bank of the
// given hash. Kernels before 5.8 padded the SHA-1 digest instead of hashing
// anew: padded asks for that form. A violation extends all ones.
func (e *Entry) Extended(h crypto.Hash, padded bool) []byte {
	if len(bytes.Trim(e.Digest, "\x00")) == 0 {
		return bytes.Repeat([]byte{0xff}, h.Size())
	}
	if h == crypto.SHA1 {
		return e.Digest
	}
	if padded {
		d := make([]byte, h.Size())
		copy(d, e.Digest)
		return d
	}
	d := h.New()
	d.Write(e.Data)
	return d.Sum(nil)
}

// Replay extends the entries of one register from its reset value.
func Replay(es []Entry, pcr uint32, h crypto.Hash, padded bool) (value []byte, n int) {
	value = make([]byte, h.Size())
	d := h.New()
	for i := range es {
		if es[i].PCR != pcr {
			continue
		}
		d.Reset()
		d.Write(value)
		d.Write(es[i].Extended(h, padded))
		value = d.Sum(value[:0])
		n++
	}
	return value, n
}
