package evidence_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/evidence"
)

type file struct {
	name string
	data []byte
	mode fs.FileMode
}

func zipOf(t *testing.T, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		if f.mode != 0 {
			h.SetMode(f.mode)
		}
		e, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = e.Write(f.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestDirectoryAndZipAreTheSameEvidence(t *testing.T) {
	files := fstest.MapFS{
		"proc/cmdline":                 {Data: []byte("quiet\n")},
		"sys/class/tpm/tpm0/x":         {Data: []byte{1, 2, 3}},
		"sys/bus/pci/devices/a/vendor": {Data: []byte("0x8086\n")},
	}
	tree, err := evidence.OpenFS(files, "tree", evidence.Limits{})
	require.NoError(t, err)
	z, err := evidence.OpenZip(zipOf(t, file{name: "sys/class/tpm/tpm0/x", data: []byte{1, 2, 3}}, file{name: "proc/cmdline", data: []byte("quiet\n")},
		file{name: "sys/bus/pci/devices/a/vendor", data: []byte("0x8086\n")}), "zip", evidence.Limits{})
	require.NoError(t, err)
	require.Equal(t, tree.Artifacts(), z.Artifacts())
	d1 := tree.Digest()
	d2 := z.Digest()
	require.Equal(t, d1, d2)
	require.False(t, tree.Sealed())
	require.NoError(t, fstest.TestFS(tree.FS(), "proc/cmdline", "sys/class/tpm/tpm0/x"))
	require.Equal(t, "quiet", tree.Text("proc/cmdline"))
	require.Equal(t, []string{"a"}, tree.Dir("sys/bus/pci/devices"))
}

// The seal is checked by other programs too, so the test spells it out by hand.
func TestSealDigestIsTheOneOfTheFormat(t *testing.T) {
	index := `{"format":"assay.evidence/v1","collector":{"version":"1","name":"assay"},"collectedAt":"2026-01-15T12:00:00Z","nonce":"00ff",
	 "machine":{"manufacturer":"M","product":"P","serial":"S","uuid":""},"mode":{"root":true,"virtual":"","lockdown":"none","image":""},
	 "artifacts":[{"path":"proc/cmdline","sha256":"%x","size":6,"status":"collected"},
	  {"path":"sys/secret","sha256":"","size":0,"status":"denied","reason":"EPERM"},
	  {"path":"tpm/quote-sha256.sig","sha256":"%x","size":1,"status":"collected"}]}`
	cmdline, sig := []byte("quiet\n"), []byte{9}
	raw := fmt.Sprintf(index, sha256.Sum256(cmdline), sha256.Sum256(sig))
	b, err := evidence.OpenZip(zipOf(t, file{name: "evidence.json", data: []byte(raw)}, file{name: "proc/cmdline", data: cmdline},
		file{name: "tpm/quote-sha256.sig", data: sig}), "x.evidence.zip", evidence.Limits{})
	require.NoError(t, err)
	require.Empty(t, b.Check())

	head := `{"collectedAt":"2026-01-15T12:00:00Z","collector":{"name":"assay","version":"1"},"format":"assay.evidence/v1",` +
		`"machine":{"manufacturer":"M","product":"P","serial":"S","uuid":""},"mode":{"image":"","lockdown":"none","root":true,"virtual":""},"nonce":"00ff"}`
	lines := fmt.Sprintf("proc/cmdline\x00collected\x00%x\nsys/secret\x00denied\x00\n", sha256.Sum256(cmdline))
	want := sha256.Sum256([]byte(head + "\n" + lines))
	got := b.Digest()
	require.Equal(t, want, got)
	require.Equal(t, sha256.Sum256(append([]byte("assay.evidence/v1\x00\x00\xff\x00"), want[:]...)), evidence.QualifyingData([]byte{0, 0xff}, want))
	require.Equal(t, evidence.Denied, b.NotCollected()[0].Status)
}

func TestAnEditedBundleIsSpliced(t *testing.T) {
	index := func(path string, data []byte, size int64) []byte {
		j, err := json.Marshal(evidence.Index{
			Format: evidence.Format, CollectedAt: time.Unix(0, 0).UTC(),
			Artifacts: []evidence.Artifact{{Path: path, SHA256: fmt.Sprintf("%x", sha256.Sum256(data)), Size: size, Status: evidence.Collected}},
		})
		require.NoError(t, err)
		return j
	}
	good := []byte("good")
	for name, files := range map[string][]file{
		"other bytes":       {{name: "evidence.json", data: index("a", good, 4)}, {name: "a", data: []byte("evil")}},
		"other size":        {{name: "evidence.json", data: index("a", good, 5)}, {name: "a", data: good}},
		"artefact dropped":  {{name: "evidence.json", data: index("a", good, 4)}},
		"artefact smuggled": {{name: "evidence.json", data: index("a", good, 4)}, {name: "a", data: good}, {name: "b", data: good}},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := evidence.OpenZip(zipOf(t, files...), "x", evidence.Limits{})
			require.NoError(t, err)
			fs := b.Check()
			require.Len(t, fs, 1)
			require.EqualValues(t, "EV-002", fs[0].Code)
		})
	}
}

func TestHostileContainersAreRefusedByName(t *testing.T) {
	small := evidence.Limits{ArtifactBytes: 1 << 20, BundleBytes: 2 << 20, Entries: 10}
	for name, c := range map[string]struct {
		files  []file
		limits evidence.Limits
		want   string
	}{
		"zip bomb":             {files: []file{{name: "a", data: make([]byte, 8<<20)}}, want: "200 times expansion"},
		"artefact too large":   {files: []file{{name: "a", data: noise(1<<20 + 1)}}, limits: small, want: "bytes in one artefact"},
		"bundle too large":     {files: []file{{name: "a", data: noise(1 << 20)}, {name: "b", data: noise(1 << 20)}, {name: "c", data: noise(9)}}, limits: small, want: "bytes in the bundle"},
		"too many entries":     {files: many(11), limits: small, want: "10 entries"},
		"case twin":            {files: []file{{name: "sys/A", data: []byte("x")}, {name: "sys/a", data: []byte("y")}}, want: "repeats"},
		"same name":            {files: []file{{name: "a", data: []byte("x")}, {name: "a", data: []byte("y")}}, want: "repeats"},
		"unicode fold twin":    {files: []file{{name: "K", data: []byte("x")}, {name: "\u212a", data: []byte("y")}}, want: "repeats"},
		"traversal":            {files: []file{{name: "../etc/passwd", data: []byte("x")}}, want: "clean relative"},
		"inner traversal":      {files: []file{{name: "a/../../b", data: []byte("x")}}, want: "clean relative"},
		"absolute":             {files: []file{{name: "/etc/passwd", data: []byte("x")}}, want: "clean relative"},
		"backslash":            {files: []file{{name: `a\b`, data: []byte("x")}}, want: "clean relative"},
		"line feed in name":    {files: []file{{name: "a\nb", data: []byte("x")}}, want: "clean relative"},
		"link":                 {files: []file{{name: "a", data: []byte("/etc/passwd"), mode: fs.ModeSymlink | 0o777}}, want: "link"},
		"device":               {files: []file{{name: "a", mode: fs.ModeDevice | 0o777}}, want: "link or special"},
		"endless name":         {files: []file{{name: strings.Repeat("a", 2000), data: []byte("x")}}, want: "entry name"},
		"nothing":              {want: "no artefacts"},
		"index is not JSON":    {files: []file{{name: "evidence.json", data: []byte("{")}}, want: "evidence.json"},
		"index with two minds": {files: []file{{name: "evidence.json", data: []byte(`{"format":"assay.evidence/v1","format":"x"}`)}}, want: "stands twice"},
		"index of the future":  {files: []file{{name: "evidence.json", data: []byte(`{"format":"assay.evidence/v9"}`)}}, want: "assay.evidence/v9"},
		"unknown status":       {files: []file{{name: "evidence.json", data: []byte(`{"format":"assay.evidence/v1","artifacts":[{"path":"a","status":"fine"}]}`)}}, want: "unknown status"},
		"index lists twice":    {files: []file{{name: "evidence.json", data: []byte(`{"format":"assay.evidence/v1","artifacts":[{"path":"a","status":"absent"},{"path":"a","status":"denied"}]}`)}}, want: "out of order or repeated"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := evidence.OpenZip(zipOf(t, c.files...), "in.evidence.zip", c.limits)
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, "in.evidence.zip")
		})
	}
}

func many(n int) []file {
	var out []file
	for i := range n {
		out = append(out, file{name: fmt.Sprintf("f%d", i), data: []byte("x")})
	}
	return out
}

func noise(n int) []byte {
	b := make([]byte, 0, n+32)
	for i := 0; len(b) < n; i++ {
		s := sha256.Sum256(binary.LittleEndian.AppendUint64(nil, uint64(i)))
		b = append(b, s[:]...)
	}
	return b[:n]
}

// A size in a header is a claim: an entry that holds more or less than it
// declares belongs to a container whose parts disagree.
func TestLyingSizesAreRefused(t *testing.T) {
	for name, declared := range map[string]uint64{"says less": 3, "says more": 4000, "says terabytes": 1 << 42} {
		t.Run(name, func(t *testing.T) {
			data := []byte("hello world")
			var body bytes.Buffer
			fw, err := flate.NewWriter(&body, flate.BestCompression)
			require.NoError(t, err)
			_, err = fw.Write(data)
			require.NoError(t, err)
			require.NoError(t, fw.Close())
			var out bytes.Buffer
			w := zip.NewWriter(&out)
			e, err := w.CreateRaw(&zip.FileHeader{Name: "a", Method: zip.Deflate, CRC32: crc32.ChecksumIEEE(data), CompressedSize64: uint64(body.Len()), UncompressedSize64: declared})
			require.NoError(t, err)
			_, err = io.Copy(e, &body)
			require.NoError(t, err)
			require.NoError(t, w.Close())
			_, err = evidence.OpenZip(out.Bytes(), "x", evidence.Limits{})
			require.Error(t, err)
		})
	}
}

func TestDirectoryWithLinkIsRefused(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o600))
	require.NoError(t, os.Symlink("a", filepath.Join(dir, "b")))
	_, err := evidence.Open(dir, evidence.Limits{})
	var fe *evidence.FormatError
	require.ErrorAs(t, err, &fe)
	require.Contains(t, err.Error(), `"b"`)
}

func TestOpenRefusesWhatIsNeitherTreeNorZip(t *testing.T) {
	_, err := evidence.Open(os.DevNull, evidence.Limits{})
	var fe *evidence.FormatError
	require.ErrorAs(t, err, &fe)
	_, err = evidence.Open(filepath.Join(t.TempDir(), "none"), evidence.Limits{})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestUnseenIsNotAbsent(t *testing.T) {
	b, err := evidence.OpenFS(fstest.MapFS{"a": {Data: []byte("x")}}, "t", evidence.Limits{})
	require.NoError(t, err)
	a, listed := b.Artifact("b")
	require.False(t, listed)
	require.Equal(t, evidence.Absent, a.Status)
	_, err = b.Read("b")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func FuzzOpenZip(f *testing.F) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	e, _ := w.Create("evidence.json")
	_, _ = e.Write([]byte(`{"format":"assay.evidence/v1","artifacts":[{"path":"a","sha256":"","size":1,"status":"collected"}]}`))
	e, _ = w.Create("a")
	_, _ = e.Write([]byte("x"))
	_ = w.Close()
	f.Add(b.Bytes())
	f.Add([]byte("PK\x05\x06"))
	limits := evidence.Limits{ArtifactBytes: 1 << 20, BundleBytes: 4 << 20, Entries: 100}
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := evidence.OpenZip(in, "fuzz", limits)
		if err != nil {
			return
		}
		total := int64(0)
		for _, a := range b.Artifacts() {
			total += a.Size
			if a.Status == evidence.Collected && !b.Has(a.Path) && b.Index() == nil {
				t.Fatalf("artefact %q without bytes", a.Path)
			}
		}
		b.Digest()
		b.Check()
	})
}

// What cannot be put into the canonical form cannot be sealed: it is refused
// when it is opened, not when a verdict is due.
func TestIndexWithoutCanonicalFormIsRefused(t *testing.T) {
	for _, extra := range []string{`"x":1e999`, `"x":-1e999`} {
		raw := `{"format":"assay.evidence/v1","collectedAt":"2026-01-15T12:00:00Z","artifacts":[],` + extra + `}`
		_, err := evidence.OpenZip(zipOf(t, file{name: "evidence.json", data: []byte(raw)}), "x", evidence.Limits{})
		fe, ok := errors.AsType[*evidence.FormatError](err)
		require.True(t, ok, "%v", err)
		require.Contains(t, fe.Error(), "evidence.json")
	}
}
