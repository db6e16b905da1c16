package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/assay-hw/assay/doctor"
)

// marks are told by words too, so that neither colour nor shape carries the meaning.
var doctorColor = map[doctor.State]string{doctor.Ready: "\x1b[32m", doctor.Partial: "\x1b[33m", doctor.Missing: "\x1b[31m", doctor.OnRequest: "\x1b[36m"}

// Doctor writes a diagnosis for a person: the level first, then each source with what
// is missing and what to do, and the classes of parts that could not be compared whole.
func Doctor(w io.Writer, d *doctor.Diagnosis, s Style) error {
	p := &printer{style: s, width: s.Width}
	if p.width <= 0 {
		p.width = 80
	}
	p.width = max(40, p.width)
	p.line("%s", p.paint(ansiBold, "Evidence of this machine reaches "+d.Level))
	p.wrap("  ", d.Statement)
	p.heading("What a scan gets")
	for i := range d.Checks {
		p.check(&d.Checks[i])
	}
	p.heading("Parts")
	for _, c := range d.Classes {
		if c.Whole {
			p.wrap(fmt.Sprintf("  %-11s", c.Class), fmt.Sprintf("%d, all of them", c.Parts))
			continue
		}
		p.wrap(fmt.Sprintf("  %-11s", c.Class), fmt.Sprintf("%d, not complete: %s", c.Parts, c.Why))
	}
	if len(d.Classes) == 0 {
		p.line("  none were seen")
	}
	if next := d.Needs(); len(next) > 0 {
		p.heading("Next")
		seen := map[string]bool{}
		for _, c := range next {
			if !seen[c.Step] {
				p.wrap(fmt.Sprintf("  %2d. ", len(seen)+1), c.Step+" ("+names(next, c.Step)+")")
			}
			seen[c.Step] = true
		}
	}
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// names lists the checks that one step helps.
func names(cs []doctor.Check, step string) string {
	var out []string
	for _, c := range cs {
		if c.Step == step {
			out = append(out, c.Name)
		}
	}
	return strings.Join(out, ", ")
}

func (p *printer) check(c *doctor.Check) {
	label := fmt.Sprintf("  %-10s  %-11s  ", c.State, c.Name)
	text := cmp.Or(c.Found, c.Why)
	if c.Found != "" && c.Why != "" {
		text += "; " + c.Why
	}
	before := p.b.Len()
	p.wrap(label, text)
	if p.style.Color {
		all := p.b.String()
		p.b.Reset()
		p.b.WriteString(all[:before] + strings.Replace(all[before:], string(c.State), p.paint(doctorColor[c.State], string(c.State)), 1))
	}
	if p.style.All {
		p.wrap(strings.Repeat(" ", columns(label)), c.About)
	}
}
