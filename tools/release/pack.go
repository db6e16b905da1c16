package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goreleaser/nfpm/v2"
	_ "github.com/goreleaser/nfpm/v2/deb"
	"github.com/goreleaser/nfpm/v2/files"
	_ "github.com/goreleaser/nfpm/v2/rpm"
)

// write makes the directory too.
func write(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o644)
}

// compressed is b as gzip -9n makes it: without a name and a time.
func compressed(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// pages compresses the manual pages, and lays them and the completions beside
// what was built for each kind of machine.
func (r *release) pages() error {
	files, err := filepath.Glob(filepath.Join(r.stage, "man", "*.1"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no manual pages in %s", r.stage)
	}
	completions, err := filepath.Glob(filepath.Join(r.stage, "completions", "*"))
	if err != nil || len(completions) == 0 {
		return fmt.Errorf("no completions in %s", r.stage)
	}
	for _, f := range append(files, completions...) {
		b, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		name := filepath.Base(f)
		if strings.HasSuffix(name, ".1") {
			name += ".gz"
			if b, err = compressed(b); err != nil {
				return err
			}
		}
		for _, arch := range r.arches {
			if err := write(filepath.Join(r.stage, arch, filepath.Base(filepath.Dir(f)), name), b); err != nil {
				return err
			}
		}
	}
	return nil
}

const copyright = `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: assay
Source: https://github.com/assay-hw/assay
Comment: What is linked into the programs, and under which terms, is listed in
 /usr/share/doc/assay/third-party-licenses.gz and, by module, in the bills of
 materials in /usr/share/doc/assay/sbom.

Files: *
Copyright: 2026 The Assay authors
License: Apache-2.0

License: Apache-2.0
 On Debian systems the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0. It is also at
 https://www.apache.org/licenses/LICENSE-2.0.
`

// documents writes what says of the programs what they are made of.
func (r *release) documents(dir, arch string) error {
	if err := r.writeBOMs(dir, arch); err != nil {
		return err
	}
	bin := filepath.Join(dir, "bin")
	third, err := r.thirdParty(filepath.Join(bin, "assay"), filepath.Join(bin, "assay-scanner"), filepath.Join(bin, "assay-sender"))
	if err != nil {
		return err
	}
	changes, err := os.ReadFile(filepath.Join(r.source, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"third-party-licenses": third, "changelog": changes} {
		z, err := compressed(b)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, "doc", name+".gz"), z); err != nil {
			return err
		}
	}
	if err := write(filepath.Join(dir, "doc", "third-party-licenses"), third); err != nil {
		return err
	}
	log := fmt.Sprintf("- semver: %q\n  date: %s\n  packager: Assay authors <assay-hw@users.noreply.github.com>\n  deb: {urgency: medium, distributions: [stable]}\n  changes:\n    - note: Version %s; what changed is in changelog.gz.\n",
		r.version.packaged+"-1", r.at.Format(time.RFC3339), r.version.described)
	return errors.Join(write(filepath.Join(dir, "changelog.yaml"), []byte(log)), write(filepath.Join(dir, "doc", "copyright"), []byte(copyright)))
}

// pack makes a package as deploy/package/nfpm.yaml describes it.
func (r *release) pack(format, dir, arch string) error {
	raw, err := os.ReadFile(filepath.Join(r.source, "deploy", "package", "nfpm.yaml"))
	if err != nil {
		return err
	}
	text := strings.NewReplacer("${ARCH}", arch, "${VERSION}", r.version.packaged, "${STAGE}", dir, "${SOURCE}", r.source).Replace(string(raw))
	config, err := nfpm.Parse(strings.NewReader(text))
	if err != nil {
		return err
	}
	info, err := config.Get(format)
	if err != nil {
		return err
	}
	info = nfpm.WithDefaults(info)
	info.MTime = r.at
	if format == "rpm" {
		if info.Contents, err = documentation(info.Contents); err != nil {
			return err
		}
	}
	packager, err := nfpm.Get(format)
	if err != nil {
		return err
	}
	info.Target = filepath.Join(r.out, packager.ConventionalFileName(info))
	var out bytes.Buffer
	if err := packager.Package(info, &out); err != nil {
		return fmt.Errorf("%s for %s: %w", format, arch, err)
	}
	return write(info.Target, out.Bytes())
}

// documentation marks what is documentation, which rpm can leave out. nfpm takes
// no pattern for such files, and gives them to rpm alone.
func documentation(contents files.Contents) (files.Contents, error) {
	var out files.Contents
	for _, c := range contents {
		if c.Type != "" || !strings.HasPrefix(c.Destination, "/usr/share/doc/") && !strings.HasPrefix(c.Destination, "/usr/share/man/") {
			out = append(out, c)
			continue
		}
		found, err := filepath.Glob(c.Source)
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("nothing is %s", c.Source)
		}
		for _, f := range found {
			one := *c
			one.Source, one.Type = f, files.TypeRPMDoc
			if strings.HasSuffix(c.Destination, "/") {
				one.Destination += filepath.Base(f)
			}
			out = append(out, &one)
		}
	}
	return out, nil
}

// base is the name of what is for one kind of machine, and the directory in
// its archive.
func (r *release) base(arch string) string { return "assay-" + r.version.archive + "-linux-" + arch }

// archived says what an archive holds, and where: programs beside each other,
// as image build looks for them.
func (r *release) archived(dir string) (map[string]string, error) {
	out := map[string]string{}
	for pattern, to := range map[string]string{
		filepath.Join(dir, "bin", "*"):                                  "",
		filepath.Join(dir, "man", "*"):                                  "man/man1",
		filepath.Join(dir, "completions", "*"):                          "completions",
		filepath.Join(dir, "sbom", "*"):                                 "sbom",
		filepath.Join(dir, "doc", "third-party-licenses"):               "",
		filepath.Join(r.source, "LICENSE"):                              "",
		filepath.Join(r.source, "README.md"):                            "",
		filepath.Join(r.source, "CHANGELOG.md"):                         "",
		filepath.Join(r.source, "docs", "*.md"):                         "docs",
		filepath.Join(r.source, "docs", "formats", "*"):                 "docs/formats",
		filepath.Join(r.source, "deploy", "systemd", "*"):               "deploy/systemd",
		filepath.Join(r.source, "deploy", "sysusers.d", "*"):            "deploy/sysusers.d",
		filepath.Join(r.source, "deploy", "tmpfiles.d", "*"):            "deploy/tmpfiles.d",
		filepath.Join(r.source, "deploy", "udev", "*"):                  "deploy/udev",
		filepath.Join(r.source, "deploy", "etc", "*.env"):               "deploy/etc",
		filepath.Join(r.source, "deploy", "container", "Containerfile"): "deploy/container",
		filepath.Join(r.source, "deploy", "container", "etc", "*"):      "deploy/container/etc",
		filepath.Join(r.source, "deploy", "container", "empty", "*"):    "deploy/container/empty",
		filepath.Join(r.source, "deploy", "etc", "trust", "*"):          "deploy/etc/trust",
		filepath.Join(r.source, "deploy", "prometheus", "*"):            "deploy/prometheus",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("archive: nothing is %s", pattern)
		}
		for _, f := range files {
			out[path.Join(to, filepath.Base(f))] = f
		}
	}
	return out, nil
}

// archive writes them in order of their names, owned by root, with the time of
// the commit.
func (r *release) archive(dir, arch string) error {
	files, err := r.archived(dir)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(files))
	for n := range files {
		names = append(names, n)
	}
	slices.Sort(names)
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		raw, err := os.ReadFile(files[n])
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if !strings.Contains(n, "/") && strings.HasPrefix(n, "assay") {
			mode = 0o755
		}
		h := &tar.Header{Name: r.base(arch) + "/" + n, Mode: int64(mode), Size: int64(len(raw)), ModTime: r.at, Uname: "root", Gname: "root", Format: tar.FormatUSTAR}
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		if _, err := w.Write(raw); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	z, err := compressed(b.Bytes())
	if err != nil {
		return err
	}
	return write(filepath.Join(r.out, r.base(arch)+".tar.gz"), z)
}
