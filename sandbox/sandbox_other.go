//go:build !linux

package sandbox

import "runtime"

func enter(Access) Protection {
	return Protection{Why: "there is no sandbox for " + runtime.GOOS}
}
