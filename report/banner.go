package report

import (
	"strings"

	"github.com/assay-hw/assay"
)

// letter is one of those that verdicts are written with, five rows of five
// columns.
func letter(r rune) [5]string {
	switch r {
	case 'A':
		return [5]string{" ### ", "#   #", "#####", "#   #", "#   #"}
	case 'C':
		return [5]string{" ####", "#    ", "#    ", "#    ", " ####"}
	case 'E':
		return [5]string{"#####", "#    ", "#### ", "#    ", "#####"}
	case 'F':
		return [5]string{"#####", "#    ", "#### ", "#    ", "#    "}
	case 'I':
		return [5]string{"#####", "  #  ", "  #  ", "  #  ", "#####"}
	case 'L':
		return [5]string{"#    ", "#    ", "#    ", "#    ", "#####"}
	case 'N':
		return [5]string{"#   #", "##  #", "# # #", "#  ##", "#   #"}
	case 'O':
		return [5]string{" ### ", "#   #", "#   #", "#   #", " ### "}
	case 'P':
		return [5]string{"#### ", "#   #", "#### ", "#    ", "#    "}
	case 'R':
		return [5]string{"#### ", "#   #", "#### ", "#  # ", "#   #"}
	case 'S':
		return [5]string{" ####", "#    ", " ### ", "    #", "#### "}
	case 'U':
		return [5]string{"#   #", "#   #", "#   #", "#   #", " ### "}
	case 'V':
		return [5]string{"#   #", "#   #", "#   #", " # # ", "  #  "}
	case 'W':
		return [5]string{"#   #", "#   #", "# # #", "## ##", "#   #"}
	}
	return [5]string{}
}

// banner writes a verdict in block letters, as large as the width allows, to
// be read from across a room on any terminal.
func (p *printer) banner(v assay.Verdict) {
	word := strings.ToUpper(string(v))
	const cell, largest = 6, 3
	scale := min(largest, max(1, p.width/(len(word)*cell)))
	if len(word)*cell > p.width {
		p.line("*** %s ***", p.paint(verdictColor(v), word))
		return
	}
	p.line("")
	for row := range 5 {
		var b strings.Builder
		for _, r := range word {
			for _, c := range letter(r)[row] {
				b.WriteString(strings.Repeat(string(c), scale))
			}
			b.WriteString(strings.Repeat(" ", scale))
		}
		for range max(1, scale-1) {
			p.line("%s", p.paint(verdictColor(v), strings.TrimRight(b.String(), " ")))
		}
	}
	p.line("")
}
