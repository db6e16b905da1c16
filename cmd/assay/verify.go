package main

import (
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware/unpack"
	"github.com/assay-hw/assay/knownbad"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/redfish"
	"github.com/assay-hw/assay/manifest/timestamp"
	"github.com/assay-hw/assay/manifest/vendor"
)

// appraisalOptions are the flags of commands that appraise evidence.
type appraisalOptions struct {
	golden []string
	trust  []string

	sigstoreRoot string

	ekRoots  []string
	policy   string
	nonce    string
	bom      string
	state    string
	now      nowOption
	enrolled []string
	knownBad []string
	quirks   []string
	limit    limitOption
	looked   inspectionOptions
	log      logOption
	system   string // of a controller's evidence
}

func (o *appraisalOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&o.golden, "golden", nil, "golden manifest, or a platform certificate, RIM (with its support RIMs), CoRIM or Sigstore bundle; repeat to combine several")
	addTrustFlag(fs, &o.trust)
	addSigstoreFlag(fs, &o.sigstoreRoot)
	fs.StringArrayVar(&o.ekRoots, "ek-roots", nil, "file or directory of PEM certificates of TPM makers; repeatable")
	fs.StringVar(&o.policy, "policy", "default", "default, strict, inventory, or a policy file")
	fs.StringVar(&o.bom, "bom", "", "also compare the parts with this unsigned list: anything that bom list takes, but a board")
	fs.StringVar(&o.nonce, "nonce", "", "nonce that was given to the scan, in hexadecimal")
	fs.StringVar(&o.state, "state", "", "directory that remembers manifest versions, against rollback")
	fs.StringArrayVar(&o.enrolled, "enrolled", nil, "enrolment record of this machine, from attest enroll check; repeatable")
	fs.StringArrayVar(&o.knownBad, "known-bad", nil, "signed list of known-bad firmware, from golden known-bad; repeatable")
	fs.StringArrayVar(&o.quirks, "quirks", nil, "signed list of what honest machines say against themselves (assay quirks); repeatable")
	o.looked.addFlags(fs)
	o.log.addFlag(fs)
	o.now.addFlag(fs)
	o.limit.addFlag(fs)
}

func addTrustFlag(fs *pflag.FlagSet, trust *[]string) {
	fs.StringArrayVar(trust, "trust", nil, "file or directory of PEM roots that may sign manifests, with trust.yaml, and tsa/ for time stamps, beside them; repeatable")
}

const maxManifestBytes = 16 << 20

// openCase reads everything that a verdict depends on.
func (o *appraisalOptions) openCase(env *environment, path string) (assay.Case, error) {
	limits, err := o.limit.limits()
	if err != nil {
		return assay.Case{}, err
	}
	c, err := o.references(env, limits)
	if err != nil {
		return c, err
	}
	if c.Evidence, err = evidence.Open(path, limits); err == nil && redfish.Alone(c.Evidence) {
		if c.Inventory, err = redfish.Inventory(c.Evidence, o.system); err != nil {
			err = treeError(path, fmt.Errorf("%s: %w", path, err))
		}
	} else if err == nil && o.system != "" {
		err = usage("%s: --system is for evidence from a management controller alone", path)
	} else if err == nil {
		c.Controller = controllerOf(c.Evidence)
	}
	return c, err
}

// controllerOf reads what a management controller lists in the evidence of a
// machine, nil when there is none that can be read: the result says so then.
func controllerOf(b *evidence.Bundle) *bom.Inventory {
	if len(b.Dir("redfish")) == 0 {
		return nil
	}
	inv, err := redfish.Inventory(b, "")
	if err != nil {
		return nil
	}
	return inv
}

// references reads what evidence is held against.
func (o *appraisalOptions) references(env *environment, limits evidence.Limits) (c assay.Case, err error) {
	if err := o.complete(); err != nil {
		return c, err
	}
	c.Decoders = unpack.Decoders()
	for _, p := range o.knownBad {
		raw, err := readInput(p, knownbad.MaxBytes)
		if err != nil {
			return c, err
		}
		c.KnownBad = append(c.KnownBad, raw)
	}
	if err := o.readQuirks(&c); err != nil {
		return c, err
	}
	if c.Now, err = o.now.time(env); err != nil {
		return c, err
	}
	if c.Nonce, err = parseNonce(o.nonce); err != nil {
		return c, err
	}
	if c.Policy, err = loadPolicy(o.policy); err != nil {
		return c, err
	}
	if c.Trust, err = loadTrust(o.trust); err != nil {
		return c, err
	}
	records, err := o.looked.open(c.Trust, o.now, env)
	if err != nil {
		return c, err
	}
	if len(records) > 0 {
		c.Inspections = assay.Inspected(records...)
	}
	if c.EKRoots, err = loadCertificates(o.ekRoots); err != nil {
		return c, err
	}
	if o.state != "" {
		if c.State, err = manifest.LoadState(o.state); err != nil {
			return c, unreadable(err)
		}
	}
	if err := o.openGolden(&c); err != nil {
		return c, err
	}
	if o.bom != "" {
		l, err := openParts(o.bom, "", limits)
		if err != nil {
			return c, err
		}
		c.BOM = &assay.PartList{Name: l.name, Components: l.declared, Classes: l.closures}
	}
	c.Enrolled, err = loadEnrolments(o.enrolled)
	return c, err
}

func (o *appraisalOptions) complete() error {
	if len(o.golden) == 0 {
		return usage("--golden is missing: name the manifest to verify against")
	}
	return nil
}

// present finds out, before anything long is done, whether the files that
// references will read can be opened.
func (o *appraisalOptions) present() error {
	if err := o.complete(); err != nil {
		return err
	}
	named := slices.Concat(o.golden, o.trust, o.ekRoots, o.knownBad, o.quirks, o.enrolled, o.looked.records)
	if _, builtIn := assay.BuiltInPolicy(o.policy); !builtIn {
		named = append(named, o.policy)
	}
	for _, p := range append(named, o.bom, o.looked.attachments, o.sigstoreRoot) {
		if p == "" {
			continue
		}
		if err := readable(p); err != nil {
			return unreadable(err)
		}
	}
	return nil
}

// readable opens a file or a directory and closes it again. Pipes are left alone:
// who opens one takes from it.
func readable(path string) error {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
		return err //nolint:wrapcheck // it names the file
	}
	f, err := os.Open(path)
	if err != nil {
		return err //nolint:wrapcheck // it names the file
	}
	return f.Close() //nolint:wrapcheck // it names the file
}

// openVendorFiles reads manifests of all formats. A file that belongs to none of
// them is an error.
func openVendorFiles(paths []string, sigstoreRoot string, t *manifest.Trust, at time.Time) (vendor.Set, error) {
	var files []vendor.File
	for _, p := range paths {
		raw, err := readInput(p, maxManifestBytes)
		if err != nil {
			return vendor.Set{}, err
		}
		files = append(files, vendor.File{Name: p, Data: raw})
	}
	signed, files, err := openSigstore(files, sigstoreRoot, t, at)
	if err != nil {
		return vendor.Set{}, err
	}
	set := vendor.Open(files, t, at)
	set.Statements = append(set.Statements, signed...)
	if len(set.Unused) > 0 {
		return set, unreadable(fmt.Errorf("%s: offset 0: no manifest, and no RIM that was given and verified lists it", set.Unused[0]))
	}
	return set, nil
}

// openGolden reads golden manifests, and what manufacturers sign in formats of
// their own.
func (o *appraisalOptions) openGolden(c *assay.Case) error {
	set, err := openVendorFiles(o.golden, o.sigstoreRoot, c.Trust, c.Now)
	if err != nil {
		return err
	}
	if len(set.Native)+len(set.Statements) == 0 {
		return usage("--golden: only certificates were given, which say nothing about a machine")
	}
	c.Golden = set.Native
	for _, s := range set.Statements {
		c.Statements = append(c.Statements, assay.Statement(s))
	}
	return nil
}

func parseNonce(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	n, err := hex.DecodeString(s)
	if err != nil || len(n) > 64 {
		return nil, usage("--nonce %s: want up to 64 bytes in hexadecimal", s)
	}
	return n, nil
}

func loadPolicy(name string) (*assay.Policy, error) {
	if p, ok := assay.BuiltInPolicy(name); ok {
		return p, nil
	}
	b, err := readInput(name, 1<<20)
	if err != nil {
		return nil, err
	}
	p, err := assay.ParsePolicy(b)
	if err != nil {
		return nil, unreadable(fmt.Errorf("%s: %w", name, err))
	}
	return p, nil
}

func loadTrust(paths []string) (*manifest.Trust, error) {
	t, err := manifest.LoadTrust(paths)
	if err != nil {
		return nil, unreadable(err)
	}
	t.ReadTimeStamps(timestamp.New(t.TimeAuthorities()).Proven)
	return t, nil
}

// loadCertificates reads the certificates in files and directories, PEM or DER.
// They are kept as bytes: certificates of TPMs break rules that crypto/x509
// insists on.
func loadCertificates(paths []string) ([][]byte, error) {
	var out [][]byte
	for _, p := range paths {
		files := []string{p}
		if info, err := os.Stat(p); err != nil {
			return nil, unreadable(err)
		} else if info.IsDir() {
			files = nil
			for _, pat := range []string{"*.pem", "*.crt", "*.cer"} {
				m, _ := filepath.Glob(filepath.Join(p, pat))
				files = append(files, m...)
			}
			slices.Sort(files)
		}
		for _, f := range files {
			certs, err := certificatesIn(f)
			if err != nil {
				return nil, err
			}
			out = append(out, certs...)
		}
	}
	return out, nil
}

func certificatesIn(path string) ([][]byte, error) {
	b, err := readInput(path, maxManifestBytes)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for rest := b; ; {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			break
		}
		if block.Type == "CERTIFICATE" {
			out = append(out, block.Bytes)
		}
	}
	if len(out) == 0 && len(b) > 0 && b[0] == 0x30 {
		out = append(out, b) // DER
	}
	if len(out) == 0 {
		return nil, unreadable(fmt.Errorf("%s: holds no certificate", path))
	}
	return out, nil
}

func newVerifyCommand(env *environment) *cobra.Command {
	var opt appraisalOptions
	var out outputOptions
	cmd := &cobra.Command{
		Use:   "verify EVIDENCE",
		Short: "Appraise evidence against golden manifests",
		Long: `Appraises an evidence bundle, or a directory tree in the same layout, against
one or several signed golden manifests and prints the verdict. TCG platform
certificates, RIMs with their support RIMs and CoRIMs count as manifests too. Signed
records of physical inspections (assay inspection) of this unit, or of others of its
lot, can be given beside it.

--format writes the result for people (text, markdown, html), for programs (json), for
build servers (junit, sarif, github), for a SIEM (ocsf, cef), for the textfile collector
of node_exporter (prometheus), or as a signed token for relying parties (ear, with
--ear-key). docs/guide-integration.md has an example of each.

Exit codes: 0 pass, 1 fail, 2 review, 3 inconclusive; 64 usage, 65 unreadable
input, 70 internal error, 74 output error.`,
		Example: `  assay verify server.evidence.zip --golden golden.signed.json --trust roots/
  assay verify server.evidence.zip --golden golden.signed.json --trust roots/ --ek-roots tpm-roots/ \
      --nonce 00112233 --format html -o report.html
  assay verify server.evidence.zip --golden golden.signed.json --trust roots/ \
      --inspection aoi.signed.json --inspection clip.signed.json --attachments images/
  assay verify server.evidence.zip --golden golden.signed.json --trust roots/ --format ear --ear-key verifier.key -o server.ear.jwt`,
		Args: exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check(resultFormats...); err != nil {
			return err
		}
		if err := out.ear.open(cmd.Context(), env, out.format); err != nil {
			return err
		}
		c, err := opt.openCase(env, args[0])
		if err != nil {
			return err
		}
		if err := out.ear.take(c.Nonce); err != nil {
			return err
		}
		r, err := assay.Verify(c)
		if err != nil {
			return err
		}
		if err := opt.remember(c, r); err != nil {
			return err
		}
		if err := opt.log.record(env, "verify", r); err != nil {
			return err
		}
		return out.result(env, r)
	}
	opt.addFlags(cmd.Flags())
	addSystemFlag(cmd.Flags(), &opt.system)
	out.addResultFlags(cmd.Flags())
	return cmd
}

// remember updates the rollback state with the manifests that were trusted.
func (o *appraisalOptions) remember(c assay.Case, r *assay.Result) error {
	if o.state == "" {
		return nil
	}
	s := c.State
	for i, raw := range c.Golden {
		if r.Manifests[i].Status != manifest.StatusTrusted {
			continue
		}
		if t, _ := manifest.Open(raw, c.Trust, c.Now); t != nil {
			s = s.After(t)
		}
	}
	for i, st := range c.Statements {
		if r.Manifests[len(c.Golden)+i].Status == manifest.StatusTrusted {
			s = s.After(st.Trusted)
		}
	}
	if err := s.Save(o.state); err != nil {
		return &exitError{exitIO, err}
	}
	return nil
}
