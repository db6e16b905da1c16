// Package lzo expands LZO1X streams as the Linux kernel's file systems hold
// them (Documentation/staging/lzo.rst), without the run-length form.
//
// It proves what a stream expands to; a stream has no checksum.
package lzo

import (
	"errors"
	"fmt"
)

// Errors of Decode.
var (
	ErrMalformed = errors.New("malformed LZO stream")
	ErrLimit     = errors.New("more than the limit")
)

// decoder writes into its result, which is the dictionary too.
type decoder struct {
	in    []byte
	pos   int
	out   []byte
	limit int
	err   error
}

// Decode expands a stream to at most limit bytes and returns how many bytes of
// it were used.
func Decode(b []byte, limit int) (out []byte, used int, err error) {
	d := &decoder{in: b, limit: limit}
	state := 0 // literals behind the last match, 4 after a run of literals
	if len(b) > 0 && b[0] > 17 {
		n := int(d.next()) - 17
		d.literals(n)
		state = min(n, 4)
	}
	for d.err == nil {
		c := int(d.next())
		if d.err != nil {
			break
		}
		length, distance, tail, end := d.instruction(c, state)
		if d.err != nil {
			break
		}
		if end {
			return d.out, d.pos, nil
		}
		if distance == 0 {
			d.literals(length)
			state = 4
			continue
		}
		d.match(length, distance)
		d.literals(tail)
		state = tail
	}
	return nil, 0, d.err
}

// instruction reads the rest of one: a match with the literals behind it, or a
// run of literals, which has no distance.
func (d *decoder) instruction(c, state int) (length, distance, tail int, end bool) {
	switch {
	case c >= 128:
		return 5 + c>>5&3, int(d.next())<<3 + c>>2&7 + 1, c & 3, false
	case c >= 64:
		return 3 + c>>5&1, int(d.next())<<3 + c>>2&7 + 1, c & 3, false
	case c >= 32:
		length = 2 + d.length(c&31, 31)
		w := d.word()
		return length, w>>2 + 1, w & 3, false
	case c >= 16:
		length = 2 + d.length(c&7, 7)
		w := d.word()
		distance = 1<<14 + c&8<<11 + w>>2
		return length, distance, w & 3, distance == 1<<14
	case state == 0:
		return 3 + d.length(c&15, 15), 0, 0, false
	case state == 4:
		return 3, int(d.next())<<2 + c>>2 + 2049, c & 3, false
	}
	return 2, int(d.next())<<2 + c>>2 + 1, c & 3, false
}

func (d *decoder) next() byte {
	if d.pos >= len(d.in) {
		d.fail("it ends too early")
		return 0
	}
	d.pos++
	return d.in[d.pos-1]
}

func (d *decoder) word() int { return int(d.next()) | int(d.next())<<8 }

// length reads a length that did not fit into its instruction: every zero byte
// stands for 255 more.
func (d *decoder) length(n, full int) int {
	if n > 0 {
		return n
	}
	for n = full; d.err == nil; n += 255 {
		if n > d.limit {
			d.err = ErrLimit
			break
		}
		if c := int(d.next()); c > 0 {
			return n + c
		}
	}
	return 0
}

func (d *decoder) fail(why string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrMalformed, why)
	}
}

func (d *decoder) literals(n int) {
	switch {
	case d.err != nil:
	case n > len(d.in)-d.pos:
		d.fail("it ends too early")
	case n > d.limit-len(d.out):
		d.err = ErrLimit
	default:
		d.out = append(d.out, d.in[d.pos:d.pos+n]...)
		d.pos += n
	}
}

func (d *decoder) match(length, distance int) {
	switch {
	case d.err != nil:
	case distance > len(d.out):
		d.fail("it refers to bytes before its start")
	case length > d.limit-len(d.out):
		d.err = ErrLimit
	default:
		for at := len(d.out) - distance; length > 0; length, at = length-1, at+1 {
			d.out = append(d.out, d.out[at])
		}
	}
}
