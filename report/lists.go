package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// Findings writes a bare list of findings for a terminal.
func Findings(w io.Writer, fs []finding.Finding, s Style) {
	p := &printer{style: s, width: max(40, cmp.Or(s.Width, 80))}
	if len(fs) == 0 {
		p.line("no differences")
	}
	p.list(fs)
	_, _ = io.WriteString(w, p.b.String())
}

// Parts writes the parts of a machine as they were read, and which classes
// could not be observed.
func Parts(w io.Writer, inv *bom.Inventory) {
	class := bom.Class("")
	for _, x := range inv.Parts {
		if x.Class != class {
			class = x.Class
			fmt.Fprintf(w, "%s\n", class)
		}
		where := cmp.Or(x.Location.Slot, x.Location.Designator, x.Location.Path)
		fmt.Fprintf(w, "  %-26s %s", Plain(x.Subject), Plain(bom.Describe(x.Identity)))
		if x.Identity.Name != "" {
			fmt.Fprintf(w, " (%s)", Plain(x.Identity.Name))
		}
		if where != "" && where != x.Subject {
			fmt.Fprintf(w, "  [%s]", Plain(where))
		}
		fmt.Fprintln(w)
	}
	for _, c := range slices.Sorted(maps.Keys(inv.Classes)) {
		if o := inv.Classes[c]; !o.Observed || !o.Whole {
			fmt.Fprintf(w, "%s: not complete: %s\n", c, Plain(cmp.Or(o.Reason, "not in the evidence")))
		}
	}
}
