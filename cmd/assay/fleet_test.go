package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/fleet"
	"github.com/assay-hw/assay/fleet/client"
	"github.com/assay-hw/assay/internal/fixture"
	"github.com/assay-hw/assay/internal/swtpm"
	"github.com/assay-hw/assay/internal/tcglog"
)

// unit is a machine of its own: a recorded one with other numbers, and a TPM.
type unit struct {
	n    int
	dir  string // its tree
	home string // what its agent remembers
	tpm  *swtpm.TPM
	t    *testing.T
}

// newUnit makes machine n of a kind. Everything with a number has another one.
func newUnit(t *testing.T, maker *swtpm.Maker, recording string, n int) *unit {
	t.Helper()
	files, err := fixture.Machine(filepath.Join("..", ".."), recording)
	require.NoError(t, err)
	maps.DeleteFunc(files, func(p string, _ []byte) bool {
		return strings.HasPrefix(p, "tpm/") || strings.Contains(p, "/ima/") || strings.HasPrefix(p, "firmware/")
	})
	renumber(t, files, n)
	u := &unit{n: n, dir: t.TempDir(), home: t.TempDir(), t: t}
	for p, data := range files {
		p = filepath.Join(u.dir, filepath.FromSlash(p))
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, data, 0o600))
	}
	u.tpm, err = maker.Make("sha1,sha256,sha384")
	require.NoError(t, err)
	t.Cleanup(u.tpm.Close)
	l, err := tcglog.Parse(files["sys/kernel/security/tpm0/binary_bios_measurements"], tcglog.DefaultLimits())
	require.NoError(t, err)
	for i := range l.Events {
		if e := &l.Events[i]; e.Measured() {
			values := map[uint16][]byte{}
			for _, d := range e.Digests {
				values[uint16(d.Alg)] = d.Value
			}
			require.NoError(t, u.tpm.Extend(int(e.PCR), values))
		}
	}
	return u
}

// own are the numbers of the recorded machine that are its own, and those of unit
// 1 and 2, as text or as bytes. Sums stay the same where an area has a checksum.
var own = [][3]string{
	{"S-LAB-0001", "S-LAB-0010", "S-LAB-0100"},                                           // system
	{"C829LAB00001", "C829LAB00010", "C829LAB00100"},                                     // chassis
	{"LB19AS0042", "LB19AS0051", "LB19AS0060"},                                           // board
	{"\x0c\x0f\xfe\xe0\x00\x42", "\x0c\x0f\xfe\xe0\x00\x51", "\x0c\x0f\xfe\xe0\x00\x60"}, // UUID
	{"2F4A11", "2F4A21", "2F4A31"},                                                       // DIMMs
	{"ac:1f:6b:00:42:", "ac:1f:6b:00:51:", "ac:1f:6b:00:60:"},                            // network ports
	{"\x42\x00\xff\xff\x6b\x1f\xac", "\x51\x00\xff\xff\x6b\x1f\xac", "\x60\x00\xff\xff\x6b\x1f\xac"},
	{"W0M00042", "W0M00051", "W0M00060"}, // disks
	{"S4EVNX0R000042", "S4EVNX0R000051", "S4EVNX0R000060"},
}

// renumber gives a unit its own serial numbers and addresses.
func renumber(t *testing.T, files map[string][]byte, n int) {
	t.Helper()
	for _, o := range own {
		found := false
		for p, data := range files {
			found = found || bytes.Contains(data, []byte(o[0]))
			files[p] = bytes.ReplaceAll(data, []byte(o[0]), []byte(o[n]))
		}
		require.True(t, found, "no file has %q", o[0])
	}
}

// assayProgram runs this test program as assay.
func assayProgram(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Args[0] = "assay"
	cmd.Env = append(os.Environ(), "NO_COLOR=1")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}

func assayed(t *testing.T, env []string, args ...string) (string, int) {
	t.Helper()
	cmd := assayProgram(t.Context(), args...)
	cmd.Env = append(cmd.Env, env...)
	out, err := cmd.CombinedOutput()
	if e := (*exec.ExitError)(nil); err != nil && !asExit(err, &e) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func asExit(err error, e **exec.ExitError) bool {
	x, ok := err.(*exec.ExitError)
	*e = x
	return ok
}

var (
	serving  = regexp.MustCompile(`serving on (\S+)`)
	pinned   = regexp.MustCompile(`pin for agents: (\S+)`)
	password = regexp.MustCompile(`password (\S+)`)
)

// running is a server that was started.
type running struct{ url, pin, password string }

func serve(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	cmd := assayProgram(ctx, append([]string{"fleet", "serve", "--listen", "127.0.0.1:0"}, args...)...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait() // tells that it was asked to end
		require.Zero(t, cmd.ProcessState.ExitCode(), "the server ends in order")
	})
	r := &running{}
	sc := bufio.NewScanner(out)
	for r.pin == "" && sc.Scan() {
		for re, to := range map[*regexp.Regexp]*string{serving: &r.url, pinned: &r.pin, password: &r.password} {
			if m := re.FindStringSubmatch(sc.Text()); m != nil {
				*to = m[1]
			}
		}
	}
	go func() { // what it prints later must not block it
		for sc.Scan() {
		}
	}()
	require.NotEmpty(t, r.pin, "the server did not start")
	return r
}

// TestFleet is the whole thing: a server, three machines with a TPM each, one of
// them tampered with.
func TestFleet(t *testing.T) {
	if err := swtpm.Available(); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	maker := swtpm.NewMaker(dir)
	units := []*unit{newUnit(t, maker, "baseline", 0), newUnit(t, maker, "baseline", 1), newUnit(t, maker, "extra-nic-norom", 2)}
	for i, f := range maker.Roots() {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("ek-root-%d.pem", i)), raw, 0o600))
	}
	keys, err := filepath.Abs(filepath.Join("..", "..", "testdata", "keys"))
	require.NoError(t, err)
	roots := []string{}
	for i := range maker.Roots() {
		roots = append(roots, "--ek-roots", filepath.Join(dir, fmt.Sprintf("ek-root-%d.pem", i)))
	}
	owners(t, dir, filepath.Join(keys, "trust"))
	srv := serve(t, append([]string{"--tls", "--data", filepath.Join(dir, "fleet"), "--trust", filepath.Join(dir, "trust")}, roots...)...)
	session := login(t, srv)

	// The manifest is of two good units, so that it is about the model.
	golden := goldenOf(t, dir, keys, units[:2])
	require.Equal(t, http.StatusOK, post(t, srv, session, "/v1/documents", golden))
	unsigned, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	require.NoError(t, err)
	require.Equal(t, http.StatusForbidden, post(t, srv, session, "/v1/documents", unsigned), "G20: a manifest that nobody signed")

	token := agentToken(t, srv, session)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "agent-token"), []byte(token), 0o600))
	reach := []string{"--server", srv.url, "--pin", srv.pin}
	for _, u := range units {
		out, code := assayed(t, []string{"ASSAY_TOKEN=" + token}, append([]string{"fleet", "enroll", "--root", u.dir, "--tpm", u.tpm.Address, "--state", u.home, "--name", fmt.Sprintf("node-%d", u.n)}, reach...)...)
		require.Zero(t, code, out)
		out, code = assayed(t, []string{"ASSAY_TOKEN=" + token}, "fleet", "agent", "--once", "--root", u.dir, "--tpm", u.tpm.Address, "--state", u.home, "--quiet")
		require.Zero(t, code, out)
		require.Contains(t, out, "sent ")
	}
	var st fleetStatus
	require.Eventually(t, func() bool {
		out, _ := assayed(t, []string{"ASSAY_TOKEN=" + session}, append([]string{"fleet", "status", "--format", "json"}, reach...)...)
		st = fleetStatus{} // states that no machine is in any more are not in the answer
		return json.Unmarshal([]byte(out), &st) == nil && len(st.Hosts) == 3 && st.Counts.ByState[fleet.Enrolled] == 0
	}, 2*time.Minute, 500*time.Millisecond, "%+v", &st)
	// What stands against each, to see why when it is not as it should be.
	against := map[string]string{}
	for _, h := range st.Hosts {
		against[h.Name] = findings(t, srv, session, h.ID)
	}
	states := map[string]fleet.State{}
	for _, h := range st.Hosts {
		states[h.Name] = h.State
		require.False(t, h.LastAttested.IsZero(), h.Name)
	}
	require.Equal(t, fleet.Fail, states["node-2"], against["node-2"])
	require.Contains(t, against["node-2"], "HW-001")
	for name, a := range against {
		require.NotContains(t, a, "FL-001", "%s: no two machines share a number", name)
	}
	require.Equal(t, fleet.Pass, states["node-0"], against["node-0"])
	require.Equal(t, fleet.Pass, states["node-1"], against["node-1"])
	out, code := assayed(t, []string{"ASSAY_TOKEN=" + session}, append([]string{"fleet", "status"}, reach...)...)
	require.Equal(t, 1, code)
	t.Log(out)

	attacks(t, srv, units, token, reach)
	commands(t, dir, srv, units, maker)
}

// attacks are those of the field notes' group G that a client can try.
func attacks(t *testing.T, srv *running, units []*unit, token string, reach []string) {
	t.Helper()
	env := []string{"ASSAY_TOKEN=" + token}
	enrol := func(u *unit, tpm *swtpm.TPM, more ...string) (string, int) {
		return assayed(t, env, append(append([]string{"fleet", "enroll", "--root", u.dir, "--tpm", tpm.Address, "--state", t.TempDir()}, reach...), more...)...)
	}
	out, code := enrol(units[0], units[0].tpm)
	require.Zero(t, code, "a machine that enrols again is the same one: %s", out)
	out, code = enrol(units[0], units[1].tpm)
	require.NotZero(t, code)
	require.Contains(t, out, "FL-004", "G04: a known chassis with another TPM")
	out, code = assayed(t, nil, append([]string{"fleet", "enroll", "--root", units[0].dir, "--tpm", units[0].tpm.Address, "--state", t.TempDir()}, reach...)...)
	require.Equal(t, 64, code, "G05: no token, no enrolment: %s", out)
	out, code = assayed(t, env, "fleet", "status", "--server", srv.url, "--pin", srv.pin)
	require.NotZero(t, code, "G03: a token of agents reads nothing: %s", out)
	out, code = assayed(t, env, "fleet", "agent", "--once", "--state", units[0].home, "--server", srv.url, "--pin", strings.Repeat("0", 64))
	require.NotZero(t, code)
	require.Contains(t, out, "not the pinned one", "G06: another server")
	out, code = assayed(t, env, "fleet", "agent", "--once", "--state", units[0].home, "--root", units[0].dir, "--tpm", units[0].tpm.Address)
	require.Zero(t, code)
	require.Contains(t, out, "nothing is due before")
}

func goldenOf(t *testing.T, dir, keys string, units []*unit) []byte {
	t.Helper()
	var bundles []string
	for _, u := range units {
		b := filepath.Join(dir, fmt.Sprintf("unit-%d.evidence.zip", u.n))
		out, code := assayed(t, nil, "scan", "--root", u.dir, "--tpm", u.tpm.Address, "--quiet", "-o", b)
		require.Zero(t, code, out)
		bundles = append(bundles, b)
	}
	draft, signed := filepath.Join(dir, "golden.json"), filepath.Join(dir, "golden.signed.json")
	out, code := assayed(t, nil, append([]string{"golden", "draft", "-o", draft, "--scope", "model"}, bundles...)...)
	require.Zero(t, code, out)
	out, code = assayed(t, nil, "golden", "sign", draft, "--key", filepath.Join(keys, "vendor.key"), "--cert", filepath.Join(keys, "vendor.pem"), "-o", signed)
	require.Zero(t, code, out)
	raw, err := os.ReadFile(signed)
	require.NoError(t, err)
	return raw
}

func login(t *testing.T, srv *running) string {
	t.Helper()
	c, err := newTestClient(srv, "")
	require.NoError(t, err)
	c, err = c.Login(t.Context(), "admin", srv.password)
	require.NoError(t, err)
	return c.Session()
}

// findings are what stands against a machine, a line each.
func findings(t *testing.T, srv *running, session, host string) string {
	t.Helper()
	c, err := newTestClient(srv, session)
	require.NoError(t, err)
	var open []fleet.Open
	require.NoError(t, c.Do(t.Context(), http.MethodGet, "/v1/hosts/"+host+"/findings", nil, nil, &open))
	var b strings.Builder
	for _, o := range open {
		fmt.Fprintf(&b, "%s %s %s %s: want %s, got %s\n", o.Finding.Code, o.Finding.Severity, o.Finding.Subject, o.Finding.Title, o.Finding.Want, o.Finding.Got)
	}
	return b.String()
}

func newTestClient(srv *running, token string) (*client.Client, error) {
	return client.New(srv.url, token, srv.pin)
}

// post sends JSON and returns the status of the answer.
func post(t *testing.T, srv *running, session, path string, raw []byte) int {
	t.Helper()
	c, err := newTestClient(srv, session)
	require.NoError(t, err)
	err = c.Do(t.Context(), http.MethodPost, path, nil, json.RawMessage(raw), nil)
	if p, ok := err.(*client.Problem); ok {
		return p.Status
	}
	require.NoError(t, err)
	return http.StatusOK
}

func agentToken(t *testing.T, srv *running, session string) string {
	t.Helper()
	c, err := newTestClient(srv, session)
	require.NoError(t, err)
	var out struct{ Token string }
	require.NoError(t, c.Do(t.Context(), http.MethodPost, "/v1/tokens", nil, map[string]any{"name": "rack-7", "expires": time.Now().Add(time.Hour)}, &out))
	return out.Token
}
