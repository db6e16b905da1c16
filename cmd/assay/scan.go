package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/collect/redfish"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/report"
)

// scanOptions are the flags of commands that collect.
type scanOptions struct {
	root     string
	nonce    string
	with     []string
	without  []string
	rom      string
	tpm      string
	akHandle string
	passes   int
	redfish  []string
	session  bool
	pins     string
	quiet    bool
	limit    limitOption
}

func (o *scanOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.root, "root", "", "collect from this captured tree instead of the running machine")
	fs.StringSliceVar(&o.with, "with", nil, "sources that are off by default: firmware")
	fs.StringSliceVar(&o.without, "without", nil, "sources to leave out: "+strings.Join(sourceNames(), ", "))
	fs.StringVar(&o.rom, "rom", "", "consent to enable option ROMs for reading: devices without a driver, or =bound for all")
	fs.Lookup("rom").NoOptDefVal = "unbound"
	fs.StringVar(&o.tpm, "tpm", "", "the TPM: device (default), device:/dev/..., swtpm:/socket or swtpm:host:port")
	fs.StringVar(&o.akHandle, "ak-handle", "", "keep the attestation key in the TPM at this persistent handle, for example 0x81010100")
	fs.IntVar(&o.passes, "passes", 1, "2 reads everything twice and reports what differs")
	fs.StringArrayVar(&o.redfish, "redfish", nil, "https URL of a management controller; repeatable. Name and password from REDFISH_USER and REDFISH_PASSWORD or REDFISH_PASSWORD_FILE")
	fs.BoolVar(&o.session, "redfish-session", false, "log in with a session, which is closed again, instead of sending the password with every request")
	fs.StringVar(&o.pins, "redfish-pins", "", "file that remembers each controller's certificate from its first contact")
}

func sourceNames() []string {
	var out []string
	for _, s := range collect.Sources() {
		out = append(out, s.Name)
	}
	return append(out, redfish.Name)
}

// options turns flags into what collect wants.
func (o *scanOptions) options(env *environment) (collect.Options, error) {
	c := collect.Options{
		Collector: evidence.Collector{Name: "assay", Version: programVersion()}, Now: env.now(), With: o.with, Without: o.without,
		ROM: o.rom != "", BoundROM: o.rom == "bound", TPM: o.tpm, Passes: o.passes,
	}
	if !slices.Contains([]string{"", "unbound", "bound"}, o.rom) {
		return c, usage("--rom %s: want no value, unbound or bound", o.rom)
	}
	var err error
	if c.Nonce, err = parseNonce(o.nonce); err != nil {
		return c, err
	}
	if c.Limits, err = o.limit.limits(); err != nil {
		return c, err
	}
	if c.AKHandle, err = parseHandle(o.akHandle); err != nil {
		return c, err
	}
	return c, nil
}

// parseHandle reads a persistent handle of the TPM (TPM 2.0 Library Part 2,
// 7.4).
func parseHandle(s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	h, err := strconv.ParseUint(s, 0, 32)
	if err != nil || h>>24 != 0x81 {
		return 0, usage("--ak-handle %s: want a persistent handle, 0x81000000 to 0x81ffffff", s)
	}
	return uint32(h), nil
}

// scan collects with progress on stderr.
func (o *scanOptions) scan(env *environment) (*evidence.Writer, error) {
	c, err := o.options(env)
	if err != nil {
		return nil, err
	}
	controllers, remember, err := o.controllers()
	if err != nil {
		return nil, err
	}
	c.Extra = []collect.Extra{controllers}
	if err := c.Check(); err != nil {
		return nil, usage("%v", err)
	}
	host := collect.Live()
	if o.root != "" {
		if host, err = collect.OpenTree(o.root); err != nil {
			return nil, unreadable(err)
		}
	}
	if !o.quiet {
		c.Progress = func(p collect.Progress) { printProgress(env.stderr, p) }
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	w, err := collect.Scan(ctx, host, c)
	if err != nil {
		return nil, unreadable(err)
	}
	if ctx.Err() != nil {
		return nil, &exitError{exitInternal, fmt.Errorf("scan: interrupted")}
	}
	return w, remember()
}

func printProgress(w io.Writer, p collect.Progress) {
	if len(p.Counts) == 0 {
		return // a source that this machine or this scan does not have
	}
	var rest []string
	for _, s := range []evidence.Status{evidence.Denied, evidence.Failed, evidence.TimedOut, evidence.Absent} {
		if n := p.Counts[s]; n > 0 {
			rest = append(rest, fmt.Sprintf("%d %s", n, s))
		}
	}
	fmt.Fprintf(w, "%-9s %5d read  %6s", p.Source, p.Counts[evidence.Collected], p.Took.Round(time.Millisecond))
	if len(rest) > 0 {
		fmt.Fprintf(w, "  %s (%s)", strings.Join(rest, ", "), report.Plain(strings.Join(p.Why, "; ")))
	}
	fmt.Fprintln(w)
}

func newScanCommand(env *environment) *cobra.Command {
	var opt scanOptions
	var file string
	cmd := &cobra.Command{
		Use:   "scan",
		Short: "Collect evidence from this machine, or from a captured tree",
		Long: `Reads what the machine is made of and what it measured, lets the TPM sign all of
it, and writes one evidence bundle. Nothing is parsed or judged here. Nothing is
written to the machine and no bus is scanned; option ROMs, which have to be
enabled for reading, need --rom.

As an ordinary user much is denied; the bundle says what. Exits 0 whenever it
wrote a bundle.`,
		Example: `  sudo assay scan -o server.evidence.zip --nonce 00112233445566778899aabbccddeeff
  sudo assay scan -o server.evidence.zip --rom --with firmware
  assay scan --root captured/ -o server.evidence.zip`,
		Args: exactly(0),
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		w, err := opt.scan(env)
		if err != nil {
			return err
		}
		if file == "" {
			file = "machine.evidence.zip"
			if host, err := os.Hostname(); err == nil && opt.root == "" && filepath.Base(host) == host && host != "" {
				file = host + ".evidence.zip"
			}
		}
		if file == "-" {
			if err := w.WriteZip(env.stdout); err != nil {
				return &exitError{exitIO, err}
			}
			return nil
		}
		if err := w.Save(file); err != nil {
			return &exitError{exitIO, err}
		}
		if !opt.quiet {
			fmt.Fprintf(env.stderr, "wrote %s: %s\n", file, summary(w))
		}
		return nil
	}
	fs := cmd.Flags()
	fs.StringVarP(&file, "output", "o", "", "bundle to write; - is standard output (default HOSTNAME.evidence.zip)")
	fs.StringVar(&opt.nonce, "nonce", "", "the verifier's nonce, in hexadecimal")
	fs.BoolVar(&opt.quiet, "quiet", false, "no progress")
	opt.addFlags(fs)
	opt.limit.addFlag(fs)
	return cmd
}

// summary says in a line what a bundle holds.
func summary(w *evidence.Writer) string {
	counts := map[evidence.Status]int{}
	quoted := "not quoted"
	for _, a := range w.Artifacts() {
		counts[a.Status]++
		if a.Status == evidence.Collected && strings.HasPrefix(a.Path, "tpm/quote-") {
			quoted = "quoted by the TPM"
		}
	}
	return fmt.Sprintf("%d artefacts, %d denied, %d failed, %d timed out, %d absent; %s", counts[evidence.Collected], counts[evidence.Denied],
		counts[evidence.Failed], counts[evidence.TimedOut], counts[evidence.Absent], quoted)
}
