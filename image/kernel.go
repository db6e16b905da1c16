package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
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
		return nil, err
	}
	v, err := kernelVersion(image)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", file, err)
	}
	dir := b.opt.Modules
	if dir == "" {
		dir = filepath.Join("/lib/modules", v)
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("kernel %s: its modules: %w; give their directory with --modules", v, err)
	}
	return &kernel{version: v, image: image, modules: os.DirFS(dir)}, nil
}

// kernelVersion reads the version from a kernel's boot header (Linux x86 boot
// protocol, kernel_version).
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
	return v, nil
}

// cache is where packages are kept between builds.
func (b *builder) cache() (string, error) {
	dir := b.opt.Cache
	if dir == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("cache: %w; give one with --cache", err)
		}
		dir = filepath.Join(base, "assay", "image")
	}
	return dir, os.MkdirAll(dir, 0o755)
}

// download fetches Debian's newest kernel package with apt, which checks its
// signature chain.
func (b *builder) download(ctx context.Context) (string, error) {
	const help = "give a kernel with --kernel FILE (a Debian package, or vmlinuz with --modules DIR)"
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "", fmt.Errorf("no apt-get to fetch Debian's kernel with; %s", help)
	}
	name, err := newestKernel(ctx)
	if err != nil {
		return "", fmt.Errorf("%w; run apt-get update, or %s", err, help)
	}
	return b.fetch(ctx, name)
}

// fetch downloads one Debian package into the cache, unless it is there.
func (b *builder) fetch(ctx context.Context, name string) (string, error) {
	dir, err := b.cache()
	if err != nil {
		return "", err
	}
	find := func() string {
		found, _ := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
		if len(found) == 0 {
			return ""
		}
		return found[len(found)-1] // the names sort by version well enough within one package
	}
	if f := find(); f != "" {
		return f, nil
	}
	b.progress("downloading Debian's package %s", name)
	cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", name)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get download %s: %w: %s", name, err, bytes.TrimSpace(out))
	}
	if f := find(); f != "" {
		return f, nil
	}
	return "", fmt.Errorf("apt-get download %s: it left no package", name)
}

func newestKernel(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", debianKernel).Output()
	if err != nil {
		return "", fmt.Errorf("apt-cache depends %s: %w", debianKernel, err)
	}
	m := regexp.MustCompile(`Depends: (linux-image-[0-9][a-z0-9.+-]*)`).FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("apt-cache knows no kernel of %s", debianKernel)
	}
	return string(m[1]), nil
}

// unpack extracts a package into the cache, once.
func (b *builder) unpack(ctx context.Context, file string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	dir, err := b.cache()
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, fmt.Sprintf("unpacked-%x", sha256.Sum256(data)))
	if _, err := os.Stat(out); err == nil {
		return out, nil
	}
	tmp, err := os.MkdirTemp(dir, "unpacking-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if msg, err := exec.CommandContext(ctx, "dpkg-deb", "-x", file, tmp).CombinedOutput(); err != nil {
		return "", fmt.Errorf("dpkg-deb -x %s: %w: %s", file, err, bytes.TrimSpace(msg))
	}
	if err := os.Rename(tmp, out); err != nil {
		if _, there := os.Stat(out); there != nil {
			return "", err
		}
	}
	return out, nil
}

func (b *builder) fromPackage(ctx context.Context, file string) (*kernel, error) {
	dir, err := b.unpack(ctx, file)
	if err != nil {
		return nil, err
	}
	images, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return nil, fmt.Errorf("kernel package %s: %d kernels in it", file, len(images))
	}
	image, err := os.ReadFile(images[0])
	if err != nil {
		return nil, err
	}
	v, err := kernelVersion(image)
	if err != nil {
		return nil, fmt.Errorf("kernel package %s: %w", file, err)
	}
	for _, d := range []string{"lib/modules", "usr/lib/modules"} {
		if p := filepath.Join(dir, d, v); isDir(p) {
			return &kernel{version: v, image: image, modules: os.DirFS(p)}, nil
		}
	}
	return nil, fmt.Errorf("kernel package %s: no modules of %s in it", file, v)
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
		return os.ReadFile(b.opt.Stub)
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
