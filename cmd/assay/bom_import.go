package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
)

// artifactsOf are the tools whose output bom import takes, with the names that
// what they print is read under.
var artifactsOf = map[string][]string{
	"dmidecode": {"dmidecode.txt", "sys/firmware/dmi/"},
	"lspci":     {"lspci.txt", "sys/bus/pci/"},
	"lshw":      {"lshw"},
}

func newBOMImportCommand(env *environment) *cobra.Command {
	var opt importOptions
	var now nowOption
	cmd := &cobra.Command{
		Use:   "import dmidecode|lspci|lshw FILE",
		Short: "Draft a manifest from what a tool printed of a known-good unit",
		Long: `Reads the output of dmidecode (text, or --dump-bin), lspci (any form, or -xxxx) or
lshw (text, -json, -xml) and drafts a manifest for somebody to read and sign. What a
text does not say is not declared: lspci without -nn has no ids, and without -v it does
not say whose card a chip is on.

What has no place in a manifest is printed on standard error, and with --strict
refused.`,
		Example: "  dmidecode | tee unit.txt; assay bom import dmidecode unit.txt -o draft.json\n  assay bom import lspci lspci-vvnn.txt --manufacturer Example --model R1",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := opt.check(); err != nil {
			return err
		}
		wants, ok := artifactsOf[args[0]]
		if !ok {
			return usage("%s: want dmidecode, lspci or lshw", args[0])
		}
		l, err := openParts(args[1], "", evidence.Limits{})
		if err != nil {
			return err
		}
		if l.observed == nil || !from(l.observed, wants) {
			return unreadable(fmt.Errorf("%s: offset 0: is no output of %s", args[1], args[0]))
		}
		m, lost := l.draft(opt.scope != "model")
		at, err := now.time(env)
		if err != nil {
			return err
		}
		return opt.write(env, m, lost, at)
	}
	opt.addDraftFlags(cmd)
	now.addFlag(cmd.Flags())
	return cmd
}

// from reports whether an inventory was read from one of the named artefacts.
func from(inv *bom.Inventory, artifacts []string) bool {
	for _, p := range inv.Parts {
		for _, v := range p.Values {
			for _, a := range artifacts {
				if strings.HasPrefix(v.Basis.Artifact, a) {
					return true
				}
			}
		}
	}
	return false
}
