package main

import (
	"bytes"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/unpack"
	"github.com/assay-hw/assay/report"
)

// observed is what a bundle holds, as read and not appraised.
type observed struct {
	Sealed       bool                `json:"sealed"`
	Index        *evidence.Index     `json:"index,omitempty"`
	SHA256       string              `json:"sha256"`
	Parts        *bom.Inventory      `json:"inventory"`
	Events       []attest.Event      `json:"events"`
	Firmware     []*firmware.Image   `json:"firmware"`
	Devices      []spdm.Device       `json:"spdm,omitempty"`
	NotCollected []evidence.Artifact `json:"notCollected"`
}

func newInspectCommand(env *environment) *cobra.Command {
	var out outputOptions
	var limit limitOption
	cmd := &cobra.Command{
		Use:   "inspect EVIDENCE",
		Short: "Show parts, boot events and firmware as read, with sources and gaps",
		Long: `Shows what a bundle holds without judging it: parts with where each value comes
from (--format json), boot events, firmware images leaf by leaf, what devices signed of
themselves, what the sources contradict, and what could not be collected.`,
		Example: "  assay inspect server.evidence.zip\n  assay inspect server.evidence.zip --format json",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		limits, err := limit.limits()
		if err != nil {
			return err
		}
		b, err := evidence.Open(args[0], limits)
		if err != nil {
			return err
		}
		v := observed{
			Sealed: b.Sealed(), Index: b.Index(), SHA256: fmt.Sprintf("%x", b.Digest()), Parts: bom.Read(b),
			Firmware: firmware.Read(b, unpack.Decoders()...), Devices: spdm.Observe(b).Devices, NotCollected: b.NotCollected(),
		}
		if l := attest.Observe(b).Log(); l != nil {
			v.Events = l.Events()
		}
		var buf bytes.Buffer
		if out.format == "json" {
			if err := asJSON(&buf, v); err != nil {
				return err
			}
		} else {
			writeInspection(&buf, v, out.style(env))
		}
		return out.write(env, buf.Bytes())
	}
	out.addFlags(cmd.Flags(), "text", "json")
	limit.addFlag(cmd.Flags())
	return cmd
}

func writeInspection(w io.Writer, v observed, style report.Style) {
	fmt.Fprintf(w, "evidence sha256:%s, %s\n\n", v.SHA256, sealedWord(v.Sealed))
	report.Parts(w, v.Parts)
	fmt.Fprintf(w, "\nboot events (texts are hints)\n")
	for _, e := range v.Events {
		fmt.Fprintf(w, "  %4d PCR %-3d %-34s %s\n", e.Number, e.PCR, report.Plain(e.Type), report.Plain(e.Label))
	}
	if len(v.Events) == 0 {
		fmt.Fprintln(w, "  no event log")
	}
	fmt.Fprintf(w, "\nfirmware\n")
	for _, m := range v.Firmware {
		fmt.Fprintf(w, "  %s %d bytes %s\n", report.Plain(m.Name), m.Size, report.Plain(m.Reason))
		for _, l := range m.Leaves {
			fmt.Fprintf(w, "    %08x +%-8x %-9s %s\n", l.Offset, l.Length, l.Kind, report.Plain(l.Path))
		}
	}
	if len(v.Firmware) == 0 {
		fmt.Fprintln(w, "  no image")
	}
	writeDevices(w, v.Devices)
	fmt.Fprintf(w, "\ncontradictions and damage\n")
	report.Findings(w, v.Parts.Findings, style)
	if len(v.NotCollected) > 0 {
		fmt.Fprintf(w, "\nnot collected\n")
		for _, a := range v.NotCollected {
			fmt.Fprintf(w, "  %-8s %s %s\n", a.Status, report.Plain(a.Path), report.Plain(a.Reason))
		}
	}
}

// writeDevices lists what devices signed, and what is only told of them.
func writeDevices(w io.Writer, devices []spdm.Device) {
	if len(devices) > 0 {
		fmt.Fprintf(w, "\ndevices (SPDM; the certificates were not held against any root)\n")
	}
	for _, d := range devices {
		fmt.Fprintf(w, "  %s %s\n", report.Plain(d.Subject), report.Plain(d.Artifact))
		if d.Problem != "" {
			fmt.Fprintf(w, "    nothing is proved: %s\n", report.Plain(d.Problem))
		}
		for _, l := range d.Listed {
			fmt.Fprintf(w, "    %3d told by the management controller, signed by nobody: %s\n", l.Index, report.Plain(l.Value))
		}
		if d.Signed == nil {
			continue
		}
		c := d.Signed.Chain()
		fmt.Fprintf(w, "    SPDM %s, signed by %s, root sha256 %s\n", d.Signed.Version(), report.Plain(c.Subject()), c.Anchor())
		for _, b := range d.Signed.Blocks() {
			fmt.Fprintf(w, "    %3d %-22s %x\n", b.Index, b.Type, b.Value)
		}
	}
}

func sealedWord(sealed bool) string {
	if sealed {
		return "with an index"
	}
	return "unsealed"
}
