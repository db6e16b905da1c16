//go:build unix

package evidence

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

const canSpool = true

// spool holds what of a large bundle is not kept in memory: a file without a name,
// so that nobody else can change what was hashed before it is read.
type spool struct {
	file *os.File
	size int64
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "assay-")
	if err != nil {
		return nil, &roomError{err}
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, &roomError{err}
	}
	return &spool{file: f}, nil
}

// Write appends; its errors are about the room, not about what is written.
func (s *spool) Write(b []byte) (int, error) {
	n, err := s.file.Write(b)
	s.size += int64(n)
	if err != nil {
		return n, &roomError{err}
	}
	return n, nil
}

// take appends bytes, and what a reader has.
func (s *spool) take(head []byte, rest io.Reader) (n int64, err error) {
	if _, err = s.Write(head); err != nil {
		return 0, err
	}
	n, err = io.Copy(s, rest)
	return n + int64(len(head)), err
}

// mapped gives everything as memory that is read only, and closes the file.
func (s *spool) mapped() ([]byte, error) {
	defer s.file.Close()
	if s.size == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(int(s.file.Fd()), 0, int(s.size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return nil, &roomError{fmt.Errorf("map: %w", err)}
	}
	return b, nil
}

func (s *spool) drop() { _ = s.file.Close() }

func unmap(b []byte) error { return unix.Munmap(b) }
