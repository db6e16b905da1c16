package image

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// kernel is a Linux kernel that is its own UEFI application, with its modules.
type kernel struct {
	version string
	image   []byte
	modules fs.FS
}

// debianKernel is Debian's package that depends on its newest kernel.
const debianKernel = "linux-image-amd64"

// openKernel reads what --kernel names: a Debian package, an image whose
// modules are in a directory, or nothing for the newest package of Debian.
func (b *builder) openKernel(ctx context.Context) (*kernel, error) {
	file := b.opt.Kernel
	if file == "" {
		var err error
		if file, err = b.download(ctx); err != nil {
			return nil, err
		}
	}
	if strings.HasSuffix(file, ".deb") {
		return b.fromPackage(ctx, file)
	}
	image, err := os.ReadFile(file)
	if err != nil {
		return nil, input(err)
	}
	v, err := kernelVersion(image)
	if err != nil {
		return nil, input(fmt.Errorf("kernel %s: %w", file, err))
	}
	dir := b.opt.Modules
	if dir == "" {
		dir = filepath.Join("/lib/modules", v)
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, input(fmt.Errorf("kernel %s: its modules: %w; give their directory with --modules", v, err))
	}
	return &kernel{version: v, image: image, modules: os.DirFS(dir)}, nil
}

// kernelVersion reads the version from a kernel's boot header (Linux x86 boot
// protocol, kernel_version), and refuses kernels that the scanner cannot use.
func kernelVersion(image []byte) (string, error) {
	if len(image) < 0x250 || string(image[0x202:0x206]) != "HdrS" {
		return "", errors.New("offset 514: no x86 Linux kernel")
	}
	if string(image[:2]) != "MZ" {
		return "", errors.New("offset 0: the kernel has no EFI stub, so that UEFI cannot start it")
	}
	at := int(binary.LittleEndian.Uint16(image[0x20e:])) + 0x200
	if at >= len(image) {
		return "", fmt.Errorf("offset 526: version at %d, beyond the end", at)
	}
	text, _, _ := bytes.Cut(image[at:min(len(image), at+256)], []byte{0})
	v, _, _ := strings.Cut(string(text), " ")
	if !regexp.MustCompile(`^[0-9][0-9A-Za-z.+~_-]*$`).MatchString(v) {
		return "", fmt.Errorf("offset %d: version %q", at, v)
	}
	for _, text := range measuredTexts {
		if !bytes.Contains(image, []byte(text)) {
			return "", fmt.Errorf("version %s does not measure its command line and initial file system (Linux 6.1 and later do): nothing would tell the scanner from another program", v)
		}
	}
	return v, nil
}

// measuredTexts are how the EFI stub of a kernel describes what it measures
// (Linux, drivers/firmware/efi/libstub/efi-stub-helper.c). The stub is the part
// of the file that is not compressed.
var measuredTexts = []string{"LOADED_IMAGE::LoadOptions", "Linux initrd"}

func (b *builder) fromPackage(ctx context.Context, file string) (*kernel, error) {
	dir, err := b.unpack(ctx, file)
	if err != nil {
		return nil, err
	}
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return nil, input(fmt.Errorf("kernel package %s: %d kernels in it", file, len(images)))
	}
	image, err := os.ReadFile(images[0])
	if err != nil {
		return nil, err
	}
	v, err := kernelVersion(image)
	if err != nil {
		return nil, input(fmt.Errorf("kernel package %s: %w", file, err))
	}
	for _, d := range []string{"lib/modules", "usr/lib/modules"} {
		if p := filepath.Join(dir, d, v); isDir(p) {
			return &kernel{version: v, image: image, modules: os.DirFS(p)}, nil
		}
	}
	return nil, input(fmt.Errorf("kernel package %s: no modules of %s in it", file, v))
}

func isDir(p string) bool {
	i, err := os.Stat(p)
	return err == nil && i.IsDir()
}

// stubFile is where Debian's package systemd-boot-efi puts the stub.
const stubFile = "usr/lib/systemd/boot/efi/linuxx64.efi.stub"

// openStub reads the UEFI stub: the given file, the installed one, or the one
// of Debian's package.
func (b *builder) openStub(ctx context.Context) ([]byte, error) {
	if b.opt.Stub != "" {
		s, err := os.ReadFile(b.opt.Stub)
		return s, input(err)
	}
	if s, err := os.ReadFile("/" + stubFile); err == nil {
		return s, nil
	}
	const help = "install systemd-boot-efi, or give a systemd stub with --stub FILE"
	file, err := b.fetch(ctx, "systemd-boot-efi")
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, help)
	}
	dir, err := b.unpack(ctx, file)
	if err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, stubFile))
}
