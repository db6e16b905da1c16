package cab

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const blockHeader = 8

var errUnsupported = errors.New("compression not known here")

// block is one CFDATA: at most 32 KiB of a folder.
type block struct {
	sum  uint32
	head []byte // behind the checksum, with the reserved room
	data []byte
	size int // of what it expands to
}

// Compression of a folder, in the low four bits of its type.
const (
	stored = iota
	mszip
	quantum
	lzx
)

// expand returns what a folder holds: with an error, what could be read up to
// it.
func (r *reader) expand(h []byte) ([]byte, error) {
	method := binary.LittleEndian.Uint16(h[6:]) & 0xf
	switch method {
	case stored, mszip:
	case quantum:
		return nil, fmt.Errorf("by Quantum: %w", errUnsupported)
	case lzx:
		return nil, fmt.Errorf("by LZX: %w", errUnsupported)
	default:
		return nil, fmt.Errorf("method %d: %w", method, errUnsupported)
	}
	blocks, err := r.blocks(uint64(binary.LittleEndian.Uint32(h)), int(binary.LittleEndian.Uint16(h[4:])))
	if errors.Is(err, ErrLimit) {
		return nil, err
	}
	total := 0
	for _, c := range blocks {
		total += c.size
	}
	if r.room -= total; r.room < 0 {
		return nil, fmt.Errorf("%w: a folder of %d bytes", ErrLimit, total)
	}
	out := make([]byte, 0, total) // within the limit
	var z io.ReadCloser
	for i, c := range blocks {
		if c.sum != 0 && c.sum != checksum(c.head, checksum(c.data, 0)) {
			return out, fmt.Errorf("%w: checksum of block %d", ErrMalformed, i)
		}
		if method == stored {
			if len(c.data) != c.size {
				return out, fmt.Errorf("%w: block %d has %d bytes, its header says %d", ErrMalformed, i, len(c.data), c.size)
			}
			out = append(out, c.data...)
			continue
		}
		if z, err = inflate(z, c, out[:len(out):cap(out)]); err != nil {
			return out, fmt.Errorf("%w: block %d: %w", ErrMalformed, i, err)
		}
		out = out[:len(out)+c.size]
	}
	return out, err
}

// blocks follows the headers of n blocks.
func (r *reader) blocks(at uint64, n int) ([]block, error) {
	var out []block
	head := uint64(blockHeader + r.reserve[1])
	if r.steps -= n; r.steps < 0 {
		return nil, fmt.Errorf("%w: %d blocks", ErrLimit, n)
	}
	for i := range n {
		if at+head > uint64(len(r.b)) {
			return out, fmt.Errorf("%w: block %d of %d begins outside", ErrMalformed, i, n)
		}
		h := r.b[at:]
		size := uint64(binary.LittleEndian.Uint16(h[4:]))
		c := block{sum: binary.LittleEndian.Uint32(h), head: h[4:head], size: int(binary.LittleEndian.Uint16(h[6:]))}
		if at+head+size > uint64(len(r.b)) || c.size > window {
			return out, fmt.Errorf("%w: block %d of %d: %d bytes for %d", ErrMalformed, i, n, size, c.size)
		}
		c.data = h[head : head+size]
		at += head + size
		out = append(out, c)
	}
	return out, nil
}

// inflate expands a block of MSZIP behind what came before it, which is its
// dictionary (MS-MCI 2.1). The result has its room behind out.
func inflate(z io.ReadCloser, c block, out []byte) (io.ReadCloser, error) {
	if !bytes.HasPrefix(c.data, []byte("CK")) {
		return z, errors.New("no signature")
	}
	in, dict := bytes.NewReader(c.data[2:]), out[max(0, len(out)-window):]
	if z == nil {
		z = flate.NewReaderDict(in, dict)
	} else if err := z.(flate.Resetter).Reset(in, dict); err != nil {
		return z, err
	}
	if _, err := io.ReadFull(z, out[len(out):len(out)+c.size]); err != nil {
		return z, err
	}
	var more [1]byte
	if n, err := z.Read(more[:]); n != 0 || !errors.Is(err, io.EOF) {
		return z, fmt.Errorf("more than %d bytes, or no end", c.size)
	}
	return z, nil
}

// checksum is the XOR of words, of which the last may be short (MS-CAB 3.1).
func checksum(b []byte, sum uint32) uint32 {
	for ; len(b) >= 4; b = b[4:] {
		sum ^= binary.LittleEndian.Uint32(b)
	}
	var rest uint32
	for _, c := range b {
		rest = rest<<8 | uint32(c)
	}
	return sum ^ rest
}
