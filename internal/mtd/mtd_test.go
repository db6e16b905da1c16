package mtd

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"
)

func corpus(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "bmc", name))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/bmc/" + name)
	}
	defer f.Close()
	r, err := xz.NewReader(f)
	require.NoError(t, err)
	b, err := io.ReadAll(io.LimitReader(r, 64<<20))
	require.NoError(t, err)
	return b
}

// Images in the layouts of OpenBMC and of AMI's MegaRAC.
func TestRecordedLayouts(t *testing.T) {
	require.Equal(t, []Part{
		{Kind: "env", Offset: 0x60000, Length: 0x20000, Writable: true}, // erased: the layout says where it is
		{Kind: "fdt", Offset: 0x80000, Length: 0x93018},
		{Kind: "squashfs", Offset: 0x4c0000, Length: 0x53a6},
		{Kind: "rwfs", Offset: 0x1c00000, Length: 0x400000, Writable: true},
	}, Parse(corpus(t, "synthetic-openbmc-static-32M.static.mtd.xz")))
	ubi := corpus(t, "synthetic-openbmc.ubi.xz")
	require.Equal(t, []Part{{Kind: "ubi", Length: len(ubi), Writable: true}}, Parse(ubi))
	require.Equal(t, []Part{
		{Kind: "module", Name: "boot", Offset: 0, Length: 0x80000, Header: 0x70000, BodyLength: 0x476a4},
		{Kind: "module", Name: "conf", Offset: 0x80000, Length: 0x40000, Writable: true, Body: 64, BodyLength: 0x1a8},
		{Kind: "module", Name: "root", Offset: 0xc0000, Length: 0x400000, Body: 64, BodyLength: 0x6000},
		{Kind: "module", Name: "osimage", Offset: 0x4c0000, Length: 0x200000, Body: 64, BodyLength: 0x927c0},
		{Kind: "module", Name: "www", Offset: 0x6c0000, Length: 0x100000, Body: 64, BodyLength: 0x6000},
	}, Parse(corpus(t, "synthetic-megarac-fmh-8M.ima.xz")))
}

func uimage(n int) []byte {
	b := make([]byte, 64+n)
	binary.BigEndian.PutUint32(b, 0x27051956)
	binary.BigEndian.PutUint32(b[12:], uint32(n))
	binary.BigEndian.PutUint32(b[4:], crc32.ChecksumIEEE(b[:64]))
	return b
}

func tree(n int) []byte {
	b := make([]byte, n)
	binary.BigEndian.PutUint32(b, 0xd00dfeed)
	binary.BigEndian.PutUint32(b[4:], uint32(n))
	binary.BigEndian.PutUint32(b[20:], 17)
	return b
}

func TestPartsDoNotOverlap(t *testing.T) {
	b := make([]byte, 8*block)
	copy(b, uimage(2*block)) // reaches into the third block
	copy(b[block:], tree(64))
	copy(b[3*block:], tree(block+1))
	require.Equal(t, []Part{{Kind: "uimage", Length: 64 + 2*block}, {Kind: "fdt", Offset: 3 * block, Length: block + 1}}, Parse(b))
}

func TestHeadersThatDoNotHold(t *testing.T) {
	long := tree(64)
	binary.BigEndian.PutUint32(long[4:], 1<<30)
	old := tree(64)
	old[23] = 3
	broken := uimage(10)
	broken[20]++
	for name, b := range map[string][]byte{
		"longer than the flash": long, "other version": old, "checksum": broken, "magic alone": []byte("hsqs"), "node": {0x85, 0x19},
		"module": []byte("$MODULE$\x01"), "ubi": []byte("UBI#"),
	} {
		require.Empty(t, Parse(append(bytes.Clone(b), make([]byte, 128)...)), name)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(append(uimage(100), tree(64)...))
	f.Add(append(make([]byte, block), tree(64)...))
	f.Add([]byte("$MODULE$"))
	f.Fuzz(func(t *testing.T, b []byte) {
		end := 0
		for _, p := range Parse(b) {
			if p.Offset < end || p.Length <= 0 || p.Offset+p.Length > len(b) {
				t.Fatalf("part %v in %d bytes", p, len(b))
			}
			end = p.Offset + p.Length
		}
	})
}
