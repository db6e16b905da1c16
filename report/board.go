package report

import (
	"cmp"
	"fmt"
	"html/template"
	"slices"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// row is the places of one kind, in the order of the firmware's tables.
type row struct {
	title  string
	places []assay.PlaceOnBoard
}

// rows sorts the places of a board by kind. It says nothing of where they are
// in inches: firmware tells names, not positions.
func rows(r *assay.Result) []row {
	out := []row{{title: "Processors"}, {title: "Memory"}, {title: "Slots"}, {title: "Other places"}}
	kinds := []string{"socket", "dimm", "slot"}
	for _, p := range r.Map {
		i := slices.Index(kinds, p.Kind)
		if i < 0 {
			i = len(kinds)
		}
		out[i].places = append(out[i].places, p)
	}
	return slices.DeleteFunc(out, func(w row) bool { return len(w.places) == 0 })
}

// mark is what stands before a place: a finding, a part, or nothing.
func mark(p assay.PlaceOnBoard) string {
	switch {
	case p.Severity >= finding.High:
		return "!!"
	case p.Severity > finding.Info:
		return "! "
	case p.Subject != "":
		return "ok"
	}
	return "  "
}

// board draws the named places of the machine, those with findings marked.
func (p *printer) board(r *assay.Result) {
	all := rows(r)
	if len(all) == 0 {
		return
	}
	p.heading("Board    [ok] as expected or not compared   [! ] look   [!!] open this one   [  ] empty")
	for _, w := range all {
		p.line("  %s", w.title)
		width := 0
		for _, pl := range w.places {
			width = max(width, columns(Plain(pl.Designator)))
		}
		width = min(width, 24)
		per := max(1, (p.width-2)/(width+7))
		for group := range slices.Chunk(w.places, per) {
			line := "  "
			for _, pl := range group {
				name := []rune(Plain(cmp.Or(pl.Designator, "unnamed")))
				if len(name) > width && width > 0 {
					name = name[:width]
				}
				cell := fmt.Sprintf("[%s] %-*s  ", mark(pl), width, string(name))
				if pl.Severity > finding.Info {
					cell = p.paint(severityColor(pl.Severity), cell)
				}
				line += cell
			}
			p.line("%s", strings.TrimRight(line, " "))
		}
	}
}

const (
	cellWidth, cellHeight, cellGap = 150, 46, 10
	perRow                         = 6
)

// boardSVG draws the same map for the report in HTML. Texts from evidence are
// escaped; there is no script, link or style from outside.
func boardSVG(r *assay.Result) template.HTML {
	all := rows(r)
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	y := 0
	for _, w := range all {
		fmt.Fprintf(&b, `<text x="0" y="%d" class="k">%s</text>`, y+14, w.title)
		y += 24
		for i, p := range w.places {
			x := i % perRow * (cellWidth + cellGap)
			if i > 0 && i%perRow == 0 {
				y += cellHeight + cellGap
			}
			class, what := "free", "empty"
			switch {
			case p.Severity > finding.Info:
				class, what = p.Severity.String(), cmp.Or(p.Holds, "empty")
			case p.Subject != "":
				class, what = "held", cmp.Or(p.Holds, "a part")
			}
			fmt.Fprintf(&b, `<g class="%s"><title>%s: %s</title><rect x="%d" y="%d" width="%d" height="%d" rx="4"/><text x="%d" y="%d" class="d">%s</text><text x="%d" y="%d">%s</text></g>`,
				class, escaped(p.Designator, 200), escaped(what, 200), x, y, cellWidth, cellHeight, x+7, y+18, escaped(p.Designator, 19), x+7, y+35, escaped(what, 23))
		}
		y += cellHeight + 2*cellGap
	}
	head := fmt.Sprintf(`<svg class="board" role="img" aria-label="Map of the board" viewBox="0 0 %d %d" xmlns="http://www.w3.org/2000/svg">`, perRow*(cellWidth+cellGap), y)
	return template.HTML(head + b.String() + "</svg>") //nolint:gosec // every text in it is escaped above
}

// escaped cuts a text from evidence to n runes and makes it safe in HTML.
func escaped(s string, n int) string {
	s = Plain(s)
	if r := []rune(s); len(r) > n {
		s = string(r[:n-1]) + "\u2026"
	}
	return template.HTMLEscapeString(s)
}
