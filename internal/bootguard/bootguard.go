// Package bootguard reads what Intel processors check and measure before the
// reset vector: the headers of authenticated code modules, and the key and boot
// policy manifests of Boot Guard 1.0 and of its successor (CBnT).
//
// It proves whether a signature holds for the key beside it, whether the key
// manifest names the key of the boot policy, and whether the digests of the
// initial boot block hold for the bytes they are over. Whose keys these are only
// the fuses of the chipset say.
package bootguard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// Algorithm is an algorithm by its TPM identifier.
type Algorithm uint16

// The algorithms that manifests use (TCG Algorithm Registry).
const (
	RSA    Algorithm = 0x01
	SHA1   Algorithm = 0x04
	SHA256 Algorithm = 0x0b
	SHA384 Algorithm = 0x0c
	SHA512 Algorithm = 0x0d
	Null   Algorithm = 0x10
	SM3    Algorithm = 0x12
	RSASSA Algorithm = 0x14
	RSAPSS Algorithm = 0x16
	ECDSA  Algorithm = 0x18
	SM2    Algorithm = 0x1b
	ECC    Algorithm = 0x23
)

// String returns the name used in reports.
func (a Algorithm) String() string {
	switch a {
	case RSA:
		return "RSA"
	case SHA1:
		return "SHA-1"
	case SHA256:
		return "SHA-256"
	case SHA384:
		return "SHA-384"
	case SHA512:
		return "SHA-512"
	case Null, 0:
		return "none"
	case SM3:
		return "SM3"
	case RSASSA:
		return "RSASSA"
	case RSAPSS:
		return "RSA-PSS"
	case ECDSA:
		return "ECDSA"
	case SM2:
		return "SM2"
	case ECC:
		return "ECC"
	}
	return fmt.Sprintf("algorithm 0x%04x", uint16(a))
}

// MarshalText prints an algorithm by its name.
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// Digest is a digest with its algorithm.
type Digest struct {
	Algorithm Algorithm
	Value     []byte
}

// Key is a public key as manifests store it: little endian, an RSA key with its
// exponent first.
type Key struct {
	Algorithm Algorithm
	Bits      int
	Data      []byte
}

// Signature is a signature with the key that it is to be checked with.
type Signature struct {
	Key    Key
	Scheme Algorithm
	Hash   Algorithm
	Data   []byte
	signed []byte
}

// KeyManifest says which key may sign the boot policy. Its own key's digest is
// in the chipset's fuses.
type KeyManifest struct {
	Version byte // 0x10 is Boot Guard 1.0, 0x21 CBnT
	SVN     byte
	ID      byte
	Policy  []Digest // of the keys that may sign the boot policy
	Signature
}

// BootPolicy says what the initial boot block is.
type BootPolicy struct {
	Version byte // 0x10 is Boot Guard 1.0, 0x20 and above CBnT
	SVN     byte
	ACMSVN  byte // the oldest code module that may be used
	Blocks  []Block
	Signature
}

// Block is the initial boot block of one set: the reset vector's code and what
// is measured and verified with it.
type Block struct {
	Flags    uint32
	Digests  []Digest
	Segments []Segment
}

// Segment is a range of addresses below 4 GiB. Only those that are hashed are
// part of the digests.
type Segment struct {
	Base, Length uint32
	Hashed       bool
}

// Structures of the manifests by their names.
const (
	keyManifestID = "__KEYM__"
	bootPolicyID  = "__ACBP__"
	blockID       = "__IBBS__"
	signatureID   = "__PMSG__"
)

var (
	errNot   = errors.New("not a manifest of this kind")
	errShort = errors.New("the manifest ends early")
)

// reader takes fields from the front of b. After the end it returns zeros.
type reader struct {
	b    []byte
	at   int
	fail bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b)-r.at {
		r.fail, r.at = true, len(r.b)
		return make([]byte, min(max(n, 0), 8))
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *reader) u8() byte    { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

// digest reads SHAX_HASH_STRUCTURE.
func (r *reader) digest() Digest {
	a := Algorithm(r.u16())
	return Digest{a, slices.Clone(r.take(int(r.u16())))}
}

// signature reads KEY_AND_SIGNATURE_STRUCT, over what stands before signed.
func (r *reader) signature(signed int) Signature {
	var s Signature
	r.u8() // version of the structure
	s.Key.Algorithm = Algorithm(r.u16())
	r.u8()
	s.Key.Bits = int(r.u16())
	n := s.Key.Bits / 8
	switch s.Key.Algorithm {
	case RSA:
		n += 4
	case ECC, SM2:
		n *= 2
	}
	s.Key.Data = slices.Clone(r.take(n))
	s.Scheme = Algorithm(r.u16())
	r.u8()
	n = int(r.u16()) / 8
	s.Hash = Algorithm(r.u16())
	if s.Scheme == ECDSA || s.Scheme == SM2 {
		n *= 2
	}
	s.Data = slices.Clone(r.take(n))
	s.signed = r.b[:signed]
	return s
}

// newer is the version from which structures have lengths, and lists of digests.
const newer = 0x20

// ParseKeyManifest reads a key manifest (KM).
func ParseKeyManifest(b []byte) (KeyManifest, error) {
	r := &reader{b: b}
	if string(r.take(8)) != keyManifestID {
		return KeyManifest{}, errNot
	}
	m := KeyManifest{Version: r.u8()}
	if m.Version < newer {
		r.u8() // KM_Version
		m.SVN, m.ID = r.u8(), r.u8()
		m.Policy = []Digest{r.digest()}
		m.Signature = r.signature(r.at)
		return m, r.err()
	}
	r.take(3)
	at := int(r.u16())
	r.take(4)
	m.SVN, m.ID = r.u8(), r.u8()
	r.u16() // algorithm of this manifest's key's digest
	for range r.u16() {
		usage, d := r.u64(), r.digest()
		if r.fail {
			break
		}
		if usage&1 == 1 { // signs the boot policy
			m.Policy = append(m.Policy, d)
		}
	}
	if at < r.at || at > len(b) {
		return KeyManifest{}, errShort
	}
	r.at = at
	m.Signature = r.signature(at)
	return m, r.err()
}

func (r *reader) err() error {
	if r.fail {
		return errShort
	}
	return nil
}

// ParseBootPolicy reads a boot policy manifest (BPM).
func ParseBootPolicy(b []byte) (BootPolicy, error) {
	r := &reader{b: b}
	if string(r.take(8)) != bootPolicyID {
		return BootPolicy{}, errNot
	}
	m := BootPolicy{Version: r.u8()}
	if m.Version < newer {
		r.u8() // HdrStructVersion
		r.u8() // PMBPMVersion
		m.SVN, m.ACMSVN = r.u8(), r.u8()
		r.take(3)
		return m, m.older(r)
	}
	r.u8()
	header, at := int(r.u16()), int(r.u16())
	r.u8() // revision
	m.SVN, m.ACMSVN = r.u8(), r.u8()
	if r.at = header; header > len(b) || at > len(b) || at < structHeader {
		return BootPolicy{}, errShort
	}
	for r.at < at-structHeader && len(m.Blocks) < maxBlocks {
		start := r.at
		id := string(r.take(8))
		r.u16() // version, set
		n := int(r.u16())
		if r.fail || n < structHeader || n > at-start {
			return BootPolicy{}, errShort
		}
		if id == blockID {
			m.Blocks = append(m.Blocks, block(&reader{b: b[start : start+n], at: structHeader}))
		}
		r.at = start + n
	}
	if string(b[at-structHeader:at-structHeader+8]) != signatureID {
		return BootPolicy{}, errShort
	}
	r.at = at
	m.Signature = r.signature(at)
	return m, r.err()
}

const (
	structHeader = 12 // of CBnT's structures
	maxBlocks    = 4  // samples have two
	maxElements  = 8  // in Boot Guard 1.0
)

// older reads the elements of Boot Guard 1.0, which have no lengths.
func (m *BootPolicy) older(r *reader) error {
	for range maxElements {
		start := r.at
		id := string(r.take(8))
		r.u8() // version
		switch {
		case r.fail:
			return errShort
		case id == blockID:
			r.take(3)
			e := Block{Flags: r.u32()}
			r.take(40 + 36) // addresses, digest for resuming
			r.u32()         // entry point
			e.Digests = []Digest{r.digest()}
			e.segments(r)
			m.Blocks = append(m.Blocks, e)
		case id == "__PMDA__":
			n := int(r.u16())
			if !r.next(n) {
				n += 2 // some state the length a second time
			}
			r.take(n)
		case id == signatureID:
			m.Signature = r.signature(start)
			return r.err()
		default:
			return errShort
		}
	}
	return errShort
}

// next reports whether an element begins n bytes further on.
func (r *reader) next(n int) bool {
	at := r.at + n
	return at <= len(r.b)-8 && string(r.b[at:at+2]) == "__" && string(r.b[at+6:at+8]) == "__"
}

// block reads CBnT's IBB element behind its header.
func block(r *reader) Block {
	r.take(4)
	e := Block{Flags: r.u32()}
	r.take(40) // addresses
	r.digest() // for resuming
	r.u32()    // entry point
	r.u16()    // length of the list
	for range r.u16() {
		d := r.digest()
		if r.fail {
			break
		}
		e.Digests = append(e.Digests, d)
	}
	r.digest() // of what is behind the block
	r.take(3)
	e.segments(r)
	return e
}

// segments reads a count and as many segments.
func (e *Block) segments(r *reader) {
	for range r.u8() {
		r.u16()
		s := Segment{Hashed: r.u16()&1 == 0}
		s.Base, s.Length = r.u32(), r.u32()
		if r.fail {
			break
		}
		e.Segments = append(e.Segments, s)
	}
}
