package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/strictjson"
)

func newEnrollCommand(env *environment) *cobra.Command {
	return group("enroll", "Show that an attestation key lives in a machine's TPM",
		`  # at the verifier, with the public keys from a scan or from attest quote
  assay attest enroll challenge server.evidence.zip --ek-roots tpm-roots/ -o challenge.json
  # on the machine
  sudo assay attest enroll answer challenge.json -o answer.json
  # at the verifier, with its own copy of the challenge
  assay attest enroll check challenge.json answer.json -o server.enrolment.json
  assay verify server.evidence.zip --golden golden.json --trust roots/ --enrolled server.enrolment.json`,
		newChallengeCommand(env), newAnswerCommand(env), newEnrolCheckCommand(env))
}

// challengeOptions are the flags of attest enroll challenge.
type challengeOptions struct {
	ekPub, ekCert, akPub string
	ekRoots              []string
	trustEK              bool
	file                 string
	now                  nowOption
}

func newChallengeCommand(env *environment) *cobra.Command {
	var opt challengeOptions
	cmd := &cobra.Command{
		Use:   "challenge [EVIDENCE]",
		Short: "Make a challenge that only one TPM can answer, for one key",
		Long: `Encrypts a secret so that only the TPM with the endorsement key opens it, and only
for the attestation key. The keys are taken from a bundle, or from the files that
are named. An endorsement key is worth what says that it is a TPM's: one of its
certificates has to end in a TPM maker's root, built in or given with --ek-roots.
With --trust-ek the key is taken as it is, from a list that you trust.

Keep the file that this writes: the check needs it as it was, not as the machine
sends it back.`,
		Example: `  assay attest enroll challenge server.evidence.zip --ek-roots tpm-roots/ -o challenge.json
  assay attest enroll challenge --ek-cert ek.der --ak-pub ak.pub -o challenge.json
  assay attest enroll challenge --ek-pub known.pub --ak-pub ak.pub --trust-ek -o challenge.json`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usage("%s takes one bundle", c.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return runChallenge(env, &opt, args) },
	}
	fs := cmd.Flags()
	fs.StringVar(&opt.ekPub, "ek-pub", "", "endorsement key, TPM2B_PUBLIC")
	fs.StringVar(&opt.ekCert, "ek-cert", "", "certificate of the endorsement key, DER or PEM")
	fs.StringVar(&opt.akPub, "ak-pub", "", "attestation key, TPM2B_PUBLIC")
	fs.StringArrayVar(&opt.ekRoots, "ek-roots", nil, "file or directory of PEM certificates of TPM makers; repeatable")
	fs.BoolVar(&opt.trustEK, "trust-ek", false, "take the endorsement key without a certificate")
	fs.StringVarP(&opt.file, "output", "o", "", "write to this file instead of standard output")
	opt.now.addFlag(fs)
	return cmd
}

func runChallenge(env *environment, opt *challengeOptions, args []string) error {
	at, err := opt.now.time(env)
	if err != nil {
		return err
	}
	var s subject
	if len(args) == 1 {
		if err := s.fromBundle(args[0]); err != nil {
			return err
		}
	}
	if err := s.fromFiles(opt.ekPub, opt.ekCert, opt.akPub); err != nil {
		return err
	}
	if s.ek == nil || s.ak == nil {
		return usage("name a bundle, or --ek-pub or --ek-cert and --ak-pub")
	}
	if !opt.trustEK {
		roots, below, err := tpmMakers(opt.ekRoots)
		if err != nil {
			return err
		}
		if err := tpm.Certified(s.ek, s.certs, roots, below, at); err != nil {
			return &exitError{1, err}
		}
	}
	c, err := tpm.NewChallenge(s.ek, s.ak, rand.Reader)
	if err != nil {
		return unreadable(err)
	}
	return writeJSON(env, opt.file, c)
}

// subject is the machine that is enrolled.
type subject struct {
	ek, ak []byte
	certs  [][]byte
}

func (s *subject) fromBundle(path string) error {
	b, err := evidence.Open(path, evidence.Limits{})
	if err != nil {
		return err
	}
	if s.ek, err = b.Read(tpm.EKPath); err != nil {
		return unreadable(fmt.Errorf("%s: %w", path, err))
	}
	if s.ak, err = b.Read(tpm.AKPath); err != nil {
		return unreadable(fmt.Errorf("%s: %w", path, err))
	}
	for _, p := range b.Glob("tpm/ek-*.crt") {
		if raw, err := b.Read(p); err == nil {
			s.certs = append(s.certs, raw)
		}
	}
	return nil
}

func (s *subject) fromFiles(ekPub, ekCert, akPub string) (err error) {
	const most = 64 << 10
	if ekPub != "" {
		if s.ek, err = readInput(ekPub, most); err != nil {
			return err
		}
	}
	if ekCert != "" {
		ders, err := certificatesIn(ekCert)
		if err != nil {
			return err
		}
		s.certs = append(s.certs, ders...)
		if s.ek, err = tpm.EKOfCertificate(ders[0]); err != nil {
			return unreadable(fmt.Errorf("%s: %w", ekCert, err))
		}
	}
	if akPub != "" {
		if s.ak, err = readInput(akPub, most); err != nil {
			return err
		}
	}
	return nil
}

func newAnswerCommand(env *environment) *cobra.Command {
	var address, handle, file string
	cmd := &cobra.Command{
		Use: "answer CHALLENGE", Short: "Let this machine's TPM open a challenge",
		Example: "  sudo assay attest enroll answer challenge.json -o answer.json",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var c tpm.Challenge
		if err := readJSON(args[0], &c); err != nil {
			return err
		}
		h, err := parseHandle(handle)
		if err != nil {
			return err
		}
		dev, err := openTPM(address)
		if err != nil {
			return err
		}
		defer dev.Close()
		a, err := dev.Answer(&c, h)
		if err != nil {
			return &exitError{exitInternal, err}
		}
		return writeJSON(env, file, a)
	}
	fs := cmd.Flags()
	fs.StringVar(&address, "tpm", "", "the TPM: device (default), device:/dev/..., swtpm:/socket or swtpm:host:port")
	fs.StringVar(&handle, "ak-handle", "", "persistent handle of the attestation key, when scans use one")
	fs.StringVarP(&file, "output", "o", "", "write to this file instead of standard output")
	return cmd
}

func openTPM(address string) (*tpm.Device, error) {
	if _, err := tpm.ParseAddress(address); err != nil {
		return nil, usage("%v", err)
	}
	dev, err := tpm.Open(address)
	if err != nil {
		return nil, &exitError{exitInternal, err}
	}
	return dev, nil
}

func newEnrolCheckCommand(env *environment) *cobra.Command {
	var file, machine string
	var now nowOption
	cmd := &cobra.Command{
		Use: "check CHALLENGE ANSWER", Short: "Compare an answer with the challenge and write the enrolment record",
		Long: `Exits 0 and writes the record when the answer holds the challenge's secret, 1 when
it does not. The record says that the attestation key lives in the TPM with the
endorsement key; verify --enrolled believes it, so keep it where nobody edits it.`,
		Example: "  assay attest enroll check challenge.json answer.json -o server.enrolment.json",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		var c tpm.Challenge
		var a tpm.Answer
		if err := readJSON(args[0], &c); err != nil {
			return err
		}
		if err := readJSON(args[1], &a); err != nil {
			return err
		}
		at, err := now.time(env)
		if err != nil {
			return err
		}
		e, err := c.Check(&a, at)
		if err != nil {
			return &exitError{1, err}
		}
		e.Machine = machine
		return writeJSON(env, file, e)
	}
	fs := cmd.Flags()
	fs.StringVar(&machine, "machine", "", "name of the machine, for people")
	fs.StringVarP(&file, "output", "o", "", "write to this file instead of standard output")
	now.addFlag(fs)
	return cmd
}

// loadEnrolments turns enrolment records into keys that count as pinned.
func loadEnrolments(paths []string) ([]attest.Endorsement, error) {
	var out []attest.Endorsement
	for _, p := range paths {
		var e tpm.Enrolment
		if err := readJSON(p, &e); err != nil {
			return nil, err
		}
		if e.Format != tpm.EnrolmentFormat || e.AKName == "" || e.EKSHA256 == "" {
			return nil, unreadable(fmt.Errorf("%s: is no enrolment record of format %s", p, tpm.EnrolmentFormat))
		}
		out = append(out, attest.Endorsement{Kind: "ak", Name: e.AKName}, attest.Endorsement{Kind: "ek", SHA256: e.EKSHA256, Algorithm: e.EKKind, Optional: true})
	}
	return out, nil
}

func readJSON(path string, v any) error {
	b, err := readInput(path, 1<<20)
	if err != nil {
		return err
	}
	if err := strictjson.Decode(b, v); err != nil {
		return unreadable(fmt.Errorf("%s: %w", path, err))
	}
	return nil
}

func writeJSON(env *environment, file string, v any) error {
	var b bytes.Buffer
	if err := asJSON(&b, v); err != nil {
		return err
	}
	o := outputOptions{file: file}
	return o.write(env, b.Bytes())
}

var errNoQuote = errors.New("the TPM signed nothing")

func newQuoteCommand(env *environment) *cobra.Command {
	var opt scanOptions
	var dir string
	cmd := &cobra.Command{
		Use:   "quote",
		Short: "Let the TPM sign its registers, and nothing else",
		Long: `Reads the TPM's keys, registers and the event log and lets the TPM sign them, as a
small bundle without an inventory. verify and attest verify read it; a policy
that asks for an inventory does not pass with it. When the TPM signs nothing, the
bundle is written all the same, with the reasons, and the exit code is 74.`,
		Example: `  sudo assay attest quote --nonce 00112233445566778899aabbccddeeff -o server-tpm.evidence.zip
  assay attest verify server-tpm.evidence.zip --nonce 00112233445566778899aabbccddeeff --ek-roots tpm-roots/`,
		Args: exactly(0),
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		if dir == "" {
			return usage("-o is missing: name the bundle to write")
		}
		keep := map[string]bool{"eventlog": true, "ima": true, "tpm": true, "proc": true}
		for _, n := range sourceNames() {
			if !keep[n] {
				opt.without = append(opt.without, n)
			}
		}
		w, err := opt.scan(env)
		if err != nil {
			return err
		}
		if err := w.Save(dir); err != nil {
			return &exitError{exitIO, err}
		}
		for _, a := range w.Artifacts() {
			if a.Status == evidence.Collected && strings.HasPrefix(a.Path, "tpm/quote-") {
				return nil
			}
		}
		return &exitError{exitIO, fmt.Errorf("%w; %s has no quote, and says why", errNoQuote, dir)}
	}
	fs := cmd.Flags()
	fs.StringVarP(&dir, "output", "o", "", "bundle to write")
	fs.StringVar(&opt.nonce, "nonce", "", "the verifier's nonce, in hexadecimal")
	fs.StringVar(&opt.root, "root", "", "take log and uptime from this captured tree")
	fs.StringVar(&opt.tpm, "tpm", "", "the TPM: device (default), device:/dev/..., swtpm:/socket or swtpm:host:port")
	fs.StringVar(&opt.akHandle, "ak-handle", "", "keep the attestation key in the TPM at this persistent handle")
	fs.BoolVar(&opt.quiet, "quiet", false, "no progress")
	return cmd
}
