//go:build !linux

package collect

import (
	"context"
	"errors"
)

// Only a running Linux system has these devices; captured trees are read on
// any system.

func openBMC(string) (bmcCommand, func(), error) { return nil, nil, errors.ErrUnsupported }

// drivers answers nothing.
type drivers struct{}

func openDrivers() (*drivers, error)              { return nil, errors.ErrUnsupported }
func (*drivers) close()                           {}
func (*drivers) permanent(string) (string, error) { return "", errors.ErrUnsupported }
func (*drivers) info(string) ([]byte, error)      { return nil, errors.ErrUnsupported }

func window(string, int64, int) ([]byte, error) { return nil, errors.ErrUnsupported }

func identifyController(context.Context, string) ([]byte, error) { return nil, errors.ErrUnsupported }
