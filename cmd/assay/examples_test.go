package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// Each command that does something has an example, and each line of the examples is
// one that the program takes: its command, its flags and as many arguments.
func TestExamplesInHelp(t *testing.T) {
	lines := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			walk(s)
		}
		if c.Name() == "help" || c.Name() == "completion" || c.Parent() != nil && c.Parent().Name() == "completion" {
			return
		}
		require.True(t, c.Example != "" || c.Hidden, "%s has no example", c.CommandPath())
		for _, words := range commandLines(c.Example) {
			lines++
			requireTaken(t, c, words)
		}
	}
	walk(newRootCommand(newEnvironment()))
	require.Greater(t, lines, 100)
}

var (
	shellCommand = regexp.MustCompile(`(?:[^|;&'"]|'[^']*'|"[^"]*")+`)
	shellWord    = regexp.MustCompile(`(?:[^\s'"]|'[^']*'|"[^"]*")+`)
	shellQuotes  = strings.NewReplacer(`'`, "", `"`, "")
)

// commandLines are the command lines of an example that run assay, in words.
func commandLines(example string) [][]string {
	var out [][]string
	for line := range strings.Lines(strings.ReplaceAll(example, "\\\n", " ")) {
		line, _, _ = strings.Cut(line, " # ")
		for _, part := range shellCommand.FindAllString(line, -1) {
			words := shellWord.FindAllString(part, -1)
			for i, w := range words {
				if w == "assay" {
					out = append(out, words[i+1:])
					break
				}
			}
		}
	}
	return out
}

// requireTaken parses a command line as the program does, and runs nothing.
func requireTaken(t *testing.T, of *cobra.Command, words []string) {
	t.Helper()
	for i, w := range words {
		if strings.HasPrefix(w, ">") || strings.HasPrefix(w, "2>") || w == "<" {
			words = words[:i]
			break
		}
		words[i] = shellQuotes.Replace(w)
	}
	line := strings.Join(words, " ")
	c, rest, err := newRootCommand(newEnvironment()).Find(words)
	require.NoError(t, err, "%s: %s", of.CommandPath(), line)
	require.NoError(t, c.ParseFlags(rest), "%s: %s", of.CommandPath(), line)
	require.NoError(t, c.ValidateRequiredFlags(), "%s: %s", of.CommandPath(), line)
	require.NoError(t, c.ValidateArgs(c.Flags().Args()), "%s: %s", of.CommandPath(), line)
	require.False(t, c.HasSubCommands() && c.Name() != "docs" && len(c.Flags().Args()) > 0, "%s: %s: no such command", of.CommandPath(), line)
}
