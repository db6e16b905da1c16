package board

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Placement is a pick-and-place file: where a machine puts each part.
type Placement struct {
	Name     string    `json:"name"`
	Unit     string    `json:"unit"` // of X and Y: "mm", "mil", "in", or "" where the file does not say
	Places   []Placed  `json:"places"`
	Warnings []Warning `json:"warnings"`
}

// Placed is one part of it, with the file's own numbers.
type Placed struct {
	Designator string  `json:"designator"`
	X          float64 `json:"x"`
	Y          float64 `json:"y"`
	Rotation   float64 `json:"rotation"` // degrees
	Side       string  `json:"side"`     // "top", "bottom", or "" where the file does not say
	Footprint  string  `json:"footprint,omitempty"`
	Value      string  `json:"value,omitempty"`
	Row        int     `json:"row"`
}

// placementHeaders are the names of columns, compared as those of a bill of
// materials, without a unit at the end.
var placementHeaders = map[string][]string{
	fieldDesignator: {"designator", "refdes", "ref", "reference", "referencedesignator", "designators", "component"},
	fieldX:          {"centerx", "midx", "posx", "x", "locationx", "refx", "padx", "xcoordinate"},
	fieldY:          {"centery", "midy", "posy", "y", "locationy", "refy", "pady", "ycoordinate"},
	fieldRotation:   {"rotation", "rot", "angle", "orientation"},
	fieldLayer:      {"layer", "side", "tb", "boardside", "mountside"},
	fieldFootprint:  {"footprint", "package", "pattern"},
	fieldValue:      {"comment", "value", "val", "description"},
}

const fieldRotation = "rotation"

// millimetres of each unit.
var millimetres = map[string]float64{"mm": 1, "mil": 0.0254, "in": 25.4}

var (
	unitsUsed  = regexp.MustCompile(`(?i)(?:units used:|unit =)\s*(mm|millimet\w*|mils?|in(?:ch(?:es)?)?)\b`)
	headerUnit = regexp.MustCompile(`(?i)[(\[ _]?(mm|mils?|in|inch)[)\]]?$`)
	coordinate = regexp.MustCompile(`(?i)^([-+]?[0-9]*\.?[0-9]+(?:e[-+]?[0-9]{1,2})?)\s*(mm|mils?|in|")?$`)
)

// ReadPlacement reads a pick-and-place file as Altium and KiCad write it, or any
// table with headers that name designator, x and y. Rows that do not say where a
// part is are warnings.
func ReadPlacement(name string, data []byte) (*Placement, error) {
	rows, err := placementRows(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	at, columns := placementHeader(rows)
	if at < 0 {
		return nil, fmt.Errorf("%s: row 1: no row names the columns designator, x and y", name)
	}
	p := &Placement{Name: name, Unit: placementUnit(rows[:at], rows[at], columns), Places: []Placed{}, Warnings: []Warning{}}
	for i, row := range rows[at+1:] {
		if len(p.Places) == maxParts {
			return nil, fmt.Errorf("%s: row %d: more than %d places", name, at+2+i, maxParts)
		}
		p.row(at+2+i, row, columns)
	}
	if len(p.Places) == 0 {
		return nil, fmt.Errorf("%s: row %d: no row below the headers places a part", name, at+1)
	}
	if p.Unit == "" {
		p.Warnings = append(p.Warnings, Warning{at + 1, "the file does not say in which unit its positions are"})
	}
	slices.SortStableFunc(p.Places, func(a, b Placed) int { return compareDesignators(a.Designator, b.Designator) })
	for i := 1; i < len(p.Places); i++ {
		if a, b := p.Places[i-1], p.Places[i]; a.Designator == b.Designator {
			p.Warnings = append(p.Warnings, Warning{b.Row, fmt.Sprintf("%s stands in row %d too", b.Designator, a.Row)})
		}
	}
	p.Places = slices.CompactFunc(p.Places, func(a, b Placed) bool { return a.Designator == b.Designator })
	return p, nil
}

// placementRows splits a file: KiCad's text form has columns of blanks and its
// headers in a comment.
func placementRows(data []byte) ([][]string, error) {
	if s := text(data[:min(len(data), MaxBytes)]); len(data) <= MaxBytes && strings.HasPrefix(s, "#") && strings.Contains(s, "# Ref ") {
		var rows [][]string
		for line := range strings.Lines(s) {
			if len(rows) == maxRows {
				return nil, fmt.Errorf("row %d: more than %d rows", len(rows), maxRows)
			}
			if head, ok := strings.CutPrefix(line, "# Ref "); ok {
				line = "Ref " + head
			}
			if strings.HasPrefix(line, "#") {
				rows = append(rows, []string{line})
				continue
			}
			rows = append(rows, strings.Fields(line))
		}
		return rows, nil
	}
	return table(data)
}

func placementHeader(rows [][]string) (at int, columns map[string]int) {
	for i, row := range rows[:min(len(rows), headerWithin)] {
		columns := map[string]int{}
		for f, names := range placementHeaders {
			for _, n := range names {
				if j := slices.IndexFunc(row, func(h string) bool { return key(h) == n || key(headerUnit.ReplaceAllString(h, "")) == n }); j >= 0 {
					columns[f] = j
					break
				}
			}
		}
		_, d := columns[fieldDesignator]
		_, x := columns[fieldX]
		_, y := columns[fieldY]
		if d && x && y {
			return i, columns
		}
	}
	return -1, nil
}

// placementUnit finds the unit in the header of a coordinate, in what stands
// before the table, or by the tool: KiCad's tables are in millimetres.
func placementUnit(preamble [][]string, header []string, columns map[string]int) string {
	if m := headerUnit.FindStringSubmatch(strings.TrimSpace(header[columns[fieldX]])); m != nil {
		return unitName(m[1])
	}
	for _, row := range preamble {
		if m := unitsUsed.FindStringSubmatch(strings.Join(row, " ")); m != nil {
			return unitName(m[1])
		}
	}
	if strings.TrimSpace(header[columns[fieldX]]) == "PosX" {
		return "mm"
	}
	return ""
}

func unitName(s string) string {
	switch s = strings.ToLower(s); {
	case strings.HasPrefix(s, "mil") && !strings.HasPrefix(s, "milli"):
		return "mil"
	case strings.HasPrefix(s, "m"):
		return "mm"
	}
	return "in"
}

func (p *Placement) row(n int, row []string, columns map[string]int) {
	at := func(f string) string {
		if i, ok := columns[f]; ok && i < len(row) {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	d := strings.ToUpper(at(fieldDesignator))
	if d == "" || strings.HasPrefix(d, "#") {
		return
	}
	warn := func(format string, args ...any) {
		if len(p.Warnings) < maxWarnings {
			p.Warnings = append(p.Warnings, Warning{n, fmt.Sprintf(format, args...)})
		}
	}
	out := Placed{Designator: d, Footprint: at(fieldFootprint), Value: at(fieldValue), Side: SideOf(at(fieldLayer)), Row: n}
	var err error
	for _, c := range []struct {
		field string
		into  *float64
	}{{fieldX, &out.X}, {fieldY, &out.Y}, {fieldRotation, &out.Rotation}} {
		if c.field == fieldRotation && at(c.field) == "" {
			continue
		}
		if *c.into, err = p.number(at(c.field)); err != nil {
			warn("%.40q: %s %.40q: %v", d, c.field, at(c.field), err)
			return
		}
	}
	if !oneDesignator.MatchString(d) {
		warn("%.40q is no designator", d)
	}
	if out.Side == "" && at(fieldLayer) != "" {
		warn("%.40q: layer %.40q is neither the top nor the bottom", d, at(fieldLayer))
	}
	p.Places = append(p.Places, out)
}

// maxWarnings bounds what is told of a file that is no placement at all.
const maxWarnings = 1000

// number reads a coordinate; a unit behind it has to be the file's.
func (p *Placement) number(s string) (float64, error) {
	m := coordinate.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New("is no number")
	}
	if u := m[2]; u != "" {
		if u = unitName(strings.ReplaceAll(u, `"`, "in")); p.Unit == "" {
			p.Unit = u
		} else if p.Unit != u {
			return 0, fmt.Errorf("is in %s, the file in %s", u, p.Unit)
		}
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil || math.Abs(v) > 1e7 {
		return 0, errors.New("is out of range")
	}
	return v, nil
}

// SideOf tells the side that a layer is on, "" when its name does not say.
func SideOf(s string) string {
	switch key(s) {
	case "top", "toplayer", "t", "front", "f", "fcu", "componentside", "topside":
		return "top"
	case "bottom", "bottomlayer", "b", "back", "bcu", "solderside", "bot", "bottomside":
		return "bottom"
	}
	return ""
}

// Millimetres converts a coordinate. One of an unknown unit is taken as it is,
// which keeps the picture and loses the scale.
func (p *Placement) Millimetres(v float64) float64 {
	if f, ok := millimetres[p.Unit]; ok {
		return v * f
	}
	return v
}
