package html

import (
	"cmp"
	"fmt"
	"html/template"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

const (
	cellWidth, cellHeight, cellGap = 150, 46, 10
	perRow                         = 6
)

// boardSVG draws the map of the board. Texts from evidence are
// escaped; there is no script, link or style from outside.
func boardSVG(r *assay.Result, words report.Words) template.HTML {
	all := report.Rows(r)
	if len(all) == 0 {
		return ""
	}
	var b strings.Builder
	y := 0
	for _, w := range all {
		fmt.Fprintf(&b, `<text x="0" y="%d" class="k">%s</text>`, y+14, escaped(words.Say(w.Title), 200))
		y += 24
		for i, p := range w.Places {
			x := i % perRow * (cellWidth + cellGap)
			if i > 0 && i%perRow == 0 {
				y += cellHeight + cellGap
			}
			class, what := "free", words.Say("empty")
			switch {
			case p.Severity > finding.Info:
				class, what = p.Severity.String(), cmp.Or(p.Holds, words.Say("empty"))
			case p.Subject != "":
				class, what = "held", cmp.Or(p.Holds, words.Say("a part"))
			}
			fmt.Fprintf(&b, `<g class="%s"><title>%s: %s</title><rect x="%d" y="%d" width="%d" height="%d" rx="4"/><text x="%d" y="%d" class="d">%s</text><text x="%d" y="%d">%s</text></g>`,
				class, escaped(p.Designator, 200), escaped(what, 200), x, y, cellWidth, cellHeight, x+7, y+18, escaped(p.Designator, 19), x+7, y+35, escaped(what, 23))
		}
		y += cellHeight + 2*cellGap
	}
	head := fmt.Sprintf(`<svg class="board" role="img" aria-label="%s" viewBox="0 0 %d %d" xmlns="http://www.w3.org/2000/svg">`, escaped(words.Say("Map of the board"), 200), perRow*(cellWidth+cellGap), y)
	return template.HTML(head + b.String() + "</svg>") //nolint:gosec // every text in it is escaped above
}

// escaped cuts a text from evidence to n runes and makes it safe in HTML.
func escaped(s string, n int) string {
	s = report.Plain(s)
	if r := []rune(s); len(r) > n {
		s = string(r[:n-1]) + "\u2026"
	}
	return template.HTMLEscapeString(s)
}
