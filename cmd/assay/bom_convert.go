package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/cyclonedx"
)

// convertOptions are the flags of bom convert.
type convertOptions struct {
	importOptions
	to    string
	limit limitOption
}

func newBOMConvertCommand(env *environment) *cobra.Command {
	var opt convertOptions
	var now nowOption
	cmd := &cobra.Command{
		Use:   "convert FILE --to FORMAT",
		Short: "Write a list of parts in another form",
		Long: `Reads anything that bom list takes and writes its parts as

  csv        one line for each part or place, for a spreadsheet
  json       with everything that was read
  cyclonedx  a CycloneDX 1.7 document
  golden     the draft of a golden manifest

What has no place there is printed on standard error, and with --strict refused.`,
		Example: "  assay bom convert board.xlsx --to csv -o board.csv\n  assay bom convert server.evidence.zip --to cyclonedx -o server.cdx.json\n  assay bom convert redfish-mockup/ --to csv --system 1",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if !slices.Contains([]string{"csv", "json", "cyclonedx", "golden"}, opt.to) {
			return usage("--to %s: want csv, json, cyclonedx or golden", opt.to)
		}
		if err := opt.check(); err != nil {
			return err
		}
		at, err := now.time(env)
		if err != nil {
			return err
		}
		return opt.convert(env, args[0], at)
	}
	opt.addDraftFlags(cmd)
	cmd.Flags().StringVar(&opt.to, "to", "", "csv, json, cyclonedx or golden")
	cmd.Flags().StringVar(&opt.mapping, "map", "", "file that names the header of each column of a board's list (JSON)")
	addSystemFlag(cmd.Flags(), &opt.system)
	opt.limit.addFlag(cmd.Flags())
	now.addFlag(cmd.Flags())
	return cmd
}

func (o *convertOptions) convert(env *environment, path string, at time.Time) error {
	is, err := boardAt(path)
	if err != nil {
		return err
	}
	read := o.convertParts
	if is {
		read = o.convertBoard
	}
	var out bytes.Buffer
	m, lost, err := read(&out, path)
	if err != nil {
		return err
	}
	if o.to == "golden" {
		return o.write(env, m, lost, at)
	}
	if o.to == "cyclonedx" {
		o.environment(m)
		o.header(m, at)
		raw, err := cyclonedx.Export(m)
		if err != nil {
			return unreadable(err)
		}
		out.Write(raw)
	}
	if err := tellLost(env, lost, o.to, o.strict); err != nil {
		return err
	}
	return (&outputOptions{file: o.file}).write(env, out.Bytes())
}

// convertBoard converts the bill of materials of a board: into out, or into a manifest.
func (o *convertOptions) convertBoard(out io.Writer, path string) (*manifest.Manifest, []string, error) {
	if o.to == "golden" || o.to == "cyclonedx" {
		return draftBoard(path, o.mapping)
	}
	b, err := readBoard(path, o.mapping)
	if err != nil {
		return nil, nil, err
	}
	var lost []string
	for _, l := range b.Lost {
		lost = append(lost, "column "+l)
	}
	if o.to == "json" {
		return nil, lost, asJSON(out, struct {
			*board.BOM
			Coverage *board.Coverage `json:"coverage"`
		}{b, b.Coverage()})
	}
	if n := len(b.Alternates); n > 0 {
		lost = append(lost, fmt.Sprintf("approved alternates of %d places", n))
	}
	return nil, lost, boardCSV(out, b)
}

// convertParts converts parts and lines of manifests.
func (o *convertOptions) convertParts(out io.Writer, path string) (*manifest.Manifest, []string, error) {
	limits, err := o.limit.limits()
	if err != nil {
		return nil, nil, err
	}
	l, err := openParts(path, o.system, limits)
	if err != nil {
		return nil, nil, err
	}
	switch o.to {
	case "golden", "cyclonedx":
		m, lost := l.draft(o.scope != "model")
		return m, lost, nil
	case "json":
		return nil, l.lost, writeParts(out, l, &outputOptions{format: "json"})
	}
	lost, err := partsCSV(out, l)
	return nil, append(l.lost, lost...), err
}

// partsCSV writes one line for each part or declared line; the result says what has
// no column.
func partsCSV(w io.Writer, l *partList) ([]string, error) {
	without := map[string]int{}
	rows := [][]string{{"Class", "Subject", "Slot", "Designator", "Path", "Manufacturer", "Brand", "Model", "Part number", "Revision", "Serial", "Firmware", "Quantity"}}
	row := func(c bom.Class, subject string, slot, designator, path string, id bom.Identity, quantity int) {
		rows = append(rows, []string{string(c), subject, slot, designator, path, id.Maker, id.Brand, id.Model, id.PartNumber, id.Revision, id.Serial, id.Firmware, strconv.Itoa(max(1, quantity))})
		if len(id.MakerIDs) > 0 {
			without["maker ids"]++
		}
	}
	if l.observed != nil {
		for _, p := range l.observed.Parts {
			row(p.Class, p.Subject, p.Location.Slot, p.Location.Designator, p.Location.Path, p.Identity, 1)
			for k := range p.Attributes {
				without["attribute "+k]++
			}
		}
		without["findings"], without["places"] = len(l.observed.Findings), len(l.observed.Places)
	} else {
		for _, r := range l.declared {
			row(r.Class, cmp.Or(r.Subject, r.ID), r.Location.Slot, r.Location.Designator, r.Location.Path, r.Identity, r.Quantity)
			for k := range r.Attributes {
				without["attribute "+k]++
			}
			without["alternates"] += len(r.Alternates)
			if r.Optional || r.Security || r.Level != "" || r.Verifiability != "" || r.Note != "" || len(r.Origin) > 0 {
				without["lines with rules, notes or origins"]++
			}
		}
	}
	if m := l.manifest; m != nil {
		without["boot references"], without["firmware references"], without["SPDM references"] = len(m.Boot), len(m.Firmware), len(m.SPDM)
		without["endorsements"], without["closures of classes"] = len(m.Endorsements), len(m.Classes)
	}
	var lost []string
	for _, k := range slices.Sorted(maps.Keys(without)) {
		if n := without[k]; n > 0 {
			lost = append(lost, fmt.Sprintf("%s (%d): a table has no column for it", k, n))
		}
	}
	return lost, writeCSV(w, rows)
}

// boardCSV writes one line for each place; board.Read reads the same parts again.
func boardCSV(w io.Writer, b *board.BOM) error {
	rows := [][]string{{"Designator", "Quantity", "Manufacturer", "MPN", "Value", "Footprint", "Description", "DNP", "X", "Y", "Layer"}}
	for _, p := range slices.Concat(b.Parts, b.Loose) {
		dnp, x, y := "no", "", ""
		if p.NotFitted {
			dnp = "yes"
		}
		if p.X != 0 || p.Y != 0 {
			x, y = strconv.FormatFloat(p.X, 'f', -1, 64), strconv.FormatFloat(p.Y, 'f', -1, 64)
		}
		rows = append(rows, []string{p.Designator, "1", p.Maker, p.PartNumber, p.Value, p.Footprint, p.Description, dnp, x, y, p.Layer})
	}
	return writeCSV(w, rows)
}

// writeCSV quotes every cell, so that no value is taken for a separator.
func writeCSV(w io.Writer, rows [][]string) error {
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = `"` + strings.ReplaceAll(board.Guard(c), `"`, `""`) + `"`
		}
		if _, err := io.WriteString(w, strings.Join(cells, ",")+"\n"); err != nil {
			return err
		}
	}
	return nil
}
