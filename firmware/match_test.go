package firmware

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

func draft(b []byte) []Reference { return DraftReferences(nil, []*Image{Parse("bios", b)}) }

func compare(refs []Reference, b []byte) *Comparison {
	return Match(refs, []*Image{Parse("bios", b)}, nil)
}

// told maps the subjects of findings to their codes.
func told(fs []finding.Finding) map[string]finding.Code {
	m := map[string]finding.Code{}
	for _, f := range fs {
		m[f.Subject] = f.Code
	}
	return m
}

func TestSameBytesGiveNoFinding(t *testing.T) {
	c := compare(draft(board()), board())
	require.Empty(t, c.Findings)
	require.Empty(t, c.NotChecked)
	require.Equal(t, c.Coverage[0].Declared, c.Coverage[0].Matched)
	require.Equal(t, int64(len(board())), c.Coverage[0].Compared+c.Coverage[0].Volatile)
}

func TestVariablesMayChange(t *testing.T) {
	b := board()
	copy(b[0x200:], "another boot entry")
	require.Empty(t, compare(draft(board()), b).Findings)
}

func TestPatchedDriverIsNamed(t *testing.T) {
	got := board(driver(driverA, "first driveR"), buildFile(logo, byte(ffs.Freeform), []byte("logo")), driver(driverB, "second driver!"))
	c := compare(draft(board()), got)
	require.Len(t, c.Findings, 1)
	f := c.Findings[0]
	require.Equal(t, finding.CodeRegionDiffers, f.Code)
	require.Equal(t, "firmware:bios/"+string(ffs.FileSystem2)+"/"+driverA, f.Subject)
	require.Equal(t, finding.Critical, f.Severity)
	require.Equal(t, finding.Proven, f.Confidence)
	require.Equal(t, []finding.Source{finding.PartMemory}, f.Sources)
	require.Equal(t, "firmware/bios.rom", f.Basis[0].Artifact)
	require.Equal(t, int64(ffs.FileHeader+12), f.Basis[0].Length)
}

func TestAddedAndRemovedDriversAreNamed(t *testing.T) {
	want := board(driver(driverA, "a"), driver(driverB, "b"))
	added := compare(draft(want), board(driver(driverA, "a"), driver(driverB, "b"), driver(driverC, "implant")))
	require.Equal(t, finding.CodeRegionDiffers, told(added.Findings)["firmware:bios/"+string(ffs.FileSystem2)+"/"+driverC])
	removed := compare(draft(want), board(driver(driverA, "a")))
	require.Equal(t, finding.CodeRegionDiffers, told(removed.Findings)["firmware:bios/"+string(ffs.FileSystem2)+"/"+driverB])
}

func TestBytesThatMeasuredBootDoesNotSee(t *testing.T) {
	tests := map[string]struct {
		edit    func([]byte)
		subject string
	}{
		"free space of a volume":  {func(b []byte) { b[0x4000+0x800] = 0x90 }, string(ffs.FileSystem2) + "/" + driverB + "+free"},
		"gap between two volumes": {func(b []byte) { b[0x5000+0x10] = 0x90 }, string(ffs.FileSystem2) + "+gap"},
		"gap after a file":        {func(b []byte) { b[0x4000+72+36] = 0 }, string(ffs.FileSystem2) + "/" + driverA + "+gap"},
		"freeform file":           {func(b []byte) { b[0x4000+72+40+24] = 'L' }, string(ffs.FileSystem2) + "/" + logo},
		"zero vector of a volume": {func(b []byte) { b[0x4000] = 0xe9 }, string(ffs.FileSystem2) + "/header"},
		"log area of the store":   {func(b []byte) { b[0x900] = 0x90 }, string(ffs.SystemNVData) + "/store+gap"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := board()
			tt.edit(b)
			if name == "zero vector of a volume" { // keep the header's checksum
				b[0x4000+1] = 0
				b[0x4000+2] = 0x17 // 0x00e9 + 0xff17 = 0
				b[0x4000+3] = 0xff
			}
			require.Equal(t, map[string]finding.Code{"firmware:bios/" + tt.subject: finding.ForeignBytes}, told(compare(draft(board()), b).Findings))
		})
	}
}

func TestExecutableAmongVariables(t *testing.T) {
	for name, image := range map[string][]byte{"PE": peImage(), "TE": teImage()} {
		t.Run(name, func(t *testing.T) {
			b := board()
			copy(b[0x300:], image)
			c := compare(draft(board()), b)
			require.Equal(t, map[string]finding.Code{"firmware:bios/" + string(ffs.SystemNVData) + "/store": finding.ForeignBytes}, told(c.Findings))
			require.Equal(t, int64(0x300), c.Findings[0].Basis[0].Offset)
			require.Empty(t, compare(draft(b), b).Findings, "the reference unit had it too")
		})
	}
	b := board()
	copy(b[0x300:], "MZ is also a word and so is VZ")
	require.Empty(t, compare(draft(board()), b).Findings)
}

func TestExecutableInFreeSpaceIsSaid(t *testing.T) {
	b := board()
	copy(b[0x4000+0x800:], peImage())
	require.Contains(t, compare(draft(board()), b).Findings[0].Why, "executable image at offset 0x4800")
}

// Someone who enlarges the variable store makes room where nothing is compared.
func TestVolatileRangeCannotGrow(t *testing.T) {
	b := board()
	b[72+17] = 0x0c // 0x800 to 0xc00
	require.Contains(t, told(compare(draft(board()), b).Findings), "firmware:bios/"+string(ffs.SystemNVData)+"/store")
}

func TestMovedDriversAreNamed(t *testing.T) {
	a, b := driver(driverA, "a"), driver(driverB, "b")
	c := compare(draft(board(a, b)), board(b, a))
	require.NotEmpty(t, c.Findings)
	for _, f := range c.Findings {
		require.NotEqual(t, finding.CodeRegionDiffers, f.Code, "%s has its declared bytes", f.Subject)
	}
	tight := func(files ...[]byte) []byte {
		body := slices.Concat(files...)
		return buildVolume(string(ffs.FileSystem2), 72+len(body), body)
	}
	c = compare(draft(tight(a, b, driver(driverC, "c"))), tight(b, a, driver(driverC, "c")))
	require.Equal(t, map[string]finding.Code{"firmware:bios": finding.ImageDiffers}, told(c.Findings))
	require.Contains(t, c.Findings[0].Why, driverA+" (0x68, declared 0x48)")
}

func TestOtherSizeIsAnotherPart(t *testing.T) {
	c := compare(draft(board()), append(board(), bytes.Repeat([]byte{0xff}, 0x1000)...))
	require.Equal(t, finding.FlashPartDiffers, told(c.Findings)["firmware:bios"])
}

func TestDigestOnlyReference(t *testing.T) {
	refs := draft(board())
	refs[0].Leaves = nil
	require.Empty(t, compare(refs, board()).Findings)
	b := board()
	b[0x5010] = 0
	require.Equal(t, map[string]finding.Code{"firmware:bios": finding.ImageDiffers}, told(compare(refs, b).Findings))
	refs[0].SHA256 = ""
	require.Equal(t, []NotChecked{{"firmware:bios", "the manifest declares no digest of this image"}}, compare(refs, b).NotChecked)
}

func TestVersionLabels(t *testing.T) {
	m := Parse("bios", board())
	other := board()
	other[0x5010] = 0
	refs := DraftReferences(map[string]string{"bios": "1.10"}, []*Image{m})
	refs[0].MinVersion = "1.9"
	match := func(b []byte, version string) []finding.Finding {
		return Match(refs, []*Image{Parse("bios", b)}, map[string]string{"bios": version}).Findings
	}
	require.Empty(t, match(board(), "1.10"))
	require.Equal(t, finding.SameVersionOtherBytes, told(match(other, "1.10"))["firmware:bios"])
	require.Equal(t, finding.UnknownFirmware, told(match(board(), "1.11"))["firmware:bios"])
	codes := []finding.Code{}
	for _, f := range match(board(), "1.08") {
		codes = append(codes, f.Code)
	}
	require.Equal(t, []finding.Code{finding.UnknownFirmware, finding.FirmwareTooOld}, codes)
}

func TestOlderThan(t *testing.T) {
	for _, p := range [][2]string{{"1.9", "1.10"}, {"1.9a", "1.9b"}, {"2.0", "2.0.1"}, {"A9", "A10"}, {"01.02", "1.3"}} {
		require.True(t, OlderThan(p[0], p[1]), p)
		require.False(t, OlderThan(p[1], p[0]), p)
	}
	require.False(t, OlderThan("1.010", "1.10"))
}

func TestEitherOfTwoAllowedVersions(t *testing.T) {
	old, fresh := board(driver(driverA, "old")), board(driver(driverA, "new"))
	refs := DraftReferences(nil, []*Image{Parse("bios", old)}, []*Image{Parse("bios", fresh)})
	require.Len(t, refs, 2)
	require.Empty(t, compare(refs, old).Findings)
	require.Empty(t, compare(refs, fresh).Findings)
	require.NotEmpty(t, compare(refs, board(driver(driverA, "bad"))).Findings)
}

func TestUnitsThatDifferInVariablesShareAReference(t *testing.T) {
	b := board()
	copy(b[0x300:], peImage())
	refs := DraftReferences(nil, []*Image{Parse("bios", board())}, []*Image{Parse("bios", b)})
	require.Len(t, refs, 1)
	require.Empty(t, compare(refs, b).Findings)
}

func TestImagesThatCannotBeComparedAreSaid(t *testing.T) {
	refs := draft(board())
	c := Match(refs, nil, nil)
	require.Empty(t, c.Findings)
	require.Equal(t, []NotChecked{{"firmware:bios", "not in the evidence"}}, c.NotChecked)
	require.Equal(t, len(refs[0].Leaves), c.Coverage[0].NotObservable)

	m := Parse("bios", board()[:0x4800])
	m.Reason = "the read was not complete"
	c = Match(refs, []*Image{m}, nil)
	require.Empty(t, c.Findings, "the bytes that were not read are not missing")
	require.Equal(t, []NotChecked{{"firmware:bios", "the read was not complete"}}, c.NotChecked)

	c = Match(refs, []*Image{Parse("bios", board()), Parse("bmc", []byte("x"))}, nil)
	require.Equal(t, []NotChecked{{"firmware:bmc", "the manifest declares no image of this name"}}, c.NotChecked)
}

func TestManagementControllerHasItsOwnCode(t *testing.T) {
	refs := DraftReferences(nil, []*Image{Parse("bmc", []byte("one"))})
	c := Match(refs, []*Image{Parse("bmc", []byte("two"))}, nil)
	require.Equal(t, map[string]finding.Code{"firmware:bmc/image": finding.BMCFirmwareDiffers}, told(c.Findings))
}

// foreign reports whether a comparison says that code or other bytes differ.
func foreign(c *Comparison) bool {
	return slices.ContainsFunc(c.Findings, func(f finding.Finding) bool {
		return f.Code == finding.CodeRegionDiffers || f.Code == finding.ForeignBytes
	})
}

func TestAnyByteOutsideVolatileRangesCounts(t *testing.T) {
	base := board()
	refs := draft(base)
	stable := stableOffsets(Parse("bios", base))
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(base)
		at := rapid.SampledFrom(stable).Draw(t, "offset")
		b[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "bits"))
		require.True(t, foreign(compare(refs, b)), "byte 0x%x", at)
	})
}

func stableOffsets(m *Image) []int64 {
	var out []int64
	for _, l := range m.Leaves {
		for i := int64(0); l.Kind != Volatile && i < l.Length; i++ {
			out = append(out, l.Offset+i)
		}
	}
	return out
}

// An incomplete read proves nothing, but what it holds still speaks.
func TestIncompleteReadStillShowsADifference(t *testing.T) {
	refs := draft(board())
	m := Parse("bios", board())
	m.Reason = "the read was not complete"
	require.Empty(t, Match(refs, []*Image{m}, nil).Findings)

	code := slices.IndexFunc(m.Leaves, func(l Leaf) bool { return l.Kind == Code })
	b := board()
	b[m.Leaves[code].Offset+m.Leaves[code].Length/2] ^= 1
	m = Parse("bios", b)
	m.Reason = "the read was not complete"
	c := Match(refs, []*Image{m}, nil)
	require.NotEmpty(t, c.Findings)
	for _, f := range c.Findings {
		require.Equal(t, finding.Weak, f.Confidence)
	}

	unread := board()
	for i := range m.bytes(m.Leaves[code]) {
		unread[int(m.Leaves[code].Offset)+i] = 0xff
	}
	m = Parse("bios", unread)
	m.Reason = "the read was not complete"
	require.Empty(t, Match(refs, []*Image{m}, nil).Findings, "bytes that were not read are no difference")
}

// A digest of the file that the vendor ships stands for the whole image.
func TestDigestOfTheShippedFile(t *testing.T) {
	b := []byte("a device's firmware")
	image := Parse("nic", b)
	ref := Reference{Name: "nic", Version: "1.0", Digests: map[string]string{"sha384": shippedSum(crypto.SHA384, b), "sha512": shippedSum(crypto.SHA512, b)}}
	c := Match([]Reference{ref}, []*Image{image}, map[string]string{"nic": "1.0"})
	require.Empty(t, c.Findings)
	require.Empty(t, c.NotChecked)
	require.Equal(t, int64(len(b)), c.Coverage[0].Compared)
	c = Match([]Reference{ref}, []*Image{Parse("nic", append(b, 0))}, map[string]string{"nic": "1.0"})
	require.Equal(t, finding.SameVersionOtherBytes, told(c.Findings)["firmware:nic"])
	require.Len(t, c.Findings, 2)
	require.Equal(t, finding.ImageDiffers, c.Findings[0].Code)
	ref.Digests = map[string]string{"md5": "00"}
	c = Match([]Reference{ref}, []*Image{image}, nil)
	require.NotEmpty(t, c.NotChecked, "a digest that cannot be computed proves nothing")
}

func shippedSum(h crypto.Hash, b []byte) string {
	sum := h.New()
	sum.Write(b)
	return hex.EncodeToString(sum.Sum(nil))
}
