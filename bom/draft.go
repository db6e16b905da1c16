package bom

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// draftClosed lists the classes that a draft declares complete when the
// evidence shows the whole class.
var draftClosed = []Class{System, Baseboard, Chassis, Processor, Memory, PCI, USB, Storage, Network, I2C, Flash, FRU, IPMB, LAN, BMC, TPM, ACPI, Firmware}

// draftedFacts lists the facts that a draft declares; others are told in an
// inspection but may change without meaning.
var draftedFacts = []string{
	attrHost, attrPackage, attrSizeMiB, attrLinkWidth, attrLinkSpeed, attrCapabilities, attrOptionROM, attrDigest, attrLength,
	attrCores, attrSubParts, attrSlotPower, attrClassCode, attrUndriven, attrInterfaces, attrOUI, attrParameters,
}

// Draft makes the lines and closures of a manifest from the inventory of a
// known-good unit. With instances, serial numbers are declared too: such a
// manifest is for this one machine.
func Draft(inv *Inventory, instances bool) ([]Reference, map[Class]Closure) {
	var refs []Reference
	mute := map[Class]bool{}
	for _, p := range inv.Parts {
		if p.Volatile == VirtualFunction || p.Volatile == BootMedium {
			continue
		}
		r := Reference{Class: p.Class, Subject: p.Subject, Location: p.Location, Identity: p.Identity, Attributes: map[string]string{}}
		for _, k := range draftedFacts {
			if v := p.Attributes[k]; v != "" {
				r.Attributes[k] = v
			}
		}
		if instances {
			for _, k := range []string{attrProductSerial, attrChassisSerial, attrPPIN} {
				if v := p.Attributes[k]; v != "" {
					r.Attributes[k] = v
				}
			}
		} else {
			r.Identity.Serial = ""
			memoryOnly(r.Attributes)
		}
		if modelKey(p.Class, &r.Identity) == "" && r.Identity.Serial == "" && place(p.Class, &p.Location) == "" {
			continue // nothing about this part could ever be recognised
		}
		if len(r.Attributes) == 0 && saysNothing(r.Class, &r.Identity) {
			mute[p.Class] = true
			continue
		}
		r.Optional = p.Volatile == Removable || p.Volatile == BMCVirtual
		r.Security = p.Class == TPM || p.Class == BMC
		refs = append(refs, r)
	}
	numberLines(refs)
	closures := map[Class]Closure{}
	for _, c := range draftClosed {
		if o := inv.Classes[c]; o.Observed {
			closures[c] = Open
			if o.Whole && !mute[c] {
				closures[c] = Closed
			}
		}
	}
	return refs, closures
}

// memoryOnly leaves of the chips on a module the memory itself: makers of modules
// take registering clock drivers and power controllers from several sources under
// one part number.
func memoryOnly(facts map[string]string) {
	for _, c := range strings.Split(facts[attrSubParts], ", ") {
		if maker, ok := strings.CutPrefix(c, "dram="); ok {
			facts[attrDRAM] = maker
		}
	}
	delete(facts, attrSubParts)
}

// saysNothing reports a system, board or chassis whose strings were never
// programmed. A line of it would fit any other one and so accept what it seems to
// exclude (MF-014); its class is left open instead. Every machine has one of each,
// so that one that says nothing is no unexpected part either.
func saysNothing(c Class, id *Identity) bool {
	return (c == System || c == Baseboard || c == Chassis) && len(id.MakerIDs) == 0 && id.Maker == "" && id.Brand == "" && id.Model == "" &&
		id.PartNumber == "" && id.Revision == "" && id.Serial == "" && id.Firmware == ""
}

// numberLines gives each line an id that a person can find in the manifest.
func numberLines(refs []Reference) {
	n := map[Class]int{}
	for i := range refs {
		n[refs[i].Class]++
		refs[i].ID = fmt.Sprintf("%s-%d", refs[i].Class, n[refs[i].Class])
	}
}

// Variation is one thing that differed between the units of a draft.
type Variation struct {
	Subject string   `json:"subject"`
	Field   string   `json:"field"`
	Values  []string `json:"values"`
}

// Merge makes the lines that all units satisfy: what varies between units is
// left out or declared as alternate, and said. The units are drafts of the
// same model, in any order.
func Merge(units [][]Reference) ([]Reference, []Variation) {
	if len(units) == 0 {
		return nil, nil
	}
	var out []Reference
	var varied []Variation
	for _, first := range units[0] {
		same := []Reference{first}
		for _, other := range units[1:] {
			if i := slices.IndexFunc(other, func(r Reference) bool { return r.Class == first.Class && r.Subject == first.Subject }); i >= 0 {
				same = append(same, other[i])
			}
		}
		line, v := mergeLine(same, len(units))
		out, varied = append(out, line), append(varied, v...)
	}
	for i, unit := range units[1:] {
		for _, r := range unit {
			if slices.ContainsFunc(out, func(o Reference) bool { return o.Class == r.Class && o.Subject == r.Subject }) {
				continue
			}
			r.Optional = true
			out = append(out, r)
			varied = append(varied, Variation{Subject: r.Subject, Field: "presence", Values: []string{fmt.Sprintf("only in unit %d and others", i+2)}})
		}
	}
	numberLines(out)
	return out, varied
}

// mergeLine merges the lines of one subject.
func mergeLine(same []Reference, units int) (Reference, []Variation) {
	line := same[0]
	var varied []Variation
	vary := func(field string, values []string) {
		slices.Sort(values)
		varied = append(varied, Variation{Subject: line.Subject, Field: field, Values: slices.Compact(values)})
	}
	if len(same) < units {
		line.Optional = true
		vary("presence", []string{fmt.Sprintf("in %d of %d units", len(same), units)})
	}
	var models []string
	for _, r := range same[1:] {
		if modelKey(r.Class, &r.Identity) != modelKey(line.Class, &line.Identity) {
			models = append(models, Describe(r.Identity))
			line.Alternates = appendAlternate(line.Alternates, r.Identity)
		}
		if (r.Class == Network || r.Class == LAN) && r.Identity.Name != line.Identity.Name {
			line.Identity.MakerIDs = nil // ports with addresses of several organisations
		}
	}
	if len(models) > 0 {
		vary("model", append(models, Describe(line.Identity)))
	}
	for _, f := range []struct {
		name string
		at   func(*Identity) *string
	}{
		{"serial", func(i *Identity) *string { return &i.Serial }},
		{"revision", func(i *Identity) *string { return &i.Revision }},
		{"firmware", func(i *Identity) *string { return &i.Firmware }},
	} {
		if values := distinct(same, func(r *Reference) string { return *f.at(&r.Identity) }); len(values) > 1 {
			*f.at(&line.Identity) = ""
			vary(f.name, values)
		}
	}
	line.Attributes = maps.Clone(line.Attributes)
	for _, k := range slices.Sorted(maps.Keys(line.Attributes)) {
		if values := distinct(same, func(r *Reference) string { return r.Attributes[k] }); len(values) > 1 {
			delete(line.Attributes, k)
			vary(k, values)
		}
	}
	return line, varied
}

func appendAlternate(alts []Identity, id Identity) []Identity {
	id.Serial = ""
	if slices.ContainsFunc(alts, func(a Identity) bool { return Describe(a) == Describe(id) }) {
		return alts
	}
	return append(alts, id)
}

func distinct(rs []Reference, at func(*Reference) string) []string {
	var out []string
	for i := range rs {
		if v := at(&rs[i]); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// String tells a variation in one line.
func (v Variation) String() string {
	return fmt.Sprintf("%s: %s varies: %s", v.Subject, v.Field, strings.Join(v.Values, " | "))
}
