//go:build unix

package auditlog

import (
	"os"
	"syscall"
)

// lock waits until nobody else has the file locked. The lock ends with the process.
func lock(f *os.File) (unlock func() error, err error) {
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, err
	}
	return func() error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }, nil
}
