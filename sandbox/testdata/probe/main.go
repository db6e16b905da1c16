// Command probe enters the sandbox and tries what its input says.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/assay-hw/assay/sandbox"
)

type order struct {
	Access  sandbox.Access
	Need    sandbox.Need
	Threads int      // started before the sandbox; each tries everything
	Tries   []string // WHAT ARGUMENT
}

type report struct {
	Protection sandbox.Protection
	Error      string
	Tried      []map[string]string // of each thread: "ok", or the error
}

func main() {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		panic(err)
	}
	var r report
	begin, done := make(chan struct{}), make(chan map[string]string)
	for range max(o.Threads, 1) {
		ready := make(chan struct{})
		go func() {
			runtime.LockOSThread() // a thread that exists before
			close(ready)
			<-begin
			out := map[string]string{}
			for _, t := range o.Tries {
				out[t] = try(t)
			}
			done <- out
		}()
		<-ready
	}
	var err error
	if r.Protection, err = sandbox.Enter(o.Access, o.Need); err != nil {
		r.Error = err.Error()
	}
	close(begin)
	for range max(o.Threads, 1) {
		r.Tried = append(r.Tried, <-done)
	}
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		panic(err)
	}
}

func try(s string) string {
	what, arg, _ := strings.Cut(s, " ")
	if err := act(what, arg); err != nil {
		return err.Error()
	}
	return "ok"
}

func act(what, arg string) error {
	switch what {
	case "read":
		_, err := os.ReadFile(arg)
		return err
	case "list":
		_, err := os.ReadDir(arg)
		return err
	case "append":
		f, err := os.OpenFile(arg, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = f.WriteString("x")
		return err
	case "truncate":
		return os.Truncate(arg, 0)
	case "create":
		return os.WriteFile(arg, []byte("x"), 0o600)
	case "replace":
		if err := os.WriteFile(arg+".new", []byte("x"), 0o600); err != nil {
			return err
		}
		return os.Rename(arg+".new", arg)
	case "remove":
		return os.Remove(arg)
	case "link":
		return os.Symlink("/etc/passwd", arg)
	case "hardlink":
		return os.Link("/etc/passwd", arg)
	case "mkdir":
		return os.Mkdir(arg, 0o700)
	case "spool":
		f, err := os.CreateTemp(arg, "x")
		if err != nil {
			return err
		}
		return os.Remove(f.Name())
	case "dial":
		network, address, _ := strings.Cut(arg, "!")
		c, err := net.Dial(network, address)
		if err != nil {
			return err
		}
		return c.Close()
	case "listen":
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		return l.Close()
	case "run":
		return exec.Command(arg).Run()
	case "become":
		return syscall.Exec(arg, []string{filepath.Base(arg)}, nil)
	case "signal", "trace":
		pid, err := strconv.Atoi(arg)
		if err != nil {
			return err
		}
		if what == "trace" {
			return unix.PtraceAttach(pid)
		}
		return syscall.Kill(pid, 0)
	case "mount":
		return unix.Mount("none", arg, "tmpfs", 0, "")
	case "thread":
		c := make(chan struct{})
		for range 8 {
			go func() { runtime.LockOSThread(); <-c }()
		}
		close(c)
		return nil
	case "limits":
		var core, files, processors unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil {
			return err
		}
		if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
			return err
		}
		if err := unix.Getrlimit(unix.RLIMIT_CPU, &processors); err != nil {
			return err
		}
		return fmt.Errorf("core %d, files %d of %d, seconds %d of %d", core.Max, files.Cur, files.Max, processors.Cur, processors.Max)
	case "crash":
		if err := sandbox.AbortOnCrash(); err != nil {
			return err
		}
		panic("nobody recovers this")
	case "memory":
		if err := sandbox.AbortOnCrash(); err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: 64 << 20, Max: 64 << 20}); err != nil {
			return err
		}
		var kept [][]byte
		for {
			b := make([]byte, 32<<20)
			for i := range b {
				b[i] = 1
			}
			kept = append(kept, b)
			runtime.KeepAlive(kept)
		}
	case "burn":
		sandbox.Exhausted(func() { os.Exit(70) })
		if err := unix.Setrlimit(unix.RLIMIT_CPU, &unix.Rlimit{Cur: 1, Max: 60}); err != nil {
			return err
		}
		for { //nolint:staticcheck // until the kernel says that it is enough
			runtime.Gosched()
		}
	}
	panic("unknown: " + what)
}
