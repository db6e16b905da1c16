package firmware

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/finding"
)

// box is an archive of the tests: "BOX" and a length, then lines of a kind and a
// path, each followed by a line of contents.
var box = Decoder{
	Name:   "box",
	Begins: func(b []byte) bool { return bytes.HasPrefix(b, []byte("BOX")) && len(b) >= 8 },
	Open: func(b []byte, limit int) (Archive, error) {
		n := int(binary.LittleEndian.Uint32(b[4:]))
		a := Archive{Used: n}
		if n > len(b) {
			return a, errors.New("it says more bytes than there are")
		}
		lines := strings.Split(strings.TrimSuffix(string(b[8:n]), "\n"), "\n")
		for i := 0; i+1 < len(lines); i += 2 {
			kind, path, _ := strings.Cut(lines[i], " ")
			f := File{Path: path, Kind: Kind(kind), Type: "file", Content: []byte(lines[i+1])}
			switch kind {
			case "listing":
				f.Kind, f.Type = Data, typeListing
			case "bomb":
				f.Kind, f.Content = Data, make([]byte, limit+1)
			case "note":
				a.Notes = append(a.Notes, Note{Code: finding.VendorSignatureInvalid, Path: path, Want: "a", Got: "b", Why: lines[i+1]})
				continue
			}
			a.Files = append(a.Files, f)
		}
		return a, nil
	},
}

func boxed(lines ...string) []byte {
	b := append([]byte("BOX\x00\x00\x00\x00\x00"), strings.Join(lines, "\n")...)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

func parseBox(b []byte) *Image { return Parse("bios", b, box) }

func TestArchiveExpandsToItsFiles(t *testing.T) {
	b := append(boxed("code bin/init", "run", "data etc/passwd", "root", "data etc/empty", ""), "behind"...)
	m := parseBox(b)
	requirePartition(t, m)
	require.Empty(t, m.Inside())
	l := leafAt(t, m, "image/etc/passwd")
	require.Equal(t, "root", string(l.Content()))
	require.Equal(t, Data, l.Kind)
	require.Equal(t, "box", leafAt(t, m, "image/box").Encoding)
	require.Equal(t, "behind", string(leafAt(t, m, "image/box+gap").Content()))
	require.Len(t, leafAt(t, m, "image/box").Inside, 2, "an empty file is no leaf")
}

func TestArchiveInsideOfAnArchive(t *testing.T) {
	inner := strings.ReplaceAll(string(boxed("data a", "x")), "\n", "\r")
	d := box
	d.Open = func(b []byte, limit int) (Archive, error) {
		if !bytes.Contains(b, []byte("\n")) {
			b = bytes.ReplaceAll(b, []byte("\r"), []byte("\n"))
		}
		return box.Open(b, limit)
	}
	m := Parse("bios", boxed("data in", inner), d)
	requirePartition(t, m)
	require.Equal(t, "x", string(leafAt(t, m, "image/in/a").Content()))
}

func TestHostileArchives(t *testing.T) {
	m := parseBox(boxed("data ../\x1b[2J", "one", "data same", "two", "data same", "three"))
	requirePartition(t, m) // and no name stands twice
	require.Equal(t, "one", string(leafAt(t, m, "image/../?[2J").Content()))

	codes := func(b []byte) map[string]finding.Code { return told(parseBox(b).Inside()) }
	require.Equal(t, map[string]finding.Code{"firmware:bios/image": finding.InputBomb}, codes(boxed("bomb x", "-")))
	require.Equal(t, map[string]finding.Code{"firmware:bios/image/kernel": finding.VendorSignatureInvalid}, codes(boxed("note kernel", "why")))
	short := boxed("data a", "x")
	short[4]++
	require.Equal(t, map[string]finding.Code{"firmware:bios/image": finding.InputMalformed}, codes(short))

	var lines []string
	for i := range maxLeaves {
		lines = append(lines, fmt.Sprintf("data %d", i), "x")
	}
	require.Equal(t, map[string]finding.Code{"firmware:bios/image": finding.InputBomb}, codes(boxed(lines...)))
}

// The listing and the archive itself say what no file says, and only then.
func TestListingIsNamedWhenNothingElseIs(t *testing.T) {
	base := boxed("listing listing", "-0644 a", "data a", "one")
	refs := DraftReferences(nil, []*Image{parseBox(base)})
	names := func(b []byte) []string {
		var out []string
		for _, f := range Match(refs, []*Image{parseBox(b)}, nil).Findings {
			if f.Code != finding.FlashPartDiffers { // the size
				out = append(out, f.Subject)
			}
		}
		return out
	}
	require.Empty(t, names(base))
	require.Equal(t, []string{"firmware:bios/image/a"}, names(boxed("listing listing", "-0644 a", "data a", "two")))
	require.Equal(t, []string{"firmware:bios/image/a"}, names(boxed("listing listing", "-0755 a", "data a", "two")))
	require.Equal(t, []string{"firmware:bios/image/listing"}, names(boxed("listing listing", "-0755 a", "data a", "one")))
	require.Equal(t, []string{"firmware:bios/image/b"}, names(boxed("listing listing", "-0644 a", "data a", "one", "data b", "new")))
	cs := Diff(parseBox(base), parseBox(boxed("listing listing", "-0755 a", "data a", "one")))
	require.Len(t, cs, 1)
	require.Equal(t, []string{"-0644 a", "-0755 a"}, cs[0].Sections)
}

func TestWhatMayChangeWhereFirmwareWrites(t *testing.T) {
	require.Equal(t, Data, persistent(File{Path: "etc/passwd", Kind: Data, Type: "file"}), "what firmware does not write by itself")
	require.Equal(t, Volatile, persistent(File{Path: "log/x", Kind: Data, Type: "file", Rewritten: true}))
	require.Equal(t, Code, persistent(File{Path: "log/x", Kind: Code, Rewritten: true}))
	require.Equal(t, Volatile, persistent(File{Path: "ethaddr", Kind: Data, Type: VariableType, Rewritten: true}))
	require.Equal(t, Data, persistent(File{Path: "bootcmd", Kind: Data, Type: VariableType}))
	require.Equal(t, Data, persistent(File{Path: "log/x~0-1", Kind: Data, Type: SupersededType, Rewritten: true}))
	node := func(s string) Kind {
		return persistent(File{Path: "log/x", Kind: Data, Type: NodeType, Content: []byte(s), Rewritten: true})
	}
	require.Equal(t, Volatile, node("l0777 0:0 /log/x -> y"))
	require.Equal(t, Volatile, node("c0000 0:0 /log/x 0,0"), "a file that an overlay hides")
	require.Equal(t, Data, node("b0600 0:0 /log/x 1,1"))

	o := &opener{readonly: map[string]bool{"etc/issue": true, "etc/hostname": true, "init": true, "var/lib/state": true}}
	for path, want := range map[string]bool{
		"etc/issue": true, "cow/etc/issue": true, "a/b/etc/issue": true, "cow/etc/other": false,
		"cow/etc/hostname": false, "cow/var/lib/state": false, "cow/init": false,
	} {
		require.Equal(t, want, o.shadows(path), path)
	}
}

// mapped is a flash of four areas with a coreboot map.
func mapped() []byte {
	b := bytes.Repeat([]byte{0xff}, 0x4000)
	areas := []struct {
		name       string
		start, end uint32
	}{{"FLASH", 0, 0x4000}, {"RO", 0, 0x2000}, {"FMAP", 0, 0x1000}, {"BOOT", 0x1000, 0x2000}, {"RW_NVRAM", 0x2000, 0x3000}, {"SMMSTORE", 0x3000, 0x4000}}
	m := make([]byte, 56, 56+42*len(areas))
	copy(m, "__FMAP__\x01\x01")
	binary.LittleEndian.PutUint16(m[54:], uint16(len(areas)))
	for _, a := range areas {
		e := make([]byte, 42)
		binary.LittleEndian.PutUint32(e, a.start)
		binary.LittleEndian.PutUint32(e[4:], a.end-a.start)
		copy(e[8:], a.name)
		m = append(m, e...)
	}
	copy(b, m)
	copy(b[0x1000:], "boot block")
	return b
}

func TestAreasThatFirmwareWritesTo(t *testing.T) {
	b := mapped()
	m := Parse("bios", b)
	requirePartition(t, m)
	require.Equal(t, []string{"image/FLASH/RW_NVRAM", "image/FLASH/SMMSTORE"}, paths(m, Volatile))
	refs := draft(b)
	written := mapped()
	copy(written[0x2100:], "a recovery reason")
	copy(written[0x3000:], buildStore([]byte("variables"))[:0x1000]) // the store of UEFI in coreboot's
	require.Empty(t, compare(refs, written).Findings)
	require.Empty(t, compare(refs, written).NotChecked)
	written[0x1003] ^= 1
	require.Equal(t, map[string]finding.Code{"firmware:bios/image/FLASH/RO/BOOT": finding.ForeignBytes}, told(compare(refs, written).Findings))
}
