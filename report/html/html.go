// Package html writes a result as a page. It is apart from the other reports,
// since a program with a template engine keeps every method of every type, and
// the bootable scanner has no room for that.
package html

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

//go:embed report.html.tmpl
var htmlSource string

//go:embed pieces.html.tmpl
var pieceSource string

// Write writes the result as one self-contained file: no script, nothing
// fetched, and a layout that prints.
func Write(w io.Writer, r *assay.Result, words report.Words) error {
	t, err := Pieces(words)
	if err == nil {
		t, err = t.New("report").Parse(htmlSource)
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.Execute(w, r); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Pieces are the sections of a report as templates over a result, for pages that
// have more: incidents, board, findings, required, coverage, unchecked, notes and
// inputs. Their functions make text from evidence safe; what a page adds has to do
// so too (plain). Fixed texts are in the language of words.
func Pieces(words report.Words) (*template.Template, error) {
	t, err := template.New("pieces").Funcs(template.FuncMap{
		"plain":    report.Plain,
		"place":    report.Place,
		"say":      words.Say,
		"upper":    func(v assay.Verdict) string { return strings.ToUpper(words.Say(string(v))) },
		"machine":  report.Machine,
		"sentence": func(r *assay.Result) string { return report.Sentence(r, words) },
		"boot":     report.BootLine,
		"blind":    report.BlindSpots,
		"board":    func(r *assay.Result) template.HTML { return boardSVG(r, words) },
		"inspect":  report.Inspection,
		"looked":   report.InspectionLine,
		"join":     func(s []string) string { return strings.Join(s, "; ") },
		"notable":  func(f finding.Finding) bool { return f.Severity > finding.Info },
	}).Parse(pieceSource)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return t, nil
}
