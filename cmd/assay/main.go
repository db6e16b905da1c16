// Command assay proves that a server is the server its vendor built.
package main

import "os"

// version is set by the build.
var version = "devel"

func main() {
	os.Exit(run(os.Args[1:], processEnvironment()))
}
