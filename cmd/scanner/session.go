//go:build linux

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/assay-hw/assay/collect"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/image/layout"
)

// session is one boot of the scanner.
type session struct {
	out     io.Writer
	version string
	stick   *stick // nil when the boot medium was not found
	set     settings
	began   time.Time
	saved   string // what became of the evidence, for the person at the screen
}

// settings are read from the stick's open part. They are not measured, so that
// they decide nothing that a verdict rests on.
type settings struct {
	Nonce string `json:"nonce"` // of the verifier, in hexadecimal
	Wait  string `json:"wait"`  // how long the result is shown without a key being pressed, "10m"
	Name  string `json:"name"`  // of the evidence file, without its ending
}

const (
	defaultWait = 10 * time.Minute
	maxSettings = 64 << 10
)

func (s *session) run() {
	s.began = time.Now()
	s.out = os.Stdout
	defer s.off()
	defer func() {
		if r := recover(); r != nil {
			s.say("The scanner failed: %v\n%s", r, debug.Stack())
			s.pause()
		}
	}()
	if err := s.scan(); err != nil {
		s.say("\nNOT SCANNED: %v", err)
	}
	s.pause()
}

func (s *session) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
}

// scan does the work. What fails on the way is told and does not stop what can
// still be done.
func (s *session) scan() error {
	if err := mountAll(); err != nil {
		return err
	}
	s.out = consoles()
	s.version = strings.TrimSpace(readText("/" + layout.VersionFile))
	s.say("\nAssay scanner %s", s.version)
	host, ctx := collect.Live(), context.Background()
	// Before any driver is there that could be disturbed.
	roms := collect.ReadROMs(ctx, host)
	s.say("option ROMs read: %d", roms.Len())
	m, err := readPlan(os.DirFS("/"))
	if err != nil {
		return err
	}
	loaded := m.loadAll(func() []string { return devices(os.DirFS("/")) }, s.loadModule, time.Sleep)
	s.say("drivers loaded: %d", loaded)
	if err := mountLate(); err != nil {
		s.say("EFI variables: %v", err)
	}
	s.findStick()
	w, err := s.collect(ctx, host, roms)
	if err != nil {
		return err
	}
	if name, err := s.save(w); err != nil {
		s.saved = fmt.Sprintf("The evidence could not be saved: %v", err)
	} else {
		s.saved = "Evidence saved on this stick: " + name
	}
	s.say("\n%s", s.saved)
	s.send(ctx, w)
	if err := s.judge(w); err != nil {
		s.say("\nNOT COMPARED: %v", err)
	}
	return nil
}

func (s *session) findStick() {
	st, err := s.search().stick()
	if err != nil {
		s.say("own stick: %v", err)
		return
	}
	s.stick = st
	s.say("own stick: %s (%s)", st.disk, st.table.Disk)
	if err := st.mount(); err != nil {
		s.say("own stick: %v", err)
		return
	}
	raw, err := readBounded(filepath.Join(stickDir, layout.SettingsFile), maxSettings)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.say("%s: %v", layout.SettingsFile, err)
		}
		return
	}
	s.readSettings(raw)
}

func (s *session) readSettings(raw []byte) {
	if err := json.Unmarshal(raw, &s.set); err != nil {
		s.say("%s: %v", layout.SettingsFile, err)
	}
}

// nonce is the verifier's, nil for none.
func (s *session) nonce() []byte {
	b, err := hex.DecodeString(strings.TrimSpace(s.set.Nonce))
	if err != nil || len(b) > 64 {
		s.say("%s: the nonce is no hexadecimal number of at most 64 bytes; it is left out", layout.SettingsFile)
		return nil
	}
	if len(b) == 0 {
		return nil
	}
	return b
}

func (s *session) collect(ctx context.Context, host *collect.Host, roms *collect.ROMs) (*evidence.Writer, error) {
	o := collect.Options{
		Collector: evidence.Collector{Name: layout.ScannerImage, Version: s.version}, Image: layout.ScannerImage + " " + s.version,
		Now: time.Now(), Nonce: s.nonce(), With: []string{"firmware"}, EarlyROMs: roms,
		Progress: func(p collect.Progress) { s.progress(p) },
	}
	if s.stick != nil {
		o.BootDisk = s.stick.disk
	}
	return collect.Scan(ctx, host, o)
}

func (s *session) progress(p collect.Progress) {
	if len(p.Counts) == 0 {
		return
	}
	rest := ""
	for _, st := range []evidence.Status{evidence.Denied, evidence.Failed, evidence.TimedOut} {
		if n := p.Counts[st]; n > 0 {
			rest += fmt.Sprintf("  %d %s", n, st)
		}
	}
	if rest != "" {
		rest += "  (" + printable(strings.Join(p.Why, "; ")) + ")"
	}
	s.say("  %-9s %5d read  %6s%s", p.Source, p.Counts[evidence.Collected], p.Took.Round(time.Millisecond), rest)
}

// printable keeps what a device says from steering the console.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}

// sendTime is a little more than the program that sends allows itself.
const sendTime = 5 * time.Minute

// send gives the evidence to the program that has a network, when the image has
// one.
func (s *session) send(ctx context.Context, w *evidence.Writer) {
	to := strings.TrimSpace(readText("/" + layout.SendURL))
	if to == "" {
		return
	}
	file := filepath.Join("/tmp", s.evidenceName(serialNumber())+evidenceEnding)
	if err := w.Save(file); err != nil {
		s.say("\nThe evidence could not be sent: %v", err)
		return
	}
	s.say("\nSending the evidence to %s", to)
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/"+layout.Sender, to, "/"+layout.SendRoots, file)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = s.out, s.out, time.Second
	if err := cmd.Run(); err != nil {
		s.say("The evidence was not sent: %v", err)
	}
}
