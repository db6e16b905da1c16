package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/assay-hw/assay/evidence"
)

// The exit codes besides those of verdicts.
const (
	exitUsage      = 64
	exitUnreadable = 65
	exitInternal   = 70
	exitIO         = 74
)

// environment is what a command may touch of the outside world.
type environment struct {
	stdout, stderr io.Writer
	now            func() time.Time
	terminal       bool // stdout is a terminal
	width          int
	noColor        bool

	askPIN func(what string) (string, error) // nil: nobody is there
}

func newEnvironment() *environment {
	e := &environment{stdout: os.Stdout, stderr: os.Stderr, now: time.Now, noColor: os.Getenv("NO_COLOR") != ""}
	fd := int(os.Stdout.Fd())
	if term.IsTerminal(fd) {
		e.terminal = true
		if w, _, err := term.GetSize(fd); err == nil {
			e.width = min(w, 120)
		}
	}
	if in := int(os.Stdin.Fd()); term.IsTerminal(in) {
		e.askPIN = func(what string) (string, error) {
			fmt.Fprintf(e.stderr, "%s: ", what)
			b, err := term.ReadPassword(in)
			fmt.Fprintln(e.stderr)
			return string(b), err
		}
	}
	return e
}

// exitError carries an exit code: a verdict that is not pass has one and no
// error text.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// unreadable marks an error about an input file.
func unreadable(err error) error { return &exitError{exitUnreadable, err} }

func run(args []string, env *environment) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return 0
	}
	code := codeOf(err)
	if e, ok := errors.AsType[*exitError](err); !ok || e.err != nil {
		fmt.Fprintf(env.stderr, "assay: %v\n", err)
		if code == exitUsage {
			fmt.Fprintln(env.stderr, "Run the command with --help for its usage and an example.")
		}
	}
	return code
}

// codeOf maps an error to an exit code.
func codeOf(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*evidence.LimitError](err); ok {
		return exitUnreadable
	}
	if _, ok := errors.AsType[*evidence.FormatError](err); ok {
		return exitUnreadable
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return exitUnreadable
	}
	return exitInternal
}

func newRootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "assay",
		Short: "Prove that a server is the server its vendor built",
		Long: `Assay compares what a machine is made of, what it measured while it booted and
its firmware images with a golden manifest that the vendor signed, and names
every unexpected part and every measurement that differs.`,
		Example: `  assay golden draft unit.evidence.zip -o golden.json
  assay golden sign golden.json --key vendor.key --cert vendor.pem -o golden.signed.json
  assay verify server.evidence.zip --golden golden.signed.json --trust roots/`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("unknown command %q", args[0])
			}
			return c.Help()
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	root.AddCommand(
		newVerifyCommand(env), newScanCommand(env), newCheckCommand(env), newInspectCommand(env), newExplainCommand(env),
		newGoldenCommand(env), newBOMCommand(env), newAttestCommand(env), newFirmwareCommand(env), newInspectionCommand(env), newQuirksCommand(env), newImageCommand(env), newFleetCommand(env), newManPagesCommand(env), newVersionCommand(env),
	)
	return root
}

// group is a command that only holds others.
func group(use, short, example string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("%s has no command %q", c.CommandPath(), args[0])
			}
			return c.Help()
		},
	}
	c.AddCommand(subs...)
	return c
}

// exactly and atLeast are cobra's argument checks with the exit code of a
// usage error.
func exactly(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) != n {
			return usage("%s takes %d argument(s), got %d", c.CommandPath(), n, len(args))
		}
		return nil
	}
}
