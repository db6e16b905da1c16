package sandbox

import (
	"errors"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// What is needed to read, and to put files in place as package internal/outfile
// does it: a new one, renamed over the old one.
const (
	readFile = ll.AccessFSReadFile
	list     = ll.AccessFSReadDir
	write    = ll.AccessFSWriteFile | ll.AccessFSTruncate
	create   = write | ll.AccessFSMakeReg | ll.AccessFSRemoveFile
	own      = readFile | list | create | ll.AccessFSMakeDir | ll.AccessFSRemoveDir
	ofFiles  = readFile | write
)

func enter(a Access) Protection {
	var p Protection
	var why []error
	if err := limit(); err != nil {
		why = append(why, err)
	} else {
		p.Limits = true
	}
	if v, err := ll.LandlockGetABIVersion(); err != nil {
		why = append(why, errors.New("Landlock: "+err.Error()))
	} else if err := landlock.V11.BestEffort().Restrict(rules(a)...); err != nil {
		why = append(why, err)
	} else {
		p.Landlock, p.Files, p.Ports, p.Scope = v, v > 0, v >= 4, v >= 6
	}
	if err := filter(); err != nil {
		why = append(why, err)
	} else {
		p.Calls = true
	}
	if err := errors.Join(why...); err != nil {
		p.Why = strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	return p
}

func rules(a Access) []landlock.Rule {
	var out []landlock.Rule
	for _, r := range []struct {
		rights landlock.AccessFSSet
		paths  []string
	}{
		{readFile | list, a.Read},
		{list, a.List},
		{write, a.Write},
		{create, a.Create},
		{own, a.Own},
		{ll.AccessFSRemoveDir, a.Remove},
	} {
		for _, path := range r.paths {
			info, err := os.Stat(path)
			if err != nil {
				continue // the command finds out and says so
			}
			rights := r.rights
			if !info.IsDir() {
				rights &= ofFiles
			}
			if rule := landlock.PathAccess(rights, path); rights != 0 && accepted(rule) {
				out = append(out, rule)
			}
		}
	}
	return out
}

// accepted tries a rule alone: the kernel takes none for pipes, sockets and other
// files without a name, which it does not refuse either.
func accepted(r landlock.Rule) bool {
	fd, _, err := landlock.V11.BestEffort().NewRulesetFD(r)
	if err == nil && fd >= 0 {
		_ = unix.Close(fd)
	}
	return err == nil
}

// The limits of a process that parses. Memory is a mark at which the collector
// works harder, not a wall. Where the time of the processors is over, the kernel
// sends SIGXCPU, which the process may say something about, and later kills.
const (
	openFiles    = 512
	memoryBytes  = 4 << 30
	graceSeconds = 60
)

func limit() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return errors.New("no core dumps: " + err.Error())
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return errors.New("open files: " + err.Error())
	}
	l.Max = min(l.Max, openFiles)
	l.Cur = l.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &l); err != nil {
		return errors.New("open files: " + err.Error())
	}
	if err := limitProcessors(); err != nil {
		return errors.New("processor time: " + err.Error())
	}
	if debug.SetMemoryLimit(-1) == math.MaxInt64 { // GOMEMLIMIT is the operator's word
		debug.SetMemoryLimit(memoryBytes)
	}
	return nil
}

// limitProcessors counts from now on: what was used before does not matter. A
// limit that the operator set stays when it is lower.
func limitProcessors() error {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		return err
	}
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CPU, &l); err != nil {
		return err
	}
	soft := uint64(used.Utime.Sec+used.Stime.Sec) + uint64(ProcessorTime.Seconds())
	l.Cur, l.Max = min(l.Cur, soft), min(l.Max, soft+graceSeconds)
	return unix.Setrlimit(unix.RLIMIT_CPU, &l)
}

func exhausted(f func()) {
	over := make(chan os.Signal, 1)
	signal.Notify(over, unix.SIGXCPU)
	go func() {
		<-over
		f()
	}()
}

func abortOnCrash() error {
	// SIGABRT makes a core dump, and memory holds keys.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return err
	}
	debug.SetTraceback("crash")
	return nil
}
