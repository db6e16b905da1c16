package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Example: "  assay version", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintf(env.stdout, "assay %s\n", programVersion())
			return err
		},
	}
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
