//go:build linux

package sandbox_test

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay/sandbox"
)

// probe is a program that enters the sandbox and tries what it is told to.
type probe struct{ path string }

// probes builds the program as releases are built, without C, and as tests are,
// where threads are those of C: each way takes another road to all threads.
func probes(t *testing.T, needs int) map[string]probe {
	t.Helper()
	if v, err := ll.LandlockGetABIVersion(); err != nil || v < needs {
		t.Skipf("needs a kernel with Landlock, interface %d; here it is %d (%v)", needs, v, err)
	}
	out := map[string]probe{"without cgo": {build(t, "probe", "0")}}
	if _, err := exec.LookPath("gcc"); err == nil {
		out["with cgo"] = probe{build(t, "probe", "1")}
	}
	return out
}

// programs is where TestMain has programs built.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "sandbox-test"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

func build(t *testing.T, name, cgo string) string {
	t.Helper()
	p := filepath.Join(programs, name+cgo)
	if _, err := os.Stat(p); err == nil {
		return p
	}
	cmd := exec.Command("go", "build", "-o", p, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "CGO_ENABLED="+cgo)
	msg, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", msg)
	return p
}

type report struct {
	Protection sandbox.Protection
	Error      string
	Tried      []map[string]string
}

func (p probe) try(t *testing.T, a sandbox.Access, n sandbox.Need, threads int, tries ...string) report {
	t.Helper()
	in, err := json.Marshal(map[string]any{"Access": a, "Need": n, "Threads": threads, "Tries": tries})
	require.NoError(t, err)
	cmd := exec.Command(p.path)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	var r report
	require.NoError(t, json.Unmarshal(out, &r))
	return r
}

// each runs a test with each of the programs: allowed has to work, refused not,
// and all of it has to work without the sandbox, so that the test shows something.
func each(t *testing.T, needs int, a sandbox.Access, allowed, refused []string, fresh func()) {
	t.Helper()
	for name, p := range probes(t, needs) {
		fresh()
		all := append(append([]string{}, allowed...), refused...)
		free := p.try(t, a, sandbox.Off, 1, all...)
		for _, s := range all {
			require.Equal(t, "ok", free.Tried[0][s], "%s, without the sandbox: %s", name, s)
		}
		fresh()
		r := p.try(t, a, sandbox.Require, 1, all...)
		require.Empty(t, r.Error, name)
		require.True(t, r.Protection.Complete())
		for _, s := range allowed {
			require.Equal(t, "ok", r.Tried[0][s], "%s: %s", name, s)
		}
		for _, s := range refused {
			require.Regexp(t, "permission denied|operation not permitted|cross-device link", r.Tried[0][s], "%s: %s", name, s)
		}
	}
}

// S01: files that nobody named cannot be read, and none is changed but where the
// output goes.
func TestFilesElsewhere(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	fresh := func() {
		require.NoError(t, os.RemoveAll(dir))
		for _, d := range []string{"in/below", "other", "out", "state", "tmp/own"} {
			require.NoError(t, os.MkdirAll(at(d), 0o700))
		}
		for _, f := range []string{"in/a", "in/below/b", "one", "other/c", "out/old", "state/s", "log"} {
			require.NoError(t, os.WriteFile(at(f), []byte("text"), 0o600))
		}
		require.NoError(t, os.Symlink(at("one"), at("link")))
	}
	fresh()
	a := sandbox.Access{
		Read: []string{at("in"), at("link"), at("nothing")}, Create: []string{at("out")}, Own: []string{at("state"), at("tmp/own")},
		Write: []string{at("log")}, Remove: []string{at("tmp")}, List: []string{at("other")},
	}
	each(t, 3, a,
		[]string{
			"read " + at("in/a"), "read " + at("in/below/b"), "list " + at("in"), "read " + at("link"), "read " + at("one"),
			"replace " + at("out/old"), "create " + at("out/new"), "read " + at("state/s"), "replace " + at("state/s"),
			"append " + at("log"), "list " + at("other"), "spool " + at("tmp/own"), "remove " + at("tmp/own"),
		},
		[]string{
			"read /etc/passwd", "list /etc", "read /proc/self/environ", "read " + at("other/c"), "append " + at("in/a"), "truncate " + at("one"), "remove " + at("in/a"),
			"create " + at("other/new"), "link " + at("out/link"), "hardlink " + at("state/hard"), "mkdir " + at("out/dir"), "truncate " + at("other/c"), "spool " + at("tmp"),
		}, fresh)
}

// S01: nobody is called, nobody can call, by no protocol.
func TestNetwork(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { tcp.Close() })
	name := "@assay-test-" + strconv.Itoa(os.Getpid())
	abstract, err := net.Listen("unix", name)
	require.NoError(t, err)
	t.Cleanup(func() { abstract.Close() })
	for _, l := range []net.Listener{tcp, abstract} {
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
	}
	each(t, 3, sandbox.Access{}, nil, []string{"dial tcp!" + tcp.Addr().String(), "dial udp!127.0.0.1:9", "dial unix!" + name, "listen"}, func() {})
}

// S01, H16: no program is started, even where its file may be read.
func TestProgramsAreNotStarted(t *testing.T) {
	program, err := exec.LookPath("true")
	require.NoError(t, err)
	program, err = filepath.EvalSymlinks(program)
	require.NoError(t, err)
	a := sandbox.Access{Read: []string{program, "/lib", "/lib64", "/usr/lib", "/dev/null"}, Write: []string{"/dev/null"}}
	each(t, 3, a, []string{"read " + program, "thread"}, []string{"run " + program}, func() {})
	for name, p := range probes(t, 3) {
		r := p.try(t, a, sandbox.Require, 1, "become "+program)
		require.Contains(t, r.Tried[0]["become "+program], "not permitted", name)
	}
}

// S01: other processes are not signalled or traced, and nothing is mounted.
func TestOtherProcesses(t *testing.T) {
	sleeper := exec.Command("sleep", "600")
	require.NoError(t, sleeper.Start())
	t.Cleanup(func() { _ = sleeper.Process.Kill(); _ = sleeper.Wait() })
	pid := strconv.Itoa(sleeper.Process.Pid)
	each(t, 3, sandbox.Access{}, nil, []string{"signal " + pid}, func() {})
	for name, p := range probes(t, 3) {
		for _, s := range []string{"trace " + pid, "mount " + t.TempDir()} {
			require.Contains(t, p.try(t, sandbox.Access{}, sandbox.Require, 1, s).Tried[0][s], "not permitted", "%s: %s", name, s)
		}
	}
}

// The threads that were there before are in it too: a goroutine may run on any.
func TestEveryThread(t *testing.T) {
	for name, p := range probes(t, 3) {
		r := p.try(t, sandbox.Access{}, sandbox.Require, 12, "read /etc/passwd", "listen")
		require.Len(t, r.Tried, 12)
		for _, tried := range r.Tried {
			require.Contains(t, tried["read /etc/passwd"], "permission denied", name)
			require.Contains(t, tried["listen"], "not permitted", name)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, p := range probes(t, 0) {
		require.Equal(t, "core 0, files 512 of 512, seconds 1800 of 1860", p.try(t, sandbox.Access{}, sandbox.Auto, 1, "limits").Tried[0]["limits"], name)
	}
}

// A crash is no verdict: exit code 2, with which the runtime ends a program, is one.
func TestCrashesAreNoVerdict(t *testing.T) {
	for name, p := range probes(t, 0) {
		for _, how := range []string{"crash", "memory"} {
			err := p.end(t, how)
			require.True(t, err.Sys().(syscall.WaitStatus).Signaled(), "%s, %s: %v", name, how, err)
			require.Equal(t, syscall.SIGABRT, err.Sys().(syscall.WaitStatus).Signal(), "%s, %s", name, how)
			require.False(t, err.Sys().(syscall.WaitStatus).CoreDump(), "%s, %s", name, how)
		}
	}
}

// An input that costs processor time without end is given up, and the process says so.
func TestProcessorTime(t *testing.T) {
	for name, p := range probes(t, 0) {
		require.Equal(t, 70, p.end(t, "burn").ExitCode(), name)
	}
}

// end runs the program in the sandbox until what it tries ends it.
func (p probe) end(t *testing.T, what string) *exec.ExitError {
	t.Helper()
	in, err := json.Marshal(map[string]any{"Need": sandbox.Auto, "Tries": []string{what}})
	require.NoError(t, err)
	cmd := exec.Command(p.path)
	cmd.Stdin = bytes.NewReader(in)
	var ended *exec.ExitError
	require.ErrorAs(t, cmd.Run(), &ended, what)
	return ended
}

// Where something cannot be had, Require says so and Auto goes on with the rest.
func TestWhatCannotBeHad(t *testing.T) {
	for name, p := range probes(t, 3) {
		// Sixteen domains are the most that a process may be in (landlock(7)).
		nested := build(t, "nested", "0")
		for _, n := range []sandbox.Need{sandbox.Auto, sandbox.Require} {
			in, err := json.Marshal(map[string]any{"Need": n, "Tries": []string{"listen"}})
			require.NoError(t, err)
			cmd := exec.Command(nested, p.path)
			cmd.Stdin = bytes.NewReader(in)
			out, err := cmd.Output()
			require.NoError(t, err)
			var r report
			require.NoError(t, json.Unmarshal(out, &r))
			require.False(t, r.Protection.Files, name)
			require.True(t, r.Protection.Calls, name)
			require.Contains(t, r.Protection.Why, "stacked rulesets", name)
			require.Contains(t, r.Tried[0]["listen"], "not permitted", name)
			require.Equal(t, n == sandbox.Require, r.Error != "", "%s %s: %s", name, n, r.Error)
		}
	}
}

func TestNeeds(t *testing.T) {
	for s, want := range map[string]sandbox.Need{"": sandbox.Auto, "auto": sandbox.Auto, "off": sandbox.Off, "require": sandbox.Require} {
		n, err := sandbox.ParseNeed(s)
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
	_, err := sandbox.ParseNeed("yes")
	require.ErrorContains(t, err, "want auto, require or off")
	p, err := sandbox.Enter(sandbox.Access{}, sandbox.Off)
	require.NoError(t, err)
	require.False(t, p.Complete())
	require.Contains(t, p.String(), "switched off")
}
