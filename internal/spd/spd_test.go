package spd

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func lab(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/lab.spd")
	require.NoError(t, err)
	return b
}

func seal(b []byte, start, end, at int) {
	binary.LittleEndian.PutUint16(b[at:], crc16(b[start:end]))
}

func identity(b []byte, maker, part, partEnd, dram int) {
	copy(b[maker:], []byte{0x80, 0xce, 0x01, 0x24, 0x15, 0xde, 0xad, 0xbe, 0xef})
	copy(b[part:partEnd], strings.Repeat(" ", partEnd-part))
	copy(b[part:], "LAB-PART-1")
	copy(b[dram:], []byte{0x80, 0x2c})
}

// ddr4rdimm is a registered 32 GiB module: 2 ranks of 8 Gb x4 dies with ECC.
func ddr4rdimm() []byte {
	b := make([]byte, 512)
	copy(b, []byte{0x23, 0x12, 0x0c, 0x01, 0x85, 0x29})
	b[12], b[13], b[14] = 0x08, 0x0b, 0x80
	copy(b[133:], []byte{0x86, 0x32, 0xb1})
	identity(b, 320, 329, 349, 350)
	seal(b, 0, 126, 126)
	seal(b, 128, 254, 254)
	return b
}

// ddr5rdimm is a registered 64 GiB module: 2 channels, 2 ranks of 16 Gb x4 dies.
func ddr5rdimm() []byte {
	b := make([]byte, 1024)
	copy(b, []byte{0x30, 0x11, 0x12, 0x01, 0x04, 0x20, 0x00, 0x62})
	copy(b[194:], []byte{0x86, 0x32, 0x80, 0x21, 0x86, 0x9d, 0x81, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0x32, 0xc1, 0x22})
	b[234], b[235] = 0x08, 0x2a
	copy(b[240:], []byte{0x86, 0x32, 0x80, 0x12})
	identity(b, 512, 521, 551, 552)
	seal(b, 0, 510, 510)
	return b
}

func parse(t testing.TB, b []byte) *Module {
	t.Helper()
	m, err := Parse(b)
	require.NoError(t, err)
	return m
}

func kinds(m *Module) map[string]Chip {
	out := map[string]Chip{}
	for _, c := range m.Chips {
		out[c.Kind] = c
	}
	return out
}

func TestDDR4RegisteredModule(t *testing.T) {
	m := parse(t, ddr4rdimm())
	require.Empty(t, m.Problems)
	require.Equal(t, "DDR4", m.Type.String())
	require.Equal(t, "RDIMM", m.ModuleType)
	require.True(t, m.Registered)
	require.Equal(t, uint64(32<<30), m.Size)
	require.True(t, m.Geometry.Consistent())
	require.Equal(t, MakerID{0x80, 0xce, 320}, m.Maker)
	require.Equal(t, MakerID{0x80, 0x2c, 350}, m.DRAM)
	require.Equal(t, "LAB-PART-1", m.PartNumber)
	require.Equal(t, "deadbeef", m.Serial)
	require.Equal(t, []int{2024, 15}, []int{m.Year, m.Week})
	require.Equal(t, Chip{Kind: "rcd", Maker: MakerID{0x86, 0x32, 133}, Revision: 0xb1, Installed: true, Offset: 133}, kinds(m)["rcd"])
	require.Equal(t, Span{325, 329}, m.Offsets["serial"])
}

func TestDDR5Chips(t *testing.T) {
	m := parse(t, ddr5rdimm())
	require.Empty(t, m.Problems)
	require.Equal(t, uint64(64<<30), m.Size)
	require.True(t, m.Geometry.Consistent())
	k := kinds(m)
	require.Len(t, k, 5)
	require.Equal(t, MakerID{0x86, 0x32, 194}, k["hub"].Maker)
	require.EqualValues(t, 0x21, k["hub"].Revision)
	require.Equal(t, MakerID{0x86, 0x9d, 198}, k["pmic0"].Maker)
	require.EqualValues(t, 1, k["pmic0"].DeviceType)
	require.True(t, k["ts0"].Installed && k["ts1"].Installed)
	require.Equal(t, 240, k["rcd"].Offset)
	require.NotContains(t, k, "pmic1")
}

// The checksums of DDR4 and DDR5 stop before the identity: a rewritten serial
// number or part number passes them, and the module says which bytes those are.
func TestIdentityIsNotCovered(t *testing.T) {
	for name, c := range map[string]struct {
		b    []byte
		at   int
		span Span
	}{"DDR4": {ddr4rdimm(), 325, Span{256, 512}}, "DDR5": {ddr5rdimm(), 517, Span{512, 1024}}} {
		c.b[c.at]++
		m := parse(t, c.b)
		require.Empty(t, m.Problems, name)
		require.Contains(t, m.Uncovered, c.span, name)
	}
}

func TestChecksums(t *testing.T) {
	b := ddr4rdimm()
	b[135]++
	m := parse(t, b)
	require.True(t, m.CRCs[0].OK())
	require.False(t, m.CRCs[1].OK())
	require.Equal(t, 254, m.CRCs[1].Offset)
	require.Equal(t, 254, m.Problems[0].Offset)
	require.NotEqual(t, m.CRCs[1].Stored, m.CRCs[1].Computed)
}

// The published recipe that doubles a module's size raises the die capacity
// and repairs the checksum, but leaves rows and columns as they were.
func TestDoubledDieCapacityContradictsItsAddresses(t *testing.T) {
	b := ddr4rdimm()
	require.True(t, parse(t, b).Geometry.Consistent())
	b[4] = 0x86
	seal(b, 0, 126, 126)
	m := parse(t, b)
	require.Empty(t, m.Problems, "nothing is damaged")
	require.Equal(t, uint64(64<<30), m.Size)
	require.False(t, m.Geometry.Consistent())
	require.Contains(t, m.Offsets, "geometry")
}

func TestDiesOfThreeQuarterSizes(t *testing.T) {
	b := ddr5rdimm()
	b[4], b[5] = 0x05, 0x21 // 24 Gb on 17 row bits
	m := parse(t, b)
	require.True(t, m.Geometry.Consistent())
	require.Equal(t, uint64(96<<30), m.Size)
}

func TestStackedDies(t *testing.T) {
	b := ddr4rdimm()
	b[6] = 0x80 | 3<<4 | 2 // four dies, 3DS
	require.Equal(t, uint64(128<<30), parse(t, b).Size)
	b[12] |= 0x40
	require.Zero(t, parse(t, b).Size, "unlike ranks: not computed")
}

// The lab's virtual EEPROM lost two bytes of 256, one of the serial number and
// one of the checksum: the module is still read and the defect located.
func TestDDR3WithLostBytes(t *testing.T) {
	m := parse(t, lab(t))
	require.Equal(t, DDR3, m.Type)
	require.Equal(t, "9ASF1G72PZ-2G9E1", m.PartNumber)
	require.Equal(t, uint64(4<<30), m.Size)
	require.True(t, m.Geometry.Consistent())
	require.Len(t, m.Problems, 1)
	require.Equal(t, 126, m.Problems[0].Offset)
}

// The check value of CRC-16/XMODEM.
func TestKnownChecksum(t *testing.T) {
	require.EqualValues(t, 0x31c3, crc16([]byte("123456789")))
}

// DDR3 has one checksum with two reaches, and names its register.
func TestDDR3ChecksumReach(t *testing.T) {
	b := lab(t)
	seal(b, 0, 117, 126)
	b[65], b[66], b[67] = 0x80, 0xb3, 2
	seal(b, 0, 117, 126)
	m := parse(t, b)
	require.Empty(t, m.Problems)
	require.Equal(t, CRC{Offset: 126, Start: 0, End: 117, Stored: m.CRCs[0].Stored, Computed: m.CRCs[0].Stored}, m.CRCs[0])
	require.Equal(t, Chip{Kind: "rcd", Maker: MakerID{0x80, 0xb3, 65}, Revision: 2, Installed: true, Offset: 65}, m.Chips[0])
	b[0] &^= 0x80
	seal(b, 0, 126, 126)
	m = parse(t, b)
	require.Empty(t, m.Problems)
	require.Equal(t, 126, m.CRCs[0].End)
	b[3] = 2 // unbuffered: the bytes of the register mean something else
	require.Empty(t, parse(t, b).Chips)
}

// LPDDR5 in 1024 bytes has the layout of DDR5, in 512 that of LPDDR4.
func TestLPDDR5Layouts(t *testing.T) {
	b := ddr5rdimm()
	b[2] = byte(LPDDR5)
	seal(b, 0, 510, 510)
	m := parse(t, b)
	require.Empty(t, m.Problems)
	require.Equal(t, "LAB-PART-1", m.PartNumber)
	b = ddr4rdimm()
	b[2] = byte(LPDDR5)
	seal(b, 0, 126, 126)
	m = parse(t, b)
	require.Empty(t, m.Problems)
	require.Equal(t, "LAB-PART-1", m.PartNumber)
	require.Zero(t, m.Size)
	b[126], b[127] = 0, 0
	require.Contains(t, parse(t, b).Problems[0].What, "no checksum is stored")
}

func TestShortAndUnknownImages(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 127), make([]byte, 256)} {
		_, err := Parse(b)
		require.ErrorIs(t, err, ErrUnknown)
	}
	for name, whole := range map[string][]byte{"DDR3": lab(t), "DDR4": ddr4rdimm(), "DDR5": ddr5rdimm()} {
		for n := 128; n < len(whole); n++ {
			m := parse(t, whole[:n])
			for _, c := range m.CRCs {
				require.LessOrEqual(t, c.Offset+2, n, name)
			}
			if name != "DDR3" && n < 350 {
				require.NotEmpty(t, m.Problems, "%s cut at %d", name, n)
			}
		}
	}
}

func TestImpossibleFields(t *testing.T) {
	b := ddr4rdimm()
	b[4], b[323], b[324], b[330] = 0x8f, 0xaa, 0x99, 7
	m := parse(t, b)
	var what []string
	for _, p := range m.Problems {
		what = append(what, p.What)
	}
	all := strings.Join(what, "\n")
	require.Contains(t, all, "capacity code 15")
	require.Contains(t, all, "no year and week")
	require.Contains(t, all, "byte 0x07")
	require.Zero(t, m.Size)
	copy(b[340:349], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0})
	require.NotContains(t, parse(t, b).PartNumber, "\xff", "erased bytes are padding")
	copy(b[325:329], []byte{0xff, 0xff, 0xff, 0xff})
	require.Empty(t, parse(t, b).Serial, "an erased serial number is none")
}

func TestFromHex(t *testing.T) {
	b, err := FromHex([]byte("# comment\n23 10 0x0c # type\n\n01\n"))
	require.NoError(t, err)
	require.Equal(t, []byte{0x23, 0x10, 0x0c, 1}, b)
	for _, text := range []string{"", "zz", "100", strings.Repeat("00 ", maxImage+1)} {
		_, err := FromHex([]byte(text))
		require.ErrorIs(t, err, ErrNotHex)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(lab(f))
	f.Add(ddr4rdimm())
	f.Add(ddr5rdimm())
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		for _, c := range m.CRCs {
			require.LessOrEqual(t, c.Offset+2, len(b))
		}
		for _, s := range m.Uncovered {
			require.Less(t, s.Start, s.End)
		}
		for name, s := range m.Offsets {
			require.LessOrEqual(t, s.End, len(b), name)
		}
	})
}

func FuzzFromHex(f *testing.F) {
	f.Add([]byte("23 10 0C 01 # x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := FromHex(b)
		if err == nil {
			require.NotEmpty(t, out)
		}
		require.LessOrEqual(t, len(out), maxImage)
	})
}

func corpus(t *testing.T, parts ...string) string {
	t.Helper()
	path := filepath.Join(append([]string{"..", "..", "..", "shared", "corpus", "hardware", "spd"}, parts...)...)
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs ../shared/corpus/hardware/spd/" + filepath.Join(parts...))
	}
	return path
}

// Two modules of one maker and one hub maker, with different power management
// chips: the difference is visible.
func TestRealModules(t *testing.T) {
	root := corpus(t, "hardinfo2")
	read := func(name string) *Module {
		b, err := os.ReadFile(filepath.Join(root, name))
		require.NoError(t, err)
		m := parse(t, b)
		require.Empty(t, m.Problems, name)
		require.True(t, m.Geometry.Consistent(), name)
		return m
	}
	for name, want := range map[string]struct {
		size uint64
		part string
	}{
		"eeprom-test-DDR3.bin": {4 << 30, "HMT351S6CFR8C-PB"}, "eeprom-test-DDR3-1.0.bin": {4 << 30, "M471B5173BH0-CK0"},
		"eeprom-test-DDR4.bin": {8 << 30, "16ATF1G64HZ-2G1A2"}, "eeprom-test-DDR5.bin": {32 << 30, "KF556S40-32"},
		"eeprom-test-DDR5s.bin": {32 << 30, "KF552C40-32"},
	} {
		m := read(name)
		require.Equal(t, want.size, m.Size, name)
		require.Equal(t, want.part, m.PartNumber, name)
	}
	a, b := kinds(read("eeprom-test-DDR5.bin")), kinds(read("eeprom-test-DDR5s.bin"))
	require.Equal(t, a["hub"].Maker, b["hub"].Maker)
	require.NotEqual(t, a["pmic0"].Maker, b["pmic0"].Maker)
}

// Memory that is soldered down: images without checksums, identity or, for the
// placeholder of an empty channel, any content.
func TestSolderedMemoryImages(t *testing.T) {
	root := corpus(t)
	read, empty := 0, 0
	for _, pattern := range []string{"coreboot/*/*/*.hex", "coreboot-boards/*.hex"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			b, err := FromHex(text)
			require.NoError(t, err, file)
			if _, err := Parse(b); err != nil {
				require.Contains(t, file, "empty")
				empty++
			}
			read++
		}
	}
	require.Greater(t, read, 50)
	t.Logf("%d images, %d empty", read, empty)
}
