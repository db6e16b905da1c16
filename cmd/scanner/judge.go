//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
)

// Anybody may have written to the open part of the stick.
const (
	maxManifest  = 32 << 20
	maxManifests = 100
)

// judge appraises the evidence at the machine when the image holds roots.
// Manifests may also lie on the open part of the stick, since they are signed;
// the roots that may sign them are always from the measured image.
func (s *session) judge(w *evidence.Writer) error {
	roots, err := filesIn("/" + layout.TrustDir)
	if err != nil {
		return fmt.Errorf("trust roots: %w", err)
	}
	if len(roots) == 0 {
		s.say("\nNothing was compared here: the image holds no trust roots.\nVerify the saved evidence elsewhere: assay verify EVIDENCE --golden FILE --trust ROOTS")
		return nil
	}
	trust, err := readTrust(roots)
	if err != nil {
		return err
	}
	c := assay.Case{Trust: trust, Now: s.began, EKRoots: s.readAll("/" + layout.EKRootsDir)}
	dirs := []string{"/" + layout.GoldenDir}
	if s.stick != nil && s.stick.mounted {
		dirs = append(dirs, filepath.Join(stickDir, layout.StickGoldenDir))
	}
	c.Golden = s.readAll(dirs...)
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
	s.say("%s", s.saved) // again, since the verdict has scrolled it away
	return err
}

// readTrust reads the roots and grants of the image, all of them: with one
// left out, something else would be trusted.
func readTrust(names []string) (*manifest.Trust, error) {
	files := map[string][]byte{}
	for _, n := range names {
		b, err := readBounded(n, maxManifest)
		if err != nil {
			return nil, fmt.Errorf("trust roots: %w", err)
		}
		files[filepath.Base(n)] = b
	}
	t := &manifest.Trust{}
	return t, t.Import(files)
}

// readAll reads the files of directories, as many and as much as is allowed.
// What it leaves out it says: one damaged file must not cost the verdict.
func (s *session) readAll(dirs ...string) [][]byte {
	var out [][]byte
	for _, dir := range dirs {
		files, err := filesIn(dir)
		if err != nil {
			s.say("left out: %s: %s", dir, printable(err.Error()))
			continue
		}
		for i, f := range files {
			if i == maxManifests {
				s.say("left out: %d files of %s; at most %d are read", len(files)-i, dir, maxManifests)
				break
			}
			raw, err := readBounded(f, maxManifest)
			if err != nil {
				s.say("left out: %s", printable(err.Error()))
				continue
			}
			out = append(out, raw)
		}
	}
	return out
}

// readBounded reads a file of at most limit bytes.
func readBounded(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("%s: has more than %d bytes", name, limit)
	}
	if err != nil {
		return nil, err
	}
	return b, nil
}

// filesIn lists the files of a directory, sorted; none when it is not there.
// Names with a leading dot are what other systems leave on a medium.
func filesIn(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []string
	for _, e := range entries {
		if e.Type().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, filepath.Join(dir, e.Name()))
		}
	}
	return out, nil
}
