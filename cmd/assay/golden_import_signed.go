package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/corim"
	"github.com/assay-hw/assay/manifest/paccor"
	"github.com/assay-hw/assay/manifest/platformcert"
	"github.com/assay-hw/assay/manifest/rim"
)

// paccor drafts of a list of components that nobody signed, or returns nothing
// when the first file is none.
func (o *importOptions) paccor(files []string) (*manifest.Manifest, []string, error) {
	raw, err := readInput(files[0], paccor.MaxBytes)
	if err != nil || !paccor.IsList(raw) {
		return nil, nil, err
	}
	if len(files) > 1 {
		return nil, nil, usage("one list of components at a time; %q is not needed", files[1])
	}
	m, losses, err := paccor.Import(raw)
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", files[0], err))
	}
	return m, texts(losses), nil
}

// certificates drafts of a platform certificate and its deltas, or returns
// nothing when the first file is none.
func (o *importOptions) certificates(files []string) (*manifest.Manifest, []string, error) {
	raw, err := readInput(files[0], maxManifestBytes)
	if err != nil || !platformcert.IsCertificate(raw) {
		return nil, nil, err
	}
	var base *platformcert.Certificate
	var deltas []*platformcert.Certificate
	for _, name := range files {
		if raw, err = readInput(name, maxManifestBytes); err != nil {
			return nil, nil, err
		}
		c, err := platformcert.Parse(raw)
		switch {
		case err != nil:
			return nil, nil, unreadable(fmt.Errorf("%s: %w", name, err))
		case c.Kind == platformcert.DeltaKind:
			deltas = append(deltas, c)
		case base != nil:
			return nil, nil, usage("%s: a second base; give one with its deltas", name)
		default:
			base = c
		}
	}
	if base == nil {
		return nil, nil, usage("only deltas were given; the base is needed too")
	}
	slices.SortStableFunc(deltas, func(a, b *platformcert.Certificate) int { return a.NotBefore.Compare(b.NotBefore) })
	build, fs := platformcert.Draft(base, deltas)
	lost := []string{files[0] + ": the signature was not checked"}
	for _, f := range fs {
		lost = append(lost, fmt.Sprintf("%s: %s: %s", f.Subject, f.Code, f.Why))
	}
	m, losses, err := platformcert.Convert(build, platformcert.ConvertOptions{})
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", files[0], err))
	}
	return m, append(lost, texts(losses)...), nil
}

// rims drafts of a base RIM, its supplements and its support RIMs.
func (o *importOptions) rims(files []string) (*manifest.Manifest, []string, error) {
	raw, err := readInput(files[0], maxManifestBytes)
	if err != nil || !rim.IsRIM(raw) {
		return nil, nil, err
	}
	var tags []*rim.RIM
	supports := map[string][]byte{}
	for _, name := range files {
		if raw, err = readInput(name, maxManifestBytes); err != nil {
			return nil, nil, err
		}
		if !rim.IsRIM(raw) {
			supports[name] = raw
			continue
		}
		r, err := rim.ReadUntrusted(raw)
		if err != nil {
			return nil, nil, unreadable(fmt.Errorf("%s: %w", name, err))
		}
		tags = append(tags, r)
	}
	lost := []string{files[0] + ": the signature was not checked"}
	for _, r := range tags {
		b := r.Bind(supports)
		for _, f := range b.Findings {
			lost = append(lost, fmt.Sprintf("%s: %s: %s", f.Subject, f.Code, f.Why))
		}
		for _, n := range b.NotChecked {
			lost = append(lost, n.What+": "+n.Reason)
		}
	}
	m, losses, err := rim.Convert(tags[0], tags[1:]...)
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", files[0], err))
	}
	return m, append(lost, texts(losses)...), nil
}

// corim drafts of one CoRIM.
func (o *importOptions) corim(files []string) (*manifest.Manifest, []string, error) {
	raw, err := readInput(files[0], corim.MaxBytes)
	if err != nil || !corim.IsCoRIM(raw) || bytes.HasPrefix(raw, []byte("ey")) {
		return nil, nil, err
	}
	if len(files) > 1 {
		return nil, nil, usage("one CoRIM at a time; %q is not needed", files[1])
	}
	c, err := corim.ReadUntrusted(raw)
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", files[0], err))
	}
	m, losses, err := corim.Convert(c, corim.Options{Environment: manifest.Environment{Manufacturer: o.manufacturer, Model: o.model}})
	if err != nil {
		return nil, nil, unreadable(fmt.Errorf("%s: %w", files[0], err))
	}
	return m, append([]string{files[0] + ": the signature was not checked"}, texts(losses)...), nil
}
