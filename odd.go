package assay

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/efi"
)

// odd looks for what no reference has to declare: it is wrong on any machine.
func (a *appraisal) odd() {
	a.variables()
	a.encodings()
}

const (
	efivarsDir    = "sys/firmware/efi/efivars/"
	efiAttributes = 4 // bytes in front of a variable's value (UEFI 2.10, 8.2)
)

// largeVariable is the size beyond which a variable of somebody unknown is told.
// Lists of revoked images, which are the largest that are usual, have half of it.
const largeVariable = 64 << 10

// namespaces are the vendors of variables that may be large: UEFI's own (2.10, 3.3
// and 32.6.1), shim, systemd-boot and Microsoft.
var namespaces = []string{
	efi.GlobalVariable, efi.ImageSecurity, "605dab50-e046-4300-abb6-3dd810dd8b23",
	"4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", "77fa9abd-0359-4d32-bd60-28f4e78f784b",
}

// variables looks for code and for stores of data among the EFI variables: firmware
// that was given a hook keeps there what the hook runs.
func (a *appraisal) variables() {
	names := a.Evidence.Dir(strings.TrimSuffix(efivarsDir, "/"))
	if len(names) == 0 {
		a.skip("code in EFI variables", "no variable is in the evidence")
	}
	for _, n := range names {
		_, guid, ok := efi.SplitName(n)
		raw, err := a.Evidence.Read(efivarsDir + n)
		if !ok || err != nil || len(raw) <= efiAttributes {
			continue
		}
		data := raw[efiAttributes:]
		at, length, what := executable(data)
		large := len(data) >= largeVariable && !slices.Contains(namespaces, guid)
		if length == 0 && !large {
			continue
		}
		f := finding.New(finding.SuspiciousVariable, "efivar:"+n)
		switch {
		case length > 0:
			f.Want, f.Got = "data", fmt.Sprintf("%s at offset %d of %d bytes", what, at, len(data))
			f.Why = "The variable holds executable code. No variable that UEFI, a boot loader or an operating system uses does."
		default:
			f.Severity, f.Confidence = finding.Low, finding.Weak
			at, length = 0, len(data)
			f.Want, f.Got = fmt.Sprintf("less than %d bytes", largeVariable), fmt.Sprintf("%d bytes", len(data))
			f.Why = "The variable is far larger than what is kept in variables, and its vendor is not one that is known to keep such."
		}
		f.Sources = []finding.Source{finding.FirmwareTold}
		f.Basis = []finding.Basis{{Artifact: efivarsDir + n, SHA256: a.Evidence.SHA256(efivarsDir + n), Offset: int64(efiAttributes + at), Length: int64(length)}}
		a.found = append(a.found, f)
	}
}

// prologues are how functions for 64-bit x86 begin, as compilers of firmware write
// them: save a register in the caller's frame, or make room on the stack.
var prologues = [][]byte{
	{0x48, 0x89, 0x5c, 0x24}, {0x48, 0x89, 0x4c, 0x24}, {0x48, 0x83, 0xec}, {0x48, 0x81, 0xec}, {0x48, 0x8b, 0xc4, 0x48}, {0x55, 0x48, 0x89, 0xe5}, {0x55, 0x48, 0x8b, 0xec},
}

// leastPrologues is how many of them make code. Random bytes of the size of a
// variable have none or one.
const leastPrologues = 8

// executable finds an image of code, or code without an image's headers.
func executable(b []byte) (at, length int, what string) {
	if at, n := firmware.Executable(b); n > 0 {
		return at, n, "an executable image"
	}
	n, first := 0, len(b)
	for _, p := range prologues {
		if i := bytes.Index(b, p); i >= 0 {
			n, first = n+bytes.Count(b, p), min(first, i)
		}
	}
	if n >= leastPrologues && bytes.Count(b, []byte{0xe8}) >= leastPrologues {
		return first, len(b) - first, "code for x86"
	}
	return 0, 0, ""
}

// encodings looks for text that does something where it is shown: in a terminal, a
// page or a spreadsheet. Reports write it so that it does not; who put it there meant
// the reader.
func (a *appraisal) encodings() {
	for i := range a.inventory.Parts {
		p := &a.inventory.Parts[i]
		var fields []string
		for k, v := range p.Values {
			if dangerous(v.Text) != "" || v.Raw != v.Text && dangerous(v.Raw) != "" {
				fields = append(fields, k)
			}
		}
		slices.Sort(fields)
		for _, k := range fields {
			v := p.Values[k]
			why := cmp.Or(dangerous(v.Text), dangerous(v.Raw))
			f := finding.New(finding.DangerousEncoding, p.Subject)
			f.Severity, f.Location = finding.High, p.Location
			f.Want, f.Got = k+": a name", fmt.Sprintf("%s: %.120s", k, printable(bom.Value{Text: v.Text, Raw: v.Raw}))
			f.Why = fmt.Sprintf("The %s of the part holds %s. No maker writes that; it is meant for whoever reads a report.", k, why)
			f.Sources, f.Basis = []finding.Source{v.Source}, []finding.Basis{v.Basis}
			a.found = append(a.found, f)
		}
	}
}

// printable is a text with everything but plain letters written out.
func printable(v bom.Value) string {
	text := v.Raw
	if text == "" {
		text = v.Text
	}
	return fmt.Sprintf("%+q", text)
}

// harmless texts are of plain letters alone, as nearly all are, with none that a
// command, a page or a formula begins with. Of the colons that counts which follows
// a "t", as in "javascript:": those of addresses and numbers do not.
func harmless(s string) bool {
	if s != "" && strings.IndexByte("=+-@", s[0]) >= 0 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '<' || c == ':' && i > 0 && (s[i-1] == 't' || s[i-1] == 'T') {
			return false
		}
	}
	return true
}

// dangerous says what in a text does something where it is shown, "" when nothing
// does.
func dangerous(s string) string {
	if harmless(s) {
		return ""
	}
	for i, r := range s {
		switch {
		case r == 0x1b && i+1 < len(s) && strings.IndexByte("[]PX^_", s[i+1]) >= 0, r == 0x9b:
			return "a command for terminals (ECMA-48, 5.4)"
		case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return "a mark that turns the direction of text (Unicode Standard Annex 9)"
		}
	}
	low := strings.ToLower(s)
	for _, tag := range []string{"<script", "<img ", "<img/", "<svg", "<iframe", "<style", "<a href", "<body", "javascript:"} {
		if strings.Contains(low, tag) {
			return "a piece of a page"
		}
	}
	if len(s) < 4 || strings.IndexByte("=+-@", s[0]) < 0 {
		return ""
	}
	name := strings.TrimLeftFunc(s[1:], func(r rune) bool { return r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' })
	if len(s)-1-len(name) >= 2 && name != "" && strings.IndexByte("(|!", name[0]) >= 0 {
		return "a formula for spreadsheets"
	}
	return ""
}
