// Command assay proves that a server is the server its vendor built.
package main

import (
	"fmt"
	"os"

	"github.com/assay-hw/assay/sandbox"
)

// version is set by the build; without, see programVersion.
var version string

func main() {
	if err := sandbox.AbortOnCrash(); err != nil {
		fmt.Fprintf(os.Stderr, "assay: %v; a crash would leave a core dump\n", err)
	}
	os.Exit(run(os.Args[1:], processEnvironment()))
}
