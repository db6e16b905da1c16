package web

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/api"
	"github.com/assay-hw/assay/fleet/auditlog"
	"github.com/assay-hw/assay/fleet/blob"
	"github.com/assay-hw/assay/fleet/server"
	"github.com/assay-hw/assay/fleet/sqlite"
	"github.com/assay-hw/assay/internal/ekcert"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/tpmwire"
	"github.com/assay-hw/assay/manifest"
)

// nonce is what the recordings were taken for.
var nonce, _ = hex.DecodeString("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff")

var labTime = time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC)

const password = "correct horse battery"

// site is a server with pages, and a fleet that its own code judged.
type site struct {
	t      *testing.T
	server *server.Server
	url    string
	file   string                    // of the store
	blobs  string                    // directory
	in     map[string][]*http.Cookie // who logged in: logins are few
	clock  atomic.Int64              // seconds after labTime
}

func (s *site) now() time.Time { return labTime.Add(time.Duration(s.clock.Load()) * time.Second) }

func (s *site) later(d time.Duration) { s.clock.Add(int64(d / time.Second)) }

// newSite serves an empty fleet with people of each role.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, in: map[string][]*http.Cookie{}, file: filepath.Join(t.TempDir(), "fleet.db"), blobs: filepath.Join(t.TempDir(), "blobs")}
	st, err := sqlite.Open(t.Context(), s.file)
	require.NoError(t, err)
	t.Cleanup(func() { _ = st.Close() })
	blobs, err := blob.OpenDirectory(s.blobs)
	require.NoError(t, err)
	cfg := server.Config{Store: st, Blobs: blobs, Now: s.now, Interval: 24 * time.Hour}
	for _, n := range []string{"root-ca.pem", "issuer-ca.pem"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "testdata", "tpm", n))
		require.NoError(t, err)
		block, _ := pem.Decode(raw)
		cfg.EKDER = append(cfg.EKDER, block.Bytes)
		c, err := ekcert.Parse(block.Bytes)
		require.NoError(t, err)
		cfg.EKRoots = append(cfg.EKRoots, c)
	}
	secret, err := auditlog.NewKey(rand.Reader, "fleet.test")
	require.NoError(t, err)
	cfg.Key, err = auditlog.ReadKey(secret)
	require.NoError(t, err)
	s.server = server.New(cfg)
	for name, role := range map[string]fleet.Role{"vera": fleet.Viewer, "otto": fleet.Operator, "anna": fleet.Approver, "axel": fleet.Approver} {
		require.NoError(t, s.server.AddPerson(t.Context(), "test", name, role, password))
	}
	mux := http.NewServeMux()
	require.NoError(t, Handle(t.Context(), mux, s.server, api.New(mux, s.server, "test"), "test"))
	w := httptest.NewServer(mux)
	t.Cleanup(w.Close)
	s.url = w.URL
	return s
}

// newFleet is a site with a manifest in two revisions and machines of all sorts:
// node-1 passed and then had a card that nobody declared, node-2 says that it is
// node-1, and a rack of machines with one board, one of them with a part more.
func newFleet(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.golden()
	s.work()
	s.host("h-1", "node-1", "ams", true)
	s.audit("h-1", "baseline")
	s.rack()
	s.later(24 * time.Hour)
	s.audit("h-1", "baseline-reboot")
	s.days()
	s.later(24 * time.Hour)
	s.host("h-2", "node-2 with another board", "fra", false)
	s.audit("h-1", "extra-nic-norom")
	s.audit("h-2", "fw-patched-dxe")
	s.update(func(tx fleet.Tx) error { // who did not answer, as the schedule leaves it
		h, err := tx.Host("h-r07")
		if err != nil {
			return err
		}
		h.State, h.Since = fleet.Stale, s.now().Add(-time.Hour)
		return tx.PutHost(h)
	})
	s.exceptions()
	return s
}

// work runs the server's jobs until the test ends.
func (s *site) work() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.server.Work(ctx, 1) }()
	s.t.Cleanup(func() {
		cancel()
		require.NoError(s.t, <-done)
	})
}

func (s *site) update(f func(fleet.Tx) error) {
	s.t.Helper()
	require.NoError(s.t, s.server.Store.Update(context.Background(), f))
}

func (s *site) view(f func(fleet.Reader) error) {
	s.t.Helper()
	require.NoError(s.t, s.server.Store.View(context.Background(), f))
}

// golden drafts a manifest of the good machine, signs it in two revisions and has
// the server take both.
func (s *site) golden() {
	t := s.t
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Assay Lab Computer Inc."}, CommonName: "Signer"}, NotBefore: labTime.AddDate(-1, 0, 0), NotAfter: labTime.AddDate(5, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	root := filepath.Join(t.TempDir(), "root.pem")
	require.NoError(t, os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	s.server.Trust, err = manifest.LoadTrust([]string{root})
	require.NoError(t, err)
	files, err := fixture.Machine(filepath.Join("..", ".."), "baseline")
	require.NoError(t, err)
	b, err := evidence.FromFiles(files, "baseline", evidence.Limits{})
	require.NoError(t, err)
	m, _, err := assay.Draft([]*evidence.Bundle{b}, assay.DraftOptions{Now: labTime, Scope: assay.Machine})
	require.NoError(t, err)
	now := m.Components
	for version := int64(1); version <= 2; version++ {
		last := version == 2
		m.Version, m.Components = version, now
		if !last { // the older one knew a part less, and another version of one
			m.Components = slices.Clone(now[:len(now)-1])
			m.Components[2].Identity.Firmware = "0.9"
		}
		raw, err := manifest.Encode(m)
		require.NoError(t, err)
		signed, err := manifest.Sign(raw, key, []*x509.Certificate{cert})
		require.NoError(t, err)
		if last {
			_, err = s.server.AddDocument(t.Context(), server.Who{Name: "otto", Role: fleet.Operator}, signed)
			require.NoError(t, err)
			continue
		}
		s.update(func(tx fleet.Tx) error {
			return tx.PutDocument(&fleet.Document{Digest: blob.Digest(signed), Kind: "golden", Name: m.ID, Version: version, Signers: []string{"Signer"}, Added: labTime.AddDate(0, -3, 0), By: "otto", Retired: labTime.AddDate(0, -1, 0), Raw: signed})
		})
	}
}

// host is the recorded machine as it was enrolled; its TPM is not here. Another
// one has keys that are not those of the recording.
func (s *site) host(id, name, where string, own bool) {
	t := s.t
	files, err := fixture.Machine(filepath.Join("..", ".."), "baseline")
	require.NoError(t, err)
	ak, err := tpmwire.ParsePublic(files["tpm/ak.pub"])
	require.NoError(t, err)
	akName, err := ak.Name()
	require.NoError(t, err)
	ek, err := tpmwire.ParsePublic(files["tpm/ek.pub"])
	require.NoError(t, err)
	h := &fleet.Host{
		ID: id, Name: name, Site: where, Mode: fleet.ByAgent, Interval: 24 * time.Hour, NextDue: s.now(), EnrolledAt: s.now(), State: fleet.Enrolled, Since: s.now(),
		Identity: fleet.Identity{EKSHA256: ekcert.KeyHash(ek.Key), AKName: hex.EncodeToString(akName), Chassis: fleet.Chassis{Manufacturer: "Assay Lab Computer Inc.", Product: "AL-2000", Serial: "LAB-" + id}},
	}
	if !own {
		h.Identity.EKSHA256 = strings.Repeat("ab", 32)
	}
	s.update(func(tx fleet.Tx) error { return tx.PutHost(h) })
}

// audit has a machine answer with a recording, and waits until it is judged.
func (s *site) audit(host, name string, change ...func(map[string][]byte)) {
	t := s.t
	t.Helper()
	files, err := fixture.Machine(filepath.Join("..", ".."), name)
	require.NoError(t, err)
	files["proc/uptime"] = fmt.Appendf(nil, "%d.00 1.00\n", 1000+s.clock.Load())
	for _, f := range change {
		f(files)
	}
	zip, err := fixture.Zip(files)
	require.NoError(t, err)
	s.update(func(tx fleet.Tx) error { // recordings share their nonce
		return tx.PutChallenge(fleet.Challenge{Nonce: nonce, Host: host, Issued: s.now(), Deadline: s.now().Add(time.Minute)})
	})
	e, err := s.server.Intake(t.Context(), host, nonce, zip, "")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		status := fleet.Accepted
		s.view(func(r fleet.Reader) error {
			got, err := r.Evidence(e.Digest)
			if err == nil {
				status = got.Status
			}
			return err
		})
		return status == fleet.Appraised
	}, time.Minute, 20*time.Millisecond, "the evidence was not judged")
}

// rack is twelve machines with one board that passed, one with a part more.
func (s *site) rack() {
	p := fleet.Profile{ID: "7261636b00000000", Name: "Example Corp. R640"}
	s.update(func(tx fleet.Tx) error {
		for i := range 12 {
			h := &fleet.Host{
				ID: fmt.Sprintf("h-r%02d", i), Name: fmt.Sprintf("rack-%02d", i), Site: "ams", Mode: fleet.ByAgent, State: fleet.Pass, Since: s.now(), EnrolledAt: s.now(), LastSeen: s.now(), LastAttested: s.now().Add(-time.Duration(i) * time.Hour),
				NextDue: s.now().Add(240 * time.Hour), Interval: 240 * time.Hour, Profile: p.ID, Level: "L4",
			}
			h.Identity = fleet.Identity{EKSHA256: fmt.Sprintf("%064d", i), AKName: "000b", Chassis: fleet.Chassis{Manufacturer: "Example Corp.", Product: "R640", Serial: fmt.Sprintf("S%04d", i)}}
			keys := []string{"part nic Example 10G x1", "part memory Example 32G x16", "firmware part bios: " + fmt.Sprint(1+i%2), "pcr 0 " + strings.Repeat("0a", 32)}
			if i == 11 {
				keys = append(keys, "part pci 1d6a:00b1 x1")
			}
			if err := tx.PutHost(h); err != nil {
				return err
			}
			if err := tx.PutFeatures(h.ID, p, keys); err != nil {
				return err
			}
		}
		return nil
	})
}

// days are the counts of the three weeks before.
func (s *site) days() {
	s.update(func(tx fleet.Tx) error {
		for i := range 21 {
			c := fleet.Counts{At: s.now().AddDate(0, 0, i-20), ByState: map[fleet.State]int64{fleet.Pass: 12, fleet.Stale: int64(i % 4), fleet.Review: int64(i / 9)}}
			if i > 15 {
				c.ByState[fleet.Fail] = 1
			}
			if err := tx.PutCounts(c); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *site) exceptions() {
	x, err := s.server.AskException(context.Background(), server.Who{Name: "anna", Role: fleet.Approver}, fleet.Exception{Code: finding.CohortOutlier, Subject: "fleet:part pci 1d6a:00b1 x1", Host: "h-r11", Reason: "a card under test", Expires: s.now().AddDate(0, 0, 5)})
	require.NoError(s.t, err)
	require.NoError(s.t, s.server.Approve(context.Background(), server.Who{Name: "axel", Role: fleet.Approver}, x.ID))
	_, err = s.server.AskException(context.Background(), server.Who{Name: "anna", Role: fleet.Approver}, fleet.Exception{Code: finding.UnexpectedComponent, Subject: "pci:0000:09:00.0", Host: "h-1", Reason: "the card of ticket 2041", Expires: s.now().AddDate(0, 1, 0)})
	require.NoError(s.t, err)
}

// browser is somebody who is logged in, without any script.
type browser struct {
	s      *site
	client *http.Client
}

func (s *site) as(name string) *browser {
	s.t.Helper()
	jar := &cookies{}
	b := &browser{s, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	if jar.all = s.in[name]; name != "" && jar.all == nil {
		code, _, head := b.post("/login", url.Values{"name": {name}, "password": {password}})
		require.Equal(s.t, http.StatusSeeOther, code)
		require.Equal(s.t, "/", head.Get("Location"))
		s.in[name] = jar.all
	}
	return b
}

// cookies keeps what the server set, whatever the address.
type cookies struct{ all []*http.Cookie }

func (c *cookies) SetCookies(_ *url.URL, cs []*http.Cookie) { c.all = cs }
func (c *cookies) Cookies(*url.URL) []*http.Cookie          { return c.all }

func (b *browser) do(req *http.Request) (int, string, http.Header) {
	t := b.s.t
	t.Helper()
	res, err := b.client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return res.StatusCode, string(raw), res.Header
}

func (b *browser) get(path string) (int, string, http.Header) {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodGet, b.s.url+path, nil)
	require.NoError(b.s.t, err)
	return b.do(req)
}

// page gets one that has to be there.
func (b *browser) page(path string) string {
	b.s.t.Helper()
	code, body, _ := b.get(path)
	require.Equal(b.s.t, http.StatusOK, code, "%s: %s", path, body)
	return body
}

func (b *browser) post(path string, form url.Values) (int, string, http.Header) {
	b.s.t.Helper()
	req, err := http.NewRequestWithContext(b.s.t.Context(), http.MethodPost, b.s.url+path, strings.NewReader(form.Encode()))
	require.NoError(b.s.t, err)
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	return b.do(req)
}

// resultOf is the id of the last result of a machine.
func (s *site) resultOf(host string) (id string) {
	s.view(func(r fleet.Reader) error {
		h, err := r.Host(host)
		if err == nil {
			id = h.Result
		}
		return err
	})
	require.NotEmpty(s.t, id)
	return id
}
