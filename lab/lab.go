// Package lab boots whole virtual servers, so that what Assay says is tried on
// real firmware, a real TPM and a real kernel: QEMU's q35 machine with OVMF and
// swtpm, started from the project's own scanner stick. There is no fast path: a
// boot takes a quarter of a minute or more where the processor is emulated.
package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/assay-hw/assay/internal/swtpm"
)

// The firmware of Debian's package ovmf.
const (
	ovmfCode       = "/usr/share/OVMF/OVMF_CODE_4M.fd"
	ovmfVars       = "/usr/share/OVMF/OVMF_VARS_4M.fd"
	secureBootCode = "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"
	snakeoilVars   = "/usr/share/OVMF/OVMF_VARS_4M.snakeoil.fd"
	snakeoilKey    = "/usr/share/ovmf/PkKek-1-snakeoil.key"
	snakeoilCert   = "/usr/share/ovmf/PkKek-1-snakeoil.pem"
)

// Files of other packages of Debian.
const (
	stubFile   = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub" // systemd-boot-efi
	networkROM = "/usr/lib/ipxe/qemu/efi-e1000e.rom"           // ipxe-qemu
)

// Available says what is missing for a boot, or nil.
func Available() error {
	if err := swtpm.Available(); err != nil {
		return err
	}
	for _, p := range []string{"qemu-system-x86_64", "qemu-system-arm", "mcopy", "mdir", "openssl", "dpkg-deb", "apt-get"} {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("needs %s (tools/setup.sh e2e installs it)", p)
		}
	}
	for _, f := range []string{ovmfCode, ovmfVars, secureBootCode, snakeoilVars, snakeoilKey, snakeoilCert, stubFile, networkROM} {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("needs firmware (tools/setup.sh e2e installs it): %w", err)
		}
	}
	return nil
}

// Machine is a virtual server. Its directory keeps what outlives a boot: the
// firmware's variables and the state of its TPM.
type Machine struct {
	Dir    string
	Code   string   // firmware; "" is OVMF as Debian built it
	Vars   string   // template of the firmware's variables
	Secure bool     // the firmware build that protects its variables, with Secure Boot
	Add    []string // more devices, as arguments of -device
	Net    string   // what the first network port is connected to, as argument of -netdev; "" is nothing
}

// New makes a machine with a TPM of its own.
func New(dir string, maker *swtpm.Maker) (*Machine, error) {
	m := &Machine{Dir: dir, Code: ovmfCode, Vars: ovmfVars}
	if err := os.MkdirAll(m.tpm(), 0o700); err != nil {
		return nil, err
	}
	return m, maker.Manufacture(m.tpm(), "sha256,sha384")
}

func (m *Machine) tpm() string  { return filepath.Join(m.Dir, "tpm") }
func (m *Machine) vars() string { return filepath.Join(m.Dir, "vars.fd") }

// Twin is the same machine as it was when it was made, in another directory:
// the same TPM, and variables as the factory left them.
func (m *Machine) Twin(dir string) (*Machine, error) {
	t := *m
	t.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return &t, os.CopyFS(t.tpm(), os.DirFS(m.tpm()))
}

// Run is one boot.
type Run struct {
	Bundle string // file with the evidence
	Serial string // file with what the serial console showed
	Took   time.Duration
}

// bootTime is more than any boot takes, even on a loaded machine.
const bootTime = 12 * time.Minute

// Boot starts the machine from a copy of a stick, waits until the scanner
// switched it off, and takes the evidence from the stick.
func (m *Machine) Boot(ctx context.Context, stick *Stick, nonce string) (*Run, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	began := time.Now()
	medium := filepath.Join(m.Dir, "stick.img")
	if err := stick.copyTo(medium, nonce); err != nil {
		return nil, err
	}
	if _, err := os.Stat(m.vars()); errors.Is(err, os.ErrNotExist) {
		if err := copyFile(m.vars(), m.Vars); err != nil {
			return nil, err
		}
	}
	if err := m.disks(); err != nil {
		return nil, err
	}
	run := &Run{Serial: filepath.Join(m.Dir, "serial.log"), Bundle: filepath.Join(m.Dir, "evidence.zip")}
	if err := m.power(ctx, medium, run.Serial); err != nil {
		return nil, err
	}
	if err := stick.take(medium, run.Bundle); err != nil {
		return nil, fmt.Errorf("%w; the console ended with:\n%s", err, tail(run.Serial))
	}
	run.Took = time.Since(began)
	return run, nil
}

// power runs TPM and machine until the machine switches itself off.
func (m *Machine) power(ctx context.Context, medium, serial string) error {
	// A socket's path has to be short.
	short, err := os.MkdirTemp("", "lab")
	if err != nil {
		return err
	}
	defer os.RemoveAll(short)
	sock := filepath.Join(short, "tpm")
	tpm := exec.CommandContext(ctx, "swtpm", "socket", "--tpm2", "--tpmstate", "dir="+m.tpm(), "--ctrl", "type=unixio,path="+sock, "--terminate")
	var tpmOut bytes.Buffer
	tpm.Stdout, tpm.Stderr = &tpmOut, &tpmOut
	if err := tpm.Start(); err != nil {
		return fmt.Errorf("swtpm: %w", err)
	}
	defer func() {
		_ = tpm.Process.Signal(os.Interrupt)
		_ = tpm.Wait()
	}()
	for range 500 {
		if _, err := os.Stat(sock); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	q := exec.CommandContext(ctx, "qemu-system-x86_64", m.arguments(medium, sock, serial)...)
	var out bytes.Buffer
	q.Stdout, q.Stderr = &out, &out
	if err := q.Run(); err != nil {
		return fmt.Errorf("qemu: %w: %s\ntpm: %s\nconsole: %s", err, last(out.Bytes()), last(tpmOut.Bytes()), tail(serial))
	}
	return nil
}

// disks makes the machine's drives, which are empty.
func (m *Machine) disks() error {
	for _, name := range []string{"nvme.img", "raid.img"} {
		f, err := os.Create(filepath.Join(m.Dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(f.Truncate(16<<20), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(dst, src)
	return errors.Join(err, dst.Close())
}

func last(b []byte) []byte {
	const most = 3000
	return bytes.TrimSpace(b[max(0, len(b)-most):])
}

func tail(name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		return []byte(err.Error())
	}
	return last(b)
}
