package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/procure"
	"github.com/assay-hw/assay/report"
)

// lintOptions are the flags of golden lint.
type lintOptions struct {
	out                     outputOptions
	profile, lifecycle, csv string
	lists, trust            []string
	now                     nowOption
}

func newGoldenLintCommand(env *environment) *cobra.Command {
	var opt lintOptions
	cmd := &cobra.Command{
		Use:   "lint FILE...",
		Short: "Check a vendor's manifest before anything is bought on its word",
		Long: `Checks whether a manifest is complete for a kind of machine and plausible: classes
and fields, placeholder values, part numbers of sellers, registered numbers against
makers, quantities against designators, serial numbers and addresses that stand
twice, text that deceives, rules that fit nearly anything, prohibited sources (dated
lists), origin, alternates, the life of parts, validity and signer.

Documents that golden import reads are checked as they would be imported, each with
what belongs to it behind it: a platform certificate with its deltas, a RIM with its
support RIMs. With --trust their own signatures are checked.

Profiles: default, dc-server, us-federal, or a file. The answer is PASS, FAIL (what
stands there cannot be right, or must not be bought; exit 1) or INCOMPLETE (the
vendor has to say more; exit 3). --csv writes what to ask the vendor for.`,
		Example: "  assay golden lint golden.signed.json --trust roots/\n  assay golden lint golden.json --profile dc-server --csv ask-the-vendor.csv",
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := opt.out.check("text", "json", "csv"); err != nil {
			return err
		}
		if len(args) == 0 {
			return usage("%s takes at least 1 argument, got 0", cmd.CommandPath())
		}
		in, err := opt.input(env, args)
		if err != nil {
			return err
		}
		return opt.write(env, procure.Check(in))
	}
	fs := cmd.Flags()
	fs.StringVar(&opt.profile, "profile", "default", "default, dc-server, us-federal, or a profile file")
	fs.StringArrayVar(&opt.lists, "list", nil, "list of prohibited sources, instead of the built-in one of the same id; repeatable")
	fs.StringVar(&opt.lifecycle, "lifecycle", "", "table (CSV) with maker, partNumber, status and date")
	fs.StringVar(&opt.csv, "csv", "", "also write what the vendor is asked for to this file")
	addTrustFlag(fs, &opt.trust)
	opt.now.addFlag(fs)
	opt.out.addFlags(fs, "text", "json", "csv")
	return cmd
}

// input reads all that a check looks at.
func (o *lintOptions) input(env *environment, names []string) (in procure.Input, err error) {
	if in.Now, err = o.now.time(env); err != nil {
		return in, err
	}
	doc, err := openDocument(names...)
	if err != nil {
		return in, err
	}
	in.Manifest = doc.manifest
	for _, l := range doc.lost {
		fmt.Fprintf(env.stderr, "not checked: %s\n", report.Plain(l))
	}
	if err := o.signature(&in, doc, names); err != nil {
		return in, err
	}
	if in.Profile, err = o.readProfile(); err != nil {
		return in, err
	}
	if in.Lists, err = o.readLists(); err != nil {
		return in, err
	}
	if o.lifecycle == "" {
		return in, nil
	}
	f, err := os.Open(o.lifecycle)
	if err != nil {
		return in, unreadable(err)
	}
	defer f.Close()
	if in.Lifecycle, err = procure.ParseLifecycle(io.LimitReader(f, 64<<20)); err != nil {
		return in, unreadable(fmt.Errorf("%s: %w", o.lifecycle, err))
	}
	return in, nil
}

// signature finds out whether the document is signed, and with --trust by whom.
func (o *lintOptions) signature(in *procure.Input, doc *document, names []string) (err error) {
	trust := &manifest.Trust{}
	if len(o.trust) > 0 {
		if trust, err = loadTrust(o.trust); err != nil {
			return err
		}
	}
	set, err := openVendorFiles(names, "", trust, in.Now)
	if err != nil {
		return err
	}
	var rep manifest.Report
	switch {
	case len(set.Statements) > 0:
		rep = set.Statements[0].Report
	case doc.foreign: // a format without signatures
		return nil
	default:
		_, rep = manifest.Open(set.Native[0], trust, in.Now)
	}
	in.Envelope = !slices.ContainsFunc(rep.Findings, func(f finding.Finding) bool { return f.Code == finding.ManifestUnsigned })
	if len(o.trust) > 0 {
		in.Signed = &rep
	}
	return nil
}

func (o *lintOptions) readProfile() (procure.Profile, error) {
	if p, ok := procure.BuiltInProfile(o.profile); ok {
		return p, nil
	}
	raw, err := readInput(o.profile, 1<<20)
	if err != nil {
		return procure.Profile{}, usage("--profile %s: want default, dc-server, us-federal or a file (%v)", o.profile, err)
	}
	p, err := procure.ParseProfile(raw)
	if err != nil {
		return p, unreadable(fmt.Errorf("%s: %w", o.profile, err))
	}
	return p, nil
}

// readLists returns the lists that were given and the built-in ones of other ids.
func (o *lintOptions) readLists() ([]procure.List, error) {
	var out []procure.List
	for _, name := range o.lists {
		raw, err := readInput(name, 4<<20)
		if err != nil {
			return nil, err
		}
		l, err := procure.ParseList(raw)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		out = append(out, l)
	}
	builtIn, err := procure.BuiltInLists()
	if err != nil {
		return nil, err
	}
	for _, l := range builtIn {
		if !slices.ContainsFunc(out, func(o procure.List) bool { return o.ID == l.ID }) {
			out = append(out, l)
		}
	}
	return out, nil
}

func (o *lintOptions) write(env *environment, r *procure.Report) error {
	if o.csv != "" {
		var b bytes.Buffer
		if err := r.WriteCSV(&b); err != nil {
			return err
		}
		if err := writeFile(o.csv, b.Bytes()); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	var err error
	switch o.out.format {
	case "json":
		err = asJSON(&b, r)
	case "csv":
		err = r.WriteCSV(&b)
	default:
		writeLint(&b, r, o.out.all)
	}
	if err != nil {
		return err
	}
	if err := o.out.write(env, b.Bytes()); err != nil {
		return err
	}
	switch r.Verdict {
	case procure.Fail:
		return &exitError{code: 1}
	case procure.Incomplete:
		return &exitError{code: 3}
	}
	return nil
}

const maxShown = 12 // gaps of one check, without --all

func writeLint(w io.Writer, r *procure.Report, all bool) {
	fmt.Fprintf(w, "%s  %s version %d, for %s\n", strings.ToUpper(string(r.Verdict)), report.Plain(r.Manifest), r.Version, report.Plain(r.Platform))
	fmt.Fprintf(w, "      profile %s, %d lines, of them %d that no software can check\n", report.Plain(r.Profile), r.Lines, r.PhysicalOnly)
	for _, l := range r.Lists {
		fmt.Fprintf(w, "      list %s as of %s\n", report.Plain(l.ID), report.Plain(l.AsOf))
	}
	titles := map[procure.Weight]string{procure.Wrong: "wrong", procure.Missing: "to be supplied by the vendor", procure.Note: "to be known"}
	weight, shown := procure.Weight(""), map[string]int{}
	for _, g := range r.Gaps {
		if g.Weight != weight {
			weight = g.Weight
			fmt.Fprintf(w, "\n%s\n", titles[weight])
		}
		key := string(g.Weight) + g.Check
		if shown[key]++; shown[key] > maxShown && !all {
			continue
		}
		what := report.Plain(strings.TrimSpace(g.Subject + " " + g.Field))
		if g.Got != "" {
			what += fmt.Sprintf(" %q", report.Plain(g.Got))
		}
		fmt.Fprintf(w, "  %-12s %s\n               %s\n", g.Check, what, report.Plain(g.Why))
		if g.Ask != "" {
			fmt.Fprintf(w, "               please supply: %s\n", report.Plain(g.Ask))
		}
	}
	if len(r.Counts) > 0 {
		fmt.Fprintln(w, "\ncounted")
		for _, k := range slices.Sorted(maps.Keys(r.Counts)) {
			fmt.Fprintf(w, "  %-12s %d\n", k, r.Counts[k])
		}
		if !all {
			fmt.Fprintf(w, "  Of each check the first %d are shown; --all, --csv and --format json have all.\n", maxShown)
		}
	}
	if len(r.NotChecked) > 0 {
		fmt.Fprintln(w, "\nnot checked")
		for _, n := range r.NotChecked {
			fmt.Fprintf(w, "  %s\n", report.Plain(n))
		}
	}
}
