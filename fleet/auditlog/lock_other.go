//go:build !unix

package auditlog

import "os"

// lock takes a file beside the log. Where there are no advisory locks, a crash
// leaves it behind and the error names it.
func lock(f *os.File) (unlock func() error, err error) {
	name := f.Name() + ".lock"
	l, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := l.Close(); err != nil {
		return nil, err
	}
	return func() error { return os.Remove(name) }, nil
}
