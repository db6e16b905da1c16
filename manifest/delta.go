package manifest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
)

// Origin says which statement a line comes from.
type Origin struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Actor   string `json:"actor,omitempty"`  // who changed the line by a delta
	Ticket  string `json:"ticket,omitempty"` // the record of that change
}

// Apply returns the base with a chain of deltas applied, whatever order they
// are given in. A delta that does not continue the chain, or that changes what
// its signer may not change, is MF-011, and nothing from it on is applied.
func Apply(base *Trusted, deltas []*Trusted) (*Trusted, []finding.Finding) {
	cur, left := base, slices.Clone(deltas)
	for {
		next := slices.DeleteFunc(slices.Clone(left), func(d *Trusted) bool { return d.manifest.Delta.BaseDigest != cur.digest })
		next = slices.CompactFunc(sortTrusted(next), func(a, b *Trusted) bool { return a.digest == b.digest })
		if len(next) == 0 {
			break
		}
		d := next[0]
		if len(next) > 1 {
			return cur, []finding.Finding{deltaFinding(d, "one change of each statement", fmt.Sprintf("%d changes", len(next)),
				"two changes start from the same statement, so what the machine should be is undecided")}
		}
		changed, err := cur.apply(base, d)
		if err != nil {
			return cur, []finding.Finding{deltaFinding(d, "a change within its signer's rights", "another", err.Error())}
		}
		cur = changed
		left = slices.DeleteFunc(left, func(o *Trusted) bool { return o.digest == d.digest })
	}
	var fs []finding.Finding
	for _, d := range sortTrusted(left) {
		fs = append(fs, deltaFinding(d, "a known statement", "sha256:"+d.manifest.Delta.BaseDigest, "the statement that this change starts from is not there"))
	}
	return cur, finding.Sort(fs)
}

func deltaFinding(d *Trusted, want, got, why string) finding.Finding {
	f := finding.New(finding.ManifestDelta, fmt.Sprintf("manifest:%s/%d", d.manifest.ID, d.manifest.Version))
	f.Want, f.Got, f.Why, f.Confidence = want, got, why, finding.Proven
	f.Sources = []finding.Source{finding.Cryptographic}
	return f
}

// apply makes the manifest that results from one delta.
func (t *Trusted) apply(base, d *Trusted) (*Trusted, error) {
	c := &changer{base: base, delta: d, same: d.sameSigner(base)}
	m, dm := t.Manifest(), d.Manifest()
	if err := c.continues(m, dm); err != nil {
		return nil, err
	}
	if err := c.components(m, dm); err != nil {
		return nil, err
	}
	if err := c.others(m, dm); err != nil {
		return nil, err
	}
	m.Version, m.IssuedAt = dm.Version, dm.IssuedAt
	if m.NotAfter.IsZero() || !dm.NotAfter.IsZero() && dm.NotAfter.Before(m.NotAfter) {
		m.NotAfter = dm.NotAfter
	}
	out := &Trusted{
		manifest: m, digest: d.digest, base: append(slices.Clone(t.base), t.digest),
		signers: t.signers, rights: t.rights, changes: maps.Clone(t.changes),
	}
	if out.changes == nil {
		out.changes = map[string]Origin{}
	}
	for _, line := range dm.lines() {
		out.changes[line] = Origin{ID: dm.ID, Version: dm.Version, Actor: dm.Delta.Actor, Ticket: dm.Delta.Ticket}
	}
	return out, nil
}

// lines names what a manifest speaks about, as Golden.Origin does.
func (m *Manifest) lines() []string {
	var out []string
	for _, r := range m.Components {
		out = append(out, "component:"+r.ID)
	}
	for _, r := range m.Boot {
		out = append(out, fmt.Sprintf("pcr:%d", r.PCR))
	}
	for _, r := range m.Firmware {
		out = append(out, "firmware:"+r.Name)
	}
	for _, r := range m.SPDM {
		out = append(out, "spdm:"+r.ID)
	}
	for _, e := range m.Endorsements {
		out = append(out, "endorsement:"+e.Kind)
	}
	return out
}

// changer applies one delta under the rights of its signer.
type changer struct {
	base, delta *Trusted
	same        bool // the base's own signer made the change
}

func (t *Trusted) sameSigner(base *Trusted) bool {
	return slices.ContainsFunc(t.signers, func(s signer) bool {
		return slices.ContainsFunc(base.signers, func(b signer) bool {
			return s.spki == b.spki || slices.ContainsFunc(s.organizations, func(o string) bool {
				return slices.ContainsFunc(b.organizations, func(p string) bool { return sameOrganization(o, p) })
			})
		})
	})
}

func (c *changer) continues(m, dm *Manifest) error {
	switch {
	case dm.ID != m.ID:
		return fmt.Errorf("the change is for %s, not for %s", dm.ID, m.ID)
	case dm.Version <= m.Version:
		return fmt.Errorf("the change has version %d, which does not follow %d", dm.Version, m.Version)
	case m.Scanner != nil:
		return fmt.Errorf("the reference of a scanner is replaced by another one, never changed")
	case dm.Environment != m.Environment:
		return fmt.Errorf("the change is about another platform")
	}
	actor := func(s signer) bool {
		return slices.ContainsFunc(s.organizations, func(o string) bool { return sameOrganization(o, dm.Delta.Actor) })
	}
	if !slices.ContainsFunc(c.delta.signers, actor) {
		return fmt.Errorf("the actor %q did not sign the change", dm.Delta.Actor)
	}
	return nil
}

// may asks whether the signer may change lines of a class: the verifier's trust
// must allow it, and, for another signer than the base's, the base too when it
// names who may.
func (c *changer) may(right string) error {
	if !c.delta.rights(right) {
		return fmt.Errorf("its signer may not change %s", right)
	}
	list := c.base.manifest.Authority
	if c.same || len(list) == 0 {
		return nil
	}
	allowed := slices.ContainsFunc(list, func(a Authority) bool {
		return sameOrganization(a.Signer, c.delta.manifest.Delta.Actor) && slices.Contains(a.Classes, right)
	})
	if !allowed {
		return fmt.Errorf("the base does not let %s change %s", c.delta.manifest.Delta.Actor, right)
	}
	return nil
}

func (c *changer) components(m, dm *Manifest) error {
	at := func(id string) int {
		return slices.IndexFunc(m.Components, func(r bom.Reference) bool { return r.ID == id })
	}
	touch := func(old bom.Reference) error {
		if old.Security && !c.same {
			return fmt.Errorf("line %s is a security line, which only the base's signer may change", old.ID)
		}
		return c.may(string(old.Class))
	}
	for _, id := range dm.Delta.Remove {
		i := at(id)
		if i < 0 {
			return fmt.Errorf("line %s, which the change removes, is not there", id)
		}
		if err := touch(m.Components[i]); err != nil {
			return err
		}
		m.Components = slices.Delete(m.Components, i, i+1)
	}
	for _, r := range dm.Components {
		if err := c.may(string(r.Class)); err != nil {
			return err
		}
		i := at(r.ID)
		if i < 0 {
			m.Components = append(m.Components, r)
			continue
		}
		if err := touch(m.Components[i]); err != nil {
			return err
		}
		m.Components[i] = r
	}
	return nil
}

// others changes what is no component. References replace those of the same
// register, image or kind.
func (c *changer) others(m, dm *Manifest) error {
	if !c.same && (len(dm.Endorsements) > 0 || len(dm.Classes) > 0 || len(dm.Known) > 0 || len(dm.Authority) > 0) {
		return fmt.Errorf("only the base's signer may change endorsements, classes, known contradictions or authority")
	}
	for _, r := range dm.Boot {
		if err := c.may(bootRight(r.PCR)); err != nil && c.may(rightBoot) != nil {
			return err
		}
		m.Boot = slices.DeleteFunc(m.Boot, func(o attest.Reference) bool { return o.PCR == r.PCR })
	}
	m.Boot = append(m.Boot, dm.Boot...)
	if len(dm.Firmware)+len(dm.SPDM) > 0 {
		if err := c.may(rightFirmware); err != nil {
			return err
		}
	}
	m.Firmware = slices.DeleteFunc(m.Firmware, func(o firmware.Reference) bool {
		return slices.ContainsFunc(dm.Firmware, func(r firmware.Reference) bool { return r.Name == o.Name })
	})
	m.Firmware = append(m.Firmware, dm.Firmware...)
	m.SPDM = slices.DeleteFunc(m.SPDM, func(o spdm.Reference) bool {
		return slices.ContainsFunc(dm.SPDM, func(r spdm.Reference) bool { return r.ID == o.ID })
	})
	m.SPDM = append(m.SPDM, dm.SPDM...)
	m.Endorsements = slices.DeleteFunc(m.Endorsements, func(o attest.Endorsement) bool {
		return slices.ContainsFunc(dm.Endorsements, func(e attest.Endorsement) bool { return e.Kind == o.Kind })
	})
	m.Endorsements = append(m.Endorsements, dm.Endorsements...)
	if m.Classes == nil {
		m.Classes = map[bom.Class]bom.Closure{}
	}
	maps.Copy(m.Classes, dm.Classes)
	m.Known = append(m.Known, dm.Known...)
	return nil
}

// sortTrusted orders statements by id, version and digest, so that nothing
// depends on the order in which files were named.
func sortTrusted(ts []*Trusted) []*Trusted {
	slices.SortStableFunc(ts, func(a, b *Trusted) int {
		if c := strings.Compare(a.manifest.ID, b.manifest.ID); c != 0 {
			return c
		}
		if a.manifest.Version != b.manifest.Version {
			return int(min(max(a.manifest.Version-b.manifest.Version, -1), 1))
		}
		return strings.Compare(a.digest, b.digest)
	})
	return ts
}
