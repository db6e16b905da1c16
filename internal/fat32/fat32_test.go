package fat32

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func volume(t *testing.T, files []File) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "volume")
	f, err := os.Create(name)
	require.NoError(t, err)
	defer f.Close()
	size := Size(1 << 20)
	require.NoError(t, f.Truncate(size))
	require.NoError(t, Format(f, size, "LABEL", 0x12345678, files))
	return name
}

func contents(n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(n)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

var tree = []File{
	{"EFI/BOOT/BOOTX64.EFI", contents(700_001)},
	{"README.TXT", []byte("read me\r\n")},
	{"assay.json", []byte("{}")},
	{"golden/a long name of a file with ümläuts.json", contents(512)},
	{"golden/thirteen-long", contents(513)},
	{"empty", nil},
}

// Other programs read what is written: the checker that Linux uses, and mtools.
func TestOtherProgramsReadTheVolume(t *testing.T) {
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin") // where Debian has them
	for _, p := range []string{"fsck.vfat", "mcopy"} {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("needs %s (Debian packages dosfstools and mtools)", p)
		}
	}
	name := volume(t, tree)
	out, err := exec.Command("fsck.vfat", "-n", "-V", name).CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, f := range tree {
		cmd := exec.Command("mcopy", "-n", "-i", name, "::"+f.Path, "-")
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
		got, err := cmd.Output()
		require.NoError(t, err, f.Path)
		require.True(t, bytes.Equal(f.Data, got), f.Path)
	}
}

func TestEqualFilesGiveEqualBytes(t *testing.T) {
	var sums [2]string
	for i := range sums {
		b, err := os.ReadFile(volume(t, tree))
		require.NoError(t, err)
		sums[i] = fmt.Sprintf("%x", sha256.Sum256(b))
	}
	require.Equal(t, sums[0], sums[1])
}

func TestWhatDoesNotFitIsRefused(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "volume"))
	require.NoError(t, err)
	defer f.Close()
	small := Size(0)
	for name, files := range map[string][]File{
		"more than the volume holds": {{"a", make([]byte, small)}},
		"the same name in two cases": {{"a", nil}, {"A", nil}},
		"a file that is a directory": {{"a", nil}, {"a/b", nil}},
		"out of the volume":          {{"../a", nil}},
		"a name that FAT forbids":    {{"a:b", nil}},
		"a dot at the end":           {{"a.", nil}},
		"a space at the end":         {{"d /a", nil}},
		"a control character":        {{"a\nb", nil}},
		"no Unicode text":            {{"a\xff", nil}},
		"no name":                    {{"", nil}},
		"a directory without a name": {{"d//a", nil}},
		"its own directory":          {{"d/./a", nil}},
	} {
		require.Error(t, Format(f, small, "L", 1, files), name)
	}
	require.Error(t, Format(f, 1<<20, "L", 1, nil), "too small to be FAT32")
	require.Error(t, Format(f, small, "MUCH TOO LONG", 1, nil))
}
