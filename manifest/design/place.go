package design

import (
	"fmt"
	"math"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest"
)

// Place gives lines the positions that a pick-and-place file has for their
// designators. Nothing is placed by a file that does not say its unit.
func Place(m *manifest.Manifest, p *board.Placement) []Loss {
	if p.Unit == "" {
		return []Loss{{Where: p.Name, What: "positions, whose unit the file does not say"}}
	}
	at := map[string]board.Placed{}
	for _, x := range p.Places {
		at[x.Designator] = x
	}
	for i := range m.Components {
		r := &m.Components[i]
		x, ok := at[r.Location.Designator]
		if !ok {
			continue
		}
		thousandths := func(v float64) int64 { return int64(math.Round(1000 * v)) }
		r.Position = bom.Position{Side: x.Side, X: thousandths(p.Millimetres(x.X)), Y: thousandths(p.Millimetres(x.Y)), Rotation: thousandths(x.Rotation)}
		delete(at, r.Location.Designator)
	}
	var lost []Loss
	for _, x := range p.Places {
		if _, left := at[x.Designator]; left {
			lost = append(lost, Loss{Where: fmt.Sprintf("%s: row %d", p.Name, x.Row), What: x.Designator + ": the machine places it, and no line declares it"})
		}
	}
	for _, w := range p.Warnings {
		lost = append(lost, Loss{Where: fmt.Sprintf("%s: row %d", p.Name, w.Row), What: w.Why})
	}
	return lost
}
