package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/inspection"
)

// Style says how a terminal report looks. The zero value is plain text, 80
// columns wide.
type Style struct {
	Width int  // columns; 0 is 80
	Color bool // ANSI colours, for a terminal only
	All   bool // informational findings and full coverage too
	Words Words
}

// Text writes a report for a person at a terminal: the verdict first, then
// where to look, the incidents, the findings, and what was not checked.
func Text(w io.Writer, r *assay.Result, s Style) error {
	p := &printer{style: s, width: s.Width}
	if p.width <= 0 {
		p.width = 80
	}
	p.width = max(40, p.width)
	p.verdict(r)
	p.where(r)
	p.incidents(r)
	p.findings(r)
	p.required(r)
	p.notChecked(r)
	p.coverage(r)
	p.blind(r)
	p.inspections(r)
	p.footer(r)
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

type printer struct {
	b     strings.Builder
	style Style
	width int
}

const (
	ansiReset = "\x1b[0m"
	ansiBold  = "\x1b[1m"
	ansiDim   = "\x1b[2m"
)

func (p *printer) paint(code, s string) string {
	if !p.style.Color || s == "" {
		return s
	}
	return code + s + ansiReset
}

func verdictColor(v assay.Verdict) string {
	switch v {
	case assay.Pass:
		return "\x1b[1;32m"
	case assay.Fail:
		return "\x1b[1;31m"
	}
	return "\x1b[1;33m"
}

func severityColor(s finding.Severity) string {
	switch s {
	case finding.Critical, finding.High:
		return "\x1b[31m"
	case finding.Medium:
		return "\x1b[33m"
	}
	return ansiDim
}

func (p *printer) line(format string, args ...any) {
	fmt.Fprintf(&p.b, format+"\n", args...)
}

func (p *printer) heading(s string) {
	p.line("")
	p.line("%s", p.paint(ansiBold, s))
}

// say returns a fixed text in the language of the words, with its values.
func (p *printer) say(english string, args ...any) string {
	if len(args) == 0 {
		return p.style.Words.Say(english)
	}
	return fmt.Sprintf(p.style.Words.Say(english), args...)
}

// label writes text behind a word that says what it is, at a column.
func (p *printer) label(indent int, english string, width int, text string) {
	word := p.say(english)
	p.wrap(strings.Repeat(" ", indent)+word+strings.Repeat(" ", max(1, width-columns(word))), text)
}

// wrap writes text in the space after a label, indented under it.
func (p *printer) wrap(label, text string) {
	indent := strings.Repeat(" ", columns(label))
	room := max(20, p.width-columns(label))
	for i, l := range fold(Plain(text), room) {
		if i == 0 {
			p.line("%s%s", label, l)
			continue
		}
		p.line("%s%s", indent, l)
	}
}

func (p *printer) verdict(r *assay.Result) {
	p.line("%s  %s", p.paint(verdictColor(r.Verdict), strings.ToUpper(p.say(string(r.Verdict)))), p.paint(ansiBold, Machine(r)))
	p.wrap("      ", Sentence(r, p.style.Words))
	p.wrap("      ", p.say("Assurance %s: %s", r.Assurance.Level, r.Assurance.Statement))
}

// Machine names the machine that a result is about.
func Machine(r *assay.Result) string {
	s := strings.TrimSpace(Plain(r.Platform.Manufacturer + " " + r.Platform.Model))
	if r.Platform.Serial != "" {
		s += "  serial " + Plain(r.Platform.Serial)
	}
	return cmp.Or(s, "machine without a name")
}

// Sentence tells in one sentence what the verdict rests on.
func Sentence(r *assay.Result, w Words) string {
	say := w.Say
	switch r.Verdict {
	case assay.Pass:
		return say("Everything that the policy requires was proved, and nothing contradicts the manifest.")
	case assay.Review:
		return fmt.Sprintf(say("Nothing proves a difference that fails the machine, but %s should be looked at by a person."), counts(r, w))
	case assay.Inconclusive:
		var open []string
		for _, q := range r.Required {
			if !q.Proved {
				open = append(open, string(q.What))
			}
		}
		return fmt.Sprintf(say("Nothing contradicts the manifest, but the policy requires what was not proved: %s."), strings.Join(open, ", "))
	}
	return fmt.Sprintf(say("The machine or its manifest is not as it should be: %s."), counts(r, w))
}

func counts(r *assay.Result, w Words) string {
	var parts []string
	total := 0
	for s := finding.Critical; s >= finding.Medium; s-- {
		if n := r.Summary[s.String()]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, w.Say(s.String())))
			total += n
		}
	}
	if len(parts) == 0 {
		return w.Say("no findings above low")
	}
	if total == 1 {
		return fmt.Sprintf(w.Say("%s finding"), parts[0])
	}
	return fmt.Sprintf(w.Say("%s findings"), strings.Join(parts, ", "))
}

// place is where to look, in the words printed on the board, and for what.
type place struct{ at, what string }

func places(r *assay.Result, w Words) []place {
	var out []place
	for _, f := range r.Findings {
		if f.Severity < finding.Medium {
			continue
		}
		if at := Place(f); at != "" {
			out = append(out, place{Plain(at), fmt.Sprintf("%s (%s %s)", Plain(w.Say(f.Title)), f.Code, Plain(f.Subject))})
		}
	}
	return slices.Compact(out)
}

// where lists the places to open.
func (p *printer) where(r *assay.Result) {
	places := places(r, p.style.Words)
	if len(places) == 0 {
		return
	}
	p.heading(p.say("Where to look"))
	width := 0
	for _, pl := range places {
		width = max(width, columns(pl.at))
	}
	width = min(width, p.width/2)
	for _, pl := range places {
		p.wrap(fmt.Sprintf("  %s%s  ", p.paint(ansiBold, pl.at), strings.Repeat(" ", max(0, width-columns(pl.at)))), pl.what)
	}
}

func (p *printer) incidents(r *assay.Result) {
	if len(r.Incidents) == 0 {
		return
	}
	p.heading(p.say("Incidents"))
	for _, i := range r.Incidents {
		p.line("  %s %s  %s", p.paint(severityColor(i.Severity), fmt.Sprintf("%-8s", p.say(i.Severity.String()))), i.Code, p.paint(ansiBold, Plain(p.say(i.Title))))
		p.wrap("           ", i.Narrative)
		p.wrap("           "+p.say("would disprove it")+": ", p.say(i.Disprove))
	}
}

func (p *printer) findings(r *assay.Result) {
	if slices.ContainsFunc(r.Findings, func(f finding.Finding) bool { return p.style.All || f.Severity > finding.Info }) {
		p.heading(p.say("Findings"))
	}
	p.list(r.Findings)
}

// list writes findings, informational ones only on request.
func (p *printer) list(fs []finding.Finding) {
	shown, hidden := split(fs, p.style.All)
	for _, f := range shown {
		p.line("  %s %s  %s  %s", p.paint(severityColor(f.Severity), fmt.Sprintf("%-8s", p.say(f.Severity.String()))), f.Code, p.paint(ansiBold, Plain(f.Subject)), Plain(p.say(f.Title)))
		if f.Want != "" {
			p.label(11, "want", 6, f.Want)
		}
		if f.Got != "" {
			p.label(11, "got", 6, f.Got)
		}
		p.label(11, "why", 6, f.Why)
		if f.CoveredBy != "" {
			p.label(11, "covered by", 11, f.CoveredBy)
		}
		if f.Severity >= finding.Medium {
			p.label(11, "do", 6, p.say(f.Action))
		}
	}
	if hidden > 0 {
		p.line("")
		p.wrap("  ", p.say("%d informational findings are not shown; --all or --format json has them.", hidden))
	}
}

// split keeps informational findings out of a short report.
func split(fs []finding.Finding, all bool) (shown []finding.Finding, hidden int) {
	for _, f := range fs {
		if f.Severity == finding.Info && !all {
			hidden++
			continue
		}
		shown = append(shown, f)
	}
	return shown, hidden
}

func (p *printer) required(r *assay.Result) {
	if len(r.Required) == 0 {
		return
	}
	p.heading(p.say("Required by policy %s", Plain(r.Policy.ID)))
	for _, q := range r.Required {
		mark := fmt.Sprintf("%-10s", p.say("proved"))
		if !q.Proved {
			mark = p.paint("\x1b[33m", fmt.Sprintf("%-10s", p.say("NOT PROVED")))
		}
		p.wrap(fmt.Sprintf("  %s  %-10s ", mark, q.What), cmp.Or(q.Reason, " "))
	}
}

// shortList bounds lists in a terminal report; the other formats have all.
const shortList = 12

func (p *printer) notChecked(r *assay.Result) {
	if len(r.NotChecked) == 0 {
		return
	}
	p.heading(p.say("Not checked (%d)", len(r.NotChecked)))
	for i, n := range r.NotChecked {
		if i == shortList && !p.style.All && len(r.NotChecked) > shortList+1 {
			p.wrap("  ", p.say("... and %d more; --all or --format json has them.", len(r.NotChecked)-shortList))
			break
		}
		p.wrap("  "+Plain(n.What)+": ", n.Reason)
	}
}

func (p *printer) coverage(r *assay.Result) {
	if len(r.Coverage) == 0 {
		return
	}
	p.heading(p.say("Coverage"))
	p.line("  %-12s %8s %8s %10s %14s", p.say("class"), p.say("declared"), p.say("matched"), p.say("unexpected"), p.say("not observable"))
	for _, c := range r.Coverage {
		p.line("  %-12s %8d %8d %10d %14d", c.Class, c.Declared, c.Matched, c.Unexpected, c.NotObservable)
	}
	for _, d := range r.Devices {
		p.line("  %-12s %8d %8d %10d %14d", Plain(d.Device), d.Declared, d.Matched, d.Unexpected, d.NotObservable)
	}
	if line := BootLine(r); line != "" {
		p.wrap("  "+p.say("measured boot")+": ", line)
	}
	if r.Verifiability.Lines > 0 {
		p.wrap("  "+p.say("verifiable")+": ", r.Verifiability.String())
	}
}

// blind tells, with every verdict, what this evidence could not have shown. What
// would show each is told with all findings.
func (p *printer) blind(r *assay.Result) {
	if spots := BlindSpots(r); len(spots) > 0 {
		p.heading(p.say("No evidence here would show (LM-001)"))
		p.wrap("  ", strings.Join(spots, "; "))
	}
}

// BlindSpots names what the evidence of a result could not have shown.
func BlindSpots(r *assay.Result) []string {
	var out []string
	for _, f := range r.Findings {
		if f.Code == finding.BlindSpot {
			out = append(out, strings.TrimPrefix(f.Subject, "blind spot:"))
		}
	}
	return out
}

// InspectionLine tells one record of a physical inspection and what became of it.
func InspectionLine(u inspection.Use) string {
	counts := map[string]string{"unit": "counts for this unit", "lot": "counts for its lot"}[u.Counts]
	line := fmt.Sprintf("%s %s of %s by %s: %s, %d deviations, %d of %d attachments verified; %s", cmp.Or(u.ID, "record"), u.Technique, cmp.Or(u.Unit, "an unknown unit"), cmp.Or(u.Operator, "nobody"),
		cmp.Or(u.Result, "not read"), u.Deviations, u.Verified, u.Attachments, cmp.Or(counts, "does not count"))
	if u.Reason != "" {
		line += ": " + u.Reason
	}
	return line
}

func (p *printer) inspections(r *assay.Result) {
	if len(r.Inspections) == 0 {
		return
	}
	p.heading(p.say("Inspections"))
	for _, u := range r.Inspections {
		p.wrap("  ", InspectionLine(u))
	}
	inspected := 0
	for _, c := range r.Coverage {
		inspected += c.Inspected
	}
	p.wrap("  ", p.say("%d declared parts were shown by inspection alone; %d are left.", inspected, len(r.ToInspect)))
}

// BootLine says what became of each register, "" when none was looked at.
func BootLine(r *assay.Result) string {
	var parts []string
	for _, state := range []string{"explained", "unexplained", "not attested"} {
		var pcrs []string
		bank := ""
		for _, b := range r.Boot {
			if b.Result == state {
				pcrs = append(pcrs, fmt.Sprint(b.PCR))
				bank = b.Bank
			}
		}
		if len(pcrs) > 0 {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%s %s: PCR %s", bank, state, strings.Join(pcrs, " "))))
		}
	}
	line := strings.Join(parts, "; ")
	if line != "" && !r.Assurance.Quoted {
		line = "not signed by a verified quote; " + line
	}
	return line
}

func (p *printer) footer(r *assay.Result) {
	p.line("")
	for _, m := range r.Manifests {
		p.label(0, "manifest", 10, p.say("%s version %d, %s, signed by %s", m.ID, m.Version, m.Status, cmp.Or(strings.Join(m.Signers, "; "), p.say("nobody"))))
	}
	p.label(0, "evidence", 10, p.say("sha256:%s collected %s", r.Evidence.SHA256, cmp.Or(r.Evidence.CollectedAt, p.say("at an unknown time"))))
	p.label(0, "policy", 10, r.Policy.ID)
}
