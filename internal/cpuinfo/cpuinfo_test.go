package cpuinfo

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func lab(t testing.TB) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/lab.cpuinfo")
	require.NoError(t, err)
	return b
}

func parse(t testing.TB, text string) *Info {
	t.Helper()
	i, err := Parse([]byte(text))
	require.NoError(t, err)
	return i
}

func TestLabGuest(t *testing.T) {
	b := lab(t)
	i := parse(t, string(b))
	require.True(t, i.Hypervisor)
	require.NotEmpty(t, i.Sockets)
	s := i.Sockets[0]
	require.Equal(t, "AuthenticAMD", s.Vendor)
	require.Equal(t, []int{23, 49, 0}, []int{s.Family, s.Model, s.Stepping})
	require.Equal(t, "0x1000065", s.Microcode)
	require.EqualValues(t, 0x00830f10, s.Signature())
	require.True(t, strings.HasPrefix(string(b[s.Offset:s.Offset+s.Length]), "processor"))
	require.Contains(t, string(b[s.Offset:s.Offset+s.Length]), s.Brand)
}

func cpu(n, socket, core int, more string) string {
	return fmt.Sprintf("processor\t: %d\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 158\nmodel name\t: X\nstepping\t: 10\nmicrocode\t: 0xf4\nphysical id\t: %d\ncore id\t\t: %d\n%s\n", n, socket, core, more)
}

func TestSocketsAndCores(t *testing.T) {
	i := parse(t, cpu(0, 1, 0, "")+cpu(1, 1, 1, "")+cpu(2, 1, 0, "")+cpu(3, 0, 0, ""))
	require.Empty(t, i.Problems)
	require.False(t, i.Hypervisor)
	require.Equal(t, 4, i.Logical)
	require.Equal(t, []int{0, 1}, []int{i.Sockets[0].ID, i.Sockets[1].ID})
	require.Equal(t, []int{1, 2}, []int{i.Sockets[0].Cores, i.Sockets[1].Cores})
	require.Equal(t, 3, i.Sockets[1].Logical)
	require.EqualValues(t, 0x906ea, i.Sockets[0].Signature())
}

// Logical processors of one socket with different microcode or brand cannot be
// one chip in a sane state.
func TestMixedSocket(t *testing.T) {
	i := parse(t, cpu(0, 0, 0, "")+cpu(1, 0, 1, "microcode\t: 0xf6\nmodel name\t: Y\n"))
	require.Len(t, i.Problems, 2)
	require.Contains(t, i.Problems[0].What, `brand "Y" differs from "X"`)
	require.Positive(t, i.Problems[0].Offset)
}

func TestArm(t *testing.T) {
	i := parse(t, "processor\t: 0\nBogoMIPS\t: 50\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\nCPU revision\t: 1\n\nHardware\t: Board\n")
	s := i.Sockets[0]
	require.Equal(t, "0x41", s.Vendor)
	require.Equal(t, []int{8, 0xd0c, 0x31}, []int{s.Family, s.Model, s.Stepping})
	require.Equal(t, "Board", i.Hardware)
}

func TestSignatures(t *testing.T) {
	for eax, want := range map[uint32][3]int{
		0x000906ea: {6, 158, 10}, 0x00830f10: {23, 49, 0}, 0x000806c1: {6, 140, 1}, 0x00100f43: {16, 4, 3}, 0x00000f4a: {15, 4, 10}, 0x00050654: {6, 85, 4},
	} {
		f, m, s := FromSignature(eax)
		require.Equal(t, want, [3]int{f, m, s}, "%08x", eax)
		require.Equal(t, eax, Socket{Family: f, Model: m, Stepping: s}.Signature())
	}
	rapid.Check(t, func(t *rapid.T) {
		f := rapid.SampledFrom([]int{6, 15, 16, 23, 25, 26, 100}).Draw(t, "family")
		m, s := rapid.IntRange(0, 255).Draw(t, "model"), rapid.IntRange(0, 15).Draw(t, "stepping")
		gf, gm, gs := FromSignature(Socket{Family: f, Model: m, Stepping: s}.Signature())
		require.Equal(t, []int{f, m, s}, []int{gf, gm, gs})
	})
}

func TestNoProcessor(t *testing.T) {
	for _, s := range []string{"", "\n\n", "Hardware: x\n", ":\n"} {
		_, err := Parse([]byte(s))
		require.ErrorIs(t, err, ErrEmpty)
	}
	i := parse(t, "processor : 0\nphysical id : -5\nmodel : 99999999999999\n"+strings.Repeat("x", 1<<21))
	require.Equal(t, 0, i.Sockets[0].ID)
	require.NotEmpty(t, i.Problems, "a line without end is reported")
}

// Hosts with up to 128 logical processors, old and new.
func TestRealHosts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "shared", "corpus", "hardware", "sysfs", "hwloc-linux", "*.tar.bz2"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("needs ../shared/corpus/hardware/sysfs/hwloc-linux")
	}
	for _, file := range files {
		f, err := os.Open(file)
		require.NoError(t, err)
		defer f.Close()
		r := tar.NewReader(bzip2.NewReader(f))
		for {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, file)
			if path.Base(h.Name) != "cpuinfo" {
				continue
			}
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			i, err := Parse(b)
			require.NoError(t, err, file)
			require.Equal(t, bytes.Count(b, []byte("\nprocessor\t"))+1, i.Logical, file)
			t.Logf("%s: %d sockets, %d logical, %s %s, problems %v", filepath.Base(file), len(i.Sockets), i.Logical, i.Sockets[0].Vendor, i.Sockets[0].Brand, i.Problems)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(lab(f))
	f.Add([]byte(cpu(0, 0, 0, "") + cpu(1, 1, 1, "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		i, err := Parse(b)
		if err != nil {
			return
		}
		n := 0
		for _, s := range i.Sockets {
			require.LessOrEqual(t, s.Offset+s.Length, len(b))
			require.LessOrEqual(t, s.Cores, s.Logical)
			n += s.Logical
		}
		require.Equal(t, i.Logical, n)
	})
}
