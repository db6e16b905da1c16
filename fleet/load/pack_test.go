package load

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/assay-hw/assay/evidence"
)

// pack writes a bundle as a zip. What many machines have is compressed once, so
// that making machines does not take longer than judging them.
func (m *maker) pack(b *evidence.Bundle, kind tampering) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	names := []string{}
	if kind != sealMissing {
		names = append(names, evidence.IndexName)
	}
	for _, a := range b.Artifacts() {
		if a.Path != evidence.IndexName && b.Has(a.Path) {
			names = append(names, a.Path)
		}
	}
	for _, name := range names {
		data, err := b.Read(name)
		if err != nil {
			return nil, err
		}
		if kind == spliced && name == "proc/meminfo" {
			data = bytes.Replace(data, []byte("MemTotal"), []byte("MemTotaL"), 1)
		}
		if err := m.entry(z, name, data); err != nil {
			return nil, err
		}
	}
	err := z.Close()
	return out.Bytes(), err
}

func (m *maker) entry(z *zip.Writer, name string, data []byte) error {
	sum := sha256.Sum256(data)
	packed, shared := m.packed[sum]
	if !shared {
		var b bytes.Buffer
		m.deflate.Reset(&b)
		if _, err := m.deflate.Write(data); err != nil {
			return err
		}
		if err := m.deflate.Close(); err != nil {
			return err
		}
		packed = b.Bytes()
		if !slices.Contains(individual, pattern(name)) && !strings.HasPrefix(name, "tpm/") && !strings.HasPrefix(name, "proc/uptime") && name != evidence.IndexName {
			m.packed[sum] = packed
		}
	}
	h := &zip.FileHeader{Name: name, Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(data), CompressedSize64: uint64(len(packed)), UncompressedSize64: uint64(len(data))}
	if len(packed) >= len(data) || len(packed)*150 < len(data) { // as the writer of bundles does: an entry must not look like a bomb
		h.Method, h.CompressedSize64, packed = zip.Store, uint64(len(data)), data
	}
	w, err := z.CreateRaw(h)
	if err == nil {
		_, err = w.Write(packed)
	}
	return err
}
