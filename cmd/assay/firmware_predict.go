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
	cmd := &cobra.Command{
		Use:   "predict IMAGE",
		Short: "What a machine that boots this image will measure, and what cannot be said",
		Long: `Predicts events and registers (SHA-256) from an image by the rules of edk2: the
volumes in PCR 0 and, from the variables in the image, the state of Secure Boot in
PCR 7. Volumes with code that nothing measures are listed too. Measurements of
processors' own boot (Boot Guard, PSP) are not predicted.`,
		Example: "  assay firmware predict bios.rom",
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
		p := firmware.Predict(m)
		var b bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&b, p); err != nil {
				return err
			}
		} else {
			writePrediction(&b, p)
		}
		return out.write(env, b.Bytes())
	}
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
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
