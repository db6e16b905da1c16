package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware/unpack"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/revision"
	"github.com/assay-hw/assay/report"
)

// deltaOptions are the flags of golden delta.
type deltaOptions struct {
	actor, ticket, file string
	classes             []string
	now                 nowOption
	limit               limitOption
}

func newGoldenDeltaCommand(env *environment) *cobra.Command {
	var opt deltaOptions
	cmd := &cobra.Command{
		Use:   "delta GOLDEN EVIDENCE",
		Short: "Draft the signed change that accounts for a repair or an upgrade",
		Long: `Holds a machine as it is now against its manifest, and drafts a delta of the parts
that changed, with who changed them and the ticket. Read it: it should say what the
ticket says and nothing more. Then whoever made the change signs it, and verify takes
it as a further --golden.

What else differs (measurements, firmware, accepted contradictions) is named and left
out: exchanging a part does not account for it.`,
		Example: "  assay golden delta golden.signed.json server.evidence.zip --actor 'Example Repairs' --ticket RMA-17 --class memory -o rma-17.json",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error { return opt.draft(env, args[0], args[1]) }
	fs := cmd.Flags()
	fs.StringVar(&opt.actor, "actor", "", "organisation that made the change, as the certificate that will sign names it")
	fs.StringVar(&opt.ticket, "ticket", "", "its record of the change")
	fs.StringArrayVar(&opt.classes, "class", nil, "class of parts that was changed; repeatable; default all")
	fs.StringVarP(&opt.file, "output", "o", "", "write to this file instead of standard output")
	opt.now.addFlag(fs)
	opt.limit.addFlag(fs)
	return cmd
}

func (o *deltaOptions) draft(env *environment, golden, unit string) error {
	if o.actor == "" || o.ticket == "" {
		return usage("--actor and --ticket are needed: who changed the machine, and their record of it")
	}
	now, err := o.now.time(env)
	if err != nil {
		return err
	}
	base, err := openDocument(golden)
	if err != nil {
		return err
	}
	limits, err := o.limit.limits()
	if err != nil {
		return err
	}
	bundles, err := openBundles([]string{unit}, limits)
	if err != nil {
		return err
	}
	fresh, err := draftAs(base.manifest, bundles, assay.DraftOptions{Now: now, Decoders: unpack.Decoders()})
	if err != nil {
		return unreadable(err)
	}
	opt := revision.DeltaOptions{Base: base.digest, Actor: o.actor, Ticket: o.ticket, Now: now}
	for _, c := range o.classes {
		opt.Classes = append(opt.Classes, bom.Class(c))
	}
	d, left, err := revision.DraftDelta(base.manifest, fresh, opt)
	for _, l := range left {
		fmt.Fprintf(env.stderr, "note: not in the delta: %s\n", report.Plain(l))
	}
	if err != nil {
		return unreadable(err)
	}
	raw, err := manifest.Encode(d)
	if err != nil {
		return err
	}
	return (&outputOptions{file: o.file}).write(env, raw)
}

// draftAs drafts with the scope of a manifest, so that both say the same kind of thing.
func draftAs(base *manifest.Manifest, bundles []*evidence.Bundle, opt assay.DraftOptions) (*manifest.Manifest, error) {
	if opt.Scope = assay.Model; base.Environment.Serial != "" {
		opt.Scope = assay.Machine
	}
	m, _, err := assay.Draft(bundles, opt)
	return m, err
}
