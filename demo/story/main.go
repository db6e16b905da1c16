// Command story writes the evidence of one machine in the states that the last part
// of the demonstration goes through: as it was sold, and after each of the vectors
// that it is given. All are quoted by one TPM in memory.
//
//	story DIRECTORY NAME=LEVEL...
//
// NAME is a file of testdata/vectors, LEVEL the evidence that there is.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/assay-hw/assay/efficacy"
)

func main() {
	if err := write(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		os.Exit(1)
	}
}

func write(args []string) error {
	if len(args) < 2 {
		return fmt.Errorf("want a directory and NAME=LEVEL")
	}
	vectors, err := efficacy.Load(".")
	if err != nil {
		return err
	}
	bench, err := efficacy.NewBench(".")
	if err != nil {
		return err
	}
	for n, a := range args[1:] {
		name, at, _ := strings.Cut(a, "=")
		i := slices.IndexFunc(vectors, func(v *efficacy.Vector) bool { return v.File == name+".txtar" })
		j := slices.IndexFunc(efficacy.Levels(), func(l efficacy.Level) bool { return l.String() == at })
		if i < 0 || j < 0 {
			return fmt.Errorf("%s: no such vector or level", a)
		}
		v, l := vectors[i], efficacy.Levels()[j]
		if _, err := bench.Export(v, l, filepath.Join(args[0], strings.TrimPrefix(name, "a01-")+"-"+at), false); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if _, err := bench.Export(v, efficacy.L4, filepath.Join(args[0], "sold"), true); err != nil {
			return err
		}
	}
	return nil
}
