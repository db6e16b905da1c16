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
