// Package acpi reads the headers of ACPI tables and the few tables that say
// which hardware or code the firmware announces (ACPI 6.5, 5.2).
//
// It proves what the firmware left in memory. AML code in DSDT and SSDT is not
// interpreted: it is covered by the digest.
package acpi

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
)

// ErrShort means fewer bytes than a table header.
var ErrShort = errors.New("shorter than an ACPI table header")

// Problem is one defect, at an offset from the first byte.
type Problem struct {
	Offset int
	What   string
}

// Table is a decoded table header. StableDigest is the SHA-256 of the table
// with the fields zeroed that move between boots of an unchanged machine; it
// equals the plain digest where Volatile is false.
type Table struct {
	Signature         string
	Length            int // as stated
	Revision          uint8
	OEMID, OEMTableID string // trimmed
	OEMRevision       uint32
	CreatorID         string
	CreatorRevision   uint32
	ChecksumOK        bool // true for FACS, which has none
	Volatile          bool
	StableDigest      string // hexadecimal
	WPBT              *WPBT
	Problems          []Problem
}

// WPBT is the Windows Platform Binary Table: an executable that firmware asks
// the operating system to run.
type WPBT struct {
	Size, Address uint64
	Layout, Type  uint8 // 1 and 1: a native PE image
	Arguments     string
}

// Parse decodes one table.
func Parse(b []byte) (*Table, error) {
	if len(b) < 8 {
		return nil, fmt.Errorf("%w: %d bytes", ErrShort, len(b))
	}
	t := &Table{Signature: text(b[:4]), Length: int(min(binary.LittleEndian.Uint32(b[4:]), 1<<30))}
	if t.Length != len(b) {
		t.problem(4, "length %d, %d bytes were read", t.Length, len(b))
	}
	if t.Signature == "FACS" {
		t.ChecksumOK = true
	} else if len(b) < 36 {
		return nil, fmt.Errorf("%w: %d bytes", ErrShort, len(b))
	} else {
		t.header(b)
	}
	if t.Signature == "WPBT" {
		t.wpbt(b)
	}
	t.digest(b)
	return t, nil
}

func (t *Table) problem(offset int, format string, args ...any) {
	t.Problems = append(t.Problems, Problem{offset, fmt.Sprintf(format, args...)})
}

func text(b []byte) string { return strings.Trim(string(b), "\x00 ") }

func (t *Table) header(b []byte) {
	t.Revision = b[8]
	t.OEMID, t.OEMTableID, t.OEMRevision = text(b[10:16]), text(b[16:24]), binary.LittleEndian.Uint32(b[24:])
	t.CreatorID, t.CreatorRevision = text(b[28:32]), binary.LittleEndian.Uint32(b[32:])
	var sum uint8
	for _, x := range b[:min(t.Length, len(b))] {
		sum += x
	}
	if t.ChecksumOK = sum == 0; !t.ChecksumOK {
		t.problem(9, "checksum is wrong")
	}
}

func (t *Table) wpbt(b []byte) {
	if len(b) < 52 {
		t.problem(36, "WPBT of %d bytes, at least 52 needed", len(b))
		return
	}
	w := &WPBT{
		Size: uint64(binary.LittleEndian.Uint32(b[36:])), Address: binary.LittleEndian.Uint64(b[40:]),
		Layout: b[48], Type: b[49],
	}
	n := int(binary.LittleEndian.Uint16(b[50:]))
	if n > len(b)-52 {
		t.problem(50, "arguments of %d bytes, %d left", n, len(b)-52)
		n = len(b) - 52
	}
	units := make([]uint16, n/2)
	for i := range units {
		units[i] = binary.LittleEndian.Uint16(b[52+2*i:])
	}
	w.Arguments = strings.TrimRight(string(utf16.Decode(units)), "\x00")
	t.WPBT = w
}

// moving lists the byte ranges that hold addresses or state of one boot.
func moving(signature string) [][2]int {
	switch signature {
	case "FACP": // FIRMWARE_CTRL, DSDT and their 64-bit forms
		return [][2]int{{36, 44}, {132, 148}}
	case "FACS": // hardware signature, waking vectors, global lock
		return [][2]int{{8, 24}, {24, 32}}
	case "TPM2": // control area and log area addresses
		return [][2]int{{40, 48}, {68, 76}}
	case "TCPA":
		return [][2]int{{42, 50}}
	case "BGRT": // status and image address
		return [][2]int{{38, 39}, {40, 48}}
	case "FPDT", "BERT": // records of one boot
		return [][2]int{{36, 1 << 20}}
	case "CCEL": // address of the event log
		return [][2]int{{48, 56}}
	case "WPBT": // address of the image
		return [][2]int{{40, 48}}
	case "RSDT", "XSDT": // addresses of all tables
		return [][2]int{{36, 1 << 20}}
	case "UEFI": // address of the communication buffer
		return [][2]int{{54, 1 << 20}}
	}
	return nil
}

func (t *Table) digest(b []byte) {
	moves := moving(t.Signature)
	if len(moves) > 0 {
		b = append([]byte(nil), b...)
	}
	for _, r := range moves {
		for i := r[0]; i < min(r[1], len(b)); i++ {
			b[i], t.Volatile = 0, true
		}
	}
	if t.Volatile && len(b) > 9 && t.Signature != "FACS" {
		b[9] = 0 // the checksum follows what was removed
	}
	d := sha256.Sum256(b)
	t.StableDigest = hex.EncodeToString(d[:])
}
