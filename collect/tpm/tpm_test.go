package tpm_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/collect/tpm"
	"github.com/assay-hw/assay/internal/swtpm"
	"github.com/assay-hw/assay/internal/tpmwire"
)

// machines are the two TPMs of these tests: to make one takes seconds.
var machines struct{ one, other *swtpm.TPM }

func TestMain(m *testing.M) {
	if swtpm.Available() != nil {
		os.Exit(m.Run())
	}
	code, err := withMachines(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

func withMachines(m *testing.M) (int, error) {
	dir, err := os.MkdirTemp("", "makers")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	maker := swtpm.NewMaker(dir)
	if machines.one, err = maker.Make("sha256,sha384"); err != nil {
		return 0, err
	}
	defer machines.one.Close()
	if machines.other, err = maker.Make("sha256"); err != nil {
		return 0, err
	}
	defer machines.other.Close()
	return m.Run(), nil
}

func one(t *testing.T) *swtpm.TPM {
	t.Helper()
	if err := swtpm.Available(); err != nil {
		t.Skip(err)
	}
	return machines.one
}

func two(t *testing.T) (right, other *swtpm.TPM) {
	t.Helper()
	return one(t), machines.other
}

func open(t *testing.T, s *swtpm.TPM) *tpm.Device {
	t.Helper()
	d, err := tpm.Open(s.Address)
	require.NoError(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// answer asks as a process of its own does, which leaves nothing loaded.
func answer(t *testing.T, s *swtpm.TPM, c *tpm.Challenge) *tpm.Answer {
	t.Helper()
	d, err := tpm.Open(s.Address)
	require.NoError(t, err)
	defer d.Close()
	a, err := d.Answer(c, 0)
	require.NoError(t, err)
	return a
}

func keys(t *testing.T, d *tpm.Device) (ek, ak *tpm.Key) {
	t.Helper()
	certs, failed, err := d.Certificates()
	require.NoError(t, err)
	require.Empty(t, failed)
	require.Contains(t, certs, uint32(0x01c00002))
	eks, err := d.EndorsementKeys(certs)
	require.NoError(t, err)
	ak, err = d.AttestationKey(0)
	require.NoError(t, err)
	return eks[0], ak
}

func TestEveryScanHasTheSameKeyAndStoresNone(t *testing.T) {
	s := one(t)
	ek1, ak1 := keys(t, open(t, s))
	require.NoError(t, s.Restart())
	ek2, ak2 := keys(t, open(t, s))
	require.Equal(t, ak1.Public, ak2.Public, "a new key at each scan could not be enrolled")
	require.Equal(t, ek1.Public, ek2.Public)
	require.Equal(t, "rsa-2048", ek1.Kind)
	require.Equal(t, "ecc-p256", ak1.Kind)
}

func TestTheQuoteVerifiesUnderTheKey(t *testing.T) {
	d := open(t, one(t))
	_, ak := keys(t, d)
	require.True(t, d.Protected(), "commands go through a session salted with the endorsement key")
	pub, err := tpmwire.ParsePublic(ak.Public)
	require.NoError(t, err)
	banks, err := d.Banks()
	require.NoError(t, err)
	require.Len(t, banks, 2)
	verify := func(a *tpm.Attestation) *tpmwire.Attest {
		sig, err := tpmwire.ParseSignature(a.Signature)
		require.NoError(t, err)
		require.NoError(t, sig.Verify(pub, a.Body))
		body, err := tpmwire.ParseAttest(a.Body)
		require.NoError(t, err)
		require.Equal(t, []byte("bound"), body.ExtraData)
		return body
	}
	for name, alg := range banks {
		q, err := d.Quote(ak, alg, tpm.BootRegisters(), []byte("bound"))
		require.NoError(t, err)
		body := verify(q)
		require.Len(t, body.Quote.Selections, 1)
		require.Equal(t, name, body.Quote.Selections[0].Bank.String())
		require.Len(t, body.Quote.Selections[0].PCRs, 16)
	}
	a, err := d.Time(ak, []byte("bound"))
	require.NoError(t, err)
	require.NotNil(t, verify(a).Time)
	props, err := d.Properties()
	require.NoError(t, err)
	var m map[string]string
	require.NoError(t, json.Unmarshal(props, &m))
	require.Equal(t, "0x49424D00", m["TPM2_PT_MANUFACTURER"])
	require.Contains(t, m, "TPM2_PT_FIRMWARE_VERSION_1")
}

func TestActivationSucceedsInTheRightTPMOnly(t *testing.T) {
	right, other := two(t)
	d := open(t, right)
	ek, ak := keys(t, d)
	c, err := tpm.NewChallenge(ek.Public, ak.Public, rand.Reader)
	require.NoError(t, err)
	now := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

	a := answer(t, right, c)
	e, err := c.Check(a, now)
	require.NoError(t, err)
	require.Equal(t, a.Name, e.AKName)
	require.Equal(t, "rsa-2048", e.EKKind)

	_, err = open(t, other).Answer(c, 0)
	require.ErrorContains(t, err, "does not hold the challenge's endorsement key")

	a.Secret[0] ^= 1
	_, err = c.Check(a, now)
	require.ErrorIs(t, err, tpm.ErrNotActivated)
}

// A thief who has the endorsement key's public part offers a key of his own.
func TestAKeyOfAnotherTPMIsNotActivated(t *testing.T) {
	right, other := two(t)
	ek, _ := keys(t, open(t, right))
	_, foreign := keys(t, open(t, other))
	c, err := tpm.NewChallenge(ek.Public, foreign.Public, rand.Reader)
	require.NoError(t, err)
	_, err = open(t, right).Answer(c, 0)
	require.ErrorContains(t, err, "another attestation key")
	_, err = open(t, other).Answer(c, 0)
	require.Error(t, err)
}

func TestACertificateAloneIsEnoughForAChallenge(t *testing.T) {
	s := one(t)
	d := open(t, s)
	certs, _, err := d.Certificates()
	require.NoError(t, err)
	ek, ak := keys(t, d)
	for index, cert := range certs {
		pub, err := tpm.EKOfCertificate(cert)
		require.NoError(t, err, "%08x", index)
		c, err := tpm.NewChallenge(pub, ak.Public, rand.Reader)
		require.NoError(t, err)
		a := answer(t, s, c)
		_, err = c.Check(a, time.Time{})
		require.NoError(t, err)
	}
	require.NotEmpty(t, ek.Public)
}

func TestAKeyThatIsKeptIsUsedAgain(t *testing.T) {
	s := one(t)
	d := open(t, s)
	ak, err := d.AttestationKey(0x81010100)
	require.NoError(t, err)
	again, err := open(t, s).AttestationKey(0x81010100)
	require.NoError(t, err)
	require.Equal(t, ak.Public, again.Public)
	// The endorsement key's own handle holds no key that may attest.
	_, err = open(t, s).AttestationKey(0x81010001)
	require.ErrorContains(t, err, "attributes")
}

func TestKeysThatProveNothingAreNotChallenged(t *testing.T) {
	s := one(t)
	ek, ak := keys(t, open(t, s))
	_, err := tpm.NewChallenge(ak.Public, ak.Public, rand.Reader)
	require.ErrorContains(t, err, "endorsement key")
	_, err = tpm.NewChallenge(ek.Public, ek.Public, rand.Reader)
	require.ErrorContains(t, err, "attestation key")
	_, err = tpm.NewChallenge(ek.Public[:40], ak.Public, rand.Reader)
	require.Error(t, err)
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]tpm.Address{
		"": {Path: "/dev/tpmrm0"}, "device": {Path: "/dev/tpmrm0"}, "device:/dev/tpm0": {Path: "/dev/tpm0"},
		"swtpm:/run/x": {Network: "unix", Path: "/run/x"}, "swtpm:localhost:2321": {Network: "tcp", Path: "localhost:2321"},
	} {
		got, err := tpm.ParseAddress(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"tpm0", "device:/etc/passwd", "swtpm:", "swtpm:x", "http://x"} {
		_, err := tpm.ParseAddress(in)
		require.Error(t, err, in)
	}
}
