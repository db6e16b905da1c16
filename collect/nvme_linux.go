package collect

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// adminCommand is struct nvme_passthru_cmd of linux/nvme_ioctl.h.
type adminCommand struct {
	opcode, flags             uint8
	_                         uint16
	namespace, cdw2, cdw3     uint32
	metadata, addr            uint64
	metadataLength, length    uint32
	cdw10, cdw11              uint32
	cdw12, cdw13, cdw14, c15d uint32
	timeout, result           uint32
}

const (
	// NVME_IOCTL_ADMIN_CMD, _IOWR('N', 0x41, struct nvme_passthru_cmd), with
	// the encoding of every system but MIPS, PowerPC and SPARC.
	ioctlAdmin = 3<<30 | unsafe.Sizeof(adminCommand{})<<16 | 'N'<<8 | 0x41

	opcodeIdentify = 0x06 // NVM Express Base Specification 2.0c, 5.17
	cnsController  = 0x01
	identifyBytes  = 4096
	identifyTime   = 5 * time.Second
)

// identifyController sends Identify Controller, the one command that is ever sent to a
// drive.
func identifyController(ctx context.Context, name string) ([]byte, error) {
	return within(ctx, identifyTime+time.Second, func(context.Context) ([]byte, error) {
		f, err := os.Open("/dev/" + name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		data := make([]byte, identifyBytes)
		var pin runtime.Pinner
		defer pin.Unpin()
		pin.Pin(&data[0])
		cmd := adminCommand{
			opcode: opcodeIdentify, addr: uint64(uintptr(unsafe.Pointer(&data[0]))), length: identifyBytes,
			cdw10: cnsController, timeout: uint32(identifyTime.Milliseconds()),
		}
		status, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), ioctlAdmin, uintptr(unsafe.Pointer(&cmd)))
		switch {
		case errno != 0:
			return nil, fmt.Errorf("identify: %w", errno)
		case status != 0:
			return nil, fmt.Errorf("identify: the controller answers with status 0x%x", status)
		}
		return data, nil
	})
}
