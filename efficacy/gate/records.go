package gate

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// identifying lists, by SMBIOS type, the printed lines that say what a part is
// (DSP0134, 7). Where it sits is left out: a part that moved is the same part.
var identifying = map[int]struct {
	class bom.Class
	lines []string
}{
	0:  {bom.Firmware, []string{"Vendor", "Version"}},
	1:  {bom.System, []string{"Manufacturer", "Product Name", "Version"}},
	2:  {bom.Baseboard, []string{"Manufacturer", "Product Name", "Version"}},
	3:  {bom.Chassis, []string{"Manufacturer", "Version", "SKU Number"}},
	4:  {bom.Processor, []string{"Manufacturer", "Version", "Core Count"}},
	17: {bom.Memory, []string{"Manufacturer", "Part Number", "Size"}},
	39: {bom.Power, []string{"Name", "Manufacturer", "Model Part Number", "Revision"}},
}

// emptyPlace says, by line, which printed values mean that nothing is there.
var emptyPlace = map[string][]string{"Size": {"no module installed", "not installed"}, "Status": {"unpopulated", "not present"}}

// printed is what a text says, as words: the records that identify parts, by
// class, and everything else only as text.
type printed struct {
	text    string
	records map[bom.Class]map[string]int
}

var (
	head   = regexp.MustCompile(`^\s*Handle 0x[0-9A-Fa-f]+, DMI type (\d+),`)
	spaces = regexp.MustCompile(`\s+`)
)

func fold(s string) string {
	return spaces.ReplaceAllString(strings.ToLower(strings.TrimSpace(s)), " ")
}

func readPrinted(text string) printed {
	p := printed{text: fold(text), records: map[bom.Class]map[string]int{}}
	kind, values := -1, map[string]string{}
	for line := range strings.Lines(text) {
		if m := head.FindStringSubmatch(line); m != nil {
			p.add(kind, values)
			kind, _ = strconv.Atoi(m[1])
			values = map[string]string{}
			continue
		}
		k, v, ok := strings.Cut(strings.TrimSpace(line), ":")
		if _, have := values[k]; ok && !have {
			values[k] = fold(v)
		}
	}
	p.add(kind, values)
	return p
}

func (p *printed) add(kind int, values map[string]string) {
	r, ok := identifying[kind]
	if !ok || len(values) == 0 {
		return
	}
	for line, empty := range emptyPlace {
		for _, e := range empty {
			if strings.Contains(values[line], e) {
				return
			}
		}
	}
	var key []string
	for _, l := range r.lines {
		key = append(key, values[l])
	}
	if p.records[r.class] == nil {
		p.records[r.class] = map[string]int{}
	}
	p.records[r.class][strings.Join(key, "|")]++
}

// oracle says of a finding whether two printed texts account for it. One record
// that only one of them has accounts for one part that was found.
type oracle struct {
	unit       *Dump
	lost, more map[bom.Class]int // records that only the reference has, and only the unit
	told       map[string]bool   // parts that were accounted for
}

func newOracle(reference, unit *Dump) *oracle {
	o := &oracle{unit: unit, lost: map[bom.Class]int{}, more: map[bom.Class]int{}, told: map[string]bool{}}
	for c, all := range reference.printed.records {
		for k, n := range all {
			o.lost[c] += max(0, n-unit.printed.records[c][k])
		}
	}
	for c, all := range unit.printed.records {
		for k, n := range all {
			o.more[c] += max(0, n-reference.printed.records[c][k])
		}
	}
	return o
}

func (o *oracle) explains(f *finding.Finding) bool {
	switch f.Code {
	case finding.EvidenceUnauthenticated:
		return true // a text that somebody printed is signed by nobody
	case finding.PlaceholderIdentity, finding.InputMalformed:
		if strings.Contains(f.Got, "counts up over the modules") {
			return true // said of all values together, and of none
		}
		return strings.Contains(o.unit.printed.text, fold(quoted(f.Got)))
	case finding.CollectorUntrusted:
		return strings.Contains(o.unit.printed.text, "system is a virtual machine")
	case finding.ManifestWrongSubject:
		return o.lost[bom.System]+o.lost[bom.Baseboard] > 0
	case finding.ManifestPermissive:
		// A table whose end was not printed lists no class completely.
		return strings.HasSuffix(f.Subject, "/classes") && !strings.Contains(o.unit.printed.text, "end of table")
	case finding.CapacityDiffers:
		if f.Subject == "memory" {
			return f.Want != f.Got // two sums of one table: a question, and low
		}
	}
	return o.account(f)
}

// account takes the records that a finding about a part needs.
func (o *oracle) account(f *finding.Finding) bool {
	class := classOf(f.Subject, o.unit.Inventory)
	if o.told[f.Subject] {
		return true
	}
	lost, more := 1, 1
	switch f.Code {
	case finding.UnexpectedComponent:
		lost = 0
	case finding.MissingComponent, finding.WrongCount:
		more = 0
	case finding.UnknownFirmware:
		lost, more = min(1, o.lost[class]), min(1, o.more[class])
		if lost+more == 0 {
			return false
		}
	}
	if o.lost[class] < lost || o.more[class] < more {
		return false
	}
	o.lost[class] -= lost
	o.more[class] -= more
	o.told[f.Subject] = true
	return true
}

var whatIsQuoted = regexp.MustCompile(`^(?:offset \d+|[A-Za-z]+): (.*?)(?: \([a-z ]+\))?$`)

// quoted is the printed text in a value of a finding.
func quoted(got string) string {
	if m := whatIsQuoted.FindStringSubmatch(got); m != nil {
		return m[1]
	}
	return got
}

func classOf(subject string, inv *bom.Inventory) bom.Class {
	if p, ok := inv.Part(subject); ok {
		return p.Class
	}
	kind, _, _ := strings.Cut(subject, ":")
	if kind == "dimm" {
		return bom.Memory
	}
	return bom.Class(kind)
}
