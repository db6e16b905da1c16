package assay

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/firmware/measured"
	"github.com/assay-hw/assay/internal/ids"
	"github.com/assay-hw/assay/manifest"
)

// Scope says what a manifest is for.
type Scope string

// A manifest is for one machine, with its serial numbers and its TPM, or for
// every machine of a model.
const (
	Machine Scope = "machine"
	Model   Scope = "model"
)

// DraftOptions steer Draft. Zero fields have defaults.
type DraftOptions struct {
	Scope    Scope // default: machine for the evidence of one machine, model for several
	ID       string
	Version  int64
	Now      time.Time
	Validity time.Duration      // default: two years
	Decoders []firmware.Decoder // as in Case

	// Inventories are the parts of the units, read by the caller, one for each
	// bundle; as Case.Inventory. nil has the bundles read.
	Inventories []*bom.Inventory

	Firmware []firmware.VendorFile // become references beside those of the units' own flash
	Platform manifest.Environment  // what the manifest is about, when there is no unit
}

// unit is one known-good machine, or one boot of it.
type unit struct {
	bundle    *evidence.Bundle
	inventory *bom.Inventory
	boot      *attest.Observation
	images    []*firmware.Image
	devices   *spdm.Observation
}

// Draft makes a manifest from the evidence of known-good units. The notes are
// for the person who signs: what varied between units, which contradictions the
// evidence already has and are accepted with it, and which classes could not be
// declared complete.
func Draft(bundles []*evidence.Bundle, opt DraftOptions) (*manifest.Manifest, []string, error) {
	if len(bundles) == 0 && len(opt.Firmware) == 0 {
		return nil, nil, errors.New("draft: no evidence")
	}
	if n := len(opt.Inventories); n > 0 && n != len(bundles) {
		return nil, nil, fmt.Errorf("draft: %d inventories for %d units", n, len(bundles))
	}
	d := &drafter{opt: opt}
	for i, b := range bundles {
		var inv *bom.Inventory
		if len(opt.Inventories) > 0 {
			inv = opt.Inventories[i]
		} else {
			inv = bom.Read(b)
		}
		d.units = append(d.units, unit{bundle: b, inventory: inv, boot: attest.Observe(b), images: firmware.Read(b, opt.Decoders...), devices: spdm.Observe(b)})
	}
	d.scannerBoots()
	if err := d.platform(); err != nil {
		return nil, nil, err
	}
	d.components()
	if err := d.measurements(); err != nil {
		return nil, nil, err
	}
	d.contradictions()
	return &d.out, d.notes, nil
}

type drafter struct {
	opt   DraftOptions
	units []unit
	out   manifest.Manifest
	notes []string
}

func (d *drafter) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

// scannerBoots leaves out what belongs to the bootable scanner that took the
// evidence, and not to the machine: its medium, and the registers that its own
// reference declares.
func (d *drafter) scannerBoots() {
	told := map[string]bool{}
	for _, u := range d.units {
		image := claimedImage(u.bundle)
		if image == "" {
			continue
		}
		if disks := mediaOf(u.bundle, u.boot, ""); len(disks) == 1 {
			u.inventory.MarkBootMedium(disks[0])
		}
		if !told[image] {
			d.note("the evidence was taken by %q: its medium and PCR 4, 5 and 8 to 14 are left to the reference of that image", image)
		}
		told[image] = true
	}
}

// platform names what the manifest is about; all units must agree on it.
func (d *drafter) platform() error {
	if len(d.units) == 0 {
		if d.out.Environment = d.opt.Platform; d.out.Environment.Manufacturer == "" || d.out.Environment.Model == "" {
			return errors.New("draft: without evidence the manufacturer and the model have to be given")
		}
		if d.opt.Scope == Machine {
			return errors.New("draft: a manifest for one machine needs its evidence")
		}
		d.opt.Scope = Model
		d.header()
		return nil
	}
	serials := map[string]bool{}
	for i, u := range d.units {
		id, ok := u.inventory.Machine()
		if !ok || id.Maker == "" && id.Model == "" {
			return fmt.Errorf("draft: unit %d does not name its manufacturer and model (SMBIOS type 1, and type 2)", i+1)
		}
		env := manifest.Environment{Manufacturer: id.Maker, Model: id.Model, Revision: id.Revision, Virtual: u.inventory.Virtual}
		serials[id.Serial] = true
		if i == 0 {
			d.out.Environment = env
			continue
		}
		if first := d.out.Environment; !sameEnvironment(first, env) {
			return fmt.Errorf("draft: unit %d is a %s, the first is a %s; a manifest is about one model", i+1, name(env), name(first))
		}
		if env.Revision != d.out.Environment.Revision {
			d.out.Environment.Revision = ""
		}
	}
	if d.opt.Scope == "" {
		d.opt.Scope = Machine
		if len(serials) > 1 {
			d.opt.Scope = Model
		}
	}
	if d.opt.Scope == Machine {
		if len(serials) > 1 {
			return fmt.Errorf("draft: a manifest for one machine needs the evidence of one, but the units have %d serial numbers; use --scope model", len(serials))
		}
		id, _ := d.units[0].inventory.Machine()
		d.out.Environment.Serial = id.Serial
	}
	d.header()
	return nil
}

var notInID = regexp.MustCompile(`[^a-z0-9.]+`)

func (d *drafter) header() {
	env := d.out.Environment
	d.out.ID = d.opt.ID
	if d.out.ID == "" {
		d.out.ID = strings.Trim(notInID.ReplaceAllString(ids.Key(name(env)), "-"), "-")
	}
	d.out.Version = max(1, d.opt.Version)
	validity := d.opt.Validity
	if validity <= 0 {
		validity = 2 * 365 * 24 * time.Hour
	}
	d.out.IssuedAt = d.opt.Now.UTC().Truncate(time.Second)
	d.out.NotAfter = d.out.IssuedAt.Add(validity)
	if env.Virtual != "" {
		d.note("the reference evidence comes from a virtual machine (%s); the manifest expects one", env.Virtual)
	}
}

// components declares the parts, and as complete the classes that every unit
// shows completely.
func (d *drafter) components() {
	var drafts [][]bom.Reference
	d.out.Classes = map[bom.Class]bom.Closure{}
	for i, u := range d.units {
		refs, closures := bom.Draft(u.inventory, d.opt.Scope == Machine)
		drafts = append(drafts, refs)
		for c, cl := range closures {
			if old, ok := d.out.Classes[c]; i > 0 && (!ok || old != bom.Closed) {
				cl = bom.Open
			}
			d.out.Classes[c] = cl
		}
	}
	refs, varied := bom.Merge(drafts)
	d.out.Components = refs
	for _, v := range varied {
		d.note("%s", v)
	}
	var open []string
	for c, cl := range d.out.Classes {
		if cl != bom.Closed {
			open = append(open, fmt.Sprintf("%s (%s)", c, d.units[0].inventory.Classes[c].Reason))
		}
	}
	slices.Sort(open)
	if len(open) > 0 {
		d.note("not declared complete: %s", strings.Join(open, ", "))
	}
}

// firmware declares the units' images, each under the version that its own unit
// reports: units of a fleet that is being updated have several.
func (d *drafter) firmware() []firmware.Reference {
	var out []firmware.Reference
	done := make([]bool, len(d.units))
	for i := range d.units {
		if done[i] {
			continue
		}
		labels := (&appraisal{inventory: d.units[i].inventory}).versions()
		var images [][]*firmware.Image
		for j := i; j < len(d.units); j++ {
			if !done[j] && maps.Equal(labels, (&appraisal{inventory: d.units[j].inventory}).versions()) {
				done[j] = true
				images = append(images, d.units[j].images)
			}
		}
		out = append(out, firmware.DraftReferences(labels, images...)...)
	}
	slices.SortStableFunc(out, func(a, b firmware.Reference) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version), cmp.Compare(a.SHA256, b.SHA256))
	})
	return out
}

// measurements declares boot events, firmware images and the TPM.
func (d *drafter) measurements() error {
	var boots [][]attest.Reference
	for _, u := range d.units {
		refs := u.boot.DraftReferences()
		if claimedImage(u.bundle) != "" {
			refs = slices.DeleteFunc(refs, attest.Reference.OfSoftware)
		}
		boots = append(boots, refs)
	}
	refs, varied := attest.MergeReferences(boots)
	d.out.Boot = refs
	for _, v := range varied {
		d.note("%s", v)
	}
	d.out.Firmware = d.firmware()
	d.derive()
	if err := d.vendorFirmware(); err != nil {
		return err
	}
	d.devices()
	if d.opt.Scope == Machine {
		d.endorsements()
	}
	return nil
}

// vendorFirmware adds references from the files that the vendor ships. One that
// the flash of a unit has already is left out.
func (d *drafter) vendorFirmware() error {
	for _, f := range d.opt.Firmware {
		name := cmp.Or(f.Name, "bios")
		var size int64
		for _, u := range d.units {
			if i := slices.IndexFunc(u.images, func(m *firmware.Image) bool { return m.Name == name && m.Reason == "" }); i >= 0 {
				size = u.images[i].Size
			}
		}
		r, m, err := firmware.VendorReference(f, size)
		if err != nil {
			return fmt.Errorf("draft: %w", err)
		}
		if r.SHA256 != "" && slices.ContainsFunc(d.out.Firmware, func(o firmware.Reference) bool { return o.Name == r.Name && o.SHA256 == r.SHA256 }) {
			d.note("%s is what a unit has in its flash", f.Image.Artifact)
			continue
		}
		if r.Partial {
			d.note("%s holds %d parts of the flash %s and not all of it: what else is there will be listed as not checked", f.Image.Artifact, len(r.Leaves), r.Name)
		}
		d.out.Firmware = append(d.out.Firmware, r)
		d.predict(r.Name, m)
	}
	return nil
}

// predict allows, for events over a part of an image, what another version of
// that image has there.
func (d *drafter) predict(name string, m *firmware.Image) {
	for _, r := range d.out.Boot {
		for _, e := range r.Events {
			path, ok := strings.CutPrefix(e.Derived, derivedFirmware+name+"/")
			if !ok {
				continue
			}
			for bank, have := range e.Digests {
				for _, sum := range measured.Digests(m, path, bank) {
					if !slices.Contains(have, sum) {
						e.Digests[bank] = append(e.Digests[bank], sum)
					}
				}
			}
		}
	}
}

// endorsements pins the keys of the TPM. What only some boots of the machine
// show is pinned too, but may be absent.
func (d *drafter) endorsements() {
	seen := map[attest.Endorsement]int{}
	for _, u := range d.units {
		for _, e := range u.boot.DraftEndorsements() {
			if seen[e] == 0 {
				d.out.Endorsements = append(d.out.Endorsements, e)
			}
			seen[e]++
		}
	}
	for i, e := range d.out.Endorsements {
		d.out.Endorsements[i].Optional = e.Optional || seen[e] < len(d.units)
	}
}

// contradictions records what the units already say against themselves.
func (d *drafter) contradictions() {
	for _, u := range d.units {
		boot := u.boot.Appraise(attest.Params{Virtual: d.out.Environment.Virtual != "", Now: d.opt.Now, References: d.out.Boot})
		for _, f := range finding.Sort(slices.Concat(u.inventory.Findings, boot.Findings)) {
			if !slices.Contains(knowable, f.Code) || f.Severity == finding.Critical {
				if f.Severity >= finding.Medium {
					d.note("NOT accepted, this unit may not be good: %s %s: want %s, got %s. %s", f.Code, f.Subject, f.Want, f.Got, f.Why)
				}
				continue
			}
			if f.Severity == finding.Info {
				continue
			}
			k := manifest.Known{Code: f.Code, Subject: f.Subject, Want: f.Want, Got: f.Got}
			if slices.Contains(d.out.Known, k) {
				continue
			}
			d.out.Known = append(d.out.Known, k)
			if f.Severity > finding.Low {
				d.note("accepted with these values, %s %s: want %s, got %s", f.Code, f.Subject, f.Want, f.Got)
			}
		}
	}
}
