//go:build linux && !amd64 && !arm64 && !riscv64

package sandbox

import (
	"errors"
	"runtime"
)

func filter() error { return errors.New("seccomp: no filter for " + runtime.GOARCH) }
