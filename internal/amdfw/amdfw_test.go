package amdfw

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// flash is built by the tests: no image of a real board may be kept here.
type flash []byte

func erased(n int) flash { return bytes.Repeat([]byte{0xff}, n) }

func (f flash) put(at int, v ...uint32) {
	for i, x := range v {
		binary.LittleEndian.PutUint32(f[at+4*i:], x)
	}
}

// physical is an offset's address below 4 GiB.
func (f flash) physical(at int) uint32 { return uint32(1<<32 - min(len(f), window) + at%window) }

// structure writes an embedded firmware structure with these pointers.
func (f flash) structure(at int, psp, bios, generation uint32) {
	clear(f[at : at+structureSize])
	f.put(at, magic)
	f.put(at+0x14, psp)
	f.put(at+0x20, bios)
	f.put(at+0x24, generation)
}

type raw struct {
	typ, program byte
	flags        byte // of the third byte
	length       uint32
	address      uint64
}

// directory writes a directory with its checksum.
func (f flash) directory(at int, name string, info uint32, entries ...raw) {
	form := forms[name]
	clear(f[at : at+form.header])
	copy(f[at:], name)
	f.put(at+8, uint32(len(entries)), info)
	for i, e := range entries {
		x := f[at+form.header+i*form.size:]
		clear(x[:form.size])
		if form.header == 32 {
			binary.LittleEndian.PutUint32(x[4:], e.length)
		} else {
			x[0], x[1], x[2] = e.typ, e.program, e.flags
			binary.LittleEndian.PutUint32(x[4:], e.length)
		}
		binary.LittleEndian.PutUint64(x[8:], e.address)
	}
	f.seal(at, form.header+len(entries)*form.size)
}

// seal computes the checksum as firmware tools do: with ones' complement sums
// that begin at 0xffff.
func (f flash) seal(at, n int) {
	a, b := uint32(0xffff), uint32(0xffff)
	fold := func() { a, b = a&0xffff+a>>16, b&0xffff+b>>16 }
	for i := 8; i < n; i += 2 {
		a += uint32(binary.LittleEndian.Uint16(f[at+i:]))
		b += a
		fold()
	}
	fold()
	f.put(at+4, b<<16|a)
}

// firmware writes an entry's firmware with its header.
func (f flash) firmware(at, length int) {
	for i := range length {
		f[at+i] = byte(i*7 + at>>12)
	}
	clear(f[at : at+headerSize])
	copy(f[at+0x10:], "$PS1")
	f.put(at+0x14, uint32(length-headerSize-0x100))
	f.put(at+0x30, 1)
	f.put(at+0x60, 0x00080174)
	f.put(at+0x6c, uint32(length))
}

// older is a flash of the first generation: physical addresses everywhere.
func older(size int) flash {
	f := erased(size)
	f.structure(0x20000, f.physical(0x30000), f.physical(0x40000), 0xffffffff)
	f.directory(0x30000, "$PSP", 0, raw{typ: 0, length: 0x240, address: uint64(f.physical(0x31000))}, raw{typ: 1, length: 0x4000, address: uint64(f.physical(0x32000))},
		raw{typ: 0x0b, length: 0xffffffff, address: 0x1020}, raw{typ: 4, length: 0x2000, address: uint64(f.physical(0x38000))}, raw{typ: 0x40, length: 0x400, address: uint64(f.physical(0x3c000))})
	f.directory(0x3c000, "$PL2", 0, raw{typ: 0x54, length: 0x1000, address: uint64(f.physical(0x3d000))}, raw{typ: 0xee, program: 2, flags: 3 << 3, length: 0x40, address: uint64(f.physical(0x3e000))})
	f.directory(0x40000, "$BHD", 0, raw{typ: 0x61}, raw{typ: 0x62, flags: 0x0b, length: 0x9000, address: uint64(f.physical(0x42000))}, raw{typ: 0x70, length: 0x400, address: uint64(f.physical(0x41000))})
	f.directory(0x41000, "$BL2", 0, raw{typ: 0x63, length: 0x1000, address: uint64(f.physical(0x50000))}, raw{typ: 0x60, flags: 1 << 4, length: 0x100, address: uint64(f.physical(0x51000))},
		raw{typ: 0x63, flags: 4, length: 0x1000, address: uint64(f.physical(0x52000))})
	copy(f[0x31000:], "a key of the maker of processors")
	f.firmware(0x32000, 0x4000)
	clear(f[0x42000:0x42100])
	f.put(0x42014, 0x3000)
	return f
}

func TestFirstGeneration(t *testing.T) {
	for _, size := range []int{1 << 20, 16 << 20} {
		f := older(size)
		got, ok := Parse(f)
		require.True(t, ok)
		require.Equal(t, Firmware{
			Structures: []Structure{{Offset: 0x20000, Length: 0x50}},
			Directories: []Directory{
				{Name: "psp", Offset: 0x30000, Length: 0x60, Entries: []Entry{
					{Type: 0, Name: "AMD_PUBLIC_KEY", Offset: 0x31000, Length: 0x240, Kind: Data},
					{Type: 1, Name: "PSP_BOOTLOADER", Offset: 0x32000, Length: 0x4000, Kind: Code, Header: &Header{Version: "00.08.01.74", Signed: true, Length: 0x4000}},
					{Type: 0x0b, Name: "SOFT_FUSE_CHAIN", Offset: -1, Length: 0xffffffff, Kind: Data},
					{Type: 4, Name: "PSP_NV_DATA", Offset: 0x38000, Length: 0x2000, Kind: Written},
					{Type: 0x40, Name: "PSP_L2", Offset: -1, Length: 0x400, Kind: Code, Pointer: true},
				}},
				{Name: "psp-l2", Offset: 0x3c000, Length: 0x30, Entries: []Entry{
					{Type: 0x54, Name: "RPMC_NVRAM", Offset: 0x3d000, Length: 0x1000, Kind: Written},
					{Type: 0xee, Name: "type-ee", Program: 2, Instance: 3, Offset: 0x3e000, Length: 0x40},
				}},
				{Name: "bios", Offset: 0x40000, Length: 0x58, Entries: []Entry{
					{Type: 0x61, Name: "APOB", Offset: -1, Kind: Data},
					{Type: 0x62, Name: "BIOS", Offset: 0x42000, Length: 0x3100, Kind: Code}, // as it is stored
					{Type: 0x70, Name: "BIOS_L2", Offset: -1, Length: 0x400, Kind: Code, Pointer: true},
				}},
				{Name: "bios-l2", Offset: 0x41000, Length: 0x58, Entries: []Entry{
					{Type: 0x63, Name: "APOB_NV", Offset: 0x50000, Length: 0x1000, Kind: Written},
					{Type: 0x60, Name: "APCB", Instance: 1, Offset: 0x51000, Length: 0x100, Kind: Data},
					{Type: 0x63, Name: "APOB_NV", Offset: 0x52000, Length: 0x1000, Kind: Data}, // the directory calls it read-only
				}},
			},
		}, got)
		f.firmware(0x51000, 0x100)
		f.put(0x51010, 5)
		got, _ = Parse(f)
		require.Equal(t, Entry{Type: 0x60, Name: "APCB", Instance: 1, Offset: 0x51000, Length: 0x100, Kind: Data, Header: &Header{Version: "00.08.01.74", Signed: true, Length: 0x100}}, got.Directories[3].Entries[1])
		f[0x3000c]++
		f[0x30014]++
		got, _ = Parse(f)
		require.True(t, got.Directories[0].Damaged)
		require.False(t, got.Directories[1].Damaged)
	}
}

// newer is a window of a flash of the second generation: combo directories,
// slots, and addresses from the start of directories.
func newer(f flash, base int) flash {
	const relative = 2 << 62
	f.structure(base+0x20000, 0x30000, 0x40000, 0xfffffffe)
	f.directory(base+0x30000, "2PSP", 0, raw{length: 0xbc0c0100, address: 0x31000})
	f.directory(base+0x31000, "$PSP", 2<<29, raw{typ: 1, length: 0x800, address: relative | 0x1000}, raw{typ: 0x48, length: 0x20, address: 1<<62 | 0x34000}, raw{typ: 0x4a, length: 0x20, address: 1<<62 | 0x34000})
	clear(f[base+0x34000 : base+0x34020])
	f.put(base+0x34010, 0x35000, 0xbc0c0100)
	f.directory(base+0x35000, "$PL2", 1<<31|2<<24, raw{typ: 8, length: 0x100, address: relative | 0x100}, raw{typ: 0x49, length: 0x400, address: relative | 0x1000}, raw{typ: 2, length: 0x100, address: 3<<62 | 0x7fffffff})
	f.directory(base+0x36000, "$BHD", 1<<29, raw{typ: 0x60, length: 0x100, address: 0x37000})
	f.directory(base+0x40000, "2BHD", 0, raw{length: 1, address: 0x36000})
	return f
}

func TestSecondGeneration(t *testing.T) {
	for name, base := range map[string]int{"one window": 0, "second window": window} {
		t.Run(name, func(t *testing.T) {
			f := newer(erased(base+1<<20), base)
			got, ok := Parse(f)
			require.True(t, ok)
			require.Equal(t, []Structure{{Offset: base + 0x20000, Length: 0x50, SecondGen: true}}, got.Structures)
			var names []string
			at := map[string]int{}
			for _, d := range got.Directories {
				names = append(names, d.Name)
				require.False(t, d.Damaged, d.Name)
				for _, e := range d.Entries {
					at[e.Name] = e.Offset - base
					require.False(t, e.Outside, e.Name)
				}
			}
			require.Equal(t, []string{"psp-combo", "psp", "psp-l2", "bios", "slot", "bios-combo"}, names)
			require.Equal(t, "processor id BC0C0100", got.Directories[1].For)
			require.Equal(t, []int{0x32000, 0x35100, 0x37000}, []int{at["PSP_BOOTLOADER"], at["SMU_FIRMWARE"], at["APCB"]})
			require.Equal(t, -1-base, at["PSP_SECURE_OS"]) // from the start of a slot, which is not known
		})
	}
}

func TestEntriesOutside(t *testing.T) {
	f := older(1 << 20)
	f.directory(0x30000, "$PSP", 0, raw{typ: 1, length: 0x4000, address: uint64(f.physical(0xfe000))}, raw{typ: 8, length: 16, address: 0x7f000000}, raw{typ: 2, length: 16, address: 1<<62 - 1}, raw{typ: 0xff, length: 1, address: 2})
	got, ok := Parse(f)
	require.True(t, ok)
	e := got.Directories[0].Entries
	require.Len(t, e, 3)
	require.True(t, e[0].Outside)
	require.True(t, e[1].Outside)
	require.False(t, e[2].Outside)
}

func TestNoStructure(t *testing.T) {
	lone := erased(1 << 20)
	lone.structure(0x20000, lone.physical(0x30000), 0, 0)
	for name, b := range map[string][]byte{"nothing": nil, "erased": erased(1 << 18), "no directory": lone, "short": older(1 << 20)[:0x20010]} {
		_, ok := Parse(b)
		require.False(t, ok, name)
	}
	got, ok := Parse(small())
	require.True(t, ok)
	require.Len(t, got.Directories, 4)
	// A directory that points at itself is read once.
	f := older(1 << 20)
	f.directory(0x3c000, "$PL2", 0, raw{typ: 0x40, length: 16, address: uint64(f.physical(0x30000))})
	got, ok = Parse(f)
	require.True(t, ok)
	require.Len(t, got.Directories, 4)
}

// small is a flash of the second generation in as few bytes as it takes.
func small() flash {
	f := erased(step + 0x800)
	f.structure(step, step+0x100, step+0x300, 0)
	f.directory(step+0x100, "$PSP", 1<<29, raw{typ: 1, length: 0x180, address: step + 0x600}, raw{typ: 0x40, length: 0x40, address: step + 0x200}, raw{typ: 0x48, length: 0x20, address: step + 0x280})
	f.directory(step+0x200, "$PL2", 2<<29, raw{typ: 4, length: 0x40, address: 2<<62 | 0x500})
	clear(f[step+0x280 : step+0x2a0])
	f.put(step+0x290, step+0x200, 1)
	f.directory(step+0x300, "2BHD", 0, raw{length: 7, address: step + 0x380})
	f.directory(step+0x380, "$BHD", 1<<29, raw{typ: 0x62, flags: 0x0b, length: 0x1000, address: step + 0x500}, raw{typ: 0x63, length: 0x40, address: step + 0x7c0})
	f.firmware(step+0x600, 0x180)
	return f
}

func FuzzParse(f *testing.F) {
	// The structure stands behind 128 KiB: seeds are what is behind it.
	f.Add([]byte(small()[step:]))
	f.Add([]byte(small()[step : step+0x380]))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<20 {
			return
		}
		got, ok := Parse(append(make([]byte, step), b...))
		require.Equal(t, ok, len(got.Directories) > 0)
		require.LessOrEqual(t, len(got.Directories), MaxDirectories)
		for _, d := range got.Directories {
			require.LessOrEqual(t, d.Offset+d.Length, step+len(b))
			for _, e := range d.Entries {
				require.NotEmpty(t, e.Name)
				if e.Offset >= 0 {
					require.LessOrEqual(t, e.Offset+e.Length, step+len(b))
				}
			}
		}
	})
}
