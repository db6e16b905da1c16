package manifest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// Golden is what one machine is held against: the lines of all trusted
// manifests, each from the statement that owns it.
type Golden struct {
	Environment  Environment
	Components   []bom.Reference
	Boot         []attest.Reference
	Firmware     []firmware.Reference
	SPDM         []spdm.Reference
	Endorsements []attest.Endorsement
	Classes      map[bom.Class]bom.Closure
	Known        []Known
	Scanners     []KnownScanner // the collectors that a boot may show
	Manifests    []Origin       // the statements that were used, sorted

	origins map[string]Origin
}

// KnownScanner is a bootable collector, with the registers that show a boot
// from it.
type KnownScanner struct {
	Scanner
	Origin string // as Reference.Origin of its registers
	Boot   []attest.Reference
}

// Origin returns the statement that a line comes from: "component:ID",
// "pcr:N", "firmware:NAME", "spdm:ID", "class:NAME" or "endorsement:KIND".
func (g *Golden) Origin(line string) (Origin, bool) {
	o, ok := g.origins[line]
	return o, ok
}

// Combine merges manifests into one. The platform vendor's statement owns the
// components, the firmware and PCR 0 to 3, 6 and 7; a statement about software
// alone owns PCR 4, 5 and 8 to 14. Where two equal owners disagree, that is
// MF-017 and the first by id counts. Deltas are applied to their bases. The
// result does not depend on the order of the arguments; it is nil when nothing
// can be used.
func Combine(trusted ...*Trusted) (*Golden, []finding.Finding) {
	c := &combiner{out: &Golden{Classes: map[bom.Class]bom.Closure{}, origins: map[string]Origin{}}}
	use := c.newest(c.changed(trusted))
	use = c.onePlatform(use)
	if len(use) == 0 {
		return nil, finding.Sort(c.found)
	}
	for _, t := range use {
		c.out.Manifests = append(c.out.Manifests, Origin{ID: t.manifest.ID, Version: t.manifest.Version})
		c.components(t, use)
		c.classes(t, use)
		c.scanner(t)
		c.boot(t, use)
		c.firmware(t, use)
		c.devices(t, use)
		c.endorsements(t, use)
		c.out.Known = append(c.out.Known, t.manifest.Known...)
	}
	c.sort()
	return c.out, finding.Sort(c.found)
}

type combiner struct {
	out   *Golden
	found []finding.Finding
}

func (c *combiner) report(code finding.Code, subject, want, got, why string) {
	f := finding.New(code, subject)
	f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
	c.found = append(c.found, f)
}

// changed applies deltas to their bases. A delta without a base is never used
// as a manifest of its own.
func (c *combiner) changed(trusted []*Trusted) []*Trusted {
	var bases, deltas []*Trusted
	for _, t := range sortTrusted(slices.Clone(trusted)) {
		if t.manifest.Delta != nil {
			deltas = append(deltas, t)
		} else if !slices.ContainsFunc(bases, func(b *Trusted) bool { return b.digest == t.digest }) {
			bases = append(bases, t)
		}
	}
	placed := map[string]bool{}
	for i, b := range bases {
		var mine []*Trusted
		for _, d := range deltas {
			if chainsTo(d, b, deltas, len(deltas)) {
				mine = append(mine, d)
				placed[d.digest] = true
			}
		}
		if len(mine) > 0 {
			var fs []finding.Finding
			bases[i], fs = Apply(b, mine)
			c.found = append(c.found, fs...)
		}
	}
	for _, d := range deltas {
		if !placed[d.digest] {
			c.found = append(c.found, deltaFinding(d, "its base", "sha256:"+d.manifest.Delta.BaseDigest, "the statement that this change starts from was not given"))
		}
	}
	return bases
}

// chainsTo follows base digests from a delta to a base.
func chainsTo(d, base *Trusted, deltas []*Trusted, left int) bool {
	if d.manifest.Delta.BaseDigest == base.digest {
		return true
	}
	i := slices.IndexFunc(deltas, func(o *Trusted) bool { return o.digest == d.manifest.Delta.BaseDigest })
	return i >= 0 && left > 0 && chainsTo(deltas[i], base, deltas, left-1)
}

// newest keeps the newest statement of each lineage and drops those that their
// own signer superseded.
func (c *combiner) newest(ts []*Trusted) []*Trusted {
	keep := map[string]*Trusted{}
	for _, t := range ts {
		m := t.manifest
		old, ok := keep[m.ID]
		keep[m.ID] = t
		if !ok {
			continue
		}
		if old.manifest.Version == m.Version {
			c.report(finding.ManifestContradiction, "manifest:"+m.ID, "one statement per version", fmt.Sprintf("two of version %d", m.Version),
				"two different statements have the same id and version")
			keep[m.ID] = old
			continue
		}
		c.report(finding.ManifestRollback, "manifest:"+m.ID, fmt.Sprintf("version %d", m.Version), fmt.Sprintf("version %d", old.manifest.Version),
			"an older statement was given beside a newer one of the same id; the newer one was used")
	}
	for _, t := range ts {
		for _, id := range t.manifest.Supersedes {
			if o := keep[id]; o != nil && o != keep[t.manifest.ID] && t.sameSigner(o) {
				c.report(finding.ManifestRollback, "manifest:"+id, "manifest:"+t.manifest.ID, "manifest:"+id, "the statement was given beside the one that replaces it")
				delete(keep, id)
			}
		}
	}
	var out []*Trusted
	for _, t := range ts {
		if keep[t.manifest.ID] == t {
			out = append(out, t)
		}
	}
	return out
}

// onePlatform checks that all statements are about one platform and keeps those
// that are. The most particular one names it.
func (c *combiner) onePlatform(ts []*Trusted) []*Trusted {
	var lead *Trusted
	for _, t := range ts {
		if e := t.manifest.Environment; e.Manufacturer != AnyPlatform && (lead == nil || e.Serial != "" && lead.manifest.Environment.Serial == "") {
			lead = t
		}
	}
	if lead == nil {
		if len(ts) > 0 {
			c.out.Environment = ts[0].manifest.Environment
		}
		return ts
	}
	want := lead.manifest.Environment
	c.out.Environment = want
	return slices.DeleteFunc(ts, func(t *Trusted) bool {
		e := t.manifest.Environment
		fits := e.Manufacturer == AnyPlatform || sameOrganization(e.Manufacturer, want.Manufacturer) && e.Model == want.Model &&
			(e.Revision == "" || want.Revision == "" || e.Revision == want.Revision) && (e.Serial == "" || e.Serial == want.Serial)
		if !fits {
			w, _, _ := want.Subject()
			g, _, _ := e.Subject()
			c.report(finding.ManifestWrongSubject, "manifest:"+t.manifest.ID, w, g, "the manifests that were given are about different platforms")
		}
		return !fits
	})
}

// vendor reports whether the platform's manufacturer signed.
func (t *Trusted) vendor() bool {
	return slices.ContainsFunc(t.signers, func(s signer) bool {
		return slices.ContainsFunc(s.organizations, func(o string) bool { return sameOrganization(o, t.manifest.Environment.Manufacturer) })
	})
}

// aboutSoftware reports whether a statement holds nothing but references for
// the registers that a scanner or an operating system owns.
func (t *Trusted) aboutSoftware() bool {
	m := t.manifest
	return len(m.Components) == 0 && len(m.Firmware) == 0 && len(m.SPDM) == 0 && len(m.Boot) > 0 &&
		!slices.ContainsFunc(m.Boot, func(r attest.Reference) bool { return bootRight(r.PCR) != rightBootSoftware })
}

// rank orders owners of a right, best first.
func (t *Trusted) rank(right string) int {
	switch {
	case right == rightBootSoftware && t.aboutSoftware():
		return 0
	case t.vendor():
		return 1
	}
	return 2
}

// owner decides which of the statements that have a line owns it. has returns
// the line's contents, for telling agreement from conflict.
func (c *combiner) owner(use []*Trusted, right, line string, has func(*Manifest) (any, bool)) *Trusted {
	if len(use) == 1 {
		return use[0]
	}
	var best *Trusted
	for _, t := range use {
		if _, ok := has(t.manifest); ok && (best == nil || t.rank(right) < best.rank(right)) {
			best = t
		}
	}
	for _, t := range use {
		v, ok := has(t.manifest)
		if !ok || t == best || t.rank(right) != best.rank(right) {
			continue
		}
		if w, _ := has(best.manifest); !sameJSON(v, w) {
			c.report(finding.ManifestContradiction, line, "manifest:"+best.manifest.ID, "manifest:"+t.manifest.ID,
				"two manifests of equal standing say different things about the same line; the first by id was used")
		}
	}
	return best
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func (c *combiner) set(line string, t *Trusted) {
	o, changed := t.changes[line]
	if !changed {
		o = Origin{ID: t.manifest.ID, Version: t.manifest.Version}
	}
	c.out.origins[line] = o
}

func (c *combiner) components(t *Trusted, use []*Trusted) {
	for _, r := range t.manifest.Components {
		line := "component:" + r.ID
		own := c.owner(use, string(r.Class), line, func(m *Manifest) (any, bool) {
			i := slices.IndexFunc(m.Components, func(o bom.Reference) bool { return o.ID == r.ID })
			if i < 0 {
				return nil, false
			}
			return m.Components[i], true
		})
		if own != t {
			continue
		}
		c.out.Components = append(c.out.Components, r)
		c.set(line, t)
	}
}

func (c *combiner) classes(t *Trusted, use []*Trusted) {
	for class, closure := range t.manifest.Classes {
		line := "class:" + string(class)
		own := c.owner(use, string(class), line, func(m *Manifest) (any, bool) { v, ok := m.Classes[class]; return v, ok })
		if own == t {
			c.out.Classes[class] = closure
			c.set(line, t)
		}
	}
}

// scanner adds a bootable collector. A machine is started from it or from
// something else, so that its registers stand apart from those of others: which
// of them a boot is held against is decided as a whole.
func (c *combiner) scanner(t *Trusted) {
	m := t.Manifest()
	if m.Scanner == nil {
		return
	}
	k := KnownScanner{Scanner: *m.Scanner, Origin: t.origin(), Boot: m.Boot}
	for i := range k.Boot {
		k.Boot[i].Origin = k.Origin
	}
	c.out.Scanners = append(c.out.Scanners, k)
}

// origin names a statement for people.
func (t *Trusted) origin() string {
	return fmt.Sprintf("manifest %s version %d", t.manifest.ID, t.manifest.Version)
}

func (c *combiner) boot(t *Trusted, use []*Trusted) {
	if t.manifest.Scanner != nil {
		return
	}
	use = slices.DeleteFunc(slices.Clone(use), func(o *Trusted) bool { return o.manifest.Scanner != nil })
	owned(c, t, use, func(m *Manifest) []attest.Reference { return m.Boot },
		func(r attest.Reference) (right, line string) { return bootRight(r.PCR), fmt.Sprintf("pcr:%d", r.PCR) },
		func(r attest.Reference) {
			r.Origin = t.origin()
			c.out.Boot = append(c.out.Boot, r)
		})
}

func (c *combiner) firmware(t *Trusted, use []*Trusted) {
	owned(c, t, use, func(m *Manifest) []firmware.Reference { return m.Firmware },
		func(r firmware.Reference) (right, line string) { return rightFirmware, "firmware:" + r.Name },
		func(r firmware.Reference) { c.out.Firmware = append(c.out.Firmware, r) })
}

// devices merges what devices sign of themselves; who may speak for firmware
// may speak for it.
func (c *combiner) devices(t *Trusted, use []*Trusted) {
	owned(c, t, use, func(m *Manifest) []spdm.Reference { return m.SPDM },
		func(r spdm.Reference) (right, line string) { return rightFirmware, "spdm:" + r.ID },
		func(r spdm.Reference) { c.out.SPDM = append(c.out.SPDM, r) })
}

func (c *combiner) endorsements(t *Trusted, use []*Trusted) {
	owned(c, t, use, func(m *Manifest) []attest.Endorsement { return m.Endorsements },
		func(e attest.Endorsement) (right, line string) { return rightEndorsements, "endorsement:" + e.Kind },
		func(e attest.Endorsement) { c.out.Endorsements = append(c.out.Endorsements, e) })
}

// owned keeps those references of a statement whose line it owns. Those with one line
// are one saying: who owns it says all of it.
func owned[R any](c *combiner, t *Trusted, use []*Trusted, list func(*Manifest) []R, about func(R) (right, line string), keep func(R)) {
	for _, r := range list(t.manifest) {
		right, line := about(r)
		own := c.owner(use, right, line, func(m *Manifest) (any, bool) {
			all := slices.DeleteFunc(slices.Clone(list(m)), func(o R) bool { _, other := about(o); return other != line })
			return all, len(all) > 0
		})
		if own == t {
			keep(r)
			c.set(line, t)
		}
	}
}

// sort puts the merged lists into the order of Encode.
func (c *combiner) sort() {
	g := c.out
	m := Manifest{Components: g.Components, Boot: g.Boot, Firmware: g.Firmware, SPDM: g.SPDM, Endorsements: g.Endorsements, Known: g.Known}
	s := m.sorted()
	g.Components, g.Boot, g.Firmware, g.SPDM, g.Endorsements = s.Components, s.Boot, s.Firmware, s.SPDM, s.Endorsements
	g.Known = slices.CompactFunc(s.Known, func(a, b Known) bool { return a == b })
	slices.SortStableFunc(g.Scanners, func(a, b KnownScanner) int { return strings.Compare(a.Origin, b.Origin) })
	slices.SortStableFunc(g.Manifests, func(a, b Origin) int { return strings.Compare(a.ID, b.ID) })
}
