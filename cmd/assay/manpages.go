package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay/internal/outfile"
)

func newManPagesCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "manpages DIR",
		Short: "Write the manual pages of all commands",
		Long: `Writes a manual page of section 1 for each command into a directory. Packages have
them already. Their date is today's, or that of the variable SOURCE_DATE_EPOCH.`,
		Example: "  assay manpages ~/.local/share/man/man1",
		Args:    exactly(1),
		RunE: func(c *cobra.Command, args []string) error {
			at := env.now()
			if epoch := os.Getenv("SOURCE_DATE_EPOCH"); epoch != "" {
				n, err := strconv.ParseInt(epoch, 10, 64)
				if err != nil {
					return usage("SOURCE_DATE_EPOCH: %v", err)
				}
				at = time.Unix(n, 0)
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return &exitError{exitIO, err}
			}
			return writeManPages(c.Root(), args[0], at)
		},
	}
}

func writeManPages(c *cobra.Command, dir string, at time.Time) error {
	page := manPage(c, at)
	err := outfile.Write(filepath.Join(dir, manName(c)+".1"), 0o644, func(w io.Writer) error {
		_, err := io.WriteString(w, page)
		return err
	})
	if err != nil {
		return &exitError{exitIO, err}
	}
	for _, sub := range shownCommands(c) {
		if err := writeManPages(sub, dir, at); err != nil {
			return err
		}
	}
	return nil
}

func shownCommands(c *cobra.Command) []*cobra.Command {
	return slices.DeleteFunc(slices.Clone(c.Commands()), func(s *cobra.Command) bool { return !s.IsAvailableCommand() || s.Name() == "help" })
}

func manName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// manPage is the page of one command in the macros of man(7).
func manPage(c *cobra.Command, at time.Time) string {
	c.InitDefaultHelpFlag()
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s 1 %s \"assay %s\" \"Assay manual\"\n", roff(strings.ToUpper(manName(c))), at.UTC().Format(time.DateOnly), roff(programVersion()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roff(manName(c)), roff(lowerFirst(c.Short)))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n\\fB%s\\fR%s\n", roff(c.CommandPath()), roff(strings.TrimPrefix(c.UseLine(), c.CommandPath())))
	b.WriteString(".SH DESCRIPTION\n")
	roffText(&b, cmp.Or(c.Long, c.Short+"."))
	if subs := shownCommands(c); len(subs) > 0 {
		b.WriteString(".SH COMMANDS\n")
		for _, s := range subs {
			fmt.Fprintf(&b, ".TP\n\\fB%s\\fR(1)\n%s", roff(manName(s)), roffFilled(s.Short+"."))
		}
	}
	roffOptions(&b, c.LocalFlags())
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n")
		roffText(&b, c.Example)
	}
	roffList(&b, "EXIT STATUS", exitStatus(c.CommandPath()))
	roffList(&b, "ENVIRONMENT", concerning(c, manEnvironment))
	roffList(&b, "FILES", concerning(c, manFiles))
	roffSeeAlso(&b, c)
	return b.String()
}

func roffOptions(b *strings.Builder, fs *pflag.FlagSet) {
	if !fs.HasAvailableFlags() {
		return
	}
	b.WriteString(".SH OPTIONS\n")
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		value, text := pflag.UnquoteUsage(f)
		b.WriteString(".TP\n")
		if f.Shorthand != "" {
			fmt.Fprintf(b, "\\fB\\-%s\\fR, ", f.Shorthand)
		}
		fmt.Fprintf(b, "\\fB\\-\\-%s\\fR", roff(f.Name))
		switch {
		case f.NoOptDefVal != "" && f.Value.Type() != "bool":
			fmt.Fprintf(b, "[=\\fI%s\\fR]", roff(value))
		case value != "":
			fmt.Fprintf(b, " \\fI%s\\fR", roff(value))
		}
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0" && f.DefValue != "0s" {
			text += " (default " + f.DefValue + ")"
		}
		b.WriteString("\n" + roffFilled(text+"."))
	})
}

func roffList(b *strings.Builder, section string, terms [][2]string) {
	if len(terms) == 0 {
		return
	}
	fmt.Fprintf(b, ".SH %s\n", section)
	for _, t := range terms {
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s", roff(t[0]), roffFilled(t[1]))
	}
}

func roffSeeAlso(b *strings.Builder, c *cobra.Command) {
	var also []string
	if c.HasParent() {
		also = append(also, manName(c.Parent()))
		for _, s := range shownCommands(c.Parent()) {
			if s != c && c.Parent().HasParent() {
				also = append(also, manName(s))
			}
		}
	}
	b.WriteString(".SH SEE ALSO\n")
	for _, a := range also {
		fmt.Fprintf(b, "\\fB%s\\fR(1),\n", roff(a))
	}
	fmt.Fprintf(b, "the guides in \\fI%s\\fR and https://github.com/assay\\-hw/assay\n", roff("/usr/share/doc/assay"))
}

// roffText writes paragraphs. One with a line that is indented keeps its lines.
func roffText(b *strings.Builder, text string) {
	for i, p := range strings.Split(strings.Trim(text, "\n"), "\n\n") {
		if p = strings.TrimRight(p, "\n"); strings.TrimSpace(p) == "" {
			continue
		}
		if i > 0 {
			b.WriteString(".PP\n")
		}
		lines := strings.Split(p, "\n")
		kept := slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "  ") || strings.HasPrefix(l, "\t") })
		if !kept {
			b.WriteString(roffFilled(p))
			continue
		}
		b.WriteString(".EX\n")
		for _, l := range lines {
			b.WriteString(roff(strings.ReplaceAll(l, "\t", "    ")) + "\n")
		}
		b.WriteString(".EE\n")
	}
}

// roffFilled has the words of a text in lines of fewer than 80 bytes.
func roffFilled(text string) string {
	var lines []string
	for _, w := range strings.Fields(text) {
		w = roff(w)
		if n := len(lines); n > 0 && len(lines[n-1])+1+len(w) < 80 {
			lines[n-1] += " " + strings.TrimPrefix(w, `\&`)
			continue
		}
		lines = append(lines, w)
	}
	return strings.Join(lines, "\n") + "\n"
}

// roff makes text of what could be requests and escapes.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`, `"`, `\(dq`).Replace(strings.TrimRight(s, " "))
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}
