package smbios

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// put builds a formatted area of n bytes, header included, with values at the
// offsets of the specification.
func put(n int, values map[int]uint64, widths map[int]int) []byte {
	b := make([]byte, max(n, 0x80))
	for o, v := range values {
		var raw [8]byte
		binary.LittleEndian.PutUint64(raw[:], v)
		w := widths[o]
		if w == 0 {
			w = 1
		}
		copy(b[o:o+w], raw[:w])
	}
	return b[4:n]
}

func TestBIOSSizesAndReleases(t *testing.T) {
	widths := map[int]int{0x18: 2}
	for name, c := range map[string]struct {
		n      int
		values map[int]uint64
		size   uint64
		rel    string
	}{
		"small":         {0x1a, map[int]uint64{0x09: 0xf, 0x14: 2, 0x15: 7, 0x16: 0xff, 0x17: 0xff}, 1 << 20, "2.7"},
		"extended MiB":  {0x1a, map[int]uint64{0x09: 0xff, 0x18: 32}, 32 << 20, "0.0"},
		"extended GiB":  {0x1a, map[int]uint64{0x09: 0xff, 0x18: 1<<14 | 1}, 1 << 30, "0.0"},
		"not extended":  {0x18, map[int]uint64{0x09: 0xff, 0x14: 0xff, 0x15: 0xff}, 0, ""},
		"old and short": {0x12, map[int]uint64{0x09: 7}, 512 << 10, ""},
	} {
		b := parse(t, structure(0, 1, put(c.n, c.values, widths)), end()).BIOS[0]
		require.Equal(t, c.size, b.ROMSize, name)
		require.Equal(t, c.rel, b.Release, name)
		require.False(t, b.Virtual)
	}
	b := parse(t, structure(0, 1, put(0x18, map[int]uint64{0x13: 0x10, 0x16: 1, 0x17: 2}, nil)), end()).BIOS[0]
	require.True(t, b.Virtual)
	require.Equal(t, "1.2", b.EmbeddedController)
}

func TestChassisFields(t *testing.T) {
	f := put(0x1c, map[int]uint64{0x04: 1, 0x05: 0x97, 0x11: 2, 0x13: 2, 0x14: 3, 0x1b: 2}, nil)
	c := parse(t, structure(3, 1, f, "Maker", "SKU-1"), end()).Chassis[0]
	require.Equal(t, "rack mount chassis", c.TypeName())
	require.True(t, c.Lock)
	require.Equal(t, "SKU-1", c.SKU, "the SKU follows the contained elements")
	require.EqualValues(t, 2, c.Height)
}

func TestPowerSupplyFields(t *testing.T) {
	widths := map[int]int{0x0c: 2, 0x0e: 2}
	p := parse(t, structure(39, 1, put(0x16, map[int]uint64{0x07: 1, 0x0c: 750, 0x0e: 3}, widths), "Maker"), end()).PowerSupplies[0]
	require.Equal(t, 750, p.MaxPower)
	require.True(t, p.HotReplaceable && p.Present && !p.Unplugged)
	p = parse(t, structure(39, 1, put(0x16, map[int]uint64{0x0c: 0x8000, 0x0e: 4}, widths)), end()).PowerSupplies[0]
	require.Zero(t, p.MaxPower, "0x8000 is unknown")
	require.True(t, p.Unplugged)
}

func TestIPMIDevice(t *testing.T) {
	d := parse(t, structure(38, 1, put(0x12, map[int]uint64{0x04: 1, 0x05: 0x20, 0x06: 0x40, 0x08: 0xca3}, map[int]int{0x08: 8})), end()).IPMIDevices[0]
	require.Equal(t, "2.0", d.Revision)
	require.EqualValues(t, 0x20, d.I2CAddress)
	require.EqualValues(t, 0xca3, d.BaseAddress)
	d = parse(t, structure(38, 1, put(0x12, nil, nil)), end()).IPMIDevices[0]
	require.Empty(t, d.Revision)
}

func TestMemoryArrayCapacity(t *testing.T) {
	widths := map[int]int{0x07: 4, 0x0d: 2, 0x0f: 8}
	a := parse(t, structure(16, 1, put(0x17, map[int]uint64{0x05: 3, 0x07: 1 << 20, 0x0d: 8}, widths)), end()).MemoryArrays[0]
	require.Equal(t, uint64(1<<30), a.MaxCapacity)
	require.Equal(t, 8, a.Devices)
	a = parse(t, structure(16, 1, put(0x17, map[int]uint64{0x07: 0x80000000, 0x0f: 3 << 40}, widths)), end()).MemoryArrays[0]
	require.Equal(t, uint64(3<<40), a.MaxCapacity)
}

func TestMemorySpeedsAndWidths(t *testing.T) {
	widths := map[int]int{0x08: 2, 0x0a: 2, 0x15: 2, 0x20: 2, 0x54: 4, 0x58: 4, 0x60: 2}
	values := map[int]uint64{0x08: 80, 0x0a: 0xffff, 0x15: 5600, 0x20: 0xffff, 0x58: 70000, 0x60: 0x3286}
	d := parse(t, structure(17, 1, put(0x64, values, widths)), end()).MemoryDevices[0]
	require.EqualValues(t, 80, d.TotalWidth)
	require.Zero(t, d.DataWidth, "0xffff is unknown")
	require.EqualValues(t, 5600, d.Speed)
	require.EqualValues(t, 70000, d.ConfiguredSpeed)
	require.EqualValues(t, 0x3286, d.RCDManufacturerID)
	d = parse(t, structure(17, 1, put(0x22, values, widths)), end()).MemoryDevices[0]
	require.Zero(t, d.ConfiguredSpeed, "a short structure has no extended speed")
}

func TestSlotPeers(t *testing.T) {
	f := put(0x1d, map[int]uint64{0x0c: 2, 0x0f: 0x3b, 0x12: 2, 0x13: 0, 0x15: 0x3b, 0x16: 0x01, 0x1a: 0xff, 0x1b: 0xff}, nil)
	s := parse(t, structure(9, 1, f), end()).Slots[0]
	require.True(t, s.HotPlug)
	require.Len(t, s.Peers, 1, "the second is no address")
	require.Equal(t, "0000:3b:00.1", s.Peers[0].String())
}

func TestOldEntryPoints(t *testing.T) {
	table := join(structure(1, 1, make([]byte, 4)), end())
	legacy := make([]byte, 0x0f)
	copy(legacy, "_DMI_")
	binary.LittleEndian.PutUint16(legacy[6:], uint16(len(table)))
	binary.LittleEndian.PutUint32(legacy[8:], 0x20)
	legacy[0x0c], legacy[0x0e] = 2, 0x24
	legacy[5] = -sum(legacy)
	got, err := Parse(legacy, table)
	require.NoError(t, err)
	require.Empty(t, got.Problems)
	require.Equal(t, []int{2, 4}, []int{got.EntryPoint.Major, got.EntryPoint.Minor})
	got, err = Parse(legacy[:10], table)
	require.NoError(t, err)
	require.Nil(t, got.EntryPoint)
	require.Contains(t, whats(got.Problems), "10 bytes, 15 needed")

	// The first specification gave the length of the entry point as 0x1e.
	e := make([]byte, 0x1f)
	copy(e, "_SM_")
	e[5], e[6], e[7] = 0x1e, 2, 1
	copy(e[0x10:], "_DMI_")
	binary.LittleEndian.PutUint16(e[0x16:], uint16(len(table)))
	e[0x1c] = 2
	e[0x15] = -sum(e[0x10:])
	e[4] = -sum(e)
	got, err = Parse(e, table)
	require.NoError(t, err)
	require.Empty(t, got.Problems)
}

// A dump may carry more bytes than its entry point says the table has.
func TestDumpIsCutToTheTable(t *testing.T) {
	entry, b := lab(t)
	dump := append(append(make([]byte, 0, 4096), entry...), make([]byte, 0x20-len(entry))...)
	binary.LittleEndian.PutUint64(dump[0x10:], 0x20)
	dump = append(append(dump, b...), make([]byte, 512)...)
	binary.LittleEndian.PutUint32(dump[0x0c:], uint32(len(b)))
	dump[5] = 0
	dump[5] = -sum(dump[:24])
	table, err := ParseDump(dump)
	require.NoError(t, err)
	require.Empty(t, table.Problems)
	require.Zero(t, table.Trailing)
}
