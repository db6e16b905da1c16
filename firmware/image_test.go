package firmware

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

// requirePartition is the promise that every other rule rests on: no byte of an
// image is outside a leaf, none is in two, no two leaves have one name.
func requirePartition(t require.TestingT, m *Image) {
	var end int64
	names := map[string]bool{}
	for _, l := range m.Leaves {
		require.Equal(t, end, l.Offset, "leaf %s", l.Path)
		require.Positive(t, l.Length, "leaf %s", l.Path)
		require.False(t, names[l.Path], "name %s stands twice", l.Path)
		names[l.Path] = true
		end += l.Length
	}
	require.Equal(t, m.Size, end)
	for _, l := range m.Open() {
		requireInside(t, l, names)
	}
}

// requireInside is the same promise for what is inside of a leaf: of its bytes,
// or of what they expand to.
func requireInside(t require.TestingT, l Leaf, names map[string]bool) {
	if len(l.Inside) == 0 {
		return
	}
	var end int64
	for _, c := range l.Inside {
		require.Equal(t, end, c.Offset, "leaf %s", c.Path)
		require.Positive(t, c.Length, "leaf %s", c.Path)
		require.False(t, names[c.Path], "name %s stands twice", c.Path)
		names[c.Path] = true
		end += c.Length
		requireInside(t, c, names)
	}
	if l.Encoding != "" {
		require.Equal(t, l.Expanded, end, "leaf %s", l.Path)
		return
	}
	require.Equal(t, l.Length, end, "leaf %s", l.Path)
}

func paths(m *Image, k Kind) []string {
	var out []string
	for _, l := range m.Leaves {
		if l.Kind == k {
			out = append(out, l.Path)
		}
	}
	return out
}

func TestLeavesOfABoard(t *testing.T) {
	m := Parse("bios", board())
	requirePartition(t, m)
	require.Equal(t, []string{string(ffs.FileSystem2) + "/" + driverA, string(ffs.FileSystem2) + "/" + driverB, string(ffs.FileSystem3) + "/" + driverC}, paths(m, Code))
	require.Equal(t, []string{string(ffs.FileSystem2) + "/" + logo}, paths(m, Data))
	require.Equal(t, []string{string(ffs.SystemNVData) + "/store", string(ffs.SystemNVData) + "/ftw", string(ffs.SystemNVData) + "/spare"}, paths(m, Volatile))
	require.Equal(t, []string{string(ffs.FileSystem2) + "/" + driverB + "+free", string(ffs.FileSystem3) + "/" + driverC + "+free"}, paths(m, Free))
	require.Contains(t, paths(m, Padding), string(ffs.FileSystem2)+"+gap")
	require.Empty(t, paths(m, Unknown))
}

func TestSecondVolumeOfOneNameKeepsItsOwnLeaves(t *testing.T) {
	v := buildVolume(string(ffs.FileSystem2), 0x400, driver(driverA, "x"))
	m := Parse("bios", append(bytes.Clone(v), v...))
	require.Equal(t, []string{string(ffs.FileSystem2) + "/" + driverA, string(ffs.FileSystem2) + "#2/" + driverA}, paths(m, Code))
}

func TestOneBrokenFileDoesNotHideTheOthers(t *testing.T) {
	bad := driver(driverB, "its header checksum does not hold")
	bad[16]++
	m := Parse("bios", board(driver(driverA, "a"), bad, driver(driverC, "c")))
	requirePartition(t, m)
	require.Contains(t, paths(m, Code), string(ffs.FileSystem2)+"/"+driverC)
	require.Equal(t, []string{string(ffs.FileSystem2) + "/" + driverA + "+gap#2"}, paths(m, Unknown))
}

func TestVolumeHeaderThatDoesNotHoldIsNoVolume(t *testing.T) {
	tests := map[string]func([]byte){
		"checksum":               func(b []byte) { b[50]++ },
		"longer than the image":  func(b []byte) { b[34] = 1 },
		"block map without end":  func(b []byte) { b[64] = 1 },
		"block map of other sum": func(b []byte) { b[56] = 2 },
		"header of odd length":   func(b []byte) { b[48]++ },
		"header past the volume": func(b []byte) { b[49] = 0xff },
		"unknown revision":       func(b []byte) { b[55] = 9 },
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			v := buildVolume(string(ffs.FileSystem2), 0x400, driver(driverA, "x"))
			edit(v)
			if name != "checksum" {
				seal(v[:72]) // the last cases have no header of their own length
			}
			m := Parse("bios", v)
			requirePartition(t, m)
			require.Equal(t, []string{"image"}, paths(m, Unknown))
		})
	}
}

func TestSignatureInsideCodeIsNoVolume(t *testing.T) {
	text := strings.Repeat("_FVH", 50)
	m := Parse("bios", board(driver(driverA, text)))
	require.Contains(t, paths(m, Code), string(ffs.FileSystem2)+"/"+driverA)
	requirePartition(t, m)
}

func TestVariablesAreVolatileOnlyWhereTheStoreSays(t *testing.T) {
	b := buildStore(nil)
	b[72] ^= 1 // not a store that we know
	m := Parse("bios", b)
	require.Empty(t, paths(m, Volatile), "an unknown store must not become a place where anything goes")
	require.Equal(t, []string{string(ffs.SystemNVData) + "/body"}, paths(m, Unknown))

	b = buildStore(nil)
	binary.LittleEndian.PutUint32(b[72+16:], 0x4000)
	require.Empty(t, paths(Parse("bios", b), Volatile), "a store larger than its volume is no store")

	b = buildStore(nil)
	binary.LittleEndian.PutUint64(b[0x1000+24:], 1<<40)
	require.Equal(t, []string{string(ffs.SystemNVData) + "/store"}, paths(Parse("bios", b), Volatile), "a work block larger than its volume is none")
}

func TestAMIVariablesAreOneVolatileFile(t *testing.T) {
	m := Parse("bios", board(buildFile(string(ffs.NVARFile), byte(ffs.Raw), []byte("NVAR....")), driver(driverA, "a")))
	require.Contains(t, paths(m, Volatile), string(ffs.FileSystem2)+"/"+string(ffs.NVARFile)+"/variables")
	require.Contains(t, paths(m, Header), string(ffs.FileSystem2)+"/"+string(ffs.NVARFile)+"/header")
}

func TestLargeFileAndExtendedHeader(t *testing.T) {
	f := buildFile(driverA, 0x07, append(make([]byte, 8), "body"...))
	f[16] -= 1
	f[19] = 1
	binary.LittleEndian.PutUint64(f[24:], uint64(32+4))
	f[16] -= 32 + 4
	v := buildVolume(string(ffs.FileSystem3), 0x400, f)
	copy(v[0x200:], guidBytes(logo)) // extended header with the volume's name
	binary.LittleEndian.PutUint16(v[52:], 0x200)
	seal(v)
	m := Parse("bios", v)
	requirePartition(t, m)
	require.Equal(t, []string{logo + "/" + driverA}, paths(m, Code))
}

func TestIntelDescriptorNamesItsRegions(t *testing.T) {
	bios := append(board(), make([]byte, 0x8000-len(board()))...)
	m := Parse("bios", buildDescriptor(bios))
	requirePartition(t, m)
	require.Equal(t, "region:descriptor", m.Leaves[0].Path)
	require.Equal(t, "region:me", m.Leaves[1].Path)
	require.Contains(t, paths(m, Code), string(ffs.FileSystem2)+"/"+driverA)
	require.Contains(t, paths(m, Padding), "region:me+gap", "room that no region claims is a leaf too")
}

func TestDescriptorWithOverlappingRegionsIsNotFollowed(t *testing.T) {
	b := buildDescriptor(make([]byte, 0x4000))
	binary.LittleEndian.PutUint32(b[0x40+8:], 5<<16|1)
	m := Parse("bios", b)
	require.Equal(t, []string{"image"}, paths(m, Unknown))
	require.Len(t, m.claimed, 1)
	require.Equal(t, finding.ParsersDisagree, m.claimed[0].Code)
}

// The extended header lies in a pad file, or before the files (UEFI PI 1.8,
// volume 3, 3.2.2); in another file, its bytes would have two meanings.
func TestExtendedHeaderInsideAFileIsSaid(t *testing.T) {
	v := buildVolume(string(ffs.FileSystem2), 0x400, driver(driverA, strings.Repeat("x", 0x100)))
	copy(v[0x80:], guidBytes(logo))
	binary.LittleEndian.PutUint16(v[52:], 0x80)
	seal(v)
	m := Parse("bios", v)
	requirePartition(t, m)
	require.Len(t, m.claimed, 1)
	require.Equal(t, finding.ParsersDisagree, m.claimed[0].Code)
}

func TestAnythingElseIsOneUnknownLeafAndIsSaid(t *testing.T) {
	got := Read(bundle(t, map[string]string{"firmware/bmc.rom": "u-boot and friends"}))
	require.Len(t, got, 1)
	require.Equal(t, []string{"image"}, paths(got[0], Unknown))
	require.Len(t, got[0].Findings, 1)
	require.Equal(t, finding.BytesNotUnderstood, got[0].Findings[0].Code)
	require.Equal(t, "18 bytes", got[0].Findings[0].Got)
}

func TestTooManyPartsAreCutOffAndSaid(t *testing.T) {
	one := buildFile(driverA, byte(ffs.Pad), nil)
	m := Parse("bios", buildVolume(string(ffs.FileSystem2), (maxLeaves+9)*len(one)+72, bytes.Repeat(one, maxLeaves+9)))
	requirePartition(t, m)
	require.LessOrEqual(t, len(m.Leaves), maxLeaves)
	require.Equal(t, finding.InputLimit, m.Findings[0].Code)
}

func TestReadSaysWhyAnImageCannotBeCompared(t *testing.T) {
	img := string(board())
	tests := map[string]struct {
		side, reason string
		code         finding.Code
	}{
		"partial read":     {`{"source":"/dev/mem","offset":0,"length":20480,"complete":false}`, "the read was not complete", ""},
		"short read":       {`{"source":"/dev/mem","offset":0,"length":4194304,"complete":true}`, "says 4194304", ""},
		"malformed":        {`{"complete":true,"complete":true}`, "is malformed", finding.InputMalformed},
		"silent about it":  {`{"source":"/dev/mem"}`, "the read was not complete", ""},
		"case variant key": {`{"Complete":true}`, "is malformed", finding.InputMalformed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := Read(bundle(t, map[string]string{"firmware/bios.rom": img, "firmware/bios.json": tt.side}))
			require.Contains(t, got[0].Reason, tt.reason)
			if tt.code != "" {
				require.Equal(t, tt.code, got[0].Findings[0].Code)
			}
		})
	}
}

func TestReadKeepsImagesThatWereDenied(t *testing.T) {
	index := `{"format":"assay.evidence/v1","collector":{"name":"x","version":"1"},"collectedAt":"2026-01-01T00:00:00Z","nonce":"",
		"machine":{"manufacturer":"","product":"","serial":"","uuid":""},"mode":{"root":true,"virtual":"","lockdown":"integrity","image":""},
		"artifacts":[{"path":"firmware/bios.rom","sha256":"","size":0,"status":"denied","reason":"kernel lockdown"}]}`
	got := Read(bundle(t, map[string]string{"evidence.json": index}))
	require.Len(t, got, 1)
	require.Equal(t, "denied: kernel lockdown", got[0].Reason)
}

func bundle(t testing.TB, files map[string]string) *evidence.Bundle {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, s := range files {
		fsys[name] = &fstest.MapFile{Data: []byte(s)}
	}
	b, err := evidence.OpenFS(fsys, "test", evidence.Limits{})
	require.NoError(t, err)
	return b
}

func TestEveryByteIsInOneLeaf(t *testing.T) {
	base := buildDescriptor(append(board(), make([]byte, 0x8000-len(board()))...))
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(base)
		for range rapid.IntRange(0, 20).Draw(t, "edits") {
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
		}
		b = b[:rapid.IntRange(0, len(b)).Draw(t, "length")]
		requirePartition(t, Parse("bios", b))
	})
}

// A signature every few bytes must not cost its square.
func TestManySignatures(t *testing.T) {
	one := make([]byte, 24)
	copy(one[16:], "_FVH")
	b := bytes.Repeat(one, 1<<20)
	for i := 0; i+48 <= len(b); i += 24 {
		b[i+24] = 0xff // a header length, seen from the signature before
	}
	requirePartition(t, Parse("bios", b))
	requirePartition(t, Parse("bios", buildStore(bytes.Repeat(peImage(), 15))))
}

// Images that make other tools loop, panic or eat all memory.
func TestHostileImages(t *testing.T) {
	for _, dir := range []string{"hostile", "uefi", "nvram", "intel", "coreboot"} {
		root := filepath.Join("..", "..", "shared", "corpus", "firmware", dir)
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Skip("needs ../shared/corpus/firmware/" + dir)
		}
		for _, e := range entries {
			t.Run(dir+"/"+e.Name(), func(t *testing.T) {
				data := corpusFile(t, filepath.Join(root, e.Name()))
				bounded(t, func() { requirePartition(t, Parse("bios", data)) })
			})
		}
	}
}

func corpusFile(t testing.TB, name string) []byte {
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

func FuzzParse(f *testing.F) {
	f.Add(board())
	f.Add(buildDescriptor(make([]byte, 0x1000)))
	f.Add(buildVolume(string(ffs.FileSystem2), 0x200, append(driver(driverA, "a"), teImage()...)))
	f.Add(buildStore(peImage()))
	f.Add(amdFlash()[:0x54000])
	f.Add(buildRegions(append([]byte("$FPT\x02\x00\x00\x00\x20\x10\x20"), make([]byte, 0x1000-11)...), networkRegion(1), nil))
	f.Add([]byte("_FVH"))
	f.Add(nested(named(driverA, "FirstDxe", "one")))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := Parse("bios", b)
		requirePartition(t, m)
		refs := DraftReferences(nil, []*Image{m})
		require.Empty(t, Match(refs, []*Image{m}, nil).Findings, "an image differs from its own reference")
	})
}

func BenchmarkParse(b *testing.B) {
	data, err := captured(b, "baseline").Read("firmware/bios.rom")
	require.NoError(b, err)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		Parse("bios", data)
	}
}
