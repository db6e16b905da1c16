// Package collect reads the evidence of a machine: the Attester of RFC 9334.
//
// It reads and never parses: what a file or device gives is stored as it came,
// and every parser works on the verifier's side. It scans no bus, unbinds no
// driver and writes nothing, with one exception that needs consent: enabling an
// option ROM for reading and disabling it again (Options.ROM).
//
// It proves nothing about what it reads. Each artefact has a status, so that
// what could not be read is told apart from what is not there.
package collect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Host is a machine as the sources see it: a tree of files and, on the running
// machine, its devices.
type Host struct {
	files fs.FS
	live  bool
	root  bool // may read what only root may
}

// Live is the running machine.
func Live() *Host { return &Host{files: os.DirFS("/"), live: true, root: os.Geteuid() == 0} }

// Captured is a tree that was copied from a machine. Links that leave the tree
// are not followed when it comes from OpenTree.
func Captured(files fs.FS) *Host { return &Host{files: files} }

// OpenTree opens a captured tree in a directory. Nothing outside it is read,
// whatever its links say.
func OpenTree(dir string) (*Host, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open tree: %w", err)
	}
	return Captured(root.FS()), nil
}

// has reports whether something is at a path.
func (h *Host) has(name string) bool {
	_, err := fs.Stat(h.files, name)
	return err == nil
}

// link gives the target of a symbolic link as an absolute path of the machine,
// "" where there is none.
func (h *Host) link(name string) string {
	target, err := fs.ReadLink(h.files, name)
	if err != nil {
		return ""
	}
	target = filepath.ToSlash(target)
	if !strings.HasPrefix(target, "/") {
		target = path.Join("/", path.Dir(name), target)
	}
	return path.Clean(target)
}

// Errors that a read may give besides those of the file system.
var (
	errTimeout   = errors.New("no answer in time")
	errTooLong   = errors.New("exceeds the limit")
	errIrregular = errors.New("is no regular file")
)

// read gives the bytes of one file, at most limit of them. It returns in time
// even when the file does not: the reader is left behind then.
func (h *Host) read(ctx context.Context, name string, limit int64, patience time.Duration) ([]byte, error) {
	return within(ctx, patience, func(ctx context.Context) ([]byte, error) {
		odd := func(info fs.FileInfo, err error) bool { return err == nil && !info.Mode().IsRegular() }
		// Before it is opened: a pipe without a writer would not open.
		if odd(fs.Stat(h.files, name)) {
			return nil, &fs.PathError{Op: "read", Path: name, Err: errIrregular}
		}
		f, err := h.files.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if odd(f.Stat()) {
			return nil, &fs.PathError{Op: "read", Path: name, Err: errIrregular}
		}
		return readAll(ctx, f, limit)
	})
}

// within runs a call that may hang. On timeout the goroutine is left behind;
// it holds nothing that anybody else waits for. A panic is an error.
func within[T any](ctx context.Context, patience time.Duration, call func(context.Context) (T, error)) (T, error) {
	type outcome struct {
		v   T
		err error
	}
	var zero T
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.err = fmt.Errorf("panic: %v", r)
			}
			done <- o
		}()
		o.v, o.err = call(ctx)
	}()
	select {
	case o := <-done:
		return o.v, o.err
	case <-ctx.Done():
		return zero, errTimeout
	}
}

// readAll reads until the end, whatever the file says its length is: sysfs
// and securityfs give short reads and wrong sizes.
func readAll(ctx context.Context, r io.Reader, limit int64) ([]byte, error) {
	const tries = 100
	buf := make([]byte, 0, 512)
	for empty := 0; ; {
		if ctx.Err() != nil {
			return nil, errTimeout
		}
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, fmt.Errorf("%w of %d bytes", errTooLong, limit)
		case errors.Is(err, io.EOF):
			return buf, nil
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, err
		case n > 0:
			empty = 0
		default:
			if empty++; empty > tries {
				return nil, io.ErrNoProgress
			}
		}
	}
}
