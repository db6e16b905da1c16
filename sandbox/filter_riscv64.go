//go:build linux

package sandbox

import "golang.org/x/sys/unix"

const (
	arch         = unix.AUDIT_ARCH_RISCV64
	otherNumbers = 0
)

func oldCalls() []uint32 { return nil }
