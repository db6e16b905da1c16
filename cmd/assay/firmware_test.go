package main

import (
	"bytes"
	"crypto"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/firmware"
)

// Names in an image are its maker's, or an attacker's.
func TestNamesOfExtractedFiles(t *testing.T) {
	for in, want := range map[string]string{
		"V/F/pe32":              "V/F/pe32",
		"image/../../etc/x":     "image/_/_/etc/x",
		"/etc/passwd":           "_/etc/passwd",
		"a/./..b/.hidden":       "a/_/b/hidden",
		"region:me+gap#2":       "region_me+gap#2",
		"name\x00with\nall\\of": "name_with_all_of",
	} {
		require.Equal(t, want, safePath(in))
		require.True(t, fs.ValidPath(safePath(in)), in)
	}
	require.Len(t, safePath(string(make([]byte, 5000))), maxSegment)
}

// Parts whose names become the same are all written.
func TestExtractedFilesDoNotOverwriteEachOther(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "parts")
	n, err := extract([]firmware.Leaf{{Path: "a b"}, {Path: "a_b"}, {Path: "a:b"}}, dir)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
}

// corpusImage opens an image that lies beside the repository.
func corpusImage(t *testing.T, name string) *firmware.Image {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "shared", "corpus", "firmware", "intel", name))
	if err != nil {
		t.Skip("needs ../shared/corpus/firmware/intel/" + name)
	}
	return firmware.Parse("bios", b)
}

func TestListOfBootGuard(t *testing.T) {
	m := corpusImage(t, "css-fake_intel_firmware.fd")
	var b bytes.Buffer
	siliconOf(m).text(&b)
	require.Equal(t, `  Boot Guard
    startup ACM          header 3.0, chipset 0000 of 1122-33-44, TXT SVN 2, SE SVN 1
      signature not checked: the module is not signed
    key manifest         2.1, SVN 0, id 0
      signature holds
      signer's key sha256:dd2acd0ac79313a53314a49a3c64d9b23613e89255f876e1c7dbabb118d76a28
    boot policy manifest 2.3, SVN 0, ACM SVN 0 or newer
      signature holds
      signer's key sha256:4a5373a00a0e291581bd850e4a16fd12a5bd4ec014a1f450af63e0cf12167a21
    key of the boot policy in the key manifest: holds
    digest of the initial boot block (4096 bytes): holds
`, b.String())
}

func TestExplainedDigest(t *testing.T) {
	m := corpusImage(t, "css-fake_intel_firmware.fd")
	g, ok := m.BootGuard()
	require.True(t, ok)
	sum, err := g.PCR0Data(crypto.SHA256, 0x200108080)
	require.NoError(t, err)
	e, err := explain(m, hex.EncodeToString(sum))
	require.NoError(t, err)
	require.Equal(t, &explanation{Digest: hex.EncodeToString(sum), Found: true, Status: "0000000200108080"}, e)
	var b bytes.Buffer
	e.text(&b)
	require.Contains(t, b.String(), "ACM_POLICY_STATUS 0000000200108080")
	_, err = explain(m, hex.EncodeToString(make([]byte, 48)))
	require.ErrorContains(t, err, "no SHA-384 digest")
}

// An image may have a file and a folder of one name.
func TestFileAndFolderOfOneName(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "parts")
	n, err := extract([]firmware.Leaf{{Path: "x"}, {Path: "x.bin/y"}, {Path: "x.bin/z/y"}, {Path: "x.bin"}}, dir)
	require.NoError(t, err)
	require.Equal(t, 4, n)
}
