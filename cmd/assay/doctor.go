package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/doctor"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/report"
)

var assuranceLevels = []string{"L0", "L1", "L2", "L3", "L4", "L5", "L6"}

func newDoctorCommand(env *environment) *cobra.Command {
	var scan scanOptions
	var out outputOptions
	var need string
	cmd := &cobra.Command{
		Use:   "doctor [EVIDENCE]",
		Short: "Tell what this machine lets be collected, why not the rest, and what to do",
		Long: `Scans the machine, writes nothing, and tells for each source of evidence whether
a scan gets it, why not, and what would change that: rights, drivers, the TPM and
its log, kernel lockdown, the management controller, the flash. Then it says which
level of assurance evidence of this machine can reach.

With EVIDENCE it tells the same about a scan that was taken elsewhere, without
the reasons that only the machine knows. No manifest is needed, and nothing is
said about whether the server is the one that its vendor built.

Exits 0 when it could look, and 3 when --require names a level that is not reached.`,
		Example: `  sudo assay doctor
  assay doctor server.evidence.zip --format json
  sudo assay doctor --quiet --require L3`,
		Args: atMost(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		if need != "" && !slices.Contains(assuranceLevels, need) {
			return usage("--require %s: want L0 to L6", need)
		}
		scan.quiet = out.quiet
		d, err := scan.diagnose(env, args)
		if err != nil {
			return err
		}
		if err := out.diagnosis(env, d); err != nil {
			return err
		}
		if need > d.Level {
			fmt.Fprintf(env.stderr, "assay: evidence of this machine reaches %s, %s is required\n", d.Level, need)
			return &exitError{code: assay.Inconclusive.ExitCode()}
		}
		return nil
	}
	f := cmd.Flags()
	f.StringVar(&need, "require", "", "exit 3 when the level of assurance is below this one, for example L3")
	scan.addFlags(f)
	scan.limit.addFlag(f)
	out.addFlags(f, "text", "json")
	return cmd
}

// diagnose looks at evidence that is given, or at that of a scan.
func (o *scanOptions) diagnose(env *environment, args []string) (*doctor.Diagnosis, error) {
	if len(args) == 1 {
		limits, err := o.limit.limits()
		if err != nil {
			return nil, err
		}
		b, err := evidence.Open(args[0], limits)
		if err != nil {
			return nil, err
		}
		defer b.Close()
		nonce, err := b.Nonce()
		if err != nil {
			nonce = nil // a quote then answers nothing, and says so
		}
		return doctor.Diagnose(b, nil, nonce, env.now()), nil
	}
	nonce := make([]byte, 32)
	if _, err := rand.Read(nonce); err != nil {
		return nil, fmt.Errorf("nonce: %w", err)
	}
	o.nonce = hex.EncodeToString(nonce)
	w, err := o.scan(env)
	if err != nil {
		return nil, err
	}
	b, err := w.Bundle()
	if err != nil {
		return nil, err
	}
	var files fs.FS // of a captured tree nothing more is known than what was captured
	if o.root == "" {
		files = os.DirFS("/")
	}
	return doctor.Diagnose(b, files, nonce, env.now()), nil
}

func (o *outputOptions) diagnosis(env *environment, d *doctor.Diagnosis) error {
	var b bytes.Buffer
	write := func() error { return report.Doctor(&b, d, o.style(env)) }
	if o.format == "json" {
		write = func() error { return asJSON(&b, d) }
	}
	if err := write(); err != nil {
		return err
	}
	return o.write(env, b.Bytes())
}
