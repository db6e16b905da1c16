// Package tpm asks a TPM 2.0 for its keys, registers and attestations, and
// carries both ends of an enrolment: the challenge that a verifier makes and
// the answer that only the TPM with the endorsement key can give.
//
// It changes nothing in the TPM: no ownership, no NV index and, unless a
// persistent handle is asked for, no stored key. It proves nothing by itself;
// the verifier checks the signatures.
package tpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-tpm/tpm2/transport"
)

// Address says where a TPM is.
type Address struct {
	Network string // "unix", "tcp", or "" for a device file
	Path    string
}

// DevicePath is the kernel's TPM with a resource manager.
const DevicePath = "/dev/tpmrm0"

// ParseAddress reads "device", "device:/dev/tpmrm1", "swtpm:/path/of/socket"
// or "swtpm:host:port". The empty string is the kernel's TPM.
func ParseAddress(s string) (Address, error) {
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case s == "" || s == "device":
		return Address{Path: DevicePath}, nil
	case kind == "device" && strings.HasPrefix(rest, "/dev/"):
		return Address{Path: rest}, nil
	case kind == "swtpm" && strings.Contains(rest, "/"):
		return Address{Network: "unix", Path: rest}, nil
	case kind == "swtpm" && strings.Contains(rest, ":"):
		return Address{Network: "tcp", Path: rest}, nil
	}
	return Address{}, fmt.Errorf("TPM address %q: want device, device:/dev/..., swtpm:/socket or swtpm:host:port", s)
}

// wire sends commands to one TPM and bounds what comes back.
type wire struct {
	addr Address
	file *os.File // for a device
	dead error    // a TPM that did not answer in time is not asked again
}

const (
	// A command may make an RSA key, which takes a discrete part a minute.
	commandTime = 90 * time.Second
	maxResponse = 64 << 10
	headerBytes = 10
)

// Dial opens a TPM for whoever speaks to it in their own words.
func Dial(a Address) (transport.TPMCloser, error) { return dial(a) }

func dial(a Address) (*wire, error) {
	w := &wire{addr: a}
	if a.Network != "" {
		c, err := dialSocket(a)
		if err != nil {
			return nil, fmt.Errorf("open TPM: %w", err)
		}
		return w, c.Close()
	}
	f, err := openDevice(a.Path)
	if err != nil {
		return nil, err
	}
	w.file = f
	return w, nil
}

// Send implements go-tpm's transport. A TPM that asks for the same command
// again gets it again.
func (w *wire) Send(command []byte) ([]byte, error) {
	const tries, pause = 100, 20 * time.Millisecond
	for n := 0; ; n++ {
		b, err := w.once(command)
		if err != nil || n == tries || !again(b) {
			return b, err
		}
		time.Sleep(pause)
	}
}

// again recognises TPM_RC_YIELDED, TPM_RC_TESTING and TPM_RC_RETRY (TPM 2.0
// Library Part 2, 6.6.3).
func again(response []byte) bool {
	if len(response) < headerBytes {
		return false
	}
	rc := binary.BigEndian.Uint32(response[6:])
	return rc == 0x908 || rc == 0x90a || rc == 0x922
}

func (w *wire) once(command []byte) ([]byte, error) {
	if w.dead != nil {
		return nil, w.dead
	}
	type outcome struct {
		b   []byte
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if r := recover(); r != nil {
				o.err = fmt.Errorf("TPM: panic: %v", r)
			}
			done <- o
		}()
		o.b, o.err = w.exchange(command)
	}()
	select {
	case o := <-done:
		return o.b, o.err
	case <-time.After(commandTime):
		w.dead = fmt.Errorf("TPM: no answer in %s: %w", commandTime, os.ErrDeadlineExceeded)
		return nil, w.dead
	}
}

func (w *wire) exchange(command []byte) ([]byte, error) {
	if w.file != nil {
		return viaDevice(w.file, command)
	}
	// An emulator takes one command per connection.
	c, err := dialSocket(w.addr)
	if err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(commandTime)); err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	if _, err := c.Write(command); err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	head := make([]byte, headerBytes)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	n := binary.BigEndian.Uint32(head[2:])
	if n < headerBytes || n > maxResponse {
		return nil, fmt.Errorf("TPM: a response of %d bytes", n)
	}
	out := make([]byte, n)
	copy(out, head)
	if _, err := io.ReadFull(c, out[headerBytes:]); err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	return out, nil
}

// dialSocket waits while an emulator, which serves one connection at a time,
// has no room for another.
func dialSocket(a Address) (net.Conn, error) {
	const tries, pause = 500, 10 * time.Millisecond
	for n := 0; ; n++ {
		c, err := net.DialTimeout(a.Network, a.Path, 5*time.Second)
		if err == nil || !errors.Is(err, syscall.EAGAIN) || n == tries {
			return c, err
		}
		time.Sleep(pause)
	}
}

// viaDevice follows the kernel's rule: one write, one read.
func viaDevice(f *os.File, command []byte) ([]byte, error) {
	if _, err := f.Write(command); err != nil {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	buf := make([]byte, maxResponse)
	n, err := f.Read(buf)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("TPM: %w", err)
	}
	if n < headerBytes {
		return nil, fmt.Errorf("TPM: a response of %d bytes", n)
	}
	return buf[:n], nil
}

// Close gives the device back.
func (w *wire) Close() error {
	if w.file != nil {
		return w.file.Close()
	}
	return nil
}
