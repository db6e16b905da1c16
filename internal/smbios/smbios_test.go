package smbios

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func lab(t testing.TB) (entry, table []byte) {
	t.Helper()
	entry, err := os.ReadFile("testdata/lab.entry")
	require.NoError(t, err)
	table, err = os.ReadFile("testdata/lab.dmi")
	require.NoError(t, err)
	return entry, table
}

// structure builds one structure: header, formatted bytes, strings.
func structure(kind uint8, handle uint16, formatted []byte, strs ...string) []byte {
	b := []byte{kind, uint8(4 + len(formatted)), uint8(handle), uint8(handle >> 8)}
	b = append(b, formatted...)
	for _, s := range strs {
		b = append(append(b, s...), 0)
	}
	if len(strs) == 0 {
		b = append(b, 0)
	}
	return append(b, 0)
}

func end() []byte { return structure(127, 0xfeff, nil) }

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

func parse(t testing.TB, parts ...[]byte) *Table {
	t.Helper()
	table, err := Parse(nil, join(parts...))
	require.NoError(t, err)
	return table
}

func whats(problems []Problem) string {
	var out []string
	for _, p := range problems {
		out = append(out, p.What)
	}
	return strings.Join(out, "\n")
}

func TestLabMachine(t *testing.T) {
	table, err := Parse(lab(t))
	require.NoError(t, err)
	require.Empty(t, table.Problems)
	require.Equal(t, "_SM3_", table.EntryPoint.Anchor)
	require.True(t, table.EntryPoint.ChecksumOK)
	require.Len(t, table.Structures, 32)
	require.Equal(t, "Assay Lab Computer Inc.", table.Systems[0].Manufacturer)
	require.Equal(t, "SYS-6029LAB-TR", table.Systems[0].Product)
	require.Len(t, table.MemoryDevices, 8)
	require.Len(t, table.Slots, 7)
	tpm := table.TPMs[0]
	require.Equal(t, "IBM", tpm.Vendor)
	require.EqualValues(t, 2, tpm.Major)
	require.Equal(t, 1337, tpm.Offset)
	require.Equal(t, 50, tpm.Length)
}

func TestTableWithoutEntryPoint(t *testing.T) {
	_, b := lab(t)
	table, err := Parse(nil, b)
	require.NoError(t, err)
	require.Empty(t, table.Problems)
	withEntry, err := Parse(lab(t))
	require.NoError(t, err)
	require.Equal(t, withEntry.Systems[0].UUID, table.Systems[0].UUID)
}

func TestDumpHasTableBehindEntryPoint(t *testing.T) {
	entry, b := lab(t)
	dump := make([]byte, 0x20+len(b))
	copy(dump, entry)
	binary.LittleEndian.PutUint64(dump[0x10:], 0x20)
	dump[5] = 0
	dump[5] = -sum(dump[:24])
	copy(dump[0x20:], b)
	table, err := ParseDump(dump)
	require.NoError(t, err)
	require.Empty(t, table.Problems)
	require.Len(t, table.Structures, 32)
	at := table.Base + table.TPMs[0].Offset
	require.EqualValues(t, 43, dump[at], "offsets lead to the structure in the file")

	binary.LittleEndian.PutUint64(dump[0x10:], 1<<40)
	table, err = ParseDump(dump)
	require.NoError(t, err)
	require.Len(t, table.Structures, 32)
	require.Contains(t, whats(table.Problems), "outside the file")
}

func TestEntryPointDefectsAreReported(t *testing.T) {
	entry, b := lab(t)
	for name, c := range map[string]struct {
		change func(e []byte) []byte
		want   string
	}{
		"checksum":       {func(e []byte) []byte { e[8]++; return e }, "checksum is wrong"},
		"length":         {func(e []byte) []byte { e[6] = 200; return e }, "length 200"},
		"anchor":         {func(e []byte) []byte { e[0] = 'X'; return e }, "unknown anchor"},
		"cut":            {func(e []byte) []byte { return e[:10] }, "10 bytes"},
		"maximum length": {func(e []byte) []byte { binary.LittleEndian.PutUint32(e[12:], 100); return e }, "the entry point allows 100"},
	} {
		t.Run(name, func(t *testing.T) {
			table, err := Parse(c.change(append([]byte(nil), entry...)), b)
			require.NoError(t, err)
			require.Contains(t, whats(table.Problems), c.want)
			require.Len(t, table.Structures, 32, "a bad entry point hides nothing")
		})
	}
}

func TestEntryPoint2(t *testing.T) {
	table := join(structure(1, 1, make([]byte, 4)), end())
	e := make([]byte, 0x1f)
	copy(e, "_SM_")
	e[5], e[6], e[7] = 0x1f, 2, 31
	copy(e[0x10:], "_DMI_")
	binary.LittleEndian.PutUint16(e[0x16:], uint16(len(table)))
	binary.LittleEndian.PutUint16(e[0x1c:], 2)
	e[0x15] = -sum(e[0x10:])
	e[4] = -sum(e)
	got, err := Parse(e, table)
	require.NoError(t, err)
	require.Empty(t, got.Problems)
	major, minor := got.Version()
	require.Equal(t, []int{2, 3}, []int{major, minor}, "2.31 is a known misspelling of 2.3")

	e[0x1c] = 9
	got, err = Parse(e, table)
	require.NoError(t, err)
	require.Contains(t, whats(got.Problems), "the entry point says 9")
	require.Contains(t, whats(got.Problems), "intermediate checksum")
	require.False(t, got.EntryPoint.ChecksumOK)
}

// A structure whose header lies must not take the rest of the table with it.
func TestDamagedStructureHidesNoOther(t *testing.T) {
	bad := structure(17, 1, []byte{1, 2, 3}, "x")
	bad[1] = 2
	table := parse(t, structure(1, 1, []byte{1, 0, 0, 0}, "Maker"), bad, structure(2, 2, []byte{1, 0, 0, 0}, "Board"), end())
	require.Equal(t, "Maker", table.Systems[0].Manufacturer)
	require.Equal(t, "Board", table.Baseboards[0].Manufacturer)
	require.False(t, table.Systems[0].Guessed)
	require.True(t, table.Baseboards[0].Guessed, "its place was searched for")
	require.True(t, table.Broken)
	require.Contains(t, whats(table.Problems), "formatted length 2 is below 4")
}

func TestTruncatedTable(t *testing.T) {
	_, b := lab(t)
	for n := range len(b) {
		table, _ := Parse(nil, b[:n])
		require.NotNil(t, table)
		if n > 0 {
			require.NotEmpty(t, table.Problems, "cut at %d", n)
		}
	}
	table, err := Parse(nil, nil)
	require.ErrorIs(t, err, ErrNoTable)
	require.Empty(t, table.Structures)
}

func TestBadStringIndexIsNoString(t *testing.T) {
	table := parse(t, structure(1, 7, []byte{1, 9, 0, 0}, "Maker"), end())
	require.Equal(t, "Maker", table.Systems[0].Manufacturer)
	require.Empty(t, table.Systems[0].Product)
	require.EqualValues(t, 9, table.Structures[0].Formatted[5], "the index is kept")
	require.Equal(t, []Problem{{5, "type 1 handle 0x0007: string index 9, the structure has 1 strings"}}, table.Problems)
}

func TestDuplicateHandles(t *testing.T) {
	table := parse(t, structure(1, 7, make([]byte, 4)), structure(2, 7, make([]byte, 4)), end())
	require.Contains(t, whats(table.Problems), "handle 0x0007 is already used at offset 0x0")
}

// Structures behind the end-of-table structure are not read, and not silently.
func TestBytesBehindTheEnd(t *testing.T) {
	hidden := structure(17, 9, make([]byte, 0x18))
	table := parse(t, structure(1, 1, make([]byte, 4)), end(), hidden)
	require.Equal(t, len(hidden), table.Trailing)
	require.Empty(t, table.MemoryDevices)
}

func TestStructureFlood(t *testing.T) {
	one := structure(126, 1, nil)
	b := make([]byte, 0, (maxStructures+10)*len(one))
	for range maxStructures + 10 {
		b = append(b, one...)
	}
	table, err := Parse(nil, b)
	require.NoError(t, err)
	require.Len(t, table.Structures, maxStructures)
	require.LessOrEqual(t, len(table.Problems), maxProblems)
}

func TestUUIDByteOrderFollowsTheVersion(t *testing.T) {
	raw := []byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	system := structure(1, 1, append([]byte{0, 0, 0, 0}, raw...))
	require.Equal(t, "00112233-4455-6677-8899-aabbccddeeff", parse(t, system, end()).Systems[0].UUID)
	old := parse(t, system, structure(4, 2, make([]byte, 0x1f)), end())
	require.Equal(t, "33221100-5544-7766-8899-aabbccddeeff", old.Systems[0].UUID, "2.3 stores big endian")
	for _, x := range []byte{0, 0xff} {
		fill := make([]byte, 20)
		for i := 4; i < 20; i++ {
			fill[i] = x
		}
		s := parse(t, structure(1, 1, fill), end()).Systems[0]
		require.Empty(t, s.UUID, "all %02x is no UUID", x)
		require.Len(t, s.RawUUID, 32)
	}
}

func TestSlotAddressSentinels(t *testing.T) {
	for _, c := range []struct {
		segment    uint16
		bus, devfn uint8
		want       string
	}{
		{0, 0x3b, 0x08, "0000:3b:01.0"},
		{0, 0xff, 0x00, ""},
		{0, 0xff, 0xff, ""},
		{0x00ff, 0xff, 0xff, ""},
		{0, 0, 0, ""},
		{0xffff, 1, 0, ""},
		{0x10, 0, 0, "0010:00:00.0"},
	} {
		f := make([]byte, 0x0d)
		f[0], f[3] = 1, 4
		binary.LittleEndian.PutUint16(f[9:], c.segment)
		f[11], f[12] = c.bus, c.devfn
		s := parse(t, structure(9, 1, f, "SLOT1"), end()).Slots[0]
		require.True(t, s.InUse)
		if c.want == "" {
			require.Nil(t, s.Address, "%+v", c)
			continue
		}
		require.Equal(t, c.want, s.Address.String())
	}
}

func memoryDevice(size uint16, extended uint32) []byte {
	f := make([]byte, 0x54-4)
	f[0x10-4], f[0x17-4], f[0x12-4] = 1, 2, 0x1a
	binary.LittleEndian.PutUint16(f[0x0c-4:], size)
	binary.LittleEndian.PutUint32(f[0x1c-4:], extended)
	f[0x2c-4], f[0x2d-4] = 0x80, 0xce
	return structure(17, 1, f, "A1", "80CE")
}

func TestMemoryDeviceSizes(t *testing.T) {
	for _, c := range []struct {
		size      uint16
		extended  uint32
		bytes     uint64
		installed bool
	}{
		{0, 0, 0, false},
		{0xffff, 0, 0, true},
		{0x4000, 0, 16 << 30, true},
		{0x8200, 0, 512 << 10, true},
		{0x7fff, 65536, 64 << 30, true},
		{0x7fff, 0x80000000 | 1, 1 << 20, true},
	} {
		d := parse(t, memoryDevice(c.size, c.extended), end()).MemoryDevices[0]
		require.Equal(t, c.bytes, d.Size)
		require.Equal(t, c.installed, d.Installed)
		require.Equal(t, "A1", d.Locator)
		require.Equal(t, "DDR4", d.TypeName())
		require.EqualValues(t, 0xce80, d.ModuleManufacturerID)
	}
}

func TestMappedAddresses(t *testing.T) {
	f := make([]byte, 0x1f-4)
	binary.LittleEndian.PutUint32(f[4:], 0x3fffff)
	m := parse(t, structure(19, 1, f), end()).MappedAddresses[0]
	require.Equal(t, uint64(4<<30-1), m.End)
	binary.LittleEndian.PutUint32(f[0:], 0xffffffff)
	binary.LittleEndian.PutUint64(f[0x0f-4:], 4<<30)
	binary.LittleEndian.PutUint64(f[0x17-4:], 8<<30-1)
	m = parse(t, structure(19, 1, f), end()).MappedAddresses[0]
	require.Equal(t, []uint64{4 << 30, 8<<30 - 1}, []uint64{m.Start, m.End})
	binary.LittleEndian.PutUint64(f[0x17-4:], 1)
	require.Contains(t, whats(parse(t, structure(19, 1, f), end()).Problems), "before its start")
}

func TestProcessorFields(t *testing.T) {
	f := make([]byte, 0x30-4)
	f[0], f[0x06-4], f[0x18-4] = 1, 0xfe, 0x41
	binary.LittleEndian.PutUint32(f[0x08-4:], 0x000906ea)
	f[0x23-4] = 0xff
	binary.LittleEndian.PutUint16(f[0x28-4:], 0x118)
	binary.LittleEndian.PutUint16(f[0x2a-4:], 288)
	p := parse(t, structure(4, 1, f, "CPU1"), end()).Processors[0]
	require.EqualValues(t, 0x906ea, p.Signature)
	require.EqualValues(t, 0x118, p.Family)
	require.Equal(t, 288, p.Cores)
	require.True(t, p.Populated)
	require.True(t, p.Enabled)
}

func TestTPMVendorInEitherByteOrder(t *testing.T) {
	for _, raw := range []string{"IFX\x00", "\x00XFI", "IFX "} {
		f := make([]byte, 0x1b)
		copy(f, raw)
		require.Equal(t, "IFX", parse(t, structure(43, 1, f), end()).TPMs[0].Vendor, "%q", raw)
	}
}

func TestCountsThatDoNotFit(t *testing.T) {
	board := make([]byte, 0x0f-4)
	board[0x0e-4] = 200
	require.Contains(t, whats(parse(t, structure(2, 1, board), end()).Problems), "200 contained handles")
	slot := make([]byte, 0x13-4)
	slot[0x12-4] = 50
	require.Contains(t, whats(parse(t, structure(9, 1, slot), end()).Problems), "50 peer groups")
	host := []byte{0x40, 200, 4}
	require.Contains(t, whats(parse(t, structure(42, 1, host), end()).Problems), "200 bytes does not fit")
	chassis := make([]byte, 0x15-4)
	chassis[0x13-4], chassis[0x14-4] = 0xff, 0xff
	require.Empty(t, parse(t, structure(3, 1, chassis), end()).Chassis[0].SKU)
	require.Contains(t, whats(parse(t, structure(17, 1, []byte{1}), end()).Problems), "at least 21 needed")
}

func TestHostInterfaceNamesItsDevice(t *testing.T) {
	usb := []byte{0x40, 6, 0x04, 6, 0x6b, 0x04, 0xb0, 0xff, 1, 4, 2, 0xaa, 0xbb}
	m := parse(t, structure(42, 1, usb), end()).ManagementControllers[0]
	require.Equal(t, "046b:ffb0", m.DeviceIDs)
	require.Equal(t, []uint8{4}, m.Protocols)
}

func TestOldOnboardDevices(t *testing.T) {
	table := parse(t, structure(10, 1, []byte{0x83, 1, 0x05, 2}, "VGA", "LAN"), end())
	require.Len(t, table.Onboard, 2)
	require.Equal(t, "VGA", table.Onboard[0].Designation)
	require.True(t, table.Onboard[0].Enabled)
	require.False(t, table.Onboard[1].Enabled)
	require.Nil(t, table.Onboard[1].Address)
}

// Whatever structures a table holds, walking it gives back exactly them.
func TestWalkInvertsBuilding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		var want []Structure
		n := rapid.IntRange(1, 20).Draw(t, "structures")
		for i := range n {
			kind := rapid.Uint8Range(0, 126).Draw(t, "type")
			body := rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "body")
			strs := rapid.SliceOfN(rapid.StringMatching(`[ -~]{1,20}`), 0, 5).Draw(t, "strings")
			s := structure(kind, uint16(i), body, strs...)
			w := Structure{Header: Header{Type: kind, Handle: uint16(i), Offset: len(b), Length: len(s)}, Formatted: s[:4+len(body)]}
			if len(strs) > 0 {
				w.Strings = strs
			}
			want, b = append(want, w), append(b, s...)
		}
		table, err := Parse(nil, append(b, end()...))
		require.NoError(t, err)
		require.Equal(t, want, table.Structures[:n])
	})
}

func BenchmarkParse(b *testing.B) {
	entry, table := lab(b)
	for b.Loop() {
		_, _ = Parse(entry, table)
	}
}

func FuzzParse(f *testing.F) {
	entry, table := lab(f)
	f.Add(entry, table)
	f.Add([]byte(nil), join(structure(9, 1, make([]byte, 0x20), "S"), end()))
	f.Add([]byte(nil), memoryDevice(0x7fff, 1))
	f.Fuzz(func(t *testing.T, entry, b []byte) {
		table, _ := Parse(entry, b)
		require.LessOrEqual(t, len(table.Problems), maxProblems)
		next := 0
		for _, s := range table.Structures {
			require.GreaterOrEqual(t, s.Offset, next, "structures do not overlap")
			require.LessOrEqual(t, s.Offset+s.Length, len(b))
			next = s.Offset + s.Length
		}
		dump, _ := ParseDump(append(entry, b...))
		require.NotNil(t, dump)
	})
}

func corpus(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "..", "shared", "corpus"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs ../shared/corpus/" + filepath.Join(parts...))
	}
	return path
}
