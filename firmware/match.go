package firmware

import (
	"cmp"
	"crypto"
	_ "crypto/sha512" // digests of what vendors ship
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
)

// Comparison is the outcome of Match.
type Comparison struct {
	Findings   []finding.Finding
	Coverage   []Coverage
	NotChecked []NotChecked
}

// Coverage counts, for one declared image, what became of its leaves and bytes.
type Coverage struct {
	Name          string `json:"name"`
	Declared      int    `json:"declared"`             // leaves in the reference
	Matched       int    `json:"matched"`              // leaves with the declared bytes
	Unexpected    int    `json:"unexpected"`           // leaves that no reference leaf stands for
	NotObservable int    `json:"notObservable"`        // declared leaves of an image that was not read
	Compared      int64  `json:"compared"`             // bytes
	Volatile      int64  `json:"volatile"`             // bytes that may change
	Undeclared    int64  `json:"undeclared,omitempty"` // bytes in no leaf of a partial reference
	Unopened      int    `json:"unopened,omitempty"`   // ranges that are written to and whose contents were not compared
}

// NotChecked names something that could not be compared, and why.
type NotChecked struct {
	What   string `json:"what"`
	Reason string `json:"reason"`
}

// Match compares the images of a machine with the declared ones, leaf by leaf
// and by identity, not by offset. versions holds, by image name, the version
// labels that the machine reports; a label is only ever a hint. A declared
// image that was not read completely is not checked, never passed.
func Match(want []Reference, got []*Image, versions map[string]string) *Comparison {
	c := &Comparison{}
	byName := map[string][]Reference{}
	for _, r := range want {
		byName[r.Name] = append(byName[r.Name], r)
	}
	names := []string{}
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		c.image(byName[n], imageNamed(got, n), versions[n])
	}
	for _, m := range got {
		c.NotChecked = append(c.NotChecked, m.unread...)
		if _, ok := byName[m.Name]; ok || m.Reason == notInEvidence {
			continue
		}
		c.Findings = append(c.Findings, m.claimed...)
		switch refs := byName[m.readOf]; {
		case len(refs) > 0 && m.Reason == "" && m.Size == imageNamed(got, m.readOf).Size:
			c.image(refs, m, "") // another read of a declared flash
		default:
			c.NotChecked = append(c.NotChecked, NotChecked{What: "firmware:" + m.Name, Reason: "the manifest declares no image of this name"})
		}
	}
	c.Findings = finding.Sort(c.Findings)
	return c
}

const notInEvidence = "not in the evidence"

func imageNamed(got []*Image, name string) *Image {
	i := slices.IndexFunc(got, func(m *Image) bool { return m.Name == name })
	if i < 0 {
		return &Image{Name: name, Artifact: "firmware/" + name + ".rom", Reason: notInEvidence}
	}
	return got[i]
}

// image compares one image with the reference that fits it best.
func (c *Comparison) image(refs []Reference, m *Image, version string) {
	c.version(refs, m, version)
	c.protection(refs, m)
	if m.Reason != "" {
		c.NotChecked = append(c.NotChecked, NotChecked{What: "firmware:" + m.Name, Reason: m.Reason})
		c.Coverage = append(c.Coverage, Coverage{Name: m.Name, Declared: len(refs[0].Leaves), NotObservable: len(refs[0].Leaves)})
		c.partly(refs, m)
		return
	}
	var best *comparer
	for _, r := range candidates(refs, m) {
		k := &comparer{ref: r, got: m, stable: m.StableSHA256()}
		k.leaves()
		if best == nil || k.fits(best, version) {
			best = k
		}
	}
	best.sameVersion(version)
	c.Findings = append(c.Findings, best.found...)
	c.Findings = append(c.Findings, best.met()...)
	if best.differing() {
		c.Findings = append(c.Findings, slices.Concat(m.signed(), m.claimed)...)
	}
	c.NotChecked = append(c.NotChecked, best.notChecked...)
	c.Coverage = append(c.Coverage, best.coverage)
	if n := best.coverage.Undeclared; n > 0 {
		c.NotChecked = append(c.NotChecked, NotChecked{What: "firmware:" + m.Name, Reason: fmt.Sprintf("%d of %d bytes are in no part that the reference declares: the vendor's file does not hold the whole flash", n, m.Size)})
	}
	if len(best.ref.Leaves) == 0 && best.ref.SHA256 == "" && best.coverage.Compared == 0 && !best.differing() {
		c.NotChecked = append(c.NotChecked, NotChecked{What: "firmware:" + m.Name, Reason: "the manifest declares no digest of this image"})
	}
}

// fits reports whether the image fits the reference better than another one: by
// modules that differ, then by how much of the flash is declared.
func (k *comparer) fits(best *comparer, version string) bool {
	modules := func(c *comparer) int {
		n := 0
		for _, f := range c.found {
			if f.Code == finding.CodeRegionDiffers || f.Code == finding.BMCFirmwareDiffers {
				n++
			}
		}
		return n
	}
	isVersion := func(c *comparer) int {
		if c.ref.Version == version {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(modules(k), modules(best)), cmp.Compare(k.coverage.Undeclared, best.coverage.Undeclared),
		cmp.Compare(len(k.found), len(best.found)), cmp.Compare(isVersion(k), isVersion(best))) < 0
}

// partly compares what an incomplete read holds: a side file that calls an image
// incomplete must not make a difference go away. The structure cannot be
// trusted then, so that leaves are looked for at their declared offsets too;
// what was not read is blank, and a difference is only a hint. An image in which less
// than half of the leaves lie where they should says nothing.
func (c *Comparison) partly(refs []Reference, m *Image) {
	intact := make(map[string][2]int64, len(m.Leaves)) // what was read well enough to be taken apart
	for _, l := range m.Leaves {
		if !slices.ContainsFunc(m.bytes(l), func(c byte) bool { return c != 0 && c != 0xff }) {
			continue
		}
		intact[l.Path] = [2]int64{l.Offset, l.Length}
	}
	var best []finding.Finding
	most := 0
	for _, r := range refs {
		if r.Partial {
			continue // its offsets are those of the vendor's file
		}
		k := &comparer{ref: r, got: m}
		equal := 0
		for _, want := range r.Leaves {
			if want.Kind == Volatile || want.Offset < 0 || want.Length <= 0 || want.Length > m.Size-want.Offset {
				continue
			}
			got := Leaf{Path: want.Path, Kind: want.Kind, Offset: want.Offset, Length: want.Length}
			got.SHA256 = digest(m.bytes(got))
			if strings.EqualFold(got.SHA256, want.SHA256) {
				equal++
			} else if intact[want.Path] == [2]int64{want.Offset, want.Length} || wholly(m.bytes(got)) {
				k.leaf(want, got)
			}
		}
		if equal > len(k.found) && equal > most {
			best, most = k.found, equal
		}
	}
	for _, f := range best {
		f.Confidence = finding.Weak
		f.Why += "; the image was not read completely"
		c.Findings = append(c.Findings, f)
	}
}

// wholly reports whether bytes show no page that may not have been read.
func wholly(b []byte) bool {
	const page = 4096
	for at := 0; at < len(b); at += page {
		if p := b[at:min(at+page, len(b))]; !slices.ContainsFunc(p, func(c byte) bool { return c != p[0] || c != 0 && c != 0xff }) {
			return false
		}
	}
	return true
}

// version holds the reported label against the declared ones.
func (c *Comparison) version(refs []Reference, m *Image, version string) {
	if version == "" {
		return
	}
	var labels []string
	for _, r := range refs {
		if r.Version != "" {
			labels = append(labels, r.Version)
		}
		if r.MinVersion != "" && OlderThan(version, r.MinVersion) {
			f := finding.New(finding.FirmwareTooOld, "firmware:"+m.Name)
			f.Want, f.Got = "at least "+r.MinVersion, version
			f.Why = "the firmware reports a version that is older than the manifest allows"
			f.Sources = []finding.Source{finding.FirmwareTold}
			c.Findings = append(c.Findings, f)
		}
	}
	if len(labels) > 0 && !slices.Contains(labels, version) {
		slices.Sort(labels)
		f := finding.New(finding.UnknownFirmware, "firmware:"+m.Name)
		f.Want, f.Got = strings.Join(slices.Compact(labels), " or "), version
		f.Why = "the firmware reports a version that the manifest does not list"
		f.Sources = []finding.Source{finding.FirmwareTold}
		c.Findings = append(c.Findings, f)
	}
}

// comparer compares one image with one reference.
type comparer struct {
	ref      Reference
	got      *Image
	stable   string
	found    []finding.Finding
	coverage Coverage
	moved    []string
	opened   []int64 // offsets of the leaves whose insides were looked at

	notChecked []NotChecked
	persistent []string // subjects of findings in ranges that are written to

	// Differences that another one explains: room that became smaller because
	// something else grew. They count when there is no other.
	room []finding.Finding
}

func (k *comparer) report(code finding.Code, path, want, got, why string, at, length int64) {
	subject := "firmware:" + k.got.Name
	if path != "" {
		subject += "/" + path
	}
	if k.got.Name == "bmc" && code != finding.FlashPartDiffers && code != finding.SameVersionOtherBytes {
		code = finding.BMCFirmwareDiffers
	}
	f := finding.New(code, subject)
	f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
	f.Sources = []finding.Source{finding.PartMemory}
	f.Basis = []finding.Basis{{Artifact: k.got.Artifact, SHA256: k.got.SHA256, Offset: at, Length: length}}
	k.found = append(k.found, f)
}

// met returns what opening met in the leaves that were looked into.
func (k *comparer) met() []finding.Finding {
	if len(k.opened) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(k.got.met()), func(f finding.Finding) bool {
		return len(f.Basis) > 0 && !slices.Contains(k.opened, f.Basis[0].Offset)
	})
}

// leaves compares both ways: every declared leaf needs its bytes, and every
// leaf of the image needs a declared one.
func (k *comparer) leaves() {
	m := k.got
	k.coverage = Coverage{Name: m.Name, Declared: len(k.ref.Leaves)}
	if k.ref.Size > 0 && k.ref.Size != m.Size {
		k.report(finding.FlashPartDiffers, "", fmt.Sprintf("%d bytes", k.ref.Size), fmt.Sprintf("%d bytes", m.Size),
			"the image has another size than declared", 0, m.Size)
	}
	if len(k.ref.Leaves) > 0 {
		k.compareLeaves()
	}
	if len(k.ref.Digests) > 0 {
		k.shipped()
	}
	if k.ref.SHA256 == "" {
		return
	}
	differing := k.differing()
	if !differing && !strings.EqualFold(k.ref.SHA256, k.stable) {
		why := "the image outside its volatile ranges is not the declared one"
		if len(k.moved) > 0 {
			why += "; these parts lie at other offsets: " + joinSome(k.moved)
		}
		k.report(finding.ImageDiffers, "", "sha256:"+k.ref.SHA256, "sha256:"+k.stable, why, 0, m.Size)
	}
	if !differing && len(k.ref.Leaves) == 0 {
		k.volatileUndeclared()
	}
}

// volatileUndeclared counts what a reference with nothing but a digest leaves
// open: the ranges that may change, which no digest covers. Code has no place in
// them all the same.
func (k *comparer) volatileUndeclared() {
	k.coverage.Compared = k.got.Size
	for _, l := range k.got.Leaves {
		if l.Kind != Volatile {
			continue
		}
		k.coverage.Compared -= l.Length
		k.coverage.Volatile += l.Length
		k.volatileLeaf(Leaf{Path: l.Path, Kind: l.Kind, Offset: l.Offset, Length: l.Length}, l)
	}
	if k.coverage.Volatile > 0 {
		k.notChecked = append(k.notChecked, NotChecked{What: "firmware:" + k.got.Name, Reason: fmt.Sprintf("%d bytes may change, and the reference declares nothing of them", k.coverage.Volatile)})
	}
}

// shipped holds the whole image against digests of the file that the vendor
// ships. It fits images without variables; any other needs leaves.
func (k *comparer) shipped() {
	known := false
	for _, bank := range []struct {
		name string
		hash crypto.Hash
	}{{"sha512", crypto.SHA512}, {"sha384", crypto.SHA384}, {"sha256", crypto.SHA256}} {
		name, h := bank.name, bank.hash
		want := k.ref.Digests[name]
		if want == "" {
			continue
		}
		known = true
		sum := h.New()
		sum.Write(k.got.data)
		if got := hex.EncodeToString(sum.Sum(nil)); !strings.EqualFold(got, want) {
			k.report(finding.ImageDiffers, "", name+":"+want, name+":"+got, "the image is not the file of which the manifest has the digest", 0, k.got.Size)
			return
		}
	}
	if known {
		k.coverage.Compared = k.got.Size
	}
}

func (k *comparer) compareLeaves() {
	got := make(map[string]Leaf, len(k.got.Leaves))
	for _, l := range k.got.Leaves {
		got[l.Path] = l
	}
	declared := make(map[string]bool, len(k.ref.Leaves))
	volumes := map[string]bool{}
	for _, want := range k.ref.Leaves {
		declared[want.Path] = true
		volumes[volumeOf(want)] = true
		l, ok := got[want.Path]
		if !ok {
			k.aside(want.Kind == Padding || want.Kind == Free, func() {
				k.report(codeFor(want.Kind), want.Path, leafValue(want), "missing",
					fmt.Sprintf("the image has no %s at this place of its structure", nameOf(want)), 0, 0)
			})
			continue
		}
		k.leaf(want, l)
	}
	for _, l := range k.got.Leaves {
		switch {
		case declared[l.Path]:
		case k.ref.Partial && !(ofVolume(l) && volumes[volumeOf(l)]):
			k.coverage.Undeclared += l.Length
		default:
			k.undeclared(l)
		}
	}
	if !k.differing() {
		k.found = append(k.found, k.room...)
	}
}

// differing reports whether bytes were found that are not the declared ones.
func (k *comparer) differing() bool {
	return slices.ContainsFunc(k.found, func(f finding.Finding) bool { return f.Code != finding.FlashPartDiffers })
}

// aside reports what f reports, as room when the leaf is empty room.
func (k *comparer) aside(empty bool, f func()) {
	n := len(k.found)
	f()
	if empty {
		k.room = append(k.room, k.found[n:]...)
		k.found = k.found[:n]
	}
}

// empty reports whether a leaf of the image is room without contents.
func (k *comparer) empty(l Leaf) bool {
	return (l.Kind == Padding || l.Kind == Free) && emptyRoom(k.got.bytes(l))
}

func (k *comparer) undeclared(l Leaf) {
	k.coverage.Unexpected++
	k.aside(k.empty(l), func() {
		k.report(codeFor(l.Kind), l.Path, "nothing", "sha256:"+l.SHA256,
			fmt.Sprintf("the image has a %s that the manifest does not declare%s", nameOf(l), k.holdsCode(l)), l.Offset, l.Length)
	})
}

// leaf compares one pair. A volatile leaf may have other bytes, but no other
// place or size, and no executable that the reference did not have.
func (k *comparer) leaf(want, l Leaf) {
	if want.Kind == Volatile || l.Kind == Volatile {
		k.volatileLeaf(want, l)
		return
	}
	k.coverage.Compared += l.Length
	if !strings.EqualFold(want.SHA256, l.SHA256) || want.Length != l.Length {
		if k.inside(want, l) {
			return
		}
		k.aside(want.Kind == l.Kind && want.Length != l.Length && k.empty(l), func() {
			k.report(worse(want, l), l.Path, leafValue(want), "sha256:"+l.SHA256,
				fmt.Sprintf("%s has other bytes than declared%s", nameOf(l), k.holdsCode(l)), l.Offset, l.Length)
		})
		return
	}
	k.coverage.Matched++
	if want.Offset != l.Offset && !k.ref.Partial {
		k.moved = append(k.moved, fmt.Sprintf("%s (0x%x, declared 0x%x)", l.Path, l.Offset, want.Offset))
	}
}

func (k *comparer) volatileLeaf(want, l Leaf) {
	if want.Kind != l.Kind || want.Length != l.Length || want.Offset != l.Offset {
		k.report(finding.ForeignBytes, l.Path, rangeValue(want), rangeValue(l),
			"the range whose contents may change is not the declared one", l.Offset, l.Length)
		return
	}
	k.coverage.Matched++
	k.coverage.Volatile += l.Length
	fresh := slices.DeleteFunc(slices.Clone(l.Executables), func(sum string) bool { return slices.Contains(want.Executables, sum) })
	k.written(want, l)
	if len(fresh) == 0 {
		return
	}
	eachExecutable(k.got.bytes(l), func(at, length int, sum string) {
		if i := slices.Index(fresh, sum); i >= 0 {
			fresh = slices.Delete(fresh, i, i+1)
			k.report(finding.ForeignBytes, l.Path, "no executable code", "executable headers sha256:"+sum,
				"a range for variables holds an executable image that the reference did not have", l.Offset+int64(at), int64(length))
		}
	})
}

// sameVersion adds FW-004: bytes differ behind an equal label.
func (k *comparer) sameVersion(version string) {
	if version == "" || version != k.ref.Version {
		return
	}
	firmware := slices.DeleteFunc(slices.Clone(k.found), func(f finding.Finding) bool { // an account that changed is another matter
		return f.Code == finding.FlashPartDiffers || slices.Contains(k.persistent, f.Subject)
	})
	if len(firmware) > 0 {
		want := "sha256:" + k.ref.SHA256
		if k.ref.SHA256 == "" {
			want = "other bytes"
		}
		k.report(finding.SameVersionOtherBytes, "", want, "sha256:"+k.stable,
			fmt.Sprintf("the firmware reports version %s like the reference and has other bytes", version), 0, k.got.Size)
	}
}

// holdsCode adds to a sentence that bytes which should hold no code do.
func (k *comparer) holdsCode(l Leaf) string {
	if l.Kind == Code {
		return ""
	}
	if at, n := nextExecutable(k.got.bytes(l)); n > 0 {
		return fmt.Sprintf(", with an executable image at offset 0x%x", l.Offset+int64(at))
	}
	return ""
}

func codeFor(k Kind) finding.Code {
	if k == Code {
		return finding.CodeRegionDiffers
	}
	return finding.ForeignBytes
}

func leafValue(l Leaf) string {
	if l.SHA256 == "" {
		return rangeValue(l)
	}
	return "sha256:" + l.SHA256
}

func rangeValue(l Leaf) string {
	return fmt.Sprintf("%s 0x%x+0x%x", l.Kind, l.Offset, l.Length)
}

// nameOf says in words which part of the image a leaf is.
func nameOf(l Leaf) string {
	volume, file, ok := strings.Cut(l.Path, "/")
	if !ok {
		return fmt.Sprintf("%s %s", l.Kind, l.Path)
	}
	return fmt.Sprintf("%s %s of volume %s", l.Kind, file, volume)
}

func joinSome(s []string) string {
	const most = 5
	slices.SortStableFunc(s, func(a, b string) int { return cmp.Compare(a, b) })
	if len(s) > most {
		return strings.Join(s[:most], ", ") + fmt.Sprintf(" and %d more", len(s)-most)
	}
	return strings.Join(s, ", ")
}
