package procure

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/manifest"
)

// signature tells what is known of who signed.
func (c *checker) signature() {
	switch {
	case !c.Envelope && c.Profile.Signed:
		c.gap(Missing, "signer", "manifest", "", "a draft", "nobody has signed the manifest", "the signed manifest")
	case c.Signed == nil:
		c.notChecked("the signature: no roots were given (--trust)")
	case c.Signed.Status != manifest.StatusTrusted:
		for _, f := range c.Signed.Findings {
			c.gap(Wrong, "signer", "manifest", "", f.Got, string(f.Code)+" "+f.Why, "a manifest signed by the vendor's key")
		}
	default:
		for _, n := range c.Signed.NotChecked {
			c.notChecked("%s: %s", n.What, n.Reason)
		}
	}
}

// validity checks from when to when the manifest holds.
func (c *checker) validity() {
	m, day := c.Manifest, func(t time.Time) string { return t.UTC().Format(time.DateOnly) }
	switch {
	case m.IssuedAt.After(c.Now):
		c.gap(Wrong, "validity", "manifest", "issuedAt", day(m.IssuedAt), "the manifest is of the future", "a manifest with the right time")
	case m.NotAfter.IsZero():
		c.gap(Missing, "validity", "manifest", "notAfter", "", "the manifest never expires, so that an old one can be shown forever", "an end of its validity")
	case m.NotAfter.Before(c.Now):
		c.gap(Wrong, "validity", "manifest", "notAfter", day(m.NotAfter), "the manifest has expired", "a current manifest")
	case c.Profile.MaxValidity > 0 && m.NotAfter.Sub(m.IssuedAt) > time.Duration(c.Profile.MaxValidity)*24*time.Hour:
		c.gap(Missing, "validity", "manifest", "notAfter", day(m.NotAfter), fmt.Sprintf("the profile allows %d days", c.Profile.MaxValidity), "a manifest with a shorter validity")
	}
}

// statement adds what is wrong with a manifest whoever signed it: text that
// deceives, rules that fit nearly anything, contradictions.
func (c *checker) statement() {
	for _, f := range manifest.Lint(c.Manifest) {
		_, on, _ := strings.Cut(f.Subject, "/")
		c.gap(Wrong, "statement", on, "", f.Got, string(f.Code)+" "+f.Why, f.Want)
	}
}

// duplicates finds instances that stand twice.
func (c *checker) duplicates() {
	first := map[string]string{}
	for _, r := range c.Manifest.Components {
		serial := ids.Key(r.Identity.Serial)
		if _, fake := ids.Placeholder(r.Identity.Serial); serial == "" || fake {
			continue
		}
		// The board's serial number stands in the FRU and in the board's line.
		key := string(r.Class) + " " + ids.MakerKey(r.Identity.Maker) + " " + ids.Key(r.Identity.Model+r.Identity.PartNumber) + " " + serial
		if macForm.MatchString(serial) {
			key = serial
		}
		if other, ok := first[key]; ok {
			c.gap(Wrong, "duplicate", subject(r), "serial", r.Identity.Serial, "component:"+other+" has the same", "the serial number of each part")
			continue
		}
		first[key] = r.ID
	}
}

// designators holds quantities against the places on the board, for lines that
// have more than one.
func (c *checker) designators() {
	at := map[string]string{}
	for _, r := range c.Manifest.Components {
		if r.Verifiability != "physical-only" || r.Location.Designator == "" {
			continue
		}
		all, err := bom.Designators(r.Location.Designator)
		if err != nil {
			c.gap(Wrong, "quantity", subject(r), "location/designator", r.Location.Designator, err.Error(), "designators separated by commas, ranges as C1-C5")
			continue
		}
		if n := max(1, r.Quantity); n != len(all) {
			c.gap(Wrong, "quantity", subject(r), "quantity", strconv.Itoa(n), fmt.Sprintf("the line has %d designators", len(all)), "the number of parts that are fitted")
		}
		for _, d := range all {
			if other, ok := at[d]; ok {
				c.gap(Wrong, "quantity", subject(r), "location/designator", d, "component:"+other+" is at the same place", "one line for each place")
				break
			}
			at[d] = r.ID
		}
	}
}

// sources looks for makers on the profile's lists, by name and by the numbers
// that parts answer with.
func (c *checker) sources() {
	for _, id := range c.Profile.Lists {
		i := slices.IndexFunc(c.Lists, func(l List) bool { return l.ID == id })
		if i < 0 {
			c.notChecked("the list %s of prohibited sources: it was not given", id)
			continue
		}
		l := c.Lists[i]
		c.out.Lists = append(c.out.Lists, ListUse{l.ID, l.AsOf})
		if asOf, err := time.Parse(time.DateOnly, l.AsOf); err == nil && c.Now.Sub(asOf) > 365*24*time.Hour {
			c.gap(Note, "prohibited", "list:"+l.ID, "", l.AsOf, "the list is older than a year", "")
		}
		for _, r := range c.Manifest.Components {
			c.prohibited(l, subject(r), "", r.Identity)
			for i, a := range r.Alternates {
				c.prohibited(l, subject(r), fmt.Sprintf("alternates[%d]/", i), a)
			}
		}
	}
}

func (c *checker) prohibited(l List, on, at string, id bom.Identity) {
	for _, s := range l.Entries {
		for _, n := range id.MakerIDs {
			if slices.Contains(s.IDs, strings.ToLower(n)) {
				c.gap(Wrong, "prohibited", on, at+"makerIds", n, fmt.Sprintf("%s is on the list %s of %s", s.Name, l.ID, l.AsOf), "a part of another source")
				return
			}
		}
		for _, name := range append([]string{s.Name}, s.Aliases...) {
			for _, f := range [][2]string{{"maker", id.Maker}, {"brand", id.Brand}} {
				if v := f[1]; v != "" && (ids.SameMaker(v, name) || containsWord(v, name)) {
					c.gap(Wrong, "prohibited", on, at+f[0], v, fmt.Sprintf("%s is on the list %s of %s", s.Name, l.ID, l.AsOf), "a part of another source")
					return
				}
			}
		}
	}
}

// containsWord reports whether a name has another one as whole words in it.
func containsWord(s, name string) bool {
	return strings.Contains(" "+strings.Join(strings.FieldsFunc(strings.ToLower(s), notWord), " ")+" ", " "+strings.Join(strings.FieldsFunc(strings.ToLower(name), notWord), " ")+" ")
}

func notWord(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 0x7f) }

// lifecycle looks parts up in what their makers say of their future.
func (c *checker) lifecycle() {
	if c.Lifecycle == nil {
		c.notChecked("the life of parts: no table was given (--lifecycle)")
		return
	}
	table := map[string]Lifecycle{}
	for _, l := range c.Lifecycle {
		table[ids.MakerKey(l.Maker)+" "+ids.Key(l.PartNumber)] = l
	}
	for _, r := range c.Manifest.Components {
		l, ok := table[ids.MakerKey(r.Identity.Maker)+" "+ids.Key(r.Identity.PartNumber)]
		if !ok || r.Identity.PartNumber == "" || l.Status == "active" {
			continue
		}
		w := Note
		if l.Status == "eol" || l.Status == "obsolete" {
			w = Missing
		}
		c.gap(w, "lifecycle", subject(r), "partNumber", r.Identity.PartNumber, strings.TrimSpace(l.Status+" "+l.Date), "an alternate, or how long the part can be had")
	}
}

// firmware checks that the images which the profile names have reference values.
func (c *checker) firmware() {
	for _, name := range c.Profile.Firmware {
		found := false
		for _, r := range c.Manifest.Firmware {
			found = found || r.Name == name && (r.SHA256 != "" || len(r.Leaves) > 0 || len(r.Digests) > 0)
		}
		if !found {
			c.gap(Missing, "firmware", "firmware:"+name, "", "", "the image has no reference values", "the image or the update as shipped, or digests of it")
		}
	}
	for i, r := range c.Manifest.Firmware {
		on := fmt.Sprintf("firmware:%s[%d]", r.Name, i)
		if r.Version == "" {
			c.gap(Missing, "firmware", on, "version", "", "without a version nobody can tell which update these values are of", "the version that the machine reports")
		}
		if r.Partial {
			c.gap(Note, "firmware", on, "", "partial", "the reference does not cover the whole flash", "an image of the whole flash")
		}
	}
}
