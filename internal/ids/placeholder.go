package ids

import (
	"bytes"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var fillers = func() map[string]bool {
	m := map[string]bool{}
	for _, s := range strings.Split(fillerTexts, "\n") {
		m[s] = true
	}
	delete(m, "")
	return m
}()

// fillerTexts are keys of texts that stand where a value was never written.
const fillerTexts = `
not specified
unspecified
unknown
unknow
n/a
na
none
(none)
<none>
none provided
null
(null)
nil
empty
[empty]
<empty>
no dimm
empty/no dimm
nodimm
no module installed
not installed
no dimm installed
not present
not populated
notinstalled
not available
not applicable
not provided
notprovided
not defined
not set
manufacturer not set
not support
not supported
undefined
memundefined
<bad index>
<out of spec>
bad index
out of spec
invalid
default
default string
o.e.m.
oem
oem default string
to be filled by o.e.m.
to be filled by o.e.m
to be filled by oem
tobefilledbyo.e.m.
filled by o.e.m.
filled by oem
oem to be filled
fill by oem
fill by o.e.m.
to be filled
system manufacturer
system product name
system version
system serial number
system name
system sku
system sku number
system family
system uuid
base board manufacturer
base board product name
base board version
base board serial number
base board asset tag
base board location
board manufacturer
board product name
board version
board serial number
board asset tag
chassis manufacturer
chassis manufacture
chassis version
chassis serial number
chassis asset tag
product name
product version
sku number
sku
skunumber
type1family
type1 - family
type1sku0
type2 - board asset tag
type3 - chassis asset tag
asset tag
asset tag number
asset-1234567890
no asset tag
no asset information
no enclosure
serial
serial number
part number
manufacturer
model
revision
version
family
string
tbd
tba
test
x.x
sn
pn
unknown vendor
unknown manufacturer
sku=notprovided
`

// fieldLabel matches names of fields that stand for their values, alone or with
// an index and the name of the slot: "SerNum0", "ModulePartNumber01",
// "DimmA2_Manufacturer", "ChannelA_Dimm1_PartNum", "Array 1 Manufacturer 2".
var fieldLabel = regexp.MustCompile(`^(?:array ?\d+[ _]|chann?el? ?[a-z0-9]{1,2}[ _]|dimm_?[a-z]?\d*[ _]|[a-z]\d{1,2}_)*` +
	`(?:module)?(?:manufacturer|sernum|serialnum|serialnumber|serial ?number|partnum|partnumber|part ?number|assettag|assettagnum|asset ?tag|asset ?tag ?number)` +
	`(?:_?name)?(?:_?string)?[ _]?\d*$`)

// namesField matches fieldLabel. Every name in it holds one of three words, which
// are cheaper to look for.
func namesField(k []byte) bool {
	return (bytes.Contains(k, []byte("num")) || bytes.Contains(k, []byte("tag")) || bytes.Contains(k, []byte("manufacturer"))) &&
		fieldLabel.MatchString(string(k))
}

// Placeholder says whether a text stands where a real value was never written,
// and why it is taken for one. A placeholder is no value: it never equals
// another placeholder.
func Placeholder(s string) (reason string, ok bool) {
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	var room [keyRoom]byte
	k := appendKey(room[:0], s)
	switch {
	case len(k) == 0:
		return "blank", true
	case unprintable(s):
		return "unprintable bytes", true
	case fillers[string(k)]:
		return "filler text", true
	case namesField(k):
		return "name of the field", true
	case repeated(k):
		return "repeated character", true
	case counting(k):
		return "counting digits", true
	}
	return "", false
}

// unprintable finds what a bad string index points at: bytes of another
// structure, or their rendering by a tool that prints dots for them.
func unprintable(s string) bool {
	if !utf8.ValidString(s) {
		return true
	}
	dots, solid := 0, 0 // of the text as Clean folds it: all of its dots, and most of its bytes
	for _, r := range s {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0x7f {
			return true
		}
		if r == '.' {
			dots++
		}
		if r > ' ' && r < utf8.RuneSelf {
			solid++
		}
	}
	if 2*dots < solid {
		return false
	}
	s = strings.Join(strings.Fields(s), " ") // as Clean folds blanks: both spellings are judged alike
	// Some firmware pads real names with dots; what they pad counts.
	if padded := strings.TrimRight(s, ". "); padded != "" && !strings.Contains(padded, ".") {
		s = padded
	}
	return len(s) >= 8 && 2*strings.Count(s, ".") >= len(s)
}

// repeated is true for runs of one character, pairs such as "xX" included by
// key folding, and for separators between them. Short runs may be real values.
func repeated(k []byte) bool {
	var room [keyRoom]byte
	kept := room[:0]
	for _, c := range k {
		if strings.IndexByte(" -_:.", c) < 0 {
			kept = append(kept, c)
		}
	}
	kept = bytes.TrimPrefix(kept, []byte("0x"))
	if len(kept) == 0 {
		return true
	}
	if bytes.Count(kept, kept[:1]) != len(kept) {
		return false
	}
	return len(kept) >= 4 || strings.IndexByte("x?*#", kept[0]) >= 0
}

// counting is true for digits that count up, as in "0123456789" and
// "01234567890123456789AB", and for "987654321".
func counting(k []byte) bool {
	k = bytes.TrimRight(bytes.TrimPrefix(k, []byte("0x")), "abcdef")
	if len(k) < 6 {
		return false
	}
	up, down := true, true
	for i := range len(k) {
		if k[i] < '0' || k[i] > '9' {
			return false
		}
		if i > 0 {
			up = up && (k[i]-'0') == (k[i-1]-'0'+1)%10
			down = down && (k[i-1]-'0') == (k[i]-'0'+1)%10
		}
	}
	return up || down
}

// ordinal cuts a text at its only digits, one to three of them.
func ordinal(k string) (before string, n int, behind string, ok bool) {
	i := strings.IndexAny(k, digits)
	if i < 0 {
		return "", 0, "", false
	}
	behind = strings.TrimLeft(k[i:], digits)
	n, err := strconv.Atoi(k[i : len(k)-len(behind)])
	return k[:i], n, behind, err == nil && len(k)-len(behind)-i <= 3 && !strings.ContainsAny(behind, digits)
}

const digits = "0123456789"

// IndexedFakes says whether the values of sibling parts differ only by an
// ordinal that counts from 0 or 1, as in SerNum0, SerNum1: such values make
// parts look distinct without identifying them. At least two are needed, and
// the text around the ordinal must have letters and no digits.
func IndexedFakes(values []string) bool {
	var seen []int
	stem := ""
	for _, v := range values {
		before, n, behind, ok := ordinal(Key(v))
		if !ok || !strings.ContainsAny(before+behind, "abcdefghijklmnopqrstuvwxyz") {
			return false
		}
		if s := before + "\x00" + behind; stem == "" {
			stem = s
		} else if s != stem {
			return false
		}
		seen = append(seen, n)
	}
	slices.Sort(seen)
	if len(seen) < 2 || seen[0] > 1 {
		return false
	}
	for i := 1; i < len(seen); i++ {
		if seen[i] != seen[i-1]+1 {
			return false
		}
	}
	return true
}
