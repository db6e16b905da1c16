package firmware

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	bro "github.com/andybalholm/brotli"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware/brotli"
	"github.com/assay-hw/assay/internal/ffs"
)

// everything lists the leaves of an image and what is inside of them.
func everything(leaves []Leaf) []Leaf {
	var out []Leaf
	for _, l := range leaves {
		out = append(append(out, l), everything(l.Inside)...)
	}
	return out
}

// leafAt finds a leaf by its path, however deep it lies.
func leafAt(t testing.TB, m *Image, path string) Leaf {
	t.Helper()
	all := everything(m.Open())
	i := slices.IndexFunc(all, func(l Leaf) bool { return l.Path == path })
	require.GreaterOrEqual(t, i, 0, "no leaf %s", path)
	return all[i]
}

const (
	outer = string(ffs.FileSystem2) + "/" + outerFile
	inner = outer + "/" + string(ffs.FileSystem3)
)

func TestCompressedVolumeIsTakenApart(t *testing.T) {
	m := Parse("bios", nested(named(driverA, "FirstDxe", "one"), named(driverB, "SecondDxe", "two")))
	requirePartition(t, m)
	l := leafAt(t, m, inner+"/"+driverA)
	require.Equal(t, "FirstDxe", l.Name)
	require.Equal(t, "DXE driver", l.Type)
	require.Equal(t, Code, l.Kind)
	require.Equal(t, "lzma", leafAt(t, m, outer+"/guided/stream").Encoding)
	require.Equal(t, "pe32", leafAt(t, m, inner+"/"+driverB+"/pe32").Type)
	require.Empty(t, m.Inside())
	require.Nil(t, m.Leaves[1].Inside, "what is read eagerly stays as it was")
}

// Each encoding holds the same volume.
func TestEveryEncoding(t *testing.T) {
	vol := section(ffs.VolumeSection, buildVolume(string(ffs.FileSystem3), 0x1000, named(driverA, "FirstDxe", "one")))
	var z, br bytes.Buffer
	w := zlib.NewWriter(&z)
	_, err := w.Write(vol)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b := bro.NewWriter(&br)
	_, err = b.Write(vol)
	require.NoError(t, err)
	require.NoError(t, b.Close())
	sizes := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, uint64(len(vol))), 1<<20)
	tests := map[string]struct {
		section  []byte
		encoding string
	}{
		"lzma":              {guidedSection(guidLZMA, 1, compressLZMA(vol)), "lzma"},
		"lzma, custom":      {section(ffs.Compression, slices.Concat(binary.LittleEndian.AppendUint32(nil, uint32(len(vol))), []byte{2}, compressLZMA(vol))), "lzma"},
		"lzma with filter":  {guidedSection("D42AE6BD-1352-4BFB-909A-CA72A6EAE889", 1, vector(t, "volume-x86.lzma")), "lzma-x86"},
		"zlib":              {guidedSection(guidZlib, 1, slices.Concat(make([]byte, 256), z.Bytes())), "zlib"},
		"brotli":            {guidedSection(brotli.GUID, 1, slices.Concat(sizes, br.Bytes())), "brotli"},
		"brotli, not said":  {guidedSection(brotli.GUID, 0, slices.Concat(sizes, br.Bytes())), "brotli"},
		"efi":               {section(ffs.Compression, slices.Concat(binary.LittleEndian.AppendUint32(nil, 4100), []byte{1}, vector(t, "volume-efi.bin"))), "efi"},
		"tiano, not said":   {section(ffs.Compression, slices.Concat(binary.LittleEndian.AppendUint32(nil, 4100), []byte{1}, vector(t, "volume-tiano.bin"))), "tiano"},
		"tiano":             {guidedSection(guidTiano, 1, vector(t, "volume-tiano.bin")), "tiano"},
		"not compressed":    {section(ffs.Compression, slices.Concat(make([]byte, 5), vol)), ""},
		"checksum":          {guidedSection(guidCRC32, 2, vol), ""},
		"unknown, as it is": {guidedSection(logo, 0, vol), ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := buildFile(outerFile, byte(ffs.VolumeImage), tt.section)
			m := Parse("bios", buildVolume(string(ffs.FileSystem2), 0x4000, file), Decoder{GUID: brotli.GUID, Name: "brotli", Decode: brotli.Decode})
			requirePartition(t, m)
			require.Equal(t, "FirstDxe", leafAt(t, m, inner+"/"+driverA).Name)
			require.Empty(t, m.Inside())
			if tt.encoding == "" {
				return
			}
			i := slices.IndexFunc(everything(m.Open()), func(l Leaf) bool { return l.Encoding != "" })
			require.Equal(t, tt.encoding, everything(m.Open())[i].Encoding)
		})
	}
}

// vector is a stream of edk2's or liblzma's encoder over the volume that the
// tests build.
func vector(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

func TestStreamThatCannotBeExpandedStaysWhole(t *testing.T) {
	vol := section(ffs.VolumeSection, buildVolume(string(ffs.FileSystem3), 0x1000, nil))
	claim := compressLZMA(vol)
	binary.LittleEndian.PutUint64(claim[5:], 1<<40)
	broken := compressLZMA(vol)
	broken[13] = 1
	tests := map[string]struct {
		section []byte
		code    finding.Code
	}{
		"claims a tebibyte": {guidedSection(guidLZMA, 1, claim), finding.InputBomb},
		"broken":            {guidedSection(guidLZMA, 1, broken), finding.InputMalformed},
		"unknown encoding":  {guidedSection(logo, 1, vol), finding.BytesNotUnderstood},
		"unknown method":    {section(ffs.Compression, slices.Concat(make([]byte, 4), []byte{9}, vol)), finding.BytesNotUnderstood},
		"other length":      {section(ffs.Compression, slices.Concat([]byte{1, 0, 0, 0, 2}, compressLZMA(vol))), finding.ParsersDisagree},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := buildFile(outerFile, byte(ffs.VolumeImage), tt.section)
			m := Parse("bios", buildVolume(string(ffs.FileSystem2), 0x4000, file))
			requirePartition(t, m)
			require.Len(t, m.Inside(), 1)
			require.Equal(t, tt.code, m.Inside()[0].Code)
			require.Len(t, leafAt(t, m, outer).SHA256, 64)
		})
	}
}

func TestBoundsOfAnImage(t *testing.T) {
	img := nested(named(driverA, "FirstDxe", "one"), named(driverB, "SecondDxe", "two"))
	for name, tt := range map[string]struct {
		edit func(*bounds)
		code finding.Code
	}{
		"depth":    {func(b *bounds) { b.depth = 2 }, finding.InputLimit},
		"leaves":   {func(b *bounds) { b.leaves = 14 }, finding.InputLimit},
		"expanded": {func(b *bounds) { b.expanded = 100 }, finding.InputBomb},
		"work":     {func(b *bounds) { b.work = 100 }, finding.InputLimit},
	} {
		t.Run(name, func(t *testing.T) {
			m := Parse("bios", img)
			tt.edit(&m.bounds)
			requirePartition(t, m)
			require.NotEmpty(t, m.Inside())
			require.Equal(t, tt.code, m.Inside()[0].Code)
		})
	}
}

// Vendors and those who hide something put volumes where none should be.
func TestVolumesInPaddingAreFound(t *testing.T) {
	hidden := buildVolume(string(ffs.FileSystem2), 0x200, named(driverB, "HiddenDxe", "boo"))
	for name, file := range map[string][]byte{
		"pad file":    buildFile(strings.Repeat("F", 8)+"-FFFF-FFFF-FFFF-FFFFFFFFFFFF", byte(ffs.Pad), slices.Concat([]byte("x"), hidden)),
		"raw file":    buildFile(logo, byte(ffs.Raw), hidden),
		"raw section": buildFile(logo, byte(ffs.Freeform), section(ffs.RawSection, hidden)),
	} {
		t.Run(name, func(t *testing.T) {
			m := Parse("bios", buildVolume(string(ffs.FileSystem2), 0x1000, slices.Concat(named(driverA, "FirstDxe", "one"), file)))
			requirePartition(t, m)
			require.True(t, slices.ContainsFunc(everything(m.Open()), func(l Leaf) bool { return l.Name == "HiddenDxe" }))
		})
	}
}

func TestEveryByteInsideIsInOneLeaf(t *testing.T) {
	base := nested(named(driverA, "FirstDxe", "one"), buildFile(outerFile, byte(ffs.VolumeImage), section(ffs.VolumeSection,
		buildVolume(string(ffs.FileSystem2), 0x400, named(driverB, "SecondDxe", "two")))), named(driverC, "ThirdDxe", "three"))
	body := leafAt(t, Parse("bios", base), outer+"/guided/stream")
	plain := slices.Concat(body.Inside[0].content, body.Inside[1].content)
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(plain)
		for range rapid.IntRange(0, 20).Draw(t, "edits") {
			b[rapid.IntRange(0, min(len(b)-1, 0x700)).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		b = b[:rapid.IntRange(1, len(b)).Draw(t, "length")]
		file := buildFile(outerFile, byte(ffs.VolumeImage), guidedSection(guidLZMA, 1, compressLZMA(b)))
		requirePartition(t, Parse("bios", buildVolume(string(ffs.FileSystem2), 0x4000, file)))
	})
}

// Structures that make other tools loop or take all memory; the recorded ones
// are in TestHostileImages.
func TestStructuresThatExhaustOthers(t *testing.T) {
	deep := named(driverA, "DeepDxe", "x")
	for range 300 {
		deep = buildFile(outerFile, byte(ffs.VolumeImage), section(ffs.VolumeSection, buildVolume(string(ffs.FileSystem2), 72+len(deep), deep)))
	}
	wrapped := section(ffs.RawSection, []byte("core"))
	for range 200 {
		wrapped = guidedSection(guidLZMA, 1, compressLZMA(wrapped))
	}
	zeros := guidedSection(guidLZMA, 1, compressLZMA(make([]byte, smallStream)))
	for name, body := range map[string][]byte{
		"300 nested volumes":      deep,
		"200 wrapped streams":     buildFile(outerFile, byte(ffs.VolumeImage), wrapped),
		"many sections of a bomb": buildFile(outerFile, byte(ffs.VolumeImage), bytes.Repeat(zeros, 40)),
		"empty sections":          buildFile(outerFile, byte(ffs.VolumeImage), bytes.Repeat([]byte{4, 0, 0, 3}, 1<<16)),
	} {
		t.Run(name, func(t *testing.T) {
			m := Parse("bios", buildVolume(string(ffs.FileSystem2), 0x1000+len(body), body))
			bounded(t, func() { requirePartition(t, m) })
			require.NotEmpty(t, m.Inside())
		})
	}
}

// bounded holds what f takes of memory against the limit for one crafted image,
// and logs the time, which the benchmark of hostile images holds against a limit.
func bounded(t *testing.T, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	f()
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30), "all that was ever allocated; at once it is less")
	t.Logf("%s, %d MiB allocated", time.Since(began).Round(time.Millisecond), (after.TotalAlloc-before.TotalAlloc)>>20)
}

// A volume whose checksum is wrong is no volume of the image, so that its
// leaves stay as they are in a manifest; opened, it is taken apart and said.
func TestDamagedVolumeIsOpenedAndSaid(t *testing.T) {
	b := buildVolume(string(ffs.FileSystem2), 0x400, named(driverA, "FirstDxe", "one"))
	b[50]++
	m := Parse("bios", b)
	requirePartition(t, m)
	require.Equal(t, []string{"image"}, paths(m, Unknown))
	require.Equal(t, "FirstDxe", leafAt(t, m, "image/"+string(ffs.FileSystem2)+"/"+driverA).Name)
	require.Equal(t, finding.InputMalformed, m.Inside()[0].Code)
}

func TestNamesAreWhatAManifestMayHold(t *testing.T) {
	m := Parse("bios", nested(named(driverA, "Caf\u0065\u0301\x1b[2J\U0001f600", "one")))
	require.Regexp(t, `^[ -~]+$`, leafAt(t, m, inner+"/"+driverA).Name)
}

// Some boards keep the option ROMs of the devices on them in the firmware. The
// digest is the one that firmware measures into PCR 2.
func TestOptionROMInASection(t *testing.T) {
	p := filepath.Join("..", "..", "shared", "corpus", "firmware", "pe-oprom", "debian-ipxe-efi-e1000e.rom")
	if _, err := os.Stat(p); err != nil {
		t.Skip("needs ../shared/corpus/firmware/pe-oprom/debian-ipxe-efi-e1000e.rom")
	}
	rom := corpusFile(t, p)
	file := buildFile(logo, byte(ffs.Freeform), section(ffs.RawSection, rom))
	m := Parse("bios", buildVolume(string(ffs.FileSystem2), 0x1000+len(rom), file))
	requirePartition(t, m)
	require.Equal(t, "5fdd42d1b9ce2aa7", leafAt(t, m, string(ffs.FileSystem2)+"/"+logo+"/raw/rom:8086:10d3:efi").Authenticode[:16])
}

// Firmware keeps updates for every processor that fits the socket in one file.
func TestMicrocodeUpdatesAreNamed(t *testing.T) {
	body := slices.Concat(microcode(0x406e3, 0xa0), microcode(0x806ea, 0xb4), bytes.Repeat([]byte{0xff}, 100))
	file := buildFile(driverA, byte(ffs.Raw), body)
	m := Parse("bios", buildVolume(string(ffs.FileSystem2), 0x2000, file))
	requirePartition(t, m)
	l := leafAt(t, m, string(ffs.FileSystem2)+"/"+driverA+"/microcode:806EA")
	require.Equal(t, "microcode", l.Type)
	require.Equal(t, "processor 806EA revision B4 of 2018-09-20", l.Name)
}

// microcode is an update whose words add up to zero.
func microcode(processor, revision uint32) []byte {
	b := make([]byte, 0x400)
	for at, v := range map[int]uint32{0: 1, 4: revision, 8: 0x09202018, 12: processor, 20: 1, 28: 0x3d0, 32: 0x400} {
		binary.LittleEndian.PutUint32(b[at:], v)
	}
	var sum uint32
	for at := 0; at < len(b); at += 4 {
		sum += binary.LittleEndian.Uint32(b[at:])
	}
	binary.LittleEndian.PutUint32(b[16:], -sum)
	return b
}

// FuzzOpen gives bytes to what looks into files, without a checksum or a
// compression before them.
func FuzzOpen(f *testing.F) {
	vol := buildVolume(string(ffs.FileSystem3), 0x200, named(driverA, "FirstDxe", "one"))
	f.Add(section(ffs.VolumeSection, vol), byte(ffs.VolumeImage))
	f.Add(slices.Concat(guidedSection(guidLZMA, 1, compressLZMA(section(ffs.VolumeSection, vol))), ui("x")), byte(ffs.VolumeImage))
	f.Add(section(ffs.Compression, slices.Concat([]byte{4, 16, 0, 0, 1}, vector(f, "volume-efi.bin"))), byte(ffs.VolumeImage))
	f.Add(microcode(0x806ea, 0xb4), byte(ffs.Raw))
	f.Add([]byte("\x55\xaa"), byte(ffs.Raw))
	f.Fuzz(func(t *testing.T, body []byte, kind byte) {
		if len(body) > 1<<16 {
			return
		}
		img := buildVolume(string(ffs.FileSystem2), 0x20000, buildFile(outerFile, kind, body))
		m := Parse("bios", img)
		requirePartition(t, m)
		require.Empty(t, Match(DraftReferences(nil, []*Image{m}), []*Image{Parse("bios", img)}, nil).Findings)
		require.Empty(t, Diff(m, Parse("bios", img)))
	})
}
