package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandPage is the reference of all commands, in Markdown, as --help tells it.
func commandPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# Commands\n\nWhat `--help` of each command says. The exit code is the verdict: 0 pass, 1 fail, 2 review, 3 inconclusive; 64 usage, 65 unreadable input, 70 internal error, 74 input or output.\n")
	writeCommand(&b, root)
	return b.String()
}

func writeCommand(b *strings.Builder, c *cobra.Command) {
	if c.HasParent() {
		fmt.Fprintf(b, "\n## %s\n\n%s.\n", c.CommandPath(), strings.TrimSuffix(c.Short, "."))
		if c.Long != "" && c.Long != c.Short {
			fmt.Fprintf(b, "\n%s\n", escapeMarkdown(c.Long))
		}
		fmt.Fprintf(b, "\n```text\n%s\n```\n", c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(b, "\n```text\n%s\n```\n", c.Example)
		}
		writeFlags(b, c)
	}
	for _, sub := range shownCommands(c) {
		writeCommand(b, sub)
	}
}

func writeFlags(b *strings.Builder, c *cobra.Command) {
	first := true
	c.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if first {
			b.WriteString("\n| flag | what it does |\n|---|---|\n")
			first = false
		}
		name, text := pflag.UnquoteUsage(f)
		flag := "--" + f.Name
		if f.Shorthand != "" {
			flag = "-" + f.Shorthand + ", " + flag
		}
		if name != "" {
			flag += " " + name
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			text += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| `%s` | %s |\n", flag, escapeMarkdown(strings.ReplaceAll(text, "|", "\\|")))
	})
}

// escapeMarkdown keeps words of help texts from being taken for marks.
func escapeMarkdown(s string) string {
	return strings.NewReplacer("<", "\\<", "*", "\\*", "_", "\\_", "[", "\\[").Replace(s)
}
