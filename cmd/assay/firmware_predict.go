package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/report"
)

func newFirmwarePredictCommand(env *environment) *cobra.Command {
	var out outputOptions
	var logged string
	cmd := &cobra.Command{
		Use:   "predict IMAGE",
		Short: "What a machine that boots this image will measure, and what cannot be said",
		Long: `Predicts events and registers (SHA-256) from an image by the rules of edk2: the
volumes in PCR 0 and, from the variables in the image, the state of Secure Boot in
PCR 7. Volumes with code that nothing measures are listed too. What an Intel
processor measures first (PCR0_DATA) holds one value of the machine: --explain
takes the digest of that event from a log (the first EV_S_CRTM_CONTENTS in PCR 0,
SHA-1, SHA-256 or SHA-384) and looks for the value with which this image gives it.`,
		Example: "  assay firmware predict bios.rom\n  assay firmware predict bios.rom --explain 5f1c…",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		m, err := openImage(args[0])
		if err != nil {
			return err
		}
		p := prediction{Prediction: firmware.Predict(m)}
		if logged != "" {
			if p.Explained, err = explain(m, logged); err != nil {
				return err
			}
		}
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, p); err != nil {
				return err
			}
		} else {
			writePrediction(&b, p.Prediction)
			p.Explained.text(&b)
		}
		return out.write(env, b.Bytes())
	}
	out.addFlags(cmd.Flags(), "text", "json")
	cmd.Flags().StringVar(&logged, "explain", "", "logged `digest` of PCR0_DATA to explain by this image")
	return cmd
}

// prediction is what firmware predict prints in JSON.
type prediction struct {
	*firmware.Prediction
	Explained *explanation `json:"explained,omitempty"`
}

func writePrediction(w io.Writer, p *firmware.Prediction) {
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
