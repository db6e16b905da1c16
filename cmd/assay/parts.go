package main

import (
	"archive/zip"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/lshw"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/redfish"
)

// partList is one side of a comparison: observed parts, or declared lines.
type partList struct {
	name     string
	observed *bom.Inventory  // nil for a manifest
	declared []bom.Reference // of a manifest, or drafted from what was observed
	closures map[bom.Class]bom.Closure
	lost     []string           // what the file says and no part holds
	manifest *manifest.Manifest // nil unless it is one
	redfish  bool
}

// maxDump bounds a raw dump or a manifest given as a file.
const maxDump = 64 << 20

func addSystemFlag(fs *pflag.FlagSet, system *string) {
	fs.StringVar(system, "system", "", "id of the system to read, where a Redfish tree has several")
}

// openParts reads evidence, a golden manifest, a raw dump, the output of a tool or
// a Redfish tree.
func openParts(path, system string, limits evidence.Limits) (*partList, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, unreadable(err)
	}
	if info.IsDir() {
		if redfish.IsTree(os.DirFS(path)) {
			tree, err := redfish.Read(path, os.DirFS(path))
			return fromTree(tree, err, path, system)
		}
		return fromEvidence(path, limits)
	}
	data, err := readInput(path, maxDump)
	if err != nil {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(data, []byte("PK")) && !zippedTree(data):
		return fromEvidence(path, limits)
	case isTreeFile(data):
		tree, err := redfish.ReadFile(path, data)
		return fromTree(tree, err, path, system)
	case bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte("{")) && !lshw.Is(data):
		m, err := manifest.ReadUntrusted(data)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", path, err))
		}
		return &partList{name: path, declared: m.Components, closures: m.Classes, manifest: m}, nil
	}
	inv, err := bom.ReadDump(path, data)
	if err != nil {
		return nil, err
	}
	return fromInventory(path, inv), nil
}

// isTreeFile reports whether a file is a Redfish resource or an archive of some.
func isTreeFile(data []byte) bool {
	return redfish.IsResource(data) || redfish.IsArchive(data) || zippedTree(data)
}

// zippedTree reports whether a zip holds a Redfish tree: resources, and nothing
// that evidence has.
func zippedTree(data []byte) bool {
	if !bytes.HasPrefix(data, []byte("PK")) {
		return false
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return false
	}
	tree := false
	for _, f := range z.File {
		if f.Name == "evidence.json" || strings.HasPrefix(f.Name, "sys/") || strings.HasPrefix(f.Name, "xl/") {
			return false
		}
		tree = tree || f.Name == "index.json" || strings.HasSuffix(f.Name, "/index.json")
	}
	return tree
}

func fromTree(tree *redfish.Tree, err error, path, system string) (*partList, error) {
	if err != nil {
		return nil, unreadable(err)
	}
	inv, lost, err := tree.Inventory(system)
	if err != nil {
		return nil, treeError(path, err)
	}
	l := fromInventory(path, inv)
	l.lost, l.redfish = texts(lost), true
	return l, nil
}

// treeError says what to do about a tree that cannot be read as one machine.
func treeError(path string, err error) error {
	if several, ok := errors.AsType[*redfish.AmbiguousError](err); ok {
		return usage("%s: --system is needed: %v", path, several)
	}
	return unreadable(err)
}

func fromEvidence(path string, limits evidence.Limits) (*partList, error) {
	b, err := evidence.Open(path, limits)
	if err != nil {
		return nil, err
	}
	return fromInventory(path, bom.Read(b)), nil
}

func fromInventory(path string, inv *bom.Inventory) *partList {
	refs, _ := bom.Draft(inv, true)
	closures := map[bom.Class]bom.Closure{}
	for c, o := range inv.Classes {
		if o.Observed {
			closures[c] = bom.Closed
		}
	}
	return &partList{name: path, observed: inv, declared: refs, closures: closures}
}

// draft makes a manifest of the parts. What of them gets no line is returned.
func (l *partList) draft(instances bool) (*manifest.Manifest, []string) {
	if l.manifest != nil {
		return l.manifest, nil
	}
	m := &manifest.Manifest{}
	lost := l.lost
	if l.redfish {
		refs, closures, more := redfish.Draft(l.observed, instances)
		m.Components, m.Classes = refs, closures
		lost = append(lost, texts(more)...)
	} else {
		m.Components, m.Classes = bom.Draft(l.observed, instances)
	}
	lost = append(lost, leftOut(l.observed, m.Components)...)
	m.Known = knownOf(l.observed)
	for _, f := range l.observed.Findings {
		if !slices.Contains(m.Known, manifest.Known{Code: f.Code, Subject: f.Subject, Want: f.Want, Got: f.Got}) {
			lost = append(lost, fmt.Sprintf("%s: %s: want %s, got %s", f.Subject, f.Code, f.Want, f.Got))
		}
	}
	id, _ := l.observed.Machine()
	m.Environment = manifest.Environment{Manufacturer: cmp.Or(id.Maker, id.Brand), Model: id.Model, Revision: id.Revision, Virtual: l.observed.Virtual}
	if instances {
		m.Environment.Serial = id.Serial
	}
	return m, lost
}

// knownOf lists the contradictions that the parts already have, as golden draft
// records them for the signer. An inventory that names no machine has none: its
// draft is about parts alone.
func knownOf(inv *bom.Inventory) []manifest.Known {
	b, err := evidence.FromFiles(map[string][]byte{"inventory": nil}, "inventory", evidence.Limits{})
	if err != nil {
		return nil
	}
	m, _, err := assay.Draft([]*evidence.Bundle{b}, assay.DraftOptions{Scope: assay.Model, Inventories: []*bom.Inventory{inv}})
	if err != nil {
		return nil
	}
	return m.Known
}

// leftOut names what of an inventory no line holds: parts that say nothing that
// could be recognised, facts that are not declared, places.
func leftOut(inv *bom.Inventory, lines []bom.Reference) []string {
	type key struct {
		class bom.Class
		what  string
	}
	count := map[key]int{}
	for _, p := range inv.Parts {
		count[key{p.Class, "parts that say nothing which could be recognised"}]++
		for k := range p.Attributes {
			count[key{p.Class, "values of " + k}]++
		}
	}
	for _, r := range lines {
		count[key{r.Class, "parts that say nothing which could be recognised"}]--
		for k := range r.Attributes {
			count[key{r.Class, "values of " + k}]--
		}
	}
	var out []string
	for k, n := range count {
		if n > 0 {
			out = append(out, fmt.Sprintf("%s: %s: %d", k.class, k.what, n))
		}
	}
	slices.Sort(out)
	if n := len(inv.Places); n > 0 {
		out = append(out, fmt.Sprintf("slots, sockets and connectors: %d: manifests declare parts, not places", n))
	}
	return out
}
