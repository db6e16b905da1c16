// Command assay proves that a server is the server its vendor built.
package main

import "os"

// version is set by the build; without, see programVersion.
var version string

func main() {
	os.Exit(run(os.Args[1:], processEnvironment()))
}
