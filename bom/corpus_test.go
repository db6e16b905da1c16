package bom_test

import (
	"archive/tar"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
)

// corpus is public data of other people, kept beside the checkout.
func corpus(t testing.TB, parts ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{"..", "..", "shared", "corpus"}, parts...)...)
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("needs %s beside the checkout", filepath.Join(append([]string{"shared", "corpus"}, parts...)...))
	}
	return dir
}

// closed declares every observed class complete, as a comparison of two lists
// does.
func closed(inv *bom.Inventory) ([]bom.Reference, map[bom.Class]bom.Closure) {
	refs, closures := bom.Draft(inv, true)
	for c, o := range inv.Classes {
		if o.Observed {
			closures[c] = bom.Closed
		}
	}
	return refs, closures
}

func codes(fs []finding.Finding, least finding.Severity) map[finding.Code]int {
	out := map[finding.Code]int{}
	for _, f := range fs {
		if f.Severity >= least {
			out[f.Code]++
		}
	}
	return out
}

// agreesWithItself is the first law of matching: a machine is what it is.
func agreesWithItself(t *testing.T, inv *bom.Inventory) {
	t.Helper()
	refs, closures := closed(inv)
	c := bom.Match(refs, closures, inv)
	require.Empty(t, c.Findings)
	for _, cov := range c.Coverage {
		require.Zero(t, cov.Unexpected, cov.Class)
	}
}

func TestPublicDumpsAgreeWithThemselves(t *testing.T) {
	for _, kind := range []string{"smbios-bin", "fru", "spd", "lspci"} {
		dir := corpus(t, "hardware", kind)
		read := 0
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			inv, err := bom.ReadDump(filepath.Base(p), data)
			if err != nil {
				return nil // texts, notes and formats that are no dump
			}
			read++
			t.Run(kind+"/"+filepath.Base(p), func(t *testing.T) {
				agreesWithItself(t, inv)
				if kind == "lspci" {
					oneMoreChip(t, inv)
				}
			})
			return nil
		})
		require.NoError(t, err)
		t.Logf("%s: %d dumps read", kind, read)
		require.NotZero(t, read)
	}
}

// oneMoreChip adds one function to an inventory's evidence and expects exactly
// one finding.
func oneMoreChip(t *testing.T, base *bom.Inventory) {
	t.Helper()
	refs, closures := closed(base)
	more := *base
	more.Parts = append(slices.Clone(base.Parts), strange().Parts...)
	c := bom.Match(refs, closures, &more)
	require.Equal(t, map[finding.Code]int{finding.UnexpectedComponent: 1}, codes(c.Findings, finding.Low))
}

func strange() *bom.Inventory {
	b, err := evidence.FromFiles(strangeFunction("0000:fe:1d.0"), "strange", evidence.Limits{})
	if err != nil {
		panic(err)
	}
	return bom.Read(b)
}

// strangeFunction is an endpoint that no machine in the corpus has.
func strangeFunction(bdf string) map[string][]byte {
	config := make([]byte, 256)
	binary.LittleEndian.PutUint16(config, 0x1172) // an FPGA maker
	binary.LittleEndian.PutUint16(config[2:], 0xe001)
	config[4] = 6
	config[0x0b] = 0xff
	dir := "sys/bus/pci/devices/" + bdf
	return map[string][]byte{
		dir + "/config": config, dir + "/vendor": []byte("0x1172\n"), dir + "/device": []byte("0xe001\n"), dir + "/class": []byte("0xff0000\n"),
	}
}

func TestRealServersShowOneInsertedFunction(t *testing.T) {
	dir := corpus(t, "hardware", "sysfs")
	machines := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files := sysfsArchive(t, p)
		if len(files) == 0 {
			return nil
		}
		machines++
		t.Run(filepath.Base(p), func(t *testing.T) {
			b, err := evidence.FromFiles(files, p, evidence.Limits{})
			require.NoError(t, err)
			inv := bom.Read(b)
			agreesWithItself(t, inv)
			oneMoreChip(t, inv)
			// The same through a manifest as draft makes it.
			refs, closures := bom.Draft(inv, true)
			maps.Copy(files, strangeFunction("0000:fe:1d.0"))
			b, err = evidence.FromFiles(files, p, evidence.Limits{})
			require.NoError(t, err)
			c := bom.Match(refs, closures, bom.Read(b))
			if closures[bom.PCI] == bom.Closed {
				require.Equal(t, map[finding.Code]int{finding.UnexpectedComponent: 1}, codes(c.Findings, finding.Low))
			}
		})
		return nil
	})
	require.NoError(t, err)
	require.NotZero(t, machines)
	t.Logf("%d machines", machines)
}

// sysfsArchive collects the PCI attribute files of a captured sysfs, links
// resolved as a collector does.
func sysfsArchive(t *testing.T, name string) map[string][]byte {
	t.Helper()
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	var r io.Reader
	switch {
	case strings.HasSuffix(name, ".bz2"):
		r = bzip2.NewReader(f)
	case strings.HasSuffix(name, ".gz"):
		z, err := gzip.NewReader(f)
		require.NoError(t, err)
		r = z
	default:
		return nil
	}
	data, links := map[string][]byte{}, map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Logf("%s: %v", name, err)
			break
		}
		p := path.Clean(h.Name)
		if i := strings.Index(p, "sys/"); i >= 0 {
			p = p[i:]
		}
		switch h.Typeflag {
		case tar.TypeSymlink:
			links[p] = path.Join(path.Dir(p), h.Linkname)
		case tar.TypeReg:
			if h.Size <= 1<<16 && strings.Contains(p, "pci") {
				b, err := io.ReadAll(tr)
				require.NoError(t, err)
				data[p] = b
			}
		}
	}
	out := map[string][]byte{}
	for p, target := range links {
		dir, bdf := path.Split(p)
		if path.Clean(dir) != "sys/bus/pci/devices" {
			continue
		}
		for _, attr := range []string{"vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision", "config", "resource"} {
			if b, ok := data[target+"/"+attr]; ok {
				out[fmt.Sprintf("sys/bus/pci/devices/%s/%s", bdf, attr)] = b
			}
		}
	}
	return out
}

func TestRealMachinesAgreeWithThemselves(t *testing.T) {
	dir := corpus(t, "machines")
	names, err := filepath.Glob(filepath.Join(dir, "*.evidence.zip"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, n := range names {
		t.Run(filepath.Base(n), func(t *testing.T) {
			b, err := evidence.Open(n, evidence.Limits{})
			require.NoError(t, err)
			inv := bom.Read(b)
			refs, closures := bom.Draft(inv, true)
			require.NotEqual(t, bom.Closed, closures[bom.PCI], "spot reads are no inventory")
			require.Empty(t, codes(bom.Match(refs, closures, inv).Findings, finding.Low))
		})
	}
}
