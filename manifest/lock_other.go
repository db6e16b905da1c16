//go:build !unix

package manifest

import "os"

// lock takes a file that must not be there yet. Where there are no advisory
// locks, a crash leaves it behind and the error names it.
func lock(name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	return func() error { return os.Remove(name) }, nil
}
