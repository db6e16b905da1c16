package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/board"
	"github.com/assay-hw/assay/boardmap"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/report"
)

// mapOptions are the flags of bom map.
type mapOptions struct {
	file, evidence, placement, mapping, svg, draft string
	board                                          boardmap.Board
	trust                                          []string
	looked                                         inspectionOptions
	now                                            nowOption
	limit                                          limitOption
	out                                            outputOptions
}

func newBOMMapCommand(env *environment) *cobra.Command {
	var opt mapOptions
	cmd := &cobra.Command{
		Use:   "map BOARD",
		Short: "Tell which parts of a board software can see, and which are for an inspection",
		Long: `Joins the bill of materials of a board with what software can ask: by a board map
(--board-map, docs/formats), or by the built-in dictionary and the evidence. For each
place it says whether the machine showed exactly the declared part (matched), only that
something is there (present), something else (contradicted), nothing at hand (not
checked), or whether no software can (not observable). What is left is the inspection
list, with positions from a pick-and-place file of Altium, KiCad or any table with
designator, x and y; --svg draws the board.

Exit codes: 1 when a place is contradicted; 2 when only a record that is not trusted does
so; 3 when evidence was given and does not show a part that has a handle; else 0.`,
		Example: "  assay bom map board.xlsx --placement pick-place.csv --svg board.svg\n" +
			"  assay bom map board.xlsx --evidence server.evidence.zip --draft-map board-map.json\n" +
			"  assay bom map board.xlsx --board-map board-map.json --evidence server.evidence.zip --inspection aoi.signed.json --trust roots/",
		Args: exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := opt.out.check("text", "json"); err != nil {
			return err
		}
		return opt.run(env, args[0])
	}
	opt.addFlags(cmd.Flags())
	return cmd
}

func (o *mapOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.file, "board-map", "", "board map (JSON) with the handles of packages")
	fs.StringVar(&o.evidence, "evidence", "", "evidence of a machine with this board")
	fs.StringVar(&o.placement, "placement", "", "pick-and-place file with the positions of parts")
	fs.StringVar(&o.mapping, "map", "", "file that names the header of each column of the bill of materials (JSON)")
	fs.StringVar(&o.svg, "svg", "", "draw the board into this file")
	fs.StringVar(&o.draft, "draft-map", "", "write a board map to complete into this file")
	fs.StringVar(&o.board.Manufacturer, "manufacturer", "", "of the board, for a draft")
	fs.StringVar(&o.board.PartNumber, "part-number", "", "of the board, for a draft")
	fs.StringVar(&o.board.Revision, "revision", "", "of the board, for a draft")
	addTrustFlag(fs, &o.trust)
	o.looked.addFlags(fs)
	o.now.addFlag(fs)
	o.limit.addFlag(fs)
	o.out.addFlags(fs, "text", "json")
}

func (o *mapOptions) run(env *environment, path string) error {
	in, err := o.read(env, path)
	if err != nil {
		return err
	}
	strangers := o.ofAnotherUnit(&in)
	r := boardmap.Compare(in)
	r.Warnings = append(r.Warnings, strangers...)
	if o.draft != "" {
		m := boardmap.Draft(in.BOM, in.Inventory)
		m.Board = o.board
		raw, err := m.Encode()
		if err != nil {
			return err
		}
		if err := writeFile(o.draft, raw); err != nil {
			return err
		}
	}
	if o.svg != "" {
		var w bytes.Buffer
		if err := r.SVG(&w); errors.Is(err, boardmap.ErrNoPositions) {
			return usage("--svg: %v: give a pick-and-place file with --placement", err)
		} else if err != nil {
			return err
		}
		if err := writeFile(o.svg, w.Bytes()); err != nil {
			return err
		}
	}
	var w bytes.Buffer
	if o.out.format == "json" {
		err = asJSON(&w, r)
	} else {
		writeMap(&w, r, o.out.all)
	}
	if err != nil {
		return err
	}
	if err := o.out.write(env, w.Bytes()); err != nil {
		return err
	}
	return verdictError(mapVerdict(r))
}

// read reads everything that is joined.
func (o *mapOptions) read(env *environment, path string) (in boardmap.Input, err error) {
	if in.BOM, err = readBoard(path, o.mapping); err != nil {
		return in, err
	}
	if o.evidence != "" {
		limits, err := o.limit.limits()
		if err != nil {
			return in, err
		}
		b, err := evidence.Open(o.evidence, limits)
		if err != nil {
			return in, err
		}
		in.Inventory = bom.Read(b)
	}
	in.Map = boardmap.Draft(in.BOM, in.Inventory)
	in.Map.Board = o.board
	if o.file != "" {
		raw, err := readInput(o.file, boardmap.MaxBytes)
		if err != nil {
			return in, err
		}
		if in.Map, err = boardmap.Read(raw); err != nil {
			return in, unreadable(fmt.Errorf("%s: %w", o.file, err))
		}
	}
	if o.placement != "" {
		raw, err := readInput(o.placement, board.MaxBytes)
		if err != nil {
			return in, err
		}
		if in.Placement, err = board.ReadPlacement(o.placement, raw); err != nil {
			return in, unreadable(err)
		}
	}
	t, err := loadTrust(o.trust)
	if err != nil {
		return in, err
	}
	in.Records, err = o.looked.open(t, o.now, env)
	return in, err
}

// ofAnotherUnit takes away records that are not about the unit of the evidence,
// and says so. Without evidence the report names the unit of its records.
func (o *mapOptions) ofAnotherUnit(in *boardmap.Input) (warnings []string) {
	serials := map[string]string{}
	if in.Inventory != nil {
		for _, subject := range []string{"system", "baseboard"} {
			p, _ := in.Inventory.Part(subject)
			serials[map[string]string{"system": "machine", "baseboard": "board"}[subject]] = p.Identity.Serial
		}
	}
	first := ""
	in.Records = slices.DeleteFunc(in.Records, func(r *inspection.Opened) bool {
		if r.Record() == nil {
			return false
		}
		u := r.Record().Unit
		want := cmp.Or(serials[u.Kind], first)
		if in.Inventory == nil {
			first = cmp.Or(first, u.Serial)
			want = first
		}
		if want != "" && ids.Key(want) == ids.Key(u.Serial) {
			return false
		}
		warnings = append(warnings, fmt.Sprintf("inspection %s is about %s serial %s and was left out", r.Record().ID, u.Kind, u.Serial))
		return true
	})
	return warnings
}

// mapVerdict is the verdict whose exit code bom map gives.
func mapVerdict(r *boardmap.Report) assay.Verdict {
	v := assay.Pass
	for _, p := range r.Places {
		switch {
		case p.State == boardmap.Contradicted && !p.Doubtful:
			return assay.Fail
		case p.State == boardmap.NotChecked && r.Evidence:
			v = assay.Inconclusive
		case p.State == boardmap.Contradicted && v == assay.Pass:
			v = assay.Review
		}
	}
	return v
}

// writeMap prints a report for people; without --all only places that software
// can see or that contradict are listed one by one.
func writeMap(w io.Writer, r *boardmap.Report, all bool) {
	c := r.Coverage
	fmt.Fprintf(w, "%s: %d places fitted, %d not fitted\n", report.Plain(r.BOM), c.Fitted, c.NotFitted)
	fmt.Fprintf(w, "verifiability: software could confirm %d.%d %% of the fitted places: %s\n", c.Ratio/10, c.Ratio%10, levels(c.Can))
	if r.Evidence {
		fmt.Fprintf(w, "confirmed by this evidence: %s\n", levels(c.Confirmed))
	}
	for _, k := range c.Classes {
		fmt.Fprintf(w, "  %-26s %4d fitted: %s\n", report.Plain(k.Class), k.Fitted, levels(k.Can))
	}
	var states []string
	for _, s := range boardmap.States {
		if n := c.States[s]; n > 0 {
			states = append(states, fmt.Sprintf("%d %s", n, s))
		}
	}
	fmt.Fprintf(w, "places: %s\n", strings.Join(states, ", "))
	for _, p := range r.Places {
		if all || p.Handle != "" || p.State == boardmap.Contradicted {
			fmt.Fprintf(w, "  %-14s %-8s %s: %s\n", p.State, report.Plain(p.Designator), report.Plain(p.Part), report.Plain(p.Why))
		}
	}
	unit := ""
	if r.Measure != "" {
		unit = ", positions in " + r.Measure
	}
	if len(r.Inspect) > 0 {
		fmt.Fprintf(w, "for inspection (%d), in the order of a walk over the board%s:\n", len(r.Inspect), unit)
	}
	for _, p := range r.Inspect {
		fmt.Fprintf(w, "  [ ] %-8s %-34s %s: %s\n", report.Plain(p.Designator), at(p), report.Plain(p.Part), report.Plain(p.Why))
	}
	for _, x := range r.Warnings {
		fmt.Fprintf(w, "note: %s\n", report.Plain(x))
	}
}

// levels lists counts by what a confirmation rests on, the strongest first.
func levels(n map[boardmap.Level]int) string {
	var out []string
	for _, l := range []boardmap.Level{boardmap.Cryptographic, boardmap.Observed, boardmap.Claimed, boardmap.Presence, boardmap.Undecided, boardmap.PhysicalOnly} {
		if n[l] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[l], l))
		}
	}
	return cmp.Or(strings.Join(out, ", "), "none")
}

// at is where a part sits, in the numbers of the pick-and-place file.
func at(p boardmap.Place) string {
	if p.Position == nil {
		return "no position"
	}
	return strings.TrimSpace(fmt.Sprintf("%s x %g y %g, turned %g", p.Position.Side, p.Position.X, p.Position.Y, p.Position.Rotation))
}
