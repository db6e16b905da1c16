package spdm

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/finding"
)

// hearsay looks at what a management controller tells of a device. Nobody signed
// it, so that it can raise a question and settles none.
func (c *Comparison) hearsay(refs []Reference, d Device, all *Observation) {
	if d.Listed == nil {
		return
	}
	c.skip("list of "+d.Subject+" by the management controller", "the device did not sign it, so that it proves nothing")
	for _, l := range d.Listed {
		for _, o := range all.Devices {
			if o.Signed == nil || o.Subject != d.Subject {
				continue
			}
			for _, b := range o.Signed.blocks {
				if b.Index == l.Index {
					c.lie(d, l, b)
				}
			}
		}
		for _, r := range refs {
			if i := slices.IndexFunc(r.Measurements, func(e Expected) bool { return e.Index == l.Index }); i >= 0 {
				c.rumour(r, r.Measurements[i], d, l)
			}
		}
	}
}

// lie compares a controller's word with the device's own.
func (c *Comparison) lie(d Device, l Listed, b Block) {
	v, _ := hex.DecodeString(l.Value)
	h, ok := hashSized(len(v))
	if !ok || bytes.Equal(v, b.Value) || b.Raw && bytes.Equal(v, digest(h.hash, b.Value)) || !b.Raw && len(v) != len(b.Value) {
		return
	}
	f := d.finding(finding.SourcesContradict, fmt.Sprintf("%s/%d", d.Subject, b.Index))
	f.Severity, f.Sources = finding.Medium, []finding.Source{finding.BMCTold, finding.Cryptographic}
	f.Want, f.Got = hex.EncodeToString(b.Value), l.Value
	f.Why = "The management controller tells another measurement of the device than the device signed: it is mistaken, late, or lies."
	c.Findings = append(c.Findings, f)
}

// rumour compares a controller's word with a reference.
func (c *Comparison) rumour(r Reference, e Expected, d Device, l Listed) {
	v, _ := hex.DecodeString(l.Value)
	want, known := (&Measurements{}).allowed(e, Block{Index: l.Index, Value: v})
	if !known || e.Any || slices.ContainsFunc(want, func(w []byte) bool { return bytes.Equal(w, v) }) {
		return
	}
	m := matcher{ref: r}
	f := d.finding(m.code(), fmt.Sprintf("%s/%d", d.Subject, l.Index))
	f.Severity, f.Confidence, f.Sources = finding.Medium, finding.Weak, []finding.Source{finding.BMCTold}
	f.Want, f.Got = declaredText(e), l.Value
	f.Why = "The management controller tells a measurement that the manifest does not allow. The device did not sign it."
	c.Findings = append(c.Findings, f)
}
