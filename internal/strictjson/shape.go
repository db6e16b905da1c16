package strictjson

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
)

// shape is what a type takes from JSON.
type shape struct {
	fields map[string]field // of a struct; nil where keys are not fixed
	direct bool             // it is stored here; otherwise encoding/json reads it
}

// field is a place in a struct.
type field struct {
	index []int
	t     reflect.Type
}

var (
	number          = reflect.TypeFor[json.Number]()
	rawMessage      = reflect.TypeFor[json.RawMessage]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func shapeOf(t reflect.Type) *shape {
	s := &shape{}
	if t != nil {
		var clear bool
		s.fields, clear = fieldsOf(t, nil)
		s.direct = clear && direct(t)
	}
	return s
}

func reads(t, how reflect.Type) bool {
	return t.Implements(how) || reflect.PointerTo(t).Implements(how)
}

func direct(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		if reads(t, jsonUnmarshaler) || reads(t, textUnmarshaler) {
			return false
		}
		t = t.Elem()
	}
	if t == number || reads(t, jsonUnmarshaler) || reads(t, textUnmarshaler) {
		return false
	}
	switch t.Kind() {
	case reflect.Struct, reflect.String, reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.Slice:
		return t.Elem().Kind() != reflect.Uint8 // which is text in base64
	case reflect.Map:
		return t.Key().Kind() == reflect.String && !reads(t.Key(), textUnmarshaler)
	}
	return false
}

// fieldsOf maps JSON keys to fields, those of embedded structs included. There are
// none for anything that is not a plain struct: such a value has no fixed keys.
// clear is false where encoding/json has rules that are not followed here.
func fieldsOf(t reflect.Type, at []int) (fields map[string]field, clear bool) {
	if t.Kind() != reflect.Struct || t == rawMessage || reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		return nil, true
	}
	fields, clear = map[string]field{}, true
	add := func(key string, f field) {
		if _, twice := fields[key]; twice {
			clear = false
		}
		fields[key] = f
	}
	for f := range t.Fields() {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		index := append(at[:len(at):len(at)], f.Index...)
		if f.Anonymous && tag == "" {
			inner, ok := fieldsOf(f.Type, index)
			clear = clear && ok && f.Type.Kind() == reflect.Struct
			for k, v := range inner {
				add(k, v)
			}
			continue
		}
		if tag == "-" || !f.IsExported() {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		clear = clear && !strings.Contains(options, "string")
		add(tag, field{index, f.Type})
	}
	return fields, clear
}
