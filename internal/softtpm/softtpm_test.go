package softtpm_test

import (
	"crypto/sha256"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func TestWhatItSignsReadsAsSigned(t *testing.T) {
	m, err := softtpm.NewMaker("Test", now)
	require.NoError(t, err)
	for name, kind := range map[string]func(int64) (*softtpm.TPM, error){"P-256": m.TPM, "RSA": m.RSATPM} {
		t.Run(name, func(t *testing.T) {
			tpm, err := kind(7)
			require.NoError(t, err)
			readsAsSigned(t, m, tpm)
		})
	}
}

func readsAsSigned(t *testing.T, m *softtpm.Maker, tpm *softtpm.TPM) {
	files := tpm.Files()
	ak, err := tpmwire.ParsePublic(files["tpm/ak.pub"])
	require.NoError(t, err)
	regs := make(softtpm.Registers, 24)
	h := sha256.New()
	for i := range regs {
		regs[i] = []byte{byte(i)}
		if i == 0 || i == 23 {
			h.Write(regs[i])
		}
	}
	body, sig, err := tpm.Quote([]byte("nonce"), tpmwire.SHA384, 1|1<<23, regs, softtpm.Clock{Milliseconds: 9, Resets: 2, Restarts: 3})
	require.NoError(t, err)
	s, err := tpmwire.ParseSignature(sig)
	require.NoError(t, err)
	require.NoError(t, s.Verify(ak, body))
	a, err := tpmwire.ParseAttest(body)
	require.NoError(t, err)
	require.Equal(t, []tpmwire.Selection{{Bank: tpmwire.SHA384, PCRs: []int{0, 23}}}, a.Quote.Selections)
	require.Equal(t, h.Sum(nil), a.Quote.Digest)
	require.Equal(t, tpmwire.ClockInfo{Clock: 9, ResetCount: 2, RestartCount: 3, Safe: true}, a.Clock)

	body, _, err = tpm.Time(nil, 1234, softtpm.Clock{})
	require.NoError(t, err)
	a, err = tpmwire.ParseAttest(body)
	require.NoError(t, err)
	require.EqualValues(t, 1234, a.Time.Time)

	root, err := ekcert.Parse(m.Certificate.Raw)
	require.NoError(t, err)
	cert, err := ekcert.Parse(files["tpm/ek-0x01c0000a.crt"])
	require.NoError(t, err)
	_, ok := ekcert.Find(cert, []*ekcert.Certificate{root}, nil, now)
	require.True(t, ok)
	require.Equal(t, ekcert.KeyHash(cert.Key), ekcert.KeyHash(tpm.EK()))
}

// The registers are those that a TPM had which measured the same.
func TestReplayGivesTheRecordedRegisters(t *testing.T) {
	files, err := fixture.Machine("../..", "baseline")
	require.NoError(t, err)
	l, err := tcglog.Parse(files["sys/kernel/security/tpm0/binary_bios_measurements"], tcglog.DefaultLimits())
	require.NoError(t, err)
	regs := softtpm.Replay(l)
	for bank, values := range softtpm.Listing(regs) {
		for _, n := range []string{"0", "1", "2", "4", "5", "7"} {
			require.Contains(t, string(files["tpm/pcrs.json"]), values[n], "PCR %s of %s", n, bank)
		}
	}
}
