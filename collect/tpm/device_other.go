//go:build !unix

package tpm

import (
	"errors"
	"os"
)

func openDevice(string) (*os.File, error) { return nil, errors.ErrUnsupported }
