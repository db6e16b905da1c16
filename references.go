package assay

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/tpmroots"
	"github.com/assay-hw/assay/knownbad"
	"github.com/assay-hw/assay/manifest"
)

// references are what a case is held against, read and checked: they depend on no
// evidence. Nothing changes them once they are made.
type references struct {
	trusted      []*manifest.Trusted
	golden       *manifest.Golden // of all trusted ones; empty when there is none
	manifests    []ManifestUse
	lists        []ManifestUse // of known-bad firmware
	bad          *knownbad.Set
	roots, below []*ekcert.Certificate // of TPM makers
	found        []finding.Finding
	unchecked    []NotChecked
}

// makerSet is the certificates of TPM makers, as read: the roots, what is below
// them, and what could not be read.
type makerSet struct {
	roots, below []*ekcert.Certificate
	unchecked    []NotChecked
}

// references reads what the case is held against.
func (c *Case) references() *references {
	r := &references{}
	r.openManifests(c)
	r.openLists(c)
	m := c.makers()
	r.roots, r.below, r.unchecked = m.roots, m.below, append(r.unchecked, m.unchecked...)
	return r
}

func (r *references) skip(what, reason string) {
	r.unchecked = append(r.unchecked, NotChecked{What: what, Reason: strings.TrimSpace(reason)})
}

// openManifests checks every manifest and combines those that may be used.
func (r *references) openManifests(c *Case) {
	for _, raw := range c.Golden {
		t, rep := manifest.Open(raw, c.Trust, c.Now)
		r.use(c, t, rep)
	}
	for _, d := range c.Decoded {
		t, rep := d.Open(c.Trust, c.Now)
		r.use(c, t, rep)
	}
	for _, s := range c.Statements {
		r.use(c, s.Trusted, s.Report)
	}
	r.rolledBack(c)
	g, fs := manifest.Combine(r.trusted...)
	r.golden = g
	r.found = append(r.found, fs...)
	if g == nil {
		r.golden = &manifest.Golden{}
	}
}

func (r *references) use(c *Case, t *manifest.Trusted, rep manifest.Report) {
	r.found = append(r.found, rep.Findings...)
	r.manifests = append(r.manifests, used(&rep))
	for _, n := range rep.NotChecked {
		r.skip(n.What, n.Reason)
	}
	if t == nil {
		return
	}
	r.found = append(r.found, t.Stale(time.Duration(c.Policy.MaxManifestAge), c.Now)...)
	r.trusted = append(r.trusted, t)
}

// rolledBack holds all manifests together against what was seen before: a base
// is old only when the change that followed it is withheld.
func (r *references) rolledBack(c *Case) {
	for _, f := range c.State.Check(r.trusted...) {
		r.found = append(r.found, f)
		for i := range r.manifests {
			if m := &r.manifests[i]; f.Subject == "manifest:"+m.ID && m.Status == manifest.StatusTrusted {
				m.Status = "rolled back"
			}
		}
	}
}

// openLists checks the lists of known-bad firmware. A list that is not trusted is
// not used, and that is told.
func (r *references) openLists(c *Case) {
	builtIn, err := knownbad.BuiltIn()
	if err != nil {
		r.skip("built-in list of known-bad keys", err.Error())
		return
	}
	lists := []*knownbad.List{builtIn}
	for i, raw := range c.KnownBad {
		l, rep, err := knownbad.Open(raw, c.Trust, c.Now)
		use := used(&rep)
		if err != nil {
			use.Status = "unreadable"
			f := finding.New(finding.InputMalformed, "known-bad list")
			f.Got, f.Why, f.Severity, f.Confidence = "sha256:"+rep.SHA256, fmt.Sprintf("list %d was not used: %v", i+1, err), finding.Medium, finding.Proven
			r.found = append(r.found, f)
		}
		for _, f := range rep.Findings {
			f.Subject, f.Severity = "known-bad list", min(f.Severity, finding.Medium)
			f.Why += "; the list was not used"
			r.found = append(r.found, f)
		}
		for _, n := range rep.NotChecked {
			r.skip(n.What, n.Reason)
		}
		if l != nil {
			lists = append(lists, l)
		}
		r.lists = append(r.lists, use)
	}
	r.bad = knownbad.NewSet(lists...)
}

// makers are the certificates of TPM makers, the built-in ones and those of the
// case.
func (c *Case) makers() *makerSet {
	switch {
	case c.Makers != nil:
		return &makerSet{roots: c.Makers.Roots, below: c.Makers.Below}
	case c.read != nil:
		return c.read
	}
	return readMakers(c.EKRoots)
}

// readMakers reads certificates of TPM makers. One that cannot be read is listed,
// since a key under it cannot be trusted then.
func readMakers(given [][]byte) *makerSet {
	m := &makerSet{}
	skip := func(what string, err error) {
		m.unchecked = append(m.unchecked, NotChecked{What: what, Reason: strings.TrimSpace(err.Error())})
	}
	read := func(kind string, ders [][]byte, err error) []*ekcert.Certificate {
		if err != nil {
			skip(kind, err)
		}
		var out []*ekcert.Certificate
		for i, der := range ders {
			x, err := ekcert.Parse(der)
			if err != nil {
				skip(fmt.Sprintf("%s %d", kind, i+1), err)
				continue
			}
			out = append(out, x)
		}
		return out
	}
	builtIn, err := tpmroots.Roots()
	m.roots = append(read("built-in root of TPM makers", builtIn, err), read("given certificate of TPM makers", given, nil)...)
	below, err := tpmroots.Intermediates()
	m.below = read("built-in certificate of TPM makers", below, err)
	return m
}

// copied are findings that may be changed while the others stay.
func copied(fs []finding.Finding) []finding.Finding {
	out := slices.Clone(fs)
	for i := range out {
		f := &out[i]
		f.Sources, f.Basis = slices.Clone(f.Sources), slices.Clone(f.Basis)
	}
	return out
}
