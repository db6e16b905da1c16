package server

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/tpmwire"
	"github.com/assay-hw/assay/manifest"
)

// nonce is what the recordings were taken for.
var nonce, _ = hex.DecodeString("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")

var labTime = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

// site is a server with one vendor's manifest for the recorded machine.
type site struct {
	*Server
	t     *testing.T
	clock time.Time
	from  string // address of the machines

	vendor, owner signer
}

func newSite(t *testing.T) *site {
	t.Helper()
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "fleet.db"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	blobs, err := blob.OpenDirectory(filepath.Join(t.TempDir(), "blobs"))
	require.NoError(t, err)
	s := &site{t: t, clock: labTime}
	secret, err := auditlog.NewKey(rand.Reader, "fleet.example")
	require.NoError(t, err)
	key, err := auditlog.ReadKey(secret)
	require.NoError(t, err)
	cfg := Config{Key: key, Store: st, Blobs: blobs, Now: func() time.Time { return s.clock }, Interval: 24 * time.Hour}
	for _, n := range []string{"root-ca.pem", "issuer-ca.pem"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "tpm", n))
		require.NoError(t, err)
		block, _ := pem.Decode(raw)
		cfg.EKDER = append(cfg.EKDER, block.Bytes)
		c, err := ekcert.Parse(block.Bytes)
		require.NoError(t, err)
		cfg.EKRoots = append(cfg.EKRoots, c)
	}
	s.Server = New(cfg)
	s.golden()
	return s
}

// signer is somebody with a key and a certificate of its own.
type signer struct {
	key  crypto.Signer
	cert *x509.Certificate
}

func newSigner(t *testing.T, organization string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{organization}, CommonName: "Signer"}, NotBefore: labTime.AddDate(-1, 0, 0), NotAfter: labTime.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return signer{key, cert}
}

// trust lets the vendor sign manifests, and the operators of the site tickets.
func (s *site) trust() {
	t := s.t
	dir := t.TempDir()
	for name, c := range map[string]signer{"vendor.pem": s.vendor, "site.pem": s.owner} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.cert.Raw}), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "trust.yaml"), []byte("grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n  classes: [ticket]\n"), 0o600))
	var err error
	s.Trust, err = manifest.LoadTrust([]string{dir})
	require.NoError(t, err)
}

// signed is a manifest with the vendor's signature.
func (s *site) signed(raw []byte) []byte {
	s.t.Helper()
	out, err := manifest.Sign(raw, s.vendor.key, []*x509.Certificate{s.vendor.cert})
	require.NoError(s.t, err)
	return out
}

// golden drafts, signs and stores a manifest of the good machine.
func (s *site) golden() {
	t := s.t
	s.vendor, s.owner = newSigner(t, "Assay Lab Computer Inc."), newSigner(t, "Site Operators")
	s.trust()
	m, _, err := assay.Draft([]*evidence.Bundle{s.bundle("baseline")}, assay.DraftOptions{Now: labTime, Scope: assay.Machine})
	require.NoError(t, err)
	raw, err := manifest.Encode(m)
	require.NoError(t, err)
	signed := s.signed(raw)
	s.update(func(tx fleet.Tx) error {
		return tx.PutDocument(&fleet.Document{Digest: blob.Digest(signed), Kind: "golden", Name: m.ID, Version: m.Version, Added: labTime, By: "ann", Raw: signed})
	})
}

func (s *site) bundle(name string) *evidence.Bundle {
	s.t.Helper()
	files, err := fixture.Machine(filepath.Join("..", ".."), name)
	require.NoError(s.t, err)
	b, err := evidence.FromFiles(files, name, evidence.Limits{})
	require.NoError(s.t, err)
	return b
}

func (s *site) update(f func(fleet.Tx) error) {
	s.t.Helper()
	require.NoError(s.t, s.Store.Update(context.Background(), f))
}

// host enrols the recorded machine without its TPM, which is not here.
func (s *site) host() *fleet.Host {
	b := s.bundle("baseline")
	raw, err := b.Read("tpm/ak.pub")
	require.NoError(s.t, err)
	ak, err := tpmwire.ParsePublic(raw)
	require.NoError(s.t, err)
	name, err := ak.Name()
	require.NoError(s.t, err)
	raw, err = b.Read("tpm/ek.pub")
	require.NoError(s.t, err)
	ek, err := tpmwire.ParsePublic(raw)
	require.NoError(s.t, err)
	h := &fleet.Host{
		ID: "h1", Name: "node-1", Mode: fleet.ByAgent, Interval: s.Interval, NextDue: s.clock, State: fleet.Enrolled, Since: s.clock,
		Identity: fleet.Identity{EKSHA256: ekcert.KeyHash(ek.Key), AKName: hex.EncodeToString(name), Chassis: fleet.Chassis{Manufacturer: "Assay Lab Computer Inc.", Serial: "LAB-1"}},
	}
	s.update(func(tx fleet.Tx) error { return tx.PutHost(h) })
	return h
}

// audit has a recorded machine answer, and judges what it sent.
func (s *site) audit(host, name string) (*fleet.Host, *fleet.Result) {
	s.t.Helper()
	return s.answer(host, zipped(s.t, name, fmt.Sprintf("%d.00 1.00\n", 1000+s.clock.Sub(labTime)/time.Second)))
}

func (s *site) answer(host string, zip []byte) (*fleet.Host, *fleet.Result) {
	t := s.t
	t.Helper()
	s.update(func(tx fleet.Tx) error { // recordings share their nonce
		return tx.PutChallenge(fleet.Challenge{Nonce: nonce, Host: host, Issued: s.clock, Deadline: s.clock.Add(time.Minute)})
	})
	e, err := s.Intake(t.Context(), host, nonce, zip, s.from)
	require.NoError(t, err)
	effect, err := s.appraise(t.Context(), fleet.Job{Kind: fleet.Appraise, Key: e.Digest})
	require.NoError(t, err)
	s.update(effect)
	var h *fleet.Host
	var r *fleet.Result
	require.NoError(t, s.Store.View(t.Context(), func(rd fleet.Reader) (err error) {
		if h, err = rd.Host(host); err != nil {
			return err
		}
		r, err = rd.Result(h.Result)
		return err
	}))
	return h, r
}

// zipped is what the machine of a recording sends at a time.
func zipped(t *testing.T, name, uptime string) []byte {
	t.Helper()
	files, err := fixture.Machine(filepath.Join("..", ".."), name)
	require.NoError(t, err)
	files["proc/uptime"] = []byte(uptime)
	raw, err := fixture.Zip(files)
	require.NoError(t, err)
	return raw
}

func TestAuditCycle(t *testing.T) {
	s := newSite(t)
	s.host()
	h, r := s.audit("h1", "extra-nic-norom")
	require.Equal(t, fleet.Fail, h.State)
	require.Equal(t, finding.Critical, h.Worst)
	require.Contains(t, subjects(r.Changes, "finding"), "HW-001 Component that no manifest line covers")
	require.Empty(t, h.Golden, "what did not pass is no first manifest")

	s.clock = s.clock.Add(24 * time.Hour)
	h, r = s.audit("h1", "baseline")
	require.Equal(t, fleet.Pass, h.State, "%+v", r.Fleet)
	require.Equal(t, s.clock, h.LastAttested)
	require.Equal(t, s.clock, h.Since)
	require.Equal(t, s.clock.Add(24*time.Hour), h.NextDue)
	require.Equal(t, []fleet.Change{{Kind: "state", Subject: "h1", Old: "fail", New: "pass"}}, onlyStates(r.Changes))
	require.NotEmpty(t, subjects(r.Changes, "resolved"))
	require.NotEmpty(t, h.Golden)

	s.clock = s.clock.Add(24 * time.Hour)
	h, r = s.audit("h1", "baseline-reboot")
	require.Equal(t, fleet.Pass, h.State)
	require.Empty(t, r.Changes, "a reboot moves nothing")
	require.Empty(t, r.Incidents)
}

func onlyStates(cs []fleet.Change) (out []fleet.Change) {
	for _, c := range cs {
		if c.Kind == "state" {
			out = append(out, c)
		}
	}
	return out
}

func subjects(cs []fleet.Change, kind string) (out []string) {
	for _, c := range cs {
		if c.Kind == kind {
			out = append(out, c.New+c.Old)
		}
	}
	return out
}

// G15: who stops the agent is found, and stale is no pass.
func TestG15Silence(t *testing.T) {
	s := newSite(t)
	s.host()
	s.audit("h1", "baseline")
	s.clock = s.clock.Add(24*time.Hour + s.Grace - time.Minute)
	_, err := s.schedule(t.Context(), fleet.Job{})
	require.NoError(t, err)
	state := func() *fleet.Host {
		var h *fleet.Host
		require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { h, err = r.Host("h1"); return err }))
		return h
	}
	require.Equal(t, fleet.Pass, state().State, "late, and within the grace")
	s.clock = s.clock.Add(2 * time.Minute)
	_, err = s.schedule(t.Context(), fleet.Job{})
	require.NoError(t, err)
	h := state()
	require.Equal(t, fleet.Stale, h.State)
	require.Equal(t, finding.High, h.Worst)
	s.audit("h1", "baseline-reboot")
	require.Equal(t, fleet.Pass, state().State, "evidence ends the silence")
	require.Zero(t, state().Findings)
}

// G01, G03: a nonce is good once, for one machine, until its deadline.
func TestG01Replay(t *testing.T) {
	s := newSite(t)
	s.host()
	zip := zipped(t, "baseline", "1000.00 1.00\n")
	ask := func(host string, deadline time.Duration) {
		s.update(func(tx fleet.Tx) error {
			_, _ = tx.TakeChallenge(nonce)
			return tx.PutChallenge(fleet.Challenge{Nonce: nonce, Host: host, Deadline: s.clock.Add(deadline)})
		})
	}
	refused := func(want Status) {
		t.Helper()
		_, err := s.Intake(t.Context(), "h1", nonce, zip, "")
		var r *Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, want, r.Status, r.Reason)
	}
	refused(Conflict) // nobody asked
	ask("h2", time.Minute)
	refused(Forbidden)
	ask("h1", -time.Second)
	refused(Conflict)
	ask("h1", time.Minute)
	_, err := s.Intake(t.Context(), "h1", nonce, zip, "")
	require.NoError(t, err)
	refused(Conflict) // used
	ask("h1", time.Minute)
	refused(Conflict) // the same evidence again
	_, err = s.Intake(t.Context(), "h1", nonce, []byte("no zip"), "")
	require.Error(t, err)
}

// Evidence that was changed where it is stored is an error of the machine's state,
// never a pass.
func TestStoredEvidenceThatWasEdited(t *testing.T) {
	s := newSite(t)
	s.host()
	s.audit("h1", "baseline")
	e, err := s.Bundle(t.Context(), "00")
	require.Error(t, err)
	require.Nil(t, e)
	s.update(s.giveUp(fleet.Job{Kind: fleet.Appraise, Key: evidenceOf(t, s)}, blob.ErrDamaged))
	var h *fleet.Host
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { h, err = r.Host("h1"); return err }))
	require.Equal(t, fleet.Error, h.State)
}

func evidenceOf(t *testing.T, s *site) (digest string) {
	t.Helper()
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) error {
		rs, err := r.Results("h1", time.Time{}, 1)
		digest = rs[0].Evidence
		return err
	}))
	return digest
}

// A machine without an agent that nobody asked any more is stale too: what is not
// heard of never stays a pass.
func TestSilenceWithoutAnAgent(t *testing.T) {
	s := newSite(t)
	h := s.host()
	h.Mode, h.State = fleet.ByRedfish, fleet.Pass
	s.update(func(tx fleet.Tx) error { return tx.PutHost(h) })
	s.clock = s.clock.Add(s.Interval + s.Grace)
	_, err := s.schedule(t.Context(), fleet.Job{})
	require.NoError(t, err)
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) (err error) { h, err = r.Host("h1"); return err }))
	require.Equal(t, fleet.Stale, h.State)
}

// Good evidence whose job was tried again after bad evidence came does not make the
// machine good.
func TestOldEvidenceDoesNotOvertake(t *testing.T) {
	s := newSite(t)
	s.host()
	s.update(func(tx fleet.Tx) error {
		return tx.PutChallenge(fleet.Challenge{Nonce: nonce, Host: "h1", Issued: s.clock, Deadline: s.clock.Add(time.Minute)})
	})
	good, err := s.Intake(t.Context(), "h1", nonce, zipped(t, "baseline", "1000.00 1.00\n"), "")
	require.NoError(t, err)
	s.clock = s.clock.Add(time.Hour)
	h, _ := s.audit("h1", "extra-nic-norom")
	require.Equal(t, fleet.Fail, h.State)
	effect, err := s.appraise(t.Context(), fleet.Job{Kind: fleet.Appraise, Key: good.Digest})
	require.NoError(t, err)
	s.update(effect)
	require.NoError(t, s.Store.View(t.Context(), func(r fleet.Reader) error {
		h, err := r.Host("h1")
		require.Equal(t, fleet.Fail, h.State)
		require.Positive(t, h.Findings)
		rs, err2 := r.Results("h1", time.Time{}, 10)
		require.Len(t, rs, 2, "each has its result")
		return errors.Join(err, err2)
	}))
}

// G16: a result that was edited in the database, or taken out of it, shows.
func TestG16EditedResult(t *testing.T) {
	s := newSite(t)
	s.host()
	_, first := s.audit("h1", "extra-nic-norom")
	s.clock = s.clock.Add(24 * time.Hour)
	_, second := s.audit("h1", "baseline")
	require.Equal(t, first.ID, second.Prev)
	require.Empty(t, Unsealed(s.Key.Public, first))
	for name, edit := range map[string]func(*fleet.Result){
		"state":   func(r *fleet.Result) { r.State = fleet.Pass },
		"verdict": func(r *fleet.Result) { r.Verdict = assay.Pass },
		"host":    func(r *fleet.Result) { r.Host = "h2" },
		"blob":    func(r *fleet.Result) { r.Blob = second.Blob },
		"before":  func(r *fleet.Result) { r.Prev = "r-0" },
		"time":    func(r *fleet.Result) { r.At = r.At.Add(time.Hour) },
		"seal":    func(r *fleet.Result) { r.Seal = nil },
	} {
		r := *first
		edit(&r)
		require.NotEmpty(t, Unsealed(s.Key.Public, &r), name)
	}
	raw, err := s.Checkpoint(t.Context())
	require.NoError(t, err)
	_, err = auditlog.Open(raw, s.Key.Public)
	require.NoError(t, err)
}
