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
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/sandbox"
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
	words          report.Words // of another language; nil is English

	askPIN func(what string) (string, error) // nil: nobody is there

	ownProcess bool   // the process is this run's, and may be put into the sandbox
	leave      func() // undoes what the run left outside of its output
}

// processEnvironment is that of a process that does nothing else.
func processEnvironment() *environment {
	e := newEnvironment()
	e.ownProcess = true
	return e
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
	err := env.speak(os.Getenv(messagesVariable))
	if err == nil {
		err = root.Execute()
	}
	if env.leave != nil {
		env.leave()
	}
	if err == nil {
		return 0
	}
	code := codeOf(err)
	if e, ok := errors.AsType[*exitError](err); !ok || e.err != nil {
		fmt.Fprintf(env.stderr, "assay: %v\n", err)
		fmt.Fprintln(env.stderr, nextStep(err, code))
	}
	return code
}

// messagesVariable names a file with the texts of reports in another language.
const messagesVariable = "ASSAY_MESSAGES"

// speak reads that file; "" is English.
func (e *environment) speak(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return unreadable(fmt.Errorf("%s: %w", messagesVariable, err))
	}
	defer f.Close()
	if e.words, err = report.ReadWords(f); err != nil {
		return unreadable(fmt.Errorf("%s: %s: %w", messagesVariable, file, err))
	}
	return nil
}

// nextStep says what to do about an error.
func nextStep(err error, code int) string {
	_, limit := errors.AsType[*evidence.LimitError](err)
	_, format := errors.AsType[*evidence.FormatError](err)
	refusal, refused := errors.AsType[*client.Problem](err)
	switch {
	case code == exitUsage:
		return "Run the command with --help for its usage and an example."
	case limit:
		return "Next: find out why it is that large; if it has to be, raise the limit with --limit (see --help)."
	case errors.Is(err, fs.ErrPermission):
		return "Next: run it as root, or as somebody who may read the file."
	case errors.Is(err, fs.ErrNotExist):
		return "Next: check the path; nothing was judged."
	case format:
		return "Next: take the file again from where it came; evidence is what assay scan writes, or a tree in the paths of the running system (assay docs formats)."
	case code == exitUnreadable:
		return "Next: check that it is the file that you meant, and take it again from where it came; nothing was judged."
	case errors.Is(err, sandbox.ErrUnavailable):
		return "Next: take a newer kernel, or " + sandboxVariable + "=auto, which takes what this one has; nothing was read."
	case refused && refusal.Status < 500:
		return "Next: the server refused it for that reason; do what it asks for, and send it again."
	case refused:
		return "Next: the server's own log says more; try it again when it is well."
	case errors.Is(err, errNoQuote):
		return "Next: run it as root; assay doctor says what is in the way of the TPM."
	case code == exitIO:
		return "Next: check that the path or address in the message exists, may be used and has room."
	}
	return "Next: run it again; if it fails again, report it with what assay version prints."
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

// welcome is what somebody sees who has never used the program: the way in for each
// of the three who do.
const welcome = `Assay proves that a server is the server its vendor built: its parts, its measured
boot and its firmware, against a manifest that the vendor signed.

At the machine
  sudo assay doctor                                            what can be seen here, and what to do about the rest
  sudo assay check --golden golden.signed.json --trust roots/  scan and verdict in one command
  sudo assay scan -o server.evidence.zip                       evidence, to be judged somewhere else

With a vendor's manifest
  assay golden verify golden.signed.json --trust roots/        is it genuine, and may this signer say it
  assay golden lint golden.signed.json --trust roots/          is it complete, and may we buy it
  assay golden diff old.json new.json                          what changed since the last revision
  assay golden draft unit.evidence.zip -o golden.json          your own, when the vendor gives none

For many machines
  assay fleet serve --data /var/lib/assay --trust roots/       audits on a schedule, and pages that show what moved
  assay fleet status                                           the fleet in figures, the worst machines first

assay docs has five minutes for each of the three; assay --help lists all commands.
`

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
			_, err := fmt.Fprint(env.stdout, welcome)
			return err
		},
		Args: cobra.ArbitraryArgs,
	}
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.PersistentPreRunE = env.confine
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage("%v", err) })
	root.AddCommand(
		newVerifyCommand(env), newScanCommand(env), newCheckCommand(env), newDoctorCommand(env), newInspectCommand(env), newExplainCommand(env),
		newGoldenCommand(env), newBOMCommand(env), newAttestCommand(env), newFirmwareCommand(env), newInspectionCommand(env), newQuirksCommand(env), newImageCommand(env), newFleetCommand(env), newDocsCommand(env), newLogCommand(env), newManPagesCommand(env), newVersionCommand(env),
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

func atMost(n int) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if len(args) > n {
			return usage("%s takes at most %d argument(s), got %d", c.CommandPath(), n, len(args))
		}
		return nil
	}
}
