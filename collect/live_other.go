//go:build !linux

package collect

import (
	"context"
	"errors"
)

// Only a running Linux system has these devices; captured trees are read on
// any system.

func openBMC(string) (bmcCommand, func(), error) { return nil, nil, errors.ErrUnsupported }

func permanentAddresses(*task) (ask func(string) (string, error), done func()) {
	return func(string) (string, error) { return "", nil }, func() {}
}

func window(string, int64, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func identifyController(context.Context, string) ([]byte, error) { return nil, errors.ErrUnsupported }
