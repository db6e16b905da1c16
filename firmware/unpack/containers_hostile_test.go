package unpack_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// zeros is a cabinet of one file of zeros in blocks of MSZIP.
func zeros(t *testing.T, megabytes int) []byte {
	var z bytes.Buffer
	w, err := flate.NewWriter(&z, 9)
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 0x8000))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b := cabinet(member{"zeros", nil})
	n := megabytes * 32
	binary.LittleEndian.PutUint32(b[44:], uint32(megabytes<<20))
	binary.LittleEndian.PutUint16(b[40:], uint16(n))
	b[42] = 1
	block := slices.Concat(make([]byte, 8), []byte("CK"), z.Bytes())
	binary.LittleEndian.PutUint16(block[4:], uint16(len(block)-8))
	block[7] = 0x80
	b = append(b, bytes.Repeat(block, n)...)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)))
	return b
}

func bombZip(t *testing.T, files, megabytes int) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for range files {
		f, err := w.Create("zeros")
		require.NoError(t, err)
		_, err = f.Write(make([]byte, megabytes<<20))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// deep puts n headers before each other, and as many tails behind.
func deep(n, head, tail int, header func(inside int) []byte) []byte {
	var heads []byte
	size := 4 + (n-1)*(head+tail)
	for range n {
		heads = append(heads, header(size)...)
		size -= head + tail
	}
	return slices.Concat(heads, []byte("core"), make([]byte, n*tail))
}

// What is made to cost much costs at most 2 seconds and 300 MB, and is said.
func TestHostileContainers(t *testing.T) {
	nestedPFS := deep(10000, 16+0x48, 16, func(n int) []byte { // without checksums, which would cost the test too much
		h := pfsVolume(pfsEntry(nil, nil))[:16+0x48]
		copy(h[12:], u32(n+0x48))
		copy(h[16+0x28:], u32(n))
		return h
	})
	nestedCapsules := deep(10000, 28, 0, func(n int) []byte {
		h := capsule("3B6686BD-0D76-4030-B70E-B5519E2FC5A0", nil)
		copy(h[24:], u32(28+n))
		return h
	})
	nestedCabinets := []byte("core")
	for range 1000 {
		nestedCabinets = cabinet(member{"a", nestedCabinets})
	}
	loop := managed([]byte("core"), nil)
	copy(loop[28+8:], []byte{0, 0, 0, 0}) // an item that begins at the list
	quine := cabinet(member{"a", make([]byte, 100)})
	binary.LittleEndian.PutUint32(quine[36:], 0) // a folder that begins at the cabinet's header
	signed := managed(make([]byte, 40<<20), func([]byte) []byte { return make([]byte, 1<<20) })
	for name, c := range map[string]struct {
		b    []byte
		code finding.Code
	}{
		"cabinet of 1 GiB":           {zeros(t, 1023), finding.InputBomb},
		"cabinet of 100 MiB":         {zeros(t, 100), finding.InputBomb},
		"cabinet in its bounds":      {zeros(t, 8), ""},
		"cabinet that holds itself":  {quine, finding.InputMalformed},
		"zip of many zeros":          {bombZip(t, 50, 20), finding.InputBomb},
		"PFS in PFS, 10000 deep":     {nestedPFS, finding.InputLimit},
		"capsules, 10000 deep":       {nestedCapsules, finding.InputLimit},
		"cabinets, 1000 deep":        {nestedCabinets, finding.InputLimit},
		"capsule that begins itself": {loop, ""},
		"signature over 40 MiB":      {signed, finding.VendorSignatureInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			peak, stop := make(chan uint64), make(chan struct{})
			go func() {
				most := uint64(0)
				for {
					select {
					case <-stop:
						peak <- most
						return
					case <-time.After(time.Millisecond):
						runtime.ReadMemStats(&after)
						most = max(most, after.HeapInuse)
					}
				}
			}()
			start := time.Now()
			m := parse(c.b)
			found := m.Inside()
			took := time.Since(start)
			close(stop)
			most := <-peak
			t.Logf("%d bytes: %v, %d MB", len(c.b), took, (most-min(most, before.HeapInuse))>>20)
			require.Less(t, int64(most)-int64(before.HeapInuse), int64(300<<20))
			if c.code == "" {
				require.Empty(t, told(m))
				return
			}
			require.True(t, slices.ContainsFunc(found, func(f finding.Finding) bool { return f.Code == c.code }), told(m))
		})
	}
}

// Whatever is in a container, each decoder of the program gives leaves that
// cover it.
func FuzzContainers(f *testing.F) {
	image := volume("one", "two")
	f.Add(cabinet(member{"firmware.bin", image}, member{"a.metainfo.xml", metainfo(image)}))
	f.Add(managed(image, nil))
	f.Add(pfsVolume(pfsEntry(pfsVolume(guardedEntries(image)), []byte("signature"))))
	f.Add(pfatImage("1 0 1;bios.bin", pfatBlock(image)))
	f.Add(ucpFile("@ROM", image))
	f.Add(slices.Concat([]byte("MZ"), make([]byte, 0x3a), []byte{0x40, 0, 0, 0}, []byte("PE\x00\x00"), iflashImage(image)))
	f.Add(tdkProgram(slices.Concat([]byte("MZ"), make([]byte, 0x3a), []byte{0x40, 0, 0, 0}, []byte("PE\x00\x00")), image))
	f.Add([]byte("PK\x03\x04\x14\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := parse(b)
		covered(t, m.Open(), int64(len(b)))
		m.Inside()
	})
}

// covered checks that leaves lie side by side over all of size bytes.
func covered(t *testing.T, leaves []firmware.Leaf, size int64) {
	end := int64(0)
	for _, l := range leaves {
		if l.Offset != end || l.Length <= 0 {
			t.Fatalf("%s at %d, want %d", l.Path, l.Offset, end)
		}
		end += l.Length
		if len(l.Inside) == 0 {
			continue
		}
		if l.Encoding != "" {
			covered(t, l.Inside, l.Expanded)
		} else {
			covered(t, l.Inside, l.Length)
		}
	}
	if end != size {
		t.Fatalf("%d bytes of %d", end, size)
	}
}

// Catalogues of one cabinet share what may be hashed.
func TestManyCataloguesOfOneCabinet(t *testing.T) {
	ms := []member{{"firmware.bin", make([]byte, 1<<20)}}
	blob := `{"Kind":10,"Flags":1,"Data":"x"}`
	item := `{"Id":"firmware.bin","Blobs":[` + strings.Repeat(blob+",", 63) + blob + `]}`
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := fmt.Fprintf(w, `{"Items":[%s]}`, strings.Repeat(item+",", 3)+item)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	for i := range 20 {
		ms = append(ms, member{fmt.Sprintf("%d.jcat", i), z.Bytes()})
	}
	limits := 0
	m := parse(cabinet(ms...))
	for _, f := range m.Inside() {
		if f.Code == finding.InputLimit {
			limits++
		}
	}
	require.Zero(t, limits, "one digest of one file is computed once")
}
