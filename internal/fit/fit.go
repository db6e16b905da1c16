// Package fit reads Intel's firmware interface table, by which a processor
// finds microcode and the modules that it starts before the reset vector, and
// the headers of what the table points at: microcode updates, authenticated
// code modules, and the manifests of Boot Guard.
//
// It proves what the headers say and that an update's own checksum holds. It
// verifies no signature.
package fit

import (
	"encoding/binary"
	"fmt"
)

// EntryType says what an entry points at (Firmware Interface Table BIOS
// Specification 1.4, 3).
type EntryType byte

// The types that are told apart here.
const (
	Header        EntryType = 0x00
	Microcode     EntryType = 0x01
	StartupACM    EntryType = 0x02
	DiagnosticACM EntryType = 0x03
	StartupModule EntryType = 0x07
	TPMPolicy     EntryType = 0x08
	BIOSPolicy    EntryType = 0x09
	TXTPolicy     EntryType = 0x0a
	KeyManifest   EntryType = 0x0b
	BootPolicy    EntryType = 0x0c
	CSESecureBoot EntryType = 0x10
	DebugPolicy   EntryType = 0x2f
	Skip          EntryType = 0x7f
)

// String returns the name used in reports.
func (t EntryType) String() string {
	switch t {
	case Header:
		return "table"
	case Microcode:
		return "microcode"
	case StartupACM:
		return "startup ACM"
	case DiagnosticACM:
		return "diagnostic ACM"
	case StartupModule:
		return "BIOS startup module"
	case TPMPolicy:
		return "TPM policy"
	case BIOSPolicy:
		return "BIOS policy"
	case TXTPolicy:
		return "TXT policy"
	case KeyManifest:
		return "key manifest"
	case BootPolicy:
		return "boot policy manifest"
	case CSESecureBoot:
		return "CSE secure boot"
	case DebugPolicy:
		return "debug policy"
	case Skip:
		return "unused"
	}
	return fmt.Sprintf("entry type 0x%02x", byte(t))
}

// MarshalText prints a type by its name.
func (t EntryType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Entry is one entry of the table.
type Entry struct {
	Type    EntryType `json:"type"`
	Address uint64    `json:"address"`
	Offset  int       `json:"offset"` // of what it points at in the image, -1 when that is outside
	Length  int       `json:"length"` // cut to the image; 0 where only what it points at would say
	Version uint16    `json:"version"`
	Name    string    `json:"name,omitempty"` // what its header calls itself
}

// Table is a table at its place.
type Table struct {
	Offset  int     `json:"offset"`
	Entries []Entry `json:"entries"` // without the header
	Damaged bool    `json:"damaged"` // the table's checksum does not hold
}

const (
	pointerAt = 0x40 // before the end: 4 GiB - 64
	entrySize = 16
	signature = "_FIT_   "
	top       = 1 << 32 // the image ends where the processor starts

	// MaxEntries bounds a table; servers with many processor steppings have some dozen.
	MaxEntries = 512
)

// Parse finds the table of an image that ends at 4 GiB, as the flash of a host
// does.
func Parse(image []byte) (Table, bool) {
	if len(image) < pointerAt || uint64(len(image)) > top {
		return Table{}, false
	}
	at := offset(image, binary.LittleEndian.Uint64(image[len(image)-pointerAt:]))
	if at < 0 || len(image)-at < entrySize || string(image[at:at+8]) != signature {
		return Table{}, false
	}
	n := size24(image[at+8:])
	if n < 1 || n > MaxEntries || n*entrySize > len(image)-at {
		return Table{}, false
	}
	t := Table{Offset: at}
	if image[at+14]&0x80 != 0 {
		var sum byte
		for _, c := range image[at : at+n*entrySize] {
			sum += c
		}
		t.Damaged = sum != 0
	}
	for i := 1; i < n; i++ {
		t.Entries = append(t.Entries, entry(image, image[at+i*entrySize:]))
	}
	return t, true
}

// offset maps an address below 4 GiB to a place in the image, or to -1.
func offset(image []byte, address uint64) int {
	if start := uint64(top - len(image)); address >= start && address < top {
		return int(address - start)
	}
	return -1
}

func size24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// entry reads one entry. For manifests the size is in bytes, for modules in
// units of 16; for microcode and ACMs only their own headers have it.
func entry(image, b []byte) Entry {
	e := Entry{
		Type: EntryType(b[14] & 0x7f), Address: binary.LittleEndian.Uint64(b), Offset: -1,
		Length: size24(b[8:]), Version: binary.LittleEndian.Uint16(b[12:]),
	}
	switch e.Type {
	case TPMPolicy, TXTPolicy, Skip:
		e.Length = 0 // the address may be that of a register
		return e
	case KeyManifest, BootPolicy:
	default:
		e.Length *= entrySize
	}
	if e.Offset = offset(image, e.Address); e.Offset < 0 {
		return e
	}
	body := image[e.Offset:]
	switch e.Type {
	case Microcode:
		if u, ok := ParseUpdate(body); ok {
			e.Name, e.Length = u.String(), u.Length
		}
	case StartupACM, DiagnosticACM:
		if m, ok := ParseModule(body); ok {
			e.Name, e.Length = m.String(), m.Length
		}
	case KeyManifest, BootPolicy:
		e.Name = manifestName(body[:min(e.Length, len(body))])
	}
	e.Length = min(e.Length, len(body))
	return e
}

// Update is a microcode update.
type Update struct {
	Processor uint32 // signature, as CPUID leaf 1 returns it
	Revision  uint32
	Date      string // YYYY-MM-DD
	Length    int
}

const updateHeader = 48

// ParseUpdate checks a microcode update at the start of b: its header (Intel
// SDM, volume 3, 10.11.1) and that its words add up to zero.
func ParseUpdate(b []byte) (Update, bool) {
	if len(b) < updateHeader || word(b, 0) != 1 || word(b, 20) != 1 {
		return Update{}, false
	}
	data, total := word(b, 28), word(b, 32)
	if data == 0 {
		data, total = 2000, 2048
	}
	date, ok := bcdDate(word(b, 8)>>24, word(b, 8)>>16&0xff, word(b, 8)&0xffff)
	if !ok {
		return Update{}, false
	}
	if total%4 != 0 || total < updateHeader || uint64(total) > uint64(len(b)) || uint64(data) > uint64(total) {
		return Update{}, false
	}
	var sum uint32
	for at := 0; at < int(total); at += 4 {
		sum += word(b, at)
	}
	return Update{Processor: word(b, 12), Revision: word(b, 4), Date: date, Length: int(total)}, sum == 0
}

// String names an update as people do.
func (u Update) String() string {
	return fmt.Sprintf("processor %X revision %X of %s", u.Processor, u.Revision, u.Date)
}

func word(b []byte, at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }

// bcdDate prints a date of binary coded decimals.
func bcdDate(month, day, year uint32) (string, bool) {
	for v := range 8 {
		if (month<<24|day<<16|year)>>(4*v)&0xf > 9 {
			return "", false
		}
	}
	if month < 1 || month > 0x12 || day < 1 || day > 0x31 || year < 0x1990 || year > 0x2099 {
		return "", false
	}
	return fmt.Sprintf("%04x-%02x-%02x", year, month, day), true
}

// Module is the header of an authenticated code module.
type Module struct {
	Chipset  uint16
	Date     string // as the header has it: YYYY-MM-DD
	TXTSVN   uint16
	Security uint16 // SE SVN
	Length   int
}

const moduleHeader = 128

// ParseModule reads the header of an authenticated code module at the start of
// b (Intel TXT Software Development Guide, A.1).
func ParseModule(b []byte) (Module, bool) {
	if len(b) < moduleHeader || binary.LittleEndian.Uint16(b) != 2 {
		return Module{}, false
	}
	d := word(b, 20)
	head, n := uint64(word(b, 4))*4, uint64(word(b, 24))*4
	if head < moduleHeader || n < head || n > uint64(len(b)) {
		return Module{}, false
	}
	return Module{
		Chipset: binary.LittleEndian.Uint16(b[12:]), Date: fmt.Sprintf("%04x-%02x-%02x", d>>16, d>>8&0xff, d&0xff),
		TXTSVN: binary.LittleEndian.Uint16(b[28:]), Security: binary.LittleEndian.Uint16(b[30:]), Length: int(n),
	}, true
}

// String names a module as people do.
func (m Module) String() string {
	return fmt.Sprintf("chipset %04X of %s, TXT SVN %d, SE SVN %d", m.Chipset, m.Date, m.TXTSVN, m.Security)
}

// manifestName says which version of a manifest stands at the start of b and
// its security version, by which older ones are refused.
func manifestName(b []byte) string {
	if len(b) < 20 {
		return ""
	}
	var kind string
	var at int // of the security version, in Boot Guard's form and in that of CBnT
	version := b[8]
	newer := version >= 0x20
	switch string(b[:8]) {
	case "__KEYM__":
		kind, at = "key manifest", 10
		if newer {
			at = 18
		}
	case "__ACBP__":
		kind, at = "boot policy manifest", 11
		if newer {
			at = 15
		}
	default:
		return ""
	}
	return fmt.Sprintf("%s %d.%d, SVN %d", kind, version>>4, version&0xf, b[at])
}
