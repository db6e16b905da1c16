// Package board reads bills of materials of circuit boards as design tools and
// distributors write them, and compares revisions of one board.
//
// A line is known by its reference designators, which mean something only
// together with the board's part number and revision: designers reuse them. The
// package proves what a file says; whether the parts are on a board is for
// inspection, since most of them answer on no bus.
package board

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Part is what is fitted at one place of the board.
type Part struct {
	Designator  string  `json:"designator"`
	Maker       string  `json:"maker,omitempty"`
	PartNumber  string  `json:"partNumber,omitempty"` // the manufacturer's, or what the design calls the part
	Value       string  `json:"value,omitempty"`
	Footprint   string  `json:"footprint,omitempty"`
	Description string  `json:"description,omitempty"`
	NotFitted   bool    `json:"notFitted,omitempty"` // DNP: on the drawing, not on the board
	X           float64 `json:"x,omitempty"`         // from a pick-and-place file, in the file's unit
	Y           float64 `json:"y,omitempty"`
	Layer       string  `json:"layer,omitempty"`
	Row         int     `json:"row"` // in the file, from 1
}

// BOM is one file as read.
type BOM struct {
	Name     string            `json:"name"`
	Columns  map[string]string `json:"columns"`  // fields by the headers they were found under
	Parts    []Part            `json:"parts"`    // by designator
	Loose    []Part            `json:"loose"`    // lines without a designator: cables, labels, sockets
	Warnings []Warning         `json:"warnings"` // what does not add up
	Lost     []string          `json:"lost"`     // headers of columns that have no place here

	Assembly   string                 `json:"assembly,omitempty"`   // part number of the board, where the file has it
	Revision   string                 `json:"revision,omitempty"`   // of the board
	Alternates map[string][]Alternate `json:"alternates,omitempty"` // other approved parts, by designator
}

// Alternate is another part that is approved for a place, as IPC-2581 lists them.
type Alternate struct {
	Maker      string `json:"maker,omitempty"`
	PartNumber string `json:"partNumber"`
}

// Warning is something that a reader of the file should look at.
type Warning struct {
	Row int    `json:"row"`
	Why string `json:"why"`
}

// Limits of one file.
const (
	MaxBytes = 32 << 20
	maxRows  = 100_000
	maxCells = 4_000_000
	// maxColumns is more than any tool writes; a workbook may name 16,384.
	maxColumns = 1_000
	maxParts   = 100_000
)

// Read reads a table, comma-, semicolon- or tab-separated values or a workbook, or
// an IPC-2581 document with a bill of materials, which needs no mapping.
// The mapping names columns; without one they are found by the headers that
// KiCad, Altium and distributors use.
func Read(name string, data []byte, mapping Mapping) (*BOM, error) {
	if isIPC2581(data) {
		return readIPC2581(name, data)
	}
	rows, err := table(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	at, columns, err := findHeader(rows, mapping)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	b := &BOM{Name: name, Columns: map[string]string{}, Parts: []Part{}, Loose: []Part{}, Warnings: []Warning{}, Lost: []string{}}
	used := map[int]bool{}
	for f, i := range columns {
		b.Columns[f] = strings.TrimSpace(rows[at][i])
		used[i] = true
	}
	for i, h := range rows[at] {
		if h = strings.TrimSpace(h); h != "" && !used[i] {
			b.Lost = append(b.Lost, h)
		}
	}
	for i, row := range rows[at+1:] {
		if err := b.row(at+2+i, row, columns); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", name, at+2+i, err)
		}
	}
	b.finish()
	return b, nil
}

func (b *BOM) warn(row int, format string, args ...any) {
	b.Warnings = append(b.Warnings, Warning{row, fmt.Sprintf(format, args...)})
}

// row adds the parts of one line.
func (b *BOM) row(n int, row []string, columns map[string]int) error {
	at := func(f string) string {
		if i, ok := columns[f]; ok && i < len(row) {
			return strings.TrimSpace(row[i])
		}
		return ""
	}
	p := Part{Maker: at(fieldMaker), PartNumber: at(fieldPartNumber), Value: at(fieldValue), Footprint: at(fieldFootprint), Description: at(fieldDescription), Layer: at(fieldLayer), Row: n}
	p.NotFitted = notFitted(at(fieldNotFitted), b.Columns[fieldNotFitted]) || placeholderForNothing(p)
	p.X, p.Y = number(at(fieldX)), number(at(fieldY))
	list, quantity := at(fieldDesignator), at(fieldQuantity)
	if list == "" {
		if p.PartNumber+p.Value+p.Description != "" && quantity != "" {
			b.Loose = append(b.Loose, p)
		}
		return nil
	}
	all, damaged := designators(list)
	if damaged != "" {
		b.warn(n, "the list of designators %.60q %s", list, damaged)
	}
	if len(all) == 0 {
		b.Loose = append(b.Loose, p)
		return nil
	}
	if q := number(quantity); quantity != "" && int(q) != len(all) && !p.NotFitted {
		b.warn(n, "the quantity is %s, %d places are named", quantity, len(all))
	}
	if len(b.Parts)+len(all) > maxParts {
		return fmt.Errorf("more than %d parts", maxParts)
	}
	for _, d := range all {
		p.Designator = d
		b.Parts = append(b.Parts, p)
	}
	return nil
}

// finish sorts the parts and finds places that stand twice.
func (b *BOM) finish() {
	slices.SortStableFunc(b.Parts, func(x, y Part) int { return compareDesignators(x.Designator, y.Designator) })
	for i := 1; i < len(b.Parts); i++ {
		if x, y := b.Parts[i-1], b.Parts[i]; x.Designator == y.Designator {
			b.warn(y.Row, "%s stands in row %d too", y.Designator, x.Row)
		}
	}
	slices.SortStableFunc(b.Warnings, func(x, y Warning) int { return cmp.Compare(x.Row, y.Row) })
	slices.Sort(b.Lost)
}
