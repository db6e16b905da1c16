package firmware

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

func diff(a, b []byte) []Change { return Diff(Parse("bios", a), Parse("bios", b)) }

// what reduces changes to what is asked about most.
func what(cs []Change) map[string]string {
	m := map[string]string{}
	for _, c := range cs {
		m[c.Name] = c.Change
	}
	return m
}

func TestDiffNamesTheModule(t *testing.T) {
	one, two := named(driverA, "FirstDxe", "one"), named(driverB, "SecondDxe", "two")
	base := nested(one, two)
	require.Empty(t, diff(base, base))

	cs := diff(base, nested(one, named(driverB, "SecondDxe", "TWO, and longer than before")))
	require.Equal(t, map[string]string{"SecondDxe": "changed"}, what(cs))
	require.Equal(t, []string{"pe32"}, cs[0].Sections)
	require.Equal(t, inner+"/"+driverB, cs[0].Path)

	require.Equal(t, map[string]string{"ImplantDxe": "added"}, what(diff(base, nested(one, two, named(driverC, "ImplantDxe", "x")))))
	require.Equal(t, map[string]string{"SecondDxe": "removed"}, what(diff(base, nested(one))))
	require.Equal(t, map[string]string{"FvMainCompactImage": "repacked"}, what(diff(base, nested(two, one))), "only the order differs")
}

func TestDiffSeesAModuleMoveToAnotherVolume(t *testing.T) {
	a, b := named(driverA, "FirstDxe", "one"), named(driverB, "SecondDxe", "two")
	volumes := func(first, second []byte) []byte {
		return append(buildVolume(string(ffs.FileSystem2), 0x400, first), buildVolume(string(ffs.FileSystem3), 0x400, second)...)
	}
	cs := diff(volumes(append(bytes.Clone(a), b...), nil), volumes(a, b))
	require.Len(t, cs, 1)
	require.Equal(t, "moved", cs[0].Change)
	require.Equal(t, string(ffs.FileSystem2)+"/"+driverB, cs[0].From)
	require.Equal(t, string(ffs.FileSystem3)+"/"+driverB, cs[0].Path)
}

func TestDiffListsVariables(t *testing.T) {
	b := board()
	copy(b[0x200:], "another boot entry")
	cs := diff(board(), b)
	require.Len(t, cs, 1)
	require.Equal(t, Volatile, cs[0].Kind)
}

func TestImagesWithOtherBytesAlwaysDiffer(t *testing.T) {
	base := nested(named(driverA, "FirstDxe", "one"), named(driverB, "SecondDxe", "two"))
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(base)
		b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		require.NotEmpty(t, diff(base, b))
		require.True(t, foreign(compare(draft(base), b)))
	})
}

// The manifest names what is inside, and only that is reported.
func TestChangedModuleInsideIsTheOnlyFinding(t *testing.T) {
	one, two := named(driverA, "FirstDxe", "one"), named(driverB, "SecondDxe", "two")
	refs := draft(nested(one, two))
	require.Empty(t, compare(refs, nested(one, two)).Findings)

	for name, tt := range map[string]struct {
		img  []byte
		path string
	}{
		"changed": {nested(one, named(driverB, "SecondDxe", "TWO and more")), inner + "/" + driverB},
		"added":   {nested(one, two, named(driverC, "ImplantDxe", "x")), inner + "/" + driverC},
		"removed": {nested(one), inner + "/" + driverB},
	} {
		t.Run(name, func(t *testing.T) {
			c := compare(refs, tt.img)
			require.Equal(t, map[string]finding.Code{"firmware:bios/" + tt.path: finding.CodeRegionDiffers}, told(c.Findings))
			require.Equal(t, "firmware/bios.rom", c.Findings[0].Basis[0].Artifact)
			require.Positive(t, c.Findings[0].Basis[0].Length)
		})
	}
	require.Contains(t, told(compare(refs, nested(two, one)).Findings), "firmware:bios/"+outer, "the same modules packed otherwise are other bytes")
}

// A module that grows takes from the pad file behind it; what is hidden in a
// pad file is another matter.
func TestPadFileThatShrinksIsNoFindingOfItsOwn(t *testing.T) {
	pad := func(n int, hidden string) []byte {
		return buildFile("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", byte(ffs.Pad), append(bytes.Repeat([]byte{0xff}, n), hidden...))
	}
	img := func(text string, n int, hidden string) []byte {
		return nested(named(driverA, "FirstDxe", text), pad(n, hidden), named(driverB, "SecondDxe", "two"))
	}
	refs := draft(img("one", 100, ""))
	require.Equal(t, map[string]finding.Code{"firmware:bios/" + inner + "/" + driverA: finding.CodeRegionDiffers},
		told(compare(refs, img("one and more", 92, "")).Findings))
	require.Equal(t, map[string]finding.Code{"firmware:bios/" + inner + "/" + driverA + "+pad": finding.ForeignBytes},
		told(compare(refs, img("one", 92, "payload!")).Findings))
	require.Len(t, diff(img("one", 100, ""), img("one and more", 92, "")), 1)
}

// Who replaces a volume by a stream that no one expands hides no difference.
func TestStreamThatStaysClosedDiffersAsAWhole(t *testing.T) {
	base := nested(named(driverA, "FirstDxe", "one"))
	at := bytes.Index(base, guidBytes(guidLZMA)) + 20
	bomb := bytes.Clone(base)
	copy(bomb[at+5:], []byte{0, 0, 0, 0, 0, 1, 0, 0})
	require.Equal(t, map[string]finding.Code{
		"firmware:bios/" + outer: finding.CodeRegionDiffers, "firmware:bios/" + outer + "/guided": finding.InputBomb,
	}, told(compare(draft(base), bomb).Findings))
}

// A manifest that was made before contents were declared still works.
func TestManifestWithoutContentsComparesTheWhole(t *testing.T) {
	refs := draft(nested(named(driverA, "FirstDxe", "one")))
	for i := range refs[0].Leaves {
		l := &refs[0].Leaves[i]
		l.Inside, l.Type, l.Name = nil, "", ""
	}
	require.Empty(t, compare(refs, nested(named(driverA, "FirstDxe", "one"))).Findings)
	c := compare(refs, nested(named(driverA, "FirstDxe", "two")))
	require.Equal(t, finding.CodeRegionDiffers, told(c.Findings)["firmware:bios/"+outer])
}

// Whatever is done to one driver of a compressed volume, it is the one that is
// named, by a manifest and by a comparison of two images.
func TestOnlyTheDriverThatWasTouchedIsNamed(t *testing.T) {
	guid := func(i int) string { return fmt.Sprintf("%08X-1111-4111-8111-111111111111", i) }
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.SliceOfN(rapid.StringN(1, 40, 60), 2, 8).Draw(t, "drivers")
		at := rapid.IntRange(0, len(texts)-1).Draw(t, "which")
		var before, after [][]byte
		for i, s := range texts {
			f := named(guid(i), fmt.Sprintf("Driver%dDxe", i), s)
			before = append(before, f)
			if i != at {
				after = append(after, f)
			}
		}
		touched := guid(at)
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 1:
			after = slices.Insert(after, at, named(touched, "Driver", texts[at]+rapid.StringN(1, 40, 60).Draw(t, "more")))
		case 2:
			touched = guid(99)
			after = slices.Insert(slices.Clone(before), at, named(touched, "ImplantDxe", "implant"))
		}
		a, b := nested(before...), nested(after...)
		require.Equal(t, map[string]finding.Code{"firmware:bios/" + inner + "/" + touched: finding.CodeRegionDiffers}, told(compare(draft(a), b).Findings))
		cs := diff(a, b)
		require.Len(t, cs, 1)
		require.Equal(t, inner+"/"+touched, cs[0].Path)
	})
}
