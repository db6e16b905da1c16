package board

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The fields that columns are mapped to.
const (
	fieldDesignator  = "designator"
	fieldQuantity    = "quantity"
	fieldMaker       = "maker"
	fieldPartNumber  = "partNumber"
	fieldValue       = "value"
	fieldFootprint   = "footprint"
	fieldDescription = "description"
	fieldNotFitted   = "notFitted"
	fieldX           = "x"
	fieldY           = "y"
	fieldLayer       = "layer"
)

// headers are the names that tools give to columns, by field, the most telling
// first. They are compared in lower case, letters and digits only.
var headers = map[string][]string{
	fieldDesignator:  {"referencedesignators", "referencedesignator", "refdes", "designator", "designators", "references", "reference", "customerreference", "ref"},
	fieldQuantity:    {"quantity", "qty", "qnty", "quantityperpcb", "count"},
	fieldMaker:       {"manufacturer", "manufacturer1", "manufacturername", "mfr", "mfg", "mfrname", "maker"},
	fieldPartNumber:  {"manufacturerpartnumber", "manufacturerpartnumber1", "mpn", "mfrpartnumber", "mfrpn", "mfgpartnumber", "mfgpn", "mfrpart", "manufacturerpart", "partnumber"},
	fieldValue:       {"value", "comment", "val", "name"},
	fieldFootprint:   {"footprint", "package", "case", "pcbfootprint"},
	fieldDescription: {"description", "desc", "partdescription"},
	fieldNotFitted:   {"dnp", "dni", "fitted", "populate", "donotplace", "donotpopulate"},
	fieldX:           {"centerxmil", "centerxmm", "midx", "posx", "x"},
	fieldY:           {"centerymil", "centerymm", "midy", "posy", "y"},
	fieldLayer:       {"layer", "side", "tb"},
}

// Mapping names the header of each field's column, where a file has others than
// those that are known.
type Mapping map[string]string

// ParseMapping reads a mapping: a JSON object of headers by field.
func ParseMapping(b []byte) (Mapping, error) {
	var m Mapping
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("mapping: %w", err)
	}
	for f := range m {
		if _, ok := headers[f]; !ok {
			return nil, fmt.Errorf("mapping: unknown field %q; fields are %s", f, strings.Join(slices.Sorted(maps.Keys(headers)), ", "))
		}
	}
	return m, nil
}

var notAlphanumeric = regexp.MustCompile(`[^a-z0-9]+`)

func key(s string) string { return notAlphanumeric.ReplaceAllString(strings.ToLower(s), "") }

const headerWithin = 40 // rows; some tools write a preamble

// findHeader finds the row with the headers and the column of each field.
func findHeader(rows [][]string, mapping Mapping) (at int, columns map[string]int, err error) {
	best, bestAt := map[string]int{}, -1
	for i, row := range rows[:min(len(rows), headerWithin)] {
		if c := columnsOf(row, mapping); len(c) > len(best) {
			best, bestAt = c, i
		}
	}
	for f, h := range mapping {
		if _, ok := best[f]; !ok {
			return 0, nil, fmt.Errorf("no column has the header %q, which the mapping names for %s", h, f)
		}
	}
	if _, ok := best[fieldDesignator]; !ok || len(best) < 2 {
		return 0, nil, errors.New("no row has headers that are known here; name them with --map")
	}
	return bestAt, best, nil
}

func columnsOf(row []string, mapping Mapping) map[string]int {
	columns := map[string]int{}
	for f, names := range headers {
		if h, ok := mapping[f]; ok {
			names = []string{key(h)}
		}
		for _, n := range names {
			if i := slices.IndexFunc(row, func(h string) bool { return key(h) == n }); i >= 0 {
				columns[f] = i
				break
			}
		}
	}
	return columns
}

// notFitted reads a column that says which parts are left out, whichever way its
// header asks.
func notFitted(v, header string) bool {
	v = strings.ToLower(strings.TrimSpace(v))
	if strings.HasPrefix(key(header), "fitted") || strings.HasPrefix(key(header), "populate") {
		return slices.Contains([]string{"no", "false", "0", "not fitted", "dnp", "dni"}, v)
	}
	return v != "" && !slices.Contains([]string{"no", "false", "0", "fitted"}, v)
}

var leftOut = regexp.MustCompile(`(?i)^(?:dn[pi]|do not (?:place|populate|install|fit))(?:[ _/-]|$)`)

// placeholderForNothing reports whether a part is called "do not install", as
// designs without a column for it do.
func placeholderForNothing(p Part) bool {
	return leftOut.MatchString(p.Value) || leftOut.MatchString(p.PartNumber) || leftOut.MatchString(p.Description)
}
