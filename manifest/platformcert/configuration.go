package platformcert

import (
	"bytes"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
	ctag "golang.org/x/crypto/cryptobyte/asn1"
)

// Configuration is the list of parts and properties: the attribute
// platformConfiguration in version 1 (profile 1.0), 2 (1.1) or 3 (2.x).
type Configuration struct {
	Version       int
	Components    []Component
	Properties    []Property
	ComponentsURI *uri // version 2
	PropertiesURI *uri // versions 1 and 2

	lists uint8  // lists that are there, empty or not
	raw   []byte // when it does not encode to the same bytes
}

func (f *Configuration) attribute() string {
	return []string{attrConfigV1, attrConfigV2, attrConfigV3}[f.Version-1]
}

// The fields of the three versions have other tags.
type configTags struct{ components, componentsURI, properties, propertiesURI uint8 }

const noField = 31

var tagsOf = map[int]configTags{1: {0, noField, 1, 2}, 2: {0, 1, 2, 3}, 3: {0, noField, 1, noField}}

func readConfiguration(value []byte, version int) (*Configuration, error) {
	f := &Configuration{Version: version}
	whole := cryptobyte.String(value)
	var s cryptobyte.String
	if !whole.ReadASN1(&s, ctag.SEQUENCE) || !whole.Empty() {
		return nil, malformed("no sequence")
	}
	tags, seen := tagsOf[version], uint32(0)
	for !s.Empty() {
		e, tag, ok := element(&s)
		if !ok || tag&0xe0 != 0xa0 {
			return nil, malformed("a field of tag %#x", tag)
		}
		var err error
		n := uint8(tag) & 0x1f
		if seen&(1<<n) != 0 {
			return nil, malformed("the field [%d] is there twice", n)
		}
		seen |= 1 << n
		switch n {
		case tags.components:
			f.lists |= 1
			err = f.readComponents(inside(e))
		case tags.properties:
			f.lists |= 2
			err = f.readProperties(inside(e))
		case tags.componentsURI:
			f.ComponentsURI, err = readURI(e)
		case tags.propertiesURI:
			f.PropertiesURI, err = readURI(e)
		default:
			err = malformed("a field of tag [%d]", n)
		}
		if err != nil {
			return nil, err
		}
	}
	if !bytes.Equal(f.encode(), value) {
		f.raw = bytes.Clone(value)
	}
	return f, nil
}

func (f *Configuration) readComponents(s cryptobyte.String) error {
	for !s.Empty() {
		var raw cryptobyte.String
		if len(f.Components) == maxComponents {
			return malformed("more than %d components", maxComponents)
		}
		if !s.ReadASN1Element(&raw, ctag.SEQUENCE) {
			return malformed("component %d", len(f.Components))
		}
		var c Component
		var err error
		if f.Version == 3 {
			c, err = readTraitComponent(raw)
		} else {
			c, err = readComponent(raw, f.Version)
		}
		if err != nil {
			return fmt.Errorf("component %d: %w", len(f.Components), err)
		}
		f.Components = append(f.Components, c)
	}
	return nil
}

func (f *Configuration) readProperties(s cryptobyte.String) error {
	for !s.Empty() {
		var raw cryptobyte.String
		if len(f.Properties) == maxComponents {
			return malformed("more than %d properties", maxComponents)
		}
		if !s.ReadASN1Element(&raw, ctag.SEQUENCE) {
			return malformed("property %d", len(f.Properties))
		}
		p, err := readProperty(raw)
		if err != nil {
			return fmt.Errorf("property %d: %w", len(f.Properties), err)
		}
		f.Properties = append(f.Properties, p)
	}
	return nil
}

func (f *Configuration) encode() []byte {
	if f.raw != nil {
		return f.raw
	}
	tags := tagsOf[f.Version]
	return build(func(b *cryptobyte.Builder) {
		under(b, ctag.SEQUENCE, func(b *cryptobyte.Builder) {
			if len(f.Components) > 0 || f.lists&1 != 0 {
				under(b, ctx(tags.components).Constructed(), func(b *cryptobyte.Builder) {
					for i := range f.Components {
						b.AddBytes(f.Components[i].encodeAs(f.Version))
					}
				})
			}
			if f.ComponentsURI != nil && tags.componentsURI != noField {
				b.AddBytes(f.ComponentsURI.encode(ctx(tags.componentsURI).Constructed()))
			}
			if len(f.Properties) > 0 || f.lists&2 != 0 {
				under(b, ctx(tags.properties).Constructed(), func(b *cryptobyte.Builder) {
					for _, p := range f.Properties {
						b.AddBytes(p.encode())
					}
				})
			}
			if f.PropertiesURI != nil && tags.propertiesURI != noField {
				b.AddBytes(f.PropertiesURI.encode(ctx(tags.propertiesURI).Constructed()))
			}
		})
	})
}

func (c *Component) encodeAs(version int) []byte {
	if version == 3 {
		return c.encodeTraits()
	}
	return c.encode(version)
}
