package gpt

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func example() Table {
	return Table{
		Disk: GUID{1, 2, 3, 4, 5, 6, 7, 0x80, 0x90, 1, 2, 3, 4, 5, 6, 7}, Sectors: 40960,
		Partitions: []Partition{
			{Type: ESP, ID: GUID{9, 15: 1}, First: 2048, Last: 20479, Name: "BOOT"},
			{Type: Data, ID: GUID{9, 15: 2}, First: 20480, Last: 38911, Name: "DATA ü"},
		},
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	want := example()
	head, tail, err := want.Encode()
	require.NoError(t, err)
	require.Len(t, head, HeadSectors*Sector)
	require.Len(t, tail, (HeadSectors-1)*Sector)
	got, err := Parse(head)
	require.NoError(t, err)
	require.Equal(t, &want, got)
	require.Equal(t, "04030201-0605-8007-9001-020304050607", got.Disk.String())
}

func TestDamageIsFound(t *testing.T) {
	table := example()
	head, _, err := table.Encode()
	require.NoError(t, err)
	for _, at := range []int{512, 512 + 12, 512 + 16, 512 + 56, 512 + 72, 512 + 80, 1024, 1024 + 40} {
		bad := bytes.Clone(head)
		bad[at] ^= 1
		_, err := Parse(bad)
		require.Error(t, err, "byte %d", at)
	}
	for n := range len(head) {
		_, err := Parse(head[:n])
		require.Error(t, err)
	}
}

func TestAPartitionMustFit(t *testing.T) {
	for _, p := range []Partition{{First: 10, Last: 100}, {First: 2048, Last: 40950}, {First: 100, Last: 99}, {First: 100, Last: 200, Name: "a name that is much too long for an entry"}} {
		table := example()
		table.Partitions = []Partition{p}
		_, _, err := table.Encode()
		require.Error(t, err, "%+v", p)
	}
}

// Firmware hashes the header, how many entries are used, and these.
func TestMeasuredHoldsUsedEntriesOnly(t *testing.T) {
	table := example()
	head, _, err := table.Encode()
	require.NoError(t, err)
	m, err := Measured(head)
	require.NoError(t, err)
	require.Len(t, m, headSize+8+2*entrySize)
	require.Equal(t, head[Sector:Sector+headSize], m[:headSize])
	require.EqualValues(t, 2, m[headSize])
	require.Equal(t, head[2*Sector:2*Sector+2*entrySize], m[headSize+8:])
}

func TestAnotherProgramFindsTheTableSound(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin") // where Debian has it
	if _, err := exec.LookPath("sgdisk"); err != nil {
		t.Skip("needs sgdisk (Debian package gdisk)")
	}
	table := example()
	head, tail, err := table.Encode()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(file)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(head, 0)
	require.NoError(t, err)
	_, err = f.WriteAt(tail, int64(table.Sectors)*Sector-int64(len(tail)))
	require.NoError(t, err)
	out, err := exec.Command("sgdisk", "-v", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "No problems found")
}

func FuzzParse(f *testing.F) {
	table := example()
	head, _, err := table.Encode()
	require.NoError(f, err)
	f.Add(head)
	f.Add([]byte("EFI PART"))
	f.Add(append(make([]byte, Sector), head[Sector:]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := Parse(b)
		if err != nil {
			return
		}
		require.LessOrEqual(t, len(got.Partitions), maxCount)
		_, err = Measured(b)
		require.NoError(t, err)
	})
}
