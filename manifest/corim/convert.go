package corim

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/assay-hw/assay/attest"
	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/loss"
	"github.com/assay-hw/assay/manifest"
)

// Loss is something that a CoRIM says and a manifest has no place for, or the
// other way round.
type Loss = loss.Loss

// Options say what a CoRIM does not: which machine it is for, and what of it the
// evidence shows. All are keyed by Environment.Name.
type Options struct {
	Environment manifest.Environment      // default: maker and model of the first reference values
	Images      map[string]string         // name of the firmware image: "bios", "bmc"
	Devices     map[string]spdm.Reference // id, device, class, roots and keys of devices that report measurements
}

// Convert makes a manifest of reference values: integrity registers that are
// PCRs become boot references; measurements with numbers of devices that sign
// them, SPDM references; other digests, firmware images; reviews of OCP S.A.F.E.
// too. Everything else is a loss.
func Convert(c *CoRIM, o Options) (*manifest.Manifest, []Loss, error) {
	v := &converter{options: o, registers: map[int]map[string][]string{}, devices: map[string]*spdm.Reference{}}
	m := &manifest.Manifest{ID: "corim:" + c.ID, Version: 1, Environment: o.Environment, NotAfter: c.NotAfter, Components: []bom.Reference{}, Classes: map[bom.Class]bom.Closure{}}
	switch {
	case !c.NotBefore.IsZero():
		m.IssuedAt = c.NotBefore
	case len(c.chain) > 0:
		m.IssuedAt = c.chain[0].NotBefore.UTC()
	default:
		m.IssuedAt = time.Unix(0, 0).UTC()
		v.lose("date", "the CoRIM does not say from when it is valid")
	}
	for _, mod := range c.Modules {
		m.Version = max(m.Version, mod.Version)
		for _, k := range mod.Keys {
			v.key(k)
		}
	}
	for _, mod := range c.Modules {
		for _, t := range mod.Triples {
			if e := t.Environment; m.Environment.Manufacturer == "" && e.Vendor != "" && e.Model != "" {
				m.Environment.Manufacturer, m.Environment.Model = e.Vendor, e.Model
			}
			v.triple(t)
		}
	}
	if m.Environment.Manufacturer == "" || m.Environment.Model == "" {
		return nil, nil, fmt.Errorf("%w: no reference value names maker and model; give the environment", ErrMalformed)
	}
	for _, pcr := range slices.Sorted(maps.Keys(v.registers)) {
		m.Boot = append(m.Boot, attest.Reference{PCR: pcr, Digests: v.registers[pcr]})
	}
	m.Firmware = v.firmware
	for _, name := range slices.Sorted(maps.Keys(v.devices)) {
		if d := v.whole(name); len(d.Measurements) > 0 {
			m.SPDM = append(m.SPDM, d)
		}
	}
	for _, l := range c.Lost {
		v.lose("corim", l)
	}
	for _, e := range c.Entities {
		v.lose("corim", fmt.Sprintf("entity %q", e.Name))
	}
	slices.SortStableFunc(v.losses, func(a, b Loss) int {
		return strings.Compare(a.Where+"\x00"+a.What, b.Where+"\x00"+b.What)
	})
	return m, slices.Compact(v.losses), nil
}

type converter struct {
	options   Options
	registers map[int]map[string][]string
	firmware  []firmware.Reference
	devices   map[string]*spdm.Reference
	losses    []Loss
}

func (v *converter) lose(subject, what string) {
	v.losses = append(v.losses, Loss{Where: subject, What: plain(what)})
}

// device returns the reference for an environment whose device signs its
// measurements, or nil.
func (v *converter) device(name string) *spdm.Reference {
	if d := v.devices[name]; d != nil {
		return d
	}
	d, ok := v.options.Devices[name]
	if !ok {
		return nil
	}
	d.Measurements = nil
	v.devices[name] = &d
	return &d
}

// whole returns a device with those of its measurements that have a meaning.
func (v *converter) whole(name string) spdm.Reference {
	d := *v.devices[name]
	all := d.Measurements
	d.Measurements = nil
	if err := d.Check(); err != nil && len(all) > 0 {
		v.lose(name, fmt.Sprintf("%d measurements of the device: %v", len(all), err))
		return d
	}
	for _, e := range all {
		if e.Minimum != nil && len(e.Digests)+len(e.Raw) > 0 {
			v.lose(name, fmt.Sprintf("security version %d of measurement %d, which has values too", *e.Minimum, e.Index))
			e.Minimum = nil
		}
		one := d
		one.Measurements = []spdm.Expected{e}
		if err := one.Check(); err != nil {
			v.lose(name, err.Error())
			continue
		}
		d.Measurements = append(d.Measurements, e)
	}
	return d
}

// key takes over the thumbprints by which a device is known.
func (v *converter) key(k Key) {
	name := k.Environment.Name()
	if n := len(k.Values); n > 0 {
		v.lose(name, fmt.Sprintf("%d keys and certificates in full", n))
	}
	if !k.Attests || len(k.Keys)+len(k.Roots) == 0 {
		return
	}
	d := v.device(name)
	if d == nil {
		subject := k.Environment.Model
		if !strings.Contains(subject, ":") {
			subject = "spdm:" + imageName(name)
		}
		d = &spdm.Reference{ID: imageName(subject), Device: subject}
		v.devices[name] = d
	}
	d.Keys, d.Roots = slices.Concat(d.Keys, k.Keys), slices.Concat(d.Roots, k.Roots)
}

func (v *converter) triple(t Triple) {
	name := t.Environment.Name()
	for _, m := range t.Measurements {
		switch {
		case m.Review != nil:
			v.review(name, m.Review, t.Conditions)
		case t.Kind != Reference:
			v.lose(name, fmt.Sprintf("an endorsement of %q, which is no reference value", m.Key))
		default:
			v.measurement(t.Environment, m)
		}
	}
}

func (v *converter) measurement(e Environment, m Measurement) {
	name := e.Name()
	if e.Instance != "" || e.Group != "" {
		v.lose(name, "that it is about one instance or group")
	}
	if m.Serial != "" {
		v.lose(name, fmt.Sprintf("serial number %q", m.Serial))
	}
	if len(m.Registers) > 0 {
		v.pcrs(name, m.Registers)
	}
	if d := v.device(name); d != nil && m.Number != nil {
		v.expected(name, d, m)
		return
	}
	if m.SVN != nil {
		v.lose(name, fmt.Sprintf("security version %d of %q: the device that reports it is not named", *m.SVN, m.Key))
	}
	if m.Raw != nil {
		v.lose(name, fmt.Sprintf("raw value of %q: the device that reports it is not named", m.Key))
	}
	if len(m.Digests) > 0 || m.Version != "" {
		v.image(name, m.Key, m.Version, m.Digests, "")
	}
}

// pcrs takes over registers that are PCRs.
func (v *converter) pcrs(name string, regs map[string]map[string][]string) {
	for _, r := range slices.Sorted(maps.Keys(regs)) {
		n, err := strconv.Atoi(strings.TrimPrefix(strings.ToLower(r), "pcr"))
		if err != nil || n < 0 || n > 23 {
			v.lose(name, fmt.Sprintf("integrity register %q, which is no PCR", r))
			continue
		}
		if v.registers[n] == nil {
			v.registers[n] = map[string][]string{}
		}
		for bank, values := range regs[r] {
			for _, d := range values {
				switch have := v.registers[n][bank]; {
				case slices.Contains(have, d):
				case len(have) == maxAlternatives:
					v.lose(name, fmt.Sprintf("values of PCR %d behind the first %d", n, maxAlternatives))
				default:
					v.registers[n][bank] = append(have, d)
				}
			}
		}
	}
}

// expected takes over a measurement that a device signs. Several of one number
// are alternatives.
func (v *converter) expected(name string, d *spdm.Reference, m Measurement) {
	if m.Version != "" {
		v.lose(name, fmt.Sprintf("version %q of measurement %d", m.Version, *m.Number))
	}
	if *m.Number < 1 || *m.Number > maxIndex {
		v.lose(name, fmt.Sprintf("measurement %d: devices number them from 1 to %d", *m.Number, maxIndex))
		return
	}
	i := slices.IndexFunc(d.Measurements, func(e spdm.Expected) bool { return int64(e.Index) == *m.Number })
	if i < 0 {
		d.Measurements = append(d.Measurements, spdm.Expected{Index: int(*m.Number)})
		i = len(d.Measurements) - 1
	}
	e := &d.Measurements[i]
	for _, bank := range banks(m.Digests) {
		if e.Digests == nil {
			e.Digests = map[string][]string{}
		}
		e.Digests[bank] = append(e.Digests[bank], m.Digests[bank]...)
	}
	switch {
	case m.Raw != nil && m.Mask != nil:
		v.lose(name, fmt.Sprintf("raw value of measurement %d under a mask", *m.Number))
	case m.Raw != nil:
		e.Raw = append(e.Raw, hex.EncodeToString(m.Raw))
	}
	if m.SVN != nil {
		if !m.SVNIsMin {
			v.lose(name, fmt.Sprintf("that the security version of measurement %d is exactly %d: a reference has a minimum", *m.Number, *m.SVN))
		}
		e.Minimum = m.SVN
	}
}

// maxIndex is the last number of a measurement (DSP0274); maxAlternatives bounds
// the values that one register may have.
const (
	maxIndex        = 254
	maxAlternatives = 256
)

// imageBanks are the algorithms of digests of a whole image.
var imageBanks = []string{"sha256", "sha384", "sha512"}

// image takes over digests of a firmware image. Several digests of one
// algorithm are alternatives, each a reference of its own.
func (v *converter) image(env, key, version string, digests map[string][]string, note string) {
	name := v.options.Images[env]
	if name == "" {
		name = imageName(key)
	}
	if name == "" || strings.Trim(name, "0123456789") == "" {
		name = cmp.Or(imageName(env+" "+key), "image")
	}
	most := 1
	for _, bank := range banks(digests) {
		if !slices.Contains(imageBanks, bank) {
			v.lose(env, fmt.Sprintf("digests of %q in %s", key, bank))
			continue
		}
		most = max(most, len(digests[bank]))
	}
	for i := range most {
		ref := firmware.Reference{Name: name, Version: version, Note: note}
		for _, bank := range imageBanks {
			if i < len(digests[bank]) {
				if ref.Digests == nil {
					ref.Digests = map[string]string{}
				}
				ref.Digests[bank] = digests[bank][i]
			}
		}
		v.firmware = append(v.firmware, ref)
	}
}

// review takes over what a review says it looked at. Where it gives only
// versions, the digests stand in the conditions under which it counts.
func (v *converter) review(name string, r *Review, conditions []Triple) {
	note := fmt.Sprintf("OCP S.A.F.E. review %s, framework %s, scope %d, completed %s, %d open issues", r.Report, r.Framework, r.Scope, r.Completed.Format(time.DateOnly), len(r.Issues))
	found := map[string][]string{}
	for _, t := range conditions {
		for _, m := range t.Measurements {
			for bank, d := range m.Digests {
				found[bank] = append(found[bank], d...)
			}
		}
	}
	for _, f := range r.Firmware {
		d := f.Digests
		if len(d) == 0 && len(r.Firmware) == 1 {
			d, found = found, nil
		}
		if len(d) == 0 && f.Version == "" {
			v.lose(name, "firmware that a review names neither by digest nor by version")
			continue
		}
		if f.Tag != "" {
			v.lose(name, fmt.Sprintf("tag %q of the sources", f.Tag))
		}
		v.image(name, "", f.Version, d, plain(note))
	}
	if len(r.Firmware) == 0 && len(found) > 0 {
		v.image(name, "", "", found, plain(note))
	}
	for _, is := range r.Issues {
		v.lose(name, fmt.Sprintf("issue %q, %s %s %s", is.Title, is.Score, is.CWE, is.CVE))
	}
}

// imageName makes of a text the name of an image.
func imageName(s string) string {
	return strings.Trim(strings.Map(func(c rune) rune {
		switch {
		case c >= 'A' && c <= 'Z':
			return c + 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '.', c == '-':
			return c
		}
		return '-'
	}, s[:min(len(s), 80)]), "-.")
}
