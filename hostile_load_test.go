package assay_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
)

// crowd adds n devices of each kind that evidence can claim at little cost.
func crowd(f files, n int) files {
	out := maps.Clone(f)
	table := acpiTable("SSDT", 4)
	for i := range n {
		dir := fmt.Sprintf("%s%04x:%02x:%02x.0/", pciBase, 1+i>>13, i>>5&0xff, i&0x1f)
		out[dir+"vendor"] = []byte("0x8086\n")
		out[dir+"physfn"] = []byte("0000:01:00.0\n")
		out[fmt.Sprintf("sys/firmware/acpi/tables/SSDT%d", 100+i)] = table
		out[fmt.Sprintf("sys/bus/usb/devices/9-%d.%d/idVendor", i>>8, i&0xff)] = []byte("0781\n")
		out[fmt.Sprintf("sys/class/net/e%d/path", i)] = []byte("/sys/devices/pci0000:00/0000:00:02.0/0000:01:00.0\n")
	}
	return out
}

// modules is an SMBIOS table of n memory devices in one socket.
func modules(n int) []byte {
	var b []byte
	for i := range n {
		s := make([]byte, 0x1c)
		s[0], s[1] = 17, 0x1c
		binary.LittleEndian.PutUint16(s[2:], uint16(i))
		binary.LittleEndian.PutUint16(s[0x0c:], 1024)
		s[0x10], s[0x17] = 1, 2
		b = append(b, s...)
		b = append(b, "DIMM\x00S\x00\x00"...)
	}
	return append(b, 127, 4, 0xff, 0xff, 0, 0)
}

// H06: as many parts that look alike as evidence can claim come to a verdict, and
// twice as many take no more than twice the memory, with room. What pairs them
// over each other would take hours, and its table gigabytes.
func TestH06LookAlikes(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	taken := func(c assay.Case) float64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r, err := assay.Verify(c)
		runtime.ReadMemStats(&after)
		require.NoError(t, err)
		require.Equal(t, assay.Fail, r.Verdict)
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	crowded := func(n int) assay.Case { return l.caseOf(t, crowd(machine(t, "baseline"), n)) }
	full := func(n int) assay.Case {
		return l.caseOf(t, with(machine(t, "baseline"), func(f files) { f[dmiPath] = modules(n) }))
	}
	for name, some := range map[string]func(int) assay.Case{"devices": crowded, "modules": full} {
		one, two := taken(some(4000)), taken(some(8000))
		require.Less(t, two, 3*one, "%s: %.0f and %.0f bytes", name, one, two)
	}
}

// Twice the devices must not cost four times as much: what evidence may claim is
// bounded by its size, so that its cost must be too.
func BenchmarkVerifyCrowd(b *testing.B) {
	l := newLab(b, machine(b, "baseline"))
	for _, n := range []int{5000, 10000, 18000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			c := l.caseOf(b, crowd(machine(b, "baseline"), n))
			for b.Loop() {
				r, err := assay.Verify(c)
				require.NoError(b, err)
				require.Equal(b, assay.Fail, r.Verdict)
			}
		})
	}
	b.Run("modules", func(b *testing.B) {
		c := l.caseOf(b, with(machine(b, "baseline"), func(f files) { f[dmiPath] = modules(8000) }))
		for b.Loop() {
			r, err := assay.Verify(c)
			require.NoError(b, err)
			require.Equal(b, assay.Fail, r.Verdict)
		}
	})
}
