package ifd

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// descriptor is that of a 16 MiB flash in two parts.
func descriptor(first bool) []byte {
	b := bytes.Repeat([]byte{0xff}, Size)
	put := func(at int, v uint32) { binary.LittleEndian.PutUint32(b[at:], v) }
	put(0x10, signature)
	put(0x14, 0x04<<16|1<<8|0x03)
	put(0x18, 0x08)
	component := uint32(4<<4 | 4 | 6<<17)
	if first {
		component = 4<<3 | 4
	}
	put(0x30, component)
	for i := range 16 {
		put(0x40+4*i, 0x7fff)
	}
	put(0x40, 0)
	put(0x44, 0xfff<<16|0x800)
	put(0x48, 0x7ff<<16|1)
	master := uint32(0x002<<20 | 0x003<<8)
	if first {
		master = 0x02<<24 | 0x03<<16
	}
	put(0x80, master)
	put(0x84, 0)
	put(0x88, 0)
	put(0x8c, 0)
	put(0x90, 0)
	return b
}

func TestDescriptor(t *testing.T) {
	for name, first := range map[string]bool{"first version": true, "later": false} {
		t.Run(name, func(t *testing.T) {
			d, ok := Parse(descriptor(first))
			require.True(t, ok)
			require.Equal(t, []Region{{"descriptor", 0, 0x1000}, {"me", 0x1000, 0x800000}, {"bios", 0x800000, 0x1000000}}, d.Regions)
			require.Equal(t, []int{8 << 20, 8 << 20}, d.Components)
			require.Equal(t, []Master{{"bios", []string{"descriptor", "bios"}, []string{"bios"}}}, d.Masters)
			require.True(t, d.Regions[2].HoldsBIOS())
		})
	}
	_, ok := Parse(descriptor(false)[:Size-1])
	require.False(t, ok)
	_, ok = Parse(make([]byte, Size))
	require.False(t, ok)
}

func FuzzParse(f *testing.F) {
	f.Add(descriptor(true))
	f.Add(descriptor(false))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, _ := Parse(b)
		for _, r := range d.Regions {
			if r.Start < 0 || r.End <= r.Start {
				t.Fatalf("region %v", r)
			}
		}
	})
}
