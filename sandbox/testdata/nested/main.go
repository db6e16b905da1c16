// Command nested runs a program in as many Landlock domains as there may be.
package main

import (
	"os"
	"runtime"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

func main() {
	runtime.LockOSThread()
	for range 16 {
		// Nothing is refused that the program does.
		if err := (landlock.Config{HandledAccessFS: ll.AccessFSMakeFifo}).Restrict(); err != nil {
			panic(err)
		}
	}
	panic(syscall.Exec(os.Args[1], os.Args[1:], os.Environ()))
}
