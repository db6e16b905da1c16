package authenticode

import (
	"bytes"
	"crypto"
	_ "crypto/md5"
	_ "crypto/sha1"
	"crypto/sha256"
	_ "crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

type peSpec struct {
	magic    uint16
	dirs     uint32
	sections [][2]uint32 // offset, size
	size     int
	cert     [2]uint32
}

// build writes the smallest PE file with the given layout; every byte behind
// the headers differs from its neighbours so that a shifted hash shows.
func build(s peSpec) []byte {
	b := make([]byte, s.size)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	copy(b, make([]byte, 512))
	copy(b, "MZ")
	binary.LittleEndian.PutUint32(b[60:], 64)
	copy(b[64:], "PE\x00\x00")
	binary.LittleEndian.PutUint16(b[70:], uint16(len(s.sections)))
	dirs := 96
	if s.magic == 0x20b {
		dirs = 112
	}
	opt := 88
	size := dirs + 8*int(s.dirs)
	binary.LittleEndian.PutUint16(b[84:], uint16(size))
	binary.LittleEndian.PutUint16(b[opt:], s.magic)
	binary.LittleEndian.PutUint32(b[opt+60:], 512)
	binary.LittleEndian.PutUint32(b[opt+64:], 0xdeadbeef)
	binary.LittleEndian.PutUint32(b[opt+dirs-4:], s.dirs)
	if s.dirs > 4 {
		binary.LittleEndian.PutUint32(b[opt+dirs+32:], s.cert[0])
		binary.LittleEndian.PutUint32(b[opt+dirs+36:], s.cert[1])
	}
	for i, sec := range s.sections {
		h := b[opt+size+40*i:]
		binary.LittleEndian.PutUint32(h[16:], sec[1])
		binary.LittleEndian.PutUint32(h[20:], sec[0])
	}
	return b
}

func TestChecksumAndCertificatesAreLeftOut(t *testing.T) {
	pe := build(peSpec{magic: 0x20b, dirs: 16, sections: [][2]uint32{{512, 256}, {768, 256}}, size: 1200, cert: [2]uint32{1100, 100}})
	want, err := Digest(pe, crypto.SHA256)
	require.NoError(t, err)
	h := sha256.New()
	h.Write(pe[:152])
	h.Write(pe[156:232])
	h.Write(pe[240:1100])
	require.Equal(t, h.Sum(nil), want)

	same := bytes.Clone(pe)
	same[152] ^= 1  // checksum
	same[1150] ^= 1 // certificate
	got, err := Digest(same, crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, want, got)

	for _, at := range []int{2, 300, 600, 1050} {
		other := bytes.Clone(pe)
		other[at] ^= 1
		got, err := Digest(other, crypto.SHA256)
		require.NoError(t, err)
		require.NotEqual(t, want, got, "byte %d must count", at)
	}
}

func TestSectionsAreHashedInFileOrder(t *testing.T) {
	a := build(peSpec{magic: 0x10b, dirs: 16, sections: [][2]uint32{{512, 256}, {768, 256}}, size: 1024})
	b := build(peSpec{magic: 0x10b, dirs: 16, sections: [][2]uint32{{768, 256}, {512, 256}}, size: 1024})
	for name, pe := range map[string][]byte{"in order": a, "swapped": b} {
		h := sha256.New()
		h.Write(pe[:152])
		h.Write(pe[156 : 88+96+32])
		h.Write(pe[88+96+40:])
		got, err := Digest(pe, crypto.SHA256)
		require.NoError(t, err)
		require.Equal(t, h.Sum(nil), got, name)
	}
}

func TestUnsignedImageIsNotPadded(t *testing.T) {
	pe := build(peSpec{magic: 0x20b, dirs: 4, sections: [][2]uint32{{512, 100}}, size: 619})
	h := sha256.New()
	h.Write(pe[:152])
	h.Write(pe[156:])
	got, err := Digest(pe, crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, h.Sum(nil), got)
}

func TestRefusesHeadersThatLie(t *testing.T) {
	good := peSpec{magic: 0x20b, dirs: 16, sections: [][2]uint32{{512, 100}}, size: 1024}
	for name, edit := range map[string]func([]byte) []byte{
		"empty":                     func([]byte) []byte { return nil },
		"PE header beyond the end":  func(b []byte) []byte { b[63] = 0xff; return b },
		"no PE signature":           func(b []byte) []byte { b[64] = 'X'; return b },
		"unknown magic":             func(b []byte) []byte { b[88] = 9; return b },
		"optional header too long":  func(b []byte) []byte { b[84], b[85] = 0xff, 0xff; return b },
		"optional header too short": func(b []byte) []byte { b[84], b[85] = 40, 0; return b },
		"optional header half":      func(b []byte) []byte { b[84], b[85] = 80, 0; return b },
		"headers beyond the end":    func(b []byte) []byte { b[88+62] = 0xff; return b },
		"headers end in themselves": func(b []byte) []byte { b[88+60], b[88+61] = 100, 0; return b },
		"certificates beyond":       func(b []byte) []byte { b[88+112+39] = 0x7f; return b },
		"section beyond the end":    func(b []byte) []byte { b[88+240+19] = 0x7f; return b },
		"too many sections":         func(b []byte) []byte { b[70], b[71] = 0xff, 0xff; return b },
		"section table beyond":      func(b []byte) []byte { b[70] = 200; return b },
		"truncated":                 func(b []byte) []byte { return b[:80] },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Digest(edit(build(good)), crypto.SHA256)
			require.ErrorIs(t, err, ErrMalformed)
		})
	}
}

func TestOverlappingSectionsDoNotMultiplyTheWork(t *testing.T) {
	s := peSpec{magic: 0x20b, dirs: 16, size: 4096}
	for range 20 {
		s.sections = append(s.sections, [2]uint32{2048, 2048})
	}
	_, err := Digest(build(s), crypto.SHA256)
	require.ErrorIs(t, err, ErrMalformed)
}

func TestUnavailableHashIsAnError(t *testing.T) {
	_, err := Digest(nil, crypto.BLAKE2b_256)
	require.Error(t, err)
}

// The vectors were compared with pesign, osslsigncode and TPM events. The shim
// carries two certificates, which other readers stumble over.
func TestKnownImages(t *testing.T) {
	for name, want := range map[string]string{
		"debian-shimx64.efi.signed": "80a66d53a945d2286fcadd780fae1c225aa732079cd67b5225dc78aaab4e2ff8",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile("../../../shared/corpus/firmware/pe-oprom/" + name)
			if err != nil {
				t.Skip("needs ../shared/corpus/firmware/pe-oprom/" + name)
			}
			got, err := Digest(b, crypto.SHA256)
			require.NoError(t, err)
			require.Equal(t, want, hex.EncodeToString(got))
		})
	}
}

// Signing a file must not move its digest.
func TestSignedAndUnsignedAgree(t *testing.T) {
	read := func(name string) []byte {
		b, err := os.ReadFile("../../../shared/corpus/firmware/pe-oprom/" + name)
		if err != nil {
			t.Skip("needs ../shared/corpus/firmware/pe-oprom/" + name)
		}
		return b
	}
	plain, signed := read("go-uefi-test.pecoff"), read("go-uefi-test.pecoff.signed")
	a, err := Digest(append(plain, make([]byte, (8-len(plain)%8)%8)...), crypto.SHA256)
	require.NoError(t, err)
	b, err := Digest(signed, crypto.SHA256)
	require.NoError(t, err)
	require.Equal(t, a, b, "a signer pads the file to eight bytes first")
}

func FuzzDigest(f *testing.F) {
	f.Add(build(peSpec{magic: 0x20b, dirs: 16, sections: [][2]uint32{{512, 256}, {768, 256}}, size: 1200, cert: [2]uint32{1100, 100}}))
	f.Add(build(peSpec{magic: 0x10b, dirs: 4, size: 600}))
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Digest(b, crypto.SHA256)
		if (d == nil) == (err == nil) {
			t.Fatal("neither a digest nor a reason")
		}
	})
}

func BenchmarkDigest(b *testing.B) {
	pe := build(peSpec{magic: 0x20b, dirs: 16, sections: [][2]uint32{{512, 1 << 20}}, size: 512 + 1<<20})
	b.SetBytes(int64(len(pe)))
	for b.Loop() {
		if _, err := Digest(pe, crypto.SHA256); err != nil {
			b.Fatal(err)
		}
	}
}
