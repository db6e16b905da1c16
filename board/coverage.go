package board

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// Coverage says what software can see of a board, and what is left to inspection.
// Only parts that are fitted count.
type Coverage struct {
	Fitted    int     `json:"fitted"`
	NotFitted int     `json:"notFitted"`
	Identity  int     `json:"identity"` // parts whose type can be read on some bus
	Presence  int     `json:"presence"` // parts that only acknowledge
	Unknown   int     `json:"unknown"`  // parts that may answer; the dictionary does not have them
	Silent    int     `json:"silent"`   // parts that answer on no bus
	Classes   []Class `json:"classes"`
	Inspect   []Part  `json:"inspect"` // what only eyes, X-ray or probes can confirm and what nobody should skip: chips and modules
}

// Class counts the parts of one kind.
type Class struct {
	Name     string   `json:"name"`
	Fitted   int      `json:"fitted"`
	Identity int      `json:"identity"`
	Presence int      `json:"presence"`
	Unknown  int      `json:"unknown"`
	Silent   int      `json:"silent"`
	Answers  []Answer `json:"answers"`
}

// Answer is what one part says of itself when it is asked on its bus. Whether the
// host or the management controller is wired to that bus is for the board's
// schematic: an answer that nobody can ask for is none.
type Answer struct {
	Designator string `json:"designator"`
	PartNumber string `json:"partNumber"`
	What       string `json:"what"`
	Bus        string `json:"bus"`
	Says       string `json:"says"`         // identity or presence
	ID         string `json:"id,omitempty"` // what it answers
	Source     string `json:"source"`
}

// kinds are the reference designation letters of ASME Y14.44 and what designers
// use beside them, with the kinds that can carry a chip.
var kinds = map[string]struct {
	name  string
	chips bool
}{
	"R": {"resistors", false}, "RN": {"resistors", false}, "RV": {"resistors", false}, "RT": {"resistors", false}, "RP": {"resistors", false},
	"C": {"capacitors", false}, "CN": {"connectors", false},
	"L": {"inductors and beads", false}, "FB": {"inductors and beads", false}, "T": {"inductors and beads", false},
	"D": {"diodes", false}, "CR": {"diodes", false}, "LED": {"diodes", false}, "DS": {"diodes", false}, "VR": {"voltage regulators", true},
	"Q": {"transistors", false},
	"J": {"connectors", false}, "P": {"connectors", false}, "X": {"connectors", false}, "XU": {"connectors", false}, "SKT": {"connectors", false}, "JP": {"connectors", false}, "CON": {"connectors", false}, "AN": {"connectors", false},
	"Y": {"crystals and oscillators", false}, "XTAL": {"crystals and oscillators", false}, "OSC": {"crystals and oscillators", false},
	"F": {"fuses", false}, "SW": {"switches", false}, "S": {"switches", false}, "K": {"switches", false}, "BT": {"batteries", false},
	"U": {"integrated circuits", true}, "IC": {"integrated circuits", true}, "UM": {"integrated circuits", true}, "M": {"modules", true}, "MOD": {"modules", true}, "A": {"modules", true}, "PS": {"modules", true},
	"TP": {"test points and mechanics", false}, "MP": {"test points and mechanics", false}, "SP": {"test points and mechanics", false}, "H": {"test points and mechanics", false}, "MH": {"test points and mechanics", false}, "FD": {"test points and mechanics", false},
}

//go:embed answers.csv
var answersCSV string

type entry struct{ part, what, bus, says, id, source string }

// dictionary is read once; the longest beginning of a part number wins.
var dictionary = sync.OnceValue(func() []entry {
	r := csv.NewReader(strings.NewReader(answersCSV))
	r.Comment, r.FieldsPerRecord = '#', 6
	rows, err := r.ReadAll()
	if err != nil {
		panic(fmt.Sprintf("board: the built-in dictionary: %v", err))
	}
	var out []entry
	for _, x := range rows[1:] {
		out = append(out, entry{x[0], x[1], x[2], x[3], x[4], x[5]})
	}
	slices.SortStableFunc(out, func(a, b entry) int { return len(b.part) - len(a.part) })
	return out
})

// Coverage states what software can see of the board.
func (b *BOM) Coverage() *Coverage {
	c, at := &Coverage{Classes: []Class{}, Inspect: []Part{}}, map[string]int{}
	for i, p := range b.Parts {
		if p.NotFitted {
			c.NotFitted++
			continue
		}
		if i > 0 && b.Parts[i-1].Designator == p.Designator && !b.Parts[i-1].NotFitted {
			continue // stands twice; a warning says so
		}
		name, chips := KindOf(p.Designator)
		if _, ok := at[name]; !ok {
			at[name] = len(c.Classes)
			c.Classes = append(c.Classes, Class{Name: name, Answers: []Answer{}})
		}
		c.add(&c.Classes[at[name]], p, chips)
	}
	slices.SortStableFunc(c.Classes, func(a, b Class) int {
		return (b.Identity + b.Presence + b.Unknown) - (a.Identity + a.Presence + a.Unknown)
	})
	return c
}

// KindOf names the kind of part that a designator's letters stand for, and
// whether parts of this kind can carry a chip.
func KindOf(designator string) (name string, chips bool) {
	k, ok := kinds[strings.TrimRight(strings.TrimRight(designator, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), "0123456789")]
	if !ok {
		return "others", true
	}
	return k.name, k.chips
}

func (c *Coverage) add(k *Class, p Part, chips bool) {
	c.Fitted++
	k.Fitted++
	e, known := lookUp(p)
	switch {
	case known && e.says == "identity":
		c.Identity++
		k.Identity++
	case known:
		c.Presence++
		k.Presence++
	case chips:
		c.Unknown++
		k.Unknown++
	default:
		c.Silent++
		k.Silent++
	}
	if known {
		k.Answers = append(k.Answers, Answer{p.Designator, p.PartNumber, e.what, e.bus, e.says, e.id, e.source})
	}
	if chips && (!known || e.says != "identity") {
		c.Inspect = append(c.Inspect, p)
	}
}

// lookUp finds a part by its maker's number, or by its value where a design
// tool wrote the number there.
func lookUp(p Part) (entry, bool) {
	for _, number := range []string{p.PartNumber, p.Value} {
		plain := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' {
				return r
			}
			return -1
		}, strings.ToUpper(number))
		for _, e := range dictionary() {
			if strings.HasPrefix(plain, e.part) {
				return e, true
			}
		}
	}
	return entry{}, false
}
