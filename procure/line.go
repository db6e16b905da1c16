package procure

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/internal/ids"
)

// completeness holds the classes against the profile.
func (c *checker) completeness() {
	lines := map[bom.Class]int{}
	for _, r := range c.Manifest.Components {
		lines[r.Class]++
	}
	for _, class := range c.Profile.Classes {
		on := "class:" + string(class)
		switch closure, declared := c.Manifest.Classes[class]; {
		case closure == bom.NoneThere:
		case lines[class] == 0:
			c.gap(Missing, "completeness", on, "", "no line", "the profile "+c.Profile.Name+" expects parts of this class", "a line for each part, or the class as absent")
		case !declared || closure != bom.Closed:
			c.gap(Missing, "completeness", on, "", "not closed", "further parts of this class would not be noticed", "all parts, and the class as closed")
		}
	}
	if c.Profile.Boot && len(c.Manifest.Boot) == 0 {
		c.gap(Missing, "completeness", "boot", "", "no reference", "what the machine measures while it boots cannot be compared", "reference values of PCR 0 to 7, as events")
	}
}

// fieldValue returns a field of a line by the name that profiles use.
func fieldValue(r bom.Reference, name string) (string, bool) {
	switch name {
	case "maker":
		return r.Identity.Maker, true
	case "makerIds":
		return strings.Join(r.Identity.MakerIDs, ","), true
	case "model":
		return r.Identity.Model, true
	case "partNumber":
		return r.Identity.PartNumber, true
	case "revision":
		return r.Identity.Revision, true
	case "serial":
		return r.Identity.Serial, true
	case "firmware":
		return r.Identity.Firmware, true
	case "slot":
		return r.Location.Slot, true
	case "path":
		return r.Location.Path, true
	case "designator":
		return r.Location.Designator, true
	}
	if a, ok := strings.CutPrefix(name, "attribute:"); ok && a != "" {
		return r.Attributes[a], true
	}
	return "", false
}

// line checks one declared line.
func (c *checker) line(r bom.Reference) {
	on := subject(r)
	if r.Verifiability == "physical-only" {
		c.out.PhysicalOnly++
	}
	for _, f := range c.Profile.Fields[r.Class] {
		if !slices.ContainsFunc(strings.Split(f, "|"), func(one string) bool { v, _ := fieldValue(r, one); return v != "" }) {
			c.gap(Missing, "completeness", on, f, "", fmt.Sprintf("a part of class %s should say this", r.Class), "the "+strings.ReplaceAll(f, "|", " or ")+" of the part")
		}
	}
	c.identity(on, "", r.Identity)
	for i, a := range r.Alternates {
		c.alternate(r, i, a)
	}
	if slices.Contains(c.Profile.Origin, r.Class) && r.Verifiability != "physical-only" {
		c.origin(on, r.Origin)
	}
	for stage, country := range r.Origin {
		if !countryCode.MatchString(country) {
			c.gap(Wrong, "origin", on, "origin/"+stage, country, "a country is two capital letters (ISO 3166-1)", "the country's code")
		}
	}
}

var countryCode = regexp.MustCompile(`^[A-Z]{2}$`)

func (c *checker) origin(on string, origin map[string]string) {
	for _, stage := range []string{"made", "assembled"} {
		if origin[stage] == "" {
			c.gap(Missing, "origin", on, "origin/"+stage, "", "the profile asks for the country of this stage", "the country in which the part was "+stage)
		}
	}
}

// identity checks that what a part is called can be a name.
func (c *checker) identity(on, at string, id bom.Identity) {
	for field, v := range map[string]string{
		"maker": id.Maker, "brand": id.Brand, "model": id.Model, "partNumber": id.PartNumber, "revision": id.Revision, "serial": id.Serial, "firmware": id.Firmware,
	} {
		if why, ok := ids.Placeholder(v); ok && v != "" {
			c.gap(Wrong, "placeholder", on, at+field, v, "this stands where a value was never written: "+why, "the real "+field)
		}
	}
	c.partNumber(on, at, id.PartNumber)
	c.maker(on, at, id)
	if mac := strings.ReplaceAll(strings.ToLower(id.Serial), "-", ":"); macForm.MatchString(mac) {
		var first byte
		_, _ = fmt.Sscanf(mac[:2], "%02x", &first)
		switch {
		case first&1 != 0:
			c.gap(Wrong, "duplicate", on, at+"serial", id.Serial, "a group address belongs to no port", "the permanent address")
		case first&2 != 0:
			c.gap(Wrong, "placeholder", on, at+"serial", id.Serial, "a locally administered address can be anybody's", "the permanent address")
		}
	}
}

var macForm = regexp.MustCompile(`^([0-9a-f]{2}:){5}[0-9a-f]{2}$`)

// distributors are how sellers number parts: the same part has another number at
// the next one.
var distributors = []struct {
	form   *regexp.Regexp
	seller string
}{
	{regexp.MustCompile(`(?i)-(?:CT-|TR-|DKR-|6-|1-|2-)?ND$`), "Digi-Key"},
	{regexp.MustCompile(`^C\d{4,8}$`), "LCSC"},
	{regexp.MustCompile(`^\d{2,3}-[A-Z][A-Z0-9]{2,}[-/A-Z0-9.]*$`), "Mouser"},
	{regexp.MustCompile(`(?i)^\d{7}(?:RL|DKR)?$`), "Farnell or RS"},
}

// packing are suffixes that say how parts are delivered, not which they are.
var packing = regexp.MustCompile(`(?i)(?:[-/](?:TR|T/R|REEL\d*|TRAY|TUBE|CUT|BULK)|#TR(?:PBF|M)?|,\d{3})$`)

func (c *checker) partNumber(on, at, pn string) {
	if pn == "" {
		return
	}
	for _, d := range distributors {
		if d.form.MatchString(pn) {
			w, why := Wrong, "this is the number of a seller ("+d.seller+"), not of the maker"
			if d.seller != "Digi-Key" {
				w, why = Note, "this may be the number of a seller ("+d.seller+")"
			}
			c.gap(w, "part-number", on, at+"partNumber", pn, why, "the manufacturer's part number")
			return
		}
	}
	if m := packing.FindString(pn); m != "" {
		c.gap(Note, "part-number", on, at+"partNumber", pn, fmt.Sprintf("%q says how the part was packed", m), "the part number without it")
	}
}

// maker holds the registered numbers of a part against the name of its maker.
func (c *checker) maker(on, at string, id bom.Identity) {
	for _, n := range id.MakerIDs {
		kind, _, _ := strings.Cut(n, ":")
		registered, known := registeredName(n)
		switch {
		case !known:
			c.gap(Wrong, "maker", on, at+"makerIds", n, "no registry has this number", "the registered number of the maker")
		case registered == "" || id.Maker == "" || ids.SameMaker(registered, id.Maker) || id.Brand != "" && ids.SameMaker(registered, id.Brand):
		case kind == "jedec" || kind == "pci":
			c.gap(Wrong, "maker", on, at+"maker", id.Maker, fmt.Sprintf("%s belongs to %s", n, registered), "the maker of the silicon, and the brand beside it when that is another")
		default:
			c.gap(Note, "maker", on, at+"maker", id.Maker, fmt.Sprintf("%s belongs to %s", n, registered), "")
		}
	}
}

// registeredName returns who a number belongs to; known is false for numbers
// that a registry should have and has not.
func registeredName(n string) (name string, known bool) {
	kind, v, _ := strings.Cut(n, ":")
	var number uint16
	switch kind {
	case "jedec":
		j, ok := ids.ParseJEDEC(n)
		return j.Name(), ok
	case "pci", "usb":
		if _, err := fmt.Sscanf(v, "%04x", &number); err != nil || len(v) != 4 {
			return "", false
		}
		if kind == "usb" {
			return ids.USBVendor(number), true
		}
		return ids.PCIVendor(number), true
	case "oui":
		return ids.OUI(v + "000000"), true
	}
	return "", true
}

// alternate checks that an approved alternate can be told from the part and from
// anything else.
func (c *checker) alternate(r bom.Reference, i int, a bom.Identity) {
	on, at := subject(r), fmt.Sprintf("alternates[%d]/", i)
	if a.Maker+strings.Join(a.MakerIDs, "") == "" || a.Model+a.PartNumber == "" {
		c.gap(Missing, "alternates", on, at, "", "an alternate without a maker and a model or part number of its own is any part", "the identity of the alternate")
	}
	if ids.Key(a.PartNumber+a.Model) == ids.Key(r.Identity.PartNumber+r.Identity.Model) && ids.SameMaker(a.Maker, r.Identity.Maker) {
		c.gap(Note, "alternates", on, at, a.PartNumber+a.Model, "the alternate is the part itself", "")
	}
	c.identity(on, at, a)
}
