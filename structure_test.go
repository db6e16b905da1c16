package assay_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/assay-hw/assay"

// layers lists the packages from the command down to the words. A package
// imports only packages of lower layers; packages of one layer never import
// each other.
var layers = [][]string{
	{"cmd/assay", "cmd/assay-pkcs11", "cmd/scanner", "cmd/sender", "cmd/assay-matrix", "demo/unpack", "demo/story", "lab", "lab/controller", "fleet/load"},
	{"fleet/client", "fleet/storetest", "docs/site"},
	{"fleet/web", "fleet/oidc"},
	{"fleet/api", "fleet/controllers", "fleet/monitor"},
	{"fleet/server"},
	{"fleet/alert"},
	{"fleet/sqlite", "fleet/postgres"},
	{"fleet/queue", "fleet/sqldb"},
	{"fleet/ticket"},
	{"fleet"},
	{"fleet/blob", "fleet/cohort", "fleet/auditlog", "fleet/outbox", "fleet/settings"},
	{"report/html", "report/lines", "report/ear"},
	{"report", "image", "efficacy", "efficacy/gate"},
	{"."},
	{"manifest/vendor", "manifest/paccor", "manifest/revision", "boardmap", "keystore"},
	{"collect/redfish", "knownbad", "quirk", "inspection", "procure", "manifest/cyclonedx", "manifest/redfish", "manifest/cerberus", "manifest/design", "manifest/rim", "manifest/corim", "manifest/platformcert", "manifest/timestamp", "manifest/sigstore"},
	{"manifest", "collect", "firmware/unpack", "firmware/measured", "manifest/safe", "doctor"},
	{"bom", "attest", "attest/spdm", "firmware", "firmware/brotli", "collect/tpm", "board"},
	{"evidence"},
	{"finding"},
	{"image/layout", "docs", "testdata", "sandbox"},
}

// internalMay lists what an internal package may import: the standard library
// and text tables, so that a wire format has no opinion about the product.
var internalMay = []string{"golang.org/x/text/"}

type source struct {
	path string
	pkg  string
	test bool
	file *ast.File
	fset *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && p != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(p, ".go") {
			return nil
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		out = append(out, source{path: p, pkg: filepath.ToSlash(filepath.Dir(p)), test: strings.HasSuffix(p, "_test.go"), file: f, fset: fset})
		return nil
	})
	require.NoError(t, err)
	require.NotEmpty(t, out)
	return out
}

func layerOf(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, pkg) })
}

func TestImportsGoDownTheList(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || strings.HasPrefix(s.pkg, "tools") {
			continue
		}
		internal := strings.HasPrefix(s.pkg, "internal/")
		if !internal {
			require.GreaterOrEqual(t, layerOf(s.pkg), 0, "%s: package %q has no layer; give it one in this test and in docs/architecture.md", s.path, s.pkg)
		}
		for _, im := range s.file.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			require.NoError(t, err)
			checkImport(t, s, path, internal)
		}
	}
}

func checkImport(t *testing.T, s source, path string, internal bool) {
	t.Helper()
	own := path == module || strings.HasPrefix(path, module+"/")
	switch {
	case internal && own:
		require.True(t, strings.HasPrefix(path, module+"/internal/"), "%s: an internal package imports %s", s.path, path)
	case internal && strings.Contains(strings.SplitN(path, "/", 2)[0], "."):
		require.True(t, slices.ContainsFunc(internalMay, func(p string) bool { return strings.HasPrefix(path, p) }), "%s: an internal package imports %s", s.path, path)
	case own && !strings.HasPrefix(path, module+"/internal/"):
		to := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if to == "" {
			to = "."
		}
		require.Greater(t, layerOf(to), layerOf(s.pkg), "%s: %s may not import %s", s.path, s.pkg, to)
	}
}

// Who reads a machine and who judges it are apart: the collector parses
// nothing, and a verdict needs no machine.
func TestAttesterAndVerifierAreApart(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		collects := s.pkg == "collect" || strings.HasPrefix(s.pkg, "collect/")
		for _, im := range s.file.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			require.NoError(t, err)
			to, own := strings.CutPrefix(path, module)
			switch {
			case !own:
			case collects:
				for _, judge := range []string{"", "/bom", "/attest", "/firmware", "/manifest", "/report"} {
					require.NotEqual(t, judge, to, "%s: the collector imports what judges", s.path)
				}
			case s.pkg == "keystore": // signs with the TPM of the signer's machine, and judges nothing
			case s.pkg == "lab/controller": // runs on a machine of the lab, and only collects
			case s.pkg == "fleet/controllers": // asks over the network, for the server that judges
			case strings.HasPrefix(s.pkg, "fleet/") && to == "/collect/tpm":
				// An enrolment is a talk with a TPM, and that package has both ends of
				// it. The fleet's verdicts come from package assay as all others do.
			case !strings.HasPrefix(s.pkg, "cmd/"):
				require.False(t, strings.HasPrefix(to, "/collect"), "%s: a verdict would need a machine", s.path)
			}
		}
	}
}

// The bootable scanner is built around package collect: what reaches over a
// network or writes pages is brought by the program that wants it.
func TestTheCollectorStaysSmall(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "./collect").Output()
	require.NoError(t, err)
	for _, heavy := range []string{"net/http", "crypto/tls", "html/template", "text/template", "github.com/stmcginnis/gofish", module + "/collect/redfish"} {
		require.NotContains(t, strings.Fields(string(out)), heavy)
	}
}

// H16: evidence is never executed, interpreted or mounted. What starts a program
// is listed here: the scanner and the builder of its image, the signer's token,
// and what tests use.
func TestH16NothingIsExecuted(t *testing.T) {
	starts := []string{"cmd/scanner", "image", "keystore", "lab", "lab/controller", "fleet/storetest", "internal/swtpm", "internal/softhsm", "internal/ids/gen"}
	for _, s := range sources(t) {
		if s.test || slices.Contains(starts, s.pkg) || strings.HasPrefix(s.pkg, "tools") {
			continue
		}
		for _, im := range s.file.Imports {
			require.NotContains(t, []string{`"os/exec"`, `"plugin"`}, im.Path.Value, "%s may start a program", s.path)
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"os", "syscall", "unix"}, x.Name) {
					require.NotContains(t, []string{"StartProcess", "ForkExec", "Exec", "Mount", "Execve", "Execveat"}, sel.Sel.Name, "%s: %s.%s", s.path, x.Name, sel.Sel.Name)
				}
			}
			return true
		})
	}
}

func TestCobraStaysInTheCommand(t *testing.T) {
	for _, s := range sources(t) {
		for _, im := range s.file.Imports {
			if strings.Contains(im.Path.Value, "spf13/cobra") {
				require.True(t, strings.HasPrefix(s.pkg, "cmd/"), "%s imports cobra", s.path)
			}
		}
	}
}

// A budget keeps a package readable: whoever has to break one splits instead.
const (
	maxFunctionLines = 60
	maxFileLines     = 700
	maxExported      = 30
)

func TestBudgets(t *testing.T) {
	exported := map[string][]string{}
	for _, s := range sources(t) {
		lines := s.fset.Position(s.file.End()).Line
		require.LessOrEqual(t, lines, maxFileLines, "%s is too long", s.path)
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			require.NotEqual(t, "init", fn.Name.Name, "%s has an init function", s.path)
			n := s.fset.Position(fn.End()).Line - s.fset.Position(fn.Pos()).Line + 1
			if !s.test {
				require.LessOrEqual(t, n, maxFunctionLines, "%s: %s has %d lines", s.path, fn.Name.Name, n)
			}
		}
		if !s.test {
			exported[s.pkg] = append(exported[s.pkg], exportedNames(s.file)...)
		}
	}
	for pkg, names := range exported {
		if strings.HasPrefix(pkg, "cmd/") || pkg == "finding" {
			continue // finding holds the catalogue of codes, a table
		}
		require.LessOrEqual(t, len(names), maxExported, "%s exports %v", pkg, names)
	}
}

// exportedNames lists exported types, functions and variables. Members of a
// const group count as their type: an enumeration is one name with values.
func exportedNames(f *ast.File) []string {
	var out []string
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil && d.Name.IsExported() {
				out = append(out, d.Name.Name)
			}
		case *ast.GenDecl:
			for _, sp := range d.Specs {
				switch sp := sp.(type) {
				case *ast.TypeSpec:
					if sp.Name.IsExported() {
						out = append(out, sp.Name.Name)
					}
				case *ast.ValueSpec:
					if d.Tok == token.VAR && sp.Names[0].IsExported() {
						out = append(out, sp.Names[0].Name)
					}
				}
			}
		}
	}
	return out
}

func TestNoPackageNameSaysNothing(t *testing.T) {
	for _, s := range sources(t) {
		for _, part := range strings.Split(s.pkg, "/") {
			require.NotContains(t, []string{"util", "utils", "common", "helper", "helpers", "types", "models", "base", "pkg"}, part, s.path)
		}
	}
}

func TestEveryParserIsFuzzed(t *testing.T) {
	fuzzed := map[string]bool{}
	parsers := map[string]string{}
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if s.test && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				fuzzed[s.pkg] = true
			}
			if !s.test && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Parse") && strings.HasPrefix(s.pkg, "internal/") {
				parsers[s.pkg] = s.path
			}
		}
	}
	for pkg, path := range parsers {
		require.True(t, fuzzed[pkg], "%s has a parser and no fuzz target", path)
	}
}

// A fuzz target begins with inputs that mean something, so that every run of the
// tests goes through them.
func TestEveryFuzzTargetHasSeeds(t *testing.T) {
	n := 0
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !s.test || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			n++
			f := fn.Type.Params.List[0].Names[0].Name
			seeded := false
			ast.Inspect(fn.Body, func(node ast.Node) bool {
				call, ok := node.(*ast.CallExpr)
				if !ok {
					return true
				}
				sel, ok := call.Fun.(*ast.SelectorExpr)
				if ok && sel.Sel.Name == "Add" {
					x, ok := sel.X.(*ast.Ident)
					seeded = seeded || ok && x.Name == f
				}
				return true
			})
			if _, err := os.Stat(filepath.Join(s.pkg, "testdata", "fuzz", fn.Name.Name)); err == nil {
				seeded = true
			}
			require.True(t, seeded, "%s: %s has no seed", s.path, fn.Name.Name)
		}
	}
	require.NotZero(t, n)
}

func TestNoMachinePathsInTrackedFiles(t *testing.T) {
	// What a checkout holds must make sense on any machine.
	for _, s := range sources(t) {
		b, err := os.ReadFile(s.path)
		require.NoError(t, err)
		for _, bad := range []string{"/wo" + "rk/", "/fa" + "rm/", "/tmp/ba" + "sh_jobs"} {
			require.NotContains(t, string(b), bad, s.path)
		}
	}
}
