package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/corim"
	"github.com/assay-hw/assay/manifest/cyclonedx"
	"github.com/assay-hw/assay/manifest/platformcert"
	"github.com/assay-hw/assay/manifest/rim"
	"github.com/assay-hw/assay/report"
)

// exportOptions are the flags of golden export.
type exportOptions struct {
	to, file, key, cert string
	ek, profile         string
	strict              bool

	signer crypto.Signer
	chain  []*x509.Certificate
}

// exporters write a manifest in another format; the losses are told, and files
// beside the document by name.
var exporters = map[string]func(*exportOptions, *manifest.Manifest) (document []byte, beside map[string][]byte, lost []string, err error){
	"cyclonedx":            (*exportOptions).cyclonedx,
	"platform-certificate": (*exportOptions).certificate,
	"rim":                  (*exportOptions).rim,
	"corim":                (*exportOptions).corim,
}

func newGoldenExportCommand(env *environment) *cobra.Command {
	var opt exportOptions
	cmd := &cobra.Command{
		Use:   "export FILE --to FORMAT",
		Short: "Write a manifest in another format",
		Long: `Writes a manifest in a format that other tools read:

  cyclonedx              CycloneDX 1.7; not signed, and golden import reads the same
                         manifest of it
  platform-certificate   TCG platform certificate, profile 2.1 or 1.1 (--profile): the
                         parts; --ek is the endorsement key certificate of the TPM
  rim                    TCG PC Client RIM: the measured boot; support RIMs are written
                         beside it, so that -o is needed
  corim                  CoRIM with CoMID: values of registers and digests of firmware

The last three are signed with --key and --cert. What a format has no place for is
printed on standard error, and with --strict refused.`,
		Example: "  assay golden export golden.signed.json --to cyclonedx -o golden.cdx.json\n" +
			"  assay golden export golden.signed.json --to platform-certificate --key vendor.key --cert vendor.pem --ek ek.crt -o base.cer",
		Args: exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error { return opt.run(cmd.Context(), env, args[0]) }
	fs := cmd.Flags()
	fs.StringVar(&opt.to, "to", "", "cyclonedx, platform-certificate, rim or corim")
	fs.StringVarP(&opt.file, "output", "o", "", "write to this file instead of standard output")
	fs.StringVar(&opt.key, "key", "", keystore.Usage)
	fs.StringVar(&opt.cert, "cert", "", "certificate chain of the signer, PEM, signer first")
	fs.StringVar(&opt.ek, "ek", "", "endorsement key certificate that a platform certificate is about, DER or PEM")
	fs.StringVar(&opt.profile, "profile", "2.1", "profile of a platform certificate: 2.1 or 1.1")
	fs.BoolVar(&opt.strict, "strict", false, "refuse what has no place in the format")
	return cmd
}

func (o *exportOptions) run(ctx context.Context, env *environment, path string) error {
	export, ok := exporters[o.to]
	if !ok {
		return usage("--to %s: want cyclonedx, platform-certificate, rim or corim", o.to)
	}
	if err := o.signature(ctx, env); err != nil {
		return err
	}
	raw, err := readInput(path, maxManifestBytes)
	if err != nil {
		return err
	}
	m, err := manifest.ReadUntrusted(raw)
	if err != nil {
		return unreadable(fmt.Errorf("%s: %w", path, err))
	}
	out, beside, lost, err := export(o, m)
	if err != nil {
		return err
	}
	for _, l := range lost {
		fmt.Fprintf(env.stderr, "lost: %s\n", report.Plain(l))
	}
	if o.strict && len(lost) > 0 {
		return unreadable(fmt.Errorf("%s: %d things have no place in the format, and --strict was given", path, len(lost)))
	}
	for name, b := range beside {
		if err := (&outputOptions{file: filepath.Join(filepath.Dir(o.file), name)}).write(env, b); err != nil {
			return err
		}
	}
	return (&outputOptions{file: o.file}).write(env, out)
}

// signature reads the signer, which all formats but CycloneDX need.
func (o *exportOptions) signature(ctx context.Context, env *environment) (err error) {
	if o.to == "cyclonedx" {
		return nil
	}
	if o.key == "" || o.cert == "" {
		return usage("--to %s: --key and --cert are needed, since the format is signed", o.to)
	}
	if o.to == "rim" && o.file == "" {
		return usage("--to rim: -o is needed, since support RIMs are written beside it")
	}
	o.signer, o.chain, err = openSigner(ctx, env, o.key, o.cert)
	return err
}

func (o *exportOptions) cyclonedx(m *manifest.Manifest) ([]byte, map[string][]byte, []string, error) {
	out, err := cyclonedx.Export(m)
	return out, nil, nil, err
}

func (o *exportOptions) certificate(m *manifest.Manifest) ([]byte, map[string][]byte, []string, error) {
	opt := platformcert.Options{Profile: o.profile}
	if o.profile != "2.1" && o.profile != "1.1" {
		return nil, nil, nil, usage("--profile %s: want 2.1 or 1.1", o.profile)
	}
	if o.ek == "" {
		return nil, nil, nil, usage("--to platform-certificate: --ek is needed; of an evidence bundle it is tpm/ek-*.crt")
	}
	raw, err := readInput(o.ek, 1<<20)
	if err != nil {
		return nil, nil, nil, err
	}
	certs, _ := ekcert.ParsePEM(raw)
	if len(certs) == 0 {
		c, err := ekcert.Parse(raw)
		if err != nil {
			return nil, nil, nil, unreadable(fmt.Errorf("%s: %w", o.ek, err))
		}
		certs = append(certs, c)
	}
	opt.EK = certs[0]
	c, lost, err := platformcert.FromManifest(m, opt)
	if err != nil {
		return nil, nil, nil, unreadable(err)
	}
	if err := c.Sign(o.signer, o.chain[0]); err != nil {
		return nil, nil, nil, unreadable(err)
	}
	out := c.PEM()
	for _, x := range o.chain { // whoever verifies needs the issuer's certificate
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: x.Raw})...)
	}
	return out, nil, texts(lost), nil
}

func (o *exportOptions) rim(m *manifest.Manifest) ([]byte, map[string][]byte, []string, error) {
	stem := strings.TrimSuffix(filepath.Base(o.file), filepath.Ext(o.file))
	e, lost, err := rim.Export(m, rim.Options{Key: o.signer, Chain: o.chain, File: stem})
	if err != nil {
		return nil, nil, nil, unreadable(err)
	}
	return e.Base, e.Supports, texts(lost), nil
}

func (o *exportOptions) corim(m *manifest.Manifest) ([]byte, map[string][]byte, []string, error) {
	out, lost, err := corim.Export(m, corim.Signer{Key: o.signer, Chain: o.chain})
	if err != nil {
		return nil, nil, nil, unreadable(err)
	}
	return out, nil, texts(lost), nil
}

func texts[L fmt.Stringer](lost []L) []string {
	var out []string
	for _, l := range lost {
		out = append(out, l.String())
	}
	return out
}
