package platformcert

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/internal/x500"
)

// Authority decides what the holder of a path may say about a manufacturer's
// machines: the base (an empty class), or parts of a class by a delta. The
// reason is the error.
type Authority func(path []*ekcert.Certificate, manufacturer string, class bom.Class, delta bool) error

// Build is what a base and its deltas say together: the machine, and the parts
// that it is said to be built of.
type Build struct {
	Base       *Certificate
	Deltas     []*Certificate // those that were applied, in order
	Platform   Platform
	Components []Component // without status
	Properties []Property
	Anchors    []Trait
}

// Assembled is a Build whose every certificate was verified and made by whom
// may. Only Assemble makes one.
type Assembled struct {
	build *Build
	base  *Verified
}

// Build returns the result.
func (a *Assembled) Build() *Build { return a.build }

// Base returns the certificate that everything starts from.
func (a *Assembled) Base() *Verified { return a.base }

// last is the newest certificate of a build.
func (b *Build) last() *Certificate {
	if n := len(b.Deltas); n > 0 {
		return b.Deltas[n-1]
	}
	return b.Base
}

// Assemble applies deltas to a base, in the order given, which has to be that of
// their issue. A delta that is about another base, that breaks the order, whose
// signer may not change the part, or whose changes do not fit the parts before
// it, is MF-011 with the cause, and nothing from it on is applied. Without an
// authority, the organisation that issued the base may change everything, and
// nobody else anything.
//
// The base is nil when there is no result at all.
func Assemble(base *Verified, deltas []*Verified, may Authority) (*Assembled, []finding.Finding) {
	if base == nil {
		return nil, nil
	}
	b, err := begin(base.c)
	if err != nil {
		return nil, []finding.Finding{refusal(base.c, finding.ManifestType, "a base certificate", err)}
	}
	if may != nil {
		if err := may(base.path, b.Platform.Manufacturer, "", false); err != nil {
			return nil, []finding.Finding{refusal(base.c, finding.ManifestUntrustedSigner, "a signer who may speak for "+b.Platform.Manufacturer, err)}
		}
	} else {
		may = sameIssuer(base)
	}
	may = guarded(may, sameIssuer(base))
	a := &Assembled{build: b, base: base}
	var fs []finding.Finding
	for _, d := range deltas {
		changes, notes := b.change(d.c, func(c bom.Class) error { return may(d.path, b.Platform.Manufacturer, c, true) })
		fs = append(fs, notes...)
		if changes == nil {
			break
		}
		*b = *changes
	}
	return a, finding.Sort(fs)
}

// Draft does what Assemble does with certificates that nobody verified: for
// people to look at, never for a verdict.
func Draft(base *Certificate, deltas []*Certificate) (*Build, []finding.Finding) {
	b, err := begin(base)
	if err != nil {
		return nil, []finding.Finding{refusal(base, finding.ManifestType, "a base certificate", err)}
	}
	var fs []finding.Finding
	for _, d := range deltas {
		changed, notes := b.change(d, func(bom.Class) error { return nil })
		fs = append(fs, notes...)
		if changed == nil {
			break
		}
		*b = *changed
	}
	return b, finding.Sort(fs)
}

// guarded keeps the parts that others hang on, which manifests mark as security
// lines, to whoever issued the base, whatever was granted.
func guarded(may, own Authority) Authority {
	return func(path []*ekcert.Certificate, manufacturer string, class bom.Class, delta bool) error {
		if delta && (class == bom.TPM || class == bom.BMC) {
			if err := own(path, manufacturer, class, delta); err != nil {
				return err
			}
		}
		return may(path, manufacturer, class, delta)
	}
}

// Rights that are not those of one class of parts.
const (
	rightAll     bom.Class = "unclassified" // parts of no class could be of any
	rightClosure bom.Class = "classes"      // as in manifests
)

// right is what a change to a part of a class needs.
func right(c bom.Class) bom.Class { return cmp.Or(c, rightAll) }

// sameIssuer lets the organisation that issued the base change it.
func sameIssuer(base *Verified) Authority {
	return func(path []*ekcert.Certificate, _ string, _ bom.Class, delta bool) error {
		a, b := path[0], base.path[0]
		if !delta || ekcert.KeyHash(a.Key) == ekcert.KeyHash(b.Key) {
			return nil
		}
		x, errX := x500.Parse(a.Subject)
		y, errY := x500.Parse(b.Subject)
		// A name is as good as the root that lets it be used.
		sameRoot := slices.Equal(path[len(path)-1].DER, base.path[len(base.path)-1].DER)
		if errX == nil && errY == nil && sameRoot && slices.ContainsFunc(x.Organizations(), func(o string) bool {
			return o != "" && slices.ContainsFunc(y.Organizations(), func(p string) bool { return x500.Fold(o) == x500.Fold(p) })
		}) {
			return nil
		}
		return fmt.Errorf("%s did not issue the base, %s did, and nothing lets it change that", nameOf(a), nameOf(b))
	}
}

func begin(base *Certificate) (*Build, error) {
	if base == nil {
		return nil, errors.New("there is no certificate")
	}
	switch base.Kind {
	case Base, Rebase:
	case DeltaKind:
		return nil, errors.New("it is a delta, which says nothing without its base")
	default:
		return nil, errors.New("it is no platform certificate")
	}
	b := &Build{Base: base, Platform: base.Platform, Anchors: base.Anchors}
	if f := base.Configuration; f != nil {
		b.Components, b.Properties = slices.Clone(f.Components), slices.Clone(f.Properties)
	}
	return b, nil
}

func refusal(c *Certificate, code finding.Code, want string, err error) finding.Finding {
	f := finding.New(code, "manifest:"+c.String())
	f.Want, f.Got, f.Why, f.Confidence = want, "another", err.Error(), finding.Proven
	f.Sources = []finding.Source{finding.Cryptographic}
	return f
}

// String names a certificate in reports.
func (c *Certificate) String() string {
	serial := "without number"
	if c != nil && c.Serial != nil {
		serial = fmt.Sprintf("%x", c.Serial)
	}
	if c == nil {
		return "platform-certificate:none"
	}
	what := string(c.Kind)
	if what == "" {
		what = "attribute certificate"
	}
	return fmt.Sprintf("platform-certificate:%s:%s", what, serial)
}

// change makes the build that results from one delta or rebase; nil with the
// reasons when it does not.
func (b *Build) change(d *Certificate, may func(bom.Class) error) (*Build, []finding.Finding) {
	refuse := func(want string, err error) (*Build, []finding.Finding) {
		return nil, []finding.Finding{refusal(d, finding.ManifestDelta, want, err)}
	}
	if d.Kind != DeltaKind && d.Kind != Rebase {
		return refuse("a delta", fmt.Errorf("%s changes nothing: it is no delta", d))
	}
	if err := b.continues(d); err != nil {
		return refuse("a delta to this base, in order", err)
	}
	if err := b.inTime(d); err != nil {
		return refuse("a delta in the order of issue", err)
	}
	var notes []finding.Finding
	if !d.NotAfter.Equal(b.Base.NotAfter) {
		err := fmt.Errorf("notAfter is %s, that of the base is %s", d.NotAfter.Format("2006-01-02"), b.Base.NotAfter.Format("2006-01-02"))
		if d.Profile == "2.1" && d.Kind == DeltaKind {
			return refuse("the notAfter of the base (profile 2.1)", err)
		}
		f := refusal(d, finding.ManifestDelta, "the notAfter of the base", err)
		f.Severity = finding.Low
		notes = append(notes, f)
	}
	out := &Build{Base: b.Base, Deltas: append(slices.Clone(b.Deltas), d), Platform: b.Platform, Anchors: b.Anchors}
	out.Components, out.Properties = slices.Clone(b.Components), slices.Clone(b.Properties)
	var errs []finding.Finding
	if d.Kind == Rebase {
		errs = out.replace(d, may)
	} else {
		errs = out.apply(d, may)
	}
	if len(errs) > 0 {
		return nil, append(notes, errs...)
	}
	return out, notes
}

// continues checks that a delta is about this base and follows the newest
// certificate of it.
func (b *Build) continues(d *Certificate) error {
	for _, f := range []struct{ what, base, delta string }{
		{"manufacturer", b.Platform.Manufacturer, d.Platform.Manufacturer},
		{"model", b.Platform.Model, d.Platform.Model},
		{"serial number", b.Platform.Serial, d.Platform.Serial},
	} {
		if x500.Fold(f.base) != x500.Fold(f.delta) {
			return fmt.Errorf("the platform's %s is %q, that of the base %q", f.what, clip(f.delta), clip(f.base))
		}
	}
	earlier := append([]*Certificate{b.Base}, b.Deltas...)
	for _, e := range earlier {
		if d.Serial.Cmp(e.Serial) == 0 && x500.Equal(d.Issuer, e.Issuer) {
			return fmt.Errorf("its serial number is that of %s", e)
		}
	}
	if len(d.Previous) > 0 || d.Profile == "2.1" {
		return b.previous(d, earlier)
	}
	if d.Form != AttributeForm {
		return errors.New("it names no certificate before it")
	}
	var err error
	for _, e := range []*Certificate{b.Base, b.last()} {
		if err = d.Holder.is(e.subject()); err == nil {
			return nil
		}
	}
	return fmt.Errorf("its holder is not the base: %w", err)
}

func (c *Certificate) subject() subject { return subject{c.Issuer, c.Serial, c.signature} }

// previous checks what profile 2.1 asks for: the base's own holder, and all
// earlier certificates by name in their order.
func (b *Build) previous(d *Certificate, earlier []*Certificate) error {
	h := &b.Base.Holder
	if d.Form == AttributeForm && b.Base.Form == AttributeForm && h.Serial != nil {
		if d.Holder.Serial == nil || d.Holder.Serial.Cmp(h.Serial) != 0 || !x500.Equal(d.Holder.Issuer, h.Issuer) {
			return fmt.Errorf("its holder is %s, that of the base %s", d.Holder.String(), h.String())
		}
	}
	if len(d.Previous) != len(earlier) {
		return fmt.Errorf("it follows %d certificates, and %d are here", len(d.Previous), len(earlier))
	}
	for i, t := range d.Previous {
		if t.Certificate == nil {
			return fmt.Errorf("the certificate before it number %d is not named", i)
		}
		if err := t.Certificate.is(earlier[i].subject()); err != nil {
			return fmt.Errorf("certificate %d before it is not %s: %w", i, earlier[i], err)
		}
	}
	return nil
}

func (b *Build) inTime(d *Certificate) error {
	if before := b.last(); d.NotBefore.Before(before.NotBefore) {
		return fmt.Errorf("notBefore %s precedes that of %s, %s", d.NotBefore.Format("2006-01-02"), before, before.NotBefore.Format("2006-01-02"))
	}
	return nil
}

// replace takes all parts from a rebase. Whoever may change every class that it
// lists, or drops, may do that.
func (b *Build) replace(d *Certificate, may func(bom.Class) error) []finding.Finding {
	before := b.Components
	b.Components, b.Properties = nil, nil
	if d.Configuration != nil {
		b.Components, b.Properties = slices.Clone(d.Configuration.Components), slices.Clone(d.Configuration.Properties)
	}
	seen := map[bom.Class]bool{}
	var out []finding.Finding
	for _, c := range append(slices.Clone(before), b.Components...) {
		class := right(c.BOMClass())
		if seen[class] {
			continue
		}
		seen[class] = true
		if err := may(class); err != nil {
			out = append(out, refusal(d, finding.ManifestDelta, "a signer who may change "+string(class), err))
		}
	}
	return out
}

// apply changes one part after the other; every change that does not fit is
// told.
func (b *Build) apply(d *Certificate, may func(bom.Class) error) []finding.Finding {
	var out []finding.Finding
	fail := func(what, want string, err error) {
		f := refusal(d, finding.ManifestDelta, want, err)
		f.Subject += " " + what
		f.Got = what
		out = append(out, f)
	}
	if len(d.Anchors) > 0 && !sameAnchors(d.Anchors, b.Anchors) {
		fail("cryptographic anchors", "the anchors of the base", errors.New("a delta does not change the roots of trust (profile 2.1)"))
	}
	if d.Configuration == nil {
		return out
	}
	for i := range d.Configuration.Components {
		c := d.Configuration.Components[i]
		if err := may(right(c.BOMClass())); err != nil {
			fail(c.String(), "a signer who may change "+string(c.BOMClass()), err)
			continue
		}
		if err := b.component(c, may); err != nil {
			fail(c.String(), "a change that fits the parts before it", err)
		}
	}
	for _, p := range d.Configuration.Properties {
		if strings.HasPrefix(p.Name, "assay.") && p.Name != propertyVersion {
			if err := may(rightClosure); err != nil {
				fail("property "+clip(p.Name), "a signer who may change it", err)
				continue
			}
		}
		if err := b.property(p); err != nil {
			fail("property "+clip(p.Name), "a change that fits the properties before it", err)
		}
	}
	return out
}

func sameAnchors(delta, base []Trait) bool {
	for i := range base {
		if !slices.ContainsFunc(delta, func(t Trait) bool { return slices.Equal(t.encode(), base[i].encode()) }) {
			return false // dropped or changed; more are no change of those
		}
	}
	return true
}

// component applies one change to a build whose lists are its own.
func (b *Build) component(c Component, may func(bom.Class) error) error {
	switch c.Status {
	case Added:
		for i := range b.Components {
			if o := &b.Components[i]; o.sameInstance(&c) {
				return fmt.Errorf("%s is added and is there already", c.String())
			}
		}
		b.Components = append(b.Components, c.settled())
		return nil
	case Removed, Modified:
		at, err := b.find(&c)
		if err != nil {
			return fmt.Errorf("%s is %s: %w", c.String(), c.Status, err)
		}
		// What is changed may be of another class than the change says.
		if err := may(right(b.Components[at].BOMClass())); err != nil {
			return fmt.Errorf("%s is %s: %w", b.Components[at].String(), c.Status, err)
		}
		if c.Status == Removed {
			b.Components = slices.Delete(b.Components, at, at+1)
			return nil
		}
		b.Components[at] = c.settled()
		return nil
	}
	return fmt.Errorf("%s has no status: whether it is added, modified or removed is undecided", c.String())
}

// settled is a part as it stands in a base.
func (c Component) settled() Component {
	c.Status, c.raw = Unchanged, nil
	c.Traits = slices.DeleteFunc(slices.Clone(c.Traits), func(t Trait) bool { return t.Category == categoryStatus })
	if c.v11 {
		c.Traits = nil
	}
	return c
}

// find returns the part that a change is about: by its serial number, or else
// the only one of its model. Two that fit are not chosen between.
func (b *Build) find(c *Component) (int, error) {
	for _, same := range []func(o *Component) bool{
		func(o *Component) bool { return o.sameInstance(c) },
		func(o *Component) bool { return o.serialKey() == "" && o.sameModel(c) && o.Location == c.Location },
		func(o *Component) bool { return (o.serialKey() == "" || c.serialKey() == "") && o.sameModel(c) },
	} {
		var found []int
		for i := range b.Components {
			if same(&b.Components[i]) {
				found = append(found, i)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1 && b.alike(found):
			return found[0], nil
		case len(found) > 1:
			return 0, fmt.Errorf("%d parts fit, and which one is meant is undecided", len(found))
		}
	}
	return 0, errors.New("no such part is there")
}

// alike reports whether parts do not differ at all, so that any will do.
func (b *Build) alike(at []int) bool {
	for _, i := range at[1:] {
		o, p := b.Components[at[0]], b.Components[i]
		if !o.sameModel(&p) || x500.Fold(o.Serial) != x500.Fold(p.Serial) || o.Revision != p.Revision || o.Location != p.Location {
			return false
		}
	}
	return true
}

// folded are the forms in which components are compared, made once.
type folded struct{ serial, maker, model, revision string }

func (c *Component) keys() *folded {
	if c.folds == nil {
		c.folds = &folded{said(c.Serial), x500.Fold(c.Maker), x500.Fold(c.Model), x500.Fold(c.Revision)}
	}
	return c.folds
}

// serialKey folds a serial number; a placeholder is none.
func (c *Component) serialKey() string { return c.keys().serial }

// said folds a value; a placeholder says nothing.
func said(s string) string {
	if _, fake := ids.Placeholder(s); fake {
		return ""
	}
	return x500.Fold(s)
}

func (c *Component) sameClass(o *Component) bool {
	return c.Class == "" || o.Class == "" || c.Registry != o.Registry || c.Class == o.Class
}

func (c *Component) sameModel(o *Component) bool {
	return c.sameClass(o) && c.keys().maker == o.keys().maker && c.keys().model == o.keys().model
}

// sameInstance reports one part by maker and serial number. Another model under
// the same number is the same part, changed.
func (c *Component) sameInstance(o *Component) bool {
	k := c.serialKey()
	return k != "" && k == o.serialKey() && c.sameClass(o) && c.keys().maker == o.keys().maker
}

func (b *Build) property(p Property) error {
	at := slices.IndexFunc(b.Properties, func(o Property) bool { return o.Name == p.Name })
	next := Property{Name: p.Name, Value: p.Value}
	switch {
	case p.Status == Added && at >= 0:
		return errors.New("it is added and is there already")
	case p.Status == Added:
		b.Properties = append(b.Properties, next)
		return nil
	case p.Status == Unchanged:
		return errors.New("it has no status: whether it is added, modified or removed is undecided")
	case at < 0:
		return fmt.Errorf("it is %s and is not there", p.Status)
	case p.Name == propertyVersion && !later(b.Properties[at].Value, p.Value):
		return fmt.Errorf("version %s does not follow %s", clip(p.Value), clip(b.Properties[at].Value))
	}
	if p.Status == Removed {
		b.Properties = slices.Delete(b.Properties, at, at+1)
		return nil
	}
	b.Properties[at] = next
	return nil
}

// later reports whether a version is a higher one.
func later(before, after string) bool {
	x, errX := strconv.ParseInt(before, 10, 64)
	y, errY := strconv.ParseInt(after, 10, 64)
	return errX == nil && errY == nil && y > x
}

// String tells a build in a few words.
func (b *Build) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s: %d components", b.Platform.Manufacturer, b.Platform.Model, b.Platform.Serial, len(b.Components)))
}
