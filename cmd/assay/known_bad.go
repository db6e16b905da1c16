package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/knownbad"
)

// knownBadOptions are the flags of golden known-bad.
type knownBadOptions struct {
	dbx, sha256, authenticode, certificate, subject []string
	versions                                        []string
	title, advisory, severity                       string
	id, file                                        string
	version                                         int64
	validity                                        time.Duration
}

func newKnownBadCommand(env *environment) *cobra.Command {
	var opt knownBadOptions
	var now nowOption
	cmd := &cobra.Command{
		Use:   "known-bad [LIST...]",
		Short: "Draft a list of firmware that must not be in use",
		Long: `Drafts a list of known-bad firmware: entries of other lists, and those that the
flags name. Sign it with assay golden sign and give it to verify or check with
--known-bad: what is on it is FW-010. A signer that trust.yaml names needs the class
known-bad there. Lists of leaked test keys are built in.

--dbx takes a forbidden-signatures database: the variable's value, or an update file
of the UEFI Forum, whose own signature is not checked here.`,
		Example: "  assay golden known-bad --dbx DBXUpdate.bin --title 'revoked by the UEFI Forum' --id uefi-dbx -o list.json\n" +
			"  assay golden known-bad --version-below 'firmware/Supermicro/X11SSH-F/2.5' --title 'CVE-2024-10237' --id acme -o list.json",
		Args: cobra.ArbitraryArgs,
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		at, err := now.time(env)
		if err != nil {
			return err
		}
		l := &knownbad.List{Format: knownbad.Format, ID: opt.id, Version: opt.version, IssuedAt: at.UTC().Truncate(time.Second)}
		l.NotAfter = l.IssuedAt.Add(opt.validity)
		if l.Entries, err = opt.entries(args); err != nil {
			return err
		}
		if len(l.Entries) == 0 || opt.id == "" {
			return usage("--id and something that is known to be bad are needed")
		}
		raw, err := json.MarshalIndent(l, "", "  ")
		if err != nil {
			return err
		}
		if _, err := knownbad.Read(raw); err != nil {
			return usage("%v", err)
		}
		return (&outputOptions{file: opt.file}).write(env, append(raw, '\n'))
	}
	opt.addFlags(cmd)
	now.addFlag(cmd.Flags())
	return cmd
}

func (o *knownBadOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&o.file, "output", "o", "", "write to this file instead of standard output")
	fs.StringArrayVar(&o.dbx, "dbx", nil, "forbidden-signatures database, or an update of it; repeatable")
	fs.StringArrayVar(&o.sha256, "sha256", nil, "digest of a module, a part or an image; repeatable")
	fs.StringArrayVar(&o.authenticode, "authenticode", nil, "Authenticode digest of a PE image, SHA-256; repeatable")
	fs.StringArrayVar(&o.certificate, "certificate", nil, "SHA-256 of a certificate among the Secure Boot keys; repeatable")
	fs.StringArrayVar(&o.subject, "subject", nil, "text in the subject of such a certificate; repeatable")
	fs.StringArrayVar(&o.versions, "version-below", nil, "CLASS/MAKER/MODEL/VERSION: parts with older firmware; MODEL may be empty; repeatable")
	fs.StringVar(&o.title, "title", "known-bad firmware", "what it is, in a few words")
	fs.StringVar(&o.advisory, "advisory", "", "where to read about it")
	fs.StringVar(&o.severity, "severity", "", "low, medium, high (default) or critical")
	fs.StringVar(&o.id, "id", "", "id of the list")
	fs.Int64Var(&o.version, "version", 1, "version of the list")
	fs.DurationVar(&o.validity, "validity", 90*24*time.Hour, "time after which the list is told to be stale")
}

// entries gathers what other lists and the flags name.
func (o *knownBadOptions) entries(lists []string) ([]knownbad.Entry, error) {
	var out []knownbad.Entry
	for _, name := range lists {
		raw, err := readInput(name, knownbad.MaxBytes)
		if err != nil {
			return nil, err
		}
		l, err := knownbad.Read(raw)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		out = append(out, l.Entries...)
	}
	for _, name := range o.dbx {
		raw, err := readInput(name, knownbad.MaxBytes)
		if err != nil {
			return nil, err
		}
		es, err := knownbad.FromDBX(raw, o.title, o.advisory)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		for i := range es {
			es[i].Severity = o.severity
		}
		out = append(out, es...)
	}
	for kind, values := range map[knownbad.Kind][]string{knownbad.SHA256: o.sha256, knownbad.Authenticode: o.authenticode, knownbad.Certificate: o.certificate, knownbad.Subject: o.subject} {
		for _, v := range values {
			out = append(out, knownbad.Entry{Kind: kind, Value: v, Title: o.title, Advisory: o.advisory, Severity: o.severity})
		}
	}
	for _, v := range o.versions {
		e, err := knownbad.ParseVersion(v)
		if err != nil {
			return nil, usage("--version-below %s: %v", v, err)
		}
		e.Title, e.Advisory, e.Severity = o.title, o.advisory, o.severity
		out = append(out, e)
	}
	slices.SortFunc(out, knownbad.Compare)
	return slices.Compact(out), nil
}
