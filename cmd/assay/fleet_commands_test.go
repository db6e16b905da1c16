package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/csv"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/internal/swtpm"
)

// owners makes a key of a site's operators, and trust that lets them sign tickets
// beside what the vendor may.
func owners(t *testing.T, dir, vendorTrust string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	now := time.Now()
	tpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"Site Operators"}, CommonName: "Change Board"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tpl, tpl, &key.PublicKey, key)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	root, err := os.ReadFile(filepath.Join(vendorTrust, "root.pem"))
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "trust"), 0o755))
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for name, data := range map[string][]byte{
		"ops.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), "ops.pem": cert, "trust/ops.pem": cert, "trust/root.pem": root,
		"trust/trust.yaml": []byte("grants:\n- signer: {organization: Site Operators}\n  manufacturers: ['*']\n  classes: [ticket]\n"),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
	}
}

// desk is somebody at a desk with the commands.
type desk struct {
	t     *testing.T
	dir   string
	reach []string
	env   []string
}

func (d *desk) run(code int, args ...string) string {
	d.t.Helper()
	out, got := assayed(d.t, d.env, append(append([]string{"fleet"}, args...), d.reach...)...)
	require.Equal(d.t, code, got, "fleet %s\n%s", strings.Join(args, " "), out)
	return out
}

// commands are what an operator and an auditor do from their desks.
func commands(t *testing.T, dir string, srv *running, units []*unit, maker *swtpm.Maker) {
	t.Helper()
	session := filepath.Join(dir, "session")
	d := &desk{t: t, dir: dir, reach: []string{"--server", srv.url, "--pin", srv.pin}, env: []string{"ASSAY_PASSWORD=" + srv.password}}
	d.run(0, "login", "admin", "-o", session)
	info, err := os.Stat(session)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	d.reach = append(d.reach, "--token-file", session)

	people(d)
	agents(d, units)
	exports(d)
	offline(d, units[2])
	rebinding(d, units[1], maker)
	audited(d)
}

func people(d *desk) {
	d.env = []string{"ASSAY_PASSWORD=a long enough password"}
	d.run(0, "people", "add", "nora", "--role", "operator")
	require.Contains(d.t, d.run(0, "people", "list"), "operator  nora")
	nora := *d
	nora.reach = append(d.reach[:4:4], "--token-file", filepath.Join(d.dir, "nora"))
	d.run(0, "login", "nora", "-o", filepath.Join(d.dir, "nora"))
	asked := nora.run(0, "exception", "ask", "HW-001", "pci:0000:00:05.0", "--host", "node-2", "--reason", "card under test", "--for", "24h")
	id := regexp.MustCompile(`x-[0-9a-f]+`).FindString(asked)
	nora.run(1+73, "exception", "approve", id) // who asked may not
	d.run(0, "exception", "approve", id)
	require.Contains(d.t, nora.run(0, "exception", "list"), "granted by admin")
	require.Contains(d.t, d.run(0, "token", "rack-9", "--valid", "1h"), "assay-token.rack-9.")
	d.run(0, "people", "disable", "nora")
	nora.run(64, "exception", "list")
	require.Contains(d.t, d.run(0, "documents", "list"), "golden")
}

// agents that wait hear at once that somebody asks.
func agents(d *desk, units []*unit) {
	t := d.t
	for _, u := range units[:2] {
		cmd := assayProgram(t.Context(), "fleet", "agent", "--root", u.dir, "--tpm", u.tpm.Address, "--state", u.home, "--quiet", "--token-file", filepath.Join(d.dir, "agent-token"))
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Cancel(); _ = cmd.Wait() })
		defer func() { _ = cmd.Cancel(); _ = cmd.Wait() }()
	}
	out := d.run(0, "audit", "node-0", "node-1", "--wait", "3m")
	require.Contains(t, out, "2 machines  pass 2")
	require.Contains(t, out, "2 of 2 audited")
	require.Contains(t, d.run(1, "status", "--watch"), "3 of 3 audited", "and one fails")
	require.Contains(t, d.run(3, "audit", "node-2", "--wait", "1ms"), "did not answer", "silence is no pass")
	d.run(64, "audit")
	d.run(64, "audit", "nobody")
}

func exports(d *desk) {
	t := d.t
	file := filepath.Join(d.dir, "machines.parquet")
	d.run(0, "export", "--format", "parquet", "-o", file)
	rows, err := parquet.ReadFile[machineRow](file)
	require.NoError(t, err)
	require.Len(t, rows, 3)
	states := map[string]string{}
	for _, r := range rows {
		states[r.Name] = r.State
		require.NotNil(t, r.LastAttested)
	}
	require.Equal(t, map[string]string{"node-0": "pass", "node-1": "pass", "node-2": "fail"}, states)

	table, err := csv.NewReader(strings.NewReader(d.run(0, "export", "--what", "findings"))).ReadAll()
	require.NoError(t, err)
	require.Equal(t, "host", table[0][0])
	require.Greater(t, len(table), 1)
	var n int
	for line := range bytes.Lines([]byte(d.run(0, "export", "--what", "results", "--format", "jsonl"))) {
		var r map[string]any
		require.NoError(t, json.Unmarshal(line, &r))
		n++
	}
	require.Equal(t, 5, n, "three machines, and two of them again")
	d.run(64, "export", "--what", "everything")

	inventory := filepath.Join(d.dir, "inventory.csv")
	require.NoError(t, os.WriteFile(inventory, []byte("serial,site,owner\nS-LAB-0001,north,x\nS-NOWHERE,south,x\n"), 0o600))
	out := d.run(3, "import", inventory)
	require.Contains(t, out, "line 3: no machine has this serial number")
	require.Contains(t, out, "columns passed over: owner")
	require.Contains(t, d.run(0, "export"), "node-0,north,")
}

// offline brings evidence of a machine without a network.
func offline(d *desk, u *unit) {
	t := d.t
	out := d.run(0, "audit", "node-2", "--offline", "24h")
	nonce := regexp.MustCompile(`--nonce ([0-9a-f]+)`).FindStringSubmatch(out)[1]
	bundle := filepath.Join(d.dir, "offline.zip")
	scanned, code := assayed(t, nil, "scan", "--root", u.dir, "--tpm", u.tpm.Address, "--nonce", nonce, "--quiet", "-o", bundle)
	require.Zero(t, code, scanned)
	require.Contains(t, d.run(0, "import", bundle, "--host", "node-2"), "taken in")
	d.run(74, "import", bundle, "--host", "node-2") // the nonce is used
	require.Eventually(t, func() bool {
		return strings.Count(d.run(0, "export", "--what", "results", "--format", "jsonl"), "\n") == 6
	}, time.Minute, 200*time.Millisecond)
}

// rebinding is what has to happen after a TPM was replaced.
func rebinding(d *desk, u *unit, maker *swtpm.Maker) {
	t := d.t
	fresh, err := maker.Make("sha1,sha256,sha384")
	require.NoError(t, err)
	t.Cleanup(fresh.Close)
	token := append([]string{"enroll", "--root", u.dir, "--tpm", fresh.Address, "--state", t.TempDir(), "--name", "node-1"}, d.reach[:4]...)
	enrol := func() (string, int) {
		return assayed(t, nil, append(append([]string{"fleet"}, token...), "--token-file", filepath.Join(d.dir, "agent-token"))...)
	}
	out, code := enrol()
	require.NotZero(t, code)
	ek := regexp.MustCompile(`endorsement key ([0-9a-f]{64})`).FindStringSubmatch(out)[1]

	ticket := filepath.Join(d.dir, "rebind.json")
	d.run(0, "ticket", "rebind", "node-1", "--ek", ek, "--id", "CHG-17", "--reason", "TPM replaced", "--key", filepath.Join(d.dir, "ops.key"), "--cert", filepath.Join(d.dir, "ops.pem"), "-o", ticket)
	added := d.run(0, "documents", "add", ticket)
	id := regexp.MustCompile(`rebind host:(h-[0-9a-f]+)`).FindStringSubmatch(added)[1]
	out, code = enrol()
	require.Zero(t, code, out)
	require.Contains(t, out, id, "it is the machine that it was")
	d.run(0, "machine", "retire", "node-1", "--reason", "end of the test")
}

// audited checks the log as an auditor does.
func audited(d *desk) {
	t := d.t
	kept := filepath.Join(d.dir, "checkpoints")
	require.Contains(t, d.run(0, "log", "--checkpoints", kept, "--results"), "1 checkpoints fit; 6 results are signed")
	require.Contains(t, d.run(0, "log", "--checkpoints", kept), "2 checkpoints fit")
	raw, err := os.ReadFile(kept)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(kept, bytes.Replace(raw, []byte(`v1\n`), []byte(`v1\n1`), 1), 0o600))
	require.Contains(t, d.run(1, "log", "--checkpoints", kept), "EV-009")
}
