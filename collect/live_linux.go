package collect

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/u-root/u-root/pkg/ipmi"
)

// This file holds what a file system cannot show: the devices of a running
// Linux system.

// openBMC opens the kernel's interface to the management controller.
func openBMC(name string) (do bmcCommand, done func(), err error) {
	bmc, err := ipmi.OpenPath(name)
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, netFn, command byte, data []byte) ([]byte, error) {
		return within(ctx, 6*time.Second, func(context.Context) ([]byte, error) {
			room()
			r, err := bmc.SendRecv(ipmi.NetFn(netFn), ipmi.Command(command), data)
			if code, ok := errors.AsType[ipmi.CompletionError](err); ok {
				return nil, completion(code)
			}
			if err != nil {
				return nil, err
			}
			return completed(r)
		})
	}, func() { bmc.Close() }, nil
}

// room makes the stack large enough that it does not move in the calls that
// follow. The IPMI library hands the kernel the address of a request on it; one
// that has moved would be read from memory that is free.
//
//go:noinline
func room() byte {
	var b [32 << 10]byte
	return b[len(os.Args)%len(b)]
}

// window copies a stretch of physical memory. It is mapped, since reading stops
// where the machine's memory ends, which may be below 4 GiB.
func window(name string, offset int64, length int) (data []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := syscall.Mmap(int(f.Fd()), offset, length, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, syscall.Munmap(m)) }()
	// A bus that refuses the access ends this read and not the scan.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			data, err = nil, fmt.Errorf("map %s: fault: %v", name, r)
		}
	}()
	data = make([]byte, length)
	for i := 0; i+8 <= length; i += 8 { // plain loads, which every bridge carries
		binary.NativeEndian.PutUint64(data[i:], binary.NativeEndian.Uint64(m[i:]))
	}
	return data, nil
}
