//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
)

// judge appraises the evidence at the machine when the image holds roots.
// Manifests may also lie on the open part of the stick, since they are signed;
// the roots that may sign them are always from the measured image.
func (s *session) judge(w *evidence.Writer) error {
	roots := filesIn("/" + layout.TrustDir)
	if len(roots) == 0 {
		s.say("\nNothing was compared here: the image holds no trust roots.\nVerify the saved evidence elsewhere: assay verify EVIDENCE --golden FILE --trust ROOTS")
		return nil
	}
	trust, err := manifest.LoadTrust([]string{"/" + layout.TrustDir})
	if err != nil {
		return fmt.Errorf("trust roots: %w", err)
	}
	c := assay.Case{Trust: trust, Now: s.began}
	for _, f := range filesIn("/" + layout.EKRootsDir) {
		der, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("roots of TPM makers: %w", err)
		}
		c.EKRoots = append(c.EKRoots, der)
	}
	golden := filesIn("/" + layout.GoldenDir)
	if s.stick != nil && s.stick.mounted {
		golden = append(golden, filesIn(filepath.Join(stickDir, layout.StickGoldenDir))...)
	}
	for _, f := range golden {
		raw, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		c.Golden = append(c.Golden, raw)
	}
	if c.Evidence, err = w.Bundle(); err != nil {
		return err
	}
	if c.Nonce, err = c.Evidence.Nonce(); err != nil {
		return err
	}
	r, err := assay.Verify(c)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := report.Check(&b, r, report.Style{Color: true, Width: 80}); err != nil {
		return err
	}
	_, err = s.out.Write(b.Bytes())
	return err
}

// filesIn lists the files of a directory, sorted; none when it is not there.
func filesIn(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out
}
