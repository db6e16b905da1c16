package web

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/revision"
)

func refused(format string, args ...any) error {
	return &server.Refusal{Reason: fmt.Sprintf(format, args...), Status: server.Invalid}
}

// goldensPage lists what the server judges by.
type goldensPage struct {
	Kinds []documentKind
	Cut   bool
}

type documentKind struct {
	Name      string
	Documents []lineage
}

// lineage is one document with its revisions, the newest first.
type lineage struct {
	Name      string
	Revisions []revisionRow
}

type revisionRow struct {
	fleet.Document
	Before string // digest of the revision before, to compare with
}

const maxDocuments = 2000

func (p *pages) goldens(q *request) error {
	var all []fleet.Document
	err := p.view(q, func(r fleet.Reader) (err error) {
		all, err = r.Library(maxDocuments)
		return err
	})
	if err != nil {
		return err
	}
	b := goldensPage{Cut: len(all) == maxDocuments}
	slices.SortStableFunc(all, func(x, y fleet.Document) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name), cmp.Compare(y.Version, x.Version))
	})
	for _, d := range all {
		if n := len(b.Kinds); n == 0 || b.Kinds[n-1].Name != d.Kind {
			b.Kinds = append(b.Kinds, documentKind{Name: d.Kind})
		}
		k := &b.Kinds[len(b.Kinds)-1]
		if n := len(k.Documents); n == 0 || k.Documents[n-1].Name != d.Name {
			k.Documents = append(k.Documents, lineage{Name: d.Name})
		}
		l := &k.Documents[len(k.Documents)-1]
		if n := len(l.Revisions); n > 0 && d.Kind == "golden" {
			l.Revisions[n-1].Before = d.Digest
		}
		l.Revisions = append(l.Revisions, revisionRow{Document: d})
	}
	slices.SortStableFunc(b.Kinds, func(x, y documentKind) int { // manifests first
		return cmp.Compare(strings.TrimPrefix(x.Name, "golden"), strings.TrimPrefix(y.Name, "golden"))
	})
	return p.show(q, "goldens", "goldens", "Goldens", b)
}

// document gives one as it was signed.
func (p *pages) document(q *request) error {
	d, err := p.documentOf(q, q.r.PathValue("digest"))
	if err != nil {
		return err
	}
	download(q.w, "application/json", d.Digest+".json")
	http.ServeContent(q.w, q.r, "", time.Time{}, bytes.NewReader(d.Raw))
	return nil
}

func (p *pages) documentOf(q *request, digest string) (d *fleet.Document, err error) {
	err = p.view(q, func(r fleet.Reader) error {
		d, err = r.Document(digest)
		return err
	})
	return d, err
}

// comparePage is what changed between two revisions.
type comparePage struct {
	Old, New    *fleet.Document
	Lineage     string // what connects them
	Changes     []revision.Change
	More        int
	Unexplained int
	Loosened    int
	Notes       []string
}

const (
	maxChanges = 1000
	maxFields  = 12
)

func (p *pages) compare(q *request) error {
	b := comparePage{}
	var err error
	v := q.r.URL.Query()
	if b.Old, err = p.documentOf(q, v.Get("old")); err != nil {
		return err
	}
	if b.New, err = p.documentOf(q, v.Get("new")); err != nil {
		return err
	}
	old, err := manifest.ReadUntrusted(b.Old.Raw)
	if err != nil {
		return refused("The older document is no manifest that can be compared.")
	}
	fresh, err := manifest.ReadUntrusted(b.New.Raw)
	if err != nil {
		return refused("The newer document is no manifest that can be compared.")
	}
	if b.Changes, err = revision.Compare(old, fresh); err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	b.Lineage = revision.Lineage(old, fresh)
	if fresh.Delta != nil {
		if err := b.explain(fresh); err != nil {
			return err
		}
	}
	for _, c := range b.Changes {
		if len(c.Open) > 0 {
			b.Unexplained++
		}
		if c.Kinds[0] == revision.Loosened {
			b.Loosened++
		}
	}
	b.More = max(0, len(b.Changes)-maxChanges)
	b.Changes = b.Changes[:len(b.Changes)-b.More]
	return p.show(q, "compare", "goldens", "What changed between two revisions", b)
}

// explain marks what a delta announces that is the newer document itself.
func (b *comparePage) explain(fresh *manifest.Manifest) error {
	base, err := manifest.PayloadDigest(b.Old.Raw)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	own, err := manifest.PayloadDigest(b.New.Raw)
	if err != nil {
		return fmt.Errorf("compare: %w", err)
	}
	b.Notes, err = revision.ExplainByDeltas(b.Changes, base, []revision.Delta{{Name: b.New.Name, Digest: own, Manifest: fresh}})
	return err
}

// Sign of a change, as a difference of texts has it, where its kinds do not say so.
func (comparePage) Sign(c revision.Change) string {
	switch {
	case c.Old == "" && !slices.Contains(c.Kinds, revision.Added):
		return "(the line is new)"
	case c.New == "" && !slices.Contains(c.Kinds, revision.Removed):
		return "(the line is gone)"
	}
	return ""
}

// Kinds are what a change means, the gravest first.
func (comparePage) Kinds(c revision.Change) string {
	out := make([]string, len(c.Kinds))
	for i, k := range c.Kinds {
		out[i] = string(k)
	}
	return strings.Join(out, ", ")
}

// Grave reports whether a change lets more pass.
func (comparePage) Grave(c revision.Change) bool { return c.Kinds[0] == revision.Loosened }

// Fields are the first that differ, and how many more do.
func (comparePage) Fields(c revision.Change) []revision.Field {
	return c.Fields[:min(len(c.Fields), maxFields)]
}

// Rest counts the fields that are not shown.
func (comparePage) Rest(c revision.Change) int {
	return max(0, len(c.Fields)-maxFields) + c.MoreFields
}
