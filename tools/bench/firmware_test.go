// Package bench measures against other programs' code. It is a module of its
// own, so that nobody who builds or tests Assay needs theirs.
package bench

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"testing"

	"github.com/linuxboot/fiano/pkg/uefi"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/lzma"
)

// image is a flash of n MiB: builds of OVMF side by side, each in 4 MiB with its
// variables. Every copy is expanded and hashed anew by everyone.
func image(b *testing.B, mib int) []byte {
	b.Helper()
	var one []byte
	for _, name := range []string{"/usr/share/OVMF/OVMF_VARS_4M.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd"} {
		part, err := os.ReadFile(name)
		if err != nil {
			b.Skip("needs Debian's package ovmf: bash tools/setup.sh")
		}
		one = append(one, part...)
	}
	return bytes.Repeat(one, mib<<20/len(one))
}

// expanded is an image with the volumes that are compressed in another, side by side
// as they are when expanded: what is measured of it has no expanding in it.
func expanded(b *testing.B, data []byte) (out []byte) {
	for _, s := range compressed(b, data) {
		plain, _, err := lzma.Decode(s, 64<<20)
		require.NoError(b, err)
		for at := 0; ; {
			i := bytes.Index(plain[at:], []byte("_FVH"))
			if i < 0 {
				break
			}
			at += i - 40 // PI 1.8, volume 3, 3.2.1: the signature, and the length before it
			length := int(binary.LittleEndian.Uint64(plain[at+32:]))
			out = append(out, plain[at:at+length]...)
			at += length
		}
	}
	return out
}

// hashed returns the bytes that taking an image apart gives, each once: what is
// expanded in place of what it was expanded from.
func hashed(leaves []firmware.Leaf, out *[][]byte) {
	for _, l := range leaves {
		if len(l.Inside) == 0 {
			*out = append(*out, l.Content())
			continue
		}
		hashed(l.Inside, out)
	}
}

// compressed finds the LZMA streams of an image, behind the heads of their GUIDed
// sections (PI 1.8, volume 3, 2.2.4 and 3.2.5.1).
func compressed(b *testing.B, data []byte) (out [][]byte) {
	guid := []byte{0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf}
	for at := 0; ; {
		i := bytes.Index(data[at:], guid)
		if i < 0 {
			break
		}
		at += i + len(guid)
		head := int(data[at]) | int(data[at+1])<<8 // from the start of the section, 4 bytes before the GUID
		if head == 24 {                            // elsewhere it is only a number in a program
			out = append(out, data[at-len(guid)-4+head:])
		}
	}
	if len(out) == 0 {
		b.Fatal("no compressed section")
	}
	return out
}

var sizes = []int{16, 64}

// BenchmarkFirmware takes an image apart down to sections and hashes every part
// (assay; of an image with nothing to expand what comparisons need, and all as
// assay-every-digest), builds a tree without digests (fiano), and only hashes the bytes that
// the first gives (sha256), which leaves out what expanding costs. The floor only
// expands and hashes. Of an image that has nothing to expand all is hashed by both.
func BenchmarkFirmware(b *testing.B) {
	for _, mib := range sizes {
		data := image(b, mib)
		var parts [][]byte
		m := firmware.Parse("bios", data)
		hashed(m.Open(), &parts)
		if fs := m.Inside(); len(fs) > 0 {
			b.Fatalf("the image was not taken apart completely: %s", fs[0].Why)
		}
		plain := expanded(b, data)
		take := func(by string, apart func(*firmware.Image) []firmware.Leaf) {
			b.Run(fmt.Sprintf("expanded=%dMiB/by=%s", mib, by), func(b *testing.B) {
				b.SetBytes(int64(len(plain)))
				e := bundle(b, "expanded", map[string][]byte{"firmware/bios.rom": plain})
				for b.Loop() {
					for _, m := range firmware.Read(e) {
						apart(m)
					}
				}
			})
		}
		take("assay", (*firmware.Image).Parts)
		take("assay-every-digest", (*firmware.Image).Open)
		b.Run(fmt.Sprintf("expanded=%dMiB/by=sha256", mib), func(b *testing.B) {
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				sha256.Sum256(plain)
			}
		})
		b.Run(fmt.Sprintf("size=%dMiB/by=assay", mib), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				firmware.Parse("bios", data).Open()
			}
		})
		b.Run(fmt.Sprintf("size=%dMiB/by=fiano", mib), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			uefi.SupportedFiles[uefi.FVFileTypePEIM] = true // left out by default
			for b.Loop() {
				if _, err := uefi.Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("size=%dMiB/by=floor", mib), func(b *testing.B) {
			streams := compressed(b, data)
			for b.Loop() {
				for _, s := range streams {
					if _, _, err := lzma.Decode(s, 64<<20); err != nil {
						b.Fatal(err)
					}
				}
				for _, p := range parts {
					sha256.Sum256(p)
				}
			}
		})
		b.Run(fmt.Sprintf("size=%dMiB/by=sha256", mib), func(b *testing.B) {
			n := 0
			for _, p := range parts {
				n += len(p)
			}
			b.SetBytes(int64(n))
			for b.Loop() {
				for _, p := range parts {
					sha256.Sum256(p)
				}
			}
		})
	}
}
