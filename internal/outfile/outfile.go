// Package outfile writes output files whole or not at all: a reader sees the
// old contents or the new ones, never half of them. It knows no format.
package outfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// Write calls body to write the contents and puts them in place of path in one
// step. A link is followed. A device or pipe is written to and never replaced.
func Write(path string, perm fs.FileMode, body func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil {
		if !info.Mode().IsRegular() {
			return through(path, body)
		}
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return err
		}
	}
	tmp, err := beside(path)
	if err != nil {
		return err
	}
	err = body(tmp)
	if err == nil {
		err = errors.Join(tmp.Chmod(perm), tmp.Sync())
	}
	err = errors.Join(err, tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}

// beside makes a new file for the contents, open for writing alone: whoever writes
// need not be let read the directory, as os.CreateTemp would have it.
func beside(path string) (*os.File, error) {
	for try := 0; ; try++ {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s-%08x", filepath.Base(path), rand.Uint32()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) || try == 999 {
			return f, err
		}
	}
}

func through(path string, body func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(body(f), f.Close())
}
