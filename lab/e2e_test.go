package lab

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/pe"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/u-root/u-root/pkg/cpio"

	"github.com/assay-hw/assay/image"
	"github.com/assay-hw/assay/image/layout"
	"github.com/assay-hw/assay/internal/swtpm"
	"github.com/assay-hw/assay/internal/uki"
)

// server is what all scenarios share: the programs, the stick, the machine that
// the manifest is about, and the manifests.
type server struct {
	dir, program, stub string
	stick              *Stick
	reference          *Machine
	maker              *swtpm.Maker
	serverKey          func(*testing.T) (*x509.Certificate, crypto.Signer)
	golden, scanner    string
	trust              string
	mu                 sync.Mutex
	table              [][]string
}

// result is what is looked at in a verdict.
type result struct {
	Verdict   string
	Assurance struct {
		Level, Collector, Statement string
		Sealed, Quoted, KeyBound    bool
	}
	Findings []struct {
		Code, Severity, Confidence, Subject, Got, Why string
		Location                                      struct{ Slot, Designator string }
	}
	Incidents  []struct{ Code string }
	NotChecked []struct{ What, Reason string }
	exit       int
}

func (r *result) codes() []string {
	var out []string
	for _, f := range r.Findings {
		if f.Severity != "info" && f.Severity != "low" {
			out = append(out, f.Code)
		}
	}
	for _, i := range r.Incidents {
		out = append(out, i.Code)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// TestWholeMachines boots real machines from our own stick. It takes minutes, so
// that it runs only when it is asked for: make e2e.
func TestWholeMachines(t *testing.T) {
	if os.Getenv("ASSAY_E2E") == "" {
		t.Skip("boots whole machines for minutes; make e2e runs it")
	}
	require.NoError(t, Available())
	s := prepare(t)
	t.Cleanup(func() { s.print(t) })
	t.Run("scenarios", func(t *testing.T) {
		for name, scenario := range map[string]func(*testing.T, *server){
			"clean machine, then a reboot":    cleanAndReboot,
			"card without option ROM":         cardWithoutROM,
			"card with option ROM":            cardWithROM,
			"driver changed in the firmware":  patchedDriver,
			"another TPM":                     anotherTPM,
			"initial file system was changed": tamperedScanner,
			"Secure Boot with a signed stick": secureBoot,
			"verdict at the machine":          verdictAtTheMachine,
			"evidence sent to a server":       sentToServer,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				scenario(t, s)
			})
		}
	})
}

func prepare(t *testing.T) *server {
	s := &server{dir: t.TempDir(), stub: stubFile}
	s.program = filepath.Join(s.dir, "assay")
	for _, name := range []string{"assay", layout.ScannerProgram, layout.SenderProgram} {
		b, err := os.ReadFile(filepath.Join("..", "bin", name))
		require.NoError(t, err, "make build makes the programs")
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, name), b, 0o700))
	}
	s.keys(t)
	s.maker = swtpm.NewMaker(filepath.Join(s.dir, "maker"))
	stick := filepath.Join(s.dir, "scanner.img")
	s.scanner = stick + ".golden.json"
	s.run(t, 0, "image", "build", "-o", stick, "--cmdline", cmdline, "--key", s.file("release.key"), "--cert", s.file("release.pem"))
	s.twoBuildsAreEqual(t)
	var err error
	s.stick, err = OpenStick(stick)
	require.NoError(t, err)
	s.reference, err = New(filepath.Join(s.dir, "reference"), s.maker)
	require.NoError(t, err)
	boot := s.boot(t, s.reference, s.stick, nonce(t))
	draft := s.file("draft.json")
	s.golden = s.file("golden.json")
	s.run(t, 0, "golden", "draft", boot.Bundle, "-o", draft)
	s.run(t, 0, "golden", "sign", draft, "--key", s.file("vendor.key"), "--cert", s.file("vendor.pem"), "-o", s.golden)
	return s
}

// cmdline is the scanner's own, for an emulated processor: its timer is too slow
// for a check that the kernel makes.
const cmdline = image.DefaultCmdline + " no_timer_check"

func (s *server) file(name string) string { return filepath.Join(s.dir, name) }

// Equal inputs give equal bytes: everything but the signed reference, which
// holds a time.
func (s *server) twoBuildsAreEqual(t *testing.T) {
	var built [2][]byte
	for i := range built {
		out := s.file(fmt.Sprintf("again-%d.img", i))
		s.run(t, 0, "image", "build", "-o", out, "--cmdline", cmdline)
		b, err := os.ReadFile(out)
		require.NoError(t, err)
		require.NoError(t, os.Remove(out))
		built[i] = b
	}
	require.True(t, bytes.Equal(built[0], built[1]), "two builds of the same inputs differ")
}

func (s *server) run(t *testing.T, exit int, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(s.program, args...)
	var out, msg bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &msg
	err := cmd.Run()
	code := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		code = e.ExitCode()
	} else {
		require.NoError(t, err)
	}
	if exit >= 0 {
		require.Equal(t, exit, code, "%v\n%s\n%s", args, out.Bytes(), msg.Bytes())
	}
	return append(out.Bytes(), fmt.Sprintf("\x00%d", code)...)
}

func (s *server) boot(t *testing.T, m *Machine, stick *Stick, nonce string) *Run {
	t.Helper()
	run, err := m.Boot(context.Background(), stick, nonce)
	require.NoError(t, err)
	return run
}

func nonce(t *testing.T) string {
	b := make([]byte, 32)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return hex.EncodeToString(b)
}

// try boots a machine and verifies what it gives against the manifests.
func (s *server) try(t *testing.T, name string, m *Machine, stick *Stick, policy string, golden ...string) *result {
	t.Helper()
	n := nonce(t)
	run := s.boot(t, m, stick, n)
	args := []string{"verify", run.Bundle, "--trust", s.trust, "--nonce", n, "--policy", policy, "--format", "json"}
	for _, r := range s.maker.Roots() {
		args = append(args, "--ek-roots", r)
	}
	for _, g := range golden {
		args = append(args, "--golden", g)
	}
	return s.verdict(t, name, run, args...)
}

// verdict runs a command that appraises what a boot gave.
func (s *server) verdict(t *testing.T, name string, run *Run, args ...string) *result {
	t.Helper()
	out := s.run(t, -1, args...)
	raw, code, _ := bytes.Cut(out, []byte{0})
	r := &result{}
	require.NoError(t, json.Unmarshal(raw, r), "%s", out)
	_, err := fmt.Sscan(string(code), &r.exit)
	require.NoError(t, err)
	s.mu.Lock()
	s.table = append(s.table, []string{name, r.Verdict, r.Assurance.Collector, strings.Join(r.codes(), " "), fmt.Sprintf("%.0f s", run.Took.Seconds())})
	s.mu.Unlock()
	if keep := os.Getenv("ASSAY_E2E_KEEP"); keep != "" {
		require.NoError(t, copyFile(filepath.Join(keep, strings.ReplaceAll(name, " ", "-")+".evidence.zip"), run.Bundle))
		require.NoError(t, os.WriteFile(filepath.Join(keep, strings.ReplaceAll(name, " ", "-")+".json"), raw, 0o600))
		require.NoError(t, copyFile(filepath.Join(keep, strings.ReplaceAll(name, " ", "-")+".serial"), run.Serial))
	}
	return r
}

func (s *server) print(t *testing.T) {
	slices.SortFunc(s.table, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "scenario\tverdict\tcollector\tcodes\ttime")
	for _, row := range s.table {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	_ = w.Flush()
	t.Logf("\n%s", b.String())
}

func (s *server) twin(t *testing.T) *Machine {
	m, err := s.reference.Twin(s.sub(t))
	require.NoError(t, err)
	return m
}

// sub makes a directory whose path has no character that QEMU reads as its own.
func (s *server) sub(t *testing.T) string {
	d, err := os.MkdirTemp(s.dir, "machine-")
	require.NoError(t, err)
	return d
}

func (r *result) has(t *testing.T, code string) {
	t.Helper()
	require.Contains(t, r.codes(), code)
}

func cleanAndReboot(t *testing.T, s *server) {
	m := s.twin(t)
	for _, name := range []string{"clean", "reboot"} {
		r := s.try(t, name, m, s.stick, "strict", s.golden, s.scanner)
		require.Equal(t, "pass", r.Verdict, "%+v", r)
		require.Equal(t, 0, r.exit)
		require.Equal(t, "attested", r.Assurance.Collector)
		require.True(t, r.Assurance.Sealed && r.Assurance.Quoted && r.Assurance.KeyBound, "%+v", r.Assurance)
	}
}

func cardWithoutROM(t *testing.T, s *server) {
	m := s.twin(t)
	m.Add = []string{"e1000e,bus=rp6,romfile=,mac=52:54:00:00:00:09"}
	r := s.try(t, "card without ROM", m, s.stick, "default", s.golden, s.scanner)
	require.Equal(t, "fail", r.Verdict)
	r.has(t, "HW-001")
	require.Equal(t, "attested", r.Assurance.Collector)
	slot := ""
	for _, f := range r.Findings {
		if f.Code == "HW-001" && strings.HasPrefix(f.Subject, "pci:") {
			slot = f.Location.Slot
		}
	}
	require.Contains(t, slot, "SLOT6", "the technician is told which slot to open")
}

func cardWithROM(t *testing.T, s *server) {
	m := s.twin(t)
	m.Add = []string{"e1000e,bus=rp6,mac=52:54:00:00:00:09"}
	r := s.try(t, "card with ROM", m, s.stick, "default", s.golden, s.scanner)
	require.Equal(t, "fail", r.Verdict)
	r.has(t, "HW-001")
	r.has(t, "IC-01")
	require.Equal(t, "unattested", r.Assurance.Collector, "code from the card ran before the scanner")
}

func patchedDriver(t *testing.T, s *server) {
	code, err := os.ReadFile(ovmfCode)
	require.NoError(t, err)
	patched, err := PatchDriver(code)
	require.NoError(t, err)
	m := s.twin(t)
	m.Code = filepath.Join(m.Dir, "code.fd")
	require.NoError(t, os.WriteFile(m.Code, patched, 0o600))
	r := s.try(t, "patched driver", m, s.stick, "default", s.golden, s.scanner)
	require.Equal(t, "fail", r.Verdict)
	r.has(t, "MB-003")
	var named []string
	for _, f := range r.Findings {
		if f.Code == "FW-002" {
			named = append(named, f.Subject+" "+f.Why)
		}
	}
	require.Len(t, named, 1, "one driver was changed")
	require.Contains(t, named[0], "QemuVideoDxe", "and it is named")
	require.Equal(t, "unattested", r.Assurance.Collector, "unknown firmware started the scanner")
}

func anotherTPM(t *testing.T, s *server) {
	m, err := New(s.sub(t), s.maker)
	require.NoError(t, err)
	r := s.try(t, "another TPM", m, s.stick, "default", s.golden, s.scanner)
	require.Equal(t, "fail", r.Verdict)
	r.has(t, "TP-002")
	require.Equal(t, "unattested", r.Assurance.Collector)
}

// tamperedScanner adds a file to the initial file system of the stick, where a
// program that lies would be.
func tamperedScanner(t *testing.T, s *server) {
	boot, err := s.stick.BootFile()
	require.NoError(t, err)
	f, err := pe.NewFile(bytes.NewReader(boot))
	require.NoError(t, err)
	stub, err := os.ReadFile(s.stub)
	require.NoError(t, err)
	var sections []uki.Section
	for _, x := range f.Sections {
		if !slices.Contains([]string{".osrel", ".cmdline", ".uname", ".linux", ".initrd"}, x.Name) {
			continue
		}
		data, err := x.Data()
		require.NoError(t, err)
		data = data[:x.VirtualSize]
		if x.Name == ".initrd" {
			data = append(bytes.Clone(data), make([]byte, -len(data)&3)...)
			data = append(data, extraFile(t)...)
		}
		sections = append(sections, uki.Section{Name: x.Name, Data: data})
	}
	changed, err := uki.Assemble(stub, sections)
	require.NoError(t, err)
	stick, err := s.stick.Replace(filepath.Join(t.TempDir(), "tampered.img"), changed)
	require.NoError(t, err)
	r := s.try(t, "tampered scanner", s.twin(t), stick, "default", s.golden, s.scanner)
	require.Equal(t, "fail", r.Verdict)
	r.has(t, "EV-004")
	require.Equal(t, "unattested", r.Assurance.Collector)
}

func extraFile(t *testing.T) []byte {
	var b bytes.Buffer
	w := cpio.Newc.Writer(&b)
	require.NoError(t, cpio.WriteRecords(w, []cpio.Record{cpio.StaticFile("etc/implant", "here", 0o755)}))
	require.NoError(t, cpio.WriteTrailer(w))
	return b.Bytes()
}

// secureBoot signs the stick with a key that the firmware has enrolled. The
// kernel is locked down then: the firmware's flash cannot be read, and that is
// said.
func secureBoot(t *testing.T, s *server) {
	key := filepath.Join(t.TempDir(), "db.key")
	msg, err := exec.Command("openssl", "rsa", "-in", snakeoilKey, "-passin", "pass:snakeoil", "-out", key).CombinedOutput()
	require.NoError(t, err, "%s", msg)
	file := filepath.Join(t.TempDir(), "signed.img")
	s.run(t, 0, "image", "build", "-o", file, "--cmdline", cmdline, "--sb-key", key, "--sb-cert", snakeoilCert,
		"--key", s.file("release.key"), "--cert", s.file("release.pem"))
	stick, err := OpenStick(file)
	require.NoError(t, err)
	m, err := New(s.sub(t), s.maker)
	require.NoError(t, err)
	m.Secure, m.Code, m.Vars = true, secureBootCode, snakeoilVars
	first := s.boot(t, m, stick, nonce(t))
	draft, golden := filepath.Join(m.Dir, "draft.json"), filepath.Join(m.Dir, "golden.json")
	s.run(t, 0, "golden", "draft", first.Bundle, "-o", draft)
	s.run(t, 0, "golden", "sign", draft, "--key", s.file("vendor.key"), "--cert", s.file("vendor.pem"), "-o", golden)
	r := s.try(t, "Secure Boot", m, stick, "default", golden, file+".golden.json")
	require.Equal(t, "pass", r.Verdict, "%+v", r)
	require.Equal(t, "attested", r.Assurance.Collector)
	require.True(t, slices.ContainsFunc(r.NotChecked, func(n struct{ What, Reason string }) bool { return strings.Contains(n.What, "firmware/bios.rom") }), "%+v", r.NotChecked)
}

// verdictAtTheMachine takes manifests along: the scanner shows the verdict on
// its consoles, for somebody who stands there.
func verdictAtTheMachine(t *testing.T, s *server) {
	file := filepath.Join(s.sub(t), "judge.img")
	args := []string{"image", "build", "-o", file, "--cmdline", cmdline, "--golden", s.golden, "--trust", s.trust, "--key", s.file("release.key"), "--cert", s.file("release.pem")}
	for _, r := range s.maker.Roots() {
		args = append(args, "--ek-roots", r)
	}
	s.run(t, 0, args...)
	stick, err := OpenStick(file)
	require.NoError(t, err)
	m := s.twin(t)
	m.Add = []string{"e1000e,bus=rp6,romfile=,mac=52:54:00:00:00:09"}
	r := s.try(t, "verdict at the machine", m, stick, "default", s.golden, file+".golden.json")
	require.Equal(t, "fail", r.Verdict)
	require.Equal(t, "attested", r.Assurance.Collector)
	shown, err := os.ReadFile(filepath.Join(m.Dir, "serial.log"))
	require.NoError(t, err)
	for _, text := range []string{"SLOT6", "HW-001", "serial S-LAB-0001", "[!!] SLOT6", "switching off"} {
		require.Contains(t, string(shown), text)
	}
	_, end, _ := strings.Cut(string(shown), "Look at SLOT6")
	require.Contains(t, end, "Evidence saved on this stick: results/lab.evidence.zip", "the last screen says all that a person needs")
	require.Contains(t, end, "Press Enter to switch the machine off. It switches itself off in 2s.")
}

// sentToServer lets the stick send what it collected, through the network of the
// virtual machine, to a server on this host that only the image's roots vouch
// for. What arrives is what was saved.
func sentToServer(t *testing.T, s *server) {
	var got []byte
	arrived := make(chan struct{}, 1)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
		if err == nil && r.Method == http.MethodPost && r.URL.Path == "/intake" {
			got = body
			arrived <- struct{}{}
			fmt.Fprint(w, "received")
		}
	}))
	cert, key := s.serverKey(t)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	srv.StartTLS()
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	file := filepath.Join(s.sub(t), "send.img")
	// 10.0.2.2 is this host as the virtual machine sees it.
	s.run(t, 0, "image", "build", "-o", file, "--cmdline", cmdline, "--send", "https://10.0.2.2:"+port+"/intake", "--send-roots", filepath.Join(s.trust, "root.pem"),
		"--key", s.file("release.key"), "--cert", s.file("release.pem"))
	stick, err := OpenStick(file)
	require.NoError(t, err)
	m := s.twin(t)
	m.Net = "user,id=lan,restrict=off"
	run := s.boot(t, m, stick, nonce(t))
	require.Len(t, arrived, 1, "%s", tail(run.Serial))
	saved, err := os.ReadFile(run.Bundle)
	require.NoError(t, err)
	require.True(t, bytes.Equal(saved, got))
	shown, err := os.ReadFile(run.Serial)
	require.NoError(t, err)
	require.Contains(t, string(shown), "sent through")
	s.mu.Lock()
	s.table = append(s.table, []string{"sent to a server", "-", "-", fmt.Sprintf("%d bytes received", len(got)), fmt.Sprintf("%.0f s", run.Took.Seconds())})
	s.mu.Unlock()
}

// keys makes a vendor and a release signer under one root, and the grant that
// lets releases speak for any platform.
func (s *server) keys(t *testing.T) {
	root, rootKey := s.certify(t, "root", pkix.Name{CommonName: "Lab root"}, nil, nil)
	s.serverKey = func(t *testing.T) (*x509.Certificate, crypto.Signer) {
		return s.certify(t, "server", pkix.Name{CommonName: "Intake"}, root, rootKey)
	}
	s.trust = s.file("trust")
	require.NoError(t, os.Mkdir(s.trust, 0o755))
	require.NoError(t, os.Rename(s.file("root.pem"), filepath.Join(s.trust, "root.pem")))
	s.certify(t, "vendor", pkix.Name{CommonName: "Vendor", Organization: []string{Manufacturer}}, root, rootKey)
	s.certify(t, "release", pkix.Name{CommonName: "Release", Organization: []string{"Assay releases"}}, root, rootKey)
	const grants = "grants:\n  - signer: {organization: Assay releases}\n    manufacturers: [\"*\"]\n    classes: [\"boot:software\", scanner]\n"
	require.NoError(t, os.WriteFile(filepath.Join(s.trust, "trust.yaml"), []byte(grants), 0o600))
}

func (s *server) certify(t *testing.T, name string, subject pkix.Name, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, crypto.Signer) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	require.NoError(t, err)
	c := &x509.Certificate{SerialNumber: serial, Subject: subject, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(10, 0, 2, 2)}}
	if parent == nil {
		c.IsCA, c.KeyUsage, parent, parentKey = true, x509.KeyUsageCertSign, c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(s.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	out, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return out, key
}
