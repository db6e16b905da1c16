// Package x500 reads distinguished names and compares them as RFC 5280, 7.1,
// says: by type and by folded text, not by bytes. Issuers of certificates write
// one name with several string types, and an issuer must be found all the same.
//
// Two equal names are one name. They do not prove one issuer: only a signature
// does.
package x500

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// ErrMalformed is wrapped by every refusal.
var ErrMalformed = errors.New("malformed name")

// The bounds of a name; real ones have ten parts of one value.
const (
	maxRDNs   = 64
	maxValues = 16
	maxBytes  = 8 << 10
)

// Value is one attribute of a name.
type Value struct {
	Type string // dotted
	Text string // the value as UTF-8, or "#" and its DER form when it is no string
	Tag  byte   // universal tag of the value
}

// Name is a sequence of sets of values, in the order of the encoding.
type Name [][]Value

// Parse reads the DER form of a name.
func Parse(der []byte) (Name, error) {
	if len(der) > maxBytes {
		return nil, fmt.Errorf("%d bytes: %w", len(der), ErrMalformed)
	}
	var seq asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &seq); err != nil || len(rest) > 0 || seq.Tag != asn1.TagSequence || !seq.IsCompound {
		return nil, fmt.Errorf("no sequence: %w", ErrMalformed)
	}
	var out Name
	for rest := seq.Bytes; len(rest) > 0; {
		var set asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &set); err != nil || set.Tag != asn1.TagSet || !set.IsCompound {
			return nil, fmt.Errorf("part %d is no set: %w", len(out), ErrMalformed)
		}
		if len(out) == maxRDNs {
			return nil, fmt.Errorf("more than %d parts: %w", maxRDNs, ErrMalformed)
		}
		rdn, err := parseSet(set.Bytes)
		if err != nil {
			return nil, fmt.Errorf("part %d: %w", len(out), err)
		}
		out = append(out, rdn)
	}
	return out, nil
}

func parseSet(b []byte) ([]Value, error) {
	var out []Value
	for len(b) > 0 {
		var av struct {
			Type  asn1.ObjectIdentifier
			Value asn1.RawValue
		}
		var err error
		if b, err = asn1.Unmarshal(b, &av); err != nil {
			return nil, fmt.Errorf("value %d: %w", len(out), ErrMalformed)
		}
		if len(out) == maxValues {
			return nil, fmt.Errorf("more than %d values: %w", maxValues, ErrMalformed)
		}
		out = append(out, Value{Type: av.Type.String(), Text: Text(av.Value.FullBytes), Tag: byte(av.Value.Tag)})
	}
	return out, nil
}

// Text turns a character string of any of the types that names use into UTF-8.
// What is no such string becomes "#" and its bytes, so that it equals only
// itself.
func Text(der []byte) string {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(der, &v)
	if err != nil || len(rest) > 0 || v.Class != asn1.ClassUniversal || v.IsCompound {
		return "#" + hex.EncodeToString(der)
	}
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString, 26:
		if utf8.Valid(v.Bytes) {
			return string(v.Bytes)
		}
		return latin1(v.Bytes)
	case asn1.TagT61String:
		return latin1(v.Bytes)
	case asn1.TagBMPString:
		if len(v.Bytes)%2 == 0 {
			u := make([]uint16, len(v.Bytes)/2)
			for i := range u {
				u[i] = uint16(v.Bytes[2*i])<<8 | uint16(v.Bytes[2*i+1])
			}
			return string(utf16.Decode(u))
		}
	}
	return "#" + hex.EncodeToString(der)
}

// latin1 reads what most writers put into a TeletexString.
func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// Fold is the form in which texts are compared (RFC 4518 with the case folded):
// compatibility forms and case are one, control characters count as nothing, and
// runs of white space as one space that is cut off at both ends.
func Fold(s string) string {
	s = norm.NFKC.String(sharpS.Replace(strings.Map(foldRune, norm.NFKD.String(s))))
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r) || r == 0xad || r == 0x200b || r == 0xfeff:
			return -1
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// sharpS is the one letter whose case folds into two once texts are decomposed:
// package golang.org/x/text/cases knows the others, and takes more room than the
// bootable scanner has.
var sharpS = strings.NewReplacer("\u00df", "ss")

// foldRune is one rune for all that differ in case alone (Unicode CaseFolding.txt,
// status C and S).
func foldRune(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return unicode.ToLower(least)
}

// Equal reports whether two DER names are one name. Bytes that are no name
// equal only themselves.
func Equal(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	n, err := Parse(a)
	if err != nil {
		return false
	}
	o, err := Parse(b)
	return err == nil && n.Equal(o)
}

// Folded is a text that two DER names share just when they are Equal, for whoever
// looks one up among many.
func Folded(der []byte) string {
	n, err := Parse(der)
	if err != nil {
		return "\x00" + string(der)
	}
	var b strings.Builder
	for _, set := range n.folded() {
		for _, v := range set {
			b.WriteString(strconv.Itoa(len(v)))
			b.WriteByte(':')
			b.WriteString(v)
		}
		b.WriteByte(';')
	}
	return b.String()
}

// Equal reports whether two names are one.
func (n Name) Equal(o Name) bool { return slices.EqualFunc(n.folded(), o.folded(), slices.Equal) }

// SameValues reports whether two DER names hold the same values of the same
// types, in whatever order and grouping. Issuers that copy a name take apart what
// was one set; the names are not equal then, and yet nobody else is meant.
func SameValues(a, b []byte) bool {
	n, errN := Parse(a)
	o, errO := Parse(b)
	if errN != nil || errO != nil {
		return false
	}
	x, y := slices.Concat(n.folded()...), slices.Concat(o.folded()...)
	slices.Sort(x)
	slices.Sort(y)
	return slices.Equal(x, y)
}

// SameTexts is SameValues for two names as String writes them.
func SameTexts(a, b string) bool {
	x, y := values(a), values(b)
	return slices.Equal(x, y)
}

// values takes the text of a name apart, and sorts what it finds.
func values(s string) []string {
	var out []string
	start := 0
	for i := 0; i <= len(s); i++ {
		switch {
		case i < len(s) && s[i] == '\\':
			i++
		case i >= len(s) || s[i] == ',' || s[i] == '+':
			out = append(out, Fold(s[start:min(i, len(s))]))
			start = i + 1
		}
	}
	slices.Sort(out)
	return out
}

// folded is the name with the values of every set in one order.
func (n Name) folded() [][]string {
	out := make([][]string, len(n))
	for i, set := range n {
		for _, v := range set {
			out[i] = append(out[i], v.Type+"="+Fold(v.Text))
		}
		slices.Sort(out[i])
	}
	return out
}

// shortTypes are the types that RFC 4514, 3, abbreviates, and a few that every
// tool does.
var shortTypes = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID", "2.5.4.5": "SERIALNUMBER", "2.5.4.12": "T",
	"1.2.840.113549.1.9.1": "EMAILADDRESS",
}

var escape = strings.NewReplacer(`\`, `\\`, `,`, `\,`, `+`, `\+`, `"`, `\"`, `<`, `\<`, `>`, `\>`, `;`, `\;`, "\x00", `\00`)

// String is the name as RFC 4514 writes it, the last part first. Equal names
// have texts that are equal once folded.
func (n Name) String() string {
	parts := make([]string, 0, len(n))
	for _, set := range n {
		var vs []string
		for _, v := range set {
			t := shortTypes[v.Type]
			if t == "" {
				t = v.Type
			}
			text := printable(escape.Replace(strings.Join(strings.Fields(v.Text), " "))) // no space that the comparison ignores
			if strings.HasPrefix(text, "#") && !isString(v.Tag) {
				vs = append(vs, t+"="+text)
				continue
			}
			if strings.HasPrefix(text, "#") {
				text = `\` + text
			}
			vs = append(vs, t+"="+text)
		}
		slices.SortFunc(vs, func(a, b string) int { return strings.Compare(Fold(a), Fold(b)) })
		parts = append(parts, strings.Join(vs, "+"))
	}
	slices.Reverse(parts)
	return strings.Join(parts, ",")
}

// printable writes control characters as RFC 4514, 2.4, may: by their bytes.
func printable(s string) string {
	if strings.IndexFunc(s, unicode.IsControl) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !unicode.IsControl(r) {
			b.WriteRune(r)
			continue
		}
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, `\%02x`, c)
		}
	}
	return b.String()
}

func isString(tag byte) bool {
	switch int(tag) {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String, asn1.TagNumericString, 26, asn1.TagT61String, asn1.TagBMPString:
		return true
	}
	return false
}

// String is the text of a DER name, or its bytes when it is none.
func String(der []byte) string {
	n, err := Parse(der)
	if err != nil {
		return "#" + hex.EncodeToString(der)
	}
	return n.String()
}

// First returns the first value of a type, "" for none.
func (n Name) First(kind string) string {
	for _, set := range n {
		for _, v := range set {
			if v.Type == kind {
				return v.Text
			}
		}
	}
	return ""
}

// Organizations lists the values of organizationName.
func (n Name) Organizations() []string {
	var out []string
	for _, set := range n {
		for _, v := range set {
			if v.Type == "2.5.4.10" {
				out = append(out, v.Text)
			}
		}
	}
	return out
}
