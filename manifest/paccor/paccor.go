// Package paccor reads the lists of components that paccor and HIRS collect and
// make platform certificates of: unsigned JSON in the terms of the TCG Platform
// Certificate Profile. Nobody vouches for such a list; it becomes a draft.
package paccor

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/assay-hw/assay/internal/strictjson"
	"github.com/assay-hw/assay/manifest"
	"github.com/assay-hw/assay/manifest/platformcert"
)

// Limits of a list.
const (
	MaxBytes      = 8 << 20
	maxComponents = 10_000
)

// ErrMalformed is wrapped by every error of Import; the text names the offset
// or the component.
var ErrMalformed = errors.New("malformed list of components")

// IsList reports whether a file may be such a list: JSON with a platform and
// components.
func IsList(b []byte) bool {
	doc, err := decode(b)
	return err == nil && (doc["platform"] != nil && (doc["components"] != nil || doc["identifiers"] != nil))
}

// object is a JSON object with plain keys: lower case, without the word
// "component" or "platform" in front, since three generations of the format
// write MANUFACTURER, componentManufacturer and PLATFORMMANUFACTURERSTR.
type object map[string]any

func decode(b []byte) (object, error) {
	if len(b) > MaxBytes {
		return nil, fmt.Errorf("%w: offset %d: longer than %d bytes", ErrMalformed, MaxBytes, MaxBytes)
	}
	var raw map[string]any
	if err := strictjson.Decode(b, &raw, strictjson.AllowUnknown); err != nil {
		return nil, fmt.Errorf("%w: offset %d: %w", ErrMalformed, strictjson.Offset(err), err)
	}
	return plain(raw)
}

func plain(raw map[string]any) (object, error) {
	out := object{}
	for k, v := range raw {
		key := strings.ToLower(k)
		for _, front := range []string{"component", "platform"} {
			if rest, ok := strings.CutPrefix(key, front); ok && rest != "" && rest != "s" && rest != "cert" && rest != "certuri" {
				key = rest
			}
		}
		key = strings.TrimSuffix(key, "str")
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("%w: %q says again what another key says", ErrMalformed, k)
		}
		out[key] = v
	}
	return out, nil
}

// Import makes a draft of a list. What has no place in a manifest is returned.
func Import(b []byte) (*manifest.Manifest, []platformcert.Loss, error) {
	doc, err := decode(b)
	if err != nil {
		return nil, nil, err
	}
	r := &reader{build: &platformcert.Build{Base: &platformcert.Certificate{Kind: platformcert.Base}}}
	if err := r.document(doc); err != nil {
		return nil, nil, err
	}
	m, lost, err := platformcert.Convert(r.build, platformcert.ConvertOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if m.ID == "platform-certificate" {
		m.ID = ""
	}
	return m, append(r.lost, lost...), nil
}

type reader struct {
	build *platformcert.Build
	lost  []platformcert.Loss
}

func (r *reader) lose(path string, v any, why string) {
	r.lost = append(r.lost, platformcert.Loss{Where: path, Value: fmt.Sprintf("%.200v", v), What: why})
}

// rest lists what nobody took out of an object.
func (r *reader) rest(path string, o object) {
	for _, k := range slices.Sorted(maps.Keys(o)) {
		r.lose(path+"."+k, o[k], "is not read")
	}
}

func (r *reader) document(doc object) error {
	if raw, ok := doc.take("platform").(map[string]any); ok {
		p, err := plain(raw)
		if err != nil {
			return err
		}
		r.build.Platform = platformcert.Platform{
			Manufacturer: p.text("manufacturer"), Model: p.text("model"), Version: p.text("version"), Serial: p.text("serial"), ManufacturerID: p.text("manufacturerid"),
		}
		r.rest("platform", p)
	}
	list, _ := doc.take("components").([]any)
	more, _ := doc.take("identifiers").([]any)
	list = append(list, more...)
	if len(list) > maxComponents {
		return fmt.Errorf("%w: %d components, %d are read", ErrMalformed, len(list), maxComponents)
	}
	for i, c := range list {
		if err := r.component(fmt.Sprintf("components[%d]", i), c); err != nil {
			return err
		}
	}
	properties, _ := doc.take("properties").([]any)
	for i, p := range properties {
		path := fmt.Sprintf("properties[%d]", i)
		raw, ok := p.(map[string]any)
		if !ok {
			r.lose(path, p, "is no object")
			continue
		}
		o, err := plain(raw)
		if err != nil {
			return err
		}
		name := o.text("name") + o.text("propertyname")
		r.lose(path, name+"="+o.text("value")+o.text("propertyvalue"), "manifests have no properties of the platform")
		r.rest(path, o)
	}
	r.rest("list", doc)
	return nil
}

// component reads one part: an object of fields, an object around a trait, or a
// list of traits of which one holds the fields.
func (r *reader) component(path string, v any) error {
	switch x := v.(type) {
	case []any:
		found := false
		for i, t := range x {
			raw, ok := t.(map[string]any)
			if inside, fields := raw["traitValue"].(map[string]any); ok && fields && !found {
				found = true
				if err := r.fields(path, inside); err != nil {
					return err
				}
				continue
			}
			r.lose(fmt.Sprintf("%s[%d]", path, i), t, "a trait that is not read")
		}
		if !found {
			return fmt.Errorf("%w: %s: no trait has its fields", ErrMalformed, path)
		}
		return nil
	case map[string]any:
		if trait, ok := x["componentIdentifierV11"].(map[string]any); ok {
			inside, _ := trait["traitValue"].(map[string]any)
			return r.fields(path, inside)
		}
		return r.fields(path, x)
	}
	return fmt.Errorf("%w: %s: neither an object nor a list of traits", ErrMalformed, path)
}

func (r *reader) fields(path string, raw map[string]any) error {
	o, err := plain(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c := platformcert.Component{
		Maker: o.text("manufacturer"), Model: o.text("model"), Serial: o.text("serial"), Revision: o.text("revision"), PEN: o.text("manufacturerid"),
	}
	if class, ok := o.take("class").(map[string]any); ok {
		k, err := plain(class)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		c.Registry = k.text("classregistry")
		if c.Class, err = classValue(k.take("classvalue")); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrMalformed, path, err)
		}
	}
	if s := strings.ToLower(o.text("fieldreplaceable")); s != "" {
		yes := s == "true"
		c.Replaceable = &yes
	}
	if s := strings.ToLower(o.text("status")); s != "" && s != "added" {
		r.lose(path+".status", s, "a list is a state, not a change: the part is taken as it stands")
	}
	addresses, _ := o.take("addresses").([]any)
	for i, a := range addresses {
		r.address(fmt.Sprintf("%s.addresses[%d]", path, i), a, &c)
	}
	r.build.Components = append(r.build.Components, c)
	r.rest(path, o)
	return nil
}

// kinds of addresses (TCG Platform Certificate Profile 1.1, 3.1.6).
var kinds = map[string]string{"ethernetmac": "2.23.133.17.1", "wlanmac": "2.23.133.17.2", "bluetoothmac": "2.23.133.17.3"}

func (r *reader) address(path string, v any, c *platformcert.Component) {
	raw, _ := v.(map[string]any)
	if kind, ok := raw["addressType"]; ok {
		c.Addresses = append(c.Addresses, platformcert.Address{Kind: scalar(kind), Text: scalar(raw["addressValue"])})
		return
	}
	for _, k := range slices.Sorted(maps.Keys(raw)) {
		kind, ok := kinds[strings.ToLower(k)]
		if !ok {
			r.lose(path+"."+k, raw[k], "an address of an unknown kind")
			continue
		}
		c.Addresses = append(c.Addresses, platformcert.Address{Kind: kind, Text: scalar(raw[k])})
	}
}

// classValue is eight hexadecimal digits, as text or in base64.
func classValue(v any) (string, error) {
	if m, ok := v.(map[string]any); ok && m["base64"] != nil {
		b, err := base64.StdEncoding.DecodeString(scalar(m["base64"]))
		if err != nil || len(b) != 4 {
			return "", fmt.Errorf("class %.40v is not four bytes in base64", m["base64"])
		}
		return strings.ToUpper(hex.EncodeToString(b)), nil
	}
	s := strings.ToUpper(scalar(v))
	if b, err := hex.DecodeString(s); s != "" && (err != nil || len(b) != 4) {
		return "", fmt.Errorf("class %.40q is not eight hexadecimal digits", s)
	}
	return s, nil
}

// scalar is a value, or the value in an object that names its type.
func scalar(v any) string {
	if m, ok := v.(map[string]any); ok && len(m) == 1 {
		for _, k := range []string{"string", "oid", "bool", "base64", "utf8"} {
			if x, ok := m[k]; ok {
				return scalar(x)
			}
		}
	}
	switch x := v.(type) {
	case string:
		return x
	case bool:
		return fmt.Sprint(x)
	}
	return ""
}

func (o object) take(k string) any {
	v := o[k]
	delete(o, k)
	return v
}

// text takes a text; what is none stays, to be listed.
func (o object) text(k string) string {
	s := scalar(o[k])
	if s != "" || o[k] == "" {
		delete(o, k)
	}
	return s
}
