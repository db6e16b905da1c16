package bom_test

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
)

// filesBelow reads every file of a directory.
func filesBelow(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		out[p] = b
		return err
	}))
	require.NotEmpty(t, out)
	return out
}

// sameParts compares what two inventories say of parts: identity, place and the
// facts that are compared.
func sameParts(t *testing.T, want, got *bom.Inventory) {
	t.Helper()
	strip := func(inv *bom.Inventory) []bom.Part {
		out := slices.Clone(inv.Parts)
		for i := range out {
			out[i].Values = nil
			// A control character at the end of a string is a dot in the text.
			if oem := out[i].Attributes["oemStrings"]; oem != "" {
				out[i].Attributes["oemStrings"] = strings.TrimRight(oem, ".")
			}
		}
		return out
	}
	require.Equal(t, strip(want), strip(got))
	places := func(inv *bom.Inventory) []bom.Place { return inv.Places }
	require.Equal(t, places(want), places(got))
}

// What dmidecode prints of a table is read as the table itself is.
func TestTextOfATableIsTheTable(t *testing.T) {
	tool, err := exec.LookPath("dmidecode")
	if err != nil {
		t.Skip("needs dmidecode (Debian package dmidecode)")
	}
	tables := 0
	for name, data := range filesBelow(t, corpus(t, "hardware", "smbios-bin")) {
		want, err := bom.ReadDump(name, data)
		if err != nil || len(want.Parts) == 0 || !bytes.HasPrefix(data, []byte("_")) {
			continue // texts beside the dumps, and bare tables, which dmidecode does not take
		}
		text, err := exec.Command(tool, "--from-dump", name).Output()
		require.NoError(t, err)
		tables++
		t.Run(filepath.Base(filepath.Dir(name))+"/"+filepath.Base(name), func(t *testing.T) {
			got, err := bom.ReadDump("dmidecode.txt", text)
			require.NoError(t, err)
			sameParts(t, want, got)
		})
	}
	require.NotZero(t, tables)
	t.Logf("%d tables", tables)
}

// hosts are the dmidecode texts of real servers.
func hosts(t *testing.T) map[string]*bom.Inventory {
	t.Helper()
	out := map[string]*bom.Inventory{}
	for name, data := range filesBelow(t, corpus(t, "hardware", "dmidecode", "linuxhw")) {
		inv, err := bom.ReadDump(filepath.Base(name), data)
		require.NoError(t, err, name)
		out[filepath.Base(name)] = inv
	}
	return out
}

func TestTextsOfRealServersAgreeWithThemselves(t *testing.T) {
	parts := 0
	for name, inv := range hosts(t) {
		require.NotEmpty(t, inv.Parts, name)
		agreesWithItself(t, inv)
		parts += len(inv.Parts)
	}
	t.Logf("%d parts", parts)
	read := 0
	for _, kind := range []string{"dmidecode/glpi", "lspci", "ironlib"} {
		for name, data := range filesBelow(t, corpus(t, append([]string{"hardware"}, strings.Split(kind, "/")...)...)) {
			inv, err := bom.ReadDump(filepath.Base(name), data)
			if err != nil {
				t.Logf("%s: %v", name, err)
				continue
			}
			read++
			agreesWithItself(t, inv)
		}
	}
	require.NotZero(t, read)
	t.Logf("%d others read", read)
}

// A manifest of one server fits another of the same board and BIOS, but for what
// is this one's own: how it is equipped, and its numbers.
func TestAnotherServerOfTheSameBoard(t *testing.T) {
	groups := map[string][]string{}
	all := hosts(t)
	for name, inv := range all {
		system, _ := inv.Part("system")
		board, _ := inv.Part("baseboard")
		bios, _ := inv.Part("firmware:bios")
		if system.Identity.Model == "" || board.Identity.Model == "" || bios.Identity.Firmware == "" {
			continue
		}
		key := strings.ToLower(strings.Join([]string{system.Identity.Model, board.Identity.Maker, board.Identity.Model, board.Identity.Revision, bios.Identity.Firmware}, "|"))
		groups[key] = append(groups[key], name)
	}
	pairs, byCode := 0, map[finding.Code]int{}
	for _, names := range groups {
		slices.Sort(names)
		for _, a := range names {
			for _, b := range names {
				if a == b {
					continue
				}
				pairs++
				refs, closures := closed(all[a])
				for _, f := range bom.Match(refs, closures, all[b]).Findings {
					byCode[f.Code]++
					if os.Getenv("ASSAY_PAIRS") != "" {
						t.Logf("%s | %s | %s %s want %q got %q", a, b, f.Code, f.Subject, f.Want, f.Got)
					}
				}
			}
		}
	}
	t.Logf("%d pairs: %v", pairs, byCode)
	require.NotZero(t, pairs)
}

// The table of the lab's machine, as dmidecode dumps it and as it prints it.
func TestTextOfTheLab(t *testing.T) {
	var inv [2]*bom.Inventory
	for i, name := range []string{"lab.dmidump", "lab.dmidecode.txt"} {
		data, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		inv[i], err = bom.ReadDump(name, data)
		require.NoError(t, err)
		require.NotEmpty(t, inv[i].Parts)
		agreesWithItself(t, inv[i])
	}
	sameParts(t, inv[0], inv[1])
	for _, p := range inv[1].Parts {
		for field, v := range p.Values {
			require.Equal(t, "dmidecode.txt", v.Basis.Artifact, "%s of %s", field, p.Subject)
		}
	}
}

func dump(t *testing.T, text string) *bom.Inventory {
	t.Helper()
	inv, err := bom.ReadDump("dump.txt", []byte(text))
	require.NoError(t, err)
	return inv
}

const (
	plainNIC   = "00:00.0 Host bridge: Intel Corporation 82975X Memory Controller Hub\n03:00.0 Ethernet controller: Intel Corporation 82599ES 10-Gigabit SFI/SFP+ Network Connection\n"
	numericNIC = "00:00.0 Host bridge [0600]: Intel Corporation 82975X [8086:277c]\n03:00.0 Ethernet controller [0200]: Intel Corporation 82599ES [8086:10fb]\n"
	verboseNIC = "00:00.0 Host bridge [0600]: Intel Corporation 82975X [8086:277c]\n\tFlags: fast devsel\n\n" +
		"03:00.0 Ethernet controller [0200]: Intel Corporation 82599ES [8086:10fb]\n\tSubsystem: Super Micro Computer Inc Device [15d9:1533]\n\tFlags: bus master, fast devsel\n"
)

// A listing that says less is no contradiction: what it leaves open is told as
// not checked. A listing that says something else is one.
func TestListingsThatSayLess(t *testing.T) {
	for name, text := range map[string]string{"plain": plainNIC, "numeric": numericNIC} {
		t.Run(name, func(t *testing.T) {
			less := dump(t, text)
			agreesWithItself(t, less)
			refs, closures := closed(dump(t, verboseNIC))
			c := bom.Match(refs, closures, less)
			require.Empty(t, c.Findings)
			require.Contains(t, c.NotChecked, bom.NotChecked{What: "subsystem ids of pci:0000:03:00.0", Reason: "declared, but not in the evidence"})
			require.Contains(t, c.Unproved[bom.PCI], "subsystem ids of pci:0000:03:00.0")
		})
	}
	refs, closures := closed(dump(t, verboseNIC))
	for name, text := range map[string]string{
		"another chip":      strings.Replace(numericNIC, "10fb", "10fc", 1),
		"another subsystem": strings.Replace(verboseNIC, "15d9:1533", "15d9:1534", 1),
	} {
		c := bom.Match(refs, closures, dump(t, text))
		require.Equal(t, map[finding.Code]int{finding.ComponentReplaced: 1}, codes(c.Findings, finding.Low), name)
	}
	words := dump(t, strings.Replace(plainNIC, "82599ES 10-Gigabit SFI/SFP+ Network Connection", "Frobnicator", 1))
	c := bom.Match(refs, closures, words)
	require.Empty(t, c.Findings)
	require.Contains(t, c.NotChecked, bom.NotChecked{What: "ids of pci:0000:03:00.0", Reason: "one of the two lists has them in words only"})
}

func TestHostileTexts(t *testing.T) {
	for name, text := range map[string]string{
		"a book":        strings.Repeat("It was the best of times.\n", 1000),
		"lshw cut":      `[{"id":"a","class":"system",`,
		"lshw bomb":     `<!DOCTYPE x [<!ENTITY a "b">]><list><node id="a" class="system"/></list>`,
		"bare handle":   "Handle 0x0001, DMI type 999, 1 bytes\n",
		"wide nonsense": "\xff\xfea\x00b\x00",
	} {
		inv, err := bom.ReadDump("dump.txt", []byte(text))
		require.Nil(t, inv, name)
		require.ErrorContains(t, err, "dump.txt", name)
	}
}
