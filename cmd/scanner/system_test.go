//go:build linux

package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal makes a pseudo terminal and gives its keyboard and its device.
func terminal(t *testing.T) (keyboard *os.File, device string) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("needs pseudo terminals: %v", err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	return keyboard, fmt.Sprintf("/dev/pts/%d", n)
}

// Whoever stands at the screen, or at the serial line, can switch the machine
// off; an Enter from before the result was shown counts for nothing.
func TestEnterOnAnyConsole(t *testing.T) {
	screen, screenName := terminal(t)
	serial, serialName := terminal(t)
	for _, k := range []*os.File{screen, serial} {
		_, err := k.WriteString("\n\n")
		require.NoError(t, err)
	}
	time.Sleep(100 * time.Millisecond)
	key := pressed([]string{screenName, "/dev/there-is-none", serialName})
	select {
	case <-key:
		t.Fatal("what was typed before counts")
	case <-time.After(200 * time.Millisecond):
	}
	_, err := serial.WriteString("\n")
	require.NoError(t, err)
	select {
	case <-key:
	case <-time.After(5 * time.Second):
		t.Fatal("Enter on the second console is not read")
	}
}
