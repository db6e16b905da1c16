// Command unpack writes one recorded machine of testdata/machines as an
// evidence bundle, for the demonstration.
package main

import (
	"fmt"
	"os"

	"github.com/assay-hw/assay/internal/fixture"
)

func main() {
	if err := unpack(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "unpack:", err)
		os.Exit(1)
	}
}

func unpack(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("want NAME FILE")
	}
	files, err := fixture.Machine(".", args[0])
	if err != nil {
		return err
	}
	b, err := fixture.Zip(files)
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], b, 0o644)
}
