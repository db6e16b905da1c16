package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/tpmroots"
	"github.com/assay-hw/assay/report"
)

func newAttestCommand(env *environment) *cobra.Command {
	return group("attest", "Read and check what a machine measured and what its TPM signed",
		"  assay attest eventlog /sys/kernel/security/tpm0/binary_bios_measurements --pcrs",
		newEnrollCommand(env), newQuoteCommand(env), newEventLogCommand(env), newAttestVerifyCommand(env))
}

// eventLog is what attest eventlog prints in JSON.
type eventLog struct {
	Banks   []string                     `json:"banks"`
	Padding int                          `json:"padding"`
	Events  []attest.Event               `json:"events,omitempty"`
	PCRs    map[string]map[string]string `json:"pcrs"`
	Replay  []attest.PCRResult           `json:"replay"`
}

// printOnly is the value of --pcrs without a file.
const printOnly = "-"

func newEventLogCommand(env *environment) *cobra.Command {
	var out outputOptions
	var bank, pcrs string
	cmd := &cobra.Command{
		Use:   "eventlog LOG",
		Short: "Read a TCG event log and replay it",
		Long: `Reads a binary event log, in the crypto-agile or the SHA-1 format, and replays it.
With --pcrs the register values that the log gives are printed. With --pcrs=FILE,
a file in the form of tpm/pcrs.json, each register of the file is held against the
replay and those that the log does not explain are named with the cause.

Exits 0 when the log was read, 65 when it was refused.`,
		Example: `  assay attest eventlog binary_bios_measurements
  assay attest eventlog binary_bios_measurements --bank sha256 --pcrs=pcrs.json`,
		Args: cobra.RangeArgs(1, 2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		if len(args) == 2 {
			if pcrs != printOnly {
				return usage("one log at a time; %q is not needed", args[1])
			}
			pcrs = args[1] // --pcrs FILE
		}
		l, values, err := readLog(args[0], pcrs)
		if err != nil {
			return err
		}
		view, err := viewLog(l, bank, values)
		if err != nil {
			return err
		}
		var b bytes.Buffer
		if out.format == "json" {
			err = asJSON(&b, view)
		} else {
			writeLog(&b, view, pcrs == "", len(values) > 0)
		}
		if err != nil {
			return err
		}
		return out.write(env, b.Bytes())
	}
	fs := cmd.Flags()
	fs.StringVar(&bank, "bank", "", "only this bank: sha1, sha256, sha384, sha512 or sm3_256")
	fs.StringVar(&pcrs, "pcrs", "", "print the replayed registers, or with =FILE compare them")
	fs.Lookup("pcrs").NoOptDefVal = printOnly
	out.addFlags(fs, "text", "json")
	return cmd
}

// readLog reads a log and, where one is named, a file of register values.
func readLog(log, pcrs string) (*attest.Log, attest.RegisterValues, error) {
	raw, err := readInput(log, 64<<20)
	if err != nil {
		return nil, nil, err
	}
	l, err := attest.ParseLog(raw)
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", log, err))
	}
	if pcrs == "" || pcrs == printOnly {
		return l, nil, nil
	}
	b, err := readInput(pcrs, 1<<20)
	if err != nil {
		return nil, nil, err
	}
	values, err := attest.ParseRegisterValues(b, filepath.Base(log))
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", pcrs, err))
	}
	return l, values, nil
}

func viewLog(l *attest.Log, bank string, values attest.RegisterValues) (*eventLog, error) {
	if bank != "" && !slices.Contains(l.Banks(), bank) {
		return nil, usage("--bank %s: the log has %s", bank, strings.Join(l.Banks(), ", "))
	}
	v := &eventLog{Banks: l.Banks(), Padding: l.Padding(), Events: l.Events(), PCRs: map[string]map[string]string{}, Replay: []attest.PCRResult{}}
	for _, p := range l.Replay(values) {
		if bank != "" && p.Bank != bank {
			continue
		}
		v.Replay = append(v.Replay, p)
		if p.Replayed == "" {
			continue
		}
		if v.PCRs[p.Bank] == nil {
			v.PCRs[p.Bank] = map[string]string{}
		}
		v.PCRs[p.Bank][strconv.Itoa(p.PCR)] = p.Replayed
	}
	if bank != "" {
		for i := range v.Events {
			v.Events[i].Digests = map[string]string{bank: v.Events[i].Digests[bank]}
		}
	}
	return v, nil
}

func writeLog(w io.Writer, v *eventLog, events, compared bool) {
	if events {
		for _, e := range v.Events {
			fmt.Fprintf(w, "%4d  PCR %-10d %-34s %s\n", e.Number, e.PCR, report.Plain(e.Type), report.Plain(e.Label))
			for _, b := range v.Banks {
				if d := e.Digests[b]; d != "" {
					fmt.Fprintf(w, "      %-8s %s\n", b, d)
				}
			}
			if e.Data == "contradicted" {
				fmt.Fprintln(w, "      the data contradicts the digest")
			}
		}
	}
	for _, p := range v.Replay {
		switch {
		case compared:
			fmt.Fprintf(w, "%-8s PCR %-2d %-12s %s", p.Bank, p.PCR, p.Result, p.Replayed)
			if p.Cause != "" {
				fmt.Fprintf(w, "  %s", report.Plain(p.Cause))
			}
			fmt.Fprintln(w)
		case p.Replayed != "":
			fmt.Fprintf(w, "%-8s PCR %-2d %s\n", p.Bank, p.PCR, p.Replayed)
		}
	}
	if v.Padding > 0 {
		fmt.Fprintf(w, "%d bytes of padding behind the last record\n", v.Padding)
	}
}

// attestCheck is what attest verify prints in JSON.
type attestCheck struct {
	Verdict    assay.Verdict       `json:"verdict"`
	Quoted     bool                `json:"quoted"`
	Sealed     bool                `json:"sealed"`
	Fresh      bool                `json:"fresh"`
	PCRs       []attest.PCRResult  `json:"pcrs"`
	Findings   []finding.Finding   `json:"findings"`
	NotChecked []attest.NotChecked `json:"notChecked"`
}

func newAttestVerifyCommand(env *environment) *cobra.Command {
	var out outputOptions
	var ekRoots []string
	var nonceText string
	var virtual bool
	var now nowOption
	var limit limitOption
	cmd := &cobra.Command{
		Use:   "verify EVIDENCE",
		Short: "Check quote, key and event log of a bundle, without a manifest",
		Long: `Checks what the TPM signed: the quote's signature, nonce and selection, the
attestation key's attributes, the endorsement certificates, and whether the event
log explains the registers. Without a manifest nothing says what they should be.
Exit codes are those of verdicts.`,
		Example: "  assay attest verify server.evidence.zip --ek-roots tpm-roots/ --nonce 00112233",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		limits, err := limit.limits()
		if err != nil {
			return err
		}
		p := attest.Params{Virtual: virtual}
		if p.Now, err = now.time(env); err != nil {
			return err
		}
		if p.Nonce, err = parseNonce(nonceText); err != nil {
			return err
		}
		p.NonceGiven = p.Nonce != nil
		if p.EKRoots, p.EKIntermediates, err = tpmMakers(ekRoots); err != nil {
			return err
		}
		p.RequireEK = len(ekRoots) > 0
		b, err := evidence.Open(args[0], limits)
		if err != nil {
			return err
		}
		p.SealDigest, p.Sealed = b.Digest(), b.Sealed()
		return printAttestCheck(env, &out, attest.Observe(b).Appraise(p))
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&ekRoots, "ek-roots", nil, "file or directory of PEM certificates of TPM makers; repeatable")
	fs.StringVar(&nonceText, "nonce", "", "nonce that was given to the scan, in hexadecimal")
	fs.BoolVar(&virtual, "virtual", false, "the machine is a virtual one, so that a software TPM is expected")
	now.addFlag(fs)
	limit.addFlag(fs)
	out.addFlags(fs, "text", "json")
	return cmd
}

// tpmMakers reads the built-in and the given certificates of TPM makers.
func tpmMakers(paths []string) (roots, intermediates []*ekcert.Certificate, err error) {
	given, err := loadCertificates(paths)
	if err != nil {
		return nil, nil, err
	}
	builtIn, err := tpmroots.Roots()
	if err != nil {
		return nil, nil, err
	}
	below, err := tpmroots.Intermediates()
	if err != nil {
		return nil, nil, err
	}
	parse := func(kind string, ders [][]byte) (out []*ekcert.Certificate, err error) {
		for i, der := range ders {
			c, err := ekcert.Parse(der)
			if err != nil {
				return nil, unreadable(fmt.Errorf("%s %d: %w", kind, i+1, err))
			}
			out = append(out, c)
		}
		return out, nil
	}
	if roots, err = parse("--ek-roots: certificate", given); err != nil {
		return nil, nil, err
	}
	more, err := parse("built-in root", builtIn)
	if err != nil {
		return nil, nil, err
	}
	intermediates, err = parse("built-in certificate", below)
	return append(more, roots...), intermediates, err // in the order of an appraisal that reads them itself
}

func printAttestCheck(env *environment, out *outputOptions, a *attest.Appraisal) error {
	v := assay.Pass
	if !a.Quoted {
		v = assay.Inconclusive
	}
	for _, f := range a.Findings {
		switch {
		case f.Severity >= finding.High && f.Confidence >= finding.Strong:
			v = assay.Fail
		case f.Severity >= finding.Medium && v == assay.Pass:
			v = assay.Review
		}
	}
	var b bytes.Buffer
	if out.format == "json" {
		c := attestCheck{v, a.Quoted, a.Sealed, a.Fresh, a.PCRs, a.Findings, a.NotChecked}
		if err := json.NewEncoder(&b).Encode(c); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(&b, "%s\n", strings.ToUpper(string(v)))
		for _, p := range a.PCRs {
			fmt.Fprintf(&b, "  %-8s PCR %-2d %-12s %s\n", p.Bank, p.PCR, p.Result, report.Plain(p.Cause))
		}
		report.Findings(&b, a.Findings, out.style(env))
		for _, n := range a.NotChecked {
			fmt.Fprintf(&b, "  not checked: %s: %s\n", report.Plain(n.What), report.Plain(n.Reason))
		}
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	return verdictError(v)
}
