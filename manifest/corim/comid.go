package corim

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// Module is a concise module identifier: what is said of environments.
type Module struct {
	ID      string
	Version int64
	Lang    string
	Triples []Triple
	Keys    []Key
}

// Kind says what a triple is.
type Kind string

// Kinds of triples. A conditional one endorses under conditions.
const (
	Reference   Kind = "reference"
	Endorsed    Kind = "endorsed"
	Conditional Kind = "conditional"
)

// Triple states measurements of an environment.
type Triple struct {
	Kind         Kind
	Environment  Environment
	Measurements []Measurement
	Conditions   []Triple // of a conditional one
}

// Environment names a class of devices, an instance or a group.
type Environment struct {
	ClassID, Vendor, Model string
	Layer, Index           *int64
	Instance, Group        string
}

// Name is how the environment is called in keys of Options: vendor and model,
// else the class.
func (e Environment) Name() string {
	switch {
	case e.Vendor != "" || e.Model != "":
		return e.Vendor + "/" + e.Model
	case e.ClassID != "":
		return e.ClassID
	}
	return e.Instance
}

// Measurement is what an environment is measured to be.
type Measurement struct {
	Key       string // mkey as text
	Number    *int64 // mkey, when it is a number
	Version   string
	Scheme    string
	SVN       *int64
	SVNIsMin  bool
	Digests   map[string][]string // by algorithm, hexadecimal
	Raw       []byte
	Mask      []byte
	Registers map[string]map[string][]string // integrity registers by name
	Name      string
	Serial    string
	Review    *Review
}

// Key is a key that an environment attests with or is identified by.
type Key struct {
	Environment Environment
	Attests     bool
	Values      []string // PEM texts or base64, as they stand
	Keys        []string // SHA-256 of public keys, hexadecimal
	Roots       []string // SHA-256 of certificates
}

func (r *reader) module(v any, where string) (*Module, error) {
	m, err := r.object(v, where)
	if err != nil {
		return nil, err
	}
	id, err := r.object(m.take(1), where+" tag-identity")
	if err != nil {
		return nil, err
	}
	out := &Module{ID: textOf(id.take(0)), Lang: textOf(m.take(0))}
	if n, ok := id.take(1).(int64); ok {
		out.Version = n
	}
	r.rest(id)
	if out.ID == "" {
		return nil, bad(where, "the tag has no id")
	}
	if es, err := r.entities(m.take(2), where); err != nil {
		return nil, err
	} else if len(es) > 0 {
		r.lose(where, "%d entities of the module", len(es))
	}
	t, err := r.object(m.take(4), where+" triples")
	if err != nil {
		return nil, err
	}
	r.rest(m)
	err = r.triples(out, t)
	r.rest(t)
	return out, err
}

func (r *reader) triples(out *Module, t *object) error {
	for key, kind := range []Kind{Reference, Endorsed} {
		if err := r.plainTriples(out, kind, t.take(int64(key)), t.where); err != nil {
			return err
		}
	}
	for _, key := range []int64{2, 3} {
		if err := r.keys(out, t.take(key), key == 3, t.where); err != nil {
			return err
		}
	}
	return r.conditional(out, t.take(10), t.where)
}

func (r *reader) plainTriples(out *Module, kind Kind, v any, where string) error {
	if v == nil {
		return nil
	}
	l, err := list(v, where)
	if err != nil {
		return err
	}
	for i, x := range l {
		t, err := r.triple(kind, x, fmt.Sprintf("%s %s %d", where, kind, i))
		if err != nil {
			return err
		}
		out.Triples = append(out.Triples, *t)
	}
	return nil
}

// triple reads an environment with measurements. Older drafts have one
// measurement, newer ones a list.
func (r *reader) triple(kind Kind, v any, where string) (*Triple, error) {
	l, err := list(v, where)
	if err != nil {
		return nil, err
	}
	if len(l) != 2 {
		return nil, bad(where, "%d parts", len(l))
	}
	t := &Triple{Kind: kind}
	if t.Environment, err = r.environment(l[0], where); err != nil {
		return nil, err
	}
	ms, ok := l[1].([]any)
	if !ok {
		ms = []any{l[1]}
	}
	for i, x := range ms {
		m, err := r.measurement(x, fmt.Sprintf("%s measurement %d", where, i))
		if err != nil {
			return nil, err
		}
		t.Measurements = append(t.Measurements, *m)
	}
	return t, nil
}

// conditional reads conditional endorsements: conditions, then triples.
func (r *reader) conditional(out *Module, v any, where string) error {
	if v == nil {
		return nil
	}
	l, err := list(v, where)
	if err != nil {
		return err
	}
	for i, x := range l {
		where := fmt.Sprintf("%s conditional %d", where, i)
		parts, err := list(x, where)
		if err != nil {
			return err
		}
		if len(parts) != 2 {
			return bad(where, "%d parts", len(parts))
		}
		sides := [2]Module{}
		for s, kind := range []Kind{Reference, Conditional} {
			if err := r.plainTriples(&sides[s], kind, parts[s], where); err != nil {
				return err
			}
		}
		for _, t := range sides[1].Triples {
			t.Conditions = sides[0].Triples
			out.Triples = append(out.Triples, t)
		}
	}
	return nil
}

func (r *reader) environment(v any, where string) (Environment, error) {
	var e Environment
	m, err := r.object(v, where+" environment")
	if err != nil {
		return e, err
	}
	if c := m.take(0); c != nil {
		class, err := r.object(c, where+" class")
		if err != nil {
			return e, err
		}
		e.ClassID, e.Vendor, e.Model = textOf(class.take(0)), textOf(class.take(1)), textOf(class.take(2))
		e.Layer, e.Index = number(class.take(3)), number(class.take(4))
		r.rest(class)
	}
	e.Instance, e.Group = textOf(m.take(1)), textOf(m.take(2))
	r.rest(m)
	if e == (Environment{}) {
		return e, bad(where, "an environment that names nothing")
	}
	return e, nil
}

func number(v any) *int64 {
	if n, ok := v.(int64); ok {
		return &n
	}
	return nil
}

func (r *reader) measurement(v any, where string) (*Measurement, error) {
	m, err := r.object(v, where)
	if err != nil {
		return nil, err
	}
	key := m.take(0)
	out := &Measurement{Key: textOf(key), Number: number(key)}
	if by, ok := m.take(2).([]any); ok {
		r.lose(where, "%d keys that authorise it", len(by))
	}
	values, err := r.object(m.take(1), where+" mval")
	if err != nil {
		return nil, err
	}
	r.rest(m)
	if err := r.values(out, values); err != nil {
		return nil, err
	}
	r.rest(values)
	return out, nil
}

func (r *reader) values(out *Measurement, m *object) error {
	var err error
	if v := m.take(0); v != nil {
		if out.Version, out.Scheme, err = r.version(v, m.where); err != nil {
			return err
		}
	}
	switch v := m.take(1).(type) {
	case nil:
	case int64:
		out.SVN = &v
	case cbor.Tag:
		out.SVN, out.SVNIsMin = number(v.Content), v.Number == tagMinSVN
		if out.SVN == nil {
			return bad(m.where, "svn of type %T", v.Content)
		}
	default:
		return bad(m.where, "svn of type %T", v)
	}
	if v := m.take(2); v != nil {
		if out.Digests, err = r.digests(v, m.where); err != nil {
			return err
		}
	}
	if err := r.raw(out, m); err != nil {
		return err
	}
	out.Serial, out.Name = textOf(m.take(8)), textOf(m.take(11))
	if v := m.take(14); v != nil {
		if out.Registers, err = r.registers(v, m.where); err != nil {
			return err
		}
	}
	if v := m.take(-1); v != nil {
		// The key is a private one: other profiles mean other things by it.
		if out.Review, err = r.review(v, m.where+" review"); err != nil {
			r.lose(m.where, "entry -1, which is no review of OCP S.A.F.E.")
		}
	}
	return nil
}

func (r *reader) version(v any, where string) (version, scheme string, err error) {
	m, err := r.object(v, where+" version")
	if err != nil {
		return "", "", err
	}
	version, scheme = textOf(m.take(0)), textOf(m.take(1))
	r.rest(m)
	return version, scheme, nil
}

// raw reads a raw value, alone, tagged, or tagged together with its mask.
func (r *reader) raw(out *Measurement, m *object) error {
	v, mask := m.take(4), m.take(5)
	if v == nil {
		return nil
	}
	if t, ok := v.(cbor.Tag); ok {
		v = t.Content
		if pair, ok := v.([]any); ok && len(pair) == 2 {
			v, mask = pair[0], pair[1]
		}
	}
	b, ok := v.(cbor.ByteString)
	if !ok {
		return bad(m.where, "raw value of type %T", v)
	}
	out.Raw = b.Bytes()
	if b, ok := mask.(cbor.ByteString); ok {
		out.Mask = b.Bytes()
	}
	return nil
}

// algorithms are hash algorithms by number: Named Information (RFC 6920) and
// COSE (RFC 9054). The same by name.
var (
	algorithms = map[int64]string{
		1: "sha256", 7: "sha384", 8: "sha512", 10: "sha3_256", 11: "sha3_384", 12: "sha3_512",
		-14: "sha1", -16: "sha256", -43: "sha384", -44: "sha512",
	}
	algorithmNames = map[string]string{"sha-256": "sha256", "sha-384": "sha384", "sha-512": "sha512", "sha-1": "sha1", "sha3-256": "sha3_256", "sha3-384": "sha3_384", "sha3-512": "sha3_512"}
	digestBytes    = map[string]int{"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64, "sha3_256": 32, "sha3_384": 48, "sha3_512": 64}
)

func (r *reader) digests(v any, where string) (map[string][]string, error) {
	l, err := list(v, where+" digests")
	if err != nil {
		return nil, err
	}
	if len(l) == 2 { // one digest without a list around it
		if _, isBytes := l[1].(cbor.ByteString); isBytes {
			l = []any{v}
		}
	}
	out := map[string][]string{}
	for _, x := range l {
		pair, err := list(x, where+" digest")
		if err != nil {
			return nil, err
		}
		if len(pair) != 2 {
			return nil, bad(where, "digest of %d parts", len(pair))
		}
		alg := ""
		switch a := pair[0].(type) {
		case int64:
			alg = algorithms[a]
		case string:
			alg = algorithmNames[a]
		}
		b, ok := pair[1].(cbor.ByteString)
		if !ok {
			return nil, bad(where, "digest of type %T", pair[1])
		}
		if alg == "" {
			r.lose(where, "a digest of the algorithm %v", textOf(pair[0]))
			continue
		}
		if len(b) != digestBytes[alg] {
			return nil, bad(where, "%s digest of %d bytes", alg, len(b))
		}
		out[alg] = append(out[alg], hex.EncodeToString(b.Bytes()))
	}
	return out, nil
}

func (r *reader) registers(v any, where string) (map[string]map[string][]string, error) {
	m, err := r.object(v, where+" integrity registers")
	if err != nil {
		return nil, err
	}
	out := map[string]map[string][]string{}
	for k, d := range m.m {
		name := textOf(k)
		if _, twice := out[name]; twice {
			return nil, bad(where, "register %q stands twice", name)
		}
		if out[name], err = r.digests(d, where+" register "+name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (r *reader) keys(out *Module, v any, attests bool, where string) error {
	if v == nil {
		return nil
	}
	l, err := list(v, where)
	if err != nil {
		return err
	}
	for i, x := range l {
		where := fmt.Sprintf("%s keys %d", where, i)
		parts, err := list(x, where)
		if err != nil {
			return err
		}
		if len(parts) < 2 {
			return bad(where, "%d parts", len(parts))
		}
		k := Key{Attests: attests}
		if k.Environment, err = r.environment(parts[0], where); err != nil {
			return err
		}
		values, err := list(parts[1], where)
		if err != nil {
			return err
		}
		for _, v := range values {
			k.add(r, v, where)
		}
		if len(parts) > 2 {
			r.lose(where, "conditions under which the keys count")
		}
		out.Keys = append(out.Keys, k)
	}
	return nil
}

func (k *Key) add(r *reader, v any, where string) {
	if t, ok := v.(cbor.Tag); ok && (t.Number == tagPKIXKey || t.Number == tagPKIXCert) {
		if s, ok := t.Content.(string); ok {
			k.Values = append(k.Values, s)
			return
		}
	}
	if t, ok := v.(cbor.Tag); ok && (t.Number == tagKeyThumbprint || t.Number == tagCertThumbprint) {
		if d, err := r.digests(t.Content, where); err == nil && len(d["sha256"]) == 1 {
			if t.Number == tagKeyThumbprint {
				k.Keys = append(k.Keys, d["sha256"]...)
			} else {
				k.Roots = append(k.Roots, d["sha256"]...)
			}
			return
		}
	}
	if m, ok := v.(map[any]any); ok { // older drafts: {0: text}
		if s, ok := m[int64(0)].(string); ok {
			k.Values = append(k.Values, s)
			return
		}
	}
	r.lose(where, "a key of another form")
}

// banks lists algorithms in order.
func banks(d map[string][]string) []string {
	var out []string
	for b := range d {
		out = append(out, b)
	}
	slices.Sort(out)
	return out
}
