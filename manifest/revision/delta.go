package revision

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest"
)

// DeltaOptions say who changed a machine, and what of the change is meant.
type DeltaOptions struct {
	Base    string // digest of the statement that is changed (manifest.PayloadDigest)
	Actor   string // organisation that made the change: the one that signs
	Ticket  string // its record of the change
	Classes []bom.Class
	Now     time.Time
}

// DraftDelta makes the delta that turns the parts of one manifest into those of a
// draft of the machine as it is now, for whoever made the change to read and sign. Only
// components are changed, of the given classes or of all. The second result names what
// else differs: no repair accounts for it by itself.
func DraftDelta(base, fresh *manifest.Manifest, o DeltaOptions) (*manifest.Manifest, []string, error) {
	switch {
	case base.Delta != nil:
		return nil, nil, errors.New("delta: the first manifest is a delta itself; name the one that it changes")
	case o.Actor == "" || o.Ticket == "":
		return nil, nil, errors.New("delta: an actor and a ticket are needed, since that is what a delta says")
	case base.Environment.Manufacturer != fresh.Environment.Manufacturer || base.Environment.Model != fresh.Environment.Model || base.Environment.Serial != "" && base.Environment.Serial != fresh.Environment.Serial:
		return nil, nil, fmt.Errorf("delta: the evidence is of %s %s %s, and the manifest is for %s %s %s", fresh.Environment.Manufacturer, fresh.Environment.Model, fresh.Environment.Serial,
			base.Environment.Manufacturer, base.Environment.Model, base.Environment.Serial)
	}
	changes, err := Compare(base, fresh)
	if err != nil {
		return nil, nil, err
	}
	d := &manifest.Manifest{
		ID: base.ID, Version: base.Version + 1, IssuedAt: o.Now, NotAfter: base.NotAfter, Environment: base.Environment, Components: []bom.Reference{}, Classes: map[bom.Class]bom.Closure{},
		Delta: &manifest.Delta{BaseDigest: o.Base, Actor: o.Actor, Ticket: o.Ticket},
	}
	w := &deltaWriter{out: d, base: base, fresh: fresh, classes: o.Classes}
	var left []string
	for i := range changes {
		if !w.change(&changes[i]) && changes[i].Line != "notAfter" {
			left = append(left, changes[i].Line)
		}
	}
	if len(d.Components)+len(d.Delta.Remove) == 0 {
		return nil, left, errors.New("delta: no part that is meant has changed")
	}
	return d, left, nil
}

// deltaWriter puts changes of components into a delta.
type deltaWriter struct {
	out, base, fresh *manifest.Manifest
	classes          []bom.Class
}

func find(m *manifest.Manifest, id string) *bom.Reference {
	i := slices.IndexFunc(m.Components, func(r bom.Reference) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return &m.Components[i]
}

// change reports whether a change is in the delta. A line that both have keeps the
// name that it has in the base.
func (w *deltaWriter) change(c *Change) bool {
	id, ours := strings.CutPrefix(c.Line, "component:")
	if !ours {
		return false
	}
	was := strings.TrimPrefix(cmp.Or(c.Was, c.Line), "component:")
	old, now := find(w.base, was), find(w.fresh, id)
	switch {
	case c.New == "":
		if old == nil || !w.meant(old.Class) {
			return false
		}
		w.out.Delta.Remove = append(w.out.Delta.Remove, old.ID)
		return true
	case now == nil || !w.meant(now.Class):
		return false
	}
	line := *now
	if line.ID = was; c.Old == "" {
		line.ID = w.free(now.Class)
	}
	w.out.Components = append(w.out.Components, line)
	return true
}

func (w *deltaWriter) meant(c bom.Class) bool {
	return len(w.classes) == 0 || slices.Contains(w.classes, c)
}

// free is a name that no line has yet.
func (w *deltaWriter) free(c bom.Class) string {
	for n := 1; ; n++ {
		if id := fmt.Sprintf("%s-%d", c, n); find(w.base, id) == nil && find(w.out, id) == nil {
			return id
		}
	}
}
