package report_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

// Every text that the code asks for in another language is in the catalogue, and
// nothing else but the texts of codes is.
func TestCatalogueIsWhatTheCodeSays(t *testing.T) {
	said := map[string]bool{}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	pages, err := filepath.Glob("html/*.go")
	require.NoError(t, err)
	files = append(files, pages...)
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			if pair, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := pair.Key.(*ast.Ident); ok && key.Name == "Title" && file == "board.go" {
					add(t, said, pair.Value)
				}
			}
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
			case "say", "Say", "tell":
			case "heading", "list":
				if file != "markdown.go" {
					return true
				}
			case "label":
				at = 1
			case "table":
				for _, arg := range call.Args {
					add(t, said, arg)
				}
				return true
			default:
				return true
			}
			if at < len(call.Args) {
				add(t, said, call.Args[at])
			}
			return true
		})
	}
	saidInPages(t, said)
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

// add notes a text that stands as a literal.
func add(t *testing.T, said map[string]bool, e ast.Expr) {
	t.Helper()
	if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.STRING {
		text, err := strconv.Unquote(lit.Value)
		require.NoError(t, err)
		said[text] = true
	}
}

// saidInPages notes what the templates of pages say.
func saidInPages(t *testing.T, said map[string]bool) {
	t.Helper()
	for _, file := range []string{"html/report.html.tmpl", "html/pieces.html.tmpl"} {
		b, err := os.ReadFile(file)
		require.NoError(t, err)
		found := regexp.MustCompile(`say "([^"]*)"`).FindAllStringSubmatch(string(b), -1)
		require.NotEmpty(t, found)
		for _, m := range found {
			said[m[1]] = true
		}
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
	for name, write := range map[string]func() error{
		"check":    func() error { return report.Check(&b, result(), report.Style{Width: 300, Words: foreign()}) },
		"markdown": func() error { return report.Markdown(&b, result(), foreign()) },
		"page":     func() error { return html.Write(&b, result(), foreign()) },
	} {
		b.Reset()
		require.NoError(t, write(), name)
		text := regexp.MustCompile(`(?s)<style>.*</style>|<[^>]*>`).ReplaceAllString(b.String(), "")
		for innermost := regexp.MustCompile("\u27e6[^\u27e6\u27e7]*\u27e7"); innermost.MatchString(text); {
			text = innermost.ReplaceAllString(text, "")
		}
		for _, english := range []string{"Look at", "inspected", "Result", "Findings", "Incidents", "Coverage", "declared", "matched", "severity", "disprove", "Required", "Assurance", "Signed", "signed by Ex", "sha256:cd collected", "findings", "Verifiable", "Inputs"} {
			assert.NotContains(t, text, english, name)
		}
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
