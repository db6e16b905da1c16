package image

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/assay-hw/assay/image/layout"
)

// initramfs packs the scanner, its modules and what the operator wants on the
// stick. Equal contents give equal bytes: no clock, fixed owners and inode
// numbers, sorted names.
func (b *builder) initramfs(k *kernel) ([]byte, error) {
	m, err := openModules(k.modules)
	if err != nil {
		return nil, input(err)
	}
	p, err := m.choose()
	if err != nil {
		return nil, input(err)
	}
	b.progress("%d kernel modules; not files of this kernel: %s", len(p.names), strings.Join(p.absent, ", "))
	files := map[string][]byte{
		layout.ModulesPlan: []byte(strings.Join(p.lines, "\n") + "\n"),
		layout.VersionFile: []byte(b.opt.Version + "\n"),
	}
	for _, n := range p.names {
		if files[layout.ModulesDir+"/"+n+".ko"], err = m.read(n); err != nil {
			return nil, input(err)
		}
	}
	for dir, list := range map[string][]File{layout.GoldenDir: b.opt.Golden, layout.TrustDir: b.opt.Trust, layout.EKRootsDir: b.opt.EKRoots} {
		for _, f := range list {
			files[dir+"/"+path.Base(f.Name)] = f.Data
		}
	}
	programs := map[string][]byte{"init": b.opt.Scanner}
	if b.opt.SendURL != "" {
		programs[layout.Sender] = b.opt.Sender
		files[layout.SendURL], files[layout.SendRoots] = []byte(b.opt.SendURL+"\n"), b.opt.SendRoots
	}
	return pack(programs, files)
}

func pack(programs, files map[string][]byte) ([]byte, error) {
	records := []cpio.Record{
		// The kernel opens the console before init can make devices.
		cpio.CharDev("dev/console", 0o600, 5, 1),
	}
	for name, data := range programs {
		records = append(records, cpio.StaticFile(name, string(data), 0o755))
	}
	dirs := map[string]bool{"dev": true, "proc": true, "sys": true, "run": true, "tmp": true, "stick": true}
	for name, data := range files {
		records = append(records, cpio.StaticFile(name, string(data), 0o444))
		for d := path.Dir(name); d != "."; d = path.Dir(d) {
			dirs[d] = true
		}
	}
	for d := range dirs {
		records = append(records, cpio.Directory(d, 0o755))
	}
	slices.SortFunc(records, func(a, b cpio.Record) int { return strings.Compare(a.Name, b.Name) })
	cpio.MakeAllReproducible(records)
	for i := range records {
		records[i].Ino = uint64(i + 1)
	}
	var buf bytes.Buffer
	// One thread, since how work is split between threads shows in the bytes.
	z, err := zstd.NewWriter(&buf, zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	w := cpio.Newc.Writer(struct{ io.Writer }{z})
	if err := cpio.WriteRecords(w, records); err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("initramfs: %w", err)
	}
	return buf.Bytes(), nil
}
