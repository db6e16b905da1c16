package firmware

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ffs"
)

// tampered is the test board with other code in the file of its reset vector.
func tampered() []byte {
	b := board()
	copy(b[bytes.Index(b, []byte("reset vector")):], "RESET")
	return b
}

// Whoever adds a reference to a manifest must not take from what another one
// shows: not an update of the same version, not one that declares nothing, not a
// digest that is not met.
func TestAlternativesAreNoLicence(t *testing.T) {
	good := board()
	whole := DraftReferences(map[string]string{"bios": "1"}, []*Image{Parse("bios", good)})
	part, _, err := VendorReference(VendorFile{Name: "bios", Version: "1", Image: Parse("bios", good[0x4000:0x5000])}, int64(len(good)))
	require.NoError(t, err)
	require.True(t, part.Partial)
	versions := map[string]string{"bios": "1"}
	want := told(Match(whole, []*Image{Parse("bios", tampered())}, versions).Findings)
	require.NotEmpty(t, want)
	for name, beside := range map[string]Reference{
		"an update of the same version": part,
		"a least version alone":         {Name: "bios", MinVersion: "0"},
		"a digest of another file":      {Name: "bios", Digests: map[string]string{"sha256": "00"}},
	} {
		t.Run(name, func(t *testing.T) {
			refs := append(slices.Clone(whole), beside)
			require.Equal(t, want, told(Match(refs, []*Image{Parse("bios", tampered())}, versions).Findings))
			require.Empty(t, told(Match(refs, []*Image{Parse("bios", good)}, versions).Findings))
			require.Equal(t, want, told(Match([]Reference{beside, whole[0]}, []*Image{Parse("bios", tampered())}, versions).Findings), "in another order")
		})
	}
}

// The update's volumes are counted from its start, those of the flash from the
// flash's.
func TestUpdateLiesAnywhereInTheFlash(t *testing.T) {
	v := func(g, s string) []byte { return buildVolume(string(ffs.FileSystem2), 0x1000, driver(g, s)) }
	up := slices.Concat(v(driverA, "one"), v(driverB, "two"))
	flash := slices.Concat(v(driverC, "board's own"), up, bytes.Repeat([]byte{0xff}, 0x400))
	part, _, err := VendorReference(VendorFile{Name: "bios", Image: Parse("bios", up)}, int64(len(flash)))
	require.NoError(t, err)
	c := Match([]Reference{part}, []*Image{Parse("bios", flash)}, nil)
	require.Empty(t, c.Findings)
	require.NotEmpty(t, c.NotChecked)
	flash[bytes.Index(flash, []byte("two"))] ^= 1
	require.Len(t, Match([]Reference{part}, []*Image{Parse("bios", flash)}, nil).Findings, 1)
}

// A reference with a digest alone says nothing of what may change: that is
// listed, and code has no place there all the same.
func TestDigestAloneLeavesVariablesOpen(t *testing.T) {
	good := board()
	refs := []Reference{{Name: "bios", SHA256: Parse("bios", good).StableSHA256()}}
	c := Match(refs, []*Image{Parse("bios", good)}, nil)
	require.Empty(t, c.Findings)
	require.Len(t, c.NotChecked, 1)
	require.Less(t, c.Coverage[0].Compared, int64(len(good)))
	evil := bytes.Clone(good)
	copy(evil[72+28+64:], peImage())
	require.Equal(t, []finding.Code{finding.ForeignBytes}, codesIn(Match(refs, []*Image{Parse("bios", evil)}, nil).Findings))
}

func codesIn(fs []finding.Finding) []finding.Code {
	var out []finding.Code
	for _, f := range fs {
		out = append(out, f.Code)
	}
	return out
}

func side(of string, n int) []byte {
	return fmt.Appendf(nil, `{"source":"x","offset":0,"length":%d,"complete":true,"of":%q}`, n, of)
}

// Who can write evidence can write side files: none makes an image go away.
func TestSideFileHidesNoImage(t *testing.T) {
	good, bad := board(), tampered()
	refs := DraftReferences(nil, []*Image{Parse("bios", good)})
	code := told(Match(refs, []*Image{Parse("bios", bad)}, nil).Findings)
	require.Len(t, code, 1)
	for name, files := range map[string]map[string][]byte{
		"a target that is not there": {"firmware/bios.json": side("nothing", len(bad))},
		"itself":                     {"firmware/bios.json": side("bios", len(bad))},
		"a ring":                     {"firmware/bios.json": side("bmc", len(bad)), "firmware/bmc.rom": bad, "firmware/bmc.json": side("bios", len(bad))},
		"a golden copy":              {"firmware/bios.json": side("programmer", len(bad)), "firmware/programmer.rom": good},
	} {
		t.Run(name, func(t *testing.T) {
			files["firmware/bios.rom"] = bad
			images := Read(bundleOf(t, files))
			got := told(Match(refs, images, nil).Findings)
			for subject, c := range code {
				require.Equal(t, c, got[subject])
			}
			all := []finding.Code{}
			for _, m := range images {
				all = append(all, codesIn(m.Findings)...)
			}
			if name == "a golden copy" {
				require.Contains(t, all, finding.ReadsDisagree)
			} else {
				require.Contains(t, all, finding.ParsersDisagree)
			}
		})
	}
	images := Read(bundleOf(t, map[string][]byte{"firmware/bios.rom": good, "firmware/nic.rom": bad, "firmware/nic.json": side("nothing", len(bad))}))
	require.Contains(t, fmt.Sprint(Match(refs, images, nil).NotChecked), "firmware:nic", "an undeclared image is listed")
}

// A host's read that hides an implant shows blank room there.
func TestRoomThatOnlyTheProgrammerSeesFilled(t *testing.T) {
	good := board()
	clip := bytes.Clone(good)
	copy(clip[len(good)-0x800-0x400:], "implant that the host's read does not show")
	images := Read(bundleOf(t, map[string][]byte{"firmware/bios.rom": good, "firmware/clip.rom": clip, "firmware/clip.json": side("bios", len(clip))}))
	require.Contains(t, codesIn(imageNamed(images, "bios").Findings), finding.ReadsDisagree)
	require.Contains(t, codesIn(Match(DraftReferences(nil, []*Image{Parse("bios", good)}), images, nil).Findings), finding.ForeignBytes, "the programmer's read is held against the manifest too")
}

// Evidence that was added closes no lock.
func TestAddedDeviceClosesNoLock(t *testing.T) {
	refs := DraftReferences(nil, Read(bundleOf(t, chipset(0x22, board()))))
	files := chipset(0x01, board())
	want := told(Match(refs, Read(bundleOf(t, files)), nil).Findings)
	require.Len(t, want, 3)
	for _, device := range []string{"0001:7f:1f.0", "0001:00:1f.0"} {
		for _, n := range []string{"vendor", "class"} {
			files["sys/bus/pci/devices/"+device+"/"+n] = files[lpc+n]
		}
		c := bytes.Clone(files[lpc+"config"])
		c[0xdc] = 0x22
		files["sys/bus/pci/devices/"+device+"/config"] = c
		require.Equal(t, want, told(Match(refs, Read(bundleOf(t, files)), nil).Findings), device)
	}
}

// A vendor's image whose own tables contradict themselves is no alarm on the
// unit that it was drafted from.
func TestQuirkOfTheReferenceIsNoAlarm(t *testing.T) {
	b := buildDescriptor(make([]byte, 0x4000))
	binary.LittleEndian.PutUint32(b[0x40+8:], 5<<16|1) // regions that overlap
	refs := DraftReferences(nil, []*Image{Parse("bios", b)})
	images := Read(bundleOf(t, map[string][]byte{"firmware/bios.rom": b}))
	require.NotContains(t, codesIn(images[0].Findings), finding.ParsersDisagree)
	require.Empty(t, Match(refs, images, nil).Findings)
	require.Contains(t, codesIn(Match(nil, images, nil).Findings), finding.ParsersDisagree, "without a reference it is told")
	b[len(b)-1] ^= 1
	require.Contains(t, codesIn(Match(refs, Read(bundleOf(t, map[string][]byte{"firmware/bios.rom": b})), nil).Findings), finding.ParsersDisagree)
}

// Equal inputs give equal results, whatever order maps have.
func TestComparisonsAreDeterministic(t *testing.T) {
	r := Reference{Name: "bios", Digests: map[string]string{"sha256": "00", "sha384": "11", "sha512": "22"}}
	same := driver(driverA, "the same driver, shipped twice")
	vol := func(b ...[]byte) []byte { return buildVolume(string(ffs.FileSystem2), 0x1000, slices.Concat(b...)) }
	other := func(n byte) []byte { return driver(driverB, "filler "+string('a'+n)) }
	a := slices.Concat(vol(same, other(0)), vol(same, other(1)), vol(other(2)), vol(other(3)))
	b := slices.Concat(vol(other(0)), vol(other(1)), vol(same, other(2)), vol(same, other(3)))
	first := Match([]Reference{r}, []*Image{Parse("bios", board())}, nil)
	changes := Diff(Parse("a", a), Parse("b", b))
	for range 50 {
		require.Equal(t, first, Match([]Reference{r}, []*Image{Parse("bios", board())}, nil))
		require.Equal(t, changes, Diff(Parse("a", a), Parse("b", b)))
	}
}

// Names in an image may be those that numbering makes.
func TestPathsStandOnce(t *testing.T) {
	w := &walker{data: make([]byte, 6), names: map[string]int{}, most: 100}
	seen := map[string]bool{}
	for i, name := range []string{"A", "A#2", "A", "A", "A#2", "A#3"} {
		l := w.add(name, Code, i+1)
		require.False(t, seen[l.Path], l.Path)
		seen[l.Path] = true
	}
}
