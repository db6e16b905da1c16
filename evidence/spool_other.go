//go:build !unix

package evidence

import (
	"errors"
	"io"
)

// spool is memory alone on systems without maps of files.
type spool struct{ size int64 }

func newSpool() (*spool, error) { return nil, errors.ErrUnsupported }

func (*spool) take([]byte, io.Reader) (int64, error) { return 0, errors.ErrUnsupported }
func (*spool) mapped() ([]byte, error)               { return nil, errors.ErrUnsupported }
func (*spool) drop()                                 {}

func unmap([]byte) error { return nil }
