package corim

import (
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/assay-hw/assay/attest/spdm"
	"github.com/assay-hw/assay/manifest"
)

// Signer says who signs what Export writes. Without a key it is not signed.
type Signer struct {
	Key   crypto.Signer
	Chain []*x509.Certificate // leaf first
}

// number of an algorithm in digests.
var algorithmNumbers = map[string]int64{"sha256": 1, "sha384": 7, "sha512": 8, "sha3_256": 10, "sha3_384": 11, "sha3_512": 12}

// Export writes a manifest as a CoRIM with one module identifier: values of
// PCRs, digests of firmware images and measurements of devices. What has no
// place there is returned.
func Export(m *manifest.Manifest, s Signer) ([]byte, []Loss, error) {
	if m.Delta != nil || m.Environment.Manufacturer == manifest.AnyPlatform {
		return nil, nil, fmt.Errorf("%w: a change, or a statement about any platform, has no form as a CoRIM", ErrMalformed)
	}
	x := &exporter{manifest: m}
	x.boot()
	x.firmware()
	for _, d := range m.SPDM {
		x.device(d)
	}
	x.rest()
	if len(x.references) == 0 {
		return nil, nil, fmt.Errorf("%w: the manifest has no reference value that a CoRIM can hold", ErrMalformed)
	}
	raw, err := x.encode(s)
	if err != nil {
		return nil, nil, fmt.Errorf("corim: %w", err)
	}
	slices.SortStableFunc(x.losses, func(a, b Loss) int {
		return strings.Compare(a.Where+"\x00"+a.What, b.Where+"\x00"+b.What)
	})
	return raw, slices.Compact(x.losses), nil
}

type exporter struct {
	manifest   *manifest.Manifest
	references []any
	keys       []any
	losses     []Loss
}

func (x *exporter) lose(subject, format string, args ...any) {
	x.losses = append(x.losses, Loss{Where: subject, What: plain(fmt.Sprintf(format, args...))})
}

// ints is a map with numbers as keys.
type ints = map[int64]any

func environment(vendor, model string) ints { return ints{0: ints{1: vendor, 2: model}} }

func (x *exporter) add(model string, measurements ...any) {
	x.references = append(x.references, []any{environment(x.manifest.Environment.Manufacturer, model), measurements})
}

func (x *exporter) digests(subject string, d map[string][]string) []any {
	var out []any
	for _, bank := range banks(d) {
		n, known := algorithmNumbers[bank]
		for _, v := range d[bank] {
			b, err := hex.DecodeString(v)
			if !known || err != nil {
				x.lose(subject, "digest in %s", bank)
				continue
			}
			out = append(out, []any{n, b})
		}
	}
	return out
}

// boot writes the values of registers as integrity registers.
func (x *exporter) boot() {
	regs := map[int64]any{}
	for _, r := range x.manifest.Boot {
		subject := fmt.Sprintf("pcr:%d", r.PCR)
		if n := len(r.Events); n > 0 {
			x.lose(subject, "%d expected events: a CoRIM has values of registers", n)
		}
		if d := x.digests(subject, r.Digests); len(d) > 0 {
			regs[int64(r.PCR)] = d
		}
	}
	if len(regs) > 0 {
		x.add(x.manifest.Environment.Model, ints{0: "tpm", 1: ints{14: regs}})
	}
}

func (x *exporter) firmware() {
	var out []any
	for _, f := range x.manifest.Firmware {
		subject := "firmware:" + f.Name
		if f.SHA256 != "" || len(f.Leaves) > 0 || len(f.Protection) > 0 || f.MinVersion != "" {
			x.lose(subject, "parts, the digest without what firmware writes to, locks and least version")
		}
		all := map[string][]string{}
		for bank, v := range f.Digests {
			all[bank] = []string{v}
		}
		values := ints{}
		if d := x.digests(subject, all); len(d) > 0 {
			values[2] = d
		}
		if f.Version != "" {
			values[0] = ints{0: f.Version, 1: versionScheme(f.Version)}
		}
		if len(values) > 0 {
			out = append(out, ints{0: f.Name, 1: values})
		}
	}
	if len(out) > 0 {
		x.add(x.manifest.Environment.Model, out...)
	}
}

// versionScheme is the number of the scheme that a version follows (RFC 9393,
// 4.1): multipartnumeric or alphanumeric.
func versionScheme(v string) int64 {
	for part := range strings.SplitSeq(v, ".") {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return 3
		}
	}
	return 1
}

// device writes the measurements of a device, and its roots and keys as
// thumbprints.
func (x *exporter) device(d spdm.Reference) {
	subject := "spdm:" + d.ID
	if d.Class != "" || d.Open || d.Optional {
		x.lose(subject, "class, and whether the device or other measurements may be there")
	}
	if d.ID != imageName(d.Device) {
		x.lose(subject, "the id: it is made of the device's name")
	}
	var out, thumbs []any
	for _, e := range d.Measurements {
		out = append(out, x.expected(subject, e)...)
	}
	if len(out) == 0 {
		return
	}
	x.add(d.Device, out...)
	for tag, list := range map[uint64][]string{tagKeyThumbprint: d.Keys, tagCertThumbprint: d.Roots} {
		for _, h := range list {
			if b, err := hex.DecodeString(h); err == nil {
				thumbs = append(thumbs, cbor.Tag{Number: tag, Content: []any{int64(1), b}})
			}
		}
	}
	slices.SortFunc(thumbs, func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	if len(thumbs) > 0 {
		x.keys = append(x.keys, []any{environment(x.manifest.Environment.Manufacturer, d.Device), thumbs})
	}
}

func (x *exporter) expected(subject string, e spdm.Expected) []any {
	if e.Any {
		x.lose(subject, "that measurement %d may have any value", e.Index)
	}
	if e.Type != "" {
		x.lose(subject, "type of measurement %d", e.Index)
	}
	var out []any
	values := ints{}
	if d := x.digests(subject, e.Digests); len(d) > 0 {
		values[2] = d
	}
	if e.Minimum != nil && *e.Minimum >= 0 {
		values[1] = cbor.Tag{Number: tagMinSVN, Content: *e.Minimum}
	}
	if len(values) > 0 {
		out = append(out, ints{0: int64(e.Index), 1: values})
	}
	for _, h := range e.Raw {
		if b, err := hex.DecodeString(h); err == nil {
			out = append(out, ints{0: int64(e.Index), 1: ints{4: cbor.Tag{Number: tagRaw, Content: b}}})
		}
	}
	return out
}

// rest tells what has no place.
func (x *exporter) rest() {
	m := x.manifest
	for subject, n := range map[string]int{
		"components": len(m.Components), "classes": len(m.Classes), "endorsements": len(m.Endorsements), "known": len(m.Known),
		"supersedes": len(m.Supersedes), "authority": len(m.Authority),
	} {
		if n > 0 {
			x.lose(subject, "%d lines", n)
		}
	}
	if e := m.Environment; e.Serial != "" || e.Virtual != "" || e.Revision != "" {
		x.lose("environment", "revision, serial number and hypervisor")
	}
	if !strings.HasPrefix(m.ID, "corim:") {
		x.lose("id", "that it is %s: read back it begins with corim:", m.ID)
	}
	if m.Scanner != nil {
		x.lose("scanner", "the description of a scanner")
	}
}

func (x *exporter) encode(s Signer) ([]byte, error) {
	opts := cbor.CoreDetEncOptions()
	opts.Time, opts.TimeTag = cbor.TimeUnix, cbor.EncTagRequired
	e, err := opts.EncMode()
	if err != nil {
		return nil, err
	}
	m := x.manifest
	id := strings.TrimPrefix(m.ID, "corim:")
	triples := ints{0: x.references}
	if len(x.keys) > 0 {
		triples[3] = x.keys
	}
	module, err := e.Marshal(ints{1: ints{0: id, 1: m.Version}, 4: triples})
	if err != nil {
		return nil, err
	}
	body := ints{0: id, 1: []any{cbor.Tag{Number: tagCoMID, Content: module}}, 5: []any{ints{0: m.Environment.Manufacturer, 2: []int64{1}}}}
	validity := ints{0: m.IssuedAt.UTC().Truncate(time.Second)}
	if !m.NotAfter.IsZero() {
		validity[1] = m.NotAfter.UTC().Truncate(time.Second)
		body[4] = validity
	} else {
		x.lose("times", "issuedAt: a validity in a CoRIM needs an end")
	}
	raw, err := e.Marshal(cbor.Tag{Number: tagCoRIM, Content: body})
	if err != nil || s.Key == nil {
		return raw, err
	}
	name := m.Environment.Manufacturer
	if len(s.Chain) > 0 {
		name = plain(s.Chain[0].Subject.String())
	}
	meta, err := e.Marshal(ints{0: ints{0: name}})
	if err != nil {
		return nil, err
	}
	return sign(raw, s.Key, s.Chain, meta)
}
