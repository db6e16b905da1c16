package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/manifest/revision"
	"github.com/assay-hw/assay/report"
)

// manifestChanges is what golden diff prints in JSON.
type manifestChanges struct {
	Explained   string            `json:"explained"`   // what connects the revisions as a whole, "" when nothing does
	Unexplained int               `json:"unexplained"` // changes that no delta and no notice accounts for
	Loosened    int               `json:"loosened"`    // changes that let pass what did not pass before
	Changes     []revision.Change `json:"changes"`
	Unused      []revision.Unused `json:"unused"` // announced, and not there
	Notes       []string          `json:"notes"`
}

// explanations are the files that account for differences.
type explanations struct{ deltas, notices []string }

func newGoldenDiffCommand(env *environment) *cobra.Command {
	var out outputOptions
	var why explanations
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "What changed between two revisions, and whether the change is explained",
		Long: `Compares two manifests line by line, without checking signatures: parts added,
removed, substituted, replaced by another instance, moved; firmware and measurements
changed; rules loosened or tightened. Documents that golden import reads are imported
first.

A change is explained when a delta in the chain from OLD (--delta; NEW may be one
itself) sets the line to exactly this, or when a change notice (--change: an ECN or a
ticket) names the line, the kind of the change and what it becomes. A notice explains
nothing else: a substitution does not cover a loosened rule of the same line. What a
notice announces and NEW does not have is told. A notice is JSON (docs/formats/) or
CSV with the columns id, line, kind, old, new.

Exits 1 when they differ and 0 when not.`,
		Example: "  assay golden diff golden-v1.json golden-v2.json\n  assay golden diff golden-v1.json golden-v2.json --change ECN-2041.csv --delta rma-17.json",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		c, err := compareManifests(args[0], args[1], why)
		if err != nil {
			return err
		}
		return printChanges(env, &out, c)
	}
	out.addFlags(cmd.Flags(), "text", "json")
	cmd.Flags().StringArrayVar(&why.deltas, "delta", nil, "delta that accounts for changes; repeatable")
	cmd.Flags().StringArrayVar(&why.notices, "change", nil, "change notice (ECN, ticket) that accounts for changes; repeatable")
	return cmd
}

func compareManifests(oldName, newName string, why explanations) (*manifestChanges, error) {
	old, err := openDocument(oldName)
	if err != nil {
		return nil, err
	}
	fresh, err := openDocument(newName)
	if err != nil {
		return nil, err
	}
	changes, err := revision.Compare(old.manifest, fresh.manifest)
	if err != nil {
		return nil, err
	}
	c := &manifestChanges{Explained: revision.Lineage(old.manifest, fresh.manifest), Changes: changes, Unused: []revision.Unused{}, Notes: []string{}}
	for _, l := range append(old.lost, fresh.lost...) {
		c.Notes = append(c.Notes, "not compared: "+l)
	}
	deltas, err := why.openDeltas()
	if err != nil {
		return nil, err
	}
	if fresh.manifest.Delta != nil {
		deltas = append(deltas, revision.Delta{Name: newName, Digest: fresh.digest, Manifest: fresh.manifest})
	}
	notes, err := revision.ExplainByDeltas(changes, old.digest, deltas)
	if err != nil {
		return nil, err
	}
	notices, err := why.openNotices()
	if err != nil {
		return nil, err
	}
	c.Notes = append(c.Notes, notes...)
	c.Unused = revision.Explain(changes, notices)
	c.count()
	return c, nil
}

func (c *manifestChanges) count() {
	if c.Changes == nil {
		c.Changes = []revision.Change{}
	}
	for _, x := range c.Changes {
		if len(x.Open) > 0 {
			c.Unexplained++
		}
		if x.Kinds[0] == revision.Loosened {
			c.Loosened++
		}
	}
}

func (w explanations) openDeltas() ([]revision.Delta, error) {
	var out []revision.Delta
	for _, name := range w.deltas {
		f, err := openDocument(name)
		if err != nil {
			return nil, err
		}
		if f.manifest.Delta == nil {
			return nil, unreadable(fmt.Errorf("%s: is a manifest and no delta", name))
		}
		out = append(out, revision.Delta{Name: name, Digest: f.digest, Manifest: f.manifest})
	}
	return out, nil
}

func (w explanations) openNotices() ([]*revision.Notice, error) {
	var out []*revision.Notice
	for _, name := range w.notices {
		raw, err := readInput(name, maxManifestBytes)
		if err != nil {
			return nil, err
		}
		n, err := revision.ReadNotice(raw)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		out = append(out, n)
	}
	return out, nil
}

func printChanges(env *environment, out *outputOptions, c *manifestChanges) error {
	var b bytes.Buffer
	if out.format == "json" {
		if err := asJSON(&b, c); err != nil {
			return err
		}
	} else {
		c.text(&b, out.all)
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	if len(c.Changes) > 0 {
		return &exitError{code: 1}
	}
	return nil
}

func (c *manifestChanges) text(w io.Writer, all bool) {
	if len(c.Changes) == 0 {
		fmt.Fprintln(w, "no differences")
	} else {
		if c.Explained != "" {
			fmt.Fprintf(w, "revision: %s\n", report.Plain(c.Explained))
		} else {
			fmt.Fprintln(w, "revision: nothing connects the two: no newer version, replacement or delta")
		}
		fmt.Fprintf(w, "%d changes, %d NOT EXPLAINED by a delta, ECN or ticket; %d loosen a rule\n", len(c.Changes), c.Unexplained, c.Loosened)
	}
	for _, x := range c.Changes {
		writeChange(w, x, all)
	}
	writeUnused(w, c.Unused)
	for _, n := range c.Notes {
		fmt.Fprintf(w, "note: %s\n", report.Plain(n))
	}
}

func writeChange(w io.Writer, x revision.Change, all bool) {
	sign := "~"
	switch {
	case x.Old == "":
		sign = "+"
	case x.New == "":
		sign = "-"
	}
	kinds := make([]string, len(x.Kinds))
	for i, k := range x.Kinds {
		kinds[i] = string(k)
	}
	fmt.Fprintf(w, "%s %s: %s; %s\n", sign, report.Plain(x.Line), strings.Join(kinds, ", "), explained(x))
	if x.Was != "" {
		fmt.Fprintf(w, "    was %s\n", report.Plain(x.Was))
	}
	for i, f := range x.Fields {
		if i == 8 && !all {
			fmt.Fprintf(w, "    and %d more; --all lists them\n", len(x.Fields)-i+x.MoreFields)
			break
		}
		name := ""
		if f.Name != "" {
			name = f.Name + ": "
		}
		fmt.Fprintf(w, "    %s%s -> %s\n", report.Plain(name), nothing(f.Old), nothing(f.New))
	}
	if len(x.Fields) == 0 {
		fmt.Fprintf(w, "    %s\n", report.Plain(x.Old+x.New))
	}
}

func nothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return report.Plain(s)
}

func explained(x revision.Change) string {
	by := strings.Join(x.ExplainedBy, ", ")
	switch {
	case len(x.Open) == 0:
		return "explained by " + report.Plain(by)
	case by == "":
		return "not explained"
	}
	open := make([]string, len(x.Open))
	for i, k := range x.Open {
		open[i] = string(k)
	}
	return fmt.Sprintf("%s explains a part, not explained: %s", report.Plain(by), strings.Join(open, ", "))
}

func writeUnused(w io.Writer, unused []revision.Unused) {
	for _, u := range unused {
		to := ""
		if u.Entry.New != "" {
			to = " to " + u.Entry.New
		}
		fmt.Fprintf(w, "announced and not there: %s: %s %s%s\n", report.Plain(u.Notice), report.Plain(u.Entry.Line), report.Plain(string(u.Entry.Kind)), report.Plain(to))
	}
}
