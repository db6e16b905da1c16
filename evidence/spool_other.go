//go:build !unix

package evidence

import (
	"errors"
	"io"
)

// Systems without maps of files keep everything in memory.
const canSpool = false

type spool struct{ size int64 }

func newSpool() (*spool, error) { return nil, errors.ErrUnsupported }

func (*spool) take([]byte, io.Reader) (int64, error) { return 0, errors.ErrUnsupported }
func (*spool) mapped() ([]byte, error)               { return nil, errors.ErrUnsupported }
func (*spool) drop()                                 {}

func unmap([]byte) error { return nil }
