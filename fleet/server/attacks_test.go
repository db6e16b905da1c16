package server

import (
	"crypto/x509"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/manifest"
)

// judgeFiles takes evidence in that files make up, and has it judged.
func (s *site) judgeFiles(host string, files map[string][]byte) (*fleet.Host, *fleet.Result) {
	t := s.t
	t.Helper()
	zip, err := fixture.Zip(files)
	require.NoError(t, err)
	return s.answer(host, zip)
}

func (s *site) files(name string) map[string][]byte {
	s.t.Helper()
	files, err := fixture.Machine(filepath.Join("..", ".."), name)
	require.NoError(s.t, err)
	files["proc/uptime"] = fmt.Appendf(nil, "%d.00 1.00\n", 1000+s.clock.Sub(labTime)/time.Second)
	return files
}

func codes(open []fleet.Open) (out []string) {
	for _, o := range open {
		out = append(out, string(o.Finding.Code))
	}
	return out
}

func (s *site) open(host string) (open []fleet.Open) {
	s.t.Helper()
	require.NoError(s.t, s.Store.View(s.t.Context(), func(r fleet.Reader) (err error) {
		open, err = r.OpenFindings(fleet.FindingQuery{Host: host})
		return err
	}))
	return open
}

// G02: the good machine's inventory with another machine's quote, and the other way
// round.
func TestG02Splice(t *testing.T) {
	for name, parts := range map[string][2]string{
		"a clean inventory, and another machine's quote": {"baseline", "other-tpm"},
		"an altered machine, with a clean one's quote":   {"extra-nic-norom", "baseline"},
	} {
		s := newSite(t)
		s.host()
		files := s.files(parts[0])
		for p, data := range s.files(parts[1]) {
			if strings.HasPrefix(p, "tpm/") {
				files[p] = data
			}
		}
		h, _ := s.judgeFiles("h1", files)
		require.Equal(t, fleet.Fail, h.State, "%s: %v", name, codes(s.open("h1")))
	}
}

// G07: what the machine's clock says decides nothing: validity is by the server's.
func TestG07ClockGames(t *testing.T) {
	s := newSite(t)
	s.host()
	s.clock = labTime.AddDate(6, 0, 0) // the signer's certificate ended a year ago
	files := s.files("baseline")
	files["proc/uptime"] = []byte("1000.00 1.00\n")
	h, r := s.judgeFiles("h1", files)
	require.NotEqual(t, fleet.Pass, h.State)
	require.Equal(t, s.clock, r.At)
}

// G10: a part that comes after the first scan is found by the next one, and what
// changed is named.
func TestG10CheckThenChange(t *testing.T) {
	s := newSite(t)
	s.host()
	h, _ := s.audit("h1", "baseline")
	require.Equal(t, fleet.Pass, h.State)
	s.clock = s.clock.Add(24 * time.Hour)
	h, r := s.audit("h1", "extra-pci-with-optionrom")
	require.Equal(t, fleet.Fail, h.State)
	require.Contains(t, strings.Join(subjects(r.Changes, "finding"), "; "), "HW-001")
}

// G13: small steps, each of which somebody accepted, are held against the first
// manifest that the machine passed.
func TestG13BaselinePoisoning(t *testing.T) {
	s := newSite(t)
	s.host()
	h, _ := s.audit("h1", "missing-dimm")
	require.Equal(t, fleet.Fail, h.State)
	s.clock = s.clock.Add(time.Hour)
	h, _ = s.audit("h1", "baseline")
	require.Equal(t, fleet.Pass, h.State, "%v", codes(s.open("h1")))
	first := h.Golden
	require.NotEmpty(t, first)

	m, _, err := assay.Draft([]*evidence.Bundle{s.bundle("baseline-reboot")}, assay.DraftOptions{Now: labTime, Scope: assay.Machine})
	require.NoError(t, err)
	var docs []fleet.Document
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { docs, err = r.Documents("golden"); return err }))
	m.ID, m.Version = docs[0].Name, 2
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	signed, err := manifest.Sign(raw, s.vendor.key, []*x509.Certificate{s.vendor.cert})
	require.NoError(t, err)
	s.give(signed)
	s.clock = s.clock.Add(24 * time.Hour)
	h, r := s.audit("h1", "baseline-reboot")
	require.Equal(t, fleet.Pass, h.State, "a new version of the manifest alarms nobody: %v", codes(s.open("h1")))
	require.Equal(t, first, h.Golden, "the first one is remembered: %v", codes(s.open("h1")))
	var moved []finding.Code
	for _, f := range r.Fleet {
		moved = append(moved, f.Code)
	}
	require.Contains(t, moved, finding.DriftFromFirstGolden)
}
