package spdm

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Reference is what a manifest declares of one device: whose certificates it
// must have, and what it must have measured.
type Reference struct {
	ID           string     `json:"id"`
	Device       string     `json:"device"`          // "spdm:NAME", or another subject that ends in the name, as "pci:0000:01:00.0"
	Class        string     `json:"class,omitempty"` // "bmc" for a management controller
	Roots        []string   `json:"roots,omitempty"` // SHA-256 of the root certificates that its chain may begin with
	Keys         []string   `json:"keys,omitempty"`  // SHA-256 of public keys, one of which this very device has in its chain
	Measurements []Expected `json:"measurements"`
	Open         bool       `json:"open,omitempty"`     // other measurements may be there; they are for review
	Optional     bool       `json:"optional,omitempty"` // may be absent from the evidence
	Note         string     `json:"note,omitempty"`
}

// Expected is one declared measurement; any of its values is right.
type Expected struct {
	Index   int                 `json:"index"`
	Type    string              `json:"type,omitempty"`    // as DSP0274 calls it: "mutable-firmware"
	Digests map[string][]string `json:"digests,omitempty"` // by hash, lower-case hex
	Raw     []string            `json:"raw,omitempty"`     // bit streams, lower-case hex
	Minimum *int64              `json:"minimum,omitempty"` // of a secure version number
	Any     bool                `json:"any,omitempty"`     // may have any value
	Note    string              `json:"note,omitempty"`
}

// maxExpected bounds the lines of a manifest.
const maxExpected = 254

// Check says what in a reference has no meaning.
func (r Reference) Check() error {
	switch {
	case r.ID == "":
		return errors.New("id is missing")
	case !strings.Contains(r.Device, ":"):
		return fmt.Errorf("device %q is no subject", r.Device)
	case len(r.Roots) == 0 && len(r.Keys) == 0:
		return errors.New("neither roots nor keys: any device would do")
	case len(r.Measurements) > maxExpected:
		return fmt.Errorf("%d measurements", len(r.Measurements))
	}
	for _, h := range slices.Concat(r.Roots, r.Keys) {
		if !isHex(h, 64) {
			return fmt.Errorf("%q is not a sha256", h)
		}
	}
	seen := map[int]bool{}
	for _, e := range r.Measurements {
		if err := e.check(); err != nil {
			return fmt.Errorf("measurement %d: %w", e.Index, err)
		}
		if seen[e.Index] {
			return fmt.Errorf("measurement %d stands twice", e.Index)
		}
		seen[e.Index] = true
	}
	return nil
}

func (e Expected) check() error {
	kinds := 0
	for _, has := range []bool{len(e.Digests)+len(e.Raw) > 0, e.Minimum != nil, e.Any} {
		if has {
			kinds++
		}
	}
	switch {
	case e.Index < 1 || e.Index > 254:
		return errors.New("index is out of range")
	case e.Type != "" && !slices.Contains(typeNames, e.Type):
		return fmt.Errorf("unknown type %q", e.Type)
	case kinds != 1:
		return errors.New("want values (digests, raw), a minimum, or any: one of them")
	case e.Minimum != nil && *e.Minimum < 0:
		return fmt.Errorf("minimum %d is below zero", *e.Minimum)
	}
	for name, values := range e.Digests {
		h, ok := hashNamed(name)
		if !ok {
			return fmt.Errorf("unknown hash %q", name)
		}
		if len(values) == 0 {
			return fmt.Errorf("no digest of %s", name)
		}
		for _, v := range values {
			if !isHex(v, 2*h.hash.Size()) {
				return fmt.Errorf("%s digest %q is not %d lower-case hex digits", name, v, 2*h.hash.Size())
			}
		}
	}
	for _, v := range e.Raw {
		if len(v)%2 != 0 || len(v) > 2<<16 || !isHex(v, len(v)) {
			return errors.New("raw is not lower-case hex")
		}
	}
	return nil
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

func hashNamed(key string) (hashing, bool) {
	for _, h := range hashings {
		if h.key == key {
			return h, true
		}
	}
	return hashing{}, false
}

func hashSized(n int) (hashing, bool) {
	for _, h := range hashings {
		if h.hash.Size() == n {
			return h, true
		}
	}
	return hashing{}, false
}

// speaksOf reports whether a reference is about a device of the evidence.
func (r Reference) speaksOf(d Device) bool {
	_, own, _ := strings.Cut(r.Device, ":")
	return "spdm:"+own == d.Subject
}

// Draft makes references from the signed measurements of known-good units. With
// machine set the devices themselves are pinned. The notes are for the person
// who signs.
func Draft(machine bool, units ...*Observation) (refs []Reference, notes []string) {
	d := &drafter{machine: machine, refs: map[string]*Reference{}}
	for _, u := range units {
		names := map[string]string{} // one device may stand under two
		for _, dev := range u.Devices {
			if dev.Signed == nil {
				if dev.err != nil {
					d.note("%s is not declared: %s: %v", dev.Subject, dev.Artifact, dev.err)
				}
				continue
			}
			key := dev.Signed.chain.DeviceKey()
			if first, ok := names[key]; ok && first != dev.Subject {
				d.note("%s is not declared: it is the same device as %s", dev.Subject, first)
				continue
			}
			names[key] = dev.Subject
			d.device(dev)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.refs)) {
		r := d.refs[name]
		d.note("%s is declared with the root sha256:%s (%s): compare it with what its maker publishes; later evidence must hold a signed record of this device, unless the line is made optional",
			name, joined(r.Roots), r.Note)
		for _, e := range r.Measurements {
			if e.varies() {
				d.note("%s: measurement %d (%s) differs between the units: all of its values are allowed", name, e.Index, e.Type)
			}
		}
		refs = append(refs, *r)
	}
	slices.Sort(d.notes)
	return refs, slices.Compact(d.notes)
}

func (e Expected) varies() bool {
	n := len(e.Raw)
	for _, v := range e.Digests {
		n += len(v)
	}
	return n > 1
}

type drafter struct {
	machine bool
	refs    map[string]*Reference
	notes   []string
}

func (d *drafter) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}

func (d *drafter) device(dev Device) {
	name := dev.Subject
	r := d.refs[name]
	if r == nil {
		r = &Reference{ID: strings.ReplaceAll(name, ":", "-"), Device: name, Measurements: []Expected{}}
		d.refs[name] = r
	}
	c := dev.Signed.chain
	add(&r.Roots, c.Anchor())
	if d.machine {
		add(&r.Keys, c.DeviceKey())
	}
	r.Note = c.certs[0].Subject.String()
	for _, b := range dev.Signed.blocks {
		i, found := slices.BinarySearchFunc(r.Measurements, b.Index, func(e Expected, n int) int { return cmp.Compare(e.Index, n) })
		if !found {
			r.Measurements = slices.Insert(r.Measurements, i, Expected{Index: b.Index})
			if int(b.Type) < len(typeNames) {
				r.Measurements[i].Type = b.Type.String()
			}
		}
		r.Measurements[i].learn(b)
	}
}

// learn adds a value that a known-good unit has.
func (e *Expected) learn(b Block) {
	if v, ok := b.svn(); ok && len(e.Raw)+len(e.Digests) == 0 && v < 1<<53 {
		n := int64(v)
		if e.Minimum == nil || n < *e.Minimum {
			e.Minimum = &n
		}
		return
	}
	v := hex.EncodeToString(b.Value)
	h, ok := hashSized(len(b.Value))
	switch {
	case e.Minimum != nil:
		// a version number in another unit
	case b.Raw || !ok:
		add(&e.Raw, v)
	default:
		if e.Digests == nil {
			e.Digests = map[string][]string{}
		}
		values := e.Digests[h.key]
		add(&values, v)
		e.Digests[h.key] = values
	}
}

// add keeps a list sorted and without repeats.
func add(list *[]string, s string) {
	if i, found := slices.BinarySearch(*list, s); !found {
		*list = slices.Insert(*list, i, s)
	}
}
