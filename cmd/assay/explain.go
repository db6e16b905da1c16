package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/report"
)

func newExplainCommand(env *environment) *cobra.Command {
	var out outputOptions
	cmd := &cobra.Command{
		Use:     "explain CODE",
		Short:   "What a finding code means and what to do",
		Long:    "Explains a finding or incident code. Without a code it lists all of them.",
		Example: "  assay explain HW-001",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			var codes []string
			for _, e := range finding.Catalogue() {
				codes = append(codes, fmt.Sprintf("%s\t%s", e.Code, e.Title))
			}
			return codes, cobra.ShellCompDirectiveNoFileComp
		},
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		entries := finding.Catalogue()
		if len(args) == 1 {
			e, ok := finding.Lookup(finding.Code(strings.ToUpper(args[0])))
			if !ok {
				return usage("unknown code %q; assay explain lists all codes", args[0])
			}
			entries = []finding.Entry{e}
		}
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, withDisproof(entries)); err != nil {
				return err
			}
			return out.write(env, b.Bytes())
		}
		for _, e := range entries {
			if len(args) == 0 {
				fmt.Fprintf(&b, "%-7s %-9s %s\n", e.Code, e.Severity, e.Title)
				continue
			}
			report.Explain(&b, e, out.style(env))
		}
		return out.write(env, b.Bytes())
	}
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

// disprovable is an entry of the catalogue with what would disprove it.
type disprovable struct {
	finding.Entry
	Disproof string
}

func withDisproof(entries []finding.Entry) []disprovable {
	var out []disprovable
	for _, e := range entries {
		out = append(out, disprovable{e, finding.Disproof(e.Code)})
	}
	return out
}
