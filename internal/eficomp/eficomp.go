// Package eficomp expands the compression that UEFI defines (UEFI 2.10, 19.2):
// an LZ77 with Huffman codes, in the form of the specification and in the form
// with the larger window that edk2 calls Tiano.
//
// The header's lengths are claims: nothing is allocated for them, and the
// result grows with what was decoded. The stream has no checksum, so that a
// result proves only that the bytes can be read this way.
package eficomp

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped when the bytes are no such stream.
var ErrMalformed = errors.New("malformed UEFI compression")

// ErrLimit is wrapped when the result would be longer than allowed.
var ErrLimit = errors.New("more than the limit")

// Variant is the number of bits in which a block says how many position codes
// it has: the only difference between the two forms.
type Variant int

// The variants.
const (
	EFI   Variant = 4 // UEFI 2.10, 19.2.3; also compressed option ROMs
	Tiano Variant = 5
)

const (
	headerSize = 8
	literals   = 256
	threshold  = 3   // shortest match
	charCodes  = 510 // literals and lengths 3 to 256
	charBits   = 9
	extraCodes = 19
	extraBits  = 5
	maxCode    = 16 // longest Huffman code
)

// Decode expands a stream with its header. It returns the result, at most
// limit bytes, and how many bytes of src the stream takes. With an error it
// returns what was decoded before it.
func Decode(src []byte, v Variant, limit int) (out []byte, used int, err error) {
	if len(src) < headerSize {
		return nil, 0, malformed("%d bytes", len(src))
	}
	in, size := binary.LittleEndian.Uint32(src), binary.LittleEndian.Uint32(src[4:])
	if uint64(in) > uint64(len(src)-headerSize) {
		return nil, 0, malformed("stream of %d bytes, %d left", in, len(src)-headerSize)
	}
	if uint64(size) > uint64(max(limit, 0)) {
		return nil, 0, fmt.Errorf("eficomp: claims %d bytes: %w of %d", size, ErrLimit, limit)
	}
	used = headerSize + int(in)
	d := decoder{bits: bits{in: src[headerSize:used]}, positionBits: int(v)}
	d.out = make([]byte, 0, min(int(size), 16*int(in)))
	err = d.run(int(size))
	return d.out, used, err
}

func malformed(format string, args ...any) error {
	return fmt.Errorf("eficomp: %s: %w", fmt.Sprintf(format, args...), ErrMalformed)
}

// bits reads from the top bit on. Behind the end there are zeros; how many
// were taken is checked block by block and symbol by symbol.
type bits struct {
	in   []byte
	pos  int
	buf  uint64
	have int
}

// peek returns the next n bits, at most 32.
func (b *bits) peek(n int) uint32 {
	for b.have < n {
		b.buf <<= 8
		if b.pos < len(b.in) {
			b.buf |= uint64(b.in[b.pos])
		}
		b.pos++
		b.have += 8
	}
	return uint32(b.buf >> (b.have - n) & (1<<n - 1))
}

func (b *bits) take(n int) uint32 {
	v := b.peek(n)
	b.have -= n
	return v
}

// overrun reports whether bits were taken that the input does not have.
func (b *bits) overrun() bool { return b.pos-b.have/8 > len(b.in) }

// code is a canonical Huffman code. A code of one symbol takes no bits.
type code struct {
	count   [maxCode + 1]int
	symbols []uint16
	single  bool
}

// newCode builds a code from lengths. Codes that are not complete are refused,
// as firmware does: their meaning would depend on the decoder.
func newCode(lengths []byte) (*code, error) {
	c := &code{symbols: make([]uint16, 0, len(lengths))}
	for _, n := range lengths {
		if n > maxCode {
			return nil, malformed("code of %d bits", n)
		}
		c.count[n]++
	}
	c.count[0] = 0
	left := 1
	for n := 1; n <= maxCode; n++ {
		if left = left<<1 - c.count[n]; left < 0 {
			return nil, malformed("more codes of %d bits than there are", n)
		}
	}
	if left != 0 {
		return nil, malformed("incomplete code")
	}
	var next [maxCode + 2]int
	for n := 1; n <= maxCode; n++ {
		next[n+1] = next[n] + c.count[n]
	}
	c.symbols = c.symbols[:next[maxCode+1]]
	for s, n := range lengths {
		if n > 0 {
			c.symbols[next[n]] = uint16(s)
			next[n]++
		}
	}
	return c, nil
}

func oneSymbol(s uint32) *code { return &code{symbols: []uint16{uint16(s)}, single: true} }

func (c *code) read(b *bits) int {
	if c.single {
		return int(c.symbols[0])
	}
	window := int(b.peek(maxCode))
	value, first, index := 0, 0, 0
	for n := 1; n <= maxCode; n++ {
		value |= window >> (maxCode - n) & 1
		if k := c.count[n]; value-first < k {
			b.have -= n
			return int(c.symbols[index+value-first])
		} else {
			index, first = index+k, (first+k)<<1
		}
		value <<= 1
	}
	return int(c.symbols[0]) // not reached: the code is complete
}

type decoder struct {
	bits
	out          []byte
	positionBits int
	chars        *code
	positions    *code
}

func (d *decoder) run(size int) error {
	for block := 0; len(d.out) < size; block-- {
		if block == 0 {
			if block = int(d.take(16)); block == 0 {
				return malformed("block of no symbols after %d bytes", len(d.out))
			}
			if err := d.codes(); err != nil {
				return err
			}
		}
		if d.overrun() {
			return malformed("input ends after %d of %d bytes", len(d.out), size)
		}
		c := d.chars.read(&d.bits)
		if c < literals {
			d.out = append(d.out, byte(c))
			continue
		}
		if err := d.match(c-literals+threshold, size); err != nil {
			return err
		}
	}
	if d.overrun() {
		return malformed("input ends before the result's last symbol")
	}
	return nil
}

func (d *decoder) match(n, size int) error {
	p := uint32(d.positions.read(&d.bits))
	if p > 1 {
		p = 1<<(p-1) + d.take(int(p-1))
	}
	from := len(d.out) - int(p) - 1
	if from < 0 {
		return malformed("match %d bytes before the result's start", -from)
	}
	n = min(n, size-len(d.out))
	for n > 0 { // a match may overlap what it makes
		k := min(n, len(d.out)-from)
		d.out = append(d.out, d.out[from:from+k]...)
		n -= k
	}
	return nil
}

// codes reads a block's three codes: the one that the lengths are written in,
// literals and match lengths, and positions.
func (d *decoder) codes() error {
	extra, err := d.shortCode(extraCodes, extraBits, 3)
	if err != nil {
		return err
	}
	if d.chars, err = d.charCode(extra); err != nil {
		return err
	}
	d.positions, err = d.shortCode(1<<d.positionBits-1, d.positionBits, -1)
	return err
}

// shortCode reads lengths of three bits, or more when all three are ones. After
// the third length of the first code a count of zeros stands.
func (d *decoder) shortCode(most, width, special int) (*code, error) {
	n := int(d.take(width))
	if n == 0 {
		s := d.take(width)
		if int(s) >= most {
			return nil, malformed("symbol %d of %d", s, most)
		}
		return oneSymbol(s), nil
	}
	if n > most {
		return nil, malformed("%d lengths of %d", n, most)
	}
	lengths := make([]byte, most+3)
	for i := 0; i < n; {
		l := d.take(3)
		for l >= 7 && l <= maxCode && d.take(1) == 1 {
			l++
		}
		lengths[i] = byte(l)
		if i++; i == special {
			i += int(d.take(2))
		}
	}
	return newCode(lengths[:most])
}

func (d *decoder) charCode(extra *code) (*code, error) {
	n := int(d.take(charBits))
	if n == 0 {
		s := d.take(charBits)
		if s >= charCodes {
			return nil, malformed("symbol %d of %d", s, charCodes)
		}
		return oneSymbol(s), nil
	}
	if n > charCodes {
		return nil, malformed("%d lengths of %d", n, charCodes)
	}
	lengths := make([]byte, charCodes)
	for i := 0; i < n; {
		switch c := extra.read(&d.bits); c {
		case 0:
			i++
		case 1:
			i += int(d.take(4)) + 3
		case 2:
			i += int(d.take(charBits)) + 20
		default:
			lengths[i] = byte(c - 2)
			i++
		}
	}
	return newCode(lengths)
}
