package ids

import (
	"encoding/hex"
	"math/bits"
	"regexp"
	"strconv"
	"strings"
)

// JEDEC is a manufacturer identification code of JEP106: how many continuation
// codes precede it, and the code without its parity bit. The zero value is no
// code.
type JEDEC struct {
	Bank uint8 // continuation codes, 0 for the first bank
	Code uint8 // 7 bits, 1 to 126
}

// Composite is the manufacturer text of some Dell firmware: three codes in six
// bytes, for the module, its register and its DRAM. A code that cannot be
// resolved is the zero value.
type Composite struct{ Module, Register, DRAM JEDEC }

// String returns the canonical spelling "jedec:BBCC": the number of
// continuation codes and the code with its odd parity bit, as the registry
// prints it. Samsung is "jedec:00ce", Kingston "jedec:0198".
func (j JEDEC) String() string {
	if j.Code == 0 {
		return ""
	}
	return "jedec:" + hex.EncodeToString([]byte{j.Bank, withParity(j.Code)})
}

// Name returns the registered manufacturer, or "".
func (j JEDEC) Name() string { return jep106Names().of(uint32(j.Bank)<<8|uint32(j.Code), 4) }

func withParity(code uint8) uint8 {
	if bits.OnesCount8(code)%2 == 0 {
		return code | 0x80
	}
	return code
}

// JEDECBytes decodes the two bytes that an SPD holds: the continuation count
// and the code, both as a rule with odd parity. It is false for codes that no
// bank has and for the erased values 0000 and FFFF.
func JEDECBytes(bank, code uint8) (JEDEC, bool) {
	j := JEDEC{bank & 0x7f, code & 0x7f}
	if j.Code == 0 || j.Code == 0x7f || j.Bank == 0x7f {
		return JEDEC{}, false
	}
	return j, true
}

// JEDECWord decodes a manufacturer id of SMBIOS type 17: an SPD word stored low
// byte first.
func JEDECWord(w uint16) (JEDEC, bool) { return JEDECBytes(uint8(w), uint8(w>>8)) }

var bankHex = regexp.MustCompile(`^bank (\d{1,3}), hex (?:0x)?([0-9a-f]{2})$`)

// ParseJEDEC decodes the spellings of a manufacturer code that firmware and
// management controllers use: "80CE" and "0x80CE", byte-swapped "0xCE80",
// "CE00000000000000" and "7F98" with continuation codes, "JEDEC ID:80 2C",
// "Bank 1, Hex 0xCE", byte-swapped decimal "44288", Dell's "00CE00B300CE" (the
// module), and the canonical "jedec:00ce". A text that names no registered
// code is not ok: it is unresolved, never a contradiction.
func ParseJEDEC(s string) (JEDEC, bool) {
	s = Key(s)
	if strings.HasPrefix(s, "bank ") && bankHex.MatchString(s) {
		m := bankHex.FindStringSubmatch(s)
		bank, _ := strconv.Atoi(m[1])
		code, _ := strconv.ParseUint(m[2], 16, 8)
		if bank < 1 || bank > 128 {
			return JEDEC{}, false
		}
		return eitherOrder([]byte{uint8(bank - 1), uint8(code)})
	}
	labelled := false
	for _, prefix := range []string{"jedec id:", "jedec:", "0x"} {
		if rest, ok := strings.CutPrefix(s, prefix); ok {
			s, labelled = strings.ReplaceAll(rest, " ", ""), true
			break
		}
	}
	if len(s) == 5 && !labelled && strings.Trim(s, digits) == "" {
		n, err := strconv.ParseUint(s, 10, 16)
		if err != nil {
			return JEDEC{}, false
		}
		return eitherOrder([]byte{uint8(n >> 8), uint8(n)})
	}
	var room [8]byte
	raw, ok := hexBytes(room[:], s)
	if !ok || len(raw) < 2 {
		return JEDEC{}, false
	}
	if c, ok := composite(raw); ok {
		return c.Module, c.Module.Code != 0
	}
	return continuation(raw)
}

// continuation decodes the 64-bit field of DDR2 and older SPDs, 7F bytes before
// the code and zeros behind it, and the two-byte forms.
func continuation(raw []byte) (JEDEC, bool) {
	n := 0
	for n < len(raw)-1 && raw[n] == 0x7f {
		n++
	}
	if n == 0 && len(raw) == 2 {
		return eitherOrder(raw)
	}
	for _, x := range raw[n+1:] {
		if x != 0 {
			return JEDEC{}, false
		}
	}
	return registered(uint8(n), raw[n])
}

// eitherOrder prefers bank before code; the swapped order counts only when the
// first does not name a registered code.
func eitherOrder(b []byte) (JEDEC, bool) {
	if j, ok := registered(b[0], b[1]); ok {
		return j, true
	}
	return registered(b[1], b[0])
}

// registered accepts a code with odd parity that the registry lists.
func registered(bank, code uint8) (JEDEC, bool) {
	j, ok := JEDECBytes(bank, code)
	if !ok || j.Name() == "" || bits.OnesCount8(code)%2 == 0 {
		return JEDEC{}, false
	}
	return j, true
}

// ParseComposite decodes Dell's six-byte manufacturer text in either byte
// order. It is not ok when the text has another form or no code resolves.
func ParseComposite(s string) (Composite, bool) {
	var room [6]byte
	raw, ok := hexBytes(room[:], Clean(s))
	if !ok {
		return Composite{}, false
	}
	return composite(raw)
}

// hexBytes decodes digits of either case into dst; a text that is no such digits
// or more than fit is not ok.
func hexBytes(dst []byte, s string) ([]byte, bool) {
	if len(s)%2 != 0 || len(s) > 2*len(dst) {
		return nil, false
	}
	for i := range len(s) / 2 {
		hi, lo := hexDigit(s[2*i]), hexDigit(s[2*i+1])
		if hi < 0 || lo < 0 {
			return nil, false
		}
		dst[i] = uint8(hi<<4 | lo)
	}
	return dst[:len(s)/2], true
}

// hexDigit is the value of a digit of either case, or -1.
func hexDigit(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

func composite(raw []byte) (Composite, bool) {
	if len(raw) != 6 {
		return Composite{}, false
	}
	straight, swapped := pairs(raw, false), pairs(raw, true)
	if score(swapped) > score(straight) {
		straight = swapped
	}
	return straight, score(straight) > 0
}

func pairs(raw []byte, swap bool) Composite {
	var out [3]JEDEC
	for i := range out {
		bank, code := raw[2*i], raw[2*i+1]
		if swap {
			bank, code = code, bank
		}
		// Newer firmware counts modules in the last pair (0A00, 0A01, 0C07).
		if i == 2 && code < 8 {
			continue
		}
		out[i], _ = registered(bank, code)
	}
	return Composite{out[0], out[1], out[2]}
}

func score(c Composite) int {
	n := 0
	for _, j := range []JEDEC{c.Module, c.Register, c.DRAM} {
		if j.Code != 0 {
			n++
		}
	}
	return n
}
