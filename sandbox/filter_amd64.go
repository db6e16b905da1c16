//go:build linux

package sandbox

import "golang.org/x/sys/unix"

const (
	arch = unix.AUDIT_ARCH_X86_64
	// Calls of the x32 interface have this bit: the same calls under other numbers.
	otherNumbers = 0x40000000
)

func oldCalls() []uint32 {
	return []uint32{unix.SYS_FORK, unix.SYS_VFORK, unix.SYS_IOPERM, unix.SYS_IOPL}
}
