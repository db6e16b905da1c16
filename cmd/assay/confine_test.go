package main

import (
	"path/filepath"
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
		"scan", "attest quote", "attest enroll answer", // devices
		"check",       // devices; it enters when it has done with them (testdata/script/sandbox.txtar)
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
		if !isConfined(c) && path != "check" {
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

// A command that signs with a key in hardware talks to tokens and TPMs, wherever it
// is listed; with a key in a file it needs no more than the others.
func TestSigningWithHardwareIsFree(t *testing.T) {
	file := filepath.Join("..", "..", "testdata", "keys", "vendor.key")
	for _, line := range [][]string{
		{"golden", "sign", "--key"},
		{"golden", "export", "--key"},
		{"verify", "--ear-key"},
	} {
		for key, want := range map[string]bool{"pkcs11:token=x": false, "tpm:handle=0x81000010": false, file: true} {
			c, rest, err := newRootCommand(newEnvironment()).Find(append(line, key))
			require.NoError(t, err)
			require.NoError(t, c.ParseFlags(rest))
			require.Equal(t, want, isConfined(c), "%s %s", line, key)
		}
	}
}
