package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// Row is the places of one kind, in the order of the firmware's tables.
type Row struct {
	Title  string
	Places []assay.PlaceOnBoard
}

// Rows sorts the places of a board by kind. It says nothing of where they are
// in inches: firmware tells names, not positions.
func Rows(r *assay.Result) []Row {
	out := []Row{{Title: "Processors"}, {Title: "Memory"}, {Title: "Slots"}, {Title: "Other places"}}
	kinds := []string{"socket", "dimm", "slot"}
	for _, p := range r.Map {
		i := slices.Index(kinds, p.Kind)
		if i < 0 {
			i = len(kinds)
		}
		out[i].Places = append(out[i].Places, p)
	}
	return slices.DeleteFunc(out, func(w Row) bool { return len(w.Places) == 0 })
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
	all := Rows(r)
	if len(all) == 0 {
		return
	}
	p.heading(p.say("Board    [ok] as expected or not compared   [! ] look   [!!] open this one   [  ] empty"))
	for _, w := range all {
		p.line("  %s", p.say(w.Title))
		width := 0
		for _, pl := range w.Places {
			width = max(width, columns(Plain(pl.Designator)))
		}
		width = min(width, 24)
		per := max(1, (p.width-2)/(width+7))
		for group := range slices.Chunk(w.Places, per) {
			line := "  "
			for _, pl := range group {
				name := []rune(Plain(cmp.Or(pl.Designator, p.say("unnamed"))))
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
