// Package spdm reads what a device said of itself over SPDM (DSP0274 1.1, 1.2
// and 1.3), verifies it, and holds it against reference values.
//
// A *Measurements proves that whoever holds the key of the leaf certificate
// signed exactly these measurements, for exactly this nonce, and that every
// certificate of its chain was issued under the one before. It does not prove
// whose root that is: Match decides this by the references. It does not prove
// that the device measured itself honestly, nor where in the machine it sits.
// What a management controller says of a device without the device's signature
// is hearsay: it can raise a question and never answers one.
package spdm

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// What is wrapped by errors of this package.
var (
	ErrMalformed   = errors.New("malformed SPDM data")
	ErrUnsupported = errors.New("not supported")
	ErrUnsigned    = errors.New("no signature over the measurements")
	ErrForged      = errors.New("the proof does not hold")
)

// The versions of messages; 1.0 has no slot in its requests, and 1.4 other
// algorithms.
const (
	v10 = 0x10
	v11 = 0x11
	v12 = 0x12
	v13 = 0x13
)

// Request codes; that of the response is lower by 0x80. DSP0274, "SPDM request
// codes" and "SPDM response codes".
const (
	getDigests      = 0x81
	getCertificate  = 0x82
	challenge       = 0x83
	getVersion      = 0x84
	getMeasurements = 0xe0
	getCapabilities = 0xe1
	negotiate       = 0xe3

	errorResponse = 0x7f
)

// Bounds of this reader. A measurement record has at most 2^24 bytes, a
// certificate chain 2^16.
const (
	maxTranscript = 32 << 20
	maxMessages   = 4096
	maxChain      = 1 << 16
	nonceSize     = 32
	contextSize   = 8
)

func malformed(at int, format string, args ...any) error {
	return fmt.Errorf("offset %d: %s: %w", at, fmt.Sprintf(format, args...), ErrMalformed)
}

func unsupported(at int, format string, args ...any) error {
	return fmt.Errorf("offset %d: %s: %w", at, fmt.Sprintf(format, args...), ErrUnsupported)
}

// wire takes fields off a buffer. Integers of SPDM are little-endian (DSP0274,
// "Byte order").
type wire struct {
	b  []byte
	at int
}

func (w *wire) left() int { return len(w.b) - w.at }

func (w *wire) take(n int, what string) ([]byte, error) {
	if n < 0 || n > w.left() {
		return nil, malformed(w.at, "%s needs %d bytes, %d are left", what, n, w.left())
	}
	f := w.b[w.at : w.at+n : w.at+n]
	w.at += n
	return f, nil
}

func (w *wire) byte(what string) (byte, error) {
	f, err := w.take(1, what)
	if err != nil {
		return 0, err
	}
	return f[0], nil
}

func (w *wire) uint16(what string) (int, error) {
	f, err := w.take(2, what)
	if err != nil {
		return 0, err
	}
	return int(binary.LittleEndian.Uint16(f)), nil
}

func (w *wire) uint24(what string) (int, error) {
	f, err := w.take(3, what)
	if err != nil {
		return 0, err
	}
	return int(f[0]) | int(f[1])<<8 | int(f[2])<<16, nil
}

// header is the beginning of every message.
type header struct {
	at             int
	version, code  byte
	param1, param2 byte
}

func (w *wire) header(what string) (header, error) {
	at := w.at
	f, err := w.take(4, what)
	if err != nil {
		return header{}, err
	}
	return header{at, f[0], f[1], f[2], f[3]}, nil
}

// expect reads the header of one message that must come now.
func (w *wire) expect(version, code byte, what string) (header, error) {
	h, err := w.header(what)
	switch {
	case err != nil:
		return h, err
	case h.code == errorResponse:
		return h, malformed(h.at, "the device answered with error 0x%02x instead of %s", h.param1, what)
	case h.code != code:
		return h, malformed(h.at+1, "message 0x%02x, want %s", h.code, what)
	case h.version != version:
		return h, malformed(h.at, "%s of version 0x%02x, want 0x%02x", what, h.version, version)
	}
	return h, nil
}
