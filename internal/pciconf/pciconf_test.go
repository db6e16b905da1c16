package pciconf

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

// device is a 4096-byte space of an endpoint with an empty capability list.
func device() []byte {
	b := make([]byte, 4096)
	binary.LittleEndian.PutUint16(b, 0x8086)
	binary.LittleEndian.PutUint16(b[2:], 0x1533)
	b[6] = 0x10
	return b
}

func parse(t testing.TB, b []byte) *Config {
	t.Helper()
	c, err := Parse(b)
	require.NoError(t, err)
	return c
}

func whats(problems []Problem) string {
	var out []string
	for _, p := range problems {
		out = append(out, p.What)
	}
	return strings.Join(out, "\n")
}

func TestNetworkCard(t *testing.T) {
	c := parse(t, read(t, "lab-01-00.0.config"))
	require.Empty(t, c.Problems)
	require.Equal(t, []uint16{0x8086, 0x10d3}, []uint16{c.Vendor, c.Device})
	require.EqualValues(t, 0x020000, c.Class)
	require.Equal(t, "01v2,05(80),10v1(type=0),11(5)|0001v2,0003v1", c.Fingerprint())
	require.NotZero(t, c.DSN)
	require.True(t, c.AER)
	require.Equal(t, 0x2c, c.SubsystemOffset)
	require.Equal(t, "endpoint", c.Express.TypeName())
	require.NotEmpty(t, c.BARs)
}

func TestRootPort(t *testing.T) {
	c := parse(t, read(t, "lab-00-02.0.config"))
	require.Empty(t, c.Problems)
	require.EqualValues(t, 1, c.HeaderType)
	require.EqualValues(t, 1, c.Secondary)
	require.Equal(t, "root port", c.Express.TypeName())
	require.NotNil(t, c.Express.Slot)
	require.EqualValues(t, 1, c.Express.Slot.Number)
	require.True(t, c.Express.Slot.HotPlug)
	require.NotZero(t, c.SubsystemOffset, "a bridge keeps its subsystem ids in capability 0x0d")
	require.Equal(t, 0x38, c.ROMOffset)
}

// Reading without privilege stops after 64 bytes: what is not read is listed as
// unread, not as damage.
func TestUnprivilegedRead(t *testing.T) {
	c := parse(t, read(t, "lab-01-00.0.config")[:64])
	require.Empty(t, c.Problems)
	require.NotEmpty(t, c.Unread)
	require.Empty(t, c.Capabilities)
	_, err := Parse(make([]byte, 63))
	require.ErrorIs(t, err, ErrShort)
}

func TestHostileCapabilityLists(t *testing.T) {
	for name, c := range map[string]struct {
		change func(b []byte)
		want   string
	}{
		"loop":                {func(b []byte) { b[0x34], b[0x40], b[0x41] = 0x40, 1, 0x40 }, "closes a loop"},
		"into the header":     {func(b []byte) { b[0x34] = 0x10 }, "points into the header"},
		"all ones":            {func(b []byte) { b[0x34], b[0x40] = 0x40, 0xff }, "all ones"},
		"extended loop":       {func(b []byte) { binary.LittleEndian.PutUint32(b[0x100:], 0x10010001) }, "closes a loop"},
		"extended below":      {func(b []byte) { binary.LittleEndian.PutUint32(b[0x100:], 0x04010001) }, "below 0x100"},
		"second express":      {func(b []byte) { copy(b[0x34:], []byte{0x40}); copy(b[0x40:], []byte{0x10, 0x80}); b[0x80] = 0x10 }, "second PCI Express"},
		"no answer":           {func(b []byte) { copy(b, []byte{0xff, 0xff}) }, "no device answered"},
		"layout":              {func(b []byte) { b[0x0e] = 5 }, "layout 5"},
		"wide BAR at the end": {func(b []byte) { b[0x24] = 4 }, "no upper half"},
		"bus numbers":         {func(b []byte) { b[0x0e], b[0x19], b[0x1a] = 1, 9, 3 }, "below secondary"},
	} {
		t.Run(name, func(t *testing.T) {
			b := device()
			c.change(b)
			require.Contains(t, whats(parse(t, b).Problems), c.want)
		})
	}
}

func TestCardBusBridge(t *testing.T) {
	b := make([]byte, 256)
	copy(b, []byte{0x4c, 0x10, 0x39, 0x80})
	b[6], b[0x0e], b[0x14], b[0x34] = 0x10, 2, 0xa0, 0x40
	copy(b[0x40:], []byte{0x28, 0x10, 0xde, 0x01})
	b[0xa0], b[0xa2] = 1, 2
	c := parse(t, b)
	require.Equal(t, []uint16{0x1028, 0x01de}, []uint16{c.SubsystemVendor, c.SubsystemID})
	require.Equal(t, "01v2|", c.Fingerprint(), "the capability pointer is at 0x14")
	require.Zero(t, c.ROMOffset)
	require.Zero(t, parse(t, b[:64]).SubsystemOffset, "the ids are behind the 64 bytes")
}

func TestROMRegister(t *testing.T) {
	b := device()
	binary.LittleEndian.PutUint32(b[0x30:], 0xfe000001)
	require.EqualValues(t, 0xfe000001, parse(t, b).ROM)
	b[0x0e] = 1
	binary.LittleEndian.PutUint32(b[0x38:], 0xfd000001)
	require.EqualValues(t, 0xfd000001, parse(t, b).ROM)
	require.Zero(t, parse(t, b).SubsystemOffset, "a bridge without capability 0x0d has no subsystem ids")
}

func TestVendorSpecificCapability(t *testing.T) {
	b := device()
	b[0x34] = 0x40
	copy(b[0x40:], []byte{9, 0, 0x14})
	require.Equal(t, "09(len=20)|", parse(t, b).Fingerprint())
}

func TestSlotOfADownstreamPort(t *testing.T) {
	b := device()
	b[0x34], b[0x40] = 0x40, 0x10
	binary.LittleEndian.PutUint16(b[0x42:], 0x0162)               // downstream port, slot
	binary.LittleEndian.PutUint32(b[0x4c:], 0x05100104)           // x16, gen 4, reports link, port 5
	binary.LittleEndian.PutUint16(b[0x52:], 0x2083)               // gen 3, x8, active
	binary.LittleEndian.PutUint32(b[0x54:], 17<<19|0x40|0x10|0x2) // slot 17, hot-plug, power LED, power controller
	binary.LittleEndian.PutUint16(b[0x58:], 0x0400)               // powered off
	binary.LittleEndian.PutUint16(b[0x5a:], 0x0040)               // present
	e := parse(t, b).Express
	require.Equal(t, Express{
		Offset: 0x40, Version: 2, PortType: 6, MaxSpeed: 4, MaxWidth: 16, Speed: 3, Width: 8, LinkActive: true, LinkReports: true, PortNumber: 5,
		Slot: &Slot{Number: 17, HotPlug: true, PowerLED: true, PowerController: true, Present: true, PowerOff: true},
	}, *e)
}

func TestExtendedCapabilities(t *testing.T) {
	b := device()
	next := 0x100
	put := func(id uint32, version uint32, size int, body ...uint32) {
		binary.LittleEndian.PutUint32(b[next:], id|version<<16|uint32(next+size)<<20)
		for i, x := range body {
			binary.LittleEndian.PutUint32(b[next+4+4*i:], x)
		}
		next += size
	}
	put(0x03, 1, 16, 0x11223344, 0x55667788)
	put(0x0b, 1, 16, 0x01020003)
	put(0x23, 1, 16, 0x00c01e98, 0x0005)
	put(0x10, 1, 0x40, 0, 1, 64<<16|32, 8, 0x00010080, 0x1234<<16)
	put(0x2e, 1, 16)
	put(0x0e, 1, 16)
	binary.LittleEndian.PutUint32(b[next:], 0x30|1<<16)
	c := parse(t, b)
	require.Empty(t, c.Problems)
	require.Equal(t, uint64(0x5566778811223344), c.DSN)
	require.Equal(t, "|0003v1,000bv1(vsec=0003r2/16),0023v1(dvsec=1e98/0005r0/12),0010v1(vfs=64),002ev1,000ev1,0030v1", c.Fingerprint())
	require.Equal(t, SRIOV{InitialVFs: 32, TotalVFs: 64, NumVFs: 8, FirstOffset: 0x80, Stride: 1, VFDevice: 0x1234, Enabled: true}, *c.SRIOV)
	require.True(t, c.DOE && c.IDE && c.ARI)
}

// Running a device changes enable bits, link speed and status, and must not
// change the fingerprint.
func TestFingerprintIgnoresState(t *testing.T) {
	b := read(t, "lab-01-00.0.config")
	before := parse(t, b).Fingerprint()
	c := parse(t, b)
	b[4] ^= 0x06
	for _, x := range c.Capabilities {
		switch x.ID {
		case 0x05:
			b[x.Offset+2] |= 1
		case 0x11:
			b[x.Offset+3] |= 0x80
		case 0x10:
			b[x.Offset+0x12] ^= 0x33
		}
	}
	require.Equal(t, before, parse(t, b).Fingerprint())
}

func TestEveryCutOfASpace(t *testing.T) {
	for _, name := range []string{"lab-00-02.0.config", "lab-0a-00.0.config"} {
		b := read(t, name)
		for n := 64; n < 600; n++ {
			require.Empty(t, parse(t, b[:n]).Problems, "%s cut at %d", name, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"lab-00-02.0.config", "lab-01-00.0.config", "lab-0a-00.0.config", "lab-00-1f.2.config"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			require.Less(t, len(b), 64)
			return
		}
		require.LessOrEqual(t, len(c.Capabilities), 64)
		require.LessOrEqual(t, len(c.Extended), 1024)
		require.NotEmpty(t, c.Fingerprint())
	})
}
