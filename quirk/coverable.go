package quirk

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// Rule says how far a list may speak about a code.
type Rule struct {
	Code     finding.Code
	Most     finding.Severity // a worse finding of the code is not explained
	Subjects []string         // what a subject begins with, or is; empty is any
	Forms    bool             // values may differ between units where a form says how
	Reason   string           // why a list may explain it, and what bounds the harm
}

// Coverable is the closed list of codes that a list may explain. What is not on it
// is what an implant, another part, another key or other code looks like: HW-*,
// FW-*, EV-*, TP-*, MF-*, FL-*, PO-*, and the rest of MB-*.
func Coverable() []Rule {
	// Parts that only carry the machine's names; none of them computes or reaches
	// memory.
	labels := []string{"system", "baseboard", "chassis", "fru:", "power:"}
	return []Rule{
		{finding.SourcesContradict, finding.High, labels, true, "Firmware and management controller of honest machines take a name from different places. Only the machine's own labels: a device, a module or a TPM that contradicts itself is not explained."},
		{finding.PlaceholderIdentity, finding.Low, nil, true, "A vendor did not program a name. The part is compared by everything else as before."},
		{finding.ImplausibleIdentity, finding.Medium, append([]string{"dimm:"}, labels...), true, "A vendor's serial numbers have a form that is unusual."},
		{finding.IntegrityBroken, finding.Medium, []string{"dimm:"}, true, "A tool or a maker left a wrong checksum. A geometry that claims more than the dies hold is high, and not explained."},
		{finding.MACNotOfMaker, finding.Medium, nil, false, "A maker uses addresses of another one."},
		{finding.PartNumberGrammar, finding.Medium, nil, false, "A maker numbers one part otherwise than its others."},
		{finding.InputMalformed, finding.Low, []string{"artifact:"}, true, "Firmware writes a table that breaks its format; what could be read is compared as before, and what could not is listed."},
		{finding.LogDoesNotReplay, finding.Critical, []string{"pcr:0"}, false, "Firmware measures into PCR 0 what it does not log. Both values are fixed for one version, so that other code gives others; the register stays unexplained, and with it the verdict inconclusive."},
		{finding.UnexpectedEvent, finding.High, []string{"pcr:1/", "pcr:2/", "pcr:3/"}, false, "Firmware measures a constant of its own on some boots. The digest is exact, so that other bytes are not explained; drivers and firmware volumes, which have their own subjects, are not."},
		{finding.ReorderedEvent, finding.Medium, []string{"pcr:"}, false, "Firmware walks its devices in another order; every digest is declared."},
		{finding.EventNotCredible, finding.Medium, []string{"pcr:"}, false, "Firmware digests something else than it logs where the digest is not defined over the data; where it is, the finding is critical, and not explained."},
		{finding.LogStructure, finding.Low, []string{"pcr:", "eventlog/"}, false, "The log is of another kind of firmware. Missing and repeated separators are high, and not explained."},
	}
}

func ruleOf(c finding.Code) (Rule, bool) {
	all := Coverable()
	i := slices.IndexFunc(all, func(r Rule) bool { return r.Code == c })
	if i < 0 {
		return Rule{}, false
	}
	return all[i], true
}

// allows reports whether a subject is one that the rule is about. One that ends in
// ":" or "/" is a beginning.
func (r Rule) allows(subject string) bool {
	if len(r.Subjects) == 0 {
		return true
	}
	return slices.ContainsFunc(r.Subjects, func(s string) bool {
		if strings.HasSuffix(s, ":") || strings.HasSuffix(s, "/") {
			return strings.HasPrefix(subject, s)
		}
		return subject == s
	})
}

// code are subjects under PCR 2 and 3 that stand for code from a device.
func isCode(subject string) bool {
	_, name, _ := strings.Cut(subject, "/")
	return strings.Contains(name, "pci:") || strings.Contains(name, "DRIVER") || strings.Contains(name, "APPLICATION") || strings.Contains(name, "FIRMWARE_BLOB") || strings.Contains(name, "EV_POST_CODE")
}

// form is what may stand for a value that differs between units, as a regular
// expression, or "". None holds a space or a separator of values, so that a form
// never spans two of them.
func form(name string) string {
	switch name {
	case "{hex}":
		return `[0-9a-fA-F]{1,128}`
	case "{number}":
		return `[0-9]{1,20}`
	case "{serial}":
		return `[0-9A-Za-z./-]{1,64}`
	case "{place}":
		return `[^/|=]{1,64}`
	}
	return ""
}

// formsIn finds what stands in braces.
func formsIn(s string) [][]int {
	var out [][]int
	for at := 0; ; {
		open := strings.IndexByte(s[at:], '{')
		if open < 0 {
			return out
		}
		end := strings.IndexByte(s[at+open:], '}')
		if end < 0 {
			return out
		}
		out = append(out, []int{at + open, at + open + end + 1})
		at += open + end + 1
	}
}

// least is what of the values has to be exact: a pattern of forms alone would
// explain whatever there is.
const least = 6

func (x *Explained) check() error {
	r, ok := ruleOf(x.Code)
	if !ok {
		return fmt.Errorf("%s is not among the codes that a quirk may explain", x.Code)
	}
	if x.Subject == "" || max(len(x.Subject), len(x.Want), len(x.Got)) > maxText {
		return errors.New("a subject is needed, and texts are short")
	}
	if !r.allows(x.Subject) || x.Code == finding.UnexpectedEvent && isCode(x.Subject) {
		return fmt.Errorf("%s at %q is nothing that a quirk may explain", x.Code, x.Subject)
	}
	exact := 0
	for _, s := range []string{x.Subject, x.Want, x.Got} {
		for _, m := range formsIn(s) {
			if !r.Forms {
				return fmt.Errorf("%s has exact values, and %q has a form", x.Code, s)
			}
			if form(s[m[0]:m[1]]) == "" {
				return fmt.Errorf("%q: unknown form %s", s, s[m[0]:m[1]])
			}
		}
	}
	for _, s := range []string{x.Want, x.Got} {
		exact += len(s)
		for _, m := range formsIn(s) {
			exact -= m[1] - m[0]
		}
	}
	if exact < least {
		return fmt.Errorf("%s at %q: want and got have less than %d exact characters between them", x.Code, x.Subject, least)
	}
	return nil
}

// fits reports whether a value is one that the text stands for.
func fits(text, value string) bool {
	marks := formsIn(text)
	if len(marks) == 0 {
		return text == value
	}
	var b strings.Builder
	b.WriteString("^")
	at := 0
	for _, m := range marks {
		b.WriteString(regexp.QuoteMeta(text[at:m[0]]))
		b.WriteString(form(text[m[0]:m[1]]))
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(text[at:]) + "$")
	re, err := regexp.Compile(b.String())
	return err == nil && re.MatchString(value)
}

// check refuses ends that cannot be compared: labels of different series have no
// order.
func (v Versions) check() error {
	if series(v.From) != series(v.Through) {
		return fmt.Errorf("firmware %q and %q are of different series", v.From, v.Through)
	}
	if firmware.OlderThan(v.Through, v.From) {
		return fmt.Errorf("firmware %q is older than %q", v.Through, v.From)
	}
	return nil
}

func (v Versions) holds(version string) bool {
	return version != "" && series(version) == series(v.From) && !firmware.OlderThan(version, v.From) && !firmware.OlderThan(v.Through, version)
}

// series is what stands before the first number of a version.
func series(version string) string {
	return version[:max(0, strings.IndexAny(version+"0", "0123456789"))]
}
