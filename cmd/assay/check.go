package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/report"
)

func newCheckCommand(env *environment) *cobra.Command {
	var opt appraisalOptions
	var scan scanOptions
	var out outputOptions
	var keep string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Scan this machine and verify it here: the technician's command",
		Long: `Scans the machine and appraises what it finds against golden manifests, then
shows the verdict in large letters, where to look, a map of the board, what has
to be inspected by hand, and a QR code with verdict, serial number and the digest
of the result.

The machine judges itself here: an operating system that lies can also lie about
the verdict. For a verdict that does not rest on the machine, scan it and verify
the bundle somewhere else.

Exit codes and formats are those of verify.`,
		Example: `  sudo assay check --golden golden.signed.json --trust roots/
  sudo assay check --golden golden.signed.json --trust roots/ --keep server.evidence.zip --format html -o report.html`,
		Args: exactly(0),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check(resultFormats...); err != nil {
			return err
		}
		if err := out.ear.open(cmd.Context(), env, out.format); err != nil {
			return err
		}
		scan.nonce, scan.limit, scan.quiet = opt.nonce, opt.limit, out.quiet
		return runCheck(env, &opt, &scan, &out, keep, func() error { return env.enter(cmd, args) })
	}
	fs := cmd.Flags()
	fs.StringVar(&keep, "keep", "", "also write the evidence to this file")
	opt.addFlags(fs)
	scan.addFlags(fs)
	out.addResultFlags(fs)
	return cmd
}

// runCheck scans, which needs devices, and then calls confine before it reads
// anything that others wrote: the manifests, and what the scan brought.
func runCheck(env *environment, opt *appraisalOptions, scan *scanOptions, out *outputOptions, keep string, confine func() error) error {
	limits, err := opt.limit.limits()
	if err != nil {
		return err
	}
	if err := opt.present(); err != nil {
		return err
	}
	nonce, err := scan.fresh()
	if err != nil {
		return err
	}
	if err := out.ear.take(nonce); err != nil {
		return err
	}
	w, err := scan.scan(env)
	if err != nil {
		return err
	}
	if err := confine(); err != nil {
		return err
	}
	c, err := opt.references(env, limits)
	if err != nil {
		return err
	}
	c.Nonce = nonce
	if keep != "" {
		if err := w.Save(keep); err != nil {
			return &exitError{exitIO, err}
		}
	}
	if c.Evidence, err = w.Bundle(); err != nil {
		return err
	}
	c.Controller = controllerOf(c.Evidence)
	r, err := assay.Verify(c)
	if err != nil {
		return err
	}
	if err := opt.remember(c, r); err != nil {
		return err
	}
	if err := opt.log.record(env, "check", r); err != nil {
		return err
	}
	if out.format != "text" {
		return out.result(env, r)
	}
	var b bytes.Buffer
	if err := report.Check(&b, r, out.style(env)); err != nil {
		return err
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	return verdictError(r.Verdict)
}

// fresh makes a nonce where none was given and a TPM can answer one.
func (o *scanOptions) fresh() ([]byte, error) {
	nonce, err := parseNonce(o.nonce)
	if err != nil || nonce != nil || o.root != "" {
		return nonce, err
	}
	nonce = make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	o.nonce = hex.EncodeToString(nonce)
	return nonce, nil
}
