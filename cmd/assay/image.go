package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/image"
	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/outfile"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/vendor"
)

func newImageCommand(env *environment) *cobra.Command {
	return group("image", "Build the bootable scanner", "  assay image build -o scanner.img", newImageBuildCommand(env))
}

// imageOptions are the flags of image build.
type imageOptions struct {
	out, uki, reference    string
	scanner, sender        string
	kernel, mods           string
	stub, cache, cmdline   string
	golden, trust, ekRoots []string
	send, sendRoots        string
	sbKey, sbCert          string
	key, cert              string
	now                    nowOption
	quiet                  bool
	nonceText              string
}

func newImageBuildCommand(env *environment) *cobra.Command {
	var o imageOptions
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Make a USB stick that scans a machine without its operating system",
		Long: `Makes the raw image of a USB stick that any UEFI x86-64 machine starts: a Linux
kernel with the scanner as its only program. It collects evidence, lets the TPM
sign it, saves it on the stick and switches the machine off. With roots and
manifests in the image it also shows the verdict.

Two builds of the same inputs give the same bytes. The command prints the digests
that the TPM's registers 4, 9 and 11 will log when a machine is started from the
image, and writes them as a reference beside it. Given to verify with --golden,
next to a manifest for the machine's firmware, it lets the quote show that this
scanner, and nothing else, collected the evidence, and it makes the stick an
expected device. Sign it with --key and --cert here, or later with golden sign;
the signer needs the right scanner for every platform (manufacturers: ["*"],
classes: ["boot:software", scanner]) in trust.yaml.

Without --kernel, Debian's newest kernel package is fetched with apt-get.`,
		Example: `  assay image build -o scanner.img
  assay image build --kernel linux-image.deb --trust roots/ --golden golden.signed.json --key scanner.key --cert scanner.pem -o scanner.img
  assay image build --sb-key db.key --sb-cert db.pem -o scanner.img`,
		Args: exactly(0),
	}
	cmd.RunE = func(*cobra.Command, []string) error { return o.build(env) }
	fs := cmd.Flags()
	fs.StringVarP(&o.out, "output", "o", "", "raw image of the stick to write")
	fs.StringVar(&o.uki, "uki", "", "also write the unified kernel image alone, for network boot")
	fs.StringVar(&o.reference, "reference", "", "where to write the reference (default OUTPUT.golden.json)")
	fs.StringVar(&o.scanner, "scanner", "", "the scanner's program (default "+layout.ScannerProgram+" beside this program, or in ../"+programsDir+")")
	fs.StringVar(&o.sender, "sender", "", "the program that sends (default "+layout.SenderProgram+" beside this program, or in ../"+programsDir+")")
	fs.StringVar(&o.kernel, "kernel", "", "kernel: a Debian package, or vmlinuz with an EFI stub (default Debian's newest)")
	fs.StringVar(&o.mods, "modules", "", "directory with the modules of a kernel that is no package (default /lib/modules/VERSION)")
	fs.StringVar(&o.stub, "stub", "", "systemd's UEFI stub (default the installed one, else Debian's package)")
	fs.StringVar(&o.cache, "cache", "", "directory for downloads (default the user's cache)")
	fs.StringVar(&o.cmdline, "cmdline", "", "command line of the kernel (default \""+image.DefaultCmdline+"\")")
	fs.StringArrayVar(&o.golden, "golden", nil, "signed manifest to verify against at the machine; repeatable")
	fs.StringArrayVar(&o.trust, "trust", nil, "file or directory of roots, with trust.yaml, that may sign manifests; repeatable")
	fs.StringArrayVar(&o.ekRoots, "ek-roots", nil, "file or directory of PEM certificates of TPM makers; repeatable")
	fs.StringVar(&o.sbKey, "sb-key", "", "key that signs the image for Secure Boot (RSA), as --key of golden sign")
	fs.StringVar(&o.sbCert, "sb-cert", "", "its PEM certificate, as enrolled in the machine's db")
	fs.StringVar(&o.key, "key", "", "key that signs the reference, as --key of golden sign")
	fs.StringVar(&o.cert, "cert", "", "its PEM certificate chain, signer first")
	fs.StringVar(&o.send, "send", "", "https address that the scanner sends its evidence to, besides saving it")
	fs.StringVar(&o.sendRoots, "send-roots", "", "PEM roots of that server")
	fs.StringVar(&o.nonceText, "nonce", "", "nonce that the scanner uses, in hexadecimal; it can be changed on the stick")
	fs.BoolVar(&o.quiet, "quiet", false, "no progress and no digests")
	o.now.addFlag(fs)
	return cmd
}

// program reads one of the image's programs: the named file, or the one that is
// installed with this program.
func program(file, name, flag string) ([]byte, error) {
	if file == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		if file = installed(self, name); file == "" {
			return nil, unreadable(fmt.Errorf("the program %s is not beside this one (%s) nor in ../%s; make build makes it, or name it with %s", name, self, programsDir, flag))
		}
	}
	return readInput(file, maxProgramBytes)
}

// programsDir is where packages put programs that nobody starts by hand, from
// the directory of this one.
const programsDir = "libexec/assay"

// installed finds a program that belongs to self.
func installed(self, name string) string {
	dir := filepath.Dir(self)
	for _, file := range []string{filepath.Join(dir, name), filepath.Join(dir, "..", programsDir, name)} {
		if _, err := os.Stat(file); err == nil {
			return file
		}
	}
	return ""
}

const maxProgramBytes = 128 << 20

func (o *imageOptions) options(ctx context.Context, env *environment) (image.Options, error) {
	p := image.Options{Version: programVersion(), Kernel: o.kernel, Modules: o.mods, Stub: o.stub, Cache: o.cache, Cmdline: o.cmdline}
	if !o.quiet {
		p.Progress = func(s string) { fmt.Fprintln(env.stderr, s) }
	}
	var err error
	if p.Scanner, err = program(o.scanner, layout.ScannerProgram, "--scanner"); err != nil {
		return p, err
	}
	if err := o.sending(&p); err != nil {
		return p, err
	}
	if p.Golden, err = o.manifests(); err != nil {
		return p, err
	}
	if p.Trust, err = trustFiles(o.trust); err != nil {
		return p, err
	}
	certs, err := loadCertificates(o.ekRoots)
	if err != nil {
		return p, err
	}
	for i, der := range certs {
		p.EKRoots = append(p.EKRoots, image.File{Name: fmt.Sprintf("%04d.der", i), Data: der})
	}
	p.Key, p.Cert, err = o.secureBoot(ctx, env)
	return p, err
}

// sending reads what an image needs that sends its evidence.
func (o *imageOptions) sending(p *image.Options) (err error) {
	if o.send == "" && o.sendRoots == "" {
		return nil
	}
	u, err := url.Parse(o.send)
	switch {
	case err != nil || u.Scheme != "https" || u.Host == "":
		return usage("--send %s: want https://HOST/PATH", o.send)
	case o.sendRoots == "":
		return usage("--send needs --send-roots: the roots of the server, which the scanner trusts alone")
	}
	if _, err := loadCertificates([]string{o.sendRoots}); err != nil {
		return err
	}
	p.SendURL = o.send
	if p.SendRoots, err = readInput(o.sendRoots, maxManifestBytes); err != nil {
		return err
	}
	p.Sender, err = program(o.sender, layout.SenderProgram, "--sender")
	return err
}

// manifests reads those to take along. Only signed ones are of use.
func (o *imageOptions) manifests() ([]image.File, error) {
	if len(o.golden) > 0 && len(o.trust) == 0 {
		return nil, usage("--golden needs --trust: the scanner verifies manifests with roots that are in the image")
	}
	var out []image.File
	for i, g := range o.golden {
		raw, err := readInput(g, maxManifestBytes)
		if err != nil {
			return nil, err
		}
		if set := vendor.Open([]vendor.File{{Name: g, Data: raw}}, nil, time.Time{}); len(set.Native) != 1 {
			return nil, usage("--golden %s: the scanner reads golden manifests only; make one of it with golden import and sign it", g)
		}
		out = append(out, image.File{Name: fmt.Sprintf("%04d.json", i), Data: raw})
	}
	return out, nil
}

// trustFiles are the roots, revocation lists and grants that these paths mean,
// and nothing else that lies there: a private key least of all.
func trustFiles(paths []string) ([]image.File, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	t, err := loadTrust(paths)
	if err != nil {
		return nil, err
	}
	files, err := t.Export()
	if err != nil {
		return nil, err
	}
	var out []image.File
	for _, name := range slices.Sorted(maps.Keys(files)) {
		out = append(out, image.File{Name: name, Data: files[name]})
	}
	return out, nil
}

func (o *imageOptions) secureBoot(ctx context.Context, env *environment) (crypto.Signer, *x509.Certificate, error) {
	if o.sbKey == "" && o.sbCert == "" {
		return nil, nil, nil
	}
	if o.sbKey == "" || o.sbCert == "" {
		return nil, nil, usage("--sb-key and --sb-cert go together")
	}
	return rsaKeyPair(ctx, env, o.sbKey, o.sbCert)
}

// rsaKeyPair reads a key that firmware can verify, with its certificate.
func rsaKeyPair(ctx context.Context, env *environment, keyFile, certFile string) (crypto.Signer, *x509.Certificate, error) {
	key, chain, err := openSigner(ctx, env, keyFile, certFile)
	if err != nil {
		return nil, nil, err
	}
	if _, ok := key.Public().(*rsa.PublicKey); !ok {
		return nil, nil, unreadable(fmt.Errorf("%s: firmware verifies RSA signatures only", keyFile))
	}
	return key, chain[0], nil
}

func (o *imageOptions) build(env *environment) error {
	if o.out == "" {
		return usage("-o is missing: name the image to write")
	}
	if (o.key == "") != (o.cert == "") {
		return usage("--key and --cert go together")
	}
	if _, err := parseNonce(o.nonceText); err != nil {
		return err
	}
	if err := image.CheckCmdline(o.cmdline); err != nil {
		return usage("--cmdline: %v", err)
	}
	now, err := o.now.time(env)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opt, err := o.options(ctx, env)
	if err != nil {
		return err
	}
	m, err := image.Build(ctx, opt)
	if err != nil {
		return buildError(ctx, err)
	}
	reference, err := o.signReference(ctx, env, m, now)
	if err != nil {
		return err
	}
	if err := o.write(m, reference); err != nil {
		return err
	}
	if !o.quiet {
		o.print(env.stdout, m)
	}
	return nil
}

// buildError tells what was wrong with the inputs from tools that failed, a
// network that is not there, and somebody who interrupted it.
func buildError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return &exitError{exitInternal, fmt.Errorf("interrupted: %w", err)}
	}
	if _, ok := errors.AsType[*image.InputError](err); ok {
		return unreadable(err)
	}
	return &exitError{exitInternal, err}
}

// referenceValidity is how long a reference is good for.
const referenceValidity = 2 * 365 * 24 * time.Hour

func (o *imageOptions) signReference(ctx context.Context, env *environment, m *image.Image, now time.Time) ([]byte, error) {
	raw, err := manifest.Encode(m.Reference(now, referenceValidity))
	if err != nil || o.key == "" {
		return raw, err
	}
	key, chain, err := openSigner(ctx, env, o.key, o.cert)
	if err != nil {
		return nil, err
	}
	return manifest.Sign(raw, key, chain)
}

func (o *imageOptions) referenceFile() string {
	if o.reference != "" {
		return o.reference
	}
	return o.out + ".golden.json"
}

func (o *imageOptions) write(m *image.Image, reference []byte) error {
	results := []image.File{
		{Name: "README.TXT", Data: []byte(stickReadme)},
		{Name: layout.SettingsFile, Data: fmt.Appendf(nil, "{\n  \"nonce\": %q,\n  \"wait\": \"10m\",\n  \"name\": \"\"\n}\n", o.nonceText)},
	}
	if o.key != "" {
		results = append(results, image.File{Name: layout.StickGoldenDir + "/scanner.json", Data: reference})
	}
	err := outfile.Write(o.out, 0o644, func(w io.Writer) error { return writeDisk(m, w, results) })
	if err != nil {
		return &exitError{exitIO, fmt.Errorf("write %s: %w", o.out, err)}
	}
	if o.uki != "" {
		if err := writeFile(o.uki, m.UKI); err != nil {
			return err
		}
	}
	return writeFile(o.referenceFile(), reference)
}

// writeDisk writes into a file with holes where nothing is, or in full onto a
// device, which may hold something else.
func writeDisk(m *image.Image, w io.Writer, results []image.File) error {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return m.WriteDisk(f, results)
		}
	}
	tmp, err := os.CreateTemp("", "assay-image-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := m.WriteDisk(tmp, results); err != nil {
		return err
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, tmp)
	return err
}

// print lists what the machine's TPM will log of the image.
func (o *imageOptions) print(w io.Writer, m *image.Image) {
	fmt.Fprintf(w, "image %s\nkernel %s, stub systemd %d\n", m.Digest(), m.Kernel, m.Stub)
	for _, r := range m.References() {
		for _, e := range r.Events {
			if e.Derived != "" || e.Type == "EV_EFI_ACTION" {
				continue
			}
			fmt.Fprintf(w, "PCR %-2d %-34s sha256:%s  %s\n", r.PCR, e.Type, sha256Of(e), e.Label)
		}
	}
	if o.key == "" {
		fmt.Fprintf(w, "reference %s, not signed; sign it with: assay golden sign %s --key KEY --cert CERT\n", o.referenceFile(), o.referenceFile())
		return
	}
	fmt.Fprintf(w, "reference %s, signed\n", o.referenceFile())
}

// sha256Of is the digest of an event in that bank.
func sha256Of(e attest.EventReference) string {
	if d := e.Digests["sha256"]; len(d) > 0 {
		return d[0]
	}
	return ""
}

const stickReadme = "Assay scanner\r\n" +
	"\r\n" +
	"Start a server from this stick (UEFI, x86-64). It scans the machine, saves the\r\n" +
	"evidence in the folder results and switches the machine off.\r\n" +
	"\r\n" +
	"assay.json   nonce: number of the verifier, in hexadecimal\r\n" +
	"             wait:  how long the result stays on the screen, for example 10m\r\n" +
	"             name:  name of the evidence file; empty takes the serial number\r\n" +
	"golden       signed manifests; used when the image holds trust roots\r\n" +
	"results      evidence; give it to: assay verify EVIDENCE --golden ... --trust ...\r\n"
