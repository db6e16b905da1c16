package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/report"
)

// logOption is the flag of commands that give verdicts.
type logOption struct{ file string }

func (o *logOption) addFlag(fs *pflag.FlagSet) {
	fs.StringVar(&o.file, "log", "", "also append the verdict to this file, chained to the line before (assay log verify)")
}

// record appends a verdict to the log, if there is one. A verdict that cannot be
// recorded is not given.
func (o *logOption) record(env *environment, command string, r *assay.Result) error {
	if o.file == "" {
		return nil
	}
	sum, err := report.Digest(r)
	if err != nil {
		return err
	}
	v := auditlog.Verdict{
		At: env.now().UTC().Truncate(time.Second), JudgedAt: r.At.UTC(), Command: command, Platform: auditlog.Platform(r.Platform),
		Verdict: string(r.Verdict), Exit: r.Verdict.ExitCode(), Evidence: r.Evidence.SHA256, Result: sum,
		Policy: auditlog.Judge{ID: r.Policy.ID, SHA256: r.Policy.SHA256}, Manifests: []auditlog.Judge{},
	}
	for _, m := range r.Manifests {
		v.Manifests = append(v.Manifests, auditlog.Judge{ID: m.ID, Version: m.Version, SHA256: m.SHA256, Status: m.Status})
	}
	if _, err = auditlog.Append(o.file, v); errors.Is(err, auditlog.ErrBroken) {
		return unreadable(fmt.Errorf("log: %w; nothing was appended, and no verdict is given", err))
	} else if err != nil {
		return &exitError{exitIO, fmt.Errorf("log: %w", err)}
	}
	return nil
}

func newLogCommand(env *environment) *cobra.Command {
	return group("log", "Check logs of verdicts", "  assay log verify verdicts.log", newLogVerifyCommand(env))
}

// logState is what a check of a log found.
type logState struct {
	Lines  int64          `json:"lines"`
	Head   string         `json:"head,omitempty"`
	From   *time.Time     `json:"from,omitempty"`
	To     *time.Time     `json:"to,omitempty"`
	Counts map[string]int `json:"verdicts"`
	Broken string         `json:"broken,omitempty"`
}

func newLogVerifyCommand(env *environment) *cobra.Command {
	var out outputOptions
	var expect string
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that no line of a log of verdicts was changed, removed or put in",
		Long: `Follows the chain of a log that verify --log and check --log wrote, names the first
line that does not hold, and prints the head: number and hash of the last line.

A chain of hashes has no key. It cannot show that lines were cut off at its end, nor
that somebody who can write the file wrote it anew from some line on. Keep the head
elsewhere: --expect says that the log has to go through it.

Exit codes: 0 the chain holds, 1 it does not; 64 usage, 65 unreadable input.`,
		Example: "  assay log verify verdicts.log\n  assay log verify verdicts.log --expect 1042:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		var want *auditlog.Head
		if expect != "" {
			h, err := auditlog.ParseHead(expect)
			if err != nil {
				return usage("--expect: %v", err)
			}
			want = &h
		}
		s, err := checkLog(args[0], want)
		if err != nil {
			return unreadable(err)
		}
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, s); err != nil {
				return err
			}
		} else {
			s.print(&b)
		}
		if err := out.write(env, b.Bytes()); err != nil {
			return err
		}
		if s.Broken != "" {
			return &exitError{code: assay.Fail.ExitCode()}
		}
		return nil
	}
	cmd.Flags().StringVar(&expect, "expect", "", "NUMBER:HASH that was printed earlier: the log must go through it")
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

func checkLog(path string, want *auditlog.Head) (*logState, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &logState{Counts: map[string]int{}}
	met := want == nil
	h, err := auditlog.Follow(f, func(v auditlog.Verdict) {
		if s.From == nil {
			s.From = &v.At
		}
		s.To = &v.At
		s.Counts[v.Verdict]++
		met = met || *want == auditlog.Head{Seq: v.Seq, Hash: v.Hash}
	})
	s.Lines = h.Seq
	if h.Seq > 0 {
		s.Head = h.String()
	}
	switch {
	case errors.Is(err, auditlog.ErrBroken):
		s.Broken = err.Error()
	case err != nil:
		return nil, fmt.Errorf("%s: %w", path, err)
	case !met && h.Seq < want.Seq:
		s.Broken = fmt.Sprintf("the log has %d lines, and had %d: its end was cut off", h.Seq, want.Seq)
	case !met:
		s.Broken = fmt.Sprintf("line %d is another one than it was: the log was written anew", want.Seq)
	}
	return s, nil
}

func (s *logState) print(b *bytes.Buffer) {
	if s.Broken != "" {
		fmt.Fprintf(b, "BROKEN: %s\n%d lines before it hold\n", report.Plain(s.Broken), s.Lines)
		return
	}
	fmt.Fprintf(b, "%d lines, each follows the one before\n", s.Lines)
	if s.Lines == 0 {
		return
	}
	for _, v := range []assay.Verdict{assay.Pass, assay.Fail, assay.Review, assay.Inconclusive} {
		if n := s.Counts[string(v)]; n > 0 {
			fmt.Fprintf(b, "  %-12s %d\n", v, n)
		}
	}
	fmt.Fprintf(b, "from %s to %s\nhead %s\nLines that were cut off at the end do not show: keep the head elsewhere, for --expect.\n",
		s.From.Format(time.RFC3339), s.To.Format(time.RFC3339), s.Head)
}
