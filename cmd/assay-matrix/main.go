// Command assay-matrix counts what verdicts detect: it runs every vector of
// testdata/vectors at every level of evidence, beside simpler ways to compare, and
// writes docs/efficacy.md. It is a tool of this project's tests and not shipped.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/assay-hw/assay/efficacy"
)

func main() {
	root := flag.String("root", ".", "the project's folder")
	write := flag.Bool("write", false, "write docs/efficacy.md and the language in testdata/vectors/README.md")
	flag.Parse()
	if err := run(os.Stdout, *root, *write); err != nil {
		fmt.Fprintln(os.Stderr, "assay-matrix:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, root string, write bool) error {
	p, err := measure(root)
	if err != nil {
		return err
	}
	text := p.text()
	if !write {
		_, err := io.WriteString(out, text)
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "docs", "efficacy.md"), []byte(text), 0o600); err != nil {
		return err
	}
	if err := language(filepath.Join(root, "testdata", "vectors", "README.md")); err != nil {
		return err
	}
	_, err = io.WriteString(out, p.totals())
	return err
}

// measure runs everything that the page tells.
func measure(root string) (*page, error) {
	p := &page{}
	var err error
	if p.catalogue, err = efficacy.Catalogue(root); err != nil {
		return nil, err
	}
	vectors, err := efficacy.Load(root)
	if err != nil {
		return nil, err
	}
	own := slices.DeleteFunc(slices.Clone(vectors), public)
	if p.matrix, err = efficacy.Measure(root, own, runtime.NumCPU()); err != nil {
		return nil, err
	}
	p.matrix.Vectors = vectors
	p.others, err = compare(root, own)
	return p, err
}

const marker = "<!-- the language, written by make matrix -->\n"

// language puts the words of vectors into the page beside them.
func language(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, rest, ok := bytes.Cut(b, []byte(marker))
	if !ok {
		return fmt.Errorf("%s: no place for the language", path)
	}
	_, tail, ok := bytes.Cut(rest, []byte(marker))
	if !ok {
		return fmt.Errorf("%s: no end of the language", path)
	}
	text := string(head) + marker + strings.Join(efficacy.Language(), "\n") + "\n" + marker + string(tail)
	return os.WriteFile(path, []byte(text), 0o600)
}
