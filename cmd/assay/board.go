package main

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/manifest/revision"
	"github.com/assay-hw/assay/report"
)

// isBoard reports whether a file is a bill of materials of a board: a table, a
// workbook or an IPC-2581 document.
func isBoard(path string, data []byte) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv", ".tsv":
		return true
	}
	if head := data[:min(len(data), 4096)]; bytes.Contains(head, []byte("<IPC-2581")) {
		return true
	}
	if !bytes.HasPrefix(data, []byte("PK")) {
		return false
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return false
	}
	f, err := z.Open("xl/workbook.xml")
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// boardAt reports whether a path is that of a board's bill of materials.
func boardAt(path string) (bool, error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, unreadable(err)
	}
	if info.IsDir() || info.Size() > board.MaxBytes {
		return false, nil
	}
	data, err := readInput(path, board.MaxBytes)
	return err == nil && isBoard(path, data), err
}

func listBoard(env *environment, out *outputOptions, path, mapping string, err error) error {
	if err != nil {
		return err
	}
	b, err := readBoard(path, mapping)
	if err != nil {
		return err
	}
	var w bytes.Buffer
	if out.format == "json" {
		err = asJSON(&w, struct {
			*board.BOM
			Coverage *board.Coverage `json:"coverage"`
		}{b, b.Coverage()})
	} else {
		writeBoard(&w, b, out.all)
	}
	if err != nil {
		return err
	}
	return out.write(env, w.Bytes())
}

// readBoard reads a board's bill of materials, with the columns that a mapping
// file names.
func readBoard(path, mapping string) (*board.BOM, error) {
	data, err := readInput(path, board.MaxBytes)
	if err != nil {
		return nil, err
	}
	var m board.Mapping
	if mapping != "" {
		raw, err := readInput(mapping, 1<<20)
		if err != nil {
			return nil, err
		}
		if m, err = board.ParseMapping(raw); err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", mapping, err))
		}
	}
	b, err := board.Read(path, data, m)
	if err != nil {
		return nil, unreadable(err)
	}
	return b, nil
}

func writeBoard(w io.Writer, b *board.BOM, all bool) {
	fmt.Fprintf(w, "%s: %d places, %d lines without a place\n", report.Plain(b.Name), len(b.Parts), len(b.Loose))
	for i, p := range b.Parts {
		if i == 40 && !all {
			fmt.Fprintf(w, "  and %d more; --all lists them\n", len(b.Parts)-i)
			break
		}
		left := ""
		if p.NotFitted {
			left = " (not fitted)"
		}
		fmt.Fprintf(w, "  %-8s %s%s\n", report.Plain(p.Designator), partText(p), left)
	}
	writeCoverage(w, b.Coverage())
	for _, x := range b.Warnings {
		fmt.Fprintf(w, "row %d: %s\n", x.Row, report.Plain(x.Why))
	}
	if len(b.Lost) > 0 {
		fmt.Fprintf(w, "columns without a place here: %s\n", report.Plain(strings.Join(b.Lost, ", ")))
	}
}

// writeCoverage states what software can see of a board.
func writeCoverage(w io.Writer, c *board.Coverage) {
	fmt.Fprintf(w, "what software can see: of %d fitted parts %d can tell their type, %d acknowledge, %d are not in the dictionary, %d answer on no bus; %d not fitted\n",
		c.Fitted, c.Identity, c.Presence, c.Unknown, c.Silent, c.NotFitted)
	for _, k := range c.Classes {
		fmt.Fprintf(w, "  %-26s %4d fitted, %3d type, %3d presence, %3d not in the dictionary, %4d silent\n", report.Plain(k.Name), k.Fitted, k.Identity, k.Presence, k.Unknown, k.Silent)
		for _, a := range k.Answers {
			fmt.Fprintf(w, "    %-8s %-22s %s on %s: %s\n", report.Plain(a.Designator), report.Plain(a.PartNumber), a.What, a.Bus, strings.TrimSpace(a.Says+" "+a.ID))
		}
	}
	fmt.Fprintln(w, "  Who can ask on those buses, the host or the management controller, is for the schematic.")
	if len(c.Inspect) > 0 {
		var places []string
		for _, p := range c.Inspect {
			places = append(places, p.Designator)
		}
		fmt.Fprintf(w, "for inspection, chips that cannot tell their type: %s\n", report.Plain(strings.Join(places, ", ")))
	}
}

func partText(p board.Part) string {
	return report.Plain(strings.Join(strings.Fields(p.Maker+" "+p.PartNumber+" "+p.Value), " "))
}

// boardDifference is what bom diff prints in JSON of two boards.
type boardDifference struct {
	Old         string                 `json:"old"`
	New         string                 `json:"new"`
	OldBoard    string                 `json:"oldBoard,omitempty"` // part number and revision, where the files have them
	NewBoard    string                 `json:"newBoard,omitempty"`
	Unexplained int                    `json:"unexplained"`
	Changes     []revision.BoardChange `json:"changes"`
	Unused      []revision.Unused      `json:"unused"`
}

func diffBoards(env *environment, out *outputOptions, a, b, mapping string, why explanations) error {
	old, err := readBoard(a, mapping)
	if err != nil {
		return err
	}
	now, err := readBoard(b, mapping)
	if err != nil {
		return err
	}
	notices, err := why.openNotices()
	if err != nil {
		return err
	}
	if old.Assembly != "" && now.Assembly != "" && !strings.EqualFold(old.Assembly, now.Assembly) {
		fmt.Fprintf(env.stderr, "assay: %s and %s are two boards, whose designators mean different places\n", report.Plain(old.Assembly), report.Plain(now.Assembly))
	}
	d := boardDifference{Old: old.Name, New: now.Name, OldBoard: boardName(old), NewBoard: boardName(now)}
	d.Changes, d.Unused = revision.ExplainBoard(board.Diff(old, now), notices)
	for _, c := range d.Changes {
		if len(c.ExplainedBy) == 0 {
			d.Unexplained++
		}
	}
	var w bytes.Buffer
	if out.format == "json" {
		if err := asJSON(&w, d); err != nil {
			return err
		}
	} else {
		d.text(&w, len(notices) > 0)
	}
	if err := out.write(env, w.Bytes()); err != nil {
		return err
	}
	if len(d.Changes) > 0 {
		return &exitError{code: 1}
	}
	return nil
}

// boardName is what a board's designators belong to.
func boardName(b *board.BOM) string { return strings.TrimSpace(b.Assembly + " " + b.Revision) }

// text lists the changes, each with what accounts for it when notices were given.
func (d boardDifference) text(w io.Writer, notices bool) {
	for _, c := range d.Changes {
		why := ""
		switch {
		case len(c.ExplainedBy) > 0:
			why = "; explained by " + report.Plain(strings.Join(c.ExplainedBy, ", "))
		case notices:
			why = "; NOT EXPLAINED"
		}
		switch {
		case c.From != "":
			fmt.Fprintf(w, "%-12s %s was %s: %s%s\n", c.Change.Change, report.Plain(c.Designator), report.Plain(c.From), partText(*c.New), why)
		case c.Old != nil && c.New != nil:
			fmt.Fprintf(w, "%-12s %s: %s -> %s%s\n", c.Change.Change, report.Plain(c.Designator), partText(*c.Old), partText(*c.New), why)
		case c.New != nil:
			fmt.Fprintf(w, "%-12s %s: %s%s\n", c.Change.Change, report.Plain(c.Designator), partText(*c.New), why)
		default:
			fmt.Fprintf(w, "%-12s %s: %s%s\n", c.Change.Change, report.Plain(c.Designator), partText(*c.Old), why)
		}
	}
	if len(d.Changes) == 0 {
		fmt.Fprintln(w, "no differences")
	} else {
		fmt.Fprintf(w, "%d changes, %d not explained by an ECN or a ticket\n", len(d.Changes), d.Unexplained)
	}
	writeUnused(w, d.Unused)
}
