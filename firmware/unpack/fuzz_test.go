package unpack

import (
	"testing"

	"github.com/assay-hw/assay/firmware"
)

// FuzzOpen gives all decoders what they begin with and damaged forms of it: no
// bytes make one panic, or give more than it was allowed to.
func FuzzOpen(f *testing.F) {
	for _, name := range []string{"gzip.squashfs", "lzo.squashfs", "xz.squashfs", "zstd.squashfs", "lz4.squashfs", "le.cramfs", "multi.uimage", "env.bin"} {
		f.Add(made(f, name))
	}
	f.Add(made(f, "l.jffs2")[:8192])
	f.Add(made(f, "fit.itb")[:2000])
	const limit = 1 << 20
	ds := controllerDecoders()
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, d := range ds {
			if !d.Begins(b) {
				continue
			}
			a, err := d.Open(b, limit)
			if err != nil {
				continue
			}
			n := 0
			for _, file := range a.Files {
				if file.Type == typeFile || file.Type == typeProgram {
					n += len(file.Content)
				}
			}
			if n > limit || a.Used > len(b) {
				t.Fatalf("%s: %d bytes of files, %d of %d used", d.Name, n, a.Used, len(b))
			}
		}
		firmware.Parse("bmc", b, ds...).Open()
	})
}
