package assay_test

import (
	"flag"
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateDocs = flag.Bool("update", false, "write the tables of docs/threat-model.md anew")

// threat is a line of docs/threats.tsv.
type threat struct {
	id, attack, prevents string
	code                 []string // package.Name or package.Type.Method
	tests                []string // package.Test, vector:NAME or script:NAME
	uncovered            string   // why there is no test
}

// catalogue is how many entries the groups of the catalogue have. They are
// numbered from 01, and none may be left out.
var catalogue = []struct {
	group, title string
	entries      int
}{
	{"F", "Manifests and signatures", 27},
	{"G", "Collection, transport, fleet", 20},
	{"H", "Denial, and attacks on parsers", 16},
	{"S", "The tool itself, beyond the catalogue", 12},
}

func threats(t *testing.T) (out []threat) {
	t.Helper()
	raw, err := os.ReadFile("docs/threats.tsv")
	require.NoError(t, err)
	for l := range strings.Lines(string(raw)) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		f := strings.Split(strings.TrimSuffix(l, "\n"), "\t")
		require.Len(t, f, 5, "%s", l)
		e := threat{id: f[0], attack: f[1], prevents: f[2], code: strings.Fields(f[3])}
		if why, ok := strings.CutPrefix(f[4], "not covered: "); ok {
			e.uncovered = why
		} else {
			e.tests = strings.Fields(f[4])
		}
		out = append(out, e)
	}
	return out
}

// declared lists what packages and their tests declare: "dir.Name" and
// "dir.Type.Method".
func declared(t *testing.T) (code, tests map[string]bool) {
	t.Helper()
	code, tests = map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		dir := s.pkg
		if dir == "." {
			dir = "assay"
		}
		into := code
		if s.test {
			into = tests
		}
		for _, d := range s.file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				into[dir+"."+receiver(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, sp := range d.Specs {
					if ts, ok := sp.(*ast.TypeSpec); ok {
						into[dir+"."+ts.Name.Name] = true
					}
				}
			}
		}
	}
	return code, tests
}

func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	typ := d.Recv.List[0].Type
	if p, ok := typ.(*ast.StarExpr); ok {
		typ = p.X
	}
	if id, ok := typ.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}

// The list of threats to the tool is complete, and what it names exists: the code
// that prevents each, and the tests that show it.
func TestThreatsAreCovered(t *testing.T) {
	code, tests := declared(t)
	var ids []string
	for _, e := range threats(t) {
		ids = append(ids, e.id)
		require.NotEmpty(t, e.attack, e.id)
		if e.uncovered == "" {
			require.NotEmpty(t, e.tests, "%s: name a test, or say why there is none", e.id)
			require.NotEmpty(t, e.code, "%s: name the code that prevents it", e.id)
		}
		for _, c := range e.code {
			require.True(t, code[c], "%s: no code is called %s", e.id, c)
		}
		for _, name := range e.tests {
			checkShown(t, e.id, name, tests)
		}
	}
	var want []string
	for _, g := range catalogue {
		for n := range g.entries {
			want = append(want, fmt.Sprintf("%s%02d", g.group, n+1))
		}
	}
	require.Equal(t, want, ids, "the entries of docs/threats.tsv, in order")
}

func checkShown(t *testing.T, id, name string, tests map[string]bool) {
	t.Helper()
	if script, ok := strings.CutPrefix(name, "script:"); ok {
		require.FileExists(t, filepath.Join("cmd/assay/testdata/script", script+".txtar"), id)
	} else if vector, ok := strings.CutPrefix(name, "vector:"); ok {
		raw, err := os.ReadFile(filepath.Join("testdata/vectors", vector+".txtar"))
		require.NoError(t, err, id)
		require.Contains(t, string(raw), "id: "+id+"\n", "%s: the vector is of another attack", vector)
	} else {
		require.True(t, tests[name], "%s: no test is called %s", id, name)
		require.Regexp(t, `\.(Test|Fuzz)[A-Z]`, name, id)
	}
}

// Each vector and each test that carries the number of a threat is on the list,
// so that the list does not fall behind.
func TestThreatsNameTheirTests(t *testing.T) {
	of := map[string][]string{}
	for _, e := range threats(t) {
		of[e.id] = e.tests
	}
	for _, p := range globbed(t, "testdata/vectors/*.txtar") {
		raw, err := os.ReadFile(p)
		require.NoError(t, err)
		first, _, _ := strings.Cut(string(raw), "\n")
		id := strings.TrimPrefix(first, "id: ")
		if tests, ok := of[id]; ok {
			require.Contains(t, tests, "vector:"+strings.TrimSuffix(filepath.Base(p), ".txtar"), "%s in docs/threats.tsv", id)
		}
	}
	_, tests := declared(t)
	for name := range tests {
		_, fn, _ := strings.Cut(name, ".Test")
		if len(fn) < 3 {
			continue
		}
		if listed, ok := of[fn[:3]]; ok {
			require.Contains(t, listed, name, "%s in docs/threats.tsv", fn[:3])
		}
	}
}

// docs/threat-model.md has the list as tables.
func TestDocsListTheThreats(t *testing.T) {
	const start, end = "<!-- tables: docs/threats.tsv -->\n", "<!-- end of tables -->\n"
	doc, err := os.ReadFile("docs/threat-model.md")
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(doc), start)
	require.True(t, ok)
	_, after, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := before + start + threatTables(threats(t)) + end + after
	if *updateDocs {
		require.NoError(t, os.WriteFile("docs/threat-model.md", []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(doc), "write it anew: go test . -run Docs -update")
}

func threatTables(all []threat) string {
	var b strings.Builder
	for _, g := range catalogue {
		fmt.Fprintf(&b, "\n### %s. %s\n\n| id | attack | what prevents it | where | shown by |\n|---|---|---|---|---|\n", g.group, g.title)
		for _, e := range all {
			if !strings.HasPrefix(e.id, g.group) {
				continue
			}
			shown := quoted(e.tests)
			if e.uncovered != "" {
				shown = "**not covered**: " + e.uncovered
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", e.id, e.attack, e.prevents, quoted(e.code), shown)
		}
	}
	return b.String() + "\n"
}

func quoted(names []string) string {
	out := slices.Clone(names)
	for i, n := range out {
		out[i] = "`" + n + "`"
	}
	return strings.Join(out, ", ")
}

// globbed is fatal where nothing matches.
func globbed(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, out, pattern)
	return out
}
