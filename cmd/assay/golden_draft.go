package main

import (
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/unpack"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
)

// draftOptions are the flags of golden draft.
type draftOptions struct {
	assay.DraftOptions
	scope, file string
	images      []string
	now         nowOption
	limit       limitOption
}

func newGoldenDraftCommand(env *environment) *cobra.Command {
	var opt draftOptions
	cmd := &cobra.Command{
		Use:   "draft EVIDENCE...",
		Short: "Draft a manifest from known-good units",
		Long: `Drafts a golden manifest from the evidence of one or several known-good units.
From several it learns what varies between them. What the signer should know is
printed on standard error: what varied, which contradictions the evidence already
has, and what could not be declared complete. Review the draft before signing.

With --firmware, what a vendor ships becomes reference values too: an image, an
update capsule, a cabinet, a container. Several versions of one image are all
allowed. From an update that does not hold the whole flash, its volumes are
declared, and the rest of the flash will be listed as not checked. Without
evidence, --manufacturer and --model say what the manifest is about.`,
		Example: "  assay golden draft unit.evidence.zip -o golden.json\n  assay golden draft a.evidence.zip b.evidence.zip --scope model -o model.json\n" +
			"  assay golden draft unit.evidence.zip --firmware bios@2.5=update.cab -o golden.json",
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error { return opt.draft(env, args) }
	fs := cmd.Flags()
	fs.StringVarP(&opt.file, "output", "o", "", "write to this file instead of standard output")
	fs.StringVar(&opt.scope, "scope", "", "machine (one unit, serial numbers and TPM pinned) or model; default by the number of units")
	fs.StringArrayVar(&opt.images, "firmware", nil, "[NAME[@VERSION]=]FILE: a vendor's image, capsule or cabinet, for the image bios or NAME; repeatable")
	fs.StringVar(&opt.Platform.Manufacturer, "manufacturer", "", "manufacturer of the platform, when there is no evidence")
	fs.StringVar(&opt.Platform.Model, "model", "", "model of the platform, when there is no evidence")
	fs.StringVar(&opt.ID, "id", "", "id of the manifest's lineage; default from manufacturer and model")
	fs.Int64Var(&opt.Version, "version", 1, "version in the lineage")
	fs.DurationVar(&opt.Validity, "validity", 2*365*24*time.Hour, "time until the manifest expires")
	opt.now.addFlag(fs)
	opt.limit.addFlag(fs)
	return cmd
}

func (o *draftOptions) draft(env *environment, args []string) error {
	switch o.Scope = assay.Scope(o.scope); o.Scope {
	case "", assay.Machine, assay.Model:
	default:
		return usage("--scope %s: want machine or model", o.scope)
	}
	if len(args) == 0 && len(o.images) == 0 {
		return usage("name evidence of known-good units, or a vendor's file with --firmware")
	}
	limits, err := o.limit.limits()
	if err != nil {
		return err
	}
	if o.Now, err = o.now.time(env); err != nil {
		return err
	}
	bundles, err := openBundles(args, limits)
	if err != nil {
		return err
	}
	if o.Firmware, err = vendorFiles(env, o.images); err != nil {
		return err
	}
	o.Decoders = unpack.Decoders()
	m, notes, err := assay.Draft(bundles, o.DraftOptions)
	if err != nil {
		return unreadable(err)
	}
	raw, err := manifest.Encode(m)
	if err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintf(env.stderr, "note: %s\n", report.Plain(n))
	}
	return (&outputOptions{file: o.file}).write(env, raw)
}

func openBundles(paths []string, limits evidence.Limits) ([]*evidence.Bundle, error) {
	var out []*evidence.Bundle
	for _, p := range paths {
		b, err := evidence.Open(p, limits)
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

// imageName is the form of an image's name in evidence and manifests.
var imageName = regexp.MustCompile(`^([A-Za-z0-9._-]+)(?:@([^=@]+))?=(.+)$`)

// vendorFiles opens files given as [NAME[@VERSION]=]FILE.
func vendorFiles(env *environment, given []string) ([]firmware.VendorFile, error) {
	var out []firmware.VendorFile
	for _, g := range given {
		f, path := firmware.VendorFile{}, g
		if p := imageName.FindStringSubmatch(g); p != nil {
			f.Name, f.Version, path = p[1], p[2], p[3]
		}
		m, err := openImage(env, path, false)
		if err != nil {
			return nil, err
		}
		f.Image = m
		out = append(out, f)
	}
	return out, nil
}
