package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
)

// manifestChange is what golden diff prints in JSON.
type manifestChange struct {
	Explained string            `json:"explained"` // what accounts for the change, "" when nothing does
	Changes   []manifest.Change `json:"changes"`
}

func newGoldenDiffCommand(env *environment) *cobra.Command {
	var out outputOptions
	cmd := &cobra.Command{
		Use:   "diff OLD NEW",
		Short: "What changed between two revisions, and whether the change is explained",
		Long: `Compares two manifests line by line, without checking signatures, and says what
accounts for the change: a change record, a newer version of the lineage, or a
statement that replaces the old one. Exits 1 when they differ and 0 when not.`,
		Example: "  assay golden diff golden-v1.json golden-v2.json",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		var ms [2]*manifest.Manifest
		for i, name := range args {
			raw, err := readInput(name, maxManifestBytes)
			if err != nil {
				return err
			}
			if ms[i], err = manifest.ReadUntrusted(raw); err != nil {
				return unreadable(fmt.Errorf("%s: %w", name, err))
			}
		}
		changes, err := manifest.Diff(ms[0], ms[1])
		if err != nil {
			return err
		}
		return printChanges(env, &out, manifestChange{manifest.Explained(ms[0], ms[1]), changes})
	}
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

func printChanges(env *environment, out *outputOptions, c manifestChange) error {
	if c.Changes == nil {
		c.Changes = []manifest.Change{}
	}
	var b bytes.Buffer
	if out.format == "json" {
		if err := asJSON(&b, c); err != nil {
			return err
		}
	} else {
		writeChanges(&b, c)
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	if len(c.Changes) > 0 {
		return &exitError{code: 1}
	}
	return nil
}

func writeChanges(b *bytes.Buffer, c manifestChange) {
	if len(c.Changes) == 0 {
		b.WriteString("no differences\n")
		return
	}
	if c.Explained == "" {
		b.WriteString("NOT EXPLAINED: no change record, newer version or replacement accounts for the change\n")
	} else {
		fmt.Fprintf(b, "explained: %s\n", report.Plain(c.Explained))
	}
	for _, x := range c.Changes {
		sign := "~"
		switch {
		case x.Old == "":
			sign = "+"
		case x.New == "":
			sign = "-"
		}
		fmt.Fprintf(b, "%s %s\n", sign, report.Plain(x.Line))
		for _, side := range []struct{ sign, text string }{{"-", x.Old}, {"+", x.New}} {
			if side.text != "" {
				fmt.Fprintf(b, "    %s %s\n", side.sign, report.Plain(strings.TrimSpace(side.text)))
			}
		}
	}
}
