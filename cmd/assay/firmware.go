package main

import (
	"bytes"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/unpack"
	"github.com/assay-hw/assay/internal/fit"
	"github.com/assay-hw/assay/internal/ifd"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

func newFirmwareCommand(env *environment) *cobra.Command {
	return group("firmware", "Take firmware images apart and compare them",
		"  assay firmware list bios.rom\n  assay firmware diff golden.rom bios.rom",
		newFirmwareListCommand(env), newFirmwareDiffCommand(env), newFirmwareExtractCommand(env), newFirmwarePredictCommand(env))
}

// maxImage bounds a firmware image; the largest flash parts of servers hold
// 128 MiB with the management controller's.
const maxImage = 128 << 20

// largeImage is from where on taking an image apart takes long enough to say
// how far it is.
const largeImage = 8 << 20

// openImage reads a firmware image from a file. How far it is taken apart is
// told on the standard error stream, unless quiet.
func openImage(env *environment, name string, quiet bool) (*firmware.Image, error) {
	data, err := readInput(name, maxImage)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, unreadable(fmt.Errorf("%s: the file is empty", name))
	}
	m := firmware.Parse(strings.TrimSuffix(filepath.Base(name), filepath.Ext(name)), data, unpack.Decoders()...)
	m.Artifact = name
	if m.Size >= largeImage && !quiet {
		m.Progress = progressOf(env.stderr, m)
	}
	return m, nil
}

// progressOf writes a line for each quarter of an image.
func progressOf(w io.Writer, m *firmware.Image) func(int64) {
	told := int64(0)
	return func(done int64) {
		if quarter := 4 * done / m.Size; quarter > told {
			told = quarter
			fmt.Fprintf(w, "%s: %d of %d MiB taken apart\n", report.Plain(m.Artifact), done>>20, m.Size>>20)
		}
	}
}

// firmwareList is what firmware list prints in JSON.
type firmwareList struct {
	Name       string          `json:"name"`
	Size       int64           `json:"size"`
	SHA256     string          `json:"sha256"`
	Stable     string          `json:"stableSha256"` // without volatile ranges
	Descriptor *ifd.Descriptor `json:"descriptor,omitempty"`
	FIT        *fit.Table      `json:"fit,omitempty"`
	silicon
	Leaves   []firmware.Leaf   `json:"leaves"`
	Findings []finding.Finding `json:"findings"`
}

func newFirmwareListCommand(env *environment) *cobra.Command {
	var out outputOptions
	cmd := &cobra.Command{
		Use:   "list IMAGE",
		Short: "List what a firmware image is made of, down to modules and variables",
		Long: `Takes an image apart: flash regions, firmware volumes, files with the names that
engineers know, compressed sections with what they hold, variables, the file systems
of a management controller down to their files, and every byte between them. HTML has
a map of the flash to scale: who owns which bytes. Before the parts it shows what the
makers of processors keep there: Intel's management engine with its version, the
modules and manifests of Boot Guard with the state of their signatures, AMD's
directories. Offsets are those in the image, or in what a section or a file system
expands to. Headers, sections and empty room are listed with --all and in JSON.

Exits 0 when the image was read, whatever is in it, and 65 when it was refused.`,
		Example: "  assay firmware list bios.rom\n  assay firmware list bios.rom --format html -o flash.html",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json", "html"); err != nil {
			return err
		}
		m, err := openImage(env, args[0], out.quiet)
		if err != nil {
			return err
		}
		if out.format == "html" {
			return writeFlash(env, &out, html.Only(m))
		}
		l := firmwareList{Name: m.Name, Size: m.Size, SHA256: m.SHA256, Stable: m.StableSHA256(), Leaves: m.Open()}
		l.Findings = finding.Sort(append(m.Observed(), m.Inside()...))
		if d, ok := m.Descriptor(); ok {
			l.Descriptor = &d
		}
		if t, ok := m.FIT(); ok {
			l.FIT = &t
		}
		l.silicon = siliconOf(m)
		var b bytes.Buffer
		if out.format == "json" {
			if l.Findings == nil {
				l.Findings = []finding.Finding{}
			}
			err = asJSON(&b, l)
		} else {
			l.text(&b, out.style(env))
		}
		if err != nil {
			return err
		}
		return out.write(env, b.Bytes())
	}
	out.addFlags(cmd.Flags(), "text", "json", "html")
	return cmd
}

// writeFlash writes the page with the map of the flash.
func writeFlash(env *environment, out *outputOptions, f html.Flash) error {
	var b bytes.Buffer
	if err := html.WriteFlash(&b, f); err != nil {
		return err
	}
	return out.write(env, b.Bytes())
}

func (l firmwareList) text(w io.Writer, style report.Style) {
	fmt.Fprintf(w, "%s: %d bytes, sha256:%s\n", report.Plain(l.Name), l.Size, l.SHA256)
	if d := l.Descriptor; d != nil {
		for i, n := range d.Components {
			fmt.Fprintf(w, "  flash part %d: %d MiB\n", i+1, n>>20)
		}
		for _, m := range d.Masters {
			fmt.Fprintf(w, "  %s may read %s and write %s\n", m.Name, words(m.Read), words(m.Write))
		}
	}
	if t := l.FIT; t != nil {
		fmt.Fprintf(w, "  firmware interface table at %08x%s\n", t.Offset, map[bool]string{true: ", checksum wrong"}[t.Damaged])
		for _, e := range t.Entries {
			at := "outside of the image"
			if e.Offset >= 0 {
				at = fmt.Sprintf("at %08x +%x", e.Offset, e.Length)
			}
			fmt.Fprintf(w, "    %-20s %s %s\n", e.Type, at, report.Plain(e.Name))
		}
	}
	l.silicon.text(w)
	for _, leaf := range l.Leaves {
		writeLeaf(w, leaf, firmware.Leaf{}, 0, style.All)
	}
	if len(l.Findings) > 0 {
		fmt.Fprintln(w)
		report.Findings(w, l.Findings, style)
	}
}

func words(s []string) string {
	if len(s) == 0 {
		return "nothing"
	}
	return strings.Join(s, ", ")
}

// writeLeaf prints a leaf and what is inside of it. Without all, what surrounds
// modules is left out, and so are the sections of a module.
func writeLeaf(w io.Writer, l, around firmware.Leaf, depth int, all bool) {
	if all || !l.Surrounds() || l.Inside != nil {
		fmt.Fprintf(w, "%s%08x +%-8x %-9s %s\n", strings.Repeat("  ", depth), l.Offset, l.Length, l.Kind, report.Plain(leafText(l, around)))
	}
	if !all && l.Module() {
		return
	}
	for _, c := range l.Inside {
		writeLeaf(w, c, l, depth+1, all)
	}
}

func leafText(l, around firmware.Leaf) string {
	var b strings.Builder
	name := lastName(l)
	if l.Type != "" && l.Type != name {
		fmt.Fprintf(&b, "%s ", l.Type)
	}
	if in, ok := strings.CutPrefix(l.Path, path.Dir(around.Path)+"/"); ok && around.Type == "archive" {
		name = in // of a file, all of its path in the file system
	}
	if l.Name != "" && l.Name != name && l.Type != "variable" {
		fmt.Fprintf(&b, "%s ", l.Name)
	}
	b.WriteString(name)
	if l.Encoding != "" {
		b.WriteString(strings.TrimSuffix(" "+l.Encoding, " "+name))
		fmt.Fprintf(&b, " to %d bytes", l.Expanded)
	}
	if l.SHA256 != "" && l.Type != "volume" {
		fmt.Fprintf(&b, " sha256:%.16s", l.SHA256)
	}
	return b.String()
}

// lastName is the last part of a leaf's path; a volume is named by the part
// before its header.
func lastName(l firmware.Leaf) string {
	p := strings.TrimSuffix(l.Path, "/header")
	return p[strings.LastIndexByte(p, '/')+1:]
}

// firmwareDifference is what firmware diff prints in JSON.
type firmwareDifference struct {
	Old      string            `json:"old"` // sha256 of the images
	New      string            `json:"new"`
	Changes  []firmware.Change `json:"changes"`
	Volatile []firmware.Change `json:"volatile"` // written in operation, not counted
}
