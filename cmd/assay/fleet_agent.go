package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/fleet/server"
)

// reach are the flags of commands that ask a server.
type reach struct{ server, tokenFile, pin string }

func (r *reach) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&r.server, "server", "http://127.0.0.1:8440", "the fleet's server")
	fs.StringVar(&r.tokenFile, "token-file", "", "file with the token (default: the variable ASSAY_TOKEN)")
	fs.StringVar(&r.pin, "pin", "", "SHA-256 of the server's public key, as fleet serve prints it: no other key is talked to")
}

func (r *reach) client() (*client.Client, error) {
	token := os.Getenv("ASSAY_TOKEN")
	if r.tokenFile != "" {
		raw, err := readInput(r.tokenFile, 4096)
		if err != nil {
			return nil, err
		}
		token = string(raw)
	}
	c, err := client.New(r.server, strings.TrimSpace(token), r.pin)
	if err != nil {
		return nil, usage("%v", err)
	}
	return c, nil
}

// asked turns an error of the server into an exit code.
func asked(err error) error {
	var p *client.Problem
	switch {
	case err == nil:
		return nil
	case errors.As(err, &p) && p.Status == http.StatusUnauthorized:
		return usage("%v (--token-file or ASSAY_TOKEN)", err)
	}
	return &exitError{exitIO, fmt.Errorf("fleet: %w", err)}
}

// membership is what a machine remembers of its enrolment. It is no secret and
// proves nothing.
type membership struct {
	Format string `json:"format"`
	Server string `json:"server"`
	Pin    string `json:"pin,omitempty"`
	Host   string `json:"host"`
}

const (
	membershipFormat = "assay.fleet-member/v1"
	membershipFile   = "member.json"
)

func newFleetEnrollCommand(env *environment) *cobra.Command {
	var r reach
	var scan scanOptions
	var state, name, site, lot string
	cmd := &cobra.Command{
		Use:   "enroll",
		Short: "Make this machine known to the fleet",
		Long: `Run on the machine: sends the TPM's endorsement key and its certificates, has the TPM
open the server's challenge, and remembers the id that the server gives. A machine
that is known already stays what it was; another TPM in a known chassis, or a known
TPM in another chassis, is refused (FL-004) until an operator binds it anew.`,
		Example: "  sudo assay fleet enroll --server https://assay.example:8443 --pin 5f0c... --token-file /etc/assay/token",
		Args:    exactly(0),
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		c, err := r.client()
		if err != nil {
			return err
		}
		e, dev, err := enrolment(env, &scan)
		if err != nil {
			return err
		}
		defer dev.Close()
		e.Name, e.Site, e.Lot = name, site, lot
		if host, err := os.Hostname(); err == nil && e.Name == "" && scan.root == "" {
			e.Name = host
		}
		handle, err := parseHandle(scan.akHandle)
		if err != nil {
			return err
		}
		out, err := c.Enrol(context.Background(), *e, func(ch *tpm.Challenge) (*tpm.Answer, error) { return dev.Answer(ch, handle) })
		if err != nil {
			return asked(err)
		}
		if err := os.MkdirAll(state, 0o700); err != nil {
			return &exitError{exitIO, err}
		}
		if err := writeJSON(env, filepath.Join(state, membershipFile), membership{membershipFormat, r.server, r.pin, out.Host}); err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "enrolled as %s (%s); evidence every %s\n", out.Host, out.Name, out.Interval)
		return nil
	}
	fs := cmd.Flags()
	r.addFlags(fs)
	fs.StringVar(&scan.root, "root", "", "the captured tree of a machine instead of the running one")
	fs.StringVar(&scan.tpm, "tpm", "", "the TPM: device (default), device:/dev/..., swtpm:/socket or swtpm:host:port")
	fs.StringVar(&scan.akHandle, "ak-handle", "", "persistent handle of the attestation key, when scans use one")
	fs.StringVar(&state, "state", "/var/lib/assay-agent", "directory that remembers the enrolment")
	fs.StringVar(&name, "name", "", "name of the machine for people (default: the host name)")
	fs.StringVar(&site, "site", "", "where the machine is")
	fs.StringVar(&lot, "lot", "", "the supplier's lot that it came with")
	return cmd
}

// enrolment reads what the server wants to know: a small scan gives the keys,
// their certificates and the name of the chassis.
func enrolment(env *environment, scan *scanOptions) (*server.Enrolment, *tpm.Device, error) {
	scan.quiet = true
	w, err := scan.scan(env)
	if err != nil {
		return nil, nil, err
	}
	b, err := w.Bundle()
	if err != nil {
		return nil, nil, &exitError{exitInternal, err}
	}
	e := &server.Enrolment{}
	for p, to := range map[string]*[]byte{tpm.EKPath: &e.EK, tpm.AKPath: &e.AK} {
		if *to, err = b.Read(p); err != nil {
			return nil, nil, &exitError{exitInternal, fmt.Errorf("the TPM did not give %s: run as root, and see assay scan for why", p)}
		}
	}
	for _, p := range b.Glob("tpm/ek-*.crt") {
		if raw, err := b.Read(p); err == nil {
			e.Certificates = append(e.Certificates, raw)
		}
	}
	e.Chassis = chassisOf(bom.Read(b), b)
	dev, err := openTPM(scan.tpm)
	return e, dev, err
}

func chassisOf(inv *bom.Inventory, b *evidence.Bundle) fleet.Chassis {
	out := fleet.Chassis{}
	for i := range inv.Parts {
		if p := &inv.Parts[i]; p.Class == bom.System {
			out = fleet.Chassis{Manufacturer: p.Identity.Maker, Product: p.Identity.Model, Serial: p.Identity.Serial, UUID: p.Attributes["uuid"]}
		}
	}
	if idx := b.Index(); idx != nil && out == (fleet.Chassis{}) {
		out = fleet.Chassis{Manufacturer: idx.Machine.Manufacturer, Product: idx.Machine.Product, Serial: idx.Machine.Serial, UUID: idx.Machine.UUID}
	}
	return out
}

func newFleetAgentCommand(env *environment) *cobra.Command {
	var r reach
	var scan scanOptions
	var state string
	var once bool
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Send evidence when the server asks for it",
		Long: `Runs on a machine that was enrolled: waits until the server asks, collects with the
server's nonce, lets the TPM sign, and sends. It needs no port that listens. --once
answers what is due now and ends, for a timer.`,
		Example: "  sudo assay fleet agent --token-file /etc/assay/token\n  sudo assay fleet agent --once",
		Args:    exactly(0),
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var m membership
		if err := readJSON(filepath.Join(state, membershipFile), &m); err != nil {
			return err
		}
		if m.Format != membershipFormat {
			return unreadable(fmt.Errorf("%s: format is %.40q, want %q", filepath.Join(state, membershipFile), m.Format, membershipFormat))
		}
		if !cmd.Flags().Changed("server") {
			r.server = m.Server
		}
		if r.pin == "" {
			r.pin = m.Pin
		}
		c, err := r.client()
		if err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		a := &agent{env, c, m.Host, &scan}
		if once {
			return a.once(ctx)
		}
		a.run(ctx)
		return nil
	}
	fs := cmd.Flags()
	r.addFlags(fs)
	scan.addFlags(fs)
	fs.StringVar(&state, "state", "/var/lib/assay-agent", "directory that remembers the enrolment")
	fs.BoolVar(&once, "once", false, "answer what is due now and end")
	fs.BoolVar(&scan.quiet, "quiet", false, "no progress")
	return cmd
}

// agent answers one server for one machine.
type agent struct {
	env    *environment
	client *client.Client
	host   string
	scan   *scanOptions
}

func (a *agent) once(ctx context.Context) error {
	n, err := a.client.Next(ctx, a.host, 0)
	if err != nil {
		return asked(err)
	}
	if n.Audit == nil {
		fmt.Fprintf(a.env.stdout, "nothing is due before %s\n", n.Due.Format(time.RFC3339))
		return nil
	}
	return a.answer(ctx, n.Audit)
}

// run answers until it is told to end. What goes wrong is tried again, later each
// time.
func (a *agent) run(ctx context.Context) {
	pause := time.Second
	for ctx.Err() == nil {
		n, err := a.client.Next(ctx, a.host, 5*time.Minute)
		if err == nil && n.Audit != nil {
			err = a.answer(ctx, n.Audit)
		}
		if err == nil {
			pause = time.Second
			continue
		}
		if ctx.Err() != nil {
			return
		}
		wait := pause
		if p := (*client.Problem)(nil); errors.As(err, &p) {
			wait = max(wait, p.Retry)
		}
		fmt.Fprintf(a.env.stderr, "assay: %v; again in %s\n", err, wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait + rand.N(wait)): // not all machines at the same time
		}
		pause = min(2*pause, 10*time.Minute)
	}
}

func (a *agent) answer(ctx context.Context, audit *api.Audit) error {
	if _, err := hex.DecodeString(audit.Nonce); err != nil {
		return &exitError{exitIO, fmt.Errorf("fleet: the server's nonce is not hexadecimal")}
	}
	a.scan.nonce = audit.Nonce
	w, err := a.scan.scan(a.env)
	if err != nil {
		return err
	}
	var zip bytes.Buffer
	if err := w.WriteZip(&zip); err != nil {
		return &exitError{exitInternal, err}
	}
	got, err := a.client.Send(ctx, a.host, audit, zip.Bytes())
	if err != nil {
		return asked(err)
	}
	fmt.Fprintf(a.env.stdout, "sent %s, %d bytes\n", got.Evidence, zip.Len())
	return nil
}
