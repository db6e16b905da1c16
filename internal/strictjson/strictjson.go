// Package strictjson decodes JSON that someone signed. encoding/json takes the
// last of two equal keys, matches keys without regard to case, folds U+212A
// into "k" and turns bad UTF-8 into U+FFFD, so two readers of one signature can
// see two documents. This package refuses every such input before decoding it.
package strictjson

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// MaxDepth bounds nesting; no format of this project comes near it.
const MaxDepth = 32

// Option loosens one rule.
type Option uint8

// AllowUnknown accepts keys that the target type does not have, for formats
// that readers of an older version must still open.
const AllowUnknown Option = 1

// Error says where and why a document was refused.
type Error struct {
	At  int64  // byte offset
	Key string // dotted path to the value
	Msg string
}

func (e *Error) Error() string {
	if e.Key == "" {
		return fmt.Sprintf("offset %d: %s", e.At, e.Msg)
	}
	return fmt.Sprintf("offset %d: %s: %s", e.At, e.Key, e.Msg)
}

// Offset returns the byte offset carried by an error of this package, or 0.
func Offset(err error) int64 {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.At
	}
	return 0
}

// Decode checks b and stores it in v, a pointer. Refused are: invalid UTF-8, a
// byte order mark, duplicate keys at any depth, keys that differ from the
// target's in case or are not ASCII, unknown keys, strings that are not in
// Unicode normal form C or hold control characters, lone surrogates, numbers
// that are not plain integers, null where a value is needed, nesting beyond
// MaxDepth and trailing data. It takes time linear in the input.
func Decode(b []byte, v any, opts ...Option) error {
	if !utf8.Valid(b) {
		return &Error{At: invalidAt(b), Msg: "invalid UTF-8"}
	}
	if err := loneSurrogate(b); err != nil {
		return err
	}
	c := checker{tokens: tokensOf(b), fields: map[reflect.Type]map[string]reflect.Type{}}
	for _, o := range opts {
		c.unknownOK = c.unknownOK || o == AllowUnknown
	}
	if err := c.value(reflect.TypeOf(v), 0); err != nil {
		return err
	}
	if _, err := c.tokens.Token(); !errors.Is(err, io.EOF) {
		c.path = nil
		return c.fail("trailing data")
	}
	if err := json.Unmarshal(b, v); err != nil {
		at := int64(0)
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			at = t.Offset
		}
		return &Error{At: at, Msg: err.Error()}
	}
	return nil
}

type checker struct {
	tokens    tokens
	path      []step // to the value
	unknownOK bool
	fields    map[reflect.Type]map[string]reflect.Type
}

// step is one part of a path: a key, or a place in an array.
type step struct {
	key string
	at  int // -1 for a key
}

func (c *checker) fail(format string, args ...any) error {
	var key strings.Builder
	for _, s := range c.path {
		if s.at < 0 {
			key.WriteString("." + clip(s.key))
		} else {
			fmt.Fprintf(&key, "[%d]", s.at)
		}
	}
	return &Error{At: c.tokens.InputOffset(), Key: strings.TrimPrefix(key.String(), "."), Msg: fmt.Sprintf(format, args...)}
}

func (c *checker) token() (json.Token, error) {
	t, err := c.tokens.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, c.fail("%v", err)
	}
	return t, nil
}

// value walks one value along the target's type. t is nil where the target
// leaves the shape open.
func (c *checker) value(t reflect.Type, depth int) error {
	if depth > MaxDepth {
		return c.fail("nested deeper than %d", MaxDepth)
	}
	pointer := false
	for t != nil && t.Kind() == reflect.Pointer {
		t, pointer = t.Elem(), depth > 0
	}
	tok, err := c.token()
	if err != nil {
		return err
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			return c.object(t, depth)
		}
		return c.array(t, depth)
	case string:
		return c.text(tok)
	case json.Number:
		if strings.ContainsAny(tok.String(), ".eE") || tok.String() == "-0" {
			return c.fail("number %s is not an integer", tok)
		}
	case nil:
		if t != nil && !nullable(t.Kind()) && !pointer {
			return c.fail("is null")
		}
	}
	return nil
}

// nullable lists the kinds that null empties. encoding/json passes over null
// for any other kind and keeps what was there.
func nullable(k reflect.Kind) bool {
	return k == reflect.Slice || k == reflect.Map || k == reflect.Interface
}

func (c *checker) object(t reflect.Type, depth int) error {
	fields := c.fieldTypes(t)
	isMap := t != nil && t.Kind() == reflect.Map
	var seen names
	for c.tokens.More() {
		tok, err := c.token()
		if err != nil {
			return err
		}
		name, ok := tok.(string)
		if !ok {
			return c.fail("object key is not a string")
		}
		if !ascii(name) {
			return c.fail("key %+q is not printable ASCII", clip(name))
		}
		folded := name
		if !isMap {
			folded = strings.ToLower(name)
		}
		if other, dup := seen.add(folded, name); dup {
			if other == name {
				return c.fail("key %q stands twice", clip(name))
			}
			return c.fail("keys %q and %q differ in case only", clip(other), clip(name))
		}
		next, err := c.field(t, fields, name)
		if err != nil {
			return err
		}
		c.path = append(c.path, step{name, -1})
		if err := c.value(next, depth+1); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	_, err := c.token()
	return err
}

// names are the keys of an object, folded, to the spelling that was read. Few are
// looked through, many are found.
type names struct {
	few  [][2]string
	many map[string]string
}

const few = 16

func (n *names) add(folded, name string) (other string, dup bool) {
	if n.many != nil {
		other, dup = n.many[folded]
		n.many[folded] = name
		return other, dup
	}
	for _, f := range n.few {
		if f[0] == folded {
			return f[1], true
		}
	}
	if n.few = append(n.few, [2]string{folded, name}); len(n.few) > few {
		n.many = map[string]string{}
		for _, f := range n.few {
			n.many[f[0]] = f[1]
		}
	}
	return "", false
}

// field finds the type behind a key. A key that differs from a known one in
// case only is refused even where unknown keys are welcome: encoding/json would
// take it for the known one.
func (c *checker) field(t reflect.Type, fields map[string]reflect.Type, name string) (reflect.Type, error) {
	if t != nil && t.Kind() == reflect.Map {
		return t.Elem(), nil
	}
	if ft, ok := fields[name]; ok {
		return ft, nil
	}
	if fields == nil {
		return nil, nil
	}
	for f := range fields {
		if strings.EqualFold(f, name) {
			return nil, c.fail("key %q is spelled %q here", f, name)
		}
	}
	if !c.unknownOK {
		return nil, c.fail("unknown key %q", clip(name))
	}
	return nil, nil
}

func (c *checker) fieldTypes(t reflect.Type) map[string]reflect.Type {
	m, ok := c.fields[t]
	if !ok {
		m = fieldTypes(t)
		c.fields[t] = m
	}
	return m
}

func (c *checker) array(t reflect.Type, depth int) error {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	for i := 0; c.tokens.More(); i++ {
		c.path = append(c.path, step{at: i})
		if err := c.value(elem, depth+1); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	_, err := c.token()
	return err
}

func (c *checker) text(s string) error {
	if ascii(s) {
		return nil
	}
	if !norm.NFC.IsNormalString(s) {
		return c.fail("text %+q is not in Unicode normal form C", clip(s))
	}
	for _, r := range s {
		if r < 0x20 && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 {
			return c.fail("text %+q holds a control character", clip(s))
		}
	}
	return nil
}

var (
	rawMessage      = reflect.TypeFor[json.RawMessage]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// fieldTypes maps JSON keys to field types, embedded structs included. It is
// nil for anything that is not a plain struct: such a value has no fixed keys.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct || t == rawMessage || reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		return nil
	}
	m := map[string]reflect.Type{}
	for f := range t.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && tag == "" {
			for k, v := range fieldTypes(f.Type) {
				m[k] = v
			}
			continue
		}
		if tag == "-" || !f.IsExported() {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		m[tag] = f.Type
	}
	return m
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}

func invalidAt(b []byte) int64 {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return int64(i)
		}
		i += n
	}
	return int64(len(b))
}

// loneSurrogate finds \uD800-style escapes without their partner, which
// encoding/json would silently replace.
func loneSurrogate(b []byte) error {
	for i := 0; i+1 < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if b[i+1] != 'u' {
			i++
			continue
		}
		hi := hex4(b[i+2:])
		switch {
		case hi >= 0xd800 && hi < 0xdc00:
			if i+7 < len(b) && b[i+6] == '\\' && b[i+7] == 'u' {
				if lo := hex4(b[i+8:]); lo >= 0xdc00 && lo < 0xe000 {
					i += 11
					continue
				}
			}
			return &Error{At: int64(i), Msg: "lone surrogate escape"}
		case hi >= 0xdc00 && hi < 0xe000:
			return &Error{At: int64(i), Msg: "lone surrogate escape"}
		}
		i += 5
	}
	return nil
}

func hex4(b []byte) int {
	if len(b) < 4 {
		return -1
	}
	n := 0
	for _, c := range b[:4] {
		d := strings.IndexByte("0123456789abcdef", c|0x20)
		if c >= '0' && c <= '9' {
			d = int(c - '0')
		}
		if d < 0 {
			return -1
		}
		n = n<<4 | d
	}
	return n
}
