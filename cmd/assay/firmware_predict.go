package main

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/measured"
	"github.com/assay-hw/assay/report"
)

func newFirmwarePredictCommand(env *environment) *cobra.Command {
	var out outputOptions
	var log, logged string
	var roms []string
	cmd := &cobra.Command{
		Use:   "predict IMAGE",
		Short: "What a machine that boots this image will measure, and what cannot be said",
		Long: `Predicts events and registers from an image by the rules of edk2: the volumes in
PCR 0 and, from the variables in the image, the state of Secure Boot in PCR 7.
Volumes with code that nothing measures are listed too. Digests are printed for
SHA-256; JSON has those of the other banks.
With --rom, the drivers in a card's expansion ROM are predicted for PCR 2.

What an Intel processor measures first (PCR0_DATA) holds one value of the machine:
--explain takes the digest of that event from a log (the first EV_S_CRTM_CONTENTS in
PCR 0) and looks for the value with which this image gives it.

With --log, an event log is held against the image: for every event over firmware
the part that was measured ("exact": its digest; "learned": the part fits, and only
a reference boot can tell the digest), and what was predicted and is not there.`,
		Example: "  assay firmware predict bios.rom\n  assay firmware predict bios.rom --log binary_bios_measurements",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		m, err := openImage(env, args[0], out.quiet)
		if err != nil {
			return err
		}
		view, err := predict(m, roms, log)
		if err != nil {
			return err
		}
		if logged != "" {
			if view.Explained, err = explain(m, logged); err != nil {
				return err
			}
		}
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, view); err != nil {
				return err
			}
		} else {
			writePrediction(&b, view.Prediction)
			view.Explained.text(&b)
			writeHeld(&b, view.Log)
		}
		return out.write(env, b.Bytes())
	}
	cmd.Flags().StringArrayVar(&roms, "rom", nil, "expansion ROM of a card; repeatable")
	cmd.Flags().StringVar(&log, "log", "", "event log to hold against the image")
	out.addFlags(cmd.Flags(), "text", "json")
	cmd.Flags().StringVar(&logged, "explain", "", "logged `digest` of PCR0_DATA to explain by this image")
	return cmd
}

// predict predicts what an image and expansion ROMs let one expect, and holds a
// log against it where one is named.
func predict(m *firmware.Image, roms []string, log string) (*firmwarePrediction, error) {
	view := &firmwarePrediction{Prediction: measured.Predict(m)}
	for _, r := range roms {
		raw, err := readInput(r, maxROM)
		if err != nil {
			return nil, err
		}
		events, err := measured.PredictROM(filepath.Base(r), raw)
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", r, err))
		}
		view.Events = append(view.Events, events...)
	}
	if log == "" {
		return view, nil
	}
	events, err := readMeasured(log)
	if err != nil {
		return nil, err
	}
	held := view.Hold(m, events)
	view.Log = &held
	return view, nil
}

// maxROM is the largest expansion ROM: 24 bits of address in the card's register.
const maxROM = 16 << 20

// firmwarePrediction is what firmware predict prints in JSON.
type firmwarePrediction struct {
	*measured.Prediction
	Explained *explanation   `json:"explained,omitempty"`
	Log       *measured.Held `json:"log,omitempty"`
}

// readMeasured reads the events of a log.
func readMeasured(path string) ([]measured.Measured, error) {
	l, _, err := readLog(path, "")
	if err != nil {
		return nil, err
	}
	var out []measured.Measured
	for _, e := range l.Events() {
		out = append(out, measured.Measured{Number: e.Number, PCR: int(e.PCR), Type: e.Type, Digests: e.Digests, Base: e.Base, Length: e.Length})
	}
	return out, nil
}

func writeHeld(w io.Writer, h *measured.Held) {
	if h == nil {
		return
	}
	fmt.Fprintln(w, "\nthe log, event by event:")
	for _, e := range h.Events {
		what := strings.TrimSpace(e.Name + " " + e.Path)
		if what == "" {
			what = "-"
		}
		fmt.Fprintf(w, "%4d PCR %-2d %-30s %-11s %s\n     %s; %.23s\n", e.Event, e.PCR, e.Type, e.Basis, report.Plain(what), e.Why, e.Digest)
	}
	for _, e := range h.Missing {
		fmt.Fprintf(w, "predicted and not in the log: PCR %d %s %s sha256:%s\n", e.PCR, e.Type, report.Plain(e.Source), e.SHA256)
	}
}

func writePrediction(w io.Writer, p *measured.Prediction) {
	for _, e := range p.Events {
		sum := "not predictable"
		if e.SHA256 != "" {
			sum = "sha256:" + e.SHA256
		}
		fmt.Fprintf(w, "PCR %-2d %-30s %s\n       %s, %d bytes; %s\n", e.PCR, e.Type, sum, report.Plain(e.Source), e.Length, e.Rule)
	}
	for _, r := range p.Registers {
		fmt.Fprintf(w, "PCR %-2d is sha256:%s after these events\n", r.PCR, r.SHA256)
	}
	for _, u := range p.Unmeasured {
		fmt.Fprintf(w, "no event is over the bytes of volume %s\n", report.Plain(u))
	}
	for _, n := range p.NotPredicted {
		fmt.Fprintf(w, "not predicted: %s: %s\n", report.Plain(n.What), report.Plain(n.Reason))
	}
}
