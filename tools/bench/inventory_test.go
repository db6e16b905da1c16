package bench

import (
	"archive/tar"
	"compress/bzip2"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/fixture"
)

// BenchmarkInventory reads all parts of a machine (assay) and hashes the bytes of
// its evidence once (floor).
func BenchmarkInventory(b *testing.B) {
	inventory(b, "lab", recorded(b))
	corpus := filepath.Join("..", "..", "..", "shared", "corpus")
	for _, name := range []string{"r340", "x1carbon", "good-1"} {
		inventory(b, name, captured(b, filepath.Join(corpus, "machines", name+".evidence.zip")))
	}
	for _, name := range []string{"32em64t-2n8c+dax+nvme+mic+dimms", "40intel64-4n10c+pci-conflicts", "128arm-2pa2n8cluster4co"} {
		inventory(b, name, archived(b, filepath.Join(corpus, "hardware", "sysfs", "hwloc-linux", name+".tar.bz2")))
	}
}

func inventory(b *testing.B, name string, e *evidence.Bundle) {
	if e == nil {
		return // not beside the checkout
	}
	size := 0
	var all [][]byte
	for _, a := range e.Artifacts() {
		if data, err := e.Read(a.Path); err == nil {
			all = append(all, data)
			size += len(data)
		}
	}
	b.Run("machine="+name+"/by=assay", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			bom.Read(e)
		}
	})
	b.Run("machine="+name+"/by=floor", func(b *testing.B) {
		b.SetBytes(int64(size))
		b.ReportAllocs()
		for b.Loop() {
			h := sha256.New()
			for _, data := range all {
				h.Write(data)
			}
			h.Sum(nil)
		}
	})
}

// recorded is the server of the lab.
func recorded(b *testing.B) *evidence.Bundle {
	files, err := fixture.Machine(filepath.Join("..", ".."), "baseline")
	if err != nil {
		b.Fatal(err)
	}
	return bundle(b, "lab", files)
}

func bundle(b *testing.B, name string, files map[string][]byte) *evidence.Bundle {
	e, err := evidence.FromFiles(files, name, evidence.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// captured is the evidence of a real machine, or nil.
func captured(b *testing.B, file string) *evidence.Bundle {
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	e, err := evidence.Open(file, evidence.Limits{})
	if err != nil {
		b.Fatal(err)
	}
	return e
}

// archived is what an archive of a real server's sysfs and proc has, or nil. Links
// to PCI functions are resolved, as a collector does.
func archived(b *testing.B, file string) *evidence.Bundle {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	files, links := map[string][]byte{}, map[string]string{}
	r := tar.NewReader(bzip2.NewReader(f))
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		_, p, found := strings.Cut(path.Clean(h.Name), "/")
		switch {
		case !found:
		case h.Typeflag == tar.TypeSymlink && path.Dir(p) == "sys/bus/pci/devices":
			links[p] = path.Join(path.Dir(p), h.Linkname)
		case h.Typeflag == tar.TypeReg && h.Size > 0:
			if files[p], err = io.ReadAll(r); err != nil {
				b.Fatal(err)
			}
		}
	}
	for p, target := range links {
		for _, attr := range []string{"vendor", "device", "subsystem_vendor", "subsystem_device", "class", "revision", "config", "resource"} {
			if data, ok := files[target+"/"+attr]; ok {
				files[p+"/"+attr] = data
			}
		}
		files[p+"/path"] = []byte("/" + target)
	}
	return bundle(b, file, files)
}

// declared is a machine of n cards and the lines for them. Plain ones have serial
// numbers, every tenth of them exchanged and every hundredth in another place. Those
// that are alike have one model, no serial number, and all sit in other places than
// declared: nothing tells one from another.
func declared(n int, kind string) ([]bom.Reference, *bom.Inventory) {
	inv := &bom.Inventory{Classes: map[bom.Class]bom.Observation{bom.PCI: {Observed: true, Whole: true}}}
	var refs []bom.Reference
	for i := range n {
		id := bom.Identity{Maker: "Lab", Model: fmt.Sprintf("8086:%04x", i%64), Serial: fmt.Sprintf("dsn:%08x", i)}
		want, got := fmt.Sprintf("pci0000:00/%d", i), fmt.Sprintf("pci0000:00/%d", i)
		if kind == "alike" {
			id.Model, id.Serial = "8086:10d3", ""
			got = fmt.Sprintf("pci0000:80/%d", i)
		}
		refs = append(refs, bom.Reference{
			ID: fmt.Sprint(i), Subject: fmt.Sprintf("pci:%d", i), Class: bom.PCI, Identity: id, Location: finding.Location{Path: want},
		})
		switch {
		case kind != "plain":
		case i%10 == 0:
			id.Serial += "x"
		case i%100 == 1:
			got += "0"
		}
		inv.Parts = append(inv.Parts, bom.Part{Class: bom.PCI, Subject: fmt.Sprintf("pci:%d", i), Identity: id, Location: finding.Location{Path: got}})
	}
	return refs, inv
}

// BenchmarkMatch holds n parts against n lines. Ten times the parts cost about ten
// times the work, alike or not.
func BenchmarkMatch(b *testing.B) {
	for _, kind := range []string{"plain", "alike"} {
		for _, n := range []int{100, 1000, 10_000, 100_000} {
			refs, inv := declared(n, kind)
			b.Run(fmt.Sprintf("kind=%s/by=%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					bom.Match(refs, map[bom.Class]bom.Closure{bom.PCI: bom.Closed}, inv)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/part")
			})
		}
	}
}
