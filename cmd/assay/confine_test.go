package main

import (
	"slices"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// free are the commands that are not in the sandbox: they talk to devices, tokens
// or the network, or read nothing that others wrote.
func free() []string {
	return []string{
		"scan", "check", "attest quote", "attest enroll answer", // devices
		"golden sign", "inspection sign", "quirks sign", // tokens and TPMs
		"image build", // packages, and programs that unpack them
		"explain", "version", "quirks codes",
		"doctor",                                                                                          // devices; given evidence it is (diagnosesFile)
		"docs boot", "docs export", "docs find", "docs messages", "docs sample", "docs serve", "manpages", // our own pages
	}
}

// Each command is in the sandbox or known not to be, and what each flag of one in
// it names is known: a flag that nobody thought of would find its file refused.
func TestEveryCommandIsConfinedOrFree(t *testing.T) {
	known := roles()
	seen := map[string]bool{}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			walk(s)
		}
		path := commandPath(c)
		if c.HasSubCommands() || len(path) > 5 && path[:5] == "fleet" {
			return
		}
		seen[path] = true
		require.True(t, isConfined(c) != slices.Contains(free(), path), "%s: put it into confined() or free()", path)
		if !isConfined(c) {
			return
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() != "bool" {
				require.True(t, known[f.Name] != nil || known[path+" --"+f.Name] != nil, "%s --%s: say in roles() what it names", path, f.Name)
			}
		})
	}
	walk(newRootCommand(newEnvironment()))
	for _, path := range append(confined(), free()...) {
		require.True(t, seen[path], "there is no command %s", path)
	}
}

// A command that signs talks to tokens, wherever it is listed.
func TestSigningIsFree(t *testing.T) {
	root := newRootCommand(newEnvironment())
	c, rest, err := root.Find([]string{"golden", "export", "--key", "pkcs11:token=x"})
	require.NoError(t, err)
	require.True(t, isConfined(c))
	require.NoError(t, c.ParseFlags(rest))
	require.False(t, isConfined(c))
}
