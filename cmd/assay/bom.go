package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

func newBOMCommand(env *environment) *cobra.Command {
	return group("bom", "List and compare parts", "  assay bom list server.evidence.zip\n  assay bom diff before.evidence.zip after.evidence.zip",
		newBOMListCommand(env), newBOMDiffCommand(env), newBOMConvertCommand(env), newBOMImportCommand(env), newBOMMapCommand(env))
}

func newBOMListCommand(env *environment) *cobra.Command {
	var out outputOptions
	var limit limitOption
	var mapping, system string
	cmd := &cobra.Command{
		Use:   "list FILE|EVIDENCE",
		Short: "List the parts of a machine, a manifest or a raw dump",
		Long: `Lists parts. The argument is an evidence bundle, a golden manifest, a raw dump
(dmidecode --dump-bin, a FRU or SPD image, lspci -xxxx), what a tool prints (dmidecode,
lspci in any form, lshw as text, -json or -xml), or what a management controller tells
by Redfish: a tree of resources in the layout of DMTF's mockups, as a directory or as
.zip, .tar.gz or .tar.xz, or one resource; --system chooses where it has several.

A bill of materials of a board (.csv, .tsv, .xlsx, IPC-2581) is listed by reference
designator; --map names columns that are not found by their headers. It is followed by
what software can see of the board: which parts can tell their type, which only
acknowledge, which are silent.`,
		Example: "  assay bom list server.evidence.zip\n  assay bom list dmidecode.txt --format json\n  assay bom list redfish-mockup/ --system 1",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		limits, err := limit.limits()
		if err != nil {
			return err
		}
		if board, err := boardAt(args[0]); board || err != nil {
			return listBoard(env, &out, args[0], mapping, err)
		}
		l, err := openParts(args[0], system, limits)
		if err != nil {
			return err
		}
		if n := len(l.lost); n > 0 {
			fmt.Fprintf(env.stderr, "%s: %d things that it tells are no parts; bom convert --to json names them\n", report.Plain(args[0]), n)
		}
		var b bytes.Buffer
		if err := writeParts(&b, l, &out); err != nil {
			return err
		}
		return out.write(env, b.Bytes())
	}
	out.addFlags(cmd.Flags(), "text", "json")
	cmd.Flags().StringVar(&mapping, "map", "", "file that names the header of each column of a board's list (JSON)")
	addSystemFlag(cmd.Flags(), &system)
	limit.addFlag(cmd.Flags())
	return cmd
}

func writeParts(w io.Writer, l *partList, out *outputOptions) error {
	if out.format == "json" {
		if l.observed != nil {
			return asJSON(w, l.observed)
		}
		return asJSON(w, map[string]any{"components": l.declared, "classes": l.closures})
	}
	if l.observed != nil {
		report.Parts(w, l.observed)
		return nil
	}
	for _, r := range l.declared {
		fmt.Fprintf(w, "%-10s %-30s %s\n", r.Class, report.Plain(r.Subject), report.Plain(bom.Describe(r.Identity)))
	}
	return nil
}

// difference is what a comparison of two part lists prints in JSON.
type difference struct {
	Findings   []finding.Finding `json:"findings"`
	Coverage   []bom.Coverage    `json:"coverage"`
	NotChecked []bom.NotChecked  `json:"notChecked"`
}

func newBOMDiffCommand(env *environment) *cobra.Command {
	var out outputOptions
	var limit limitOption
	var mapping, system string
	var why explanations
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two lists of parts, both ways and one to one",
		Long: `Compares the parts of A, as what is wanted, with those of B. Either may be
anything that bom list takes; only A may be a golden manifest, whose signature
is not checked here. Two bills of materials of boards are compared by reference
designator: added, removed, substituted, revalued, left out, fitted, renumbered; what
a change notice (--change: an ECN or a ticket, as in golden diff) names is explained.
Exits 1 when they differ and 0 when not.`,
		Example: "  assay bom diff before.evidence.zip after.evidence.zip\n  assay bom diff board-v7.xlsx board-v9.xlsx",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		limits, err := limit.limits()
		if err != nil {
			return err
		}
		if board, err := boardAt(args[0]); board || err != nil {
			if err != nil {
				return err
			}
			return diffBoards(env, &out, args[0], args[1], mapping, why)
		}
		want, err := openParts(args[0], system, limits)
		if err != nil {
			return err
		}
		got, err := openParts(args[1], system, limits)
		if err != nil {
			return err
		}
		if got.observed == nil {
			return usage("%s is a manifest; give it first and what it is compared with second", args[1])
		}
		c := bom.Match(want.declared, want.closures, got.observed)
		return writeDifference(env, &out, difference{c.Findings, c.Coverage, c.NotChecked})
	}
	out.addFlags(cmd.Flags(), "text", "json")
	cmd.Flags().StringVar(&mapping, "map", "", "file that names the header of each column of boards' lists (JSON)")
	cmd.Flags().StringArrayVar(&why.notices, "change", nil, "change notice that accounts for changes of a board; repeatable")
	addSystemFlag(cmd.Flags(), &system)
	limit.addFlag(cmd.Flags())
	return cmd
}

func writeDifference(env *environment, out *outputOptions, d difference) error {
	d.Findings = slices.Clone(d.Findings)
	if d.Findings == nil {
		d.Findings = []finding.Finding{}
	}
	var b bytes.Buffer
	if out.format == "json" {
		if err := asJSON(&b, d); err != nil {
			return err
		}
	} else {
		report.Findings(&b, d.Findings, out.style(env))
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	if len(d.Findings) > 0 {
		return &exitError{code: 1}
	}
	return nil
}
