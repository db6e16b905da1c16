package bom

import (
	"fmt"

	"github.com/assay-hw/assay/finding"
)

// Verifiability says of how many declared lines the evidence at hand shows what
// they say, and by whose word. A line is counted once, under the best of them.
type Verifiability struct {
	Lines         int `json:"lines"`
	Cryptographic int `json:"cryptographic"` // a key that the part holds signed
	Observed      int `json:"observed"`      // the part answered, or its own memory did
	Claimed       int `json:"claimed"`       // firmware or a management controller says so
	PhysicalOnly  int `json:"physicalOnly"`  // no bus can show it; an inspection may
	Inspected     int `json:"inspected"`     // of those, what one showed
	Unseen        int `json:"unseen"`        // not shown by this evidence
}

// Confirmed is the share of the lines that something shows.
func (v Verifiability) Confirmed() int {
	return v.Cryptographic + v.Observed + v.Claimed + v.Inspected
}

// String tells the ratio in one line.
func (v Verifiability) String() string {
	return fmt.Sprintf("%d of %d declared lines: %d signed by the part, %d answered by it, %d claimed by firmware or controller, %d for inspection only (%d inspected), %d not seen",
		v.Confirmed(), v.Lines, v.Cryptographic, v.Observed, v.Claimed, v.PhysicalOnly, v.Inspected, v.Unseen)
}

// Verifiability counts lines. signed reports parts that proved a key.
func (c *Comparison) Verifiability(want []Reference, inv *Inventory, signed func(*Part) bool) Verifiability {
	v := Verifiability{Lines: len(want)}
	for _, cov := range c.Coverage {
		v.Inspected += cov.Inspected
	}
	parts := inv.BySubject()
	for i := range want {
		p := parts[c.Matched[want[i].ID]]
		switch {
		case want[i].Verifiability == PhysicalOnly:
			v.PhysicalOnly++
		case p == nil:
			v.Unseen++
		case signed(p):
			v.Cryptographic++
		case p.answered():
			v.Observed++
		default:
			v.Claimed++
		}
	}
	v.Inspected = min(v.Inspected, v.PhysicalOnly)
	return v
}

// answered reports whether anything of a part comes from its silicon or memory.
func (p *Part) answered() bool {
	for _, v := range p.Values {
		if v.Source != finding.FirmwareTold && v.Source != finding.BMCTold {
			return true
		}
	}
	return false
}
