package unpack

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// made reads an image of testdata.
func made(t testing.TB, name string) []byte {
	t.Helper()
	return unpacked(t, filepath.Join("testdata", name+".xz"))
}

func unpacked(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	if filepath.Ext(name) != ".xz" {
		return b
	}
	r, err := xz.NewReader(bytes.NewReader(b))
	require.NoError(t, err)
	b, err = io.ReadAll(io.LimitReader(r, 64<<20))
	require.NoError(t, err)
	return b
}

// recorded reads an image of the corpus.
func recorded(t testing.TB, name string) []byte {
	t.Helper()
	p := filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "bmc", name)
	if _, err := os.Stat(p); err != nil {
		t.Skip("needs ../shared/corpus/firmware/bmc/" + name)
	}
	return unpacked(t, p)
}

// text is what the longer files of the tree hold.
func text(n int) []byte {
	words := []string{"image", "golden", "verify", "leaf", "flash", "block", "\n", "image"}
	x := uint32(1)
	var out []byte
	for len(out) < n {
		x = (x*1103515245 + 12345) & 0x7fffffff
		out = append(append(out, words[x>>16&7]...), ' ')
	}
	return out[:n]
}

// tree is what the file systems of testdata hold.
func tree() map[string][]byte {
	daemon := append([]byte("\x7fELF"), text(150000)...)
	random := make([]byte, 5000)
	for i := range random {
		random[i] = byte(i*i*31 + i/7*13)
	}
	out := map[string][]byte{
		"etc/passwd":     []byte("root:x:0:0:root:/home/root:/bin/sh\n"),
		"etc/init.d/rcS": []byte("#!/bin/sh\nexec /usr/bin/daemon\n"),
		"usr/bin/daemon": daemon, "usr/bin/other": daemon, "usr/bin/random": random,
		"var/sparse":                     append(make([]byte, 40000), "end"...),
		"home/root/.ssh/authorized_keys": []byte("ssh-ed25519 AAAA nobody\n"),
	}
	for i := range 120 {
		out[fmt.Sprintf("var/many/file-%03d", i)] = fmt.Appendf(nil, "%d\n", i)
	}
	return out
}

func decoder(t testing.TB, b []byte) firmware.Decoder {
	t.Helper()
	i := slices.IndexFunc(Decoders(), func(d firmware.Decoder) bool { return d.Begins != nil && d.Begins(b) })
	require.GreaterOrEqual(t, i, 0, "no decoder begins with these bytes")
	return Decoders()[i]
}

func opened(t testing.TB, b []byte) firmware.Archive {
	t.Helper()
	a, err := decoder(t, b).Open(b, 64<<20)
	require.NoError(t, err)
	return a
}

func contents(a firmware.Archive) map[string][]byte {
	out := map[string][]byte{}
	for _, f := range a.Files {
		if f.Type != typeListing && f.Type != firmware.NodeType && len(f.Content) > 0 {
			out[f.Path] = f.Content
		}
	}
	return out
}

func listing(t testing.TB, a firmware.Archive) string {
	t.Helper()
	i := slices.IndexFunc(a.Files, func(f firmware.File) bool { return f.Type == typeListing })
	require.GreaterOrEqual(t, i, 0)
	return string(a.Files[i].Content)
}

func TestFileSystemsHoldTheTree(t *testing.T) {
	for _, name := range []string{
		"gzip.squashfs", "lzma.squashfs", "lzo.squashfs", "xz.squashfs", "lz4.squashfs", "zstd.squashfs", "plain.squashfs",
		"l.jffs2", "b.jffs2", "rtime.jffs2", "lzo.jffs2", "lzo.ubifs", "zlib.ubifs", "zstd.ubifs", "none.ubifs", "le.cramfs",
	} {
		t.Run(name, func(t *testing.T) {
			b := made(t, name)
			a := opened(t, b)
			require.Empty(t, a.Notes)
			require.LessOrEqual(t, a.Used, len(b))
			want, got := tree(), contents(a)
			for p := range want {
				require.True(t, bytes.Equal(want[p], got[p]), "%s: %d bytes, want %d", p, len(got[p]), len(want[p]))
			}
			require.Len(t, got, len(want))
			l := listing(t, a)
			daemon := "-4755 0:0 /usr/bin/daemon 150004"
			if strings.HasSuffix(name, ".jffs2") {
				daemon = "-0755 0:0 /usr/bin/daemon 150004" // mkfs.jffs2 drops the bit
			}
			lines := strings.Split(l, "\n")
			for _, want := range []string{daemon, "l0777 0:0 /etc/link -> ../usr/bin/daemon", "c0600 0:0 /console 5,1", "-0644 0:0 /etc/empty 0", "d0755 0:0 /home -"} {
				require.True(t, slices.Contains(lines, want), want)
			}
			for _, f := range a.Files {
				runs := slices.Contains([]string{"etc/init.d/rcS", "usr/bin/daemon", "usr/bin/other"}, f.Path)
				require.Equal(t, runs, f.Kind == firmware.Code, f.Path)
			}
		})
	}
}

// The library takes what a header says, and knows no filters.
func TestStreamsThatTheLibraryIsNotGiven(t *testing.T) {
	var b bytes.Buffer
	w, err := xz.WriterConfig{DictCap: 1 << 16}.NewWriter(&b)
	require.NoError(t, err)
	_, err = w.Write(text(1000))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	out, err := expandXZ(b.Bytes(), 1000)
	require.NoError(t, err)
	require.Equal(t, text(1000), out)
	_, err = expandXZ(b.Bytes(), 999)
	require.ErrorIs(t, err, firmware.ErrLimit)
	filter := bytes.Clone(b.Bytes())
	filter[13] |= 1
	require.ErrorContains(t, checkXZ(filter), "filter of a processor")
	large := bytes.Clone(b.Bytes())
	large[16] = 40
	require.ErrorContains(t, checkXZ(large), "dictionary")
}

// unsquashfs is another implementation.
func TestSquashFSAsItsToolsReadIt(t *testing.T) {
	tool, err := exec.LookPath("unsquashfs")
	if err != nil {
		t.Skip("needs unsquashfs of squashfs-tools")
	}
	b := recorded(t, "rofs.squashfs")
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	require.NoError(t, os.WriteFile(image, b, 0o600))
	out, err := exec.Command(tool, "-d", filepath.Join(dir, "root"), "-no-xattrs", image).CombinedOutput()
	require.NoError(t, err, string(out))
	got := contents(opened(t, b))
	require.Len(t, got, 7)
	for p, c := range got {
		want, err := os.ReadFile(filepath.Join(dir, "root", p))
		require.NoError(t, err)
		require.Equal(t, want, c, p)
	}
}

func TestImagesOfABootLoader(t *testing.T) {
	for _, name := range []string{"fit.itb", "external.itb"} {
		b := made(t, name)
		a := opened(t, b)
		require.Empty(t, a.Notes)
		require.InDelta(t, len(b), a.Used, 4, name)
		require.Equal(t, tree()["usr/bin/daemon"], contents(a)["kernel-1"])
		require.Equal(t, made(t, "xz.squashfs"), contents(a)["ramdisk-1"])
		l := listing(t, a)
		require.Contains(t, l, `image kernel-1 hash-1 "sha256" `)
		require.Contains(t, l, `configuration conf-1 signature signature-1 "sha256,rsa2048" key="dev"`)
		at := bytes.Index(b, []byte("verify leaf"))
		b[at] ^= 1
		a = opened(t, b)
		require.Len(t, a.Notes, 3, "sha256, crc32 and sha1")
		require.Equal(t, finding.InputMalformed, a.Notes[0].Code)
	}
	a := opened(t, made(t, "multi.uimage"))
	require.Empty(t, a.Notes)
	require.Equal(t, tree()["etc/passwd"], contents(a)["data-0"])
	require.Equal(t, tree()["usr/bin/random"], contents(a)["data-1"])
	b := made(t, "multi.uimage")
	b[100] ^= 1
	require.Len(t, opened(t, b).Notes, 1)
}

func TestEnvironment(t *testing.T) {
	for name, size := range map[string]int{"env.bin": 0x10000, "redundant.bin": 0x20000} {
		a := opened(t, append(made(t, name), bytes.Repeat([]byte{0xff}, 0x8000)...))
		require.Equal(t, size, a.Used)
		require.Equal(t, map[string][]byte{
			"bootcmd": []byte("bootm 20080000"), "bootargs": []byte("console=ttyS4,115200n8 root=/dev/ram rw"), "ethaddr": []byte("00:11:22:33:44:55"),
		}, contents(a))
	}
}

func TestVolumesOfUBI(t *testing.T) {
	for _, name := range []string{"image.ubi", "nand.ubi"} {
		a := opened(t, made(t, name))
		require.Empty(t, a.Notes, name)
		var volumes []string
		for _, f := range a.Files {
			volumes = append(volumes, fmt.Sprintf("%s %s", f.Path, f.Kind))
		}
		require.Equal(t, []string{"kernel unknown", "rofs unknown", "rwfs volatile", "u-boot-env volatile"}, volumes)
		require.Equal(t, made(t, "fit.itb"), a.Files[0].Content)
		require.True(t, bytes.HasPrefix(a.Files[1].Content, made(t, "zstd.squashfs")))
		require.True(t, bytes.HasPrefix(a.Files[3].Content, made(t, "env.bin")))
	}
}

func TestUpdateSignatures(t *testing.T) {
	b := recorded(t, "synthetic-openbmc.static.mtd.tar")
	a := opened(t, b)
	require.Empty(t, a.Notes)
	require.Equal(t, len(b), a.Used)
	i := slices.IndexFunc(a.Files, func(f firmware.File) bool { return f.Path == "MANIFEST" })
	require.Equal(t, "2.99.0-0-gdeadbeef synthetic", a.Files[i].Name)
	for part, at := range map[string]int{
		"image-kernel": bytes.Index(b, []byte("image-kernel\x00")) + 512 + 1000, "image-full.sig": bytes.Index(b, []byte("image-full.sig\x00")) + 512 + 7,
	} {
		bad := bytes.Clone(b)
		bad[at] ^= 1
		a := opened(t, bad)
		require.Len(t, a.Notes, 1, part)
		require.Equal(t, finding.VendorSignatureInvalid, a.Notes[0].Code)
		require.Equal(t, part, a.Notes[0].Path)
	}
	at := bytes.Index(b, []byte("image-rofs.sig\x00"))
	missing := bytes.Clone(b)
	copy(missing[at:], "image-rofs.gis") // the header's checksum stays the same
	require.Contains(t, fmt.Sprint(opened(t, missing).Notes), "no signature")
}

// parse takes a flash apart with all decoders.
func parse(b []byte) *firmware.Image { return firmware.Parse("bmc", b, Decoders()...) }

func references(b []byte) []firmware.Reference {
	return firmware.DraftReferences(nil, []*firmware.Image{parse(b)})
}

// told lists the places that findings name, without what is only information.
func told(t testing.TB, refs []firmware.Reference, b []byte) []string {
	t.Helper()
	c := firmware.Match(refs, []*firmware.Image{parse(b)}, nil)
	require.Empty(t, c.NotChecked)
	out := []string{}
	for _, f := range c.Findings {
		if f.Severity != finding.Info {
			out = append(out, string(f.Code)+" "+strings.TrimPrefix(f.Subject, "firmware:bmc/"))
		}
	}
	return out
}
