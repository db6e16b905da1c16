// Package tpmwire decodes the TPM 2.0 structures that attestation rests on:
// TPMS_ATTEST, TPMT_SIGNATURE and TPM2B_PUBLIC.
//
// It proves that the bytes have the structure of TPM 2.0 Library Part 2 and
// nothing is left over. It proves nothing about who made them; Signature.Verify
// is the one function that checks a signature.
package tpmwire

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by every refusal.
var ErrMalformed = errors.New("malformed TPM structure")

// reader takes big-endian fields off a slice. After the first fault it returns
// zeroes and keeps the fault.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("offset %d: %s: %w", r.at, fmt.Sprintf(format, args...), ErrMalformed)
	}
}

func (r *reader) take(n int, what string) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b)-r.at {
		r.fail("%s of %d bytes, %d left", what, n, len(r.b)-r.at)
		return nil
	}
	s := r.b[r.at : r.at+n : r.at+n]
	r.at += n
	return s
}

func (r *reader) u8(what string) uint8 {
	if s := r.take(1, what); s != nil {
		return s[0]
	}
	return 0
}

func (r *reader) u16(what string) uint16 {
	if s := r.take(2, what); s != nil {
		return binary.BigEndian.Uint16(s)
	}
	return 0
}

func (r *reader) u32(what string) uint32 {
	if s := r.take(4, what); s != nil {
		return binary.BigEndian.Uint32(s)
	}
	return 0
}

func (r *reader) u64(what string) uint64 {
	if s := r.take(8, what); s != nil {
		return binary.BigEndian.Uint64(s)
	}
	return 0
}

func (r *reader) sized(what string) []byte { return r.take(int(r.u16(what)), what) }

func (r *reader) alg(what string) Algorithm { return Algorithm(r.u16(what)) }

func (r *reader) end(what string) error {
	if r.err == nil && r.at != len(r.b) {
		r.fail("%d bytes behind the structure", len(r.b)-r.at)
	}
	if r.err != nil {
		return fmt.Errorf("%s: %w", what, r.err)
	}
	return nil
}
