// Package lzma expands the LZMA streams that UEFI firmware stores its volumes
// in, and undoes the filter for x86 code.
//
// The stream's own header says how long the result and the dictionary are;
// both are claims. Nothing is allocated for them: the result grows with what
// was really decoded and serves as the dictionary. A result proves only that
// the bytes are a stream with this content; the stream has no checksum.
package lzma

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped when the bytes are no such stream.
var ErrMalformed = errors.New("malformed LZMA stream")

// ErrLimit is wrapped when the result would be longer than allowed.
var ErrLimit = errors.New("more than the limit")

const (
	headerSize  = 13 // properties, dictionary size, length of the result
	rangeHeader = 5  // what the range decoder reads before its first bit

	lengthUnknown = 1<<64 - 1 // the result ends at a marker
)

// Decode expands a stream in the LZMA-alone form (LZMA specification by Igor
// Pavlov, 9.20, "lzma file format"). It returns the result, at most limit
// bytes, and how many bytes of src the stream takes. With an error it returns
// what was decoded before it.
func Decode(src []byte, limit int) (out []byte, used int, err error) {
	if len(src) < headerSize+rangeHeader {
		return nil, 0, fmt.Errorf("lzma: %d bytes: %w", len(src), ErrMalformed)
	}
	d := decoder{rangeDecoder: rangeDecoder{in: src, pos: headerSize}}
	if err := d.properties(src[0]); err != nil {
		return nil, 0, err
	}
	size := binary.LittleEndian.Uint64(src[5:])
	if size != lengthUnknown && size > uint64(max(limit, 0)) {
		return nil, 0, fmt.Errorf("lzma: claims %d bytes: %w of %d", size, ErrLimit, limit)
	}
	if src[headerSize] != 0 {
		return nil, 0, fmt.Errorf("lzma: offset %d: first byte of the range coder is 0x%02x: %w", headerSize, src[headerSize], ErrMalformed)
	}
	d.start()
	if size == lengthUnknown {
		d.want, d.marker = limit, true
	} else {
		d.want = int(size)
		d.out = make([]byte, 0, min(d.want, 64*len(src)))
	}
	err = d.run()
	return d.out, min(d.pos, len(src)), err
}

// rangeDecoder is the binary decoder below everything. Reading past the end
// gives zeros and is noticed after the symbol.
type rangeDecoder struct {
	in         []byte
	pos        int
	code, span uint32
}

func (r *rangeDecoder) start() {
	r.pos++ // checked: zero
	r.code, r.span = binary.BigEndian.Uint32(r.in[r.pos:]), 0xffffffff
	r.pos += 4
}

func (r *rangeDecoder) normalise() {
	if r.span < 1<<24 {
		r.span <<= 8
		r.code <<= 8
		if r.pos < len(r.in) {
			r.code |= uint32(r.in[r.pos])
		}
		r.pos++
	}
}

// bit decodes one bit with an adaptive probability.
func (r *rangeDecoder) bit(p *uint16) uint32 {
	bound := (r.span >> 11) * uint32(*p)
	if r.code < bound {
		r.span = bound
		*p += (2048 - *p) >> 5
		r.normalise()
		return 0
	}
	r.span -= bound
	r.code -= bound
	*p -= *p >> 5
	r.normalise()
	return 1
}

// direct decodes n bits of even odds.
func (r *rangeDecoder) direct(n int) (v uint32) {
	for range n {
		r.span >>= 1
		b := uint32(0)
		if r.code >= r.span {
			r.code -= r.span
			b = 1
		}
		r.normalise()
		v = v<<1 | b
	}
	return v
}

func (r *rangeDecoder) tree(probs []uint16, bits int) uint32 {
	m := uint32(1)
	for range bits {
		m = m<<1 | r.bit(&probs[m])
	}
	return m - 1<<bits
}

func (r *rangeDecoder) reverseTree(probs []uint16, bits int) (v uint32) {
	m := uint32(1)
	for i := range bits {
		b := r.bit(&probs[m])
		m = m<<1 | b
		v |= b << i
	}
	return v
}

const (
	states    = 12
	posStates = 16
	slots     = 64
)

// lengths is the coder of match lengths.
type lengths struct {
	choice, choice2 uint16
	low, mid        [posStates][8]uint16
	high            [256]uint16
}

type decoder struct {
	rangeDecoder
	out    []byte
	want   int  // length of the result, or the limit
	marker bool // the result ends at a marker

	lc, lp, pb                    int
	literal                       []uint16
	isMatch, isRep0Long           [states][posStates]uint16
	isRep, isRep0, isRep1, isRep2 [states]uint16
	slot                          [4][slots]uint16
	special                       [115]uint16
	align                         [16]uint16
	matchLength, repeatLength     lengths
	rep                           [4]uint32
}

// properties sets the model up for the stream's first byte.
func (d *decoder) properties(p byte) error {
	if p >= 9*5*5 {
		return fmt.Errorf("lzma: properties 0x%02x: %w", p, ErrMalformed)
	}
	d.lc, d.lp, d.pb = int(p%9), int(p/9%5), int(p/45)
	d.literal = even(make([]uint16, 0x300<<(d.lc+d.lp)))
	for i := range states {
		even(d.isMatch[i][:])
		even(d.isRep0Long[i][:])
	}
	for _, p := range [][]uint16{d.isRep[:], d.isRep0[:], d.isRep1[:], d.isRep2[:], d.special[:], d.align[:]} {
		even(p)
	}
	for i := range d.slot {
		even(d.slot[i][:])
	}
	d.matchLength.reset()
	d.repeatLength.reset()
	return nil
}

// even gives every probability even odds.
func even(p []uint16) []uint16 {
	for i := range p {
		p[i] = 1 << 10
	}
	return p
}

func (l *lengths) reset() {
	l.choice, l.choice2 = 1<<10, 1<<10
	for i := range posStates {
		even(l.low[i][:])
		even(l.mid[i][:])
	}
	even(l.high[:])
}

func (l *lengths) decode(r *rangeDecoder, posState int) int {
	switch {
	case r.bit(&l.choice) == 0:
		return 2 + int(r.tree(l.low[posState][:], 3))
	case r.bit(&l.choice2) == 0:
		return 10 + int(r.tree(l.mid[posState][:], 3))
	}
	return 18 + int(r.tree(l.high[:], 8))
}

// slack is how far the decoder may read past the end of its input: encoders
// may leave out the last bytes of the range coder.
const slack = 4

// run decodes until the result is complete.
func (d *decoder) run() error {
	state := 0
	for {
		if d.pos > len(d.in)+slack {
			return fmt.Errorf("lzma: input ends after %d bytes of the result: %w", len(d.out), ErrMalformed)
		}
		posState := len(d.out) & (1<<d.pb - 1)
		if len(d.out) >= d.want && !d.marker {
			d.skipMarker(state, posState)
			return nil
		}
		if d.bit(&d.isMatch[state][posState]) == 0 {
			if len(d.out) >= d.want {
				return fmt.Errorf("lzma: %w of %d bytes", ErrLimit, d.want)
			}
			d.putLiteral(state)
			state = afterLiteral(state)
			continue
		}
		n, end, err := d.match(&state, posState)
		if err != nil || end {
			return err
		}
		if err := d.copyMatch(n); err != nil {
			return err
		}
	}
}

// skipMarker takes the end marker that some encoders write behind a result of
// known length.
func (d *decoder) skipMarker(state, posState int) {
	end := d.pos
	if d.bit(&d.isMatch[state][posState]) == 1 && d.bit(&d.isRep[state]) == 0 &&
		d.distance(d.matchLength.decode(&d.rangeDecoder, posState)) == 0xffffffff && d.pos <= len(d.in) {
		return
	}
	d.pos = end
}

func afterLiteral(state int) int {
	switch {
	case state < 4:
		return 0
	case state < 10:
		return state - 3
	}
	return state - 6
}

// putLiteral decodes one byte; behind a match, the byte that the match would
// have gone on with is part of the context.
func (d *decoder) putLiteral(state int) {
	prev := 0
	if n := len(d.out); n > 0 {
		prev = int(d.out[n-1])
	}
	context := (len(d.out)&(1<<d.lp-1))<<d.lc | prev>>(8-d.lc)
	probs := d.literal[0x300*context:][:0x300]
	symbol := uint32(1)
	if at := len(d.out) - int(d.rep[0]) - 1; state >= 7 && at >= 0 {
		matched := uint32(d.out[at])
		for symbol < 0x100 {
			matched <<= 1
			want := matched & 0x100
			b := d.bit(&probs[0x100+want+symbol])
			symbol = symbol<<1 | b
			if want>>8 != b {
				break
			}
		}
	}
	for symbol < 0x100 {
		symbol = symbol<<1 | d.bit(&probs[symbol])
	}
	d.out = append(d.out, byte(symbol))
}

// match decodes the length of a match and sets rep[0] to its distance. A
// marker ends the stream.
func (d *decoder) match(state *int, posState int) (n int, end bool, err error) {
	s := *state
	next := func(literalBefore, otherwise int) {
		*state = otherwise
		if s < 7 {
			*state = literalBefore
		}
	}
	if d.bit(&d.isRep[s]) == 0 {
		d.rep[3], d.rep[2], d.rep[1] = d.rep[2], d.rep[1], d.rep[0]
		n = d.matchLength.decode(&d.rangeDecoder, posState)
		next(7, 10)
		d.rep[0] = d.distance(n)
		if d.rep[0] != 0xffffffff {
			return n, false, nil
		}
		if !d.marker {
			return 0, false, fmt.Errorf("lzma: end marker after %d of %d bytes: %w", len(d.out), d.want, ErrMalformed)
		}
		return 0, true, nil
	}
	if d.bit(&d.isRep0[s]) == 0 {
		if d.bit(&d.isRep0Long[s][posState]) == 0 {
			next(9, 11)
			return 1, false, nil
		}
	} else {
		var dist uint32
		switch {
		case d.bit(&d.isRep1[s]) == 0:
			dist = d.rep[1]
		case d.bit(&d.isRep2[s]) == 0:
			dist, d.rep[2] = d.rep[2], d.rep[1]
		default:
			dist, d.rep[3], d.rep[2] = d.rep[3], d.rep[2], d.rep[1]
		}
		d.rep[1], d.rep[0] = d.rep[0], dist
	}
	n = d.repeatLength.decode(&d.rangeDecoder, posState)
	next(8, 11)
	return n, false, nil
}

func (d *decoder) distance(length int) uint32 {
	slot := d.tree(d.slot[min(length-2, 3)][:], 6)
	if slot < 4 {
		return slot
	}
	bits := int(slot>>1) - 1
	dist := (2 | slot&1) << bits
	if slot < 14 {
		return dist + d.reverseTree(d.special[dist-slot:], bits)
	}
	return dist + d.direct(bits-4)<<4 + d.reverseTree(d.align[:], 4)
}

func (d *decoder) copyMatch(n int) error {
	from := len(d.out) - int(d.rep[0]) - 1
	if from < 0 {
		return fmt.Errorf("lzma: match %d bytes before the result's start: %w", -from, ErrMalformed)
	}
	if n > d.want-len(d.out) {
		if d.marker {
			return fmt.Errorf("lzma: %w of %d bytes", ErrLimit, d.want)
		}
		return fmt.Errorf("lzma: match past the result's end: %w", ErrMalformed)
	}
	for n > 0 { // a match may overlap what it makes
		k := min(n, len(d.out)-from)
		d.out = append(d.out, d.out[from:from+k]...)
		n -= k
	}
	return nil
}
