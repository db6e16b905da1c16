//go:build unix

package tpm

import (
	"io/fs"
	"os"
	"syscall"
)

// openDevice opens a TPM's device file. os.OpenFile would put it into
// non-blocking mode, in which the kernel answers a read at once with nothing.
func openDevice(name string) (*os.File, error) {
	fd, err := syscall.Open(name, syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}
