package lines

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

// GitHub writes workflow commands of GitHub Actions: an annotation for the verdict
// and one for each finding above informational. Every line is such a command, so
// that no text out of the evidence can be one ("Workflow commands for GitHub
// Actions"; escapes as in actions/toolkit, core/command).
func GitHub(w io.Writer, r *assay.Result) error {
	var b bytes.Buffer
	command(&b, verdictCommand(r.Verdict), strings.ToUpper(string(r.Verdict))+" "+report.Machine(r), report.Sentence(r, nil)+" Assurance "+r.Assurance.Level+": "+r.Assurance.Statement)
	for _, f := range r.Findings {
		var kind string
		switch {
		case f.Severity >= finding.High:
			kind = "error"
		case f.Severity == finding.Medium:
			kind = "warning"
		case f.Severity == finding.Low:
			kind = "notice"
		default:
			continue
		}
		where := cmp.Or(report.Place(f), f.Subject)
		command(&b, kind, fmt.Sprintf("%s %s: %s", f.Code, f.Title, where),
			fmt.Sprintf("%s: want %s, got %s. %s %s", f.Subject, f.Want, f.Got, f.Why, report.CodeURL(f.Code)))
	}
	return write(w, b.Bytes())
}

// An inconclusive verdict is an error here: a step that prints no error reads as one
// that proved something.
func verdictCommand(v assay.Verdict) string {
	switch v {
	case assay.Pass:
		return "notice"
	case assay.Review:
		return "warning"
	}
	return "error"
}

var (
	commandData     = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	commandProperty = strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
)

func command(b *bytes.Buffer, kind, title, text string) {
	fmt.Fprintf(b, "::%s title=%s::%s\n", kind, commandProperty.Replace(report.Plain(title)), commandData.Replace(report.Plain(text)))
}
