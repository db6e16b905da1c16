package collect

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreq is struct ifreq of linux/if.h with a pointer in it. A pointer that the
// garbage collector sees follows a stack that moves.
type ifreq struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// drivers asks network drivers with the ioctl of ethtool. Both of its commands
// read.
type drivers struct{ fd int }

func openDrivers() (*drivers, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("ethtool: %w", err)
	}
	return &drivers{fd}, nil
}

func (d *drivers) close() { _ = unix.Close(d.fd) }

func (d *drivers) ask(port string, data unsafe.Pointer) error {
	r := ifreq{data: data}
	if len(port) >= len(r.name) {
		return fmt.Errorf("ethtool: the name %q is too long", port)
	}
	copy(r.name[:], port)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(d.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); errno != 0 {
		return fmt.Errorf("ethtool: %w", errno)
	}
	return nil
}

// permanent is the address that a port was made with, "" for none.
func (d *drivers) permanent(port string) (string, error) {
	a := struct {
		command, size uint32
		data          [32]byte
	}{command: unix.ETHTOOL_GPERMADDR, size: 32}
	if err := d.ask(port, unsafe.Pointer(&a)); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return "", nil
		}
		return "", err
	}
	mac := net.HardwareAddr(a.data[:min(a.size, 32)])
	for _, b := range mac {
		if b != 0 {
			return mac.String(), nil
		}
	}
	return "", nil
}

// info is struct ethtool_drvinfo as the kernel fills it, nil for none.
func (d *drivers) info(port string) ([]byte, error) {
	i := &unix.EthtoolDrvinfo{Cmd: unix.ETHTOOL_GDRVINFO}
	if err := d.ask(port, unsafe.Pointer(i)); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return nil, nil
		}
		return nil, err
	}
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(i)), unsafe.Sizeof(*i))...), nil
}
