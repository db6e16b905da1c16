package firmware

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fmap"
)

// image opens a recorded image of the corpus.
func recorded(t testing.TB, dir, name string) []byte {
	t.Helper()
	p := filepath.Join("..", "..", "shared", "corpus", "firmware", dir, name)
	if _, err := os.Stat(p); err != nil {
		t.Skip("needs ../shared/corpus/firmware/" + dir + "/" + name)
	}
	return corpusFile(t, p)
}

func TestCorebootImage(t *testing.T) {
	b := recorded(t, "coreboot", "fiano-coreboot.rom")
	m := Parse("bios", b)
	requirePartition(t, m)
	l := leafAt(t, m, "image/BIOS/COREBOOT/fallback/romstage")
	require.Equal(t, "stage", l.Type)
	require.Equal(t, Code, l.Kind)
	b[0x300] ^= 1
	c := compare(draft(recorded(t, "coreboot", "fiano-coreboot.rom")), b)
	require.Equal(t, map[string]finding.Code{"firmware:bios/image/BIOS/COREBOOT/fallback/romstage": finding.CodeRegionDiffers}, told(c.Findings))
}

func TestMapThatCannotBeFollowedIsSaid(t *testing.T) {
	m := Parse("bios", recorded(t, "coreboot", "fiano-fmap-fake_test.flash"))
	requirePartition(t, m)
	require.Len(t, m.Inside(), 1)
	require.Equal(t, finding.ParsersDisagree, m.Inside()[0].Code)
}

func TestAreasInsideEachOther(t *testing.T) {
	tree, bad := nest([]fmap.Area{{Name: "B", Offset: 4, Length: 4}, {Name: "ALL", Length: 16}, {Name: "A", Length: 4}, {Name: "IN", Offset: 5, Length: 2}}, 0, 16)
	require.Nil(t, bad)
	require.Len(t, tree, 1)
	require.Len(t, tree[0].inside, 2)
	require.Equal(t, "IN", tree[0].inside[1].inside[0].name)
	_, bad = nest([]fmap.Area{{Name: "A", Length: 8}, {Name: "B", Offset: 4, Length: 8}}, 0, 16)
	require.Equal(t, "B", bad.name)
	_, bad = nest([]fmap.Area{{Name: "A", Offset: 4, Length: 16}}, 0, 16)
	require.Equal(t, "A", bad.name)
	tree, bad = nest([]fmap.Area{{Name: "ALL", Length: 64}, {Name: "A", Offset: 32, Length: 4}, {Name: "OTHER", Length: 8}}, 32, 16)
	require.Nil(t, bad)
	require.Equal(t, "A", tree[0].name)
	require.Len(t, tree, 1)
}

// One bit of the boot loader and a payload in the room behind a file system.
func TestTamperedManagementController(t *testing.T) {
	refs := DraftReferences(nil, []*Image{Parse("bmc", recorded(t, "bmc", "synthetic-openbmc-static-32M.static.mtd.xz"))})
	m := Parse("bmc", recorded(t, "bmc", "synthetic-openbmc-static-32M.evil.mtd.xz"))
	requirePartition(t, m)
	c := Match(refs, []*Image{m}, nil)
	require.Equal(t, map[string]finding.Code{
		"firmware:bmc/image/start+gap": finding.BMCFirmwareDiffers, "firmware:bmc/image/squashfs+gap": finding.BMCFirmwareDiffers,
	}, told(c.Findings))
}

func TestMegaRACModules(t *testing.T) {
	m := Parse("bmc", recorded(t, "bmc", "synthetic-megarac-fmh-8M.ima.xz"))
	requirePartition(t, m)
	for _, n := range []string{"boot", "conf", "root", "osimage", "www"} {
		require.Equal(t, typePart, leafAt(t, m, "image/module:"+n).Type)
	}
}

// An update as vendors give it out is compared by the modules in it.
func TestCapsuleAroundAnImage(t *testing.T) {
	wrap := func(image []byte) []byte {
		h := append(guidBytes("3B6686BD-0D76-4030-B70E-B5519E2FC5A0"), make([]byte, 12)...)
		binary.LittleEndian.PutUint32(h[16:], 28)
		binary.LittleEndian.PutUint32(h[24:], uint32(28+len(image)))
		return append(h, image...)
	}
	one := wrap(nested(named(driverA, "FirstDxe", "one")))
	m := Parse("bios", one)
	requirePartition(t, m)
	require.Equal(t, "capsule/header", m.Leaves[0].Path)
	require.Equal(t, "FirstDxe", leafAt(t, m, inner+"/"+driverA).Name)
	require.Equal(t, map[string]string{"FirstDxe": "changed"}, what(diff(one, wrap(nested(named(driverA, "FirstDxe", "two"))))))
	requirePartition(t, Parse("bios", append(one, "behind the capsule"...)))
}
