package me

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

// purley is the region of a server's firmware: Intel's Ignition firmware.
func purley(t testing.TB) []byte {
	t.Helper()
	const name = "intel/fiano-purley-ignition-MeRegion.bin.xz"
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "corpus", "firmware", filepath.FromSlash(name)))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/" + name)
	}
	defer f.Close()
	r, err := xz.NewReader(f)
	require.NoError(t, err)
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	require.NoError(t, err)
	require.Len(t, b, 471040)
	return b
}

func TestPurleyIgnition(t *testing.T) {
	b := purley(t)
	r, ok := Parse(b)
	require.True(t, ok)
	require.Equal(t, "1.0.2.29", r.Version)
	require.Equal(t, "$FPT 2.0", r.Format)
	require.Empty(t, r.Tool)
	require.Empty(t, r.Damaged)
	kinds := map[string]Kind{}
	end := 0
	for _, p := range r.Parts {
		kinds[p.Name] = p.Kind
		require.GreaterOrEqual(t, p.Offset, end, p.Name)
		end = p.Offset + p.Length
	}
	require.Equal(t, len(b), end)
	require.Equal(t, map[string]Kind{
		"FPT": Header, "FPTB": Data, "MFSB": Written, "MFS": Written, "FLOG": Written, "UTOK": Data, "DLMP": Code, "FTPR": Code, "FCP": Data,
	}, kinds)
	p := r.Parts[len(r.Parts)-2]
	require.Equal(t, "FTPR", p.Name)
	require.Equal(t, 0x88, p.Table)
	require.Equal(t, &Manifest{Version: "1.0.2.29", Date: "2019-06-17", SVN: 1}, p.Manifest)
	require.Equal(t, []Module{
		{Name: "FTPR.man", Offset: 0x88, Length: 0x3f0},
		{Name: "rbe", Offset: 0x570, Length: 0x29000},
		{Name: "rbe.met", Offset: 0x478, Length: 0x7c},
		{Name: "manuf", Offset: 0x29570, Length: 0x5000},
		{Name: "manuf.met", Offset: 0x4f4, Length: 0x7c},
	}, p.Modules)

	whole, ok := ParsePartition(b[p.Offset : p.Offset+p.Length])
	require.True(t, ok)
	require.Equal(t, p.Modules, whole.Modules)
	_, ok = ParsePartition(b)
	require.False(t, ok)

	b[0x1c]++ // in the table's header
	r, ok = Parse(b)
	require.True(t, ok)
	require.Equal(t, []Damage{{"FPT", 0, 0x170}}, r.Damaged)
	b[0x1c]--
	b[0x31009]++ // in the code partition's directory
	r, _ = Parse(b)
	require.Equal(t, []Damage{{"FTPR", 0x31000, 0x88}}, r.Damaged)
}

// The table of an engine of the eleventh generation, as intel_fw's tests have it.
func TestTableOfALaptop(t *testing.T) {
	b := append(make([]byte, bypass), table(0x20,
		entry{"FTPR", 0x1000, 0xa7000, 0}, entry{"FTUP", 0x110000, 0xac000, 0}, entry{"DLMP", 0, 0, 0xff000000}, entry{"PSVN", 0xe00, 0x200, 1},
		entry{"IVBP", 0x10c000, 0x4000, 1}, entry{"MFS", 0xa8000, 0x64000, 1}, entry{"NFTP", 0x110000, 0xac000, 0}, entry{"FLOG", 0x1bc000, 0x1000, 1}, entry{"UTOK", 0x1bd000, 0x2000, 1})...)
	r, ok := Parse(b)
	require.True(t, ok)
	var names []string
	end := 0
	for _, p := range r.Parts {
		names = append(names, p.Name)
		require.GreaterOrEqual(t, p.Offset, end, p.Name)
		end = p.Offset + p.Length
	}
	require.Equal(t, []string{"FPT", "PSVN", "FTPR", "MFS", "IVBP", "NFTP", "FLOG", "UTOK"}, names)
}

type entry struct {
	name           string
	offset, length int
	flags          uint32
}

// table is a partition table of a version, with its checksum.
func table(version byte, entries ...entry) []byte {
	b := make([]byte, tableHeader+len(entries)*tableEntry)
	copy(b, tableSignature)
	b[4], b[8], b[9], b[10] = byte(len(entries)), version, 0x10, tableHeader
	for i, v := range []uint16{15, 0, 35, 2039} {
		if version > 0x10 {
			binary.LittleEndian.PutUint16(b[24+2*i:], v)
		}
	}
	for i, e := range entries {
		x := b[tableHeader+i*tableEntry:]
		copy(x[:4], e.name)
		binary.LittleEndian.PutUint32(x[8:], uint32(e.offset))
		binary.LittleEndian.PutUint32(x[12:], uint32(e.length))
		binary.LittleEndian.PutUint32(x[28:], e.flags)
	}
	if version > 0x20 {
		binary.LittleEndian.PutUint32(b[20:], crc32.ChecksumIEEE(b))
	} else {
		b[11] = -sum8(b[:tableHeader])
	}
	return b
}

// code is a code partition with a directory of the second version.
func code() []byte {
	b := make([]byte, 20+directoryEntry, 0x200)
	copy(b, directorySignature)
	b[4], b[8], b[9], b[10] = 1, 2, 1, 20
	copy(b[12:], "RBEP")
	copy(b[20:], "RBEP.man")
	binary.LittleEndian.PutUint32(b[32:], 20+directoryEntry|1<<25)
	binary.LittleEndian.PutUint32(b[36:], manifestHeader)
	binary.LittleEndian.PutUint32(b[16:], crc32.ChecksumIEEE(b))
	return append(b, header("$MN2")...)
}

func header(tag string) []byte {
	m := make([]byte, manifestHeader)
	copy(m[manifestAt:], tag)
	m[0x0f], m[0x10], m[0x11] = 0x80, 0x86, 0x80
	copy(m[0x14:], []byte{0x28, 0x02, 0x22, 0x20})
	copy(m[0x24:], []byte{16, 0, 1, 0, 2, 0, 3, 0, 5})
	return m
}

func TestTableVersions(t *testing.T) {
	body := make([]byte, 0x1000)
	copy(body[0x400:], header("$MAN"))
	for _, version := range []byte{0x10, 0x20, 0x21} {
		b := append(table(version, entry{"FTPR", 0x500, 0x100, 0}, entry{"NVCL", 0xffffffff, 0x100, 2}, entry{"EFFS", 0x600, 0x100, 4}, entry{"A/ \x01", 0x700, 1, 1}, entry{"GONE", 0x700, 1, 0xff000000}), body...)
		copy(b[0x500:], header("$MAN"))
		r, ok := Parse(b)
		require.True(t, ok)
		require.Empty(t, r.Damaged)
		require.Equal(t, "16.1.2.3", r.Version)
		if version > 0x10 {
			require.Equal(t, "15.0.35.2039", r.Tool)
		}
		require.Len(t, r.Parts, 4)
		require.Equal(t, Part{Name: "FTPR", Offset: 0x500, Length: 0x100, Kind: Code, Manifest: &Manifest{Version: "16.1.2.3", Date: "2022-02-28", Debug: true}}, r.Parts[1])
		require.Equal(t, Written, r.Parts[2].Kind)
		require.Equal(t, Part{Name: "A___", Offset: 0x700, Length: 1}, r.Parts[3])
		b[12]++
		r, _ = Parse(b)
		require.Len(t, r.Damaged, 1)
	}
}

// ifwi is a region with a layout table, a data partition and a boot partition.
func ifwi() []byte {
	b := bytes.Repeat([]byte{0xff}, 0x4000)
	clear(b[:72])
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	put(24, 0x1000)
	put(28, 0x1000)
	put(32, 0x2000)
	put(36, 0x2000)
	copy(b[0x1000:], table(0x21, entry{"MFS", 0x400, 0x400, 1}))
	clear(b[0x2000:0x2100])
	put(0x2000, 0x55aa)
	b[0x2004], b[0x2006] = 3, 2
	for i, e := range [][3]uint32{{1, 0x400, 0x200}, {5, 0x800, 0x100}, {99, 0xc00, 0x10}} {
		put(0x2018+12*i, e[0])
		put(0x201c+12*i, e[1])
		put(0x2020+12*i, e[2])
	}
	copy(b[0x2400:], code())
	clear(b[0x2800:0x2840])
	put(0x2800, 0x55aa)
	b[0x2804] = 1
	put(0x2818, 7)
	put(0x281c, 0x200)
	put(0x2820, 0x80)
	return b
}

func TestLayoutAndBootPartitions(t *testing.T) {
	r, ok := Parse(ifwi())
	require.True(t, ok)
	require.Equal(t, "IFWI 1.7, $FPT 2.1", r.Format)
	require.Equal(t, "16.1.2.3", r.Version)
	require.Empty(t, r.Damaged)
	var names []string
	for _, p := range r.Parts {
		names = append(names, p.Name)
	}
	require.Equal(t, []string{"layout", "FPT", "MFS", "BP1/BPDT", "BP1/RBEP", "BP1/S/BPDT", "BP1/S/NFTP", "BP1/type-99"}, names)
	require.Equal(t, 0x1400, r.Parts[2].Offset)
	require.Equal(t, 0x2a00, r.Parts[6].Offset)
	require.Equal(t, &Manifest{Version: "16.1.2.3", Date: "2022-02-28", SVN: 5, Debug: true}, r.Parts[4].Manifest)
	require.Equal(t, []Module{{Name: "RBEP.man", Offset: 44, Length: manifestHeader, Compressed: true}}, r.Parts[4].Modules)
}

func TestNoTable(t *testing.T) {
	many := table(0x20)
	many[4] = MaxEntries + 1
	for name, b := range map[string][]byte{
		"nothing": nil, "erased": bytes.Repeat([]byte{0xff}, 0x1000), "zero": make([]byte, 0x1000), "no entries": table(0x20),
		"other version": table(0x30, entry{"FTPR", 1, 1, 0}), "cut off": table(0x20, entry{"FTPR", 1, 1, 0})[:40], "too many": append(many, make([]byte, 1<<16)...),
	} {
		_, ok := Parse(b)
		require.False(t, ok, name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ifwi())
	f.Add(append(make([]byte, bypass), table(0x20, entry{"FTPR", 0x40, 0x100, 0}, entry{"MFS", 0x10000, 0xffffff, 1})...))
	f.Add(append(table(0x21, entry{"FTPR", 64, 0x200, 0}), code()...))
	f.Fuzz(func(t *testing.T, b []byte) {
		ParsePartition(b)
		r, ok := Parse(b)
		if !ok {
			return
		}
		require.NotEmpty(t, r.Parts)
		for _, p := range r.Parts {
			require.NotEmpty(t, p.Name)
			require.GreaterOrEqual(t, p.Offset, 0)
			require.GreaterOrEqual(t, p.Length, 0)
			require.LessOrEqual(t, len(p.Modules), MaxEntries)
		}
	})
}
