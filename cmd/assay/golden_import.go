package main

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/cyclonedx"
	"github.com/assay-hw/assay/manifest/safe"
	"github.com/assay-hw/assay/report"
)

// importOptions are the flags of golden import.
type importOptions struct {
	keys                []string
	name                string
	manufacturer, model string
	id, file            string
	revision            string
	mapping, system     string
	placement           string
	version             int64
	validity            time.Duration
	strict              bool
	scope               string
}

const importHelp = `Reads what vendors publish and drafts a manifest, for somebody to read and sign.

CycloneDX documents (JSON, XML; also those of golden export): the parts of a foreign
one become lines that no software can check, until somebody says what they answer to.

OCP S.A.F.E. short-form reports (JWS): the draft's firmware[] has the digests that
were reviewed. Only what is signed is read; a document beside it is not. The keys of
the review providers (--safe-key: PEM or JSON Web Key Set, a file or a directory) are
yours to choose. The evidence has to hold the image as firmware/NAME.rom.

Lists of components as paccor and HIRS collect them (JSON): nobody signed them.

Cerberus manifests in XML (PFM, CFM with its component files, PCD), several in one
draft. Of the signed binaries only the header is told.

What a management controller tells by Redfish: a tree of resources in the layout of
DMTF's mockups, as a directory or as .zip, .tar.gz or .tar.xz, or one resource;
--system chooses where there are several. A controller confirms parts and never proves
that there are no others: the classes stay open.

Bills of materials of boards (.csv, .tsv, .xlsx, IPC-2581; --map, --model for the
board's part number, --revision): each fitted part becomes a line for inspection, with
the alternates that IPC-2581 approves.

What dmidecode, lspci and lshw print of a unit (see also bom import).

TCG platform certificates (a base and its deltas), RIMs with their support RIMs, and
CoRIMs: signatures are not checked here, since a draft is for somebody to read. To
use such documents as they were signed, name them in verify --golden.

What of a document has no place in a manifest is printed on standard error, and with
--strict refused.`

func newGoldenImportCommand(env *environment) *cobra.Command {
	var opt importOptions
	var now nowOption
	cmd := &cobra.Command{
		Use:   "import FILE...",
		Short: "Turn documents of other formats into a draft",
		Long:  importHelp,
		Example: "  assay golden import hbom.cdx.json -o draft.json\n  assay golden import report.jws --safe-key providers/ --name bmc -o draft.json\n" +
			"  assay golden import redfish-mockup/ --system 1 --scope model -o draft.json\n  assay golden import board.xlsx --manufacturer Example --model MB-1 --revision C -o draft.json\n  assay golden import pfm.xml cfm_component.xml pcd.xml -o draft.json",
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usage("%s takes at least 1 argument, got 0", cmd.CommandPath())
		}
		at, err := now.time(env)
		if err != nil {
			return err
		}
		if err := opt.check(); err != nil {
			return err
		}
		m, lost, err := opt.read(args)
		if err != nil {
			return err
		}
		return opt.write(env, m, lost, at)
	}
	opt.addFlags(cmd)
	opt.addDraftFlags(cmd)
	now.addFlag(cmd.Flags())
	return cmd
}

// write writes the draft, after what was lost.
func (o *importOptions) write(env *environment, m *manifest.Manifest, lost []string, at time.Time) error {
	if err := tellLost(env, lost, "a manifest", o.strict); err != nil {
		return err
	}
	o.environment(m)
	o.header(m, at)
	raw, err := manifest.Encode(m)
	if err != nil {
		return unreadable(err)
	}
	return (&outputOptions{file: o.file}).write(env, raw)
}

// environment names what the manifest is about, as the flags say.
func (o *importOptions) environment(m *manifest.Manifest) {
	m.Environment.Manufacturer = cmp.Or(o.manufacturer, m.Environment.Manufacturer)
	m.Environment.Model = cmp.Or(o.model, m.Environment.Model)
	m.Environment.Revision = cmp.Or(o.revision, m.Environment.Revision)
}

// tellLost prints what has no place in what would be written. With strict it is an
// error, and nothing is written.
func tellLost(env *environment, lost []string, in string, strict bool) error {
	for _, l := range lost {
		fmt.Fprintf(env.stderr, "lost: %s\n", report.Plain(l))
	}
	if strict && len(lost) > 0 {
		return unreadable(fmt.Errorf("%d things have no place in %s, and --strict was given; the first: %s", len(lost), in, report.Plain(lost[0])))
	}
	return nil
}

// check looks at flags that are known to be wrong before anything is read.
func (o *importOptions) check() error {
	if o.scope != "" && o.scope != "machine" && o.scope != "model" {
		return usage("--scope %s: want machine or model", o.scope)
	}
	return nil
}

// header names the draft. What golden export wrote has a header of its own.
func (o *importOptions) header(m *manifest.Manifest, at time.Time) {
	m.ID = cmp.Or(o.id, m.ID, strings.Trim(notInID.ReplaceAllString(strings.ToLower(m.Environment.Manufacturer+"-"+m.Environment.Model), "-"), "-")+"-firmware")
	m.Version = cmp.Or(o.version, m.Version, 1)
	if m.IssuedAt.IsZero() {
		m.IssuedAt = at.UTC().Truncate(time.Second)
		m.NotAfter = m.IssuedAt.Add(o.validity)
	}
}

var notInID = regexp.MustCompile(`[^a-z0-9.]+`)

func (o *importOptions) addFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringArrayVar(&o.keys, "safe-key", nil, "public keys of review providers: a file or a directory; repeatable")
	fs.StringVar(&o.name, "name", "", "name of the image in evidence; default: by what the report says it is")
	fs.StringVar(&o.placement, "placement", "", "pick-and-place file with the positions of a board's parts")
	fs.StringVar(&o.mapping, "map", "", "file that names the header of each column of a board's list (JSON)")
	addSystemFlag(fs, &o.system)
}

// addDraftFlags adds those of every command that drafts.
func (o *importOptions) addDraftFlags(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVarP(&o.file, "output", "o", "", "write to this file instead of standard output")
	fs.StringVar(&o.manufacturer, "manufacturer", "", "manufacturer of the platform; default: as in the document")
	fs.StringVar(&o.model, "model", "", "model of the platform, or part number of the board; default: as in the document")
	fs.StringVar(&o.revision, "revision", "", "revision of the platform or the board; default: as in the document")
	fs.StringVar(&o.id, "id", "", "id of the manifest's lineage; default from manufacturer and model")
	fs.Int64Var(&o.version, "version", 0, "version in the lineage; default 1, or what the document has")
	fs.DurationVar(&o.validity, "validity", 2*365*24*time.Hour, "time until the manifest expires")
	fs.BoolVar(&o.strict, "strict", false, "refuse what has no place in a manifest")
	fs.StringVar(&o.scope, "scope", "machine", "of what a unit tells: machine declares its serial numbers too, model does not")
}

// read makes one draft of all reports.
func (o *importOptions) read(files []string) (*manifest.Manifest, []string, error) {
	if info, err := os.Stat(files[0]); err == nil && info.IsDir() {
		return o.parts(files)
	}
	for _, reader := range []func([]string) (*manifest.Manifest, []string, error){o.board, o.document, o.paccor, o.certificates, o.rims, o.cerberus, o.corim, o.parts} {
		if m, lost, err := reader(files); m != nil || err != nil {
			return m, lost, err
		}
	}
	return o.reports(files)
}

// reports drafts of signed S.A.F.E. reports.
func (o *importOptions) reports(files []string) (*manifest.Manifest, []string, error) {
	raws := make([][]byte, len(files))
	for i, name := range files {
		raw, err := readInput(name, safe.MaxBytes)
		if err != nil {
			return nil, nil, err
		}
		if raws[i] = raw; !safe.IsReport(raw) {
			return nil, nil, unreadable(fmt.Errorf("%s: offset 0: neither a CycloneDX document, a list of paccor, a platform certificate, a RIM, a CoRIM, a Cerberus manifest, a Redfish resource, the list of a board, the output of a tool nor a signed S.A.F.E. report (JWS)", name))
		}
	}
	keys, err := readKeys(o.keys)
	if err != nil {
		return nil, nil, err
	}
	m := &manifest.Manifest{Environment: manifest.Environment{Manufacturer: o.manufacturer, Model: o.model}}
	var lost []string
	for i, name := range files {
		r, err := safe.Open(raws[i], keys)
		if err != nil {
			return nil, nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		ref, err := r.Reference(imageOf(o.name, r))
		if err != nil {
			return nil, nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		m.Firmware = append(m.Firmware, ref)
		for _, l := range r.Lost {
			lost = append(lost, name+": "+l)
		}
		if m.Environment.Manufacturer == "" {
			m.Environment.Manufacturer = report.Plain(r.Device.Vendor)
		}
		if m.Environment.Model == "" {
			m.Environment.Model = report.Plain(r.Device.Product)
		}
	}
	return m, lost, nil
}

// document reads a CycloneDX document, or returns nothing when the first file is
// none.
func (o *importOptions) document(files []string) (*manifest.Manifest, []string, error) {
	raw, err := readInput(files[0], cyclonedx.MaxBytes)
	if err != nil || !cyclonedx.IsDocument(raw) {
		return nil, nil, err
	}
	if len(files) > 1 {
		return nil, nil, usage("one CycloneDX document at a time; %q is not needed", files[1])
	}
	m, losses, err := cyclonedx.Import(raw)
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", files[0], err))
	}
	m.Environment.Manufacturer = cmp.Or(o.manufacturer, m.Environment.Manufacturer)
	m.Environment.Model = cmp.Or(o.model, m.Environment.Model)
	var lost []string
	for _, l := range losses {
		lost = append(lost, files[0]+": "+l.String())
	}
	return m, lost, nil
}

// imageOf names the image in evidence that a report is about.
func imageOf(given string, r *safe.Report) string {
	if given != "" {
		return given
	}
	what := strings.ToLower(r.Device.Product + " " + r.Device.Category)
	switch {
	case strings.Contains(what, "bmc") || strings.Contains(what, "megarac") || strings.Contains(what, "openbmc"):
		return "bmc"
	case strings.Contains(what, "uefi") || strings.Contains(what, "bios") || strings.Contains(what, "aptio"):
		return "bios"
	}
	return strings.Trim(notInID.ReplaceAllString(strings.ToLower(r.Device.Product), "-"), "-")
}

// readKeys reads the keys of review providers from files and directories.
func readKeys(paths []string) ([]safe.Key, error) {
	if len(paths) == 0 {
		return nil, usage("--safe-key is needed: a report proves nothing without the key of its review provider")
	}
	var out []safe.Key
	read := func(p string) error {
		b, err := readInput(p, 1<<20)
		if err != nil {
			return err
		}
		k, err := safe.ParseKeys(filepath.Base(p), b)
		if err != nil {
			return unreadable(err)
		}
		out = append(out, k...)
		return nil
	}
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, unreadable(err)
		}
		if !info.IsDir() {
			if err := read(p); err != nil {
				return nil, err
			}
			continue
		}
		err = filepath.WalkDir(p, func(f string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !keyFile(f) {
				return err
			}
			return read(f)
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// keyFile reports whether a file of a directory is meant as a key.
func keyFile(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".pem", ".pub", ".crt", ".cer", ".jwks", ".json":
		return true
	}
	return false
}
