//go:build unix

package manifest

import (
	"errors"
	"os"
	"syscall"
)

// lock holds an advisory lock until the returned function is called. The lock
// goes away with the process, so that a crash leaves nothing to clean up.
func lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(&os.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
	return f.Close, nil
}
