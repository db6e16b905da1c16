package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

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
	file, err := b.fetch(ctx, name)
	if err != nil {
		return "", fmt.Errorf("%w; run apt-get update, or %s", err, help)
	}
	return file, nil
}

// offer is the file of a package that apt would fetch.
type offer struct {
	name   string
	digest string // "SHA256:..." or "SHA512:..."; "" when apt names another kind
}

// offered asks apt which file of a package is the current one.
func offered(ctx context.Context, pkg string) (*offer, error) {
	var msg bytes.Buffer
	cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", "--print-uris", pkg)
	cmd.Stderr = &msg
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("apt-get download --print-uris %s: %w: %s", pkg, err, bytes.TrimSpace(msg.Bytes()))
	}
	for line := range strings.Lines(string(out)) {
		// 'ADDRESS' NAME SIZE DIGEST
		f := strings.Fields(line)
		if len(f) < 3 || !strings.HasSuffix(f[1], ".deb") || filepath.Base(f[1]) != f[1] {
			continue
		}
		o := &offer{name: f[1]}
		if len(f) == 4 && (strings.HasPrefix(f[3], "SHA256:") || strings.HasPrefix(f[3], "SHA512:")) {
			o.digest = f[3]
		}
		return o, nil
	}
	return nil, fmt.Errorf("apt-get download --print-uris %s: it names no package", pkg)
}

// is reports whether a file is the one that was offered.
func (o *offer) is(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false
	}
	defer f.Close()
	kind, want, _ := strings.Cut(o.digest, ":")
	h := sha256.New()
	if kind == "SHA512" {
		h = sha512.New()
	}
	if _, err := io.Copy(h, f); err != nil {
		return false
	}
	return strings.EqualFold(hex.EncodeToString(h.Sum(nil)), want)
}

// fetch downloads one Debian package into the cache, unless the file that apt
// would fetch is there.
func (b *builder) fetch(ctx context.Context, pkg string) (string, error) {
	dir, err := b.cache()
	if err != nil {
		return "", err
	}
	want, err := offered(ctx, pkg)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, want.name)
	if want.is(file) {
		return file, nil
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	b.progress("downloading Debian's package %s", want.name)
	cmd := exec.CommandContext(ctx, "apt-get", "download", "-q", pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("apt-get download %s: %w: %s", pkg, err, bytes.TrimSpace(out))
	}
	if _, err := os.Stat(file); err != nil || want.digest != "" && !want.is(file) {
		return "", fmt.Errorf("apt-get download %s: it left no file %s with the digest %s", pkg, want.name, want.digest)
	}
	return file, nil
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
		return "", input(err)
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
