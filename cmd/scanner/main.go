//go:build linux

// Command scanner is the only program of the bootable image: it runs as the
// first process, collects evidence, lets the TPM sign it, shows a verdict when
// the image holds manifests, saves the evidence on its stick or sends it, and
// switches the machine off.
package main

import (
	"fmt"
	"os"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "scanner: runs as the first process of a scanner image; on an installed system use assay scan")
		os.Exit(64)
	}
	(&session{}).run()
}
