package cyclonedx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/manifest"
)

// The hardware model of CycloneDX 2.0, as of the specification's branch
// 2.0-dev-hardware in 2026: designators, quantities, classification, origins and
// identifiers have fields. It is read, not written, while it is a draft.

type nextDocument struct {
	Format     string          `json:"specFormat"`
	Version    string          `json:"specVersion"`
	Revision   int             `json:"version"`
	Metadata   *nextMetadata   `json:"metadata"`
	Components []nextComponent `json:"components"`
}

type nextMetadata struct {
	Component *nextComponent `json:"component"`
}

type nextComponent struct {
	Ref            string              `json:"bom-ref"`
	Type           string              `json:"type"`
	Name           string              `json:"name"`
	Version        string              `json:"version"`
	Description    string              `json:"description"`
	Parties        []nextParty         `json:"parties"`
	Supplier       *nextOrganization   `json:"supplier"`
	Identifiers    []nextIdentifier    `json:"identifiers"`
	Classification *nextClassification `json:"classification"`
	DeviceType     json.RawMessage     `json:"deviceType"`
	MaterialForm   json.RawMessage     `json:"materialForm"`
	BoardLocation  *nextBoardLocation  `json:"boardLocation"`
	Quantity       *nextQuantity       `json:"quantity"`
	Origins        []nextOrigin        `json:"origins"`
	Certifications []nextCertification `json:"certifications"`
	Evidence       *nextEvidence       `json:"evidence"`
	LeadTime       json.RawMessage     `json:"leadTime"`
	Components     []nextComponent     `json:"components"`
}

type nextOrganization struct {
	Name string `json:"name"`
}

type nextParty struct {
	Roles []struct {
		Role string `json:"role"`
		Name string `json:"name"`
	} `json:"roles"`
	Organization *nextOrganization `json:"organization"`
}

type nextIdentifier struct {
	Identities []struct {
		Scheme string `json:"scheme"`
		Value  string `json:"value"`
	} `json:"identities"`
}

type nextClassification struct {
	Category    string `json:"category"`
	Subcategory string `json:"subcategory"`
	Codes       []struct {
		Standard string `json:"standard"`
		Value    string `json:"value"`
	} `json:"codes"`
}

type nextBoardLocation struct {
	Designators []string `json:"designators"`
	Layer       string   `json:"layer"`
	Subsystem   string   `json:"subsystem"`
}

type nextQuantity struct {
	Value *float64 `json:"value"`
	Unit  string   `json:"unit"`
}

type nextOrigin struct {
	Stage        json.RawMessage `json:"stage"`
	Distribution []struct {
		Code       string  `json:"isoCode"`
		Percentage float64 `json:"percentage"`
	} `json:"distribution"`
}

type nextCertification struct {
	Standard string `json:"standard"`
}

type nextEvidence struct {
	Identity []struct {
		Methods []struct {
			Technique string `json:"technique"`
		} `json:"methods"`
	} `json:"identity"`
}

// isNext tells the draft by its names for format and version.
func isNext(b []byte) bool {
	return bytes.Contains(b[:min(len(b), 4096)], []byte(`"specFormat"`))
}

func importNext(b []byte) (*manifest.Manifest, []Loss, error) {
	var doc nextDocument
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if doc.Format != "CycloneDX" || doc.Version != "2.0" {
		return nil, nil, fmt.Errorf("%w: format %.20q version %.20q, want CycloneDX 2.0", ErrMalformed, doc.Format, doc.Version)
	}
	i := &importer{m: &manifest.Manifest{Version: int64(max(1, doc.Revision))}, ids: map[string]bool{}}
	if doc.Metadata != nil && doc.Metadata.Component != nil {
		c := doc.Metadata.Component
		i.m.Environment = manifest.Environment{Manufacturer: text(c.by("manufacturer")), Model: text(c.Name), Revision: text(c.Version)}
	}
	if err := i.nextComponents(doc.Components, "", 0); err != nil {
		return nil, nil, err
	}
	i.lose("document", "that it is of a draft of CycloneDX 2.0, which may change")
	slices.SortStableFunc(i.lost, func(a, b Loss) int { return strings.Compare(a.String(), b.String()) })
	return i.m, i.lost, nil
}

func (i *importer) nextComponents(cs []nextComponent, inside string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%w: components nested deeper than %d", ErrMalformed, deepest)
	}
	for n := range cs {
		c := &cs[n]
		if err := c.check(); err != nil {
			return fmt.Errorf("%w: component %.60q: %w", ErrMalformed, c.Name, err)
		}
		id := inside
		if c.Type != "device" && c.Type != "firmware" {
			i.lose(text(c.Name), "a component of type %.40q", c.Type)
		} else {
			refs := i.nextLines(c)
			id = refs[0].ID
			if inside != "" {
				i.lose(id, "that it is a part of %s", inside)
			}
			if i.m.Components = append(i.m.Components, refs...); len(i.m.Components) > maxComponents {
				return fmt.Errorf("%w: more than %d components", ErrMalformed, maxComponents)
			}
		}
		if err := i.nextComponents(c.Components, id, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// techniques are the ways to find out an identity that the specification names.
var techniques = []string{
	"source-code-analysis", "binary-analysis", "manifest-analysis", "ast-fingerprint", "hash-comparison", "instrumentation", "dynamic-analysis", "filename", "attestation", "other",
	"visual-inspection", "x-ray-inspection", "electrical-testing",
}

// check finds what the hardware model does not allow.
func (c *nextComponent) check() error {
	custom := func(what string, raw json.RawMessage) error {
		var v struct{ Name string }
		if len(raw) > 0 && raw[0] == '{' && (json.Unmarshal(raw, &v) != nil || v.Name == "") {
			return fmt.Errorf("%s: name is missing", what)
		}
		return nil
	}
	switch {
	case c.Name == "":
		return errors.New("name is missing")
	case c.BoardLocation != nil && c.Type != "device":
		return fmt.Errorf("boardLocation: only a device is on a board, this is a %.40q", c.Type)
	case c.BoardLocation != nil && len(c.BoardLocation.Designators) == 0:
		return errors.New("boardLocation: designators are missing")
	case c.Quantity != nil && c.Type != "device" && c.Type != "material":
		return fmt.Errorf("quantity: a %.40q has none", c.Type)
	case c.Quantity != nil && c.Quantity.Value == nil:
		return errors.New("quantity: value is missing")
	case len(c.MaterialForm) > 0 && c.Type != "material":
		return fmt.Errorf("materialForm: a %.40q has none", c.Type)
	}
	for _, o := range c.Origins {
		if err := custom("origins: stage", o.Stage); err != nil {
			return err
		}
	}
	for _, x := range c.Certifications {
		if x.Standard == "" {
			return errors.New("certifications: standard is missing")
		}
	}
	if c.Classification != nil {
		for _, x := range c.Classification.Codes {
			if x.Standard == "" || x.Value == "" {
				return errors.New("classification: a code without standard or value")
			}
		}
	}
	if err := c.checkEvidence(); err != nil {
		return err
	}
	if err := custom("materialForm", c.MaterialForm); err != nil {
		return err
	}
	return custom("deviceType", c.DeviceType)
}

func (c *nextComponent) checkEvidence() error {
	if c.Evidence == nil {
		return nil
	}
	for _, e := range c.Evidence.Identity {
		for _, m := range e.Methods {
			if !slices.Contains(techniques, m.Technique) {
				return fmt.Errorf("evidence: unknown technique %.40q", m.Technique)
			}
		}
	}
	return nil
}

// by returns the organisation with a role.
func (c *nextComponent) by(role string) string {
	for _, p := range c.Parties {
		for _, r := range p.Roles {
			if r.Role == role && p.Organization != nil {
				return p.Organization.Name
			}
		}
	}
	return ""
}

// identity takes the numbers of a part by their schemes.
func (c *nextComponent) identity(i *importer, id string) bom.Identity {
	out := bom.Identity{Maker: text(c.by("manufacturer")), Brand: text(c.by("supplier")), Revision: text(c.Version)}
	if out.Brand == "" && c.Supplier != nil {
		out.Brand = text(c.Supplier.Name)
	}
	for _, list := range c.Identifiers {
		for _, x := range list.Identities {
			to := map[string]*string{"mpn": &out.PartNumber, "part-number": &out.PartNumber, "model-number": &out.Model, "serial-number": &out.Serial, "mac-address": &out.Serial}[x.Scheme]
			if to == nil || *to != "" {
				i.lose(id, "%.40s %.80s", x.Scheme, x.Value)
				continue
			}
			*to = text(x.Value)
		}
	}
	switch {
	case out.PartNumber == "":
		out.PartNumber = text(c.Name)
	case out.Model == "":
		out.Model = text(c.Name)
	}
	if c.Type == "firmware" {
		out.Firmware, out.Revision = out.Revision, ""
	}
	return out
}

// nextLines makes a line of a part, or one for each of its places.
func (i *importer) nextLines(c *nextComponent) []bom.Reference {
	id := i.unused(text(c.Ref), text(c.Name))
	r := bom.Reference{ID: id, Class: bom.Electronic, Verifiability: "physical-only", Note: text(c.Description), Identity: c.identity(i, id)}
	if c.Type == "firmware" {
		r.Class = bom.Firmware
	}
	if k := c.Classification; k != nil {
		r.Note = text(strings.TrimSpace(r.Note + " " + k.Category + " " + k.Subcategory))
		for _, x := range k.Codes {
			i.lose(id, "code %.40s %.40s", x.Standard, x.Value)
		}
	}
	i.nextOrigins(&r, c.Origins)
	for what, present := range map[string]bool{
		"evidence of its identity, which nobody signed": c.Evidence != nil, "certifications": len(c.Certifications) > 0, "lead time": len(c.LeadTime) > 0, "device type": len(c.DeviceType) > 0,
	} {
		if present {
			i.lose(id, "%s", what)
		}
	}
	if q := c.Quantity; q != nil {
		if *q.Value == float64(int(*q.Value)) && *q.Value > 1 && *q.Value <= 4096 && q.Unit == "" {
			r.Quantity = int(*q.Value)
		} else if *q.Value != 1 || q.Unit != "" {
			i.lose(id, "quantity %g %.20s", *q.Value, q.Unit)
		}
	}
	b := c.BoardLocation
	if b == nil {
		return []bom.Reference{r}
	}
	if b.Layer+b.Subsystem != "" {
		i.lose(id, "board layer and subsystem %.60s", strings.TrimSpace(b.Layer+" "+b.Subsystem))
	}
	return i.places(r, b.Designators)
}

// places gives each designator a line of its own. The quantity should agree with
// them, and they count.
func (i *importer) places(r bom.Reference, designators []string) []bom.Reference {
	if r.Quantity > 1 && r.Quantity != len(designators) {
		i.lose(r.ID, "quantity %d, while %d places are named", r.Quantity, len(designators))
	}
	r.Quantity = 0
	var out []bom.Reference
	for n, d := range designators[:min(len(designators), maxComponents+1)] {
		p := r
		if n > 0 {
			p.ID = i.unused(r.ID, "")
		}
		p.Location = finding.Location{Designator: text(d)}
		out = append(out, p)
	}
	return out
}

// stages are the origins that a manifest has a place for.
var stages = map[string]string{"designed": "designed", "manufactured": "made", "assembled": "assembled", "tested": "tested"}

func (i *importer) nextOrigins(r *bom.Reference, origins []nextOrigin) {
	for _, o := range origins {
		var stage string
		_ = json.Unmarshal(o.Stage, &stage) // one of the maker's own has a name instead
		to := stages[stage]
		if to == "" || len(o.Distribution) != 1 || len(o.Distribution[0].Code) != 2 || r.Origin[to] != "" {
			i.lose(r.ID, "origin %.80s in %d countries", string(o.Stage), len(o.Distribution))
			continue
		}
		if r.Origin == nil {
			r.Origin = map[string]string{}
		}
		r.Origin[to] = strings.ToUpper(o.Distribution[0].Code)
	}
}
