package assay_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
	"github.com/assay-hw/assay/manifest"
)

func says(t testing.TB, verify func(assay.Case) (*assay.Result, error), c assay.Case) string {
	t.Helper()
	r, err := verify(c)
	require.NoError(t, err)
	return string(asJSON(t, r))
}

// signer is a TPM in memory, which signs what recorded machines have again.
type signer struct {
	*softtpm.Maker
	*softtpm.TPM
}

func newSigner(t testing.TB) *signer { return signerSince(t, labTime) }

// signerSince has a TPM whose certificate ends 15 years after a time.
func signerSince(t testing.TB, at time.Time) *signer {
	t.Helper()
	m, err := softtpm.NewMaker("Test TPM maker", at)
	require.NoError(t, err)
	tpm, err := m.TPM(7)
	require.NoError(t, err)
	return &signer{m, tpm}
}

// scan is a sealed bundle of a machine that has been up for some seconds.
func (s *signer) scan(t testing.TB, f files, nonce string, up int) *evidence.Bundle {
	t.Helper()
	f = maps.Clone(f)
	maps.DeleteFunc(f, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "tpm/") && p != "tpm/properties.json" || strings.Contains(p, "/ima/") || strings.HasPrefix(p, "firmware/")
	})
	maps.Copy(f, s.Files())
	l, err := tcglog.Parse(f["sys/kernel/security/tpm0/binary_bios_measurements"], tcglog.DefaultLimits())
	require.NoError(t, err)
	regs := softtpm.Replay(l)
	f["proc/uptime"], f["tpm/pcrs.json"] = fmt.Appendf(nil, "%d.00 1.00\n", up), asJSON(t, softtpm.Listing(regs))
	w := evidence.NewWriter(evidence.Index{
		Collector: evidence.Collector{Name: "assay", Version: "1"}, CollectedAt: labTime, Nonce: hex.EncodeToString([]byte(nonce)), Mode: evidence.Mode{Root: true},
	}, evidence.Limits{})
	for p, data := range f {
		require.NoError(t, w.Add(p, data, ""))
	}
	d, err := w.Digest()
	require.NoError(t, err)
	q := evidence.QualifyingData([]byte(nonce), d)
	body, sig, err := s.Quote(q[:], tpmwire.SHA256, 0xffffff, regs[tpmwire.SHA256], softtpm.Clock{Milliseconds: uint64(up) * 1000, Resets: 5})
	require.NoError(t, err)
	require.NoError(t, w.Add("tpm/quote-sha256.attest", body, ""))
	require.NoError(t, w.Add("tpm/quote-sha256.sig", sig, ""))
	b, err := w.Bundle()
	require.NoError(t, err)
	return b
}

// asked is a case of a machine that a signer's TPM is in.
func (s *signer) asked(t testing.TB, l *lab, name, nonce string, up int) assay.Case {
	t.Helper()
	c := l.caseOf(t, machine(t, name))
	c.Evidence, c.Nonce, c.EKRoots = s.scan(t, machine(t, name), nonce, up), []byte(nonce), [][]byte{s.Certificate.Raw}
	return c
}

// held is a bench whose manifest is of a machine with a signer's TPM.
func (s *signer) held(t testing.TB, change func(*manifest.Manifest)) *lab {
	t.Helper()
	l := &lab{vendor: newVendor(t, "Assay Lab Computer Inc.")}
	m, _, err := assay.Draft([]*evidence.Bundle{s.scan(t, machine(t, "baseline"), "a nonce", 300)}, assay.DraftOptions{Now: labTime})
	require.NoError(t, err)
	if change != nil {
		change(m)
	}
	l.golden = l.vendor.signManifest(t, m)
	return l
}

func TestManyAskOneVerifier(t *testing.T) {
	s := newSigner(t)
	l := s.held(t, nil)
	cases := []assay.Case{
		s.asked(t, l, "baseline", "one", 300), s.asked(t, l, "baseline", "two", 301), s.asked(t, l, "extra-nic-norom", "one", 300), s.asked(t, l, "baseline", "three", 302),
		newSigner(t).asked(t, l, "baseline", "one", 300), s.asked(t, l, "dimm-swapped", "one", 300),
	}
	var want []string
	for i := range cases { // trust is known again by where it is
		cases[i].Trust, cases[i].EKRoots = cases[0].Trust, cases[0].EKRoots
		want = append(want, says(t, assay.Verify, cases[i]))
	}
	v := &assay.Verifier{Machines: 2}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range 12 {
				i := (n + w) % len(cases)
				r, err := v.Verify(cases[i])
				if b, bad := json.Marshal(r); err != nil || bad != nil || string(b) != want[i] {
					t.Errorf("case %d: another result", i)
				}
			}
		})
	}
	wg.Wait()
	_, again := v.Counts()
	require.Positive(t, again)
}

// A Verifier keeps what a manifest said, and sees the moment at which it ends, or
// what a machine is held against changes.
func TestAVerifierSeesTimePass(t *testing.T) {
	s := newSigner(t)
	ends := labTime.Add(30 * time.Hour)
	l := s.held(t, func(m *manifest.Manifest) { m.NotAfter = ends })
	c := s.asked(t, l, "baseline", "one", 300)
	v := &assay.Verifier{Machines: 8}
	same := func(c assay.Case) {
		for range 2 {
			require.Equal(t, says(t, assay.Verify, c), says(t, v.Verify, c), c.Now)
		}
	}
	for _, at := range []time.Time{
		labTime.Add(time.Hour), labTime.Add(time.Hour + time.Second), labTime.Add(time.Hour + 5*time.Minute), labTime.Add(3 * time.Hour), ends.Add(-11 * time.Minute), ends.Add(-9 * time.Minute),
		ends.Add(-time.Second), ends, ends.Add(time.Second), ends.Add(time.Hour), labTime.Add(2 * time.Hour), labTime.Add(-time.Hour), labTime.AddDate(12, 0, 0),
	} {
		c.Now = at
		same(c)
	}
	_, again := v.Counts()
	require.Greater(t, again, uint64(8))

	c.Now = labTime.Add(time.Hour)
	other := c
	other.Golden = [][]byte{l.vendor.sign(t, nil, machine(t, "dimm-swapped"))}
	for _, x := range []assay.Case{c, other, c} {
		same(x)
	}
	var err error
	c.Policy, err = assay.ParsePolicy([]byte("id: w\nextends: default\nwaivers:\n- {code: MB-008, subject: 'bank:sha1', reason: known, expires: 2026-01-15T14:00:00Z}\n"))
	require.NoError(t, err)
	c.Now = labTime.Add(time.Hour)
	require.Contains(t, says(t, assay.Verify, c), "waiver until", "it covers something")
	for _, after := range []time.Duration{90 * time.Minute, 119 * time.Minute, 2*time.Hour - 1, 2 * time.Hour, 2*time.Hour + 1} {
		c.Now = labTime.Add(after)
		same(c)
	}
}

func TestAVerifierSeesACertificateEnd(t *testing.T) {
	end := labTime.Add(2 * time.Hour)
	s := signerSince(t, end.AddDate(-15, 0, 0))
	c := s.asked(t, s.held(t, nil), "baseline", "one", 300)
	v := &assay.Verifier{Machines: 8}
	seen := map[bool]int{}
	for _, after := range []time.Duration{-time.Hour, -time.Second, 0, 1, time.Second, time.Hour} {
		c.Now = end.Add(after)
		for range 2 {
			got := says(t, v.Verify, c)
			require.Equal(t, says(t, assay.Verify, c), got, after)
			seen[strings.Contains(got, "link 0 expired")]++
		}
	}
	require.Equal(t, map[bool]int{false: 6, true: 6}, seen, "it is told after its end, and not at it")
}

// What a TPM signs anew is looked at as closely as before.
func TestAVerifierIsNotFooled(t *testing.T) {
	s := newSigner(t)
	l := s.held(t, nil)
	good := s.asked(t, l, "baseline", "one", 300)
	for name, change := range map[string]func(*assay.Case){
		"another nonce was asked for": func(c *assay.Case) { c.Nonce = []byte("two") },
		"the quote of another scan":   func(c *assay.Case) { c.Evidence = s.scan(t, machine(t, "baseline"), "two", 300) },
		"the TPM is younger":          func(c *assay.Case) { c.Evidence = s.scan(t, machine(t, "baseline"), "one", 1) },
		"no nonce":                    func(c *assay.Case) { c.Nonce = nil },
		"other keys are enrolled": func(c *assay.Case) {
			c.Enrolled = []attest.Endorsement{{Kind: "ak", Name: "000b" + strings.Repeat("00", 32)}}
		},
		"the same key, another machine": func(c *assay.Case) { c.Evidence = s.scan(t, machine(t, "missing-dimm"), "one", 300) },
		"evidence of tomorrow":          func(c *assay.Case) { c.Now = labTime.Add(-24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			v := &assay.Verifier{Machines: 8}
			require.Equal(t, says(t, assay.Verify, good), says(t, v.Verify, good))
			c := good
			change(&c)
			require.Equal(t, says(t, assay.Verify, c), says(t, v.Verify, c))
			require.Equal(t, says(t, assay.Verify, good), says(t, v.Verify, good))
		})
	}
}
