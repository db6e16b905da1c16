package main

import (
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// weigh builds the program with its symbols and adds up their sizes by module.
// What the linker made of many packages (types, tables of functions) is nobody's.
func (r *review) weigh(root string) error {
	dir, err := os.MkdirTemp("", "deps")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "assay")
	// Weights are those on the machines that most have.
	if _, err := goTool(root, "build", "-trimpath", "-o", program, "./cmd/assay"); err != nil {
		return err
	}
	f, err := elf.Open(program)
	if err != nil {
		return err
	}
	defer f.Close()
	if tables := f.Section(".gopclntab"); tables != nil {
		r.shared += int64(tables.FileSize)
	}
	symbols, err := f.Symbols()
	if err != nil {
		return err
	}
	for _, s := range symbols {
		if int(s.Section) >= len(f.Sections) || f.Sections[s.Section].Type != elf.SHT_PROGBITS || f.Sections[s.Section].Name == ".gopclntab" {
			continue // undefined, or only in memory
		}
		r.add(packageOf(s.Name), int64(s.Size))
	}
	return nil
}

func (r *review) add(pkg string, size int64) {
	m := r.of(pkg)
	first, _, _ := strings.Cut(pkg, "/")
	switch {
	case m != nil && m.Main, pkg == "main":
		r.own += size
	case m != nil:
		m.weight += size
	case pkg == "" || strings.ContainsAny(first, ":*."):
		r.shared += size
	default:
		r.std += size
	}
}

// packageOf gives the package in a symbol's name, "" where it has none.
func packageOf(symbol string) string {
	if strings.HasPrefix(symbol, "type:") || strings.HasPrefix(symbol, "go:") || symbol == "runtime.findfunctab" || symbol == "runtime.typelink" || symbol == "runtime.itablink" {
		return ""
	}
	if i := strings.IndexAny(symbol, "[("); i >= 0 {
		symbol = symbol[:i]
	}
	slash := strings.LastIndexByte(symbol, '/')
	dot := strings.IndexByte(symbol[slash+1:], '.')
	if dot < 0 {
		return ""
	}
	return strings.NewReplacer("%2e", ".", "%22", `"`).Replace(symbol[:slash+1+dot])
}

func (r *review) document() string {
	var b strings.Builder
	direct := r.direct()
	indirect := r.which(func(m *module) bool { return m.Indirect && m.linked })
	unlinked := r.which(func(m *module) bool { return m.Indirect && !m.linked })
	var ofDirect, ofIndirect int64
	for _, m := range direct {
		ofDirect += m.weight
	}
	for _, m := range indirect {
		ofIndirect += m.weight
	}
	fmt.Fprintf(&b, `# Dependencies

Written by `+"`go run -C tools/deps .`"+` from go.mod, the licence files of the modules, our imports, and the symbol table of `+"`bin/assay`"+` with its symbols; the
reasons stand in `+"`tools/deps/reasons.tsv`"+`. A test fails when a direct dependency has no reason, when a licence of anything that is linked into a program is not
allowed (%s), or when this page is out of date, its weights apart.

%d modules are named in go.mod as direct dependencies. %d more are linked into programs through them, and %d are in the graph of
modules and in no program. Of `+"`bin/assay`"+` %s are our code, %s the standard library, %s the direct dependencies, %s those behind them,
and %s what the linker makes of all (types, tables of functions).

The bootable scanner and the programs beside it link fewer; `+"`structure_test.go`"+` says which packages may not reach what.

## Direct dependencies

| module | version | licence | in bin/assay | why it is there | imported by |
|---|---|---|---|---|---|
`, strings.Join(allowed(), ", "), len(direct), len(indirect), len(unlinked), kib(r.own), kib(r.std), kib(ofDirect), kib(ofIndirect), kib(r.shared))
	for _, m := range direct {
		by := strings.Join(quoted(m.by), ", ")
		if len(m.by) == 0 {
			by = "tests alone: " + strings.Join(quoted(m.inTests), ", ")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", m.Path, m.Version, strings.Join(m.licences, ", "), kib(m.weight), m.reason, by)
	}
	fmt.Fprintf(&b, "\n## Behind them\n\nWhat is linked into programs without being imported by us.\n\n| module | version | licence | in bin/assay |\n|---|---|---|---|\n")
	for _, m := range indirect {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Path, m.Version, strings.Join(m.licences, ", "), kib(m.weight))
	}
	return b.String()
}

func quoted(names []string) []string {
	out := slices.Clone(names)
	for i, n := range out {
		out[i] = "`" + n + "`"
	}
	return out
}

// kib rounds a size up, with separators.
func kib(n int64) string {
	s := strconv.FormatInt((n+1023)/1024, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s + " KiB"
}
