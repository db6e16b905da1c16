//go:build unix

package sqlite

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// lock holds an advisory lock until the returned function is called. The lock goes
// away with the process, so that a crash leaves nothing to clean up.
func lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = &os.PathError{Op: "lock", Path: name, Err: err}
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("another process works in this directory; several need --store postgres://...: %w", err)
		}
		return nil, errors.Join(err, f.Close())
	}
	return f.Close, nil
}
