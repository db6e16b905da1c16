// Package cyclonedx reads and writes manifests as CycloneDX 1.7 (ECMA-424), for
// tools that exchange bills of materials.
//
// A document is no manifest: it is signed by nobody, and what is read from one is
// a draft. What is written and read again is the same manifest; of other
// people's documents the parts are kept, and what has no place is listed.
package cyclonedx

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"golang.org/x/text/unicode/norm"

	"github.com/assay-hw/assay/bom"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/internal/loss"
	"github.com/assay-hw/assay/manifest"
)

// MaxBytes bounds a document.
const MaxBytes = 32 << 20

const maxComponents = 100_000

// ErrMalformed is wrapped where a document is not read.
var ErrMalformed = errors.New("malformed CycloneDX document")

// Loss is something of a document or of a manifest that has no place in the
// other.
type Loss = loss.Loss

// The properties that carry what CycloneDX has no field for; docs/formats
// describes them. Those of cdx:device are the taxonomy's.
const (
	own = "assay:"

	propManifest  = own + "manifest" // the manifest without its components, as JSON
	propClass     = own + "class"
	propIdentity  = own + "identity"  // what name, manufacturer and version do not say, as JSON
	propReference = own + "reference" // the other fields of the line, as JSON

	propQuantity = "cdx:device:quantity"
	propFunction = "cdx:device:function"
	propLocation = "cdx:device:location"
	propSerial   = "cdx:device:serialNumber"
	propMAC      = "cdx:device:macAddress"
	propType     = "cdx:device:deviceType"
)

// IsDocument reports whether a file is a CycloneDX document, in JSON or XML.
func IsDocument(b []byte) bool {
	head := b[:min(len(b), 4096)]
	return bytes.Contains(head, []byte(`"CycloneDX"`)) || bytes.Contains(head, []byte("http://cyclonedx.org/schema/bom/"))
}

// Export writes a manifest. Nothing is lost that Import reads again; other tools
// see parts, makers, numbers, serials, quantities and places.
func Export(m *manifest.Manifest) ([]byte, error) {
	rest := *m
	rest.Components = nil
	raw, err := json.Marshal(rest)
	if err != nil {
		return nil, fmt.Errorf("cyclonedx: %w", err)
	}
	doc := cdx.NewBOM()
	doc.SpecVersion, doc.JSONSchema = cdx.SpecVersion1_7, "http://cyclonedx.org/schema/bom-1.7.schema.json"
	doc.Metadata = &cdx.Metadata{
		Timestamp: m.IssuedAt.UTC().Format(time.RFC3339),
		Component: &cdx.Component{
			BOMRef: "platform", Type: cdx.ComponentTypeDevice, Name: m.Environment.Model, Version: m.Environment.Revision, Manufacturer: &cdx.OrganizationalEntity{Name: m.Environment.Manufacturer},
		},
		Properties: &[]cdx.Property{{Name: propManifest, Value: string(raw)}},
	}
	doc.Version = int(min(m.Version, 1<<31-1))
	components := []cdx.Component{}
	for _, r := range m.Components {
		c, err := component(r)
		if err != nil {
			return nil, fmt.Errorf("cyclonedx: component %s: %w", r.ID, err)
		}
		components = append(components, c)
	}
	doc.Components = &components
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(doc); err != nil {
		return nil, fmt.Errorf("cyclonedx: %w", err)
	}
	return out.Bytes(), nil
}

// component writes one line.
func component(r bom.Reference) (cdx.Component, error) {
	id := r.Identity
	c := cdx.Component{BOMRef: r.ID, Type: cdx.ComponentTypeDevice, Name: id.Model, Version: id.Revision}
	if r.Class == bom.Firmware {
		c.Type, c.Version = cdx.ComponentTypeFirmware, id.Firmware
	}
	for _, name := range []string{id.PartNumber, r.Subject, r.ID} {
		if c.Name == "" {
			c.Name = name
		}
	}
	if id.Maker != "" {
		c.Manufacturer = &cdx.OrganizationalEntity{Name: id.Maker}
	}
	if id.Brand != "" {
		c.Supplier = &cdx.OrganizationalEntity{Name: id.Brand}
	}
	props := []cdx.Property{{Name: propClass, Value: string(r.Class)}, {Name: propFunction, Value: string(r.Class)}, {Name: propQuantity, Value: strconv.Itoa(max(1, r.Quantity))}}
	for _, p := range []cdx.Property{{Name: propLocation, Value: where(r.Location)}, {Name: serialProperty(id.Serial), Value: id.Serial}} {
		if p.Value != "" {
			props = append(props, p)
		}
	}
	identity, err := json.Marshal(id)
	if err != nil {
		return c, err
	}
	rest := r
	rest.Identity = bom.Identity{}
	reference, err := json.Marshal(rest)
	if err != nil {
		return c, err
	}
	props = append(props, cdx.Property{Name: propIdentity, Value: string(identity)}, cdx.Property{Name: propReference, Value: string(reference)})
	c.Properties = &props
	return c, nil
}

func where(l finding.Location) string {
	for _, s := range []string{l.Designator, l.Slot, l.Path} {
		if s != "" {
			return s
		}
	}
	return ""
}

func serialProperty(serial string) string {
	if len(serial) == 17 && strings.Count(serial, ":") == 5 {
		return propMAC
	}
	return propSerial
}

// Import reads a document: one that Export wrote as it was, and any other as a
// draft of lines that no software can check, until somebody says what each part
// answers to.
func Import(b []byte) (*manifest.Manifest, []Loss, error) {
	if len(b) > MaxBytes {
		return nil, nil, fmt.Errorf("%w: %d bytes, the limit is %d", ErrMalformed, len(b), MaxBytes)
	}
	if isNext(b) {
		return importNext(b)
	}
	format := cdx.BOMFileFormatJSON
	if bytes.HasPrefix(bytes.TrimLeft(b, "\xef\xbb\xbf \t\r\n"), []byte("<")) {
		format = cdx.BOMFileFormatXML
	}
	doc := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(b), format).Decode(doc); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if doc.BOMFormat != "" && doc.BOMFormat != cdx.BOMFormat {
		return nil, nil, fmt.Errorf("%w: bomFormat %.40q", ErrMalformed, doc.BOMFormat)
	}
	i := &importer{m: &manifest.Manifest{}}
	if err := i.platform(doc); err != nil {
		return nil, nil, err
	}
	if doc.Components != nil {
		if err := i.components(*doc.Components, "", 0); err != nil {
			return nil, nil, err
		}
	}
	i.document(doc)
	return i.m, i.lost, nil
}

type importer struct {
	m    *manifest.Manifest
	lost []Loss
	ids  map[string]bool
}

func (i *importer) lose(where, format string, args ...any) {
	i.lost = append(i.lost, Loss{Where: where, What: fmt.Sprintf(format, args...)})
}

// platform reads what the document is about.
func (i *importer) platform(doc *cdx.BOM) error {
	i.ids = map[string]bool{}
	if doc.Metadata == nil {
		return nil
	}
	if p := property(doc.Metadata.Properties, propManifest); p != "" {
		if err := json.Unmarshal([]byte(p), i.m); err != nil {
			return fmt.Errorf("%w: property %s: %w", ErrMalformed, propManifest, err)
		}
		i.m.Components = nil
		return nil
	}
	i.m.Version = int64(max(1, doc.Version))
	if c := doc.Metadata.Component; c != nil {
		i.m.Environment = manifest.Environment{Manufacturer: text(organization(c)), Model: text(c.Name), Revision: text(c.Version)}
		if c.Group != "" && i.m.Environment.Manufacturer == "" {
			i.m.Environment.Manufacturer = text(c.Group)
		}
	}
	return nil
}

func organization(c *cdx.Component) string {
	switch {
	case c.Manufacturer != nil && c.Manufacturer.Name != "":
		return c.Manufacturer.Name
	case c.Supplier != nil:
		return c.Supplier.Name
	}
	return ""
}

const deepest = 20

// components reads parts, and the parts in them.
func (i *importer) components(cs []cdx.Component, inside string, depth int) error {
	if depth > deepest {
		return fmt.Errorf("%w: components nested deeper than %d", ErrMalformed, deepest)
	}
	for n := range cs {
		c := &cs[n]
		if len(i.m.Components) >= maxComponents {
			return fmt.Errorf("%w: more than %d components", ErrMalformed, maxComponents)
		}
		r, err := i.line(c, inside)
		if err != nil {
			return err
		}
		i.m.Components = append(i.m.Components, r)
		if c.Components != nil {
			if err := i.components(*c.Components, r.ID, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// line reads one part.
func (i *importer) line(c *cdx.Component, inside string) (bom.Reference, error) {
	var r bom.Reference
	if p := property(c.Properties, propReference); p != "" {
		if err := json.Unmarshal([]byte(p), &r); err != nil {
			return r, fmt.Errorf("%w: component %.60q: %w", ErrMalformed, c.BOMRef, err)
		}
		if err := json.Unmarshal([]byte(property(c.Properties, propIdentity)), &r.Identity); err != nil {
			return r, fmt.Errorf("%w: component %.60q: %w", ErrMalformed, c.BOMRef, err)
		}
		return r, nil
	}
	r = bom.Reference{ID: i.id(c), Class: classOf(c), Verifiability: "physical-only", Note: text(c.Description)}
	r.Identity = bom.Identity{Maker: text(organization(c)), PartNumber: text(c.Name), Revision: text(c.Version)}
	if c.Type == cdx.ComponentTypeFirmware {
		r.Identity.Firmware, r.Identity.Revision = r.Identity.Revision, ""
	}
	if n, err := strconv.Atoi(strings.TrimSpace(property(c.Properties, propQuantity))); err == nil && n > 1 && n <= 4096 {
		r.Quantity = n
	}
	r.Location.Path = text(property(c.Properties, propLocation))
	for _, p := range []string{propSerial, propMAC} {
		if v := property(c.Properties, p); v != "" {
			r.Identity.Serial = text(v)
		}
	}
	if inside != "" {
		i.lose(r.ID, "that it is a part of %s", inside)
	}
	i.fields(r.ID, c)
	return r, nil
}

// fields lists what of a component has no place.
func (i *importer) fields(id string, c *cdx.Component) {
	for what, present := range map[string]bool{
		"hashes": c.Hashes != nil, "licences": c.Licenses != nil, "external references": c.ExternalReferences != nil, "pedigree": c.Pedigree != nil,
		"evidence": c.Evidence != nil, "purl " + c.PackageURL: c.PackageURL != "", "cpe " + c.CPE: c.CPE != "", "release notes": c.ReleaseNotes != nil,
	} {
		if present {
			i.lose(id, "%s", what)
		}
	}
	if c.Properties == nil {
		return
	}
	for _, p := range *c.Properties {
		if !slices.Contains([]string{propQuantity, propFunction, propLocation, propSerial, propMAC, propType}, p.Name) {
			i.lose(id, "property %.80s", p.Name)
		}
	}
}

// document lists what of the whole has no place.
func (i *importer) document(doc *cdx.BOM) {
	for what, present := range map[string]bool{
		"dependencies": doc.Dependencies != nil, "compositions": doc.Compositions != nil, "vulnerabilities": doc.Vulnerabilities != nil,
		"services": doc.Services != nil, "external references": doc.ExternalReferences != nil, "signature": doc.Signature != nil, "annotations": doc.Annotations != nil,
	} {
		if present {
			i.lose("document", "%s", what)
		}
	}
	slices.SortStableFunc(i.lost, func(a, b Loss) int { return strings.Compare(a.String(), b.String()) })
}

// id makes a line's id of a component's reference.
func (i *importer) id(c *cdx.Component) string { return i.unused(text(c.BOMRef), text(c.Name)) }

// unused makes an id of a reference, or else of a name, that no line has yet.
func (i *importer) unused(ref, name string) string {
	base := cmp.Or(ref, name, "part")
	id := base
	for n := 2; i.ids[id]; n++ {
		id = fmt.Sprintf("%s-%d", base, n)
	}
	i.ids[id] = true
	return id
}

// classOf takes a part's class from what the taxonomy calls its function.
func classOf(c *cdx.Component) bom.Class {
	if c.Type == cdx.ComponentTypeFirmware {
		return bom.Firmware
	}
	f := strings.ToLower(property(c.Properties, propClass) + " " + property(c.Properties, propFunction))
	for _, word := range strings.FieldsFunc(f, func(r rune) bool { return r == ' ' || r == '-' || r == '/' }) {
		if class, ok := functions[word]; ok {
			return class
		}
	}
	return bom.Electronic
}

// functions are words that documents use for what a part is for.
var functions = map[string]bom.Class{
	"processor": bom.Processor, "cpu": bom.Processor, "memory": bom.Memory, "dimm": bom.Memory, "storage": bom.Storage, "disk": bom.Storage,
	"network": bom.Network, "ethernet": bom.Network, "tpm": bom.TPM, "bmc": bom.BMC, "power": bom.Power, "flash": bom.Flash, "mainboard": bom.Baseboard,
}

func property(ps *[]cdx.Property, name string) string {
	if ps != nil {
		for _, p := range *ps {
			if p.Name == name {
				return p.Value
			}
		}
	}
	return ""
}

// text keeps of a foreign text what a manifest may hold.
func text(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	return norm.NFC.String(strings.TrimSpace(strings.ToValidUTF8(s[:min(len(s), 500)], "")))
}
