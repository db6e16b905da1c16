// Package pfat reads AMI's files for Intel BIOS Guard: a list of components, and
// for each its blocks, of which each has a header, a script that the processor
// runs to write it, the data, and mostly a signature. The layout is what
// BIOSUtilities (platomav) found out; no document of AMI or Intel is public.
//
// It proves where the bytes lie. The header's checksum is of a kind that is not
// known, and no signature is verified.
package pfat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrMalformed is wrapped when the bytes are no such file.
var ErrMalformed = errors.New("malformed BIOS Guard file")

// ErrLimit is wrapped when the contents would be longer than allowed.
var ErrLimit = errors.New("contents longer than the limit")

// Image is what a file holds.
type Image struct {
	Components []Component
	Size       int      // bytes that the file takes
	Problems   []string // what does not hold; components are those before it
}

// Component is one part of the flash, reassembled from its blocks.
type Component struct {
	Name   string
	Blocks int
	Signed int // blocks that bring a signature
	Data   []byte
}

// Block is one block.
type Block struct {
	Platform  string // identity that the processor compares
	SVN       uint32 // security version
	Script    []byte
	Data      []byte
	Signature []byte
	Size      int // with everything
}

const (
	header      = 17
	blockHeader = 0x30
	title       = "AMI_BIOS_GUARD_FLASH_CONFIGURATIONS"
	maxText     = 1 << 16
	maxBlocks   = 1 << 14
	signed      = 1 // attribute: signed flash address map
)

// Begins reports whether b begins as such a file does.
func Begins(b []byte) bool {
	return len(b) >= header+len(title) && string(b[8:16]) == "_AMIPFAT" && string(b[header:header+len(title)]) == title
}

// Parse reads a file at the start of b. Components take at most limit bytes.
func Parse(b []byte, limit int) (Image, error) {
	if !Begins(b) {
		return Image{}, fmt.Errorf("%w: no header", ErrMalformed)
	}
	size := binary.LittleEndian.Uint32(b)
	if size < header || size > maxText || uint64(size) > uint64(len(b)) {
		return Image{}, fmt.Errorf("%w: header of %d bytes", ErrMalformed, size)
	}
	list, err := components(string(b[header:size]))
	if err != nil {
		return Image{}, err
	}
	out := Image{Size: int(size)}
	for _, c := range list {
		var data [][]byte
		for range c.Blocks {
			block, err := ParseBlock(b[out.Size:])
			if err != nil {
				out.Problems = append(out.Problems, fmt.Sprintf("%s: block %d of %d: %v", c.Name, len(data)+1, c.Blocks, err))
				break
			}
			if limit -= len(block.Data); limit < 0 {
				return Image{}, fmt.Errorf("%w: %s", ErrLimit, c.Name)
			}
			data = append(data, block.Data)
			if len(block.Signature) > 0 {
				c.Signed++
			}
			out.Size += block.Size
		}
		c.Data = bytes.Join(data, nil)
		out.Components = append(out.Components, c)
		if len(out.Problems) > 0 {
			break
		}
	}
	return out, nil
}

// components reads the text of the header: behind the title a line for each,
// "FLAGS PARAMETER BLOCKS;NAME".
func components(text string) ([]Component, error) {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' || r == 0 })
	var out []Component
	total := 0
	for _, l := range lines[1:] {
		facts, name, ok := strings.Cut(l, ";")
		f := strings.Fields(facts)
		if !ok || len(f) < 3 {
			return nil, fmt.Errorf("%w: line of the list", ErrMalformed)
		}
		n, err := strconv.Atoi(f[2])
		if total += n; err != nil || n < 0 || n > maxBlocks || total > maxBlocks {
			return nil, fmt.Errorf("%w: number of blocks", ErrMalformed)
		}
		name, _, _ = strings.Cut(name, ";")
		out = append(out, Component{Name: strings.TrimSpace(name), Blocks: n})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: no component", ErrMalformed)
	}
	return out, nil
}

// Lengths of a signature: two words, then modulus, exponent and signature.
const (
	rsa2048 = 8 + 256 + 4 + 256
	rsa3072 = 8 + 384 + 4 + 384
)

// ParseBlock reads a block at the start of b.
func ParseBlock(b []byte) (Block, error) {
	if len(b) < blockHeader {
		return Block{}, fmt.Errorf("%w: header cut off", ErrMalformed)
	}
	attributes := binary.LittleEndian.Uint32(b[0x14:])
	script, data := uint64(binary.LittleEndian.Uint32(b[0x1c:])), uint64(binary.LittleEndian.Uint32(b[0x20:]))
	if blockHeader+script+data > uint64(len(b)) {
		return Block{}, fmt.Errorf("%w: script of %d and data of %d bytes in %d", ErrMalformed, script, data, len(b))
	}
	at := blockHeader + script
	out := Block{
		Platform: strings.TrimRight(string(b[4:20]), "\x00 "), SVN: binary.LittleEndian.Uint32(b[0x24:]),
		Script: b[blockHeader:at], Data: b[at : at+data], Size: int(at + data),
	}
	if err := checkScript(out.Script); err != nil {
		return Block{}, err
	}
	if attributes&signed == 0 {
		return out, nil
	}
	rest := b[out.Size:]
	if len(rest) < 8 {
		return Block{}, fmt.Errorf("%w: signature cut off", ErrMalformed)
	}
	n := 0
	switch binary.LittleEndian.Uint32(rest) {
	case 1:
		n = rsa2048
	case 2, 3:
		n = rsa3072
	}
	if n == 0 || n > len(rest) {
		return Block{}, fmt.Errorf("%w: signature of kind %d", ErrMalformed, binary.LittleEndian.Uint32(rest))
	}
	out.Signature = rest[:n]
	out.Size += n
	return out, nil
}

// checkScript looks at the first and the last of the instructions of 8 bytes.
func checkScript(s []byte) error {
	const begin, end = "\x01\x00\x00\x00\x00\x00\x00\x00", "\xff\x00\x00\x00\x00\x00\x00\x00"
	if len(s)%8 != 0 || !bytes.HasPrefix(s, []byte(begin)) || !bytes.HasSuffix(s, []byte(end)) {
		return fmt.Errorf("%w: script of %d bytes without begin and end", ErrMalformed, len(s))
	}
	return nil
}

// Offset is where the script writes the block, which is the operand of its
// second instruction in scripts of Dell.
func (b Block) Offset() (uint32, bool) {
	if len(b.Script) < 24 {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b.Script[12:]), true
}
