package evidence

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// changes reports what a second reading of the same scan gave differently. The
// collector keeps it under SecondPass; artefacts that change while a machine
// runs are left out there.
func (b *Bundle) changes() []finding.Finding {
	var fs []finding.Finding
	for _, a := range b.artifacts {
		name, ok := strings.CutPrefix(a.Path, SecondPass)
		if !ok {
			continue
		}
		first, listed := b.status[name]
		if !listed {
			first = Artifact{Path: name, Status: Absent}
		}
		if settled(name, b.files[name], b.files[a.Path]) || isImage(name) && first.Status == Collected && a.Status == Collected {
			continue
		}
		f := finding.New(finding.EvidenceChanged, "evidence:"+name)
		f.Want, f.Got = reading(first), reading(a)
		f.Why, f.Confidence = "Two readings of one scan differ: something changed in between, or something answers differently when it is asked again.", finding.Strong
		f.Basis = []finding.Basis{{Artifact: name, SHA256: b.SHA256(name)}, {Artifact: a.Path, SHA256: b.SHA256(a.Path)}}
		fs = append(fs, f)
	}
	return fs
}

// isImage reports whether an artefact is a firmware image. Package firmware
// compares two reads of one part by part, since variables may change in between
// (FW-007).
func isImage(name string) bool {
	ok, _ := path.Match("firmware/*.rom", name)
	return ok
}

func reading(a Artifact) string {
	if a.Status == Collected {
		return "sha256:" + a.SHA256
	}
	return string(a.Status)
}

// settled reports whether two readings of PCI configuration space tell the same
// device: status, power and error registers move while a machine runs, its ids,
// class and header type do not (PCI Local Bus 3.0, 6.2.1).
func settled(name string, a, b []byte) bool {
	if ok, _ := path.Match("sys/bus/pci/devices/*/config", name); !ok || len(a) < 64 || len(b) != len(a) {
		return false
	}
	fixed := func(c []byte) []byte { return slices.Concat(c[0:4], c[8:12], c[14:15], c[0x2c:0x30], c[0x34:0x35]) }
	return bytes.Equal(fixed(a), fixed(b))
}
