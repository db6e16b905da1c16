package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/testdata"
)

// sampleMachines are the states of one recorded machine that the pages use.
var sampleMachines = []struct{ file, state, about string }{
	{"unit.evidence.zip", "baseline", "a unit that is known to be good"},
	{"again.evidence.zip", "baseline-reboot", "the same unit, started again"},
	{"exchanged.evidence.zip", "dimm-swapped", "a memory module was exchanged for another one"},
	{"short.evidence.zip", "missing-dimm", "a memory module is missing"},
	{"server.evidence.zip", "extra-nic-norom", "a card was added"},
	{"patched.evidence.zip", "fw-patched-sec", "its firmware was altered"},
	{"edited.evidence.zip", "eventlog-edited", "somebody edited its event log"},
}

func newDocsSample(env *environment) *cobra.Command {
	return &cobra.Command{
		Use: "sample DIR", Short: "Write the machines, manifest and keys that the pages use",
		Long: `Writes evidence of a recorded virtual machine in several states, the golden
manifest of it, the key and certificate that signed it, its root, and the
certificates of its TPM's maker. The key is public: never trust it.`,
		Example: `  assay docs sample try-assay && cd try-assay
  assay verify server.evidence.zip --golden golden.signed.json --trust roots/`,
		Args: exactly(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := writeSample(args[0], env.now); err != nil {
				return &exitError{exitIO, err}
			}
			for _, m := range sampleMachines {
				fmt.Fprintf(env.stdout, "%-24s %s\n", m.file, m.about)
			}
			_, err := fmt.Fprint(env.stdout, "golden.signed.json       the golden manifest of unit.evidence.zip, signed by vendor.key\n"+
				"vendor.key, vendor.pem   a vendor's key, which is public, and its certificate\n"+
				"roots/, tpm-roots/       whom to trust: the vendor's root, and the TPM maker's\n"+
				"tpm.sh                   plays a TPM, for a machine that has none\n")
			return err
		},
	}
}

func writeSample(dir string, now func() time.Time) error {
	machines, err := fs.Sub(testdata.Files, "machines")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, m := range sampleMachines {
		files, err := fixture.From(machines, m.state)
		if err != nil {
			return err
		}
		b, err := fixture.Zip(files)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, m.file), b, 0o644); err != nil {
			return err
		}
	}
	for from, to := range map[string]string{
		"keys/vendor.key": "vendor.key", "keys/vendor.pem": "vendor.pem", "keys/trust/root.pem": "roots/root.pem",
		"tpm.sh": "tpm.sh", "tpm/root-ca.pem": "tpm-roots/root-ca.pem", "tpm/issuer-ca.pem": "tpm-roots/issuer-ca.pem", "machines/LICENSE.OVMF": "LICENSE.OVMF",
	} {
		raw, err := testdata.Files.ReadFile(from)
		if err != nil {
			return err
		}
		p := filepath.Join(dir, filepath.FromSlash(to))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(p, raw, 0o644); err != nil {
			return err
		}
	}
	return signSample(dir, now)
}

// signSample drafts and signs the manifest of the sample by the commands for it.
func signSample(dir string, now func() time.Time) error {
	in := func(name string) string { return filepath.Join(dir, name) }
	quiet := &environment{stdout: io.Discard, stderr: io.Discard, now: now, noColor: true}
	draft := in("golden.json")
	for _, args := range [][]string{
		{"golden", "draft", in("unit.evidence.zip"), "-o", draft},
		{"golden", "sign", draft, "--key", in("vendor.key"), "--cert", in("vendor.pem"), "-o", in("golden.signed.json")},
	} {
		if code := run(args, quiet); code != 0 {
			return fmt.Errorf("%s %s: exit code %d", args[0], args[1], code)
		}
	}
	return errors.Join(os.Remove(draft))
}
