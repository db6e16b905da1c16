package unpack

import (
	"encoding/binary"
	"testing"
)

// FuzzOpen gives all decoders what they begin with and damaged forms of it: no
// bytes make one panic, or give more than it was allowed to.
func FuzzOpen(f *testing.F) {
	// Short ones: the formats' own packages are fuzzed too, and a long one costs
	// the time of thousands.
	image := sparse(3, 0)
	image = image[:len(image)-1<<20+4096]
	binary.LittleEndian.PutUint64(image[40:], uint64(len(image)))
	f.Add(image)
	w := &jffs2Writer{}
	w.file(1, 2, "file", 0o100644, "contents")
	f.Add(w.b)
	f.Add(made(f, "multi.uimage")[:600])
	f.Add(made(f, "env.bin")[:4096])
	f.Add(made(f, "fit.itb")[:2000])
	const limit = 1 << 16
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
	})
}
