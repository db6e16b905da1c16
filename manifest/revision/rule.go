package revision

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/manifest"
)

// judge says what the difference between two lines of one name means.
func judge(o, n line) []Kind {
	switch v := o.values[0].(type) {
	case bom.Reference:
		return judgeComponent(v, n.values[0].(bom.Reference))
	case attest.Reference:
		return judgeBoot(all[attest.Reference](o), all[attest.Reference](n))
	case firmware.Reference:
		return judgeFirmware(all[firmware.Reference](o), all[firmware.Reference](n))
	case spdm.Reference:
		return judgeSPDM(v, n.values[0].(spdm.Reference))
	case attest.Endorsement:
		return judgeEndorsements(all[attest.Endorsement](o), all[attest.Endorsement](n))
	case manifest.Known, manifest.Authority:
		return judgeTexts(o, n)
	case manifest.Environment:
		return judgeEnvironment(v, n.values[0].(manifest.Environment))
	case bom.Closure:
		return judgeClosure(v, n.values[0].(bom.Closure))
	case time.Time:
		return judgeTime(v, n.values[0].(time.Time))
	}
	return []Kind{Substituted} // a scanner
}

func all[T any](l line) []T {
	out := make([]T, 0, len(l.values))
	for _, v := range l.values {
		out = append(out, v.(T))
	}
	return out
}

func judgeEnvironment(o, n manifest.Environment) []Kind {
	t := tally{}
	t.silence(o.Serial, n.Serial) // without one it is about every machine of the model
	t.flag(o.Virtual != "", n.Virtual != "")
	out := t.kinds()
	if other(o.Manufacturer, n.Manufacturer) || other(o.Model, n.Model) || other(o.Revision, n.Revision) || other(o.Serial, n.Serial) {
		out = append(out, Substituted)
	}
	return out
}

func judgeClosure(o, n bom.Closure) []Kind {
	t := tally{}
	order := []bom.Closure{bom.Open, bom.Closed, bom.NoneThere}
	t.steps(slices.Index(order, n) - slices.Index(order, o))
	return t.kinds()
}

func judgeTime(o, n time.Time) []Kind {
	t := tally{}
	t.steps(o.Compare(n))
	return t.kinds()
}

// judgeTexts is for lists of what is accepted or permitted.
func judgeTexts(o, n line) []Kind {
	texts := func(l line) []string {
		var out []string
		for _, v := range l.values {
			s, _ := encode([]any{v})
			out = append(out, s)
		}
		return out
	}
	t := tally{}
	t.wider = t.sets(texts(o), texts(n)) || t.wider
	return t.kinds()
}

// digests compares allowed values by bank or hash. What is not declared is not
// compared.
func (t *tally) digests(o, n map[string][]string) (differ bool) {
	for bank := range o {
		if len(n[bank]) == 0 {
			t.wider = true
			continue
		}
		differ = t.sets(o[bank], n[bank]) || differ
	}
	for bank := range n {
		t.narrower = t.narrower || len(o[bank]) == 0
	}
	return differ
}

// judgeBoot compares what a register must hold, event by event.
func judgeBoot(o, n []attest.Reference) []Kind {
	t, differ := tally{}, len(o) != len(n)
	for i := range min(len(o), len(n)) {
		differ = t.digests(o[i].Digests, n[i].Digests) || differ
		t.flag(o[i].Order == "any", n[i].Order == "any")
		differ = t.events(o[i].Events, n[i].Events) || differ
	}
	out := t.kinds()
	if differ {
		out = append(out, Measurement)
	}
	return out
}

// events pairs expected events by type and label. One that came or went changes
// what is measured; without any, the register is no longer explained.
func (t *tally) events(o, n []attest.EventReference) (differ bool) {
	t.flag(len(o) == 0, len(n) == 0)
	named := func(es []attest.EventReference) map[string]attest.EventReference {
		out, seen := map[string]attest.EventReference{}, map[string]int{}
		for _, e := range es {
			k := e.Type + " " + e.Label
			seen[k]++
			out[k+" "+strconv.Itoa(seen[k])] = e
		}
		return out
	}
	a, b := named(o), named(n)
	for k, x := range a {
		y, ok := b[k]
		if !ok {
			differ = true
			continue
		}
		differ = t.digests(x.Digests, y.Digests) || x.Derived != y.Derived || differ
		t.flag(x.Optional, y.Optional)
	}
	for k, y := range b {
		if _, ok := a[k]; !ok {
			differ = true
			t.wider = t.wider || y.Optional
		}
	}
	return differ
}

// judgeFirmware compares the images that are allowed under one name.
func judgeFirmware(o, n []firmware.Reference) []Kind {
	image := func(r firmware.Reference) string {
		return r.Version + " " + r.SHA256 + " " + r.Digests["sha256"] + " " + r.Digests["sha384"] + " " + r.Digests["sha512"]
	}
	images := func(rs []firmware.Reference) []string {
		var out []string
		for _, r := range rs {
			out = append(out, image(r))
		}
		return out
	}
	t := tally{}
	differ := t.sets(images(o), images(n)) || t.wider || t.narrower
	for _, x := range o {
		i := slices.IndexFunc(n, func(y firmware.Reference) bool { return image(x) == image(y) })
		if i < 0 && len(o) == 1 && len(n) == 1 {
			i = 0 // the one version became another
		}
		if i >= 0 {
			differ = t.image(x, n[i]) || differ
		}
	}
	out := t.kinds()
	if differ {
		out = append(out, Firmware)
	}
	return out
}

// image compares what is demanded of one image, and reports whether its parts
// differ.
func (t *tally) image(o, n firmware.Reference) (differ bool) {
	t.flag(o.Partial, n.Partial)
	t.silence(o.MinVersion, n.MinVersion)
	if o.MinVersion != "" && n.MinVersion != "" {
		t.wider = t.wider || firmware.OlderThan(n.MinVersion, o.MinVersion)
		t.narrower = t.narrower || firmware.OlderThan(o.MinVersion, n.MinVersion)
	}
	locks := func(r firmware.Reference) map[string]string {
		out := map[string]string{}
		for _, p := range r.Protection {
			out[p.Name] = p.Value
		}
		return out
	}
	a, b := locks(o), locks(n)
	for name, v := range a {
		t.silence(v, b[name])
		t.flag(v == "open", b[name] == "open")
	}
	for name, v := range b {
		t.silence(a[name], v)
	}
	return t.leaves(o.Leaves, n.Leaves)
}

// leaves compares the parts of an image at every depth.
func (t *tally) leaves(o, n []firmware.Leaf) (differ bool) {
	by := map[string]firmware.Leaf{}
	for _, l := range n {
		by[l.Path] = l
	}
	t.flag(len(o) == 0, len(n) == 0)
	for _, l := range o {
		m, ok := by[l.Path]
		if !ok {
			differ = true
			continue
		}
		t.flag(l.Kind == firmware.Volatile, m.Kind == firmware.Volatile)
		differ = differ || l.SHA256 != m.SHA256 || l.Length != m.Length
		if len(l.Inside) > 0 || len(m.Inside) > 0 {
			differ = t.leaves(l.Inside, m.Inside) || differ
		}
	}
	return differ || len(o) != len(n)
}

// judgeSPDM compares what a device must sign.
func judgeSPDM(o, n spdm.Reference) []Kind {
	t := tally{}
	substituted := t.sets(o.Roots, n.Roots)
	replaced := t.sets(o.Keys, n.Keys)
	t.silence(cmp.Or(o.Keys...), cmp.Or(n.Keys...))
	t.flag(o.Open, n.Open)
	t.flag(o.Optional, n.Optional)
	a, b := expected(o), expected(n)
	differ := false
	for i, x := range a {
		y, ok := b[i]
		if !ok {
			t.wider = true
			continue
		}
		t.flag(x.Any, y.Any)
		if x.Minimum != nil && y.Minimum != nil {
			t.steps(cmp.Compare(*y.Minimum, *x.Minimum))
		}
		differ = t.digests(x.Digests, y.Digests) || differ
		differ = t.sets(x.Raw, y.Raw) || differ
	}
	for i := range b {
		if _, ok := a[i]; !ok {
			t.narrower = true
		}
	}
	out := t.kinds()
	for kind, is := range map[Kind]bool{Substituted: substituted || o.Device != n.Device, Replaced: replaced, Measurement: differ} {
		if is {
			out = append(out, kind)
		}
	}
	return out
}

func expected(r spdm.Reference) map[int]spdm.Expected {
	out := map[int]spdm.Expected{}
	for _, e := range r.Measurements {
		out[e.Index] = e
	}
	return out
}

// judgeEndorsements compares the keys and certificates of one kind that are
// pinned: more of them accept more.
func judgeEndorsements(o, n []attest.Endorsement) []Kind {
	key := func(es []attest.Endorsement) map[string]bool {
		out := map[string]bool{}
		for _, e := range es {
			out[e.SHA256+" "+e.Name+" "+e.Issuer+" "+e.Number] = e.Optional
		}
		return out
	}
	a, b := key(o), key(n)
	t := tally{}
	replaced := t.sets(slices.Collect(maps.Keys(a)), slices.Collect(maps.Keys(b)))
	for k, optional := range a {
		if now, ok := b[k]; ok {
			t.flag(optional, now)
		}
	}
	out := t.kinds()
	if replaced {
		out = append(out, Replaced)
	}
	return out
}
