package main

import (
	"errors"
	"fmt"
	"mime"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay/keystore"
	"github.com/assay-hw/assay/sandbox"
)

// sandboxVariable says how much of the sandbox is wanted (sandbox.ParseNeed).
const sandboxVariable = "ASSAY_SANDBOX"

// confined are the commands that parse what others wrote and need nothing but
// files for it. They enter the sandbox before they open the first one; check
// enters when it has done with the devices.
func confined() []string {
	return []string{
		"verify", "inspect",
		"attest enroll challenge", "attest enroll check", "attest eventlog", "attest verify",
		"bom convert", "bom diff", "bom import", "bom list", "bom map",
		"firmware diff", "firmware extract", "firmware list", "firmware predict",
		"golden delta", "golden diff", "golden draft", "golden export", "golden import", "golden known-bad", "golden lint", "golden show", "golden sign", "golden timestamp", "golden verify",
		"inspection draft", "inspection show", "inspection sign", "inspection verify",
		"quirks lint", "quirks show", "quirks sign",
		"log verify",
	}
}

// role adds what a flag's value, or an argument, lets the command touch.
type role func(a *sandbox.Access, c *cobra.Command, value string)

// roles says what flags of confined commands name. "COMMAND --FLAG" goes before
// FLAG alone.
func roles() map[string]role {
	out := map[string]role{
		"trust": readTrust, "ek-roots": readLinked, "safe-key": readLinked, "output": create, "state": keep, "log": appendTo,
		"firmware predict --log": read, "csv": create, "svg": create, "draft-map": create, "golden timestamp --query": readOrCreate,
		"attach": readAttached, "keep": create,
	}
	for _, f := range []string{
		"golden", "sigstore-root", "policy", "bom", "enrolled", "known-bad", "quirks", "inspection", "attachments", "ek-pub", "ek-cert", "ak-pub", "ek", "map", "change",
		"delta", "board-map", "evidence", "placement", "rom", "firmware", "profile", "lifecycle", "list", "dbx", "response", "key", "ear-key", "cert",
	} {
		out[f] = read
	}
	for _, f := range []string{
		"format", "now", "nonce", "limit", "system", "machine", "bank", "pcrs", "id", "manufacturer", "model", "revision", "scope", "to", "validity", "version", "name", "part-number",
		"explain", "advisory", "authenticode", "certificate", "severity", "sha256", "subject", "title", "version-below", "signature", "soon", "expect",
		"actor", "ticket", "class", "coverage", "directory", "instrument-maker", "instrument-model", "instrument-serial", "laboratory", "lot", "operator", "reference", "reference-sha256", "result", "technique",
	} {
		out[f] = names
	}
	// What the scan took is in memory when check enters.
	for _, f := range []string{"ak-handle", "passes", "redfish", "redfish-pins", "rom", "root", "tpm", "with", "without"} {
		out["check --"+f] = names
	}
	return out
}

// names is the role of what names no file.
func names(*sandbox.Access, *cobra.Command, string) {}

// read takes FILE, and NAME=FILE where a flag has that form. A Sigstore bundle
// may be over the file beside it.
func read(a *sandbox.Access, _ *cobra.Command, value string) {
	a.Read = append(a.Read, value)
	if _, file, ok := strings.Cut(value, "="); ok {
		a.Read = append(a.Read, file)
	}
	if signed, ok := strings.CutSuffix(strings.TrimSuffix(value, ".json"), ".sigstore"); ok {
		a.Read = append(a.Read, signed)
	}
}

// readLinked also reads what links in a directory lead to: certificates are
// often kept so.
func readLinked(a *sandbox.Access, _ *cobra.Command, value string) {
	a.Read = append(a.Read, value)
	entries, err := os.ReadDir(value)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink != 0 {
			a.Read = append(a.Read, filepath.Join(value, e.Name()))
		}
	}
}

// readTrust reads roots and what manifest.LoadTrust looks for beside them.
func readTrust(a *sandbox.Access, c *cobra.Command, value string) {
	readLinked(a, c, value)
	if info, err := os.Stat(value); err == nil && info.IsDir() {
		readLinked(a, c, filepath.Join(value, "tsa"))
		return
	}
	dir := filepath.Dir(value)
	a.List = append(a.List, dir)
	a.Read = append(a.Read, filepath.Join(dir, "trust.yaml"))
	readLinked(a, c, filepath.Join(dir, "tsa"))
	if lists, err := filepath.Glob(filepath.Join(dir, "*.[cC][rR][lL]")); err == nil {
		a.Read = append(a.Read, lists...)
	}
}

// readAttached reads files named from --directory, FILE or FILE=FLASH.
func readAttached(a *sandbox.Access, c *cobra.Command, value string) {
	name, _, _ := strings.Cut(value, "=")
	a.Read = append(a.Read, filepath.Join(c.Flag("directory").Value.String(), filepath.FromSlash(name)))
}

// create is the role of what package internal/outfile writes: a new file beside
// the old one, renamed over it; through devices and pipes.
func create(a *sandbox.Access, _ *cobra.Command, value string) {
	if value == "" {
		return
	}
	path := value
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		a.Write = append(a.Write, path)
		return
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	a.Create = append(a.Create, filepath.Dir(path))
}

// readOrCreate is the role of a file that is read or written.
func readOrCreate(a *sandbox.Access, c *cobra.Command, value string) {
	read(a, c, value)
	create(a, c, value)
}

// appendTo is the role of a log: the file where it is, and its directory as long
// as it is not there.
func appendTo(a *sandbox.Access, c *cobra.Command, value string) {
	a.Read, a.Write = append(a.Read, value), append(a.Write, value)
	if _, err := os.Stat(value); err != nil {
		a.Own = append(a.Own, filepath.Dir(value))
	}
}

func keep(a *sandbox.Access, _ *cobra.Command, value string) { a.Own = append(a.Own, value) }

// accessOf is what a command needs to do what it was told.
func accessOf(c *cobra.Command, args []string) sandbox.Access {
	var a sandbox.Access
	path, known := commandPath(c), roles()
	for i, arg := range args {
		if path == "firmware extract" && i == 1 {
			// The directory is made where it is not: its rights begin with it.
			if os.MkdirAll(arg, 0o755) == nil {
				keep(&a, c, arg)
			}
			continue
		}
		read(&a, c, arg)
	}
	c.Flags().VisitAll(func(f *pflag.Flag) {
		r := known[f.Name]
		if special, ok := known[path+" --"+f.Name]; ok {
			r = special
		}
		if r == nil {
			return
		}
		values := []string{f.Value.String()}
		if many, ok := f.Value.(pflag.SliceValue); ok {
			values = many.GetSlice()
		}
		for _, v := range values {
			if v != "" {
				r(&a, c, v)
			}
		}
	})
	return a
}

func commandPath(c *cobra.Command) string {
	_, path, _ := strings.Cut(c.CommandPath(), " ")
	return path
}

// confine enters the sandbox for commands that belong in it from the beginning.
func (e *environment) confine(c *cobra.Command, args []string) error {
	if !isConfined(c) && !diagnosesFile(c, args) {
		return nil
	}
	return e.enter(c, args)
}

// enter enters the sandbox: check does, when it has done with the devices.
func (e *environment) enter(c *cobra.Command, args []string) error {
	if !e.ownProcess || keyInHardware(c) {
		return nil
	}
	need, err := sandbox.ParseNeed(os.Getenv(sandboxVariable))
	if err != nil {
		return usage("%s=%v", sandboxVariable, err)
	}
	if need == sandbox.Off {
		return nil
	}
	a := accessOf(c, args)
	e.ownTemp(&a)
	sandbox.Exhausted(e.giveUp)
	// What is read when it is first used, and could not be read then.
	_, _ = time.Now().Zone()
	_ = mime.TypeByExtension(".bin")
	if _, err := sandbox.Enter(a, need); err != nil {
		return &exitError{exitInternal, fmt.Errorf("%s=%s: %w; assay version --verbose tells what there is", sandboxVariable, need, err)}
	}
	return nil
}

// diagnosesFile reports whether doctor was given evidence: without, it needs devices.
func diagnosesFile(c *cobra.Command, args []string) bool {
	return commandPath(c) == "doctor" && len(args) > 0
}

// isConfined reports whether a command enters the sandbox before it does anything.
func isConfined(c *cobra.Command) bool {
	return slices.Contains(confined(), commandPath(c)) && !keyInHardware(c)
}

// keyInHardware reports whether a command signs with a key in a TPM or a token: it
// needs a device then, or a program that talks to one, after it has read its input.
func keyInHardware(c *cobra.Command) bool {
	for _, name := range []string{"key", "ear-key"} {
		if f := c.Flag(name); f != nil && f.Changed && keystore.InHardware(f.Value.String()) {
			return true
		}
	}
	return false
}

// ownTemp gives the process a directory of its own for temporary files, so that
// it need not be let into the one that it shares with others. Where none can be
// made, there is none, and what needs it says so.
func (e *environment) ownTemp(a *sandbox.Access) {
	shared := os.TempDir()
	dir, err := os.MkdirTemp(shared, "assay-")
	if err != nil {
		return
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		_ = os.Remove(dir)
		return
	}
	a.Own, a.Remove = append(a.Own, dir), append(a.Remove, shared)
	e.leave = func() { _ = os.Remove(dir) }
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		e.leave()
		os.Exit(exitInternal)
	}()
}

// giveUp ends the process when it has used its time: something in the input costs
// more than anything that is known.
func (e *environment) giveUp() {
	fmt.Fprintf(e.stderr, "assay: gave up after %s of processor time: an input costs more to read than anything known does, and no verdict was reached\n", sandbox.ProcessorTime)
	fmt.Fprintf(e.stderr, "Give the inputs one at a time to find which; %s=off has no such limit.\n", sandboxVariable)
	if e.leave != nil {
		e.leave()
	}
	os.Exit(exitInternal)
}

// protections tells what this machine protects a command with that parses.
func (e *environment) protections() error {
	need, err := sandbox.ParseNeed(os.Getenv(sandboxVariable))
	if err != nil {
		return usage("%s=%v", sandboxVariable, err)
	}
	p, err := sandbox.Enter(sandbox.Access{}, need)
	if _, err := fmt.Fprintf(e.stdout, "sandbox (%s=%s):\n%s", sandboxVariable, need, p); err != nil {
		return err
	}
	if errors.Is(err, sandbox.ErrUnavailable) {
		return &exitError{exitInternal, err}
	}
	return err
}
