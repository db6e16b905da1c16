package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/inspection"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/report"
)

func newInspectionCommand(env *environment) *cobra.Command {
	return group("inspection", "Draft, sign and check records of physical inspections",
		"  assay inspection draft unit.evidence.zip --technique x-ray --operator 'X-Ray House/Op 7' -o record.json",
		newInspectionDraftCommand(env), newInspectionSignCommand(env), newInspectionVerifyCommand(env), newInspectionShowCommand(env))
}

// inspectionOptions are the flags of commands that take records.
type inspectionOptions struct {
	records     []string
	attachments string
}

const maxRecords = 4096

func (o *inspectionOptions) addFlags(fs *pflag.FlagSet) {
	fs.StringArrayVar(&o.records, "inspection", nil, "signed record of a physical inspection of this unit or of one of its lot; repeatable")
	o.addAttachments(fs)
}

func (o *inspectionOptions) addAttachments(fs *pflag.FlagSet) {
	fs.StringVar(&o.attachments, "attachments", "", "directory with the files that records of inspections are attached to")
}

// open reads the records and looks for their attachments.
func (o *inspectionOptions) open(t *manifest.Trust, now nowOption, env *environment) ([]*inspection.Opened, error) {
	if len(o.records) > maxRecords {
		return nil, usage("--inspection: %d records, the limit is %d", len(o.records), maxRecords)
	}
	at, err := now.time(env)
	if err != nil {
		return nil, err
	}
	var dir fs.FS
	if o.attachments != "" {
		root, err := os.OpenRoot(o.attachments) // no link leads out of it
		if err != nil {
			return nil, unreadable(err)
		}
		defer root.Close()
		dir = root.FS()
	}
	var out []*inspection.Opened
	for _, p := range o.records {
		raw, err := readInput(p, 2*inspection.MaxBytes)
		if err != nil {
			return nil, err
		}
		rec := inspection.Open(raw, t, at)
		if dir != nil {
			if err := rec.Attach(dir); err != nil {
				return nil, unreadable(fmt.Errorf("%s: %w", p, err))
			}
		}
		out = append(out, rec)
	}
	return out, nil
}

// recordDraft are the flags of inspection draft.
type recordDraft struct {
	record                              inspection.Record
	technique, operator, lot, dir, file string
	board                               bool
	attach                              []string
	now                                 nowOption
}

func newInspectionDraftCommand(env *environment) *cobra.Command {
	var d recordDraft
	cmd := &cobra.Command{
		Use:   "draft EVIDENCE",
		Short: "Begin a record of an inspection of the unit that evidence is about",
		Long: `Writes a record of the unit that the evidence names, to be completed in an editor and
signed: places with what was observed there (placed, missing, extra, other, rework,
value), measurements with the range of their baseline, and the result (conforms,
deviates, undecided). Attachments are named by their path under --directory and bound by
digest. With --board the record is about the machine's main board instead, by the names
in its own labels.`,
		Example: "  assay inspection draft unit.evidence.zip --technique aoi --operator 'X-Ray House/Op 7' --reference 'golden images rev A' \\\n" +
			"      --directory images --attach top.png --attach bottom.png -o record.json",
		Args: exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error { return d.write(env, args[0]) }
	d.addFlags(cmd.Flags())
	return cmd
}

func (d *recordDraft) addFlags(fs *pflag.FlagSet) {
	r := &d.record
	fs.StringVar(&d.technique, "technique", "", "aoi, photo, x-ray, ct, clip-dump, impedance, boundary-scan, weight, tamper-seal or label")
	fs.StringVar(&r.ID, "id", "draft", "number of the record")
	fs.StringVar(&d.operator, "operator", "", "who inspected: ORGANISATION/PERSON")
	fs.StringVar(&r.Laboratory, "laboratory", "", "where")
	fs.StringVar(&r.Instrument.Maker, "instrument-maker", "", "who made the instrument")
	fs.StringVar(&r.Instrument.Model, "instrument-model", "", "its model")
	fs.StringVar(&r.Instrument.Serial, "instrument-serial", "", "its serial number")
	fs.StringVar(&r.Reference.ID, "reference", "", "what the unit was compared with")
	fs.StringVar(&r.Reference.SHA256, "reference-sha256", "", "digest of it")
	fs.StringVar(&r.Coverage, "coverage", inspection.Partial, "complete or partial: whether every place of the reference was looked at")
	fs.StringVar(&r.Result, "result", inspection.Undecided, "conforms, deviates or undecided")
	fs.StringVar(&d.lot, "lot", "", "lot of the unit: ID/SIZE")
	fs.BoolVar(&d.board, "board", false, "the record is about the main board, not the machine")
	fs.StringArrayVar(&d.attach, "attach", nil, "file that belongs to the record; of a clip dump as FILE=FLASH, with the name of the image in evidence; repeatable")
	fs.StringVar(&d.dir, "directory", ".", "directory that the names of attachments begin in")
	fs.StringVarP(&d.file, "output", "o", "", "write to this file instead of standard output")
	d.now.addFlag(fs)
}

func (d *recordDraft) write(env *environment, evidence string) error {
	at, err := d.now.time(env)
	if err != nil {
		return err
	}
	r := &d.record
	r.Format, r.Technique, r.PerformedAt = inspection.Format, inspection.Technique(d.technique), at
	if !r.Technique.Known() {
		return usage("--technique %s: want aoi, photo, x-ray, ct, clip-dump, impedance, boundary-scan, weight, tamper-seal or label", d.technique)
	}
	r.Operator.Organization, r.Operator.Person, _ = strings.Cut(d.operator, "/")
	if r.Unit, err = unitIn(evidence, d.board); err != nil {
		return err
	}
	if r.Lot, err = parseLot(d.lot); err != nil {
		return err
	}
	if r.Attachments, err = attachmentsOf(d.dir, d.attach); err != nil {
		return err
	}
	raw, err := inspection.Encode(r)
	if err != nil {
		return err
	}
	if _, err := inspection.Decode(raw); err != nil {
		return usage("%v", err)
	}
	return (&outputOptions{file: d.file}).write(env, raw)
}

// unitIn names the machine, or its main board, that evidence is about.
func unitIn(path string, board bool) (inspection.Unit, error) {
	b, err := evidence.Open(path, evidence.Limits{})
	if err != nil {
		return inspection.Unit{}, err
	}
	subject, kind := "system", "machine"
	if board {
		subject, kind = "baseboard", "board"
	}
	p, ok := bom.Read(b).Part(subject)
	if !ok {
		return inspection.Unit{}, unreadable(fmt.Errorf("%s: the evidence does not name the %s", path, kind))
	}
	u := inspection.Unit{Kind: kind, Manufacturer: p.Identity.Maker, Model: p.Identity.Model, Serial: p.Identity.Serial}
	if board {
		u.Revision = p.Identity.Revision
	}
	return u, nil
}

func parseLot(s string) (*inspection.Lot, error) {
	if s == "" {
		return nil, nil
	}
	id, size, _ := strings.Cut(s, "/")
	l := &inspection.Lot{ID: id}
	if _, err := fmt.Sscanf(size, "%d", &l.Size); err != nil || id == "" {
		return nil, usage("--lot %s: want ID/SIZE", s)
	}
	return l, nil
}

// attachmentsOf binds files by size and digest.
func attachmentsOf(dir string, names []string) ([]inspection.Attachment, error) {
	var out []inspection.Attachment
	for _, n := range names {
		name, flash, _ := strings.Cut(n, "=")
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return nil, unreadable(err)
		}
		h := sha256.New()
		size, err := io.Copy(h, f)
		_ = f.Close()
		if err != nil {
			return nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		kind := mime.TypeByExtension(path.Ext(name))
		if kind == "" {
			kind = "application/octet-stream"
		}
		out = append(out, inspection.Attachment{Name: path.Clean(filepath.ToSlash(name)), MediaType: kind, SHA256: hex.EncodeToString(h.Sum(nil)), Size: size, Flash: flash})
	}
	return out, nil
}

// newInspectionSignCommand is golden sign under the name where people look for it.
func newInspectionSignCommand(env *environment) *cobra.Command {
	cmd := newGoldenSignCommand(env)
	cmd.Short = "Sign a record of an inspection (DSSE)"
	cmd.Long = `Signs a record, or adds a signature to a signed record: golden sign does the same. A record
counts where trust.yaml grants its signer the right inspection, or inspection:TECHNIQUE,
for the unit's manufacturer; nobody has that right by default.`
	cmd.Example = "  assay inspection sign record.json --key lab.key --cert lab.pem -o record.signed.json"
	return cmd
}

// recordCheck is what inspection verify and show print in JSON.
type recordCheck struct {
	Verdict     assay.Verdict      `json:"verdict,omitempty"`
	Record      *inspection.Record `json:"record"`
	CycloneDX   string             `json:"cycloneDxTechnique,omitempty"`
	Status      string             `json:"status,omitempty"`
	Signers     []string           `json:"signers,omitempty"`
	Problems    []string           `json:"problems,omitempty"`
	Attachments map[string]string  `json:"attachments,omitempty"` // by name: "verified", or why not
}

func newInspectionVerifyCommand(env *environment) *cobra.Command {
	var trust []string
	var opt inspectionOptions
	var now nowOption
	var out outputOptions
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check a record's signature, its signer's right and its attachments",
		Long: `Checks a record without any evidence. Exits 0 when it is trusted and every attachment is
what was signed, 3 when attachments are not at hand, 1 otherwise. What the record says
of its unit is for assay verify.`,
		Example: "  assay inspection verify record.signed.json --trust roots/ --attachments images/",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		t, err := loadTrust(trust)
		if err != nil {
			return err
		}
		opt.records = args
		opened, err := opt.open(t, now, env)
		if err != nil {
			return err
		}
		return printRecord(env, &out, checkRecord(opened[0]))
	}
	addTrustFlag(cmd.Flags(), &trust)
	opt.addAttachments(cmd.Flags())
	now.addFlag(cmd.Flags())
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

func checkRecord(o *inspection.Opened) recordCheck {
	c := recordCheck{Verdict: assay.Pass, Record: o.Record(), Status: o.Report().Status, Signers: o.Report().Signers, Attachments: map[string]string{}}
	for _, f := range o.Report().Findings {
		c.Problems = append(c.Problems, f.Why)
	}
	for _, n := range o.Report().NotChecked {
		c.Problems = append(c.Problems, n.What+": "+n.Reason)
	}
	if c.Record != nil {
		c.CycloneDX = c.Record.Technique.CycloneDX()
		for _, a := range c.Record.Attachments {
			c.Attachments[a.Name] = "verified"
			if _, trouble := o.Attached(a.Name); trouble != "" {
				c.Attachments[a.Name], c.Verdict = trouble, assay.Inconclusive
			}
		}
	}
	if !o.Trusted() {
		c.Verdict = assay.Fail
	}
	return c
}

func newInspectionShowCommand(env *environment) *cobra.Command {
	var out outputOptions
	cmd := &cobra.Command{
		Use:     "show FILE",
		Short:   "Show what a record says, without checking it",
		Example: "  assay inspection show record.signed.json",
		Args:    exactly(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if err := out.check("text", "json"); err != nil {
			return err
		}
		raw, err := readInput(args[0], 2*inspection.MaxBytes)
		if err != nil {
			return err
		}
		o := inspection.Open(raw, nil, env.now())
		if o.Record() == nil {
			return unreadable(fmt.Errorf("%s: %s", args[0], o.Report().Findings[0].Why))
		}
		return printRecord(env, &out, recordCheck{Record: o.Record(), CycloneDX: o.Record().Technique.CycloneDX()})
	}
	out.addFlags(cmd.Flags(), "text", "json")
	return cmd
}

func printRecord(env *environment, out *outputOptions, c recordCheck) error {
	var w bytes.Buffer
	if out.format == "json" {
		if err := asJSON(&w, c); err != nil {
			return err
		}
	} else {
		c.text(&w)
	}
	if err := out.write(env, w.Bytes()); err != nil {
		return err
	}
	if c.Verdict == "" {
		return nil
	}
	return verdictError(c.Verdict)
}

func (c recordCheck) text(w io.Writer) {
	line := func(format string, args ...any) {
		for i, a := range args {
			if s, ok := a.(string); ok {
				args[i] = report.Plain(s)
			}
		}
		fmt.Fprintf(w, format+"\n", args...)
	}
	if c.Verdict != "" {
		line("%s  record %s", strings.ToUpper(string(c.Verdict)), c.Status)
	}
	for _, s := range c.Signers {
		line("      signed by %s", s)
	}
	for _, p := range c.Problems {
		line("      %s", p)
	}
	r := c.Record
	if r == nil {
		return
	}
	line("record %s: %s of %s %s %s serial %s", r.ID, string(r.Technique), r.Unit.Kind, r.Unit.Manufacturer, r.Unit.Model, r.Unit.Serial)
	line("  %s, %s coverage, against %s", r.Result, r.Coverage, r.Reference.ID)
	line("  by %s, %s, %s with %s %s", r.Operator.Organization, r.Operator.Person, r.PerformedAt.UTC().Format("2006-01-02T15:04:05Z"), r.Instrument.Maker, r.Instrument.Model)
	if r.Lot != nil {
		line("  of lot %s, which has %d units", r.Lot.ID, r.Lot.Size)
	}
	for _, p := range r.Places {
		line("  %-8s %-8s %s", p.Designator, p.Observed, strings.TrimSpace(p.PartNumber+" "+p.Marking+" "+p.Note))
	}
	for _, m := range r.Measurements {
		line("  %s: %s %s, baseline %s to %s", m.Name, m.Value, m.Unit, m.Low, m.High)
	}
	for _, a := range r.Attachments {
		line("  attachment %s, %d bytes, sha256:%s %s", a.Name, a.Size, a.SHA256, c.Attachments[a.Name])
	}
}
