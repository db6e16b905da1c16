package report

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

// Markdown writes the result for a ticket or a wiki page.
func Markdown(w io.Writer, r *assay.Result, words Words) error {
	p := &page{words: words}
	p.line("# %s: %s\n", strings.ToUpper(words.Say(string(r.Verdict))), cell(Machine(r)))
	p.line("%s\n\n%s", cell(Sentence(r, words)), cell(fmt.Sprintf(words.Say("Assurance %s: %s"), r.Assurance.Level, r.Assurance.Statement)))
	p.judged(r)
	p.compared(r)
	p.list("Inspections", len(r.Inspections), func(i int) string { return cell(InspectionLine(r.Inspections[i])) })
	p.list("Not checked", len(r.NotChecked), func(i int) string { return cell(r.NotChecked[i].What) + ": " + cell(r.NotChecked[i].Reason) })
	p.heading("Inputs")
	for _, m := range r.Manifests {
		p.line("- %s", cell(fmt.Sprintf(words.Say("Manifest %s version %d: %s. Signed by %s."), m.ID, m.Version, m.Status, cmp.Or(strings.Join(m.Signers, "; "), words.Say("nobody"))))+" sha256 `"+m.SHA256+"`")
	}
	p.line("- %s sha256 `%s`\n- %s %s\n- %s %s", words.Say("evidence"), r.Evidence.SHA256, words.Say("policy"), cell(r.Policy.ID), words.Say("at"), r.At.Format("2006-01-02T15:04:05Z07:00"))
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// page writes Markdown in the language of its words.
type page struct {
	b     strings.Builder
	words Words
}

func (p *page) say(english string) string { return cell(p.words.Say(english)) }

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

func (p *page) heading(english string) { p.line("\n## %s\n", p.say(english)) }

// table begins a table with its columns.
func (p *page) table(columns ...string) {
	for i, c := range columns {
		columns[i] = p.say(c)
	}
	p.line("| %s |\n%s|", strings.Join(columns, " | "), strings.Repeat("|---", len(columns)))
}

func (p *page) list(heading string, n int, item func(int) string) {
	if n == 0 {
		return
	}
	p.heading(heading)
	for i := range n {
		p.line("- %s", item(i))
	}
}

// judged writes incidents, findings, and what the policy requires.
func (p *page) judged(r *assay.Result) {
	if len(r.Incidents) > 0 {
		p.line("\n## %s", p.say("Incidents"))
		for _, i := range r.Incidents {
			p.line("\n### %s %s (%s)\n\n%s\n\n%s", i.Code, p.say(i.Title), p.say(i.Severity.String()), cell(i.Narrative), cell(fmt.Sprintf(p.words.Say("Would disprove it: %s"), p.words.Say(i.Disprove))))
		}
	}
	if len(r.Findings) > 0 {
		p.heading("Findings")
		p.table("severity", "code", "subject", "place", "want", "got", "why")
		for _, f := range r.Findings {
			p.line("| %s | %s %s | %s | %s | %s | %s | %s |", p.say(f.Severity.String()), f.Code, cell(f.Name), cell(f.Subject), cell(Place(f)), cell(f.Want), cell(f.Got), cell(f.Why))
		}
	}
	p.line("\n## %s\n", cell(fmt.Sprintf(p.words.Say("Required by policy %s"), r.Policy.ID)))
	p.table("what", "proved", "reason")
	for _, q := range r.Required {
		mark := p.say("yes")
		if !q.Proved {
			mark = p.say("NO")
		}
		p.line("| %s | %s | %s |", q.What, mark, cell(q.Reason))
	}
}

// compared writes what was compared, and what nothing would show.
func (p *page) compared(r *assay.Result) {
	p.heading("Coverage")
	p.table("class", "declared", "matched", "unexpected", "not observable")
	for _, c := range r.Coverage {
		p.line("| %s | %d | %d | %d | %d |", c.Class, c.Declared, c.Matched, c.Unexpected, c.NotObservable)
	}
	for _, d := range r.Devices {
		p.line("| %s | %d | %d | %d | %d |", cell(d.Device), d.Declared, d.Matched, d.Unexpected, d.NotObservable)
	}
	if r.Verifiability.Lines > 0 {
		p.line("\n%s", cell(fmt.Sprintf(p.words.Say("Verifiable: %s."), r.Verifiability)))
	}
	if spots := BlindSpots(r); len(spots) > 0 {
		p.line("\n%s", cell(fmt.Sprintf(p.words.Say("What no evidence here would show: %s."), strings.Join(spots, "; "))))
	}
}

// Place is where on the board a finding is, as people know it.
func Place(f finding.Finding) string {
	at := cmp.Or(f.Location.Slot, f.Location.Designator, f.Location.Path)
	if image, ok := strings.CutPrefix(at, assay.FlashPath); ok {
		return "flash chip of " + image
	}
	return at
}

// markup lists what Markdown or an HTML renderer behind it would read as more
// than text.
var markup = strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "#", `\#`, "!", `\!`, "\n", " ")

func cell(s string) string { return markup.Replace(Plain(s)) }
