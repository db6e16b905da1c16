//go:build !cgo

// Command assay-pkcs11 signs digests with a key in a PKCS #11 token. Modules of
// tokens are C libraries: this build, made without a C compiler, only says so.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "assay-pkcs11: built without cgo, which PKCS #11 modules need; install a C compiler and build it with: make build-pkcs11")
	os.Exit(70)
}
