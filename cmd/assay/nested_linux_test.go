package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
)

func hasSandbox() bool {
	v, err := ll.LandlockGetABIVersion()
	return err == nil && v >= 3
}

// runNested is the script command "nested PROGRAM...": runs it in as many Landlock
// domains as there may be, so that it cannot enter one of its own (landlock(7)).
func runNested() {
	runtime.LockOSThread()
	for range 16 {
		if err := (landlock.Config{HandledAccessFS: ll.AccessFSMakeFifo}).Restrict(); err != nil {
			panic(err)
		}
	}
	p, err := exec.LookPath(os.Args[1])
	if err != nil {
		panic(err)
	}
	panic(syscall.Exec(p, os.Args[1:], os.Environ()))
}
