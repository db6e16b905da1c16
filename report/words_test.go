package report_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

// Every text that the code asks for in another language is in the catalogue, and
// nothing else but the texts of codes is.
func TestCatalogueIsWhatTheCodeSays(t *testing.T) {
	said := map[string]bool{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			name, at := "", 0
			switch fun := call.Fun.(type) {
			case *ast.SelectorExpr:
				name = fun.Sel.Name
			case *ast.Ident:
				name = fun.Name
			}
			switch name {
			case "say", "tell":
			case "label":
				at = 1
			default:
				return true
			}
			if at < len(call.Args) {
				if lit, ok := call.Args[at].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, err := strconv.Unquote(lit.Value)
					require.NoError(t, err)
					said[text] = true
				}
			}
			return true
		})
	}
	catalogue := report.Messages(nil)
	for text := range said {
		assert.Contains(t, catalogue, text)
	}
	for _, e := range finding.Catalogue() {
		for _, text := range []string{e.Title, e.Meaning, e.Action, e.Disproof, e.Severity.String()} {
			said[text] = true
		}
	}
	for _, v := range []string{"pass", "fail", "review", "inconclusive", "info", "low", "medium", "high", "critical"} {
		said[v] = true
	}
	for text := range catalogue {
		assert.True(t, said[text], "nothing says %q", text)
	}
}

// foreign is a language in which every text is between brackets.
func foreign() report.Words {
	w := report.Messages(nil)
	for english := range w {
		w[english] = "\u27e6" + english + "\u27e7"
	}
	return w
}

// With a translation of everything no fixed text is left in English: each line of a
// report that is read aloud is one.
func TestNoTextEscapesTranslation(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, report.Spoken(&b, result(), report.Style{All: true, Words: foreign()}))
	for l := range strings.Lines(b.String()) {
		assert.True(t, strings.HasPrefix(l, "\u27e6"), l)
	}
	b.Reset()
	require.NoError(t, report.Text(&b, result(), report.Style{Words: foreign()}))
	for l := range strings.Lines(b.String()) {
		if l != "\n" && !strings.HasPrefix(l, " ") && !strings.HasPrefix(l, "manifest ") && !strings.HasPrefix(l, "evidence ") && !strings.HasPrefix(l, "policy ") {
			assert.True(t, strings.HasPrefix(l, "\u27e6"), l)
		}
	}
}

// A translation that is not one of this catalogue is refused, before it shows nonsense.
func TestReadWords(t *testing.T) {
	whole, err := json.Marshal(foreign())
	require.NoError(t, err)
	_, err = report.ReadWords(bytes.NewReader(whole))
	require.NoError(t, err)
	for text, why := range map[string]string{
		`{"no such text":"x"}`:                                             "is not in the catalogue",
		`{"Place %d: %s. %s.":"%s %d %s"}`:                                 "other values in it",
		`{"Findings: %d. Informational ones that are left out: %d.":"%d"}`: "other values in it",
		`{"Coverage":"100 %"}`:                                             "other values in it",
		`{"Coverage":1}`:                                                   "messages:",
		`{"Coverage":"x"} {}`:                                              "more than one",
		`[`:                                                                "messages:",
	} {
		_, err := report.ReadWords(strings.NewReader(text))
		assert.ErrorContains(t, err, why, text)
	}
}

func FuzzReadWords(f *testing.F) {
	f.Add(`{"Coverage":"Abdeckung"}`)
	f.Add(`{"Place %d: %s. %s.":"Ort %d: %s. %s."}`)
	f.Fuzz(func(t *testing.T, s string) {
		w, err := report.ReadWords(strings.NewReader(s))
		if err != nil {
			return
		}
		var b bytes.Buffer
		require.NoError(t, report.Spoken(&b, result(), report.Style{Words: w}))
		require.NotContains(t, b.String(), "%!")
	})
}
