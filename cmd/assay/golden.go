package main

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet/ticket"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/knownbad"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/quirk"
	"github.com/assay-hw/assay/report"
)

func newGoldenCommand(env *environment) *cobra.Command {
	return group("golden", "Draft, sign and check golden manifests",
		"  assay golden draft unit.evidence.zip -o golden.json",
		newGoldenDraftCommand(env), newGoldenDeltaCommand(env), newGoldenSignCommand(env), newGoldenTimestampCommand(env), newGoldenVerifyCommand(env), newGoldenShowCommand(env), newGoldenDiffCommand(env), newGoldenImportCommand(env), newGoldenExportCommand(env), newKnownBadCommand(env), newGoldenLintCommand(env))
}

func newGoldenSignCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a manifest, a list of known-bad firmware or quirks, a record of an inspection or a ticket (DSSE)",
		Long: `Signs a draft or a list, or adds a signature to a signed manifest, whose signed bytes
stay as they are. Keys are ECDSA P-256 or P-384, RSA (signed with PSS), or, in PEM,
Ed25519. The certificate file holds the chain, signer first, without the root.

` + keyHelp,
		Example: "  assay golden sign golden.json --key vendor.key --cert vendor.pem -o golden.signed.json\n" +
			"  assay golden sign golden.signed.json --key second.key --cert second.pem -o golden.both.json\n" +
			"  assay golden sign golden.json --key tpm:handle=0x81000010 --cert vendor.pem -o golden.signed.json\n" +
			"  assay golden sign golden.json --key 'pkcs11:token=release;object=golden?module-path=/usr/lib/softhsm/libsofthsm2.so' --cert vendor.pem -o golden.signed.json",
		Args: exactly(1),
	}
	addSigning(env, cmd, maxManifestBytes, func(raw []byte) signFunc {
		switch {
		case knownbad.IsList(raw):
			return knownbad.Sign
		case inspection.IsRecord(raw):
			return inspection.Sign
		case ticket.IsTicket(raw):
			return ticket.Sign
		case quirk.IsList(raw):
			return quirk.Sign
		}
		return manifest.Sign
	})
	return cmd
}

// signFunc signs a document, or adds a signature to one.
type signFunc func(raw []byte, key crypto.Signer, chain []*x509.Certificate) ([]byte, error)

// addSigning has a command sign a file with the key and the certificate that its
// flags name, as of says for what is in it.
func addSigning(env *environment, cmd *cobra.Command, most int64, of func(raw []byte) signFunc) {
	var key, cert, file string
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if key == "" || cert == "" {
			return usage("--key and --cert are needed")
		}
		raw, err := readInput(args[0], most)
		if err != nil {
			return err
		}
		signer, chain, err := openSigner(cmd.Context(), env, key, cert)
		if err != nil {
			return err
		}
		signed, err := of(raw)(raw, signer, chain)
		if err != nil {
			return unreadable(fmt.Errorf("%s: %w", args[0], err))
		}
		return (&outputOptions{file: file}).write(env, signed)
	}
	fs := cmd.Flags()
	fs.StringVar(&key, "key", "", keystore.Usage)
	fs.StringVar(&cert, "cert", "", "certificate chain of the signer, PEM, signer first")
	fs.StringVarP(&file, "output", "o", "", "write to this file instead of standard output")
}

// manifestCheck is what golden verify prints in JSON.
type manifestCheck struct {
	Verdict    assay.Verdict         `json:"verdict"`
	ID         string                `json:"id"`
	Version    int64                 `json:"version"`
	SHA256     string                `json:"sha256"`
	Signers    []string              `json:"signers"`
	Status     string                `json:"status"`
	Findings   []finding.Finding     `json:"findings"`
	NotChecked []manifest.NotChecked `json:"notChecked"`
}

func newGoldenVerifyCommand(env *environment) *cobra.Command {
	var trust []string
	var state, sigstoreRoot string
	var now nowOption
	var out outputOptions
	cmd := &cobra.Command{
		Use:   "verify FILE...",
		Short: "Check a manifest's signature, signer, scope, validity and version",
		Long: `Checks a signed manifest without any evidence; also a TCG platform certificate, RIM or
CoRIM, with what belongs to it behind it: deltas, support RIMs, certificates of
issuers; or a Sigstore bundle, over the manifest in it or over a file that lies beside
it or is given too. Exit codes are those of verdicts.`,
		Example: "  assay golden verify golden.signed.json --trust roots/ --state state/\n" +
			"  assay golden verify rim.swidtag support.rimel --trust roots/\n" +
			"  assay golden verify golden.json.sigstore.json --sigstore-root trusted_root.json --trust roots/",
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		at, err := now.time(env)
		if err != nil {
			return err
		}
		t, err := loadTrust(trust)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			return usage("%s takes at least 1 argument, got 0", cmd.CommandPath())
		}
		opened, rep, err := openOne(args, sigstoreRoot, t, at)
		if err != nil {
			return err
		}
		if state != "" && opened != nil {
			s, err := manifest.LoadState(state)
			if err != nil {
				return unreadable(err)
			}
			rep.Findings = append(rep.Findings, s.Check(opened)...)
			if err := s.After(opened).Save(state); err != nil {
				return &exitError{exitIO, err}
			}
		}
		return printManifestCheck(env, &out, rep, opened != nil)
	}
	addTrustFlag(cmd.Flags(), &trust)
	addSigstoreFlag(cmd.Flags(), &sigstoreRoot)
	cmd.Flags().StringVar(&state, "state", "", "directory that remembers manifest versions, against rollback")
	now.addFlag(cmd.Flags())
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

// openOne opens one document with the files that belong to it.
func openOne(paths []string, sigstoreRoot string, t *manifest.Trust, at time.Time) (*manifest.Trusted, manifest.Report, error) {
	set, err := openVendorFiles(paths, sigstoreRoot, t, at)
	if err != nil {
		return nil, manifest.Report{}, err
	}
	if len(set.Native)+len(set.Statements) != 1 {
		return nil, manifest.Report{}, usage("%d documents: give one, with what belongs to it", len(set.Native)+len(set.Statements))
	}
	if len(set.Native) == 1 {
		opened, rep := manifest.Open(set.Native[0], t, at)
		return opened, rep, nil
	}
	return set.Statements[0].Trusted, set.Statements[0].Report, nil
}

func printManifestCheck(env *environment, out *outputOptions, rep manifest.Report, trusted bool) error {
	v := assay.Pass
	for _, f := range rep.Findings {
		if f.Severity >= finding.High {
			v = assay.Fail
		} else if f.Severity == finding.Medium && v == assay.Pass {
			v = assay.Review
		}
	}
	if !trusted {
		v = assay.Fail
	}
	c := manifestCheck{v, rep.ID, rep.Version, rep.SHA256, rep.Signers, rep.Status, finding.Sort(slices.Clone(rep.Findings)), rep.NotChecked}
	var b bytes.Buffer
	if out.format == "json" {
		if err := asJSON(&b, c); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(&b, "%s  manifest %s version %d, %s\n", strings.ToUpper(string(v)), report.Plain(rep.ID), rep.Version, rep.Status)
		for _, s := range rep.Signers {
			fmt.Fprintf(&b, "      signed by %s\n", report.Plain(s))
		}
		report.Findings(&b, c.Findings, out.style(env))
		for _, n := range rep.NotChecked {
			fmt.Fprintf(&b, "not checked: %s: %s\n", report.Plain(n.What), report.Plain(n.Reason))
		}
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	return verdictError(v)
}

func newGoldenShowCommand(env *environment) *cobra.Command {
	var out outputOptions
	cmd := &cobra.Command{
		Use:   "show FILE...",
		Short: "Show what a manifest says, without checking it",
		Long: `Shows what a manifest says, or what golden import would make of a document of another
format with what belongs to it behind it. No signature is checked.`,
		Example: "  assay golden show golden.signed.json\n  assay golden show rim.swidtag support.rimel",
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		if len(args) == 0 {
			return usage("%s takes at least 1 argument, got 0", cmd.CommandPath())
		}
		doc, err := openDocument(args...)
		if err != nil {
			return err
		}
		for _, l := range doc.lost {
			fmt.Fprintf(env.stderr, "not shown: %s\n", report.Plain(l))
		}
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, doc.manifest); err != nil {
				return err
			}
		} else {
			showManifest(&b, doc.manifest)
		}
		return out.write(env, b.Bytes())
	}
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

func showManifest(b *bytes.Buffer, m *manifest.Manifest) {
	env := m.Environment
	fmt.Fprintf(b, "%s version %d\n", report.Plain(m.ID), m.Version)
	fmt.Fprintf(b, "  for       %s\n", report.Plain(strings.Join(strings.Fields(env.Manufacturer+" "+env.Model+" "+env.Serial), " ")))
	if env.Virtual != "" {
		fmt.Fprintf(b, "  virtual   %s\n", report.Plain(env.Virtual))
	}
	if s := m.Scanner; s != nil {
		fmt.Fprintf(b, "  scanner   image %s, medium %s\n", s.Image, s.Disk)
	}
	fmt.Fprintf(b, "  issued    %s, expires %s\n", m.IssuedAt.Format(time.RFC3339), m.NotAfter.Format(time.RFC3339))
	b.WriteString("  The signature was not checked; assay golden verify does that.\n\ncomponents\n")
	for _, r := range m.Components {
		fmt.Fprintf(b, "  %-14s %-28s %s\n", report.Plain(r.ID), report.Plain(r.Subject), report.Plain(bom.Describe(r.Identity)))
	}
	b.WriteString("\nclasses\n")
	for _, c := range slices.Sorted(maps.Keys(m.Classes)) {
		fmt.Fprintf(b, "  %-14s %s\n", report.Plain(string(c)), report.Plain(string(m.Classes[c])))
	}
	b.WriteString("\nboot\n")
	for _, r := range m.Boot {
		what := fmt.Sprintf("%d events", len(r.Events))
		if len(r.Events) == 0 {
			what = cmp.Or(report.Plain(r.Note), "values alone")
		}
		fmt.Fprintf(b, "  PCR %-2d %s\n", r.PCR, what)
		for _, e := range r.Events {
			fmt.Fprintf(b, "    %-36s %s\n", report.Plain(e.Type), report.Plain(e.Label))
		}
	}
	b.WriteString("\nfirmware\n")
	for _, r := range m.Firmware {
		fmt.Fprintf(b, "  %-8s %s %d bytes, sha256 %s, %d leaves\n", report.Plain(r.Name), report.Plain(r.Version), r.Size, report.Plain(r.SHA256), len(r.Leaves))
	}
	if len(m.SPDM) > 0 {
		b.WriteString("\ndevices that sign their measurements (SPDM)\n")
	}
	for _, r := range m.SPDM {
		fmt.Fprintf(b, "  %-28s %d measurements, roots sha256 %s\n", report.Plain(r.Device), len(r.Measurements), report.Plain(strings.Join(r.Roots, ", ")))
	}
	b.WriteString("\nTPM\n")
	for _, e := range m.Endorsements {
		fmt.Fprintf(b, "  %-14s %s%s\n", report.Plain(e.Kind), report.Plain(e.SHA256), report.Plain(e.Name))
	}
	b.WriteString("\naccepted contradictions\n")
	for _, k := range m.Known {
		fmt.Fprintf(b, "  %-7s %-24s %s / %s\n", k.Code, report.Plain(k.Subject), report.Plain(k.Want), report.Plain(k.Got))
	}
}
