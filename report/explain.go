package report

import (
	"io"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// Explain writes what the catalogue knows about a code.
func Explain(w io.Writer, e finding.Explained, s Style) {
	p := &printer{style: s, width: max(40, s.Width)}
	if s.Width <= 0 {
		p.width = 80
	}
	p.line("%s  %s", p.paint(ansiBold, string(e.Code)), p.paint(ansiBold, p.say(e.Title)))
	p.label(2, "severity", 11, p.say("%s by default; rules and policies may set another", p.say(e.Severity.String())))
	p.label(2, "means", 11, p.say(e.Meaning))
	p.label(2, "do", 11, p.say(e.Action))
	p.label(2, "disproof", 11, p.say(e.Disproof))
	if len(e.Attack) > 0 {
		p.wrap("  ATT&CK     ", strings.Join(e.Attack, ", "))
	}
	if len(e.EMB3D) > 0 {
		p.wrap("  EMB3D      ", strings.Join(e.EMB3D, ", "))
	}
	_, _ = io.WriteString(w, p.b.String())
}
