// Package outfile writes output files whole or not at all: a reader sees the
// old contents or the new ones, never half of them. It knows no format.
package outfile

import (
	"errors"
	"io"
	"io/fs"
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
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
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

func through(path string, body func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(body(f), f.Close())
}
