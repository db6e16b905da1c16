package mtd

import (
	"bytes"
	"encoding/binary"
	"fmt"
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

// aten is a flash with a table of the given lines at its end.
func aten(lines string) []byte {
	b := bytes.Repeat([]byte{0xff}, 1<<20)
	copy(b[0x10000:], "root file system")
	copy(b[0xff000:], lines)
	return b
}

func TestTableOfImages(t *testing.T) {
	sum := crc32.ChecksumIEEE([]byte("root file system"))
	line := fmt.Sprintf("[img]: 10000 10 %x root_fs\n", sum)
	require.Equal(t, []Part{{Kind: "image", Name: "root_fs", Offset: 0x10000, Length: 16}}, Parse(aten("noise "+line)))
	b := aten(line)
	b[0x10003] ^= 1
	require.Contains(t, Parse(b)[0].Damaged, "checksum")
	for _, other := range []string{"[img]: 20000 10 0 root_fs\n", "[img]: 10008 10 0 kernel\n"} {
		require.Contains(t, fmt.Sprint(Parse(aten(line+other))), "the table has image root_fs at 0x10000", other)
	}
	for _, bad := range []string{"[img]: boot    2.7 FROM 0 SIZE\n", "[img]: ffffff 10 0 far\n", "[img]: 1 2"} {
		require.Empty(t, Parse(aten(bad)), bad)
	}
}

// A module of a boot loader is found by the header at the end of its block, and
// a module's contents by their checksum.
func TestHeaderAtTheEndOfABlock(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, 0x20000)
	h := b[0x7123 : 0x7123+moduleLen] // inside of the first block
	clear(h)
	copy(h, moduleMagic)
	h[8], h[9], h[10], h[62], h[63] = 1, 5, moduleLen, 0xaa, 0x55
	binary.LittleEndian.PutUint32(h[12:], 0x10000)
	copy(h[24:], "boot")
	binary.LittleEndian.PutUint32(h[40:], 100)
	binary.LittleEndian.PutUint16(h[44:], hasChecksum)
	binary.LittleEndian.PutUint32(h[50:], crc32.ChecksumIEEE(b[:100]))
	h[23] = -sum(h)
	require.Empty(t, Parse(b))
	a := b[0x10000-alternateLen : 0x10000]
	copy(a, "\xaa\x55\x00\x00\x23\x71\x00\x00"+moduleMagic)
	a[2] = -sum(a)
	want := Part{Kind: "module", Name: "boot", Length: 0x10000, Header: 0x7123, BodyLength: 100}
	require.Equal(t, []Part{want}, Parse(b))
	b[50] ^= 1
	require.Contains(t, Parse(b)[0].Damaged, "its contents have checksum")
}

func TestWritablePartsOfOpenBMC(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, 32<<20)
	copy(b[0x80000:], tree(100))
	squash := b[0x4c0000:]
	copy(squash, "hsqs")
	binary.LittleEndian.PutUint16(squash[28:], 4)
	binary.LittleEndian.PutUint64(squash[40:], 4096)
	writable := func() (out []string) {
		for _, p := range Parse(b) {
			if p.Writable {
				out = append(out, p.Kind)
			}
		}
		return out
	}
	require.Equal(t, []string{"env", "rwfs"}, writable(), "erased")
	copy(b[0x60000:], "a boot loader that is longer")
	require.Equal(t, []string{"rwfs"}, writable())
	clear(b[0x60000:0x80000])
	copy(b[0x60004:], "bootcmd=bootm\x00")
	binary.LittleEndian.PutUint32(b[0x60000:], crc32.ChecksumIEEE(b[0x60004:0x80000]))
	require.Equal(t, []string{"env", "rwfs"}, writable())
	copy(b[0x4c0000:], "none")
	require.Equal(t, []string{"env"}, writable(), "another layout")
}

// A log-structured file system moves on through its blocks; its part stays.
func TestErasedBlocksBeforeAFileSystem(t *testing.T) {
	b := bytes.Repeat([]byte{0xff}, 8*eraseBlock)
	copy(b, uimage(1000))
	node := []byte{0x85, 0x19, 0x03, 0x20, 12, 0, 0, 0}
	sum := ^crc32.Update(0xffffffff, crc32.IEEETable, node)
	node = binary.LittleEndian.AppendUint32(node, sum)
	for _, at := range []int{1, 3, 7} {
		image := bytes.Clone(b)
		copy(image[at*eraseBlock:], node)
		ps := Parse(image)
		require.Len(t, ps, 2)
		require.Equal(t, Part{Kind: "jffs2", Offset: eraseBlock, Length: 7 * eraseBlock, Writable: true}, ps[1])
	}
}

// Every header may claim all of the flash.
func TestHeadersThatClaimEverything(t *testing.T) {
	b := make([]byte, 16<<20)
	for at := 0; at < len(b); at += block {
		binary.BigEndian.PutUint32(b[at:], 0xd00dfeed)
		binary.BigEndian.PutUint32(b[at+4:], uint32(len(b)-at))
		binary.BigEndian.PutUint32(b[at+20:], 17)
	}
	Parse(b)
	for at := 0; at < len(b); at += block {
		h := b[at : at+moduleLen]
		clear(h)
		copy(h, moduleMagic)
		h[8], h[62], h[63], h[45] = 1, 0xaa, 0x55, 1
		binary.LittleEndian.PutUint32(h[12:], uint32(len(b)))
		binary.LittleEndian.PutUint32(h[40:], uint32(len(b)))
		h[23] = -sum(h)
	}
	Parse(b)
}
