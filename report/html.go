package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
)

//go:embed report.html.tmpl
var htmlSource string

// HTML writes the result as one self-contained file: no script, nothing
// fetched, and a layout that prints.
func HTML(w io.Writer, r *assay.Result) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"plain":    Plain,
		"place":    placeOf,
		"upper":    func(v assay.Verdict) string { return strings.ToUpper(string(v)) },
		"machine":  machine,
		"sentence": verdictSentence,
		"boot":     bootLine,
		"board":    boardSVG,
		"inspect":  Inspection,
		"join":     func(s []string) string { return strings.Join(s, "; ") },
		"notable":  func(f finding.Finding) bool { return f.Severity > finding.Info },
	}).Parse(htmlSource)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}
