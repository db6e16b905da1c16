package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/quirk"
	"github.com/assay-hw/assay/report"
)

func newQuirksCommand(env *environment) *cobra.Command {
	return group("quirks", "Check, show and sign lists of what honest machines say against themselves",
		"  assay quirks lint quirks.json\n  assay quirks sign quirks.json --key vendor.key --cert vendor.pem -o quirks.signed.json\n"+
			"  assay verify server.evidence.zip --golden golden.signed.json --trust roots/ --quirks quirks.signed.json",
		newQuirksLintCommand(env), newQuirksShowCommand(env), newQuirksSignCommand(env), newQuirksCodesCommand(env))
}

// readQuirks reads the lists that an appraisal may use.
func (o *appraisalOptions) readQuirks(c *assay.Case) error {
	var lists quirk.Lists
	for _, p := range o.quirks {
		raw, err := readInput(p, quirk.MaxBytes)
		if err != nil {
			return err
		}
		lists = append(lists, raw)
	}
	if len(lists) > 0 {
		c.Quirks = lists
	}
	return nil
}

func readQuirkList(name string) (*quirk.List, error) {
	raw, err := readInput(name, quirk.MaxBytes)
	if err != nil {
		return nil, err
	}
	l, err := quirk.ReadUntrusted(raw)
	if err != nil {
		return nil, unreadable(fmt.Errorf("%s: %w", name, err))
	}
	return l, nil
}

func newQuirksLintCommand(env *environment) *cobra.Command {
	var now nowOption
	var soon time.Duration
	cmd := &cobra.Command{
		Use:   "lint FILE",
		Short: "Check a list before it is signed",
		Long: `Reads a list, signed or not, as strictly as verify does, and tells what it explains
no more or not for long. Who may sign it is not checked: verify does, by trust.yaml.

Exit codes: 0 the list explains what it says, 2 an entry has expired or will soon;
65 the list breaks a rule, which is named.`,
		Example: "  assay quirks lint quirks.json",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		at, err := now.time(env)
		if err != nil {
			return err
		}
		l, err := readQuirkList(args[0])
		if err != nil {
			return err
		}
		late := 0
		tell := func(what string, end time.Time) {
			switch {
			case at.After(end):
				fmt.Fprintf(env.stdout, "%s expired %s: it explains nothing\n", what, end.UTC().Format(time.DateOnly))
			case at.Add(soon).After(end):
				fmt.Fprintf(env.stdout, "%s expires %s\n", what, end.UTC().Format(time.DateOnly))
			default:
				return
			}
			late++
		}
		tell("list "+report.Plain(l.ID), l.NotAfter)
		for _, e := range l.Entries {
			tell("entry "+report.Plain(e.ID), e.Expires)
		}
		fmt.Fprintf(env.stdout, "%s version %d: %d entries\n", report.Plain(l.ID), l.Version, len(l.Entries))
		if late > 0 {
			return verdictError(assay.Review)
		}
		return nil
	}
	now.addFlag(cmd.Flags())
	cmd.Flags().DurationVar(&soon, "soon", 30*24*time.Hour, "tell what expires within this time")
	return cmd
}

func newQuirksShowCommand(env *environment) *cobra.Command {
	var trust []string
	var now nowOption
	var out outputOptions
	cmd := &cobra.Command{
		Use:     "show FILE",
		Short:   "Show what a list explains, where and until when, and who signed it",
		Example: "  assay quirks show quirks.signed.json --trust roots/",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		l, err := readQuirkList(args[0])
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, l); err != nil {
				return err
			}
			return out.write(env, b.Bytes())
		}
		signed, err := quirkSigners(env, args[0], trust, now)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s version %d, for %s, until %s, %s\n", report.Plain(l.ID), l.Version, report.Plain(l.Manufacturer), l.NotAfter.UTC().Format(time.DateOnly), signed)
		for _, e := range l.Entries {
			fmt.Fprintf(&b, "\n%s, until %s\n  %s %s, firmware %s to %s\n  %s\n", report.Plain(e.ID), e.Expires.UTC().Format(time.DateOnly), report.Plain(e.Scope.Manufacturer),
				report.Plain(strings.Join(e.Scope.Models, ", ")), report.Plain(e.Scope.Firmware.From), report.Plain(e.Scope.Firmware.Through), report.Plain(e.Reason))
			for _, c := range e.Citations {
				fmt.Fprintf(&b, "  see %s\n", report.Plain(c))
			}
			for _, x := range e.Explains {
				fmt.Fprintf(&b, "  explains %s %s: want %q, got %q\n", x.Code, report.Plain(x.Subject), x.Want, x.Got)
			}
		}
		return out.write(env, b.Bytes())
	}
	addTrustFlag(cmd.Flags(), &trust)
	now.addFlag(cmd.Flags())
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

// quirkSigners says who signed a list, and whether they may.
func quirkSigners(env *environment, name string, trust []string, now nowOption) (string, error) {
	at, err := now.time(env)
	if err != nil {
		return "", err
	}
	t, err := loadTrust(trust)
	if err != nil {
		return "", err
	}
	raw, err := readInput(name, quirk.MaxBytes)
	if err != nil {
		return "", err
	}
	_, rep, err := quirk.Open(raw, t, at)
	switch {
	case err != nil:
		return "", unreadable(fmt.Errorf("%s: %w", name, err))
	case rep.Status == manifest.StatusTrusted:
		return "signed by " + report.Plain(strings.Join(rep.Signers, ", ")), nil
	case len(rep.Findings) > 0:
		return fmt.Sprintf("not trusted (%s: %s)", rep.Findings[0].Code, report.Plain(rep.Findings[0].Why)), nil
	}
	return "not trusted", nil
}

func newQuirksSignCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a list (DSSE)",
		Long: `Signs a list, or adds a signature to one; golden sign does the same. Only a grant in
the trust.yaml of whoever verifies, for the list's manufacturer and with the class
quirks, lets a signer explain anything: nobody has that right by default.

` + keyHelp,
		Example: "  assay quirks sign quirks.json --key vendor.key --cert vendor.pem -o quirks.signed.json",
		Args:    exactly(1),
	}
	addSigning(env, cmd, quirk.MaxBytes, func([]byte) signFunc { return quirk.Sign })
	return cmd
}

func newQuirksCodesCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "codes", Short: "Which findings a list may explain, how far, and why", Example: "  assay quirks codes", Args: exactly(0),
		RunE: func(*cobra.Command, []string) error {
			var b bytes.Buffer
			for _, r := range quirk.Coverable() {
				where, values := "any subject", "exact values"
				if len(r.Subjects) > 0 {
					where = strings.Join(r.Subjects, " ")
				}
				if r.Forms {
					values = "values with forms"
				}
				fmt.Fprintf(&b, "%s up to %s, %s, %s\n  %s\n", r.Code, r.Most, where, values, r.Reason)
			}
			return (&outputOptions{}).write(env, b.Bytes())
		},
	}
}
