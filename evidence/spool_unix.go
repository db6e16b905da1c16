//go:build unix

package evidence

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spool holds what of a large bundle is not kept in memory: a file without a name,
// so that nobody else can change what was hashed before it is read.
type spool struct {
	file *os.File
	size int64
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "assay-")
	if err != nil {
		return nil, fmt.Errorf("room for a large bundle: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("room for a large bundle: %w", err)
	}
	return &spool{file: f}, nil
}

// take appends bytes, and what a reader has.
func (s *spool) take(head []byte, rest io.Reader) (n int64, err error) {
	if _, err = s.file.Write(head); err != nil {
		return 0, fmt.Errorf("room for a large bundle: %w", err)
	}
	n, err = io.Copy(s.file, rest)
	n += int64(len(head))
	s.size += n
	return n, err
}

// mapped gives everything as memory that is read only, and closes the file.
func (s *spool) mapped() ([]byte, error) {
	defer s.file.Close()
	if s.size == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(int(s.file.Fd()), 0, int(s.size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("room for a large bundle: %w", err)
	}
	return b, nil
}

func (s *spool) drop() { _ = s.file.Close() }

func unmap(b []byte) error { return unix.Munmap(b) }
