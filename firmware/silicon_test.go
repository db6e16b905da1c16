package firmware

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

// buildRegions is a flash with an Intel descriptor and these regions, in this
// order behind it. Each is a number of blocks of 4 KiB.
func buildRegions(engine, network, bios []byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 0x1000)
	binary.LittleEndian.PutUint32(b[0x10:], 0x0ff0a55a)
	binary.LittleEndian.PutUint32(b[0x14:], 0x04<<16)
	for i := range 16 {
		binary.LittleEndian.PutUint32(b[0x40+4*i:], 0x7fff)
	}
	binary.LittleEndian.PutUint32(b[0x40:], 0)
	for i, body := range map[int][]byte{2: engine, 3: network, 1: bios} {
		if len(body) == 0 {
			continue
		}
		start := 1
		for _, before := range map[int][][]byte{2: {}, 3: {engine}, 1: {engine, network}}[i] {
			start += len(before) / 0x1000
		}
		binary.LittleEndian.PutUint32(b[0x40+4*i:], uint32(start+len(body)/0x1000-1)<<16|uint32(start))
	}
	return slices.Concat(b, engine, network, bios)
}

// networkRegion has two banks with an address and a sum.
func networkRegion(last byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 0x2000)
	for i := range 2 {
		bank := b[i*bankSize:]
		copy(bank, []byte{0x00, 0x1b, 0x21, 0, 0, last})
		var sum uint16
		for k := range sumWord {
			sum += binary.LittleEndian.Uint16(bank[2*k:])
		}
		binary.LittleEndian.PutUint16(bank[2*sumWord:], bankSum-sum)
	}
	return b
}

func TestManagementEngineIsCutAlongItsTable(t *testing.T) {
	engine := recorded(t, "intel", "fiano-purley-ignition-MeRegion.bin.xz")
	b := buildRegions(engine, networkRegion(1), board())
	m := Parse("bios", b)
	requirePartition(t, m)
	require.Empty(t, m.claimed)
	require.Equal(t, []string{"region:me/MFSB", "region:me/MFS", "region:me/FLOG", "region:gbe/bank0/address", "region:gbe/bank0/sum", "region:gbe/bank1/address", "region:gbe/bank1/sum"}, paths(m, Volatile)[:7])
	require.Equal(t, []string{"region:me/DLMP", "region:me/FTPR"}, paths(m, Code)[:2])
	require.Subset(t, paths(m, Data), []string{"region:me/FPTB", "region:me/UTOK", "region:me/FCP", "region:gbe/bank0/settings", "region:gbe/bank1/more"})
	require.Contains(t, paths(m, Header), "region:me/FPT")
	l := leafAt(t, m, "region:me/FTPR")
	require.Equal(t, []any{int64(0x32000), int64(0x40000), "ME partition", "1.0.2.29"}, []any{l.Offset, l.Length, l.Type, l.Name})
	r, ok := m.ManagementEngine()
	require.True(t, ok)
	require.Equal(t, "1.0.2.29", r.Version)

	refs := draft(b)
	tests := map[string]struct {
		at   int // in the engine's region
		want map[string]finding.Code
	}{
		"its file system":     {0x4100, map[string]finding.Code{}},
		"the log":             {0x6100, map[string]finding.Code{}},
		"the copy of files":   {0x2100, map[string]finding.Code{}},
		"code":                {0x40000, map[string]finding.Code{"firmware:bios/region:me/FTPR/rbe": finding.CodeRegionDiffers}},
		"its manifest":        {0x31100, map[string]finding.Code{"firmware:bios/region:me/FTPR/FTPR.man": finding.ForeignBytes}},
		"code without a map":  {0x9100, map[string]finding.Code{"firmware:bios/region:me/DLMP": finding.CodeRegionDiffers}},
		"a token for debug":   {0x7000, map[string]finding.Code{"firmware:bios/region:me/UTOK": finding.ForeignBytes}},
		"behind the table":    {0x200, map[string]finding.Code{"firmware:bios/region:me/FPT+gap": finding.ForeignBytes}},
		"the size of a table": {0x31008 - 0x31000 + 0x64, map[string]finding.Code{"firmware:bios/region:me/FPT": finding.ForeignBytes}},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			x := bytes.Clone(b)
			x[0x1000+c.at] ^= 0x55
			require.Equal(t, c.want, told(compare(refs, x).Findings))
		})
	}
}

func TestTablesOfTheEngineThatCannotBe(t *testing.T) {
	engine := recorded(t, "intel", "fiano-purley-ignition-MeRegion.bin.xz")
	engine[0x1c]++
	m := Parse("bios", buildRegions(engine, nil, board()))
	requirePartition(t, m)
	require.Equal(t, map[string]finding.Code{"firmware:bios/region:me/FPT": finding.ManagementEngineAnomaly}, told(m.claimed))
	engine[0x1c]--
	engine[0x3d] ^= 0x10 // FTPR grows beyond the region
	m = Parse("bios", buildRegions(engine, nil, board()))
	requirePartition(t, m)
	require.Equal(t, finding.ParsersDisagree, told(m.claimed)["firmware:bios/region:me/FTPR"])
	require.NotContains(t, paths(m, Code), "region:me/FTPR")

	// The region alone, as tools for it write it.
	m = Parse("me", recorded(t, "intel", "fiano-purley-ignition-MeRegion.bin.xz"))
	requirePartition(t, m)
	require.Contains(t, paths(m, Code), "region:me/FTPR")
}

// Another board of the model has another address.
func TestNetworkController(t *testing.T) {
	refs := draft(buildRegions(nil, networkRegion(1), board()))
	require.Empty(t, compare(refs, buildRegions(nil, networkRegion(2), board())).Findings)
	b := buildRegions(nil, networkRegion(1), board())
	b[0x1000+0x14] ^= 1
	require.Equal(t, map[string]finding.Code{"firmware:bios/region:gbe/bank0/settings": finding.ForeignBytes}, told(compare(refs, b).Findings))
	m := Parse("bios", buildRegions(nil, bytes.Repeat([]byte{0x11}, 0x2000), board()))
	require.Contains(t, paths(m, Unknown), "region:gbe")
}

// amdFlash is a flash of 1 MiB of AMD's first generation around a volume of UEFI.
func amdFlash(entries ...[4]uint32) []byte {
	b := bytes.Repeat([]byte{0xff}, 1<<20)
	put := func(at int, v ...uint32) {
		for i, x := range v {
			binary.LittleEndian.PutUint32(b[at+4*i:], x)
		}
	}
	directory := func(at int, name string, size int, entries ...[4]uint32) {
		n := 16 + len(entries)*size
		clear(b[at : at+n])
		copy(b[at:], name)
		put(at+8, uint32(len(entries)))
		for i, e := range entries {
			put(at+16+i*size, e[0], e[1], e[2], e[3])
		}
		var x, y uint32
		for i := 8; i < n; i += 2 {
			x = (x + uint32(binary.LittleEndian.Uint16(b[at+i:]))) % 0xffff
			y = (y + x) % 0xffff
		}
		put(at+4, y<<16|x)
	}
	clear(b[0x20000:0x20050])
	put(0x20000, 0x55aa55aa)
	put(0x20014, 0xfff30000)
	put(0x20020, 0xfff40000)
	put(0x20024, 0xffffffff)
	if entries == nil {
		entries = [][4]uint32{{1, 0x4000, 0xfff32000}, {4, 0x2000, 0xfff38000}, {8, 0x100, 0xfffc0100}}
	}
	directory(0x30000, "$PSP", 16, entries...)
	directory(0x40000, "$BHD", 24, [4]uint32{0x62, 0x1000, 0xfffc0000}, [4]uint32{0x60, 0x800, 0xfff41000}, [4]uint32{0x63, 0x1000, 0xfff50000})
	for i := 0x32000; i < 0x36000; i++ {
		b[i] = byte(i * 7)
	}
	clear(b[0x32000:0x32100])
	copy(b[0x32010:], "$PS1")
	put(0x32060, 0x00080174)
	copy(b[0xc0000:], buildVolume(string(ffs.FileSystem2), 0x1000, driver(driverA, "a driver")))
	return b
}

func TestAMDFlash(t *testing.T) {
	b := amdFlash()
	m := Parse("bios", b)
	requirePartition(t, m)
	for _, f := range m.claimed {
		require.NotEqual(t, finding.ParsersDisagree, f.Code)
		require.NotEqual(t, finding.ManagementEngineAnomaly, f.Code)
	}
	require.Equal(t, []string{"efs", "psp/directory", "bios/directory", string(ffs.FileSystem2) + "/header"}, paths(m, Header))
	require.Equal(t, []string{"psp/PSP_BOOTLOADER", string(ffs.FileSystem2) + "/" + driverA}, paths(m, Code))
	require.Equal(t, []string{"psp/PSP_NV_DATA", "bios/APOB_NV"}, paths(m, Volatile))
	require.Equal(t, []string{"bios/APCB"}, paths(m, Data))
	require.Equal(t, "00.08.01.74", leafAt(t, m, "psp/PSP_BOOTLOADER").Name)
	f, ok := m.AMD()
	require.True(t, ok)
	require.Len(t, f.Directories, 2)

	refs := draft(b)
	for at, want := range map[int]map[string]finding.Code{
		0x33000: {"firmware:bios/psp/PSP_BOOTLOADER": finding.CodeRegionDiffers},
		0x39000: {},
		0x50100: {},
		0x41010: {"firmware:bios/bios/APCB": finding.ForeignBytes},
		0x60000: {"firmware:bios/bios/APOB_NV+gap": finding.ForeignBytes},
		0xc0060: {"firmware:bios/" + string(ffs.FileSystem2) + "/" + driverA: finding.CodeRegionDiffers},
	} {
		x := bytes.Clone(b)
		x[at] ^= 0x55
		require.Equal(t, want, told(compare(refs, x).Findings), "0x%x", at)
	}

	x := bytes.Clone(b)
	x[0x30010+8] ^= 1 // the directory without its checksum
	require.Equal(t, finding.ManagementEngineAnomaly, told(Parse("bios", x).claimed)["firmware:bios/psp/directory"])
}

func TestAMDEntriesThatCannotBe(t *testing.T) {
	m := Parse("bios", amdFlash([4]uint32{1, 0x4000, 0xfff32000}, [4]uint32{8, 0x4000, 0xfff34000}, [4]uint32{2, 0x4000, 0xffffe000}))
	requirePartition(t, m)
	got := told(m.claimed)
	for _, e := range []string{"PSP_BOOTLOADER", "SMU_FIRMWARE", "PSP_SECURE_OS"} {
		require.Equal(t, finding.ParsersDisagree, got["firmware:bios/psp/"+e], e)
		require.NotContains(t, paths(m, Code), "psp/"+e)
	}
}

// Whatever a map says, its pieces are side by side in the range.
func TestPiecesAreSideBySide(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) piece {
			start := rapid.IntRange(-5, 60).Draw(t, "start")
			return piece{start: start, end: start + rapid.IntRange(-2, 30).Draw(t, "length")}
		}), 0, 12).Draw(t, "pieces")
		kept, bad := laid(slices.Clone(pieces), 0, 64)
		end := 0
		for _, p := range kept {
			require.GreaterOrEqual(t, p.start, end)
			require.Greater(t, p.end, p.start)
			end = p.end
		}
		require.LessOrEqual(t, end, 64)
		require.LessOrEqual(t, len(kept)+len(bad), len(pieces))
	})
}

// Whatever AMD's directories say, every byte is in one leaf.
func TestAnyAMDDirectory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		entries := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) [4]uint32 {
			return [4]uint32{
				uint32(rapid.IntRange(0, 0xff).Draw(t, "type")), uint32(rapid.IntRange(0, 0x20000).Draw(t, "length")),
				0xfff00000 + uint32(rapid.IntRange(0, 1<<20-1).Draw(t, "offset")), uint32(rapid.IntRange(0, 3).Draw(t, "mode")) << 30,
			}
		}), 1, 10).Draw(t, "entries")
		requirePartition(t, Parse("bios", amdFlash(entries...)))
	})
}
