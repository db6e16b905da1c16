// Package design turns the bill of materials of a circuit board into the lines of
// a manifest. It proves what the designers wrote. No software sees most of these
// parts: every line is for inspection, until somebody says what a part answers to.
package design

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/loss"
	"github.com/assay-hw/assay/manifest"
)

// Loss is something of a bill of materials that has no place in a manifest.
type Loss = loss.Loss

// Import makes a draft of a board. What has no place in a manifest is returned:
// places that stay empty, lines without a place, positions, columns that nobody
// reads.
func Import(b *board.BOM) (*manifest.Manifest, []Loss, error) {
	if len(b.Parts) == 0 {
		return nil, nil, errors.New(b.Name + ": no part has a place")
	}
	m := &manifest.Manifest{Classes: map[bom.Class]bom.Closure{bom.Electronic: bom.Open}}
	m.Environment.Model, m.Environment.Revision = ids.Clean(b.Assembly), ids.Clean(b.Revision)
	var lost []Loss
	lose := func(where, format string, args ...any) {
		lost = append(lost, Loss{Where: where, What: fmt.Sprintf(format, args...)})
	}
	used := map[string]int{}
	positions := 0
	for _, p := range b.Parts {
		if p.X != 0 || p.Y != 0 || p.Layer != "" {
			positions++
		}
		if p.NotFitted {
			lose(p.Designator, "not fitted: %s", describe(p))
			continue
		}
		r := line(p, b.Alternates[p.Designator])
		if used[r.ID]++; used[r.ID] > 1 {
			lose(p.Designator, "stands in row %d again: %s", p.Row, describe(p))
			continue
		}
		m.Components = append(m.Components, r)
	}
	for _, p := range b.Loose {
		lose(fmt.Sprintf("row %d", p.Row), "has no place: %s", describe(p))
	}
	if positions > 0 {
		lose("board", "positions and sides of %d parts", positions)
	}
	for _, c := range b.Lost {
		lose("board", "column %s", ids.Clean(c))
	}
	for _, w := range b.Warnings {
		lose(fmt.Sprintf("row %d", w.Row), "%s", ids.Clean(w.Why))
	}
	return m, lost, nil
}

func describe(p board.Part) string {
	return cmp.Or(ids.Clean(strings.Join([]string{p.Maker, p.PartNumber, p.Value, p.Description}, " ")), "a part without a name")
}

// line declares one fitted part.
func line(p board.Part, alternates []board.Alternate) bom.Reference {
	r := bom.Reference{
		ID: p.Designator, Class: bom.Electronic, Location: finding.Location{Designator: p.Designator}, Verifiability: "physical-only",
		Identity: bom.Identity{Maker: ids.Clean(p.Maker), PartNumber: ids.Clean(p.PartNumber)}, Note: short(ids.Clean(p.Description)),
	}
	for name, value := range map[string]string{"value": ids.Clean(p.Value), "footprint": ids.Clean(p.Footprint)} {
		if value != "" {
			if r.Attributes == nil {
				r.Attributes = map[string]string{}
			}
			r.Attributes[name] = value
		}
	}
	for _, a := range alternates {
		id := bom.Identity{Maker: ids.Clean(a.Maker), PartNumber: ids.Clean(a.PartNumber)}
		if id.PartNumber != "" && !slices.ContainsFunc(r.Alternates, func(o bom.Identity) bool { return o.Maker == id.Maker && o.PartNumber == id.PartNumber }) {
			r.Alternates = append(r.Alternates, id)
		}
	}
	return r
}

// short cuts a text between characters.
func short(s string) string {
	if r := []rune(s); len(r) > 500 {
		return string(r[:500])
	}
	return s
}
