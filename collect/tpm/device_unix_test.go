//go:build linux

package tpm

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// In non-blocking mode the kernel's TPM answers a read before the command is
// done, with no bytes, and refuses the next command as busy.
func TestTheDeviceIsOpenedToWaitForAnswers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "device")
	require.NoError(t, syscall.Mkfifo(name, 0o600))
	f, err := openDevice(name)
	require.NoError(t, err)
	defer f.Close()
	c, err := f.SyscallConn()
	require.NoError(t, err)
	var flags uintptr
	require.NoError(t, c.Control(func(fd uintptr) { flags, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0) }))
	require.Zero(t, flags&syscall.O_NONBLOCK)
}

// A TPM that is busy with a self-test asks for the command again.
func TestOnlyWarningsToTryAgainAreTriedAgain(t *testing.T) {
	response := func(rc uint32) []byte {
		return []byte{0x80, 1, 0, 0, 0, 10, byte(rc >> 24), byte(rc >> 16), byte(rc >> 8), byte(rc)}
	}
	for _, rc := range []uint32{0x908, 0x90a, 0x922} {
		require.True(t, again(response(rc)), "%x", rc)
	}
	for _, rc := range []uint32{0, 0x101, 0x902, 0x921, 0x98e} {
		require.False(t, again(response(rc)), "%x", rc)
	}
	require.False(t, again(nil))
}
