package nvmeid

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// identify lays a structure out as figure 275 says. The values are those of a
// drive that a vendor sells under its own name: PCI vendor and OUI are the
// maker's, the subsystem is the vendor's.
func identify() []byte {
	b := make([]byte, Size)
	binary.LittleEndian.PutUint16(b, 0x144d)
	binary.LittleEndian.PutUint16(b[2:], 0x1028)
	copy(b[4:24], "S5XDNA0R101010"+strings.Repeat(" ", 20))
	copy(b[24:64], "Dell Ent NVMe AGN RI U.2 1.92TB"+strings.Repeat(" ", 40))
	copy(b[64:72], "2.1.8   ")
	copy(b[73:76], []byte{0x38, 0x25, 0x00})
	binary.LittleEndian.PutUint16(b[78:], 0x41)
	binary.LittleEndian.PutUint32(b[80:], 0x00010300)
	copy(b[112:], []byte{1, 2, 3})
	copy(b[768:], "nqn.1994-11.com.samsung:nvme:PM1733:2.5-inch:S5XDNA0R101010\x00rest")
	return b
}

func TestParse(t *testing.T) {
	c, err := Parse(identify())
	require.NoError(t, err)
	require.Empty(t, c.Problems)
	require.EqualValues(t, 0x144d, c.Vendor)
	require.EqualValues(t, 0x1028, c.SubsystemVendor)
	require.EqualValues(t, 0x002538, c.OUI, "the least significant byte comes first")
	require.Equal(t, "S5XDNA0R101010      ", c.Serial)
	require.True(t, strings.HasPrefix(c.Model, "Dell Ent NVMe AGN RI U.2 1.92TB "))
	require.Equal(t, "2.1.8   ", c.Firmware)
	require.EqualValues(t, 0x41, c.ID)
	require.EqualValues(t, 1, c.GUID[0])
	require.Equal(t, "nqn.1994-11.com.samsung:nvme:PM1733:2.5-inch:S5XDNA0R101010", c.NQN)
}

func TestWhatIsOddIsTold(t *testing.T) {
	for _, n := range []int{0, 1, Size - 1, Size + 1} {
		_, err := Parse(make([]byte, n))
		require.ErrorIs(t, err, ErrLength)
	}
	b := identify()
	b[4], b[30], b[0], b[1] = 0x07, 0xc3, 0, 0
	c, err := Parse(b)
	require.NoError(t, err)
	require.Equal(t, []Problem{{4, "serial number has the byte 07"}, {30, "model number has the byte c3"}, {0, "vendor id 0000"}}, c.Problems)
	for i := range nqnBytes {
		b[nqnOffset+i] = 'n'
	}
	c, err = Parse(b)
	require.NoError(t, err)
	require.Len(t, c.NQN, nqnBytes, "a name without an end stays inside its field")
}

func FuzzParse(f *testing.F) {
	f.Add(identify())
	f.Add(make([]byte, Size))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := Parse(b)
		if err != nil {
			require.Nil(t, c)
			return
		}
		require.Len(t, c.Serial, SerialLength)
		require.Len(t, c.Model, ModelLength)
		require.Len(t, c.Firmware, FirmwareLength)
		require.Less(t, c.OUI, uint32(1<<24))
		require.LessOrEqual(t, len(c.Problems), 4)
		for _, p := range c.Problems {
			require.Less(t, p.Offset, Size)
		}
	})
}
