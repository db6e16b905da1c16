package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

func newFirmwareDiffCommand(env *environment) *cobra.Command {
	var out outputOptions
	var volatile bool
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two firmware images part by part and name the modules that differ",
		Long: `Compares two images by what their parts are, not by where they lie: modules and
variables that were added, removed, changed or moved, inside of compressed volumes
too. Exits 1 when they differ and 0 when not. What firmware writes in operation,
variables above all, is listed apart and does not count: two boots of one machine
differ in it; with --with-volatile it counts. Code in such a place always counts.
HTML has maps of both images to scale with the changes highlighted.`,
		Example: "  assay firmware diff golden.rom bios.rom",
		Args:    exactly(2),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json", "html"); err != nil {
			return err
		}
		var ms [2]*firmware.Image
		for i, a := range args {
			m, err := openImage(env, a, out.quiet)
			if err != nil {
				return err
			}
			ms[i] = m
		}
		d := firmwareDifference{Old: ms[0].SHA256, New: ms[1].SHA256, Changes: []firmware.Change{}, Volatile: []firmware.Change{}}
		for _, c := range firmware.Diff(ms[0], ms[1]) {
			if c.Kind == firmware.Volatile && !volatile {
				d.Volatile = append(d.Volatile, c)
			} else {
				d.Changes = append(d.Changes, c)
			}
		}
		return d.write(env, &out, ms[:])
	}
	out.addFlags(cmd.Flags(), "text", "json", "html")
	cmd.Flags().BoolVar(&volatile, "with-volatile", false, "variables and what else firmware writes in operation count as differences too")
	return cmd
}

func (d firmwareDifference) write(env *environment, out *outputOptions, images []*firmware.Image) error {
	var b bytes.Buffer
	switch out.format {
	case "json":
		if err := asJSON(&b, d); err != nil {
			return err
		}
	case "html":
		title := fmt.Sprintf("%s and %s: %d changes", images[0].Artifact, images[1].Artifact, len(d.Changes))
		if len(d.Changes) == 1 {
			title = strings.TrimSuffix(title, "s")
		}
		if err := html.WriteFlash(&b, html.Flash{Title: title, Images: images, Changes: d.Changes, Volatile: d.Volatile, Compared: true}); err != nil {
			return err
		}
	default:
		writeFirmwareChanges(&b, d.Changes)
		if len(d.Changes) == 0 {
			fmt.Fprintln(&b, "no differences")
		}
		if len(d.Volatile) > 0 {
			fmt.Fprintln(&b, "\nwritten in operation, not counted:")
			writeFirmwareChanges(&b, d.Volatile)
		}
	}
	if err := out.write(env, b.Bytes()); err != nil {
		return err
	}
	if len(d.Changes) > 0 {
		return &exitError{code: 1}
	}
	return nil
}

func writeFirmwareChanges(b *bytes.Buffer, changes []firmware.Change) {
	for _, c := range changes {
		fmt.Fprintf(b, "%-8s %s\n", c.Change, report.Plain(strings.TrimSpace(c.Type+" "+c.Name)+" "+c.Path))
		if c.From != "" {
			fmt.Fprintf(b, "         from %s\n", report.Plain(c.From))
		}
		if len(c.Sections) > 0 {
			fmt.Fprintf(b, "         in %s\n", report.Plain(strings.Join(c.Sections, ", ")))
		}
		fmt.Fprintf(b, "         %s %s -> %s\n", c.Kind, short(c.Old), short(c.New))
		if c.First != nil {
			fmt.Fprintf(b, "         first at offset 0x%x of the image\n", *c.First)
		}
	}
}

func short(sum string) string {
	if sum == "" {
		return "none"
	}
	return "sha256:" + sum[:16]
}
