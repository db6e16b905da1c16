package corim

import (
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/text/unicode/norm"
)

// reader decodes and notes what it has no place for.
type reader struct {
	lost []string
}

func bad(where, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrMalformed, where, fmt.Sprintf(format, args...))
}

func (r *reader) lose(where, format string, args ...any) {
	r.lost = append(r.lost, where+": "+plain(fmt.Sprintf(format, args...)))
}

// object is a map whose entries are taken out as they are read.
type object struct {
	m     map[any]any
	where string
}

func (r *reader) object(v any, where string) (*object, error) {
	m, ok := v.(map[any]any)
	if !ok {
		return nil, bad(where, "want a map, got %T", v)
	}
	return &object{maps.Clone(m), where}, nil
}

func (o *object) take(key int64) any {
	v := o.m[key]
	delete(o.m, key)
	return v
}

// rest notes the entries that nobody took.
func (r *reader) rest(o *object) {
	var keys []string
	for k := range o.m {
		keys = append(keys, plain(fmt.Sprint(k)))
	}
	slices.Sort(keys)
	for _, k := range keys {
		r.lose(o.where, "entry %s", k)
	}
}

func list(v any, where string) ([]any, error) {
	a, ok := v.([]any)
	if !ok {
		return nil, bad(where, "want an array, got %T", v)
	}
	return a, nil
}

// plain makes of a text what a manifest may hold.
func plain(s string) string {
	if len(s) > 512 {
		s = s[:512]
	}
	return norm.NFC.String(strings.Map(func(c rune) rune {
		if unicode.IsControl(c) {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(s, "?")))
}

// textOf writes an identifier as text: a UUID, a URI, an object identifier, a
// number, bytes in hexadecimal.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return plain(v)
	case int64:
		return fmt.Sprint(v)
	case cbor.ByteString:
		if len(v) == 16 {
			return uuid(v.Bytes())
		}
		return hex.EncodeToString(v.Bytes())
	case cbor.Tag:
		if b, ok := v.Content.(cbor.ByteString); ok && v.Number == tagOID {
			return objectID(b.Bytes())
		}
		return textOf(v.Content)
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case map[any]any, []any:
		return "(structure)"
	}
	return plain(fmt.Sprint(v))
}

func uuid(b []byte) string {
	h := hex.EncodeToString(b)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// objectID reads the contents of an object identifier, with or without its
// tag and length.
func objectID(b []byte) string {
	var id asn1.ObjectIdentifier
	if rest, err := asn1.Unmarshal(b, &id); err == nil && len(rest) == 0 {
		return id.String()
	}
	if len(b) < 128 {
		if rest, err := asn1.Unmarshal(append([]byte{6, byte(len(b))}, b...), &id); err == nil && len(rest) == 0 {
			return id.String()
		}
	}
	return hex.EncodeToString(b)
}

func timeOf(v any, where string) (time.Time, error) {
	var t time.Time
	switch v := v.(type) {
	case nil:
		return t, nil
	case time.Time:
		t = v.UTC()
	case int64:
		t = time.Unix(v, 0).UTC()
	default:
		return t, bad(where, "%T is no time", v)
	}
	if y := t.Year(); y < 1 || y > 9999 {
		return t, bad(where, "the year %d", y)
	}
	return t, nil
}

func (r *reader) validity(v any, where string) (notBefore, notAfter time.Time, err error) {
	if v == nil {
		return notBefore, notAfter, nil
	}
	m, err := r.object(v, where)
	if err != nil {
		return notBefore, notAfter, err
	}
	if notBefore, err = timeOf(m.take(0), where); err != nil {
		return notBefore, notAfter, err
	}
	notAfter, err = timeOf(m.take(1), where)
	r.rest(m)
	return notBefore, notAfter, err
}

// readCoRIM reads a corim-map, tagged or not, or one module identifier.
func readCoRIM(raw []byte) (*CoRIM, error) {
	v, err := decode(raw)
	if err != nil {
		return nil, err
	}
	r := &reader{}
	for range 3 {
		if t, ok := v.(cbor.Tag); ok && (t.Number == tagCoRIM || t.Number == 500 || t.Number == 502) {
			v = t.Content
		}
	}
	m, err := r.object(v, "corim")
	if err != nil {
		return nil, err
	}
	c := &CoRIM{}
	if _, isArray := m.m[int64(1)].([]any); !isArray { // a module identifier by itself
		mod, err := r.module(v, "comid")
		if err != nil {
			return nil, err
		}
		c.ID, c.Modules, c.Lost = mod.ID, []Module{*mod}, r.lost
		return c, nil
	}
	c.ID = textOf(m.take(0))
	if err := r.tags(c, m.take(1)); err != nil {
		return nil, err
	}
	if deps, ok := m.take(2).([]any); ok {
		r.lose("corim", "%d dependent RIMs: nothing is fetched", len(deps))
	}
	switch p := m.take(3).(type) {
	case nil:
	case []any:
		for _, x := range p {
			c.Profiles = append(c.Profiles, textOf(x))
		}
	default:
		c.Profiles = []string{textOf(p)}
	}
	if c.NotBefore, c.NotAfter, err = r.validity(m.take(4), "corim"); err != nil {
		return nil, err
	}
	if c.Entities, err = r.entities(m.take(5), "corim"); err != nil {
		return nil, err
	}
	r.rest(m)
	if c.ID == "" {
		return nil, bad("corim", "it has no id")
	}
	c.Lost = r.lost
	return c, nil
}

func (r *reader) tags(c *CoRIM, v any) error {
	tags, err := list(v, "corim tags")
	if err != nil {
		return err
	}
	if len(tags) == 0 || len(tags) > maxTags {
		return fmt.Errorf("%w: %d tags, 1 to %d", ErrLimit, len(tags), maxTags)
	}
	for i, x := range tags {
		where := fmt.Sprintf("tag %d", i)
		content, number, err := tagOf(x, where)
		if err != nil {
			return err
		}
		if number != tagCoMID {
			r.lose(where, "a document with the CBOR tag %d", number)
			continue
		}
		mod, err := r.module(content, where)
		if err != nil {
			return err
		}
		c.Modules = append(c.Modules, *mod)
	}
	return nil
}

// tagOf opens a tag. Its content is a byte string; in older drafts a map, or the
// tag itself was in the byte string.
func tagOf(v any, where string) (content any, number uint64, err error) {
	if b, ok := v.(cbor.ByteString); ok {
		if v, err = decode(b.Bytes()); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", where, err)
		}
	}
	t, ok := v.(cbor.Tag)
	if !ok {
		return nil, 0, bad(where, "%T is no tag", v)
	}
	if b, ok := t.Content.(cbor.ByteString); ok && t.Number == tagCoMID {
		if t.Content, err = decode(b.Bytes()); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", where, err)
		}
	}
	return t.Content, t.Number, nil
}

func (r *reader) entities(v any, where string) ([]Entity, error) {
	if v == nil {
		return nil, nil
	}
	l, err := list(v, where+" entities")
	if err != nil {
		return nil, err
	}
	var out []Entity
	for _, x := range l {
		m, err := r.object(x, where+" entity")
		if err != nil {
			return nil, err
		}
		e := Entity{Name: textOf(m.take(0)), RegID: textOf(m.take(1))}
		roles, _ := m.take(2).([]any)
		for _, role := range roles {
			n, ok := role.(int64)
			if !ok {
				return nil, bad(where, "role %T", role)
			}
			e.Roles = append(e.Roles, n)
		}
		r.rest(m)
		out = append(out, e)
	}
	return out, nil
}
