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
	"strconv"
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
	c := checker{doc: b, tokens: tokensOf(b), shapes: map[reflect.Type]*shape{}}
	for _, o := range opts {
		c.unknownOK = c.unknownOK || o == AllowUnknown
	}
	c.reader, _ = c.tokens.(*reader)
	target := reflect.ValueOf(v).Elem()
	if c.reader == nil || !target.IsZero() { // what is there already only encoding/json joins with what is read
		if err := c.document(reflect.Value{}, target.Type()); err != nil {
			return err
		}
		return decode(b, v)
	}
	c.stores = true
	err := c.document(target, target.Type())
	if err == nil && !c.stores {
		target.SetZero()
		err = decode(b, v)
	}
	if err != nil {
		target.SetZero()
	}
	return err
}

// decode has encoding/json read a document.
func decode(b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		at := int64(0)
		if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			at = t.Offset
		}
		return &Error{At: at, Msg: err.Error()}
	}
	return nil
}

// checker walks a document once and stores what it finds. Where a type has its own
// way of reading, and where encoding/json would refuse the document, encoding/json
// decides.
type checker struct {
	doc       []byte
	tokens    tokens
	reader    *reader // the same, of a well-formed document
	path      []step  // to the value
	unknownOK bool
	shapes    map[reflect.Type]*shape
	stores    bool // false when encoding/json has to read the whole document
}

// step is one part of a path: a key, or a place in an array.
type step struct {
	key string
	at  int // -1 for a key
}

func (c *checker) document(v reflect.Value, t reflect.Type) error {
	if err := c.value(v, t, 0); err != nil {
		return err
	}
	if _, err := c.tokens.Token(); !errors.Is(err, io.EOF) {
		c.path = nil
		return c.fail("trailing data")
	}
	return nil
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

// value walks one value along the target's type, and stores it. v is not valid where
// the target leaves the shape open.
func (c *checker) value(v reflect.Value, t reflect.Type, depth int) error {
	if depth > MaxDepth {
		return c.fail("nested deeper than %d", MaxDepth)
	}
	if v.IsValid() && !c.shape(t).direct {
		return c.foreign(v, t, depth)
	}
	tok, err := c.token()
	if err != nil {
		return err
	}
	pointer := false
	for t != nil && t.Kind() == reflect.Pointer {
		t, pointer = t.Elem(), depth > 0
		if v.IsValid() && tok != nil {
			v.Set(reflect.New(t))
			v = v.Elem()
		}
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '{' {
			return c.object(v, t, depth)
		}
		return c.array(v, t, depth)
	case string:
		if c.storable(v, reflect.String) {
			v.SetString(tok)
		}
		return c.checkText(tok)
	case json.Number:
		if strings.ContainsAny(tok.String(), ".eE") || tok.String() == "-0" {
			return c.fail("number %s is not an integer", tok)
		}
		c.number(v, tok.String())
	case bool:
		if c.storable(v, reflect.Bool) {
			v.SetBool(tok)
		}
	case nil:
		if t != nil && !nullable(t.Kind()) && !pointer {
			return c.fail("is null")
		}
	}
	return nil
}

// foreign checks a value whose type has its own way of reading, and leaves reading
// it to encoding/json.
func (c *checker) foreign(v reflect.Value, t reflect.Type, depth int) error {
	c.reader.skip()
	start := c.reader.at
	if err := c.value(reflect.Value{}, t, depth); err != nil {
		return err
	}
	if err := json.Unmarshal(c.doc[start:c.reader.at], v.Addr().Interface()); err != nil {
		c.stores = false
	}
	return nil
}

func (c *checker) shape(t reflect.Type) *shape {
	s, ok := c.shapes[t]
	if !ok {
		s = shapeOf(t)
		c.shapes[t] = s
	}
	return s
}

// storable reports whether a value of this kind is to be stored in v. What does not
// fit is encoding/json's to refuse.
func (c *checker) storable(v reflect.Value, k reflect.Kind) bool {
	if !v.IsValid() {
		return false
	}
	c.stores = c.stores && v.Kind() == k
	return v.Kind() == k
}

func (c *checker) number(v reflect.Value, digits string) {
	if !v.IsValid() {
		return
	}
	switch {
	case v.CanInt():
		n, err := strconv.ParseInt(digits, 10, 64)
		if err == nil && !v.OverflowInt(n) {
			v.SetInt(n)
			return
		}
	case v.CanUint():
		n, err := strconv.ParseUint(digits, 10, 64)
		if err == nil && !v.OverflowUint(n) {
			v.SetUint(n)
			return
		}
	}
	c.stores = false
}

// nullable lists the kinds that null empties. encoding/json passes over null
// for any other kind and keeps what was there.
func nullable(k reflect.Kind) bool {
	return k == reflect.Slice || k == reflect.Map || k == reflect.Interface
}

func (c *checker) object(v reflect.Value, t reflect.Type, depth int) error {
	if v.IsValid() {
		if k := v.Kind(); k == reflect.Map {
			v.Set(reflect.MakeMap(t))
		} else if k != reflect.Struct {
			v, c.stores = reflect.Value{}, false
		}
	}
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
		if err := c.member(v, t, name, depth); err != nil {
			return err
		}
	}
	_, err := c.token()
	return err
}

// member reads the value behind a key.
func (c *checker) member(v reflect.Value, t reflect.Type, name string, depth int) error {
	f, err := c.field(t, name)
	if err != nil {
		return err
	}
	c.path = append(c.path, step{name, -1})
	switch {
	case !v.IsValid() || f.t == nil:
		err = c.value(reflect.Value{}, f.t, depth+1)
	case v.Kind() == reflect.Map:
		e := reflect.New(f.t).Elem()
		err = c.value(e, f.t, depth+1)
		v.SetMapIndex(reflect.ValueOf(name).Convert(v.Type().Key()), e)
	default:
		err = c.value(v.FieldByIndex(f.index), f.t, depth+1)
	}
	if err != nil {
		return err
	}
	c.path = c.path[:len(c.path)-1]
	return nil
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
func (c *checker) field(t reflect.Type, name string) (field, error) {
	if t != nil && t.Kind() == reflect.Map {
		return field{t: t.Elem()}, nil
	}
	fields := c.shape(t).fields
	if f, ok := fields[name]; ok {
		return f, nil
	}
	if fields == nil {
		return field{}, nil
	}
	for f := range fields {
		if strings.EqualFold(f, name) {
			return field{}, c.fail("key %q is spelled %q here", f, name)
		}
	}
	if !c.unknownOK {
		return field{}, c.fail("unknown key %q", clip(name))
	}
	return field{}, nil
}

func (c *checker) array(v reflect.Value, t reflect.Type, depth int) error {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	if v.IsValid() {
		if v.Kind() == reflect.Slice {
			v.Set(reflect.MakeSlice(t, 0, 0))
		} else {
			v, c.stores = reflect.Value{}, false
		}
	}
	for i := 0; c.tokens.More(); i++ {
		c.path = append(c.path, step{at: i})
		var e reflect.Value
		if v.IsValid() {
			if i == v.Cap() {
				v.Grow(1)
			}
			v.SetLen(i + 1)
			e = v.Index(i)
		}
		if err := c.value(e, elem, depth+1); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	_, err := c.token()
	return err
}

func (c *checker) checkText(s string) error {
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
