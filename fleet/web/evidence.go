package web

import (
	"archive/zip"
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

func isDamaged(err error) bool { return errors.Is(err, blob.ErrDamaged) }

func notFound(err error) bool {
	return errors.Is(err, fleet.ErrNotFound) || errors.Is(err, fs.ErrNotExist)
}

// bundle reads the evidence of a result. Few are read at the same time, since each
// may be large.
func (p *pages) bundle(q *request) (*resultPage, *evidence.Bundle, func(), error) {
	b, err := p.found(q)
	if err == nil && b.Evidence == nil {
		err = fleet.ErrNotFound
	}
	if err != nil {
		return nil, nil, nil, err
	}
	select {
	case p.reading <- struct{}{}:
	case <-q.ctx.Done():
		return nil, nil, nil, context.DeadlineExceeded
	}
	leave := func() { <-p.reading }
	bundle, err := p.server.Bundle(q.ctx, b.Evidence.Blob)
	if err != nil {
		leave()
		return nil, nil, nil, err
	}
	return b, bundle, leave, nil
}

// evidence gives a bundle as assay verify reads it.
func (p *pages) evidence(q *request) error {
	b, bundle, leave, err := p.bundle(q)
	if err != nil {
		return err
	}
	defer leave()
	download(q.w, "application/zip", b.Result.ID+".evidence.zip")
	z := zip.NewWriter(q.w)
	names := []string{}
	if bundle.Sealed() {
		names = append(names, evidence.IndexName)
	}
	for _, a := range bundle.Artifacts() {
		if bundle.Has(a.Path) {
			names = append(names, a.Path)
		}
	}
	for _, name := range names {
		data, err := bundle.Read(name)
		if err == nil {
			err = put(z, name, data)
		}
		if err != nil {
			return nil // an answer that began cannot become another; the zip has no end then
		}
	}
	_ = z.Close() // the same
	return nil
}

func put(z *zip.Writer, name string, data []byte) error {
	w, err := z.Create(name)
	if err == nil {
		_, err = w.Write(data)
	}
	return err
}

// partsPage is what the evidence says the machine is made of.
type partsPage struct {
	*resultPage
	Classes    []partClass
	Incomplete []bom.NotChecked
	Virtual    string
}

type partClass struct {
	Name  string
	Parts []partRow
}

type partRow struct {
	bom.Part
	What, Where string
	Depth       int // below the package that it is part of
}

func (p *pages) parts(q *request) error {
	r, bundle, leave, err := p.bundle(q)
	if err != nil {
		return err
	}
	defer leave()
	inv := bom.Read(bundle)
	b := partsPage{resultPage: r, Virtual: inv.Virtual}
	for _, x := range inv.Parts {
		if n := len(b.Classes); n == 0 || b.Classes[n-1].Name != string(x.Class) {
			b.Classes = append(b.Classes, partClass{Name: string(x.Class)})
		}
		c := &b.Classes[len(b.Classes)-1]
		c.Parts = append(c.Parts, partRow{Part: x, What: bom.Describe(x.Identity), Where: cmp.Or(x.Location.Slot, x.Location.Designator, x.Location.Path)})
	}
	for i := range b.Classes {
		b.Classes[i].Parts = nest(b.Classes[i].Parts)
	}
	for _, c := range slices.Sorted(maps.Keys(inv.Classes)) {
		if o := inv.Classes[c]; !o.Observed || !o.Whole {
			b.Incomplete = append(b.Incomplete, bom.NotChecked{What: string(c), Reason: cmp.Or(o.Reason, "not in the evidence")})
		}
	}
	return p.show(q, "hardware", "machines", report.Plain(r.Host.Name)+", parts", b)
}

// nest puts parts below the package that they are in. A package that is in itself
// does not make it endless.
func nest(all []partRow) []partRow {
	known, below := map[string]bool{}, map[string][]partRow{}
	for _, x := range all {
		known[x.Subject] = true
	}
	var out []partRow
	var top []partRow
	for _, x := range all {
		if x.Package != "" && x.Package != x.Subject && known[x.Package] {
			below[x.Package] = append(below[x.Package], x)
		} else {
			top = append(top, x)
		}
	}
	var walk func(xs []partRow, depth int)
	walk = func(xs []partRow, depth int) {
		for _, x := range xs {
			x.Depth = min(depth, 3)
			out = append(out, x)
			inside := below[x.Subject]
			delete(below, x.Subject)
			walk(inside, depth+1)
		}
	}
	walk(top, 0)
	for _, s := range slices.Sorted(maps.Keys(below)) { // packages in a circle
		out = append(out, below[s]...)
	}
	return out
}

// bootPage is what the machine measured while it booted.
type bootPage struct {
	*resultPage
	Events  []attest.Event
	More    int
	Covered []assay.BootCoverage
	Problem string
}

const maxEvents = 5000

func (p *pages) boot(q *request) error {
	r, bundle, leave, err := p.bundle(q)
	if err != nil {
		return err
	}
	defer leave()
	log := attest.Observe(bundle).Log()
	b := bootPage{resultPage: r}
	if log == nil {
		b.Problem = "The evidence has no event log that can be read."
	} else {
		b.Events = log.Events()
		b.More = max(0, len(b.Events)-maxEvents)
		b.Events = b.Events[:len(b.Events)-b.More]
	}
	if r.Report, r.Unread = p.appraisal(q, r.Result); r.Report != nil {
		b.Covered = r.Report.Boot
	}
	return p.show(q, "boot", "machines", report.Plain(r.Host.Name)+", boot", b)
}

// Digest is the beginning of the strongest that an event has, with its bank.
func (bootPage) Digest(e attest.Event) string {
	for _, bank := range []string{"sha512", "sha384", "sha256", "sha1"} {
		if d := e.Digests[bank]; d != "" {
			return bank + ":" + shorten(d, 17)
		}
	}
	return ""
}

// firmwarePage draws the flash images of a machine.
type firmwarePage struct {
	*resultPage
	Images []imageView
}

type imageView struct {
	Name, Size, SHA256, Reason string
	Map                        template.HTML
}

func (p *pages) firmware(q *request) error {
	r, bundle, leave, err := p.bundle(q)
	if err != nil {
		return err
	}
	defer leave()
	b := firmwarePage{resultPage: r}
	for _, m := range firmware.Read(bundle, p.server.Decoders...) {
		drawn, err := html.Map(m)
		if err != nil {
			return err
		}
		b.Images = append(b.Images, imageView{m.Artifact, thousands(m.Size), m.SHA256, m.Reason, drawn})
	}
	return p.show(q, "firmware", "machines", report.Plain(r.Host.Name)+", firmware", b)
}

// field is a text of a form.
func (q *request) field(name string, most int) (string, error) {
	if err := q.r.ParseForm(); err != nil {
		return "", fmt.Errorf("form: %w", err)
	}
	s := strings.TrimSpace(q.r.PostFormValue(name))
	if len(s) > most {
		return "", refused("%s: at most %d characters", name, most)
	}
	return s, nil
}
