// Package sandbox lets a process give up what it does not need before it reads
// hostile input: files that it was not told of, the network, other programs,
// other processes. What the kernel cannot take away stays, and is named.
//
// It bounds what a flaw in a parser is worth. It does not hide one input from
// another, and does not undo what was done before.
package sandbox

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Access is what a process keeps of the file system. Paths that do not exist are
// passed over; links are followed once, when the process enters.
type Access struct {
	Read   []string // files, and directories with everything below
	List   []string // directories whose names may be read, and those below
	Write  []string // files that are written to where they are: devices, logs
	Create []string // directories in which files are made and replaced, but not read
	Own    []string // directories in which everything may be done but execute
	Remove []string // directories from which empty directories may be removed
}

// Need says how much of the protection has to be had.
type Need string

const (
	Off     Need = "off"     // nothing is given up
	Auto    Need = "auto"    // what the kernel can take away
	Require Need = "require" // all of it, or an error
)

// ParseNeed reads a Need. An empty text is Auto.
func ParseNeed(s string) (Need, error) {
	n := Need(s)
	if n == "" {
		return Auto, nil
	}
	if !slices.Contains([]Need{Off, Auto, Require}, n) {
		return "", fmt.Errorf("%q: want auto, require or off", s)
	}
	return n, nil
}

// ErrUnavailable is wrapped where Require asked for more than can be had.
var ErrUnavailable = errors.New("the sandbox cannot be had in full")

// ProcessorTime is what a process may use of its processors, all together, after it
// entered. The largest that there is to parse takes a few minutes.
const ProcessorTime = 30 * time.Minute

// minLandlock is the version of Landlock's interface from which on all changes to
// files can be refused: version 3 added truncation.
const minLandlock = 3

// Protection is what a process gave up.
type Protection struct {
	Landlock int    // version of the kernel's interface; 0 without
	Files    bool   // Landlock refuses files beyond the Access
	Ports    bool   // Landlock refuses TCP (version 4)
	Scope    bool   // Landlock refuses signals and abstract sockets to others (version 6)
	Calls    bool   // seccomp refuses programs, sockets, tracing, mounts
	Limits   bool   // no core dumps, few open files, bounded time
	Why      string // what kept it from more
}

// Complete reports whether nothing is missing that Require asks for.
func (p Protection) Complete() bool {
	return p.Files && p.Calls && p.Limits && p.Landlock >= minLandlock
}

// String says it in words, a line for each part.
func (p Protection) String() string {
	if p == (Protection{Why: p.Why}) {
		return "  nothing: " + p.Why + "\n"
	}
	var b strings.Builder
	line := func(what string, has bool, how string) {
		word := "no"
		if has {
			word = "yes"
		}
		fmt.Fprintf(&b, "  %-34s %-4s %s\n", what, word, how)
	}
	landlock := "Landlock is not there"
	if p.Landlock > 0 {
		landlock = fmt.Sprintf("Landlock, interface %d", p.Landlock)
	}
	line("other files refused", p.Files, landlock)
	line("network and programs refused", p.Calls, "seccomp filter")
	line("TCP refused a second way", p.Ports, "Landlock, interface 4 and later")
	line("signals to others refused twice", p.Scope, "Landlock, interface 6 and later")
	line("no core dump; files, time bounded", p.Limits, "resource limits")
	if p.Why != "" {
		fmt.Fprintf(&b, "  %s\n", p.Why)
	}
	return b.String()
}

// Enter gives up everything but what a keeps, for all threads and for good, and
// reports what the kernel took. With Require, an error wraps ErrUnavailable when
// something is missing; part of it is in force then. With Off it does nothing.
func Enter(a Access, n Need) (Protection, error) {
	if n == Off {
		return Protection{Why: "switched off"}, nil
	}
	p := enter(a)
	if n == Require && !p.Complete() {
		why := p.Why
		if why == "" {
			why = fmt.Sprintf("Landlock has interface %d, %d is needed", p.Landlock, minLandlock)
		}
		return p, fmt.Errorf("%w: %s", ErrUnavailable, why)
	}
	return p, nil
}

// Exhausted has f called when ProcessorTime is over. The kernel ends the process a
// minute of it later.
func Exhausted(f func()) { exhausted(f) }

// AbortOnCrash has a panic that nobody recovers, and errors of the runtime such as
// want of memory, end the process with SIGABRT and without a core dump. They would
// end it with exit code 2 otherwise, which is a verdict for who reads exit codes.
func AbortOnCrash() error { return abortOnCrash() }
