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
func Markdown(w io.Writer, r *assay.Result) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n\n", strings.ToUpper(string(r.Verdict)), cell(Machine(r)))
	fmt.Fprintf(&b, "%s\n\nAssurance %s: %s\n", cell(Sentence(r)), r.Assurance.Level, cell(r.Assurance.Statement))
	if len(r.Incidents) > 0 {
		b.WriteString("\n## Incidents\n")
		for _, i := range r.Incidents {
			fmt.Fprintf(&b, "\n### %s %s (%s)\n\n%s\n\nWould disprove it: %s\n", i.Code, cell(i.Title), i.Severity, cell(i.Narrative), cell(i.Disprove))
		}
	}
	if len(r.Findings) > 0 {
		b.WriteString("\n## Findings\n\n| severity | code | subject | place | want | got | why |\n|---|---|---|---|---|---|---|\n")
		for _, f := range r.Findings {
			fmt.Fprintf(&b, "| %s | %s %s | %s | %s | %s | %s | %s |\n", f.Severity, f.Code, cell(f.Name), cell(f.Subject), cell(Place(f)), cell(f.Want), cell(f.Got), cell(f.Why))
		}
	}
	b.WriteString("\n## Required\n\n| what | proved | reason |\n|---|---|---|\n")
	for _, q := range r.Required {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", q.What, yesNo(q.Proved), cell(q.Reason))
	}
	b.WriteString("\n## Coverage\n\n| class | declared | matched | unexpected | not observable |\n|---|---|---|---|---|\n")
	for _, c := range r.Coverage {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", c.Class, c.Declared, c.Matched, c.Unexpected, c.NotObservable)
	}
	for _, d := range r.Devices {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d |\n", cell(d.Device), d.Declared, d.Matched, d.Unexpected, d.NotObservable)
	}
	if r.Verifiability.Lines > 0 {
		fmt.Fprintf(&b, "\nVerifiable: %s.\n", r.Verifiability)
	}
	if spots := BlindSpots(r); len(spots) > 0 {
		fmt.Fprintf(&b, "\nNo evidence here would show: %s.\n", cell(strings.Join(spots, "; ")))
	}

	if len(r.Inspections) > 0 {
		b.WriteString("\n## Inspections\n\n")
		for _, u := range r.Inspections {
			fmt.Fprintf(&b, "- %s\n", cell(InspectionLine(u)))
		}
	}
	if len(r.NotChecked) > 0 {
		b.WriteString("\n## Not checked\n\n")
		for _, n := range r.NotChecked {
			fmt.Fprintf(&b, "- %s: %s\n", cell(n.What), cell(n.Reason))
		}
	}
	b.WriteString("\n## Inputs\n\n")
	for _, m := range r.Manifests {
		fmt.Fprintf(&b, "- manifest %s version %d, %s, signed by %s, sha256 `%s`\n", cell(m.ID), m.Version, cell(m.Status), cell(cmp.Or(strings.Join(m.Signers, "; "), "nobody")), m.SHA256)
	}
	fmt.Fprintf(&b, "- evidence sha256 `%s`\n- policy %s\n- at %s\n", r.Evidence.SHA256, cell(r.Policy.ID), r.At.Format("2006-01-02T15:04:05Z07:00"))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Place is where on the board a finding is, as people know it.
func Place(f finding.Finding) string {
	at := cmp.Or(f.Location.Slot, f.Location.Designator, f.Location.Path)
	if image, ok := strings.CutPrefix(at, assay.FlashPath); ok {
		return "flash chip of " + image
	}
	return at
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "NO"
}

// markup lists what Markdown or an HTML renderer behind it would read as more
// than text.
var markup = strings.NewReplacer(`\`, `\\`, "|", `\|`, "`", "\\`", "<", "&lt;", ">", "&gt;", "&", "&amp;",
	"*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "#", `\#`, "!", `\!`, "\n", " ")

func cell(s string) string { return markup.Replace(Plain(s)) }
