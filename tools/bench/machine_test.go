package bench

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/softtpm"
	"github.com/assay-hw/assay/internal/tcglog"
	"github.com/assay-hw/assay/internal/tpmwire"
	"github.com/assay-hw/assay/manifest"
)

// root is the module that is measured.
var root = filepath.Join("..", "..")

// then is when the recorded machine was up.
var then = time.Date(2026, 1, 16, 0, 0, 0, 0, time.UTC)

const logAt = "sys/kernel/security/tpm0/binary_bios_measurements"

// fleet is machines of several boards, each board with a manifest; all that they are
// held against.
type fleet struct {
	ca    *softtpm.Maker
	key   crypto.Signer
	chain []*x509.Certificate
	trust *manifest.Trust
	roots [][]byte
	board map[int]*board
	rsa   bool // attestation keys
	image bool // evidence with images of the firmware
}

// board is what machines of a kind have alike.
type board struct {
	files  map[string][]byte
	regs   map[tpmwire.Algorithm]softtpm.Registers
	golden []byte
}

// unit is one machine.
type unit struct {
	*board
	fleet    *fleet
	tpm      *softtpm.TPM
	enrolled []attest.Endorsement
}

func newFleet(b testing.TB, rsa, image bool) *fleet {
	b.Helper()
	ca, err := softtpm.NewMaker("Test TPM maker", then)
	require.NoError(b, err)
	f := &fleet{ca: ca, board: map[int]*board{}, rsa: rsa, image: image, roots: [][]byte{ca.Certificate.Raw}}
	keys := filepath.Join(root, "testdata", "keys")
	block := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(keys, name))
		require.NoError(b, err)
		p, _ := pem.Decode(raw)
		return p.Bytes
	}
	k, err := x509.ParsePKCS8PrivateKey(block("vendor.key"))
	require.NoError(b, err)
	c, err := x509.ParseCertificate(block("vendor.pem"))
	require.NoError(b, err)
	f.key, f.chain = k.(crypto.Signer), []*x509.Certificate{c}
	f.trust, err = manifest.LoadTrust([]string{filepath.Join(keys, "trust", "root.pem")})
	require.NoError(b, err)
	return f
}

// of gives a board, made when it is first asked for.
func (f *fleet) of(b testing.TB, n int) *board {
	if x := f.board[n]; x != nil {
		return x
	}
	files, err := fixture.Machine(root, "baseline")
	require.NoError(b, err)
	maps.DeleteFunc(files, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "tpm/") && p != "tpm/properties.json" || strings.Contains(p, "/ima/") || strings.HasPrefix(p, "firmware/") && !f.image || p == evidence.IndexName
	})
	for p, data := range files {
		for old, as := range map[string]string{"SYS-6029LAB": fmt.Sprintf("SYS-%04dLAB", 6000+n), "X11LAB-DRi": fmt.Sprintf("X%02dLAB-DRi", 11+n), "CSE-829UTQ-R000": fmt.Sprintf("CSE-829UTQ-R%03d", n)} {
			data = bytes.ReplaceAll(data, []byte(old), []byte(as))
		}
		files[p] = data
	}
	files["proc/uptime"] = []byte("300.00 280.00\n")
	l, err := tcglog.Parse(files[logAt], tcglog.DefaultLimits())
	require.NoError(b, err)
	x := &board{files: files, regs: softtpm.Replay(l)}
	files["tpm/pcrs.json"], err = json.Marshal(softtpm.Listing(x.regs))
	require.NoError(b, err)
	f.board[n] = x
	m, _, err := assay.Draft([]*evidence.Bundle{f.unit(b, n, 1).scan(b, 0), f.unit(b, n, 2).scan(b, 0)}, assay.DraftOptions{Now: then, Scope: assay.Model})
	require.NoError(b, err)
	raw, err := manifest.Encode(m)
	require.NoError(b, err)
	x.golden, err = manifest.Sign(raw, f.key, f.chain)
	require.NoError(b, err)
	return x
}

// unit makes a machine of a board.
func (f *fleet) unit(b testing.TB, board, serial int) *unit {
	make := f.ca.TPM
	if f.rsa {
		make = f.ca.RSATPM
	}
	t, err := make(int64(serial) + 2)
	require.NoError(b, err)
	name, err := t.Name()
	require.NoError(b, err)
	return &unit{board: f.of(b, board), fleet: f, tpm: t, enrolled: []attest.Endorsement{{Kind: "ak", Name: hex.EncodeToString(name)}}}
}

func nonce(n int) []byte { return fmt.Appendf(nil, "nonce %026d", n) }

// scan is the n-th scan of a machine, read; one quote of SHA-256.
func (u *unit) scan(b testing.TB, n int) *evidence.Bundle {
	w := evidence.NewWriter(evidence.Index{
		Collector: evidence.Collector{Name: "assay", Version: "bench"}, CollectedAt: then.Add(time.Duration(n) * time.Second), Nonce: hex.EncodeToString(nonce(n)), Mode: evidence.Mode{Root: true},
	}, evidence.Limits{})
	for _, files := range []map[string][]byte{u.files, u.tpm.Files(), {"proc/uptime": fmt.Appendf(nil, "%d.00 1.00\n", 300+n)}} {
		for p, data := range files {
			if p == "proc/uptime" && len(files) > 1 {
				continue
			}
			require.NoError(b, w.Add(p, data, ""))
		}
	}
	d, err := w.Digest()
	require.NoError(b, err)
	q := evidence.QualifyingData(nonce(n), d)
	a, sig, err := u.tpm.Quote(q[:], tpmwire.SHA256, 0xffffff, u.regs[tpmwire.SHA256], softtpm.Clock{Milliseconds: uint64(600_000 + n), Resets: 5})
	require.NoError(b, err)
	require.NoError(b, w.Add("tpm/quote-sha256.attest", a, ""))
	require.NoError(b, w.Add("tpm/quote-sha256.sig", sig, ""))
	bundle, err := w.Bundle()
	require.NoError(b, err)
	return bundle
}

// ask is the case of the n-th scan.
func (u *unit) ask(e *evidence.Bundle, n int) assay.Case {
	return assay.Case{
		Evidence: e, Golden: [][]byte{u.golden}, Trust: u.fleet.trust, EKRoots: u.fleet.roots, Enrolled: u.enrolled, Nonce: nonce(n), Now: then.Add(time.Duration(n)*time.Second + time.Minute),
	}
}
