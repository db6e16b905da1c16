package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand(env *environment) *cobra.Command {
	var verbose bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  assay version\n  assay version --verbose", Args: exactly(0),
		Long: `Prints the version; with --verbose also what commands that parse evidence and
manifests give up on this machine before they read, by trying it. ASSAY_SANDBOX
asks for it: auto takes what there is, require ends with exit code 70 where
something is missing, off does without (docs/threat-model.md).`,
		RunE: func(*cobra.Command, []string) error {
			if _, err := fmt.Fprintf(env.stdout, "assay %s\n", programVersion()); err != nil || !verbose {
				return err
			}
			return env.protections()
		},
	}
	cmd.Flags().BoolVar(&verbose, "verbose", false, "also what protects this program against what it reads")
	return cmd
}

// programVersion is what this program calls itself, in evidence too.
func programVersion() string {
	info, _ := debug.ReadBuildInfo()
	return versionOf(version, info)
}

// versionOf is the version that the build set. A program that go install made
// of a module has the module's.
func versionOf(set string, info *debug.BuildInfo) string {
	switch {
	case set != "":
		return set
	case info != nil && info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	}
	return "devel"
}
