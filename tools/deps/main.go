// Command deps reviews what Assay is made of. It writes docs/dependencies.md, and
// with -check fails when a direct dependency has no reason in reasons.tsv, when a
// licence of anything that is linked is not allowed, or when the document is not
// what it would write. Weights change with every line of code: they are written and
// not compared.
package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	verify := flag.Bool("check", false, "compare with the document instead of writing it, and weigh nothing")
	flag.Parse()
	if err := run("../..", *verify); err != nil {
		fmt.Fprintln(os.Stderr, "deps:", err)
		os.Exit(1)
	}
}

const document = "docs/dependencies.md"

func run(root string, verify bool) error {
	r, err := survey(root)
	if err != nil {
		return err
	}
	if err := check(r); err != nil {
		return err
	}
	name := filepath.Join(root, document)
	if !verify {
		if err := r.weigh(root); err != nil {
			return err
		}
		return os.WriteFile(name, []byte(r.document()), 0o644)
	}
	old, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if want, got := weightless(r.document()), weightless(string(old)); want != got {
		return fmt.Errorf("%s is out of date; write it anew with: go run -C tools/deps .\n%s", document, firstDifference(got, want))
	}
	return nil
}

// module is a module of the build.
type module struct {
	Path, Version, Dir string
	Indirect, Main     bool
	Replace            *module

	licences []string // SPDX identifiers
	choice   []string // of which one may be taken; nil when all hold
	reason   string
	by       []string // our packages that import it; tests apart
	inTests  []string
	linked   bool  // into a program
	weight   int64 // bytes in bin/assay
}

type review struct {
	modules map[string]*module
	shared  int64 // bytes of what belongs to no module
	own     int64
	std     int64
	reasons map[string]string
}

const own = "github.com/assay-hw/assay"

func survey(root string) (*review, error) {
	r := &review{modules: map[string]*module{}}
	var err error
	if r.reasons, err = readReasons(filepath.Join(root, "tools/deps/reasons.tsv")); err != nil {
		return nil, err
	}
	raw, err := goTool(root, "list", "-m", "-json", "all")
	if err != nil {
		return nil, err
	}
	for d := json.NewDecoder(bytes.NewReader(raw)); ; {
		var m module
		if err := d.Decode(&m); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		r.modules[m.Path] = &m
	}
	if err := r.imports(root); err != nil {
		return nil, err
	}
	for _, m := range r.modules {
		if m.Main || m.Indirect && !m.linked {
			continue
		}
		m.reason = r.reasons[m.Path]
		if err := m.readLicences(root); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// imports finds which of our packages import which module, and what is linked into
// programs.
func (r *review) imports(root string) error {
	const format = `{{.ImportPath}}|{{join .Imports " "}}|{{join .TestImports " "}} {{join .XTestImports " "}}`
	users := map[string][2]map[string]bool{}
	for _, tags := range []string{"", "otel"} {
		raw, err := goTool(root, "list", "-tags", tags, "-f", format, "./...")
		if err != nil {
			return err
		}
		for l := range strings.Lines(string(raw)) {
			f := strings.Split(strings.TrimSpace(l), "|")
			for i, list := range f[1:] {
				for _, path := range strings.Fields(list) {
					if m := r.of(path); m != nil && !m.Main {
						u, ok := users[m.Path]
						if !ok {
							u = [2]map[string]bool{{}, {}}
							users[m.Path] = u
						}
						u[i][short(f[0])] = true
					}
				}
			}
		}
		raw, err = goTool(root, "list", "-tags", tags, "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/assay", "./cmd/assay-pkcs11", "./cmd/scanner", "./cmd/sender")
		if err != nil {
			return err
		}
		for _, path := range strings.Fields(string(raw)) {
			r.modules[path].linked = true
		}
	}
	for path, u := range users {
		r.modules[path].by, r.modules[path].inTests = sorted(u[0]), sorted(u[1])
	}
	return nil
}

func short(pkg string) string {
	return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(pkg, own), "/"), ".")
}

// of gives the module of a package: the longest path that it is under.
func (r *review) of(pkg string) *module {
	for p := pkg; p != "." && p != "/"; p = filepath.Dir(p) {
		if m := r.modules[p]; m != nil {
			return m
		}
	}
	return nil
}

func sorted(set map[string]bool) []string {
	var out []string
	for k := range set {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// readReasons reads why each direct dependency is there: module, tab, reason.
func readReasons(name string) (map[string]string, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for l := range strings.Lines(string(raw)) {
		if strings.HasPrefix(l, "#") {
			continue
		}
		path, why, ok := strings.Cut(strings.TrimSpace(l), "\t")
		if !ok || why == "" || out[path] != "" {
			return nil, fmt.Errorf("%s: %q: want MODULE, a tab and a reason, once for each", name, l)
		}
		out[path] = why
	}
	return out, nil
}

func (r *review) direct() []*module {
	return r.which(func(m *module) bool { return !m.Indirect && !m.Main })
}

func (r *review) which(fits func(*module) bool) []*module {
	var out []*module
	for _, m := range r.modules {
		if fits(m) {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *module) int { return strings.Compare(a.Path, b.Path) })
	return out
}

// allowed are the licences of what may be linked: they ask for notices at most,
// and MPL-2.0 for the sources of its own files.
func allowed() []string {
	return []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BlueOak-1.0.0", "CC0-1.0", "ISC", "MIT", "MIT-0", "MPL-2.0", "PostgreSQL", "Unlicense", "Zlib"}
}

// check gives every fault of the review at once.
func check(r *review) error {
	var errs []error
	known := map[string]bool{}
	for _, m := range r.direct() {
		known[m.Path] = true
		if m.reason == "" {
			errs = append(errs, fmt.Errorf("%s: say in tools/deps/reasons.tsv why it is there", m.Path))
		}
		if len(m.by)+len(m.inTests) == 0 {
			errs = append(errs, fmt.Errorf("%s: nothing imports it; take it out of go.mod", m.Path))
		}
	}
	for path := range r.reasons {
		if !known[path] {
			errs = append(errs, fmt.Errorf("reasons.tsv: %s is no direct dependency", path))
		}
	}
	for _, m := range r.which(func(m *module) bool { return !m.Main && (m.linked || !m.Indirect) }) {
		if len(m.licences) == 0 {
			errs = append(errs, fmt.Errorf("%s: no licence was recognised in %s", m.Path, m.Dir))
		}
		if m.linked && !m.permitted() {
			errs = append(errs, fmt.Errorf("%s: licence %s is not allowed", m.Path, strings.Join(m.licences, ", ")))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func goTool(root string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=-mod=readonly", "GOWORK=off")
	if args[0] == "list" { // one program has C in it
		cmd.Env = append(cmd.Env, "CGO_ENABLED=1")
	}
	var msg bytes.Buffer
	cmd.Stderr = &msg
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w: %s", args[0], err, msg.String())
	}
	return out, nil
}

// weightless takes out what is not compared.
func weightless(s string) string {
	return regexp.MustCompile(`[0-9][0-9,]* KiB`).ReplaceAllString(s, "KiB")
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is  %s\nit would be %s", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("it has %d lines and would have %d", len(a), len(b))
}
