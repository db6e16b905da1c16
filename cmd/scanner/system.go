//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/u-root/u-root/pkg/mount"
	"golang.org/x/sys/unix"
)

// filesystems are what the kernel shows of a machine.
var filesystems = []struct{ source, dir, kind string }{
	{"proc", "/proc", "proc"},
	{"sysfs", "/sys", "sysfs"},
	{"devtmpfs", "/dev", "devtmpfs"},
	{"tmpfs", "/tmp", "tmpfs"},
	{"tmpfs", "/run", "tmpfs"},
	{"securityfs", "/sys/kernel/security", "securityfs"},
}

const noExec = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV

func mountAll() error {
	for _, f := range filesystems {
		flags := uintptr(noExec)
		if f.kind == "devtmpfs" {
			flags = unix.MS_NOSUID
		}
		if _, err := mount.Mount(f.source, f.dir, f.kind, "", flags); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", f.dir, err)
		}
	}
	return nil
}

// mountLate mounts what needs a driver.
func mountLate() error {
	_, err := mount.Mount("efivarfs", "/sys/firmware/efi/efivars", "efivarfs", "", noExec|unix.MS_RDONLY)
	return err
}

// activeConsoles lists the devices of the consoles that the kernel was told to
// use.
func activeConsoles() []string {
	var out []string
	for _, n := range strings.Fields(readText("/sys/class/tty/console/active")) {
		out = append(out, "/dev/"+n)
	}
	return out
}

// consoles writes to every active console, so that the screen and a serial line
// both show the result.
func consoles() io.Writer {
	var ws everyWriter
	for _, n := range activeConsoles() {
		if f, err := os.OpenFile(n, os.O_WRONLY|unix.O_NOCTTY, 0); err == nil {
			ws = append(ws, f)
		}
	}
	if len(ws) == 0 {
		return os.Stdout
	}
	return ws
}

// everyWriter writes to all, and an unplugged screen stops none of the others.
type everyWriter []io.Writer

func (e everyWriter) Write(p []byte) (int, error) {
	for _, w := range e {
		_, _ = w.Write(p)
	}
	return len(p), nil
}

func readText(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 4096))
	return string(b)
}

// pause keeps the result on the screen until somebody presses Enter on any
// console or the time is over.
func (s *session) pause() {
	wait := defaultWait
	if d, err := time.ParseDuration(s.set.Wait); err == nil && d >= 0 && d <= 24*time.Hour {
		wait = d
	}
	if wait == 0 {
		return
	}
	key := pressed(activeConsoles())
	s.say("\nPress Enter to switch the machine off. It switches itself off in %s.", wait)
	select {
	case <-key:
	case <-time.After(wait):
	}
}

// pressed tells when a line is typed on one of the consoles from now on; what
// was typed before is thrown away.
func pressed(names []string) <-chan struct{} {
	key := make(chan struct{}, len(names))
	for _, n := range names {
		f, err := os.OpenFile(n, os.O_RDONLY|unix.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		_ = unix.IoctlSetInt(int(f.Fd()), unix.TCFLSH, unix.TCIFLUSH)
		go func() {
			defer f.Close()
			if n, err := f.Read(make([]byte, 1)); n > 0 && err == nil {
				key <- struct{}{}
			}
		}()
	}
	return key
}

// off leaves the stick clean and switches the machine off.
func (s *session) off() {
	if s.stick != nil {
		if err := s.stick.unmount(); err != nil {
			s.say("own stick: %v", err)
		}
	}
	_ = does(mountTime, func() error { unix.Sync(); return nil })
	s.say("scan took %s; switching off", time.Since(s.began).Round(time.Second))
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		s.say("switch off: %v; switch the machine off by hand", err)
	}
	// The first process must not end, and one that only waits would be stopped
	// by Go's runtime as a deadlock.
	for {
		time.Sleep(time.Hour)
	}
}
