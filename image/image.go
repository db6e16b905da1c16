// Package image builds the bootable scanner: a unified kernel image that UEFI
// starts from a USB stick, with a Linux kernel and the scanner as its only
// program, and the raw image of the stick.
//
// It proves nothing about a machine. What it makes is bit-reproducible, so that
// whoever has the same inputs can check that a stick holds what its reference
// says, and it predicts what firmware, stub and kernel will measure of it.
package image

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/foxboron/go-uefi/authenticode"

	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/fat32"
	"github.com/assay-hw/assay/internal/gpt"
	"github.com/assay-hw/assay/internal/uki"
)

// File is a file that goes into the image.
type File struct {
	Name string
	Data []byte
}

// Options say what an image is made of.
type Options struct {
	Scanner []byte // the scanner's program, a static Linux executable
	Version string // of the scanner
	Kernel  string // file: vmlinuz with an EFI stub, or a Debian package; "" takes Debian's newest
	Modules string // directory with the modules of a kernel that is no package; "" takes the system's
	Stub    string // file: systemd's UEFI stub; "" takes the installed one or Debian's
	Cache   string // directory for downloads; "" takes the user's cache
	Cmdline string // of the kernel; "" is DefaultCmdline

	Golden  []File // manifests to verify against at the machine
	Trust   []File // roots, and trust.yaml, that may sign them
	EKRoots []File // roots of TPM makers besides the built-in ones

	Sender    []byte // the program that sends; needed with SendURL
	SendURL   string // https address that evidence is sent to; "" sends nothing
	SendRoots []byte // PEM roots of that server

	Key  crypto.Signer // signs the image for Secure Boot; nil leaves it unsigned
	Cert *x509.Certificate

	Progress func(string) // told what is done; may be nil
}

// DefaultCmdline is the kernel's command line. It shows messages on a serial
// console and on the screen, and restarts a kernel that stopped.
const DefaultCmdline = "console=ttyS0,115200 console=tty0 quiet loglevel=3 panic=30"

// Image is a built scanner.
type Image struct {
	UKI     []byte // what \EFI\BOOT\BOOTX64.EFI is
	Kernel  string // version
	Stub    int    // systemd release of the stub
	Version string // of the scanner
	digest  string
	disk    gpt.Table
	events  []registerEvents
}

// InputError is about something that the image was to be made of, as opposed to
// a tool that failed.
type InputError struct{ err error }

func (e *InputError) Error() string { return e.err.Error() }
func (e *InputError) Unwrap() error { return e.err }

func input(err error) error {
	if err == nil {
		return nil
	}
	return &InputError{err}
}

type builder struct{ opt Options }

func (b *builder) progress(format string, args ...any) {
	if b.opt.Progress != nil {
		b.opt.Progress(fmt.Sprintf(format, args...))
	}
}

// Build makes an image. Equal options and equal input files give equal bytes,
// except for the signature of Secure Boot, which holds a time.
func Build(ctx context.Context, o Options) (*Image, error) {
	b := &builder{opt: o}
	if !isProgram(o.Scanner) {
		return nil, input(errors.New("image: the scanner is no Linux program"))
	}
	if o.SendURL != "" && (!isProgram(o.Sender) || len(o.SendRoots) == 0) {
		return nil, input(errors.New("image: to send evidence it needs the program that sends and the roots of the server"))
	}
	if (o.Key == nil) != (o.Cert == nil) {
		return nil, errors.New("image: a key for Secure Boot needs its certificate, and the other way round")
	}
	if err := CheckCmdline(o.Cmdline); err != nil {
		return nil, input(fmt.Errorf("image: command line: %w", err))
	}
	stub, err := b.openStub(ctx)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	k, err := b.openKernel(ctx)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	b.progress("kernel %s", k.version)
	initrd, err := b.initramfs(k)
	if err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	b.progress("initial file system: %d bytes", len(initrd))
	return b.assemble(stub, k, initrd)
}

// CheckCmdline refuses a command line of which firmware, stub and kernel would
// not make the same bytes, so that the reference would not hold.
func CheckCmdline(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("has other than printable ASCII characters")
	}
	if s != strings.TrimSpace(s) {
		return errors.New("begins or ends with a space")
	}
	return nil
}

func isProgram(b []byte) bool { return bytes.HasPrefix(b, []byte("\x7fELF")) }

func (b *builder) assemble(stub []byte, k *kernel, initrd []byte) (*Image, error) {
	cmdline := b.opt.Cmdline
	if cmdline == "" {
		cmdline = DefaultCmdline
	}
	release := fmt.Sprintf("ID=assay\nNAME=Assay\nPRETTY_NAME=\"Assay scanner %s\"\nVERSION_ID=%s\n", b.opt.Version, b.opt.Version)
	sections := []uki.Section{
		{Name: ".osrel", Data: []byte(release)},
		{Name: ".cmdline", Data: []byte(cmdline)},
		{Name: ".uname", Data: []byte(k.version)},
		{Name: ".linux", Data: k.image},
		{Name: ".initrd", Data: initrd},
	}
	image, err := uki.Assemble(stub, sections)
	if err != nil {
		return nil, input(fmt.Errorf("image: %w", err))
	}
	plain := image
	if b.opt.Key != nil {
		if image, err = sign(image, b.opt.Key, b.opt.Cert); err != nil {
			return nil, fmt.Errorf("image: sign for Secure Boot: %w", err)
		}
	}
	m := &Image{UKI: image, Kernel: k.version, Stub: uki.StubVersion(stub), Version: b.opt.Version}
	if len(image) > len(plain)+signatureRoom {
		return nil, fmt.Errorf("image: the signature for Secure Boot takes %d bytes, more than the %d that its partition has room for", len(image)-len(plain), signatureRoom)
	}
	m.disk = partitions(plain)
	if m.events, err = m.predict(sections, k.image, cmdline, initrd); err != nil {
		return nil, fmt.Errorf("image: %w", err)
	}
	return m, nil
}

// sign adds a signature for UEFI Secure Boot (Windows Authenticode Portable
// Executable Signature Format).
func sign(image []byte, key crypto.Signer, cert *x509.Certificate) ([]byte, error) {
	p, err := authenticode.Parse(bytes.NewReader(image))
	if err != nil {
		return nil, err
	}
	if _, err := p.Sign(key, cert); err != nil {
		return nil, err
	}
	return p.Bytes(), nil
}

const (
	align     = 2048 // blocks; 1 MiB, what flash memory likes
	resultMiB = 96   // room for evidence on the stick
	// signatureRoom is kept free in every image, so that the partition table,
	// which is measured, is the same with a signature and without.
	signatureRoom = 64 << 10
)

// volumeBlocks is the size of a partition that holds so many bytes of files.
func volumeBlocks(payload int64) uint64 {
	return (uint64(fat32.Size(payload))/gpt.Sector + align - 1) / align * align
}

// partitions places the partitions. Their identifiers follow from what is
// booted, signed or not, so that they name it.
func partitions(plain []byte) gpt.Table {
	boot, results := volumeBlocks(int64(len(plain))+signatureRoom), volumeBlocks(resultMiB<<20)
	return gpt.Table{
		Disk: identifier("disk", plain), Sectors: align + boot + results + align,
		Partitions: []gpt.Partition{
			{Type: gpt.ESP, ID: identifier("boot", plain), First: align, Last: align + boot - 1, Name: layout.BootLabel},
			{Type: gpt.Data, ID: identifier("results", plain), First: align + boot, Last: align + boot + results - 1, Name: layout.ResultLabel},
		},
	}
}

// identifier is a GUID of version 8 (RFC 9562, 5.8).
func identifier(what string, image []byte) gpt.GUID {
	sum := sha256.Sum256(image)
	sum = sha256.Sum256(append([]byte("assay scanner medium "+what+"\x00"), sum[:]...))
	g := gpt.GUID(sum[:16])
	g[7] = g[7]&0x0f | 0x80 // the third field is little endian
	g[8] = g[8]&0x3f | 0x80
	return g
}

// Medium is where an image is written to.
type Medium interface {
	io.WriterAt
	Truncate(size int64) error
}

// BootFile is the path that UEFI starts on a removable medium (UEFI 2.10,
// 3.5.1.1).
const BootFile = "EFI/BOOT/BOOTX64.EFI"

// WriteDisk writes the raw image of a stick: a GUID partition table, a boot
// partition with the UKI, and a partition for settings and results with the
// given files. w must be empty.
func (m *Image) WriteDisk(w Medium, results []File) error {
	head, tail, err := m.disk.Encode()
	if err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if err := w.Truncate(int64(m.disk.Sectors) * gpt.Sector); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	files := [][]fat32.File{{{Path: BootFile, Data: m.UKI}}, nil}
	for _, f := range results {
		files[1] = append(files[1], fat32.File{Path: f.Name, Data: f.Data})
	}
	for i, p := range m.disk.Partitions {
		at := io.NewOffsetWriter(w, int64(p.First)*gpt.Sector)
		id := uint32(p.ID[0]) | uint32(p.ID[1])<<8 | uint32(p.ID[2])<<16 | uint32(p.ID[3])<<24
		if err := fat32.Format(at, int64(p.Last-p.First+1)*gpt.Sector, p.Name, id, files[i]); err != nil {
			return fmt.Errorf("image: %w", err)
		}
	}
	if _, err := w.WriteAt(head, 0); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	if _, err := w.WriteAt(tail, int64(m.disk.Sectors)*gpt.Sector-int64(len(tail))); err != nil {
		return fmt.Errorf("image: %w", err)
	}
	return nil
}
