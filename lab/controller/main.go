//go:build linux

// Command controller is the first process of a management controller of the lab.
// It loads drivers, tells the kernel of every chip that answers on an I2C bus, as
// somebody with i2cdetect would, collects evidence with the collector of the
// product, leaves it on the controller's second flash, and resets the machine.
package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/evidence"
)

func main() {
	if err := run(); err != nil {
		fmt.Println("controller: failed:", err)
	} else {
		fmt.Println("controller: done")
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {} // the first process must not end
}

func run() error {
	for dir, kind := range map[string]string{"/proc": "proc", "/sys": "sysfs", "/dev": "devtmpfs"} {
		if err := unix.Mount(kind, dir, kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	if err := drivers(); err != nil {
		return err
	}
	if err := flashes(); err != nil {
		return err
	}
	if err := chips(); err != nil {
		return err
	}
	now := time.Unix(0, 0) // there is no clock; who takes the evidence knows when
	if b, err := os.ReadFile("/time"); err == nil {
		_ = now.UnmarshalText(bytes.TrimSpace(b))
	}
	nonce, err := os.ReadFile("/nonce")
	if err != nil {
		return err
	}
	w, err := collect.Scan(context.Background(), collect.Live(), collect.Options{
		Collector: evidence.Collector{Name: "lab controller", Version: "1"}, Now: now, Nonce: nonce,
		With:     []string{"firmware"},
		Progress: func(p collect.Progress) { fmt.Println("controller:", p.Source, p.Took) },
	})
	if err != nil {
		return err
	}
	return leave(w)
}

// drivers loads the modules of the initial file system, in order.
func drivers() error {
	list, err := os.ReadFile("/modules/order")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		f, err := os.Open("/modules/" + name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	return nil
}

// flashes waits for both flash chips.
func flashes() error {
	for range 600 {
		if _, err := os.Stat(out); err == nil {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("no %s after a minute", out)
}

// chips tells the kernel of chips that answer and that the device tree does not
// name. No driver takes them.
func chips() error {
	buses, err := filepath.Glob("/dev/i2c-*")
	if err != nil || len(buses) == 0 {
		return fmt.Errorf("no I2C bus: %w", err)
	}
	const first, last = 0x08, 0x77 // I2C-bus specification 3.1.12: the others are reserved
	for _, bus := range buses {
		f, err := os.OpenFile(bus, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		name := filepath.Base(bus)
		for a := first; a <= last; a++ {
			if !answers(f, a) {
				continue
			}
			fmt.Printf("controller: %s 0x%02x answers\n", name, a)
			if err := os.WriteFile("/sys/bus/i2c/devices/"+name+"/new_device", fmt.Appendf(nil, "unnamed 0x%02x\n", a), 0); err != nil {
				return err
			}
		}
		_ = f.Close()
	}
	return nil
}

// answers reads one byte from an address. A driver's own chips are left alone.
func answers(bus *os.File, address int) bool {
	const slave = 0x0703 // I2C_SLAVE of linux/i2c-dev.h
	if unix.IoctlSetInt(int(bus.Fd()), slave, address) != nil {
		return false
	}
	_, err := bus.Read(make([]byte, 1))
	return err == nil
}

// out is the second flash, which is blank.
const out = "/dev/mtd1"

// leave writes the evidence to the second flash, compressed once more: a bundle
// holds flash images as they are, and they are larger than this flash.
func leave(w *evidence.Writer) error {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := errors.Join(w.WriteZip(z), z.Close()); err != nil {
		return err
	}
	f, err := os.OpenFile(out, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	for at := 0; at < b.Len(); {
		n, err := f.Write(b.Bytes()[at:min(b.Len(), at+64<<10)])
		if err != nil {
			return fmt.Errorf("%s, offset %d: %w", out, at, err)
		}
		at += n
	}
	return f.Close()
}
